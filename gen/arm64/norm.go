package main

// Rows are sums in float32, four vectors wide, then a few scalars in float64, so
// that mean and r are rounded once, then a pass that writes.

func normFamily(file *File) {
	rmsNormRow(file)
	rmsNormGradRow(file)
	layerNormRow(file)
	layerNormGradRow(file)
}

// mean returns s/n as float64, s the float32 in lane 0 of sum.
func (f *Func) mean(sum, n V) V {
	d := f.V()
	f.FDIVD(d, f.ToDouble(sum), n)
	return d
}

// inverseRoot returns 1/√(meanSquare + eps), rounded to float32.
func (f *Func) inverseRoot(meanSquare, eps V) V {
	s, q, r := f.V(), f.V(), f.V()
	f.FADDD(s, meanSquare, f.ToDouble(eps))
	f.FSQRTD(q, s)
	f.FDIVD(r, f.OneD(), q)
	return f.ToSingle(r)
}

func rmsNormRow(file *File) {
	f := file.Func("RMSNormRowNEON", "func(y, x, w []float32, eps float32) (r float32)",
		"RMSNormRowNEON sets y[j] = x[j]·w[j]·r and returns r = 1/√(mean x² + eps).",
		"Contract: kernels.Set.RMSNormRow, for |x| ≤ 1e18: the squares are float32.")
	y, x, w, n := f.Ptr("y"), f.Ptr("x"), f.Ptr("w"), f.Len("y")
	d, eps := f.FromInt(n), f.Float("eps")
	t, from := f.total(), f.Copy(x)
	f.blocks(f.Copy(n), 4, func(b block) {
		v := b.load(from)
		t.addProduct(b, v, v)
	})
	r := f.inverseRoot(f.mean(t.result(), d), eps)
	f.Result("r", r)
	rs := []V{f.DUP(r, 0)}
	f.blocks(n, 4, func(b block) {
		b.store(y, f.each((*Func).FMUL, f.each((*Func).FMUL, b.load(x), rs), b.load(w)))
	})
	f.RET()
}

func rmsNormGradRow(file *File) {
	f := file.Func("RMSNormGradRowNEON", "func(gx, gw, x, w, gy []float32, r float32)",
		"RMSNormGradRowNEON is the VJP of RMSNormRowNEON. Contract:",
		"kernels.Set.RMSNormGradRow.")
	gx, gw, x, w, gy, n := f.Ptr("gx"), f.Ptr("gw"), f.Ptr("x"), f.Ptr("w"), f.Ptr("gy"), f.Len("gx")
	d, r := f.FromInt(n), f.Float("r")
	t, x1, w1, gy1 := f.total(), f.Copy(x), f.Copy(w), f.Copy(gy)
	f.blocks(f.Copy(n), 4, func(b block) {
		h := f.each((*Func).FMUL, b.load(gy1), b.load(w1))
		t.addProduct(b, h, b.load(x1))
	})
	// c = r·Σ gy·w·x/D
	cd := f.V()
	f.FMULD(cd, f.mean(t.result(), d), f.ToDouble(r))
	c, rs := []V{f.DUP(f.ToSingle(cd), 0)}, []V{f.DUP(r, 0)}
	f.blocks(n, 4, func(b block) {
		cot := b.load(gy)
		xh := f.each((*Func).FMUL, b.load(x), rs)
		g := b.peek(gw)
		f.eachTo((*Func).FMLA, g, cot, xh)
		b.store(gw, g)
		h := f.each((*Func).FMUL, cot, b.load(w))
		f.eachTo((*Func).FMLS, h, xh, c)
		b.store(gx, f.each((*Func).FMUL, h, rs))
	})
	f.RET()
}

func layerNormRow(file *File) {
	f := file.Func("LayerNormRowNEON", "func(y, x, w, b []float32, eps float32) (mean, r float32)",
		"LayerNormRowNEON sets y[j] = (x[j]−mean)·r·w[j] + b[j] and returns mean x and",
		"r = 1/√(var x + eps). Contract: kernels.Set.LayerNormRow, for |x| ≤ 1e18.")
	y, x, w, bias, n := f.Ptr("y"), f.Ptr("x"), f.Ptr("w"), f.Ptr("b"), f.Len("y")
	d, eps := f.FromInt(n), f.Float("eps")
	t, from := f.total(), f.Copy(x)
	f.blocks(f.Copy(n), 4, func(b block) { t.add(b, b.load(from)) })
	m := f.ToSingle(f.mean(t.result(), d))
	f.Result("mean", m)
	ms := []V{f.DUP(m, 0)}
	t, from = f.total(), f.Copy(x)
	f.blocks(f.Copy(n), 4, func(b block) {
		v := f.each((*Func).FSUB, b.load(from), ms)
		t.addProduct(b, v, v)
	})
	r := f.inverseRoot(f.mean(t.result(), d), eps)
	f.Result("r", r)
	rs := []V{f.DUP(r, 0)}
	f.blocks(n, 4, func(b block) {
		xh := f.each((*Func).FMUL, f.each((*Func).FSUB, b.load(x), ms), rs)
		s := b.load(bias)
		f.eachTo((*Func).FMLA, s, xh, b.load(w))
		b.store(y, s)
	})
	f.RET()
}

func layerNormGradRow(file *File) {
	f := file.Func("LayerNormGradRowNEON", "func(gx, gw, gb, x, w, gy []float32, mean, r float32)",
		"LayerNormGradRowNEON is the VJP of LayerNormRowNEON. Contract:",
		"kernels.Set.LayerNormGradRow.")
	gx, gw, gb, x, w, gy, n := f.Ptr("gx"), f.Ptr("gw"), f.Ptr("gb"), f.Ptr("x"), f.Ptr("w"), f.Ptr("gy"), f.Len("gx")
	d, m, r := f.FromInt(n), []V{f.Broadcast("mean")}, f.Float("r")
	sum, cross := f.total(), f.total()
	x1, w1, gy1 := f.Copy(x), f.Copy(w), f.Copy(gy)
	f.blocks(f.Copy(n), 4, func(b block) {
		h := f.each((*Func).FMUL, b.load(gy1), b.load(w1))
		sum.add(b, h)
		cross.addProduct(b, h, f.each((*Func).FSUB, b.load(x1), m))
	})
	// a = mean h and c = r·mean h·(x−mean)
	cd := f.V()
	f.FMULD(cd, f.mean(cross.result(), d), f.ToDouble(r))
	c := []V{f.DUP(f.ToSingle(cd), 0)}
	a, rs := []V{f.DUP(f.ToSingle(f.mean(sum.result(), d)), 0)}, []V{f.DUP(r, 0)}
	f.blocks(n, 4, func(b block) {
		cot := b.load(gy)
		xh := f.each((*Func).FMUL, f.each((*Func).FSUB, b.load(x), m), rs)
		g := b.peek(gw)
		f.eachTo((*Func).FMLA, g, cot, xh)
		b.store(gw, g)
		b.store(gb, f.each((*Func).FADD, b.peek(gb), cot))
		h := f.each((*Func).FSUB, f.each((*Func).FMUL, cot, b.load(w)), a)
		f.eachTo((*Func).FMLS, h, xh, c)
		b.store(gx, f.each((*Func).FMUL, h, rs))
	})
	f.RET()
}

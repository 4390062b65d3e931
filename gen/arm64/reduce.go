package main

import "math"

func reduceFamily(file *File) {
	sumKernel(file)
	dot(file)
	maxKernel(file)
	expSub(file)
}

// total is a sum of floats: sixteen running sums in four vectors, and one for
// the tail, so that no chain is longer than n/16+7 additions, the tree included.
type total struct {
	*Func
	part []V
	tail V
}

func (f *Func) total() *total {
	return &total{f, f.zeros(4), f.zeros(1)[0]}
}

// into picks the running sums for a block: single vectors go to the second, to
// keep the first from being the longest chain.
func (t *total) into(b block) []V {
	switch {
	case b.scalar:
		return []V{t.tail}
	case b.n == 1:
		return t.part[1:2]
	}
	return t.part[:b.n]
}

// add adds a block, addProduct the products of two.
func (t *total) add(b block, x []V) {
	for i, s := range t.into(b) {
		if b.scalar {
			t.FADDS(s, s, x[0])
			continue
		}
		t.FADD(s, s, x[i])
	}
}

func (t *total) addProduct(b block, x, y []V) {
	for i, s := range t.into(b) {
		if b.scalar {
			t.FMADDS(s, x[0], y[0], s)
			continue
		}
		t.FMLA(s, x[i], y[i])
	}
}

// result returns the whole sum in lane 0.
func (t *total) result() V {
	r, q := t.Vs(3), t.Vs(2)
	t.FADD(r[0], t.part[0], t.part[1])
	t.FADD(r[1], t.part[2], t.part[3])
	t.FADD(r[2], r[0], r[1])
	t.FADDP(q[0], r[2], r[2])
	t.FADDP(q[1], q[0], q[0])
	s := t.V()
	t.FADDS(s, q[1], t.tail)
	return s
}

func sumKernel(file *File) {
	f := file.Func("SumNEON", "func(x []float32) float32",
		"SumNEON returns Σ x. Contract: kernels.Set.Sum.")
	x, n, t := f.Ptr("x"), f.Len("x"), f.total()
	f.blocks(n, 4, func(b block) { t.add(b, b.load(x)) })
	f.Result("ret", t.result())
	f.RET()
}

func dot(file *File) {
	f := file.Func("DotNEON", "func(x, y []float32) float32",
		"DotNEON returns Σ x·y, each product fused. Contract: kernels.Set.Dot.")
	x, y, n, t := f.Ptr("x"), f.Ptr("y"), f.Len("x"), f.total()
	f.blocks(n, 4, func(b block) { t.addProduct(b, b.load(x), b.load(y)) })
	f.Result("ret", t.result())
	f.RET()
}

// maxKernel: FMAX and FMAXV hand NaN on, as the contract asks.
func maxKernel(file *File) {
	f := file.Func("MaxNEON", "func(x []float32) float32",
		"MaxNEON returns the largest element. Contract: kernels.Set.Max.")
	x, n := f.Ptr("x"), f.Len("x")
	inf := f.Broadcasts(float32(math.Inf(-1)))[0]
	m, tail := f.fill(inf, 4), f.fill(inf, 1)[0]
	f.blocks(n, 4, func(b block) {
		v := b.load(x)
		if b.scalar {
			f.FMAXS(tail, tail, v[0])
			return
		}
		f.eachTo((*Func).maxTo, m[:b.n], v, v)
	})
	f.FMAX(m[0], m[0], m[1])
	f.FMAX(m[2], m[2], m[3])
	f.FMAX(m[0], m[0], m[2])
	f.FMAXV(m[1], m[0])
	f.FMAXS(m[1], m[1], tail)
	f.Result("ret", m[1])
	f.RET()
}

// maxTo sets d = max(d, n).
func (f *Func) maxTo(d, n, _ V) { f.FMAX(d, d, n) }

// expSub treats sixteen floats a pass for the four running sums, eight at a time
// for want of registers.
func expSub(file *File) {
	f := file.Func("ExpSubNEON", "func(y, x []float32, m float32) float32",
		"ExpSubNEON sets y = e^(x−m) and returns Σ y. Contract: kernels.Set.ExpSub.")
	y, x, n, m, t := f.Ptr("y"), f.Ptr("x"), f.Len("y"), []V{f.Broadcast("m")}, f.total()
	e, _ := f.exponential()
	f.blocks(n, 4, func(b block) {
		v := b.load(x)
		var w []V
		for len(v) > 0 {
			h := min(2, len(v))
			w = append(w, f.exp(e, f.each((*Func).FSUB, v[:h], m))...)
			v = v[h:]
		}
		t.add(b, w)
		b.store(y, w)
	})
	f.Result("ret", t.result())
	f.RET()
}

package main

func optimizerFamily(file *File) { adamW(file) }

// adamW emits one AdamW step, eight floats a pass; the model is
// kernels.refAdamW. The seven scalars stand in the order of kernels.AdamWStep.
// Before the last line q = −Rate·m/(√v·RSqrtC2 + Eps); p = Keep·p + q is fused.
func adamW(file *File) {
	f := file.Func("AdamWNEON", "func(p, m, v, g []float32, s *[7]float32)",
		"AdamWNEON advances parameters by one step; s holds Clip, Beta1, Beta2, Keep,",
		"Rate, RSqrtC2 and Eps. Contract: kernels.Set.AdamW.")
	p, m, v, g, n, s := f.Ptr("p"), f.Ptr("m"), f.Ptr("v"), f.Ptr("g"), f.Len("p"), f.Ptr("s")
	var c [7][]V
	for i := range c {
		c[i] = []V{f.LoadDup(s)}
	}
	clip, beta1, beta2, keep, rate, scale, eps := c[0], c[1], c[2], c[3], c[4], c[5], c[6]
	one := f.Broadcasts(1)
	rest1, rest2 := f.each((*Func).FSUB, one, beta1), f.each((*Func).FSUB, one, beta2)
	minus := f.map1((*Func).FNEG, rate)
	f.blocks(n, 2, func(b block) {
		d := f.each((*Func).FMUL, b.load(g), clip)
		m1 := f.each((*Func).FMUL, b.peek(m), beta1)
		f.eachTo((*Func).FMLA, m1, d, rest1)
		b.store(m, m1)
		v1 := f.each((*Func).FMUL, b.peek(v), beta2)
		f.eachTo((*Func).FMLA, v1, f.each((*Func).FMUL, d, rest2), d)
		b.store(v, v1)
		den := f.fill(eps[0], len(v1))
		f.eachTo((*Func).FMLA, den, f.map1((*Func).FSQRT, v1), scale)
		q := f.each((*Func).FDIV, f.each((*Func).FMUL, m1, minus), den)
		f.eachTo((*Func).FMLA, q, b.peek(p), keep)
		b.store(p, q)
	})
	f.RET()
}

package main

func elementwiseFamily(file *File) {
	twoInputs(file, "Add", "y = a + b", (*Func).FADD)
	twoInputs(file, "Sub", "y = a − b", (*Func).FSUB)
	twoInputs(file, "Mul", "y = a·b", (*Func).FMUL)
	twoInputs(file, "Div", "y = a/b", (*Func).FDIV)

	f := file.Func("ScaleNEON", "func(y, x []float32, alpha float32)",
		"ScaleNEON sets y = alpha·x. Contract: kernels.Set.Scale.")
	y, x, n, alpha := f.Ptr("y"), f.Ptr("x"), f.Len("y"), []V{f.Broadcast("alpha")}
	f.blocks(n, 4, func(b block) { b.store(y, f.each((*Func).FMUL, b.load(x), alpha)) })
	f.RET()

	f = file.Func("AxpyNEON", "func(y, x []float32, alpha float32)",
		"AxpyNEON sets y += alpha·x, fused. Contract: kernels.Set.Axpy.")
	y, x, n, alpha = f.Ptr("y"), f.Ptr("x"), f.Len("y"), []V{f.Broadcast("alpha")}
	f.blocks(n, 4, func(b block) {
		s := b.peek(y)
		f.eachTo((*Func).FMLA, s, b.load(x), alpha)
		b.store(y, s)
	})
	f.RET()

	f = file.Func("GemvNEON", "func(y, a, b []float32, ldb int)",
		"GemvNEON sets y[j] += Σ_p a[p]·b[p·ldb+j], fused, in order of p.",
		"Contract: kernels.Set.Gemv.")
	left, a, next, ldb := f.Len("a"), f.Ptr("a"), f.Ptr("b"), f.Bytes(f.Int("ldb"))
	for _, rows := range []int{8, 1} { // y is loaded and stored once for all of them
		f.Loop(left, rows, func() {
			alpha, row := make([][]V, rows), make([]R, rows)
			for i := range rows {
				alpha[i], row[i] = []V{f.LoadDup(a)}, f.Copy(next)
				f.Add(next, ldb)
			}
			y := f.Ptr("y")
			f.blocks(f.Len("y"), 2, func(b block) {
				s := b.peek(y)
				for i := range rows {
					f.eachTo((*Func).FMLA, s, b.load(row[i]), alpha[i])
				}
				b.store(y, s)
			})
		})
	}
	f.RET()

	f = file.Func("SqrtNEON", "func(y, x []float32)",
		"SqrtNEON sets y = √x. Contract: kernels.Set.Sqrt.")
	y, x, n = f.Ptr("y"), f.Ptr("x"), f.Len("y")
	f.blocks(n, 4, func(b block) { b.store(y, f.map1((*Func).FSQRT, b.load(x))) })
	f.RET()
}

// twoInputs emits y = op(a, b), 16 floats a pass.
func twoInputs(file *File, name, formula string, op func(f *Func, d, n, m V)) {
	f := file.Func(name+"NEON", "func(y, a, b []float32)",
		name+"NEON sets "+formula+". Contract: kernels.Set."+name+".")
	y, a, b, n := f.Ptr("y"), f.Ptr("a"), f.Ptr("b"), f.Len("y")
	f.blocks(n, 4, func(k block) { k.store(y, f.each(op, k.load(a), k.load(b))) })
	f.RET()
}

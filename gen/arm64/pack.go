package main

func packFamily(file *File) {
	packRows(file)
	packCols(file)
}

// packRows emits a copy of k rows of w floats, each filled up to width with
// zeros; the model is kernels.refPackRows.
func packRows(file *File) {
	f := file.Func("PackRowsNEON", "func(dst, src []float32, ld, k, w, width int)",
		"PackRowsNEON sets dst[p·width+j] = src[p·ld+j] for p < k, j < w, and 0 for",
		"w ≤ j < width. Contract: kernels.Set.PackRows.")
	dst, src, ld, k, w, width := f.Ptr("dst"), f.Ptr("src"), f.Int("ld"), f.Int("k"), f.Int("w"), f.Int("width")
	gap, pad := f.Bytes(f.Diff(ld, w)), f.Diff(width, w)
	zero := f.V()
	f.ZERO(zero)
	f.Loop(k, 1, func() {
		f.blocks(f.Copy(w), 1, func(b block) { b.store(dst, b.load(src)) })
		f.Loop(f.Copy(pad), 1, func() { f.StoreSP(dst, zero) })
		f.Add(src, gap)
	})
	f.RET()
}

// packCols emits the transposing copy: four columns of dst at a time, four rows
// of those by a 4×4 transpose in registers, then single columns, then the zero
// columns; the model is kernels.refPackCols.
func packCols(file *File) {
	f := file.Func("PackColsNEON", "func(dst, src []float32, ld, k, w, width int)",
		"PackColsNEON sets dst[p·width+i] = src[i·ld+p] for p < k, i < w, and 0 for",
		"w ≤ i < width. Contract: kernels.Set.PackCols.")
	dst, src, ld, k, w, width := f.Ptr("dst"), f.Ptr("src"), f.Bytes(f.Int("ld")), f.Int("k"), f.Int("w"), f.Int("width")
	pad, row := f.Diff(width, w), f.Bytes(width)
	f.Loop(w, 4, func() {
		to := f.Copy(dst)
		var from [4]R
		for i := range from {
			from[i] = f.Copy(src)
			f.Add(src, ld)
		}
		n := f.Copy(k)
		f.Loop(n, 4, func() {
			var x [4]V
			for i := range x {
				x[i] = f.LoadQP(from[i])
			}
			t := f.transpose(x)
			for _, v := range t {
				f.StoreQ(to, 0, v)
				f.Add(to, row)
			}
		})
		f.Loop(n, 1, func() {
			for i := range from {
				f.StoreS(to, 4*i, f.LoadSP(from[i]))
			}
			f.Add(to, row)
		})
		f.AddImm(dst, 16)
	})
	f.Loop(w, 1, func() {
		from, to := f.Copy(src), f.Copy(dst)
		f.Loop(f.Copy(k), 1, func() {
			f.StoreS(to, 0, f.LoadSP(from))
			f.Add(to, row)
		})
		f.Add(src, ld)
		f.AddImm(dst, 4)
	})
	zero := f.V()
	f.ZERO(zero)
	f.Loop(pad, 1, func() {
		to := f.Copy(dst)
		f.Loop(f.Copy(k), 1, func() {
			f.StoreS(to, 0, zero)
			f.Add(to, row)
		})
		f.AddImm(dst, 4)
	})
	f.RET()
}

// transpose returns the columns of the 4×4 block whose rows are x.
func (f *Func) transpose(x [4]V) [4]V {
	t, y := f.Vs(4), f.Vs(4)
	f.TRN1(t[0], x[0], x[1]) // 00 10 02 12
	f.TRN2(t[1], x[0], x[1]) // 01 11 03 13
	f.TRN1(t[2], x[2], x[3]) // 20 30 22 32
	f.TRN2(t[3], x[2], x[3]) // 21 31 23 33
	f.ZIP1D(y[0], t[0], t[2])
	f.ZIP1D(y[1], t[1], t[3])
	f.ZIP2D(y[2], t[0], t[2])
	f.ZIP2D(y[3], t[1], t[3])
	return [4]V(y)
}

package main

func gemmFamily(file *File) { gemmTile8x12(file) }

// gemmTile8x12 emits the micro-kernel; the model is kernels.refTile4x4.
//
// Registers: 24 sums (8 rows × 3 vectors), 3 of b, 2 of a, and 2 for the a of
// the next step, loaded while this one is multiplied: 31.
// Loop:      4 steps of k a pass, then 1; 24 FMLA by element for 4 loads.
// Each sum is used once a step, so 24 FMLAs hide the latency of one on any core.
func gemmTile8x12(file *File) {
	const mr, nr = 8, 12
	f := file.Func("GemmTile8x12NEON", "func(k int, a, b, c *float32, ldc int, accumulate bool)",
		"GemmTile8x12NEON is the micro-kernel of kernels.Tile with MR = 8, NR = 12. It",
		"works like the reference tile, each product fused.")
	k, a, b, c, ldc := f.Int("k"), f.Ptr("a"), f.Ptr("b"), f.Ptr("c"), f.Int("ldc")
	var sum [mr][nr / 4]V
	for i := range sum {
		for j := range sum[i] {
			sum[i][j] = f.V()
			f.ZERO(sum[i][j])
		}
	}
	steps := func(u int) {
		loadA := func(p int) [2]V {
			lo, hi := f.LoadPair(a, 4*mr*p)
			return [2]V{lo, hi}
		}
		loadB := func(p, j int) V { return f.LoadQ(b, 4*nr*p+16*j) }
		av := loadA(0)
		var bv [nr / 4]V
		for j := range bv {
			bv[j] = loadB(0, j)
		}
		for p := range u {
			next := av
			for j := range bv {
				if j == 1 && p+1 < u {
					next = loadA(p + 1)
				}
				for i := range mr {
					f.FMLAE(sum[i][j], bv[j], av[i/4], i%4)
				}
				if p+1 < u {
					bv[j] = loadB(p+1, j)
				}
			}
			av = next
		}
		f.AddImm(a, 4*mr*u)
		f.AddImm(b, 4*nr*u)
	}
	f.Loop(k, 4, func() { steps(4) })
	f.Loop(k, 1, func() { steps(1) })

	row, store := f.Bytes(ldc), f.NewLabel("store")
	f.BranchZero(f.Bool("accumulate"), store)
	from := f.Copy(c)
	for i := range sum {
		x, y := f.LoadPair(from, 0)
		z := f.LoadQ(from, 32)
		for j, v := range []V{x, y, z} {
			f.FADD(sum[i][j], v, sum[i][j])
		}
		if i+1 < mr {
			f.Add(from, row)
		}
	}
	f.Here(store)
	for i := range sum {
		f.StorePair(c, 0, sum[i][0], sum[i][1])
		f.StoreQ(c, 32, sum[i][2])
		if i+1 < mr {
			f.Add(c, row)
		}
	}
	f.RET()
}

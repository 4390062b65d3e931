package main

import "fmt"

func dotsFamily(file *File) {
	file.dots(4)
	file.dots(1)
}

// dots emits C = A·Bᵀ or += A·Bᵀ for all rows of A and cols rows of B, both as
// they lie; the model is kernels.refDots.
//
// Contract:  kernels.Set.Dots.
// Registers: 2 sums for each of 3·cols elements, of the first and the second four
// of 8 terms; a pair of each row of A; a pair of one row of B: 32 with 4 columns.
// Loop:      strips of 3 rows, then one of what is left, each with its own code; in
// it 8 terms a pass: as many loads as rows and columns, 2·rows·cols FMAs. Then at
// most once 4 terms, and what is left in lane 0 of the second sums, while zeros
// are added to the other lanes.
func (file *File) dots(cols int) {
	const mr = 3
	name := fmt.Sprintf("Dots%dNEON", cols)
	f := file.Func(name, "func(m, k int, a *float32, lda int, b *float32, ldb int, c *float32, ldc int, accumulate bool)",
		fmt.Sprintf("%s sets C[i·ldc+j] = Σ_p a[i·lda+p]·b[j·ldb+p] for i < m, j < %d, p < k, or adds to", name, cols),
		"it if accumulate, each product fused. It works like kernels.refDots, see",
		"kernels.Set.")
	left, a, c := f.Int("m"), f.Ptr("a"), f.Ptr("c")
	lda, ldc := f.Bytes(f.Int("lda")), f.Bytes(f.Int("ldc"))
	var ldb R
	if cols > 1 {
		ldb = f.Bytes(f.Int("ldb"))
	}
	f.strips(left, mr, func(rows int, last bool) {
		first := a
		if !last {
			first = f.Copy(a)
			for range rows {
				f.Add(a, lda)
			}
		}
		as, bs := f.pointers(first, lda, rows), f.pointers(f.Ptr("b"), ldb, cols)
		sum := make([][2][]V, rows) // [row][half][column]
		for i := range sum {
			for h := range sum[i] {
				sum[i][h] = f.zeros(cols)
			}
		}
		pass := func(halves []int, load func(p R) []V) {
			x := make([][]V, rows)
			for i := range x {
				x[i] = load(as[i])
			}
			for j, p := range bs {
				y := load(p)
				for v, h := range halves {
					for i := range x {
						f.FMLA(sum[i][h][j], x[i][v], y[v])
					}
				}
			}
		}
		k := f.Int("k")
		f.Loop(k, 8, func() {
			pass([]int{0, 1}, func(p R) []V { x, y := f.LoadPairP(p); return []V{x, y} })
		})
		f.Loop(k, 4, func() { pass([]int{0}, func(p R) []V { return []V{f.LoadQP(p)} }) })
		f.Loop(k, 1, func() { pass([]int{1}, func(p R) []V { return []V{f.LoadSP(p)} }) })

		total := make([][]V, rows)
		for i := range total {
			s := f.each((*Func).FADD, sum[i][0], sum[i][1])
			for range 2 { // of four lanes two, of two one
				t := f.Vs((len(s) + 1) / 2)
				for j := range t {
					f.FADDP(t[j], s[2*j], s[min(2*j+1, len(s)-1)])
				}
				s = t
			}
			total[i] = s
		}
		load, store := func(p R) []V { return []V{f.LoadQ(p, 0)} }, func(p R, v []V) { f.StoreQ(p, 0, v[0]) }
		if cols == 1 {
			load, store = func(p R) []V { return []V{f.LoadS(p, 0)} }, func(p R, v []V) { f.StoreS(p, 0, v[0]) }
		}
		f.addOrSet(c, ldc, total, last, load, store)
	})
}

// pointers returns n pointers, the first of them p, that lie step bytes apart.
func (f *Func) pointers(p, step R, n int) []R {
	list := []R{p}
	for len(list) < n {
		list = append(list, f.Sum(list[len(list)-1], step))
	}
	return list
}

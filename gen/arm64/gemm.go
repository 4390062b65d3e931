package main

import "fmt"

func gemmFamily(file *File) {
	for _, pairs := range []bool{false, true} {
		file.gemmTile("GemmTile8x12", 3, true, pairs)
		file.gemmTile("GemmTile8x12Rows", 3, false, pairs)
		file.gemmTile("GemmTile8x8Tail", 2, false, pairs)
		file.gemmTile("GemmTile8x4Tail", 1, false, pairs)
		file.gemmTile("GemmTile8x3Tail", 0, false, pairs)
	}
}

// gemmTile emits C = A·B or += A·B for any number of rows and vectors·4 columns
// or, with no vectors, one to three; the model is kernels.refTile.
//
// Contract:  kernels.Tile, with row = 1 if rowIs1.
// Registers: 8·vectors sums, 24 of a whole panel; vectors of B. With row = 1, 2 of
// A and 2 for the A of the next step, loaded while this one is multiplied: 31.
// Otherwise at most 5 with an element of A in lane 0: 32.
// Loop:      strips of 8 rows, then one of what is left, each with its own code;
// in a strip of 8 4 steps of k a pass, then 1 a pass, else 1 a pass. A step of a
// whole panel is 24 FMLAs by element and 4 loads, or 10 where the rows lie apart.
// Each of the 24 sums is used once a step, so that the FMLAs hide the latency of
// one on any core. Elements are not spread over the lanes by the load (LD1R), which
// would take a slot of an FMLA.
//
// Of pairs of BF16 an element is a pair, FMLA is BFDOT, and all else is the same. BFMMLA
// needs two pairs of a row side by side: two steps of k, zipped in registers.
func (file *File) gemmTile(name string, vectors int, rowIs1, pairs bool) {
	columns, parameters, of := fmt.Sprintf("of %d columns", 4*vectors), "m, ", "a[i/8·strip+i%8·row+p·col]"
	if vectors == 0 {
		columns, parameters = "of n columns, 1 ≤ n ≤ 3,", "m, n, "
	}
	places := "strip, row, col"
	if rowIs1 {
		of, places = "a[i/8·strip+i%8+p·col]", "strip, col"
	}
	multiply, contract := (*Func).FMLAE, "each product fused. It works like kernels.refTile, see kernels.Tile."
	if pairs {
		name += "BF16"
		multiply, contract = (*Func).BFDOTE, "elements of a and b being pairs, see kernels.Set.TileBF16."
	}
	name += "NEON"
	f := file.Func(name, "func("+parameters+"k int, a *float32, "+places+" int, b *float32, ldb int, c *float32, ldc int, accumulate bool)",
		fmt.Sprintf("%s sets the m rows %s of C[i·ldc+j] =", name, columns),
		"Σ_p "+of+"·b[p·ldb+j], p < k, or adds to them if accumulate,",
		contract)
	t := gemmTile{Func: f, vectors: vectors, multiply: multiply}
	left := f.Int("m")
	t.a, t.c = f.Ptr("a"), f.Ptr("c")
	t.col, t.ldb, t.ldc = f.Bytes(f.Int("col")), f.Bytes(f.Int("ldb")), f.Bytes(f.Int("ldc"))
	if !rowIs1 {
		t.rows = []R{0, f.Bytes(f.Int("row"))}
		for len(t.rows) < gemmRows {
			t.rows = append(t.rows, f.Sum(t.rows[len(t.rows)-1], t.rows[1]))
		}
	}
	if vectors == 0 {
		n := f.Int("n")
		t.lanes = []R{f.Bytes(f.Half(n)), f.Bytes(f.Minus(n, 1))}
	}
	strip := f.Bytes(f.Int("strip"))
	f.strips(left, gemmRows, func(rows int, last bool) {
		t.block(rows, last)
		if !last {
			f.Add(t.a, strip)
		}
	})
}

// gemmRows is how many rows of A a strip has.
const gemmRows = 8

// gemmTile is what the blocks of a GEMM micro-kernel share: addresses, and
// strides in bytes.
type gemmTile struct {
	*Func
	vectors       int
	multiply      func(f *Func, d, n, m V, i int) // d += n·m[i]
	a, c          R                               // the strip of A, the rows of C
	col, ldb, ldc R                               // strides
	rows          []R                             // the offset of each row of A but the first; nil where row = 1
	// lanes are the offsets of columns 1 and 2 where there are no whole vectors. A
	// column that n does not have is the last one again: it is read, computed and
	// stored twice, which changes nothing.
	lanes []R
}

// lane is one of the four floats of a register.
type lane struct {
	of V
	i  int
}

// block emits the code of one strip of rows and, unless it is the last one, moves
// c past it.
func (t *gemmTile) block(rows int, last bool) {
	sum := make([][]V, rows)
	for i := range sum {
		sum[i] = t.zeros(max(1, t.vectors))
	}
	a, b, k := t.a, t.Ptr("b"), t.Int("k")
	if !last {
		a = t.Copy(a)
	}
	steps := t.byColumns
	if t.rows != nil {
		steps = t.byElements
	}
	if !last {
		t.Loop(k, 4, func() { steps(sum, a, b, 4) })
	}
	t.Loop(k, 1, func() { steps(sum, a, b, 1) })
	t.addOrSet(t.c, t.ldc, sum, last, t.load, t.store)
}

// byColumns emits u steps of k for rows that lie side by side in A. What the next
// step needs is loaded between the FMLAs of this one.
func (t *gemmTile) byColumns(sum [][]V, a, b R, u int) {
	loadA := func() (as []lane) {
		add := func(lanes int, vs ...V) {
			for _, v := range vs {
				for i := range lanes {
					as = append(as, lane{v, i})
				}
			}
		}
		if len(sum) == gemmRows {
			lo, hi := t.LoadPair(a, 0)
			add(4, lo, hi)
		} else {
			if len(sum)&4 != 0 {
				add(4, t.LoadQ(a, 0))
			}
			if len(sum)&2 != 0 {
				add(2, t.LoadD(a, 4*len(as)))
			}
			if len(sum)&1 != 0 {
				add(1, t.LoadS(a, 4*len(as)))
			}
		}
		t.Add(a, t.col)
		return as
	}
	loadB := func(j int) V { return t.LoadQ(b, 16*j) }
	as, bs := loadA(), make([]V, t.vectors)
	for j := range bs {
		bs[j] = loadB(j)
	}
	t.Add(b, t.ldb)
	for p := range u {
		next := as
		for j := range bs {
			if j == 1 && p+1 < u {
				next = loadA()
			}
			for i, x := range as {
				t.multiply(t.Func, sum[i][j], bs[j], x.of, x.i)
			}
			if p+1 < u {
				bs[j] = loadB(j)
			}
		}
		if as = next; p+1 < u {
			t.Add(b, t.ldb)
		}
	}
}

// byElements emits u steps of k for rows that lie anywhere in A, whose elements
// are loaded four rows ahead.
func (t *gemmTile) byElements(sum [][]V, a, b R, u int) {
	const ahead = 4
	for range u {
		bs := t.load(b)
		t.Add(b, t.ldb)
		var as []V
		for i := range len(sum) + ahead {
			switch {
			case i == 0:
				as = append(as, t.LoadS(a, 0))
			case i < len(sum):
				as = append(as, t.LoadSAt(a, t.rows[i]))
			}
			if i+1 == len(sum) {
				t.Add(a, t.col)
			}
			if r := i - ahead; r >= 0 {
				for j, v := range bs {
					t.multiply(t.Func, sum[r][j], v, as[r], 0)
				}
			}
		}
	}
}

// load and store move the columns of a row of B or C.
func (t *gemmTile) load(p R) []V {
	switch t.vectors {
	case 0:
		v := t.LoadS(p, 0)
		for i, at := range t.lanes {
			t.LoadLane(t.Sum(p, at), v, i+1)
		}
		return []V{v}
	case 1:
		return []V{t.LoadQ(p, 0)}
	}
	x, y := t.LoadPair(p, 0)
	if t.vectors == 2 {
		return []V{x, y}
	}
	return []V{x, y, t.LoadQ(p, 32)}
}

func (t *gemmTile) store(p R, v []V) {
	switch t.vectors {
	case 0:
		t.StoreS(p, 0, v[0])
		for i, at := range t.lanes {
			t.StoreLane(t.Sum(p, at), v[0], i+1)
		}
		return
	case 1:
		t.StoreQ(p, 0, v[0])
		return
	}
	t.StorePair(p, 0, v[0], v[1])
	if t.vectors == 3 {
		t.StoreQ(p, 32, v[2])
	}
}

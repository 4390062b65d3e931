package main

// block is how many floats a loop body treats at once: n vectors of four, or a
// single float in lane 0, whose other lanes hold zeros on loading and anything
// later.
type block struct {
	*Func
	n      int
	scalar bool
}

// blocks runs body over a count of floats: in blocks of 4·vectors, then of 4,
// then singly, so that nothing past the end is touched.
func (f *Func) blocks(count R, vectors int, body func(block)) {
	if vectors > 1 {
		f.Loop(count, 4*vectors, func() { body(block{f, vectors, false}) })
	}
	f.Loop(count, 4, func() { body(block{f, 1, false}) })
	f.Loop(count, 1, func() { body(block{f, 1, true}) })
}

// load reads a block and steps past it.
func (b block) load(p R) (v []V) {
	if b.scalar {
		return []V{b.LoadSP(p)}
	}
	for len(v)+1 < b.n {
		x, y := b.LoadPairP(p)
		v = append(v, x, y)
	}
	if len(v) < b.n {
		v = append(v, b.LoadQP(p))
	}
	return v
}

// peek reads a block without stepping: for what is stored back through p.
func (b block) peek(p R) (v []V) {
	if b.scalar {
		return []V{b.LoadS(p, 0)}
	}
	for i := 0; i < b.n; i++ {
		v = append(v, b.LoadQ(p, 16*i))
	}
	return v
}

// store writes a block and steps past it.
func (b block) store(p R, v []V) {
	if b.scalar {
		b.StoreSP(p, v[0])
		return
	}
	for ; len(v) > 1; v = v[2:] {
		b.StorePairP(p, v[0], v[1])
	}
	if len(v) == 1 {
		b.StoreQP(p, v[0])
	}
}

// strips emits a function's work on left rows of a matrix: block for strips of most
// rows, and once more, with last, for those left, each number with its own code.
func (f *Func) strips(left R, most int, block func(rows int, last bool)) {
	f.Loop(left, most, func() { block(most, false) })
	count, none := make([]Label, most), f.NewLabel("none")
	f.BranchZero(left, none)
	for rows := 1; rows < most-1; rows++ {
		count[rows] = f.NewLabel("rows")
		f.AddImm(left, -1)
		f.BranchZero(left, count[rows])
	}
	for rows := most - 1; rows > 0; rows-- {
		if rows < most-1 {
			f.Here(count[rows])
		}
		block(rows, true)
		f.RET()
	}
	f.Here(none)
	f.RET()
}

// addOrSet stores the vectors of each row of C, or adds them to it if the parameter
// accumulate is set. Unless the rows are the last, it moves c past them.
func (f *Func) addOrSet(c, ldc R, rows [][]V, last bool, load func(R) []V, store func(R, []V)) {
	set, from := f.NewLabel("set"), f.Copy(c)
	f.BranchZero(f.Bool("accumulate"), set)
	for i, row := range rows {
		if i > 0 {
			f.Add(from, ldc)
		}
		f.eachTo((*Func).FADD, row, load(from), row)
	}
	f.Here(set)
	for i, row := range rows {
		store(c, row)
		if i+1 < len(rows) || !last {
			f.Add(c, ldc)
		}
	}
}

// zeros returns n registers of zeros.
func (f *Func) zeros(n int) []V {
	v := f.Vs(n)
	for i := range v {
		f.ZERO(v[i])
	}
	return v
}

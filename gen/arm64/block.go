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

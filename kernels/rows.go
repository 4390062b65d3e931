package kernels

import "math"

// RMSNorm normalises n rows: y[i,j] = x[i,j]·w[j]·r[i], r[i] as RMSNormRow.
//
// Shapes: x, y [n, d] contiguous, w [d], r [n] (kept for the VJP).
// Memory: y may be x. Error: as Set.RMSNormRow.
func RMSNorm[T Float](s *Set[T], y, r, x, w []T, n, d int, eps float64) {
	checkRows("rmsnorm", n, d, len(y), len(x))
	shapeCheck(len(w) >= d && len(r) >= n, "rmsnorm", "short w or r")
	RowsOf(n, d, rmsNormRows[T]{s.Into(n * d), y, r, x, w[:d], d, T(eps)})
}

type rmsNormRows[T Float] struct {
	s          *Set[T]
	y, r, x, w []T
	d          int
	eps        T
}

func (c *rmsNormRows[T]) Run(lo, hi int) {
	for i := lo; i < hi; i++ {
		at, end := i*c.d, (i+1)*c.d
		c.r[i] = c.s.RMSNormRow(c.y[at:end], c.x[at:end], c.w, c.eps)
	}
}

// RMSNormGrad is the VJP of RMSNorm: gx [n, d] and gw [d] are set. gx may be gy.
//
// Error: gx as Set.RMSNormGradRow; gw ≤ (p+8)·u·Σ_i|gy·x̂|, p the rows of a partial
// sum (partialRows, n at most).
// Values: NaN or Inf in a row of the operands stays in its row of gx and in gw;
// and so it is in LayerNormGrad.
func RMSNormGrad[T Float](s *Set[T], gx, gw, x, w, gy, r []T, n, d int) {
	checkRows("rmsnorm-grad", n, d, len(gx), len(x), len(gy))
	shapeCheck(len(w) >= d && len(gw) >= d && len(r) >= n, "rmsnorm-grad", "short w, gw or r")
	reduceRows(s, gw[:d], n, d, rmsNormGradRows[T]{s.Into(n * d), gx, x, w[:d], gy, r, d})
}

type rmsNormGradRows[T Float] struct {
	s               *Set[T]
	gx, x, w, gy, r []T
	d               int
}

// AddRows sets rows lo…hi of gx and adds to gw.
func (c *rmsNormGradRows[T]) AddRows(gw []T, lo, hi int) {
	for i := lo; i < hi; i++ {
		at, end := i*c.d, (i+1)*c.d
		c.s.RMSNormGradRow(c.gx[at:end], gw, c.x[at:end], c.w, c.gy[at:end], c.r[i])
	}
}

// LayerNorm normalises n rows: y = (x−mean)·r·w + b, as LayerNormRow.
//
// Shapes: x, y [n, d] contiguous, w, b [d]; mean, r [n] are kept for the VJP.
// Memory: y may be x. Error: as Set.LayerNormRow.
func LayerNorm[T Float](s *Set[T], y, mean, r, x, w, b []T, n, d int, eps float64) {
	checkRows("layernorm", n, d, len(y), len(x))
	shapeCheck(len(w) >= d && len(b) >= d && len(mean) >= n && len(r) >= n, "layernorm", "short w, b, mean or r")
	RowsOf(n, d, layerNormRows[T]{s.Into(n * d), y, mean, r, x, w[:d], b[:d], d, T(eps)})
}

type layerNormRows[T Float] struct {
	s                   *Set[T]
	y, mean, r, x, w, b []T
	d                   int
	eps                 T
}

func (c *layerNormRows[T]) Run(lo, hi int) {
	for i := lo; i < hi; i++ {
		at, end := i*c.d, (i+1)*c.d
		c.mean[i], c.r[i] = c.s.LayerNormRow(c.y[at:end], c.x[at:end], c.w, c.b, c.eps)
	}
}

// LayerNormGrad is the VJP of LayerNorm: gx [n, d], gw [d], gb [d] are set. gx
// may be gy.
//
// Error: gx as Set.LayerNormGradRow; gw ≤ (p+12)·u·Σ_i|gy·x̂|, gb ≤ (p+8)·u·Σ_i|gy|, p
// as in RMSNormGrad.
func LayerNormGrad[T Float](s *Set[T], gx, gw, gb, x, w, gy, mean, r []T, n, d int) {
	checkRows("layernorm-grad", n, d, len(gx), len(x), len(gy))
	shapeCheck(len(w) >= d && len(gw) >= d && len(gb) >= d && len(mean) >= n && len(r) >= n, "layernorm-grad", "short w, gw, gb, mean or r")
	both := scratch[T](2 * d)
	defer both.free()
	reduceRows(s, both.mem, n, d, layerNormGradRows[T]{s.Into(n * d), gx, x, w[:d], gy, mean, r, d})
	copy(gw, both.mem[:d])
	copy(gb, both.mem[d:])
}

type layerNormGradRows[T Float] struct {
	s                     *Set[T]
	gx, x, w, gy, mean, r []T
	d                     int
}

// AddRows sets rows lo…hi of gx and adds to gw and gb, one after the other.
func (c *layerNormGradRows[T]) AddRows(gwb []T, lo, hi int) {
	for i := lo; i < hi; i++ {
		at, end := i*c.d, (i+1)*c.d
		c.s.LayerNormGradRow(c.gx[at:end], gwb[:c.d], gwb[c.d:], c.x[at:end], c.w, c.gy[at:end], c.mean[i], c.r[i])
	}
}

// Softmax sets y[i,j] = e^(x[i,j]−m_i)/Σ_j e^(x[i,j]−m_i), m_i the row's maximum.
//
// Shapes: x, y [n, d] contiguous. Memory: y may be x.
// Error: ≤ (d/16+16)·u + u·|x−m| relative, and 1.2e-38 for underflow.
// Values: NaN or +Inf makes its row NaN, and so does a row of nothing but −Inf;
// beside others −Inf gives 0. No other row changes.
func Softmax[T Float](s *Set[T], y, x []T, n, d int) {
	checkRows("softmax", n, d, len(y), len(x))
	RowsOf(n, d, softmaxRows[T]{s, s.Into(n * d), y, x, d})
}

type softmaxRows[T Float] struct {
	s, into *Set[T]
	y, x    []T
	d       int
}

func (c *softmaxRows[T]) Run(lo, hi int) {
	s, d := c.s, c.d
	draft := draftOf(s, c.into, d)
	defer draft.free()
	for i := lo; i < hi; i++ {
		row, from := c.y[i*d:(i+1)*d], c.x[i*d:(i+1)*d]
		e := draft.or(row)
		sum := expSubVector(s, e, from, maxVector(s, from))
		eachChunk(d, func(lo, hi int) { c.into.Scale(row[lo:hi], e[lo:hi], 1/sum) })
	}
}

// draftOf returns memory for a row that is read again before it is done, if into
// streams it; else none, and the row itself will do.
func draftOf[T Float](s, into *Set[T], d int) *buffer[T] {
	if into == s {
		return nil
	}
	return scratch[T](d)
}

// or returns the draft, or row where there is none.
func (b *buffer[T]) or(row []T) []T {
	if b == nil {
		return row
	}
	return b.mem
}

// SoftmaxGrad is the VJP of Softmax from its result: gx = y·(gy − Σ_j gy·y).
// gx may be gy but not y.
//
// Error: ≤ y·((d/16+10)·u·Σ_j|gy·y| + 4·u·|gy|), and 1.2e-38 for underflow.
func SoftmaxGrad[T Float](s *Set[T], gx, y, gy []T, n, d int) {
	checkRows("softmax-grad", n, d, len(gx), len(y), len(gy))
	RowsOf(n, d, softmaxGradRows[T]{s, s.Into(n * d), gx, y, gy, d})
}

type softmaxGradRows[T Float] struct {
	s, into   *Set[T]
	gx, y, gy []T
	d         int
}

func (c *softmaxGradRows[T]) Run(lo, hi int) {
	s, d := c.s, c.d
	draft := draftOf(s, c.into, min(d, chunk))
	defer draft.free()
	for i := lo; i < hi; i++ {
		p, g, out := c.y[i*d:(i+1)*d], c.gy[i*d:(i+1)*d], c.gx[i*d:(i+1)*d]
		dot := dotVector(s, p, g)
		eachChunk(d, func(lo, hi int) {
			e := draft.or(out[lo:hi])[:hi-lo]
			s.Mul(e, p[lo:hi], g[lo:hi])
			s.Axpy(e, p[lo:hi], -dot)
			if draft != nil {
				c.into.Scale(out[lo:hi], e, 1)
			}
		})
	}
}

// CrossEntropy sets lse[i] = ln Σ_j e^x[i,j] and loss[i] = lse[i] − x[i,target[i]],
// or 0 where target[i] is negative (an ignored row).
//
// Shapes: x [n, d] contiguous; loss, lse, target [n].
// Error: of lse ≤ (d/16+32)·u + 2·u·(|m|+|lse|), m = max_j x, of loss 2·u·|loss| more.
// Values: as Softmax, for lse; an ignored row has loss 0 whatever it holds.
// Panics: *ShapeError if a target is d or more.
func CrossEntropy[T Float](s *Set[T], loss, lse, x []T, target []int32, n, d int) {
	checkRows("crossentropy", n, d, len(x))
	shapeCheck(len(loss) >= n && len(lse) >= n && len(target) >= n, "crossentropy", "short loss, lse or target")
	checkTargets("crossentropy", target[:n], d)
	RowsOf(n, d, crossEntropyRows[T]{s, loss, lse, x, target, d})
}

type crossEntropyRows[T Float] struct {
	s            *Set[T]
	loss, lse, x []T
	target       []int32
	d            int
}

func (c *crossEntropyRows[T]) Run(lo, hi int) {
	e := scratch[T](c.d)
	defer e.free()
	for i := lo; i < hi; i++ {
		row := c.x[i*c.d : (i+1)*c.d]
		m := maxVector(c.s, row)
		l := m + T(math.Log(float64(expSubVector(c.s, e.mem, row, m))))
		c.lse[i], c.loss[i] = l, 0
		if t := c.target[i]; t >= 0 {
			c.loss[i] = l - row[t]
		}
	}
}

// CrossEntropyGrad is its VJP: gx[i,j] = gy[i]·(e^(x[i,j]−lse[i]) − [j = target[i]]),
// and 0 in ignored rows, whatever they hold. gx may be x.
//
// Error: with p = e^(x−lse), ≤ u·|gy|·(p·(10+|x−lse|) + 3·[j = target]), and
// 1.2e-38·(1+|gy|) for underflow.
// Panics: as CrossEntropy.
func CrossEntropyGrad[T Float](s *Set[T], gx, x, lse []T, target []int32, gy []T, n, d int) {
	checkRows("crossentropy-grad", n, d, len(gx), len(x))
	shapeCheck(len(gy) >= n && len(lse) >= n && len(target) >= n, "crossentropy-grad", "short gy, lse or target")
	checkTargets("crossentropy-grad", target[:n], d)
	RowsOf(n, d, crossEntropyGradRows[T]{s, s.Into(n * d), gx, x, lse, gy, target, d})
}

type crossEntropyGradRows[T Float] struct {
	s, into        *Set[T]
	gx, x, lse, gy []T
	target         []int32
	d              int
}

func (c *crossEntropyGradRows[T]) Run(lo, hi int) {
	s, d := c.s, c.d
	draft := draftOf(s, c.into, min(d, chunk))
	defer draft.free()
	for i := lo; i < hi; i++ {
		row, from := c.gx[i*d:(i+1)*d], c.x[i*d:(i+1)*d]
		t := int(c.target[i])
		if t < 0 {
			clear(row)
			continue
		}
		eachChunk(d, func(lo, hi int) {
			e := draft.or(row[lo:hi])[:hi-lo]
			s.ExpSub(e, from[lo:hi], c.lse[i])
			if lo <= t && t < hi {
				e[t-lo]--
			}
			c.into.Scale(row[lo:hi], e, c.gy[i])
		})
	}
}

// GatherRows sets y[i,:] = w[id[i],:].
//
// Shapes: w [rows, d], y [len(id), d], both contiguous. Error: exact.
// Panics: *ShapeError if an id is outside [0, rows).
func GatherRows[E any](y, w []E, id []int32, rows, d int) {
	checkIDs("gather", id, rows)
	checkRows("gather", len(id), d, len(y))
	checkRows("gather", rows, d, len(w))
	RowsOf(len(id), d, gatherRows[E]{y, w, id, d})
}

type gatherRows[E any] struct {
	y, w []E
	id   []int32
	d    int
}

func (c *gatherRows[E]) Run(lo, hi int) {
	for i := lo; i < hi; i++ {
		copy(c.y[i*c.d:(i+1)*c.d], c.w[int(c.id[i])*c.d:][:c.d])
	}
}

// ScatterAddRows sets gw to zero and adds gy[i,:] to gw[id[i],:] in order of i:
// the VJP of GatherRows. Columns are split among the workers, never rows, so
// that the order of each sum is fixed. Error: ≤ t·u·Σ|gy|, t the terms of the sum.
func ScatterAddRows[T Float](s *Set[T], gw, gy []T, id []int32, rows, d int) {
	checkIDs("scatter", id, rows)
	checkRows("scatter", len(id), d, len(gy))
	checkRows("scatter", rows, d, len(gw))
	const cols = 64
	runWork(d, cols, false, scatterAdd[T]{s, gw, gy, id, rows, d})
}

type scatterAdd[T Float] struct {
	s       *Set[T]
	gw, gy  []T
	id      []int32
	rows, d int
}

// Run adds columns lo…hi.
func (c *scatterAdd[T]) Run(lo, hi int) {
	d := c.d
	for r := range c.rows {
		clear(c.gw[r*d+lo : r*d+hi])
	}
	for i, r := range c.id {
		dst := c.gw[int(r)*d+lo : int(r)*d+hi]
		c.s.Add(dst, dst, c.gy[i*d+lo:i*d+hi])
	}
}

func checkIDs(op string, id []int32, rows int) {
	for i, r := range id {
		if r < 0 || int(r) >= rows { // guarded: the arguments of shapeCheck are allocated
			shapeCheck(false, op, "id %d at %d, but there are %d rows", r, i, rows)
		}
	}
}

func checkTargets(op string, target []int32, d int) {
	for i, t := range target {
		if int(t) >= d {
			shapeCheck(false, op, "target %d of row %d, but there are %d classes", t, i, d)
		}
	}
}

// checkRows panics unless every length holds an n×d matrix.
func checkRows(op string, n, d int, lengths ...int) {
	for _, l := range lengths {
		if n < 0 || d < 1 || n > l/d {
			shapeCheck(false, op, "%d elements, too few for [%d %d]", l, n, d)
		}
	}
}

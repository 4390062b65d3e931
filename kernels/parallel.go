package kernels

import (
	"math"
	"reflect"
	"sync"
)

// chunk is the length of a task of an elementwise op, in elements: 3 vectors of
// it fit L2, and one call into assembly stays in the microseconds.
const chunk = 1 << 14

// Chunks cuts [0, n) into runs of a fixed length and calls f on each, in
// parallel. Elementwise ops hoist their choice of kernel above it.
func Chunks(n int, f func(lo, hi int)) { ChunksOf(n, closure(f)) }

// ChunksOf is Chunks of work's Run, without an allocation.
func ChunksOf[W any, P Work[W]](n int, work W) {
	if n > 0 {
		runWork[W, P](n, chunk, n <= chunk, work)
	}
}

// RowsOf is Rows of work's Run, without an allocation.
func RowsOf[W any, P Work[W]](n, d int, work W) { runWork[W, P](n, rowsPerTask(d), false, work) }

// Work is a struct of a kernel's operands, and Run what is done to elements or
// rows lo…hi of them. A closure would do, but each is a heap allocation: what a
// training step runs is Work.
type Work[W any] interface {
	*W
	Run(lo, hi int)
}

// closure is Work that is not worth a struct.
type closure func(lo, hi int)

func (f *closure) Run(lo, hi int) { (*f)(lo, hi) }

// workUnderWay is Work where the workers find it.
type workUnderWay[W any] struct {
	n, per int
	work   W
	task   func(t int) // made once
}

// workPools keeps finished ones to be used again: a *sync.Pool for each W.
var workPools sync.Map

// runWork cuts [0, n) into tasks of per; direct calls Run on it all, as no task.
func runWork[W any, P Work[W]](n, per int, direct bool, work W) {
	key := reflect.TypeFor[W]()
	pool, ok := workPools.Load(key)
	if !ok {
		pool, _ = workPools.LoadOrStore(key, new(sync.Pool))
	}
	u, ok := pool.(*sync.Pool).Get().(*workUnderWay[W])
	if !ok {
		u = new(workUnderWay[W])
		u.task = func(t int) { P(&u.work).Run(t*u.per, min((t+1)*u.per, u.n)) }
	}
	u.n, u.per, u.work = n, per, work
	if direct {
		P(&u.work).Run(0, n)
	} else {
		Parallel((n+per-1)/per, u.task)
	}
	u.work = *new(W) // keeps no operand alive
	pool.(*sync.Pool).Put(u)
}

// eachChunk is Chunks on one core, in order.
func eachChunk(n int, f func(lo, hi int)) {
	for lo := 0; lo < n; lo += chunk {
		stopPoint()
		f(lo, min(lo+chunk, n))
	}
}

// stopPoint is a place where the runtime can stop the goroutine: the entry of a
// Go function that has a frame and stays a call. Assembly cannot be pre-empted,
// so a loop of nothing but calls of it holds up a garbage collection to its end;
// with this in every loop that may last long, it waits for one call. It takes
// about 1 ns.
//
//go:noinline
func stopPoint() { frame() }

//go:noinline
func frame() {}

// rowsPerTask is how many rows of d elements make one task.
func rowsPerTask(d int) int { return max(1, chunk/max(d, 1)) }

// Rows calls f on runs of rows of an n×d matrix, in parallel.
func Rows(n, d int, f func(lo, hi int)) { RowsOf(n, d, closure(f)) }

// partialRows is how many rows share one partial sum of a reduction over rows.
// It depends on the shape alone, and so does the tree above it.
func partialRows(n, d int) int { return max(rowsPerTask(d), (n+63)/64) }

// rowSum is what reduceRows adds up: AddRows adds rows lo…hi to a partial sum.
type rowSum[T Float, W any] interface {
	*W
	AddRows(partial []T, lo, hi int)
}

// partialSums is the Work of reduceRows.
type partialSums[T Float, W any, P rowSum[T, W]] struct {
	mem        []T
	width, per int
	work       W
}

func (c *partialSums[T, W, P]) Run(lo, hi int) {
	t := lo / c.per
	p := c.mem[t*c.width : (t+1)*c.width]
	clear(p)
	P(&c.work).AddRows(p, lo, hi)
}

// reduceRows runs work.AddRows on fixed runs of rows, each with its own zeroed
// partial of the width of dst, and adds the partials in a fixed binary tree into
// dst.
func reduceRows[T Float, W any, P rowSum[T, W]](s *Set[T], dst []T, n, d int, work W) {
	per := partialRows(n, d)
	groups, width := (n+per-1)/per, len(dst)
	if groups == 0 {
		clear(dst)
		return
	}
	b := scratch[T](groups * width)
	defer b.free()
	runWork(n, per, false, partialSums[T, W, P]{b.mem, width, per, work})
	for step := 1; step < groups; step *= 2 {
		for t := 0; t+step < groups; t += 2 * step {
			p := b.mem[t*width : (t+1)*width]
			s.Add(p, p, b.mem[(t+step)*width:(t+step+1)*width])
		}
	}
	copy(dst, b.mem[:width])
}

// wideRow is the length from which a sum over rows is cut by columns instead of
// by rows: partial sums would cost as much memory as the operand.
const wideRow = 1 << 12

// ReduceSum sets y[o,i] = Σ_j x[o,j,i].
//
// Shapes: x [outer, n, inner], y [outer, inner], both contiguous.
// Error: ≤ (n/16+16)·u·Σ|x| for inner = 1; ≤ (n+8)·u·Σ|x| for inner ≥ 4096; between
// them ≤ (max(n/64, 16384/inner)+8)·u·Σ|x| or, where that is less, the former. The
// order of each sum is fixed by the shape.
// Values: as in Set; so in ReduceMax.
// Panics: *ShapeError if a size is negative or a slice is short.
func ReduceSum[T Float](s *Set[T], y, x []T, outer, n, inner int) {
	checkReduce("reduce-sum", outer, n, inner, len(y), len(x))
	if outer == 0 || inner == 0 {
		return
	}
	c := columnSums[T]{s, y, x, n, inner}
	switch {
	case inner == 1:
		RowsOf(outer, n, lastSums[T]{s, y, x, n})
	case inner >= wideRow:
		runWork(outer*c.pieces(), 1, false, wideSums[T]{c})
	case n*inner <= chunk: // small sums: several to a task
		RowsOf(outer, n*inner, c)
	default:
		for o := range outer {
			c.x = x[o*n*inner:]
			reduceRows(s, y[o*inner:(o+1)*inner], n, inner, c)
		}
	}
}

// lastSums are the sums of rows lo…hi of x [.., n]. A long single row stays on one
// core, whose vector kernels stream it at the speed of memory.
type lastSums[T Float] struct {
	s    *Set[T]
	y, x []T
	n    int
}

func (c *lastSums[T]) Run(lo, hi int) {
	for o := lo; o < hi; o++ {
		c.y[o] = sumVector(c.s, c.x[o*c.n:(o+1)*c.n])
	}
}

// columnSums are the sums over n in matrices [n, inner] of x.
type columnSums[T Float] struct {
	s        *Set[T]
	y, x     []T
	n, inner int
}

// Run sums matrices lo…hi.
func (c *columnSums[T]) Run(lo, hi int) {
	for o := lo; o < hi; o++ {
		c.sum(c.y[o*c.inner:(o+1)*c.inner], o, 0)
	}
}

// sum sets dst to the sums of the o-th matrix's columns from… on.
func (c *columnSums[T]) sum(dst []T, o, from int) {
	clear(dst)
	c.add(dst, c.x[o*c.n*c.inner:], 0, c.n, from)
}

// AddRows adds rows lo…hi of the first matrix.
func (c *columnSums[T]) AddRows(partial []T, lo, hi int) { c.add(partial, c.x, lo, hi, 0) }

func (c *columnSums[T]) add(dst, src []T, lo, hi, from int) {
	for j := lo; j < hi; j++ {
		c.s.Add(dst, dst, src[j*c.inner+from:j*c.inner+from+len(dst)])
	}
}

// pieces is how many tasks share a matrix of wide rows.
func (c *columnSums[T]) pieces() int { return (c.inner + chunk - 1) / chunk }

// wideSums cuts columnSums by columns.
type wideSums[T Float] struct{ columnSums[T] }

// Run sums pieces lo…hi.
func (c *wideSums[T]) Run(lo, hi int) {
	pieces := c.pieces()
	for t := lo; t < hi; t++ {
		o, from := t/pieces, t%pieces*chunk
		c.sum(c.y[o*c.inner+from:o*c.inner+min(from+chunk, c.inner)], o, from)
	}
}

// checkReduce panics unless y holds [outer, inner] and x [outer, n, inner].
// Nothing here can overflow.
func checkReduce(op string, outer, n, inner, y, x int) {
	switch {
	case outer < 0 || n < 0 || inner < 0:
		shapeCheck(false, op, "negative size in [%d %d %d]", outer, n, inner)
	case outer == 0 || inner == 0:
	case outer > y/inner:
		shapeCheck(false, op, "y of %d elements does not hold [%d %d]", y, outer, inner)
	case n > 0 && outer > x/inner/n:
		shapeCheck(false, op, "x of %d elements does not hold [%d %d %d]", x, outer, n, inner)
	}
}

// ReduceMax sets y[o,i] = max_j x[o,j,i]; −Inf where n = 0, NaN where there is
// one. Shapes: x [outer, n, inner], y [outer, inner], both contiguous.
// Error: exact. Panics: as ReduceSum.
func ReduceMax[T Float](s *Set[T], y, x []T, outer, n, inner int) {
	checkReduce("reduce-max", outer, n, inner, len(y), len(x))
	if outer == 0 || inner == 0 {
		return
	}
	RowsOf(outer, n*inner, maxima[T]{s, y, x, n, inner})
}

// maxima are those over n of matrices [n, inner].
type maxima[T Float] struct {
	s        *Set[T]
	y, x     []T
	n, inner int
}

// Run takes those of matrices lo…hi.
func (c *maxima[T]) Run(lo, hi int) {
	for o := lo; o < hi; o++ {
		if c.inner == 1 {
			c.y[o] = maxVector(c.s, c.x[o*c.n:(o+1)*c.n])
			continue
		}
		dst := c.y[o*c.inner : (o+1)*c.inner]
		for i := range dst {
			dst[i] = T(math.Inf(-1))
		}
		for j := range c.n {
			for i, v := range c.x[(o*c.n+j)*c.inner : (o*c.n+j+1)*c.inner] {
				dst[i] = max(dst[i], v)
			}
		}
	}
}

// sumVector, dotVector and expSubVector are Set.Sum, Dot and ExpSub of a vector
// of any length: sums of chunks are added in float64, in order.
func sumVector[T Float](s *Set[T], x []T) T {
	var sum float64
	eachChunk(len(x), func(lo, hi int) { sum += float64(s.Sum(x[lo:hi])) })
	return T(sum)
}

func dotVector[T Float](s *Set[T], x, y []T) T {
	var sum float64
	eachChunk(len(x), func(lo, hi int) { sum += float64(s.Dot(x[lo:hi], y[lo:hi])) })
	return T(sum)
}

func expSubVector[T Float](s *Set[T], y, x []T, m T) T {
	var sum float64
	eachChunk(len(x), func(lo, hi int) { sum += float64(s.ExpSub(y[lo:hi], x[lo:hi], m)) })
	return T(sum)
}

// maxVector is Set.Max of a vector of any length.
func maxVector[T Float](s *Set[T], x []T) T {
	top := T(math.Inf(-1))
	eachChunk(len(x), func(lo, hi int) { top = max(top, s.Max(x[lo:hi])) })
	return top
}

// SumSquares returns Σ x². Error: ≤ (16384/16+16)·u relative, beside underflow of
// x²: sums of 16384 elements are added in float64, in order.
func SumSquares[T Float](s *Set[T], x []T) float64 {
	n := (len(x) + chunk - 1) / chunk
	b := scratch[float64](n)
	defer b.free()
	runWork(len(x), chunk, false, squares[T]{s, b.mem, x})
	var sum float64
	for _, v := range b.mem {
		sum += v
	}
	return sum
}

// squares are the sums of squares of chunks.
type squares[T Float] struct {
	s    *Set[T]
	sums []float64
	x    []T
}

func (c *squares[T]) Run(lo, hi int) {
	v := c.x[lo:hi]
	c.sums[lo/chunk] = float64(c.s.Dot(v, v))
}

// AdamW advances p, m, v by the gradient g as Set.AdamW says, in parallel.
//
// Error: as Set.AdamW. Panics: *ShapeError if m, v or g is shorter than p, or step
// is nil.
func AdamW[T Float](s *Set[T], p, m, v, g []T, step *AdamWStep[T]) {
	if n := len(p); len(m) < n || len(v) < n || len(g) < n || step == nil {
		shapeCheck(false, "adamw", "p, m, v, g of %d, %d, %d, %d elements, a step given: %t", n, len(m), len(v), len(g), step != nil)
	}
	ChunksOf(len(p), optimiserStep[T]{s, p, m, v, g, *step})
}

type optimiserStep[T Float] struct {
	s          *Set[T]
	p, m, v, g []T
	step       AdamWStep[T]
}

func (c *optimiserStep[T]) Run(lo, hi int) {
	c.s.AdamW(c.p[lo:hi], c.m[lo:hi], c.v[lo:hi], c.g[lo:hi], &c.step)
}

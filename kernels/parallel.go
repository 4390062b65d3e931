package kernels

import "math"

// chunk is the length of a task of an elementwise op, in elements: 3 vectors of
// it fit L2, and one call into assembly stays in the microseconds.
const chunk = 1 << 14

// Chunks cuts [0, n) into runs of a fixed length and calls f on each, in
// parallel. Elementwise ops hoist their choice of kernel above it.
func Chunks(n int, f func(lo, hi int)) {
	if n <= chunk {
		if n > 0 {
			f(0, n)
		}
		return
	}
	Parallel((n+chunk-1)/chunk, func(t int) { f(t*chunk, min((t+1)*chunk, n)) })
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
func Rows(n, d int, f func(lo, hi int)) {
	per := rowsPerTask(d)
	Parallel((n+per-1)/per, func(t int) { f(t*per, min((t+1)*per, n)) })
}

// partialRows is how many rows share one partial sum of a reduction over rows.
// It depends on the shape alone, and so does the tree above it.
func partialRows(n, d int) int { return max(rowsPerTask(d), (n+63)/64) }

// reduceRows runs f on fixed runs of rows, each with its own zeroed partial of
// the given width, and adds the partials in a fixed binary tree into dst.
func reduceRows[T Float](s *Set[T], dst []T, n, d int, f func(partial []T, lo, hi int)) {
	per := partialRows(n, d)
	groups, width := (n+per-1)/per, len(dst)
	if groups == 0 {
		clear(dst)
		return
	}
	b := scratch[T](groups * width)
	defer b.free()
	Parallel(groups, func(t int) {
		p := b.mem[t*width : (t+1)*width]
		clear(p)
		f(p, t*per, min((t+1)*per, n))
	})
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
	addRows := func(dst, src []T, lo, hi, from int) { // columns from… of rows lo…hi
		for j := lo; j < hi; j++ {
			s.Add(dst, dst, src[j*inner+from:j*inner+from+len(dst)])
		}
	}
	switch {
	case inner == 1:
		reduceLast(outer, n, func(o int) { y[o] = sumVector(s, x[o*n:(o+1)*n]) })
	case inner >= wideRow:
		pieces := (inner + chunk - 1) / chunk
		Parallel(outer*pieces, func(t int) {
			o, from := t/pieces, t%pieces*chunk
			dst := y[o*inner+from : o*inner+min(from+chunk, inner)]
			clear(dst)
			addRows(dst, x[o*n*inner:], 0, n, from)
		})
	case n*inner <= chunk: // small sums: several to a task
		Rows(outer, n*inner, func(lo, hi int) {
			for o := lo; o < hi; o++ {
				dst := y[o*inner : (o+1)*inner]
				clear(dst)
				addRows(dst, x[o*n*inner:], 0, n, 0)
			}
		})
	default:
		for o := range outer {
			src := x[o*n*inner:]
			reduceRows(s, y[o*inner:(o+1)*inner], n, inner, func(p []T, lo, hi int) { addRows(p, src, lo, hi, 0) })
		}
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
	if inner == 1 {
		reduceLast(outer, n, func(o int) { y[o] = maxVector(s, x[o*n:(o+1)*n]) })
		return
	}
	Rows(outer, n*inner, func(lo, hi int) {
		for o := lo; o < hi; o++ {
			dst := y[o*inner : (o+1)*inner]
			for i := range dst {
				dst[i] = T(math.Inf(-1))
			}
			for j := range n {
				for i, v := range x[(o*n+j)*inner : (o*n+j+1)*inner] {
					dst[i] = max(dst[i], v)
				}
			}
		}
	})
}

// reduceLast runs f for every row; a long single row stays on one core, whose
// vector kernels stream it at the speed of memory.
func reduceLast(outer, n int, f func(o int)) {
	Rows(outer, n, func(lo, hi int) {
		for o := lo; o < hi; o++ {
			f(o)
		}
	})
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
	Parallel(n, func(t int) {
		v := x[t*chunk : min((t+1)*chunk, len(x))]
		b.mem[t] = float64(s.Dot(v, v))
	})
	var sum float64
	for _, v := range b.mem {
		sum += v
	}
	return sum
}

// AdamW advances p, m, v by the gradient g as Set.AdamW says, in parallel.
//
// Error: as Set.AdamW. Panics: *ShapeError if m, v or g is shorter than p, or step
// is nil.
func AdamW[T Float](s *Set[T], p, m, v, g []T, step *AdamWStep[T]) {
	if n := len(p); len(m) < n || len(v) < n || len(g) < n || step == nil {
		shapeCheck(false, "adamw", "p, m, v, g of %d, %d, %d, %d elements, a step given: %t", n, len(m), len(v), len(g), step != nil)
	}
	Chunks(len(p), func(lo, hi int) { s.AdamW(p[lo:hi], m[lo:hi], v[lo:hi], g[lo:hi], step) })
}

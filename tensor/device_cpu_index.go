package tensor

import (
	"fmt"

	"fuerte/kernels"
)

// fillIndex fills the ops that compare, pick and move elements. T orders; A is
// what its sums are taken in.
func fillIndex[T number, A float64 | int64](o *Ops) {
	o.Less = compareCPU[T](true, false)
	o.LessEqual = compareCPU[T](true, true)
	o.Equal = compareCPU[T](false, true)
	o.ArgMax = argMaxCPU[T]
	o.TopK = topKCPU[T]
	o.CumSum = cumSumCPU[T, A]
	o.PutAlongAdd = putAlongAddCPU[T]
}

// lines calls f, in parallel, for every line of y's last axis: i is where it
// begins in the contiguous y, n its length.
func lines(y *Tensor, f func(i, n int)) {
	n := 1
	if y.rank > 0 {
		n = y.dims[y.rank-1]
	}
	kernels.Rows(y.Len()/n, n, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			f(i*n, n)
		}
	})
}

// lastStep returns the stride of the last axis.
func lastStep(t *Tensor) int {
	if t.rank == 0 {
		return 0
	}
	return t.steps[t.rank-1]
}

// whereCPU moves bits, so the size of an element is all it has to know.
func whereCPU(y, cond, a, b *Tensor) {
	switch y.dtype.Size() {
	case 1:
		whereLines[uint8](y, cond, a, b)
	case 2:
		whereLines[BF16](y, cond, a, b)
	case 4:
		whereLines[int32](y, cond, a, b)
	case 8:
		whereLines[int64](y, cond, a, b)
	}
}

func whereLines[E Elem](y, cond, a, b *Tensor) {
	out, c, v, w := raw[E](y), raw[bool](cond), raw[E](a), raw[E](b)
	cs, vs, ws := lastStep(cond), lastStep(a), lastStep(b)
	lines(y, func(i, n int) {
		p, q, r := cond.position(i), a.position(i), b.position(i)
		for j := i; j < i+n; j++ {
			if c[p] {
				out[j] = v[q]
			} else {
				out[j] = w[r]
			}
			p, q, r = p+cs, q+vs, r+ws
		}
	})
}

func compareCPU[T number](less, equal bool) func(y, a, b *Tensor) {
	return func(y, a, b *Tensor) {
		out, v, w := Data[bool](y), raw[T](a), raw[T](b)
		vs, ws := lastStep(a), lastStep(b)
		lines(y, func(i, n int) {
			p, q := a.position(i), b.position(i)
			for j := i; j < i+n; j++ {
				out[j] = less && v[p] < w[q] || equal && v[p] == w[q]
				p, q = p+vs, q+ws
			}
		})
	}
}

// above reports whether a comes before b where the largest is first; no integer
// differs from itself.
func above[T number](a, b T) bool { return a > b || a != a && b == b }

func argMaxCPU[T number](y, x *Tensor, outer, n, inner int) {
	out, v := Data[int32](y), Data[T](x)
	kernels.Rows(outer, n*inner, func(lo, hi int) {
		for o := lo; o < hi; o++ {
			best, block := out[o*inner:(o+1)*inner], v[o*n*inner:(o+1)*n*inner]
			clear(best)
			for j := 1; j < n; j++ {
				for i, e := range block[j*inner : (j+1)*inner] {
					if above(e, block[int(best[i])*inner+i]) {
						best[i] = int32(j)
					}
				}
			}
		}
	})
}

// topKCPU keeps the k best so far in order; most elements fail at the first
// comparison, with the last of them.
func topKCPU[T number](y, id, x *Tensor) {
	out, at, v := Data[T](y), Data[int32](id), Data[T](x)
	rows, n := rows(x)
	k := y.Len() / rows
	kernels.Rows(rows, n, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			row, best := v[r*n:(r+1)*n], at[r*k:(r+1)*k]
			have := 0
			for j, e := range row {
				if have == k && !above(e, row[best[k-1]]) {
					continue
				}
				from, to := 0, have // equals stay in front of e
				for from < to {
					if mid := (from + to) / 2; above(e, row[best[mid]]) {
						to = mid
					} else {
						from = mid + 1
					}
				}
				have = min(have+1, k)
				copy(best[from+1:have], best[from:])
				best[from] = int32(j)
			}
			for j, i := range best {
				out[r*k+j] = row[i]
			}
		}
	})
}

// columnBlock is how many columns of [outer, n, inner] one task walks down.
const columnBlock = 64

// columns calls f, in parallel, on blocks of columns lo…hi of the o-th matrix of
// [outer, n, inner].
func columns(outer, n, inner int, f func(o, lo, hi int)) {
	blocks := (inner + columnBlock - 1) / columnBlock
	kernels.Rows(outer*blocks, n*min(inner, columnBlock), func(from, to int) {
		for t := from; t < to; t++ {
			lo := t % blocks * columnBlock
			f(t/blocks, lo, min(lo+columnBlock, inner))
		}
	})
}

func cumSumCPU[T number, A float64 | int64](y, x *Tensor, outer, n, inner int, reverse bool) {
	out, v := Data[T](y), Data[T](x)
	columns(outer, n, inner, func(o, lo, hi int) {
		var sums [columnBlock]A
		for j := range n {
			if reverse {
				j = n - 1 - j
			}
			row := (o*n + j) * inner
			for i := lo; i < hi; i++ {
				sums[i-lo] += A(v[row+i])
				out[row+i] = T(sums[i-lo])
			}
		}
	})
}

func takeAlongCPU(y, x, id *Tensor, outer, n, inner int) {
	switch y.dtype.Size() {
	case 1:
		takeColumns[uint8](y, x, id, outer, n, inner)
	case 2:
		takeColumns[BF16](y, x, id, outer, n, inner)
	case 4:
		takeColumns[int32](y, x, id, outer, n, inner)
	case 8:
		takeColumns[int64](y, x, id, outer, n, inner)
	}
}

func takeColumns[E Elem](y, x, id *Tensor, outer, n, inner int) {
	checkAlong("take", id, n)
	out, v, at := raw[E](y), raw[E](x), Data[int32](id)
	m := len(at) / (outer * inner)
	columns(outer, m, inner, func(o, lo, hi int) {
		for j := range m {
			row := (o*m + j) * inner
			for i := lo; i < hi; i++ {
				out[row+i] = v[(o*n+int(at[row+i]))*inner+i]
			}
		}
	})
}

// putAlongAddCPU splits columns among the workers, never a column, so that the
// order of each sum is fixed.
func putAlongAddCPU[T number](gx, gy, id *Tensor, outer, n, inner int) {
	checkAlong("put", id, n)
	out, g, at := Data[T](gx), Data[T](gy), Data[int32](id)
	clear(out)
	m := len(at) / max(outer*inner, 1)
	columns(outer, m, inner, func(o, lo, hi int) {
		for j := range m {
			row := (o*m + j) * inner
			for i := lo; i < hi; i++ {
				out[(o*n+int(at[row+i]))*inner+i] += g[row+i]
			}
		}
	})
}

func checkAlong(op string, id *Tensor, n int) {
	for _, i := range Data[int32](id) {
		if i < 0 || int(i) >= n {
			shapeFail(op, fmt.Sprintf("id %d is outside an axis of %d entries", i, n), id)
		}
	}
}

//go:build opengl

package opengl

import (
	"fmt"
	"math"
	"testing"
)

// few returns n floats of which many are equal, and as many integers.
func (a *arena) few(n int) ([]float32, []int32) {
	x, k := make([]float32, n), make([]int32, n)
	for i := range x {
		k[i] = int32(a.r.IntN(7)) - 3
		x[i] = float32(k[i])
	}
	return x, k
}

// wantInts compares a result exactly.
func (a *arena) wantInts(name string, b Buffer, want []int32) {
	a.t.Helper()
	got := make([]int32, len(want))
	a.ok(a.c.DownloadInt32(got, b))
	for i, w := range want {
		if got[i] != w {
			a.t.Errorf("%s[%d of %d] = %d, want %d", name, i, len(want), got[i], w)
			return
		}
	}
}

func TestIndexOps(t *testing.T) {
	for _, s := range [][3]int{{1, 1, 1}, {3, 7, 5}, {1, 70, 1}, {70, 9, 2}} {
		outer, n, inner := s[0], s[1], s[2]
		m := n/2 + 1
		twice(t, fmt.Sprint(s), func(a *arena) {
			x, k := a.few(outer * n * inner)
			g, gk := a.few(outer * m * inner)
			id := make([]int32, outer*m*inner)
			for i := range id {
				id[i] = int32(a.r.IntN(n))
			}
			best, sums, back := make([]int32, outer*inner), make([]int32, len(x)), make([]int32, len(x))
			taken, put := make([]int32, len(id)), make([]int32, len(x))
			for o := range outer {
				for i := range inner {
					at := func(j int) int { return (o*n+j)*inner + i }
					var sum, rev int32
					for j := range n {
						if k[at(j)] > k[at(int(best[o*inner+i]))] {
							best[o*inner+i] = int32(j)
						}
						sum += k[at(j)]
						sums[at(j)] = sum
						rev += k[at(n-1-j)]
						back[at(n-1-j)] = rev
					}
					for l := range m {
						e := (o*m+l)*inner + i
						taken[e] = k[at(int(id[e]))]
						put[at(int(id[e]))] += gk[e]
					}
				}
			}
			idb := a.ints(id)
			for _, ints := range []bool{false, true} {
				xb, gb := a.in(x), a.in(g)
				same := a.wantInts
				if ints {
					xb, gb = a.ints(k), a.ints(gk)
				} else {
					same = func(name string, b Buffer, want []int32) { // small integers are exact
						w := make([]float64, len(want))
						for i, v := range want {
							w[i] = float64(v)
						}
						a.want(name, b, w, relative(0, w))
					}
				}
				y, c, r, tk, p := a.out(len(best)), a.out(len(x)), a.out(len(x)), a.out(len(id)), a.out(len(x))
				a.ok(a.c.ArgMax(ints, y, xb, outer, n, inner))
				a.ok(a.c.CumSum(ints, c, xb, outer, n, inner, false))
				a.ok(a.c.CumSum(ints, r, xb, outer, n, inner, true))
				a.ok(a.c.TakeAlong(tk, xb, idb, outer, m, n, inner))
				a.ok(a.c.PutAlongAdd(ints, p, gb, idb, outer, m, n, inner))
				a.wantInts("argmax", y, best)
				same("cumsum", c, sums)
				same("cumsum reverse", r, back)
				same("take", tk, taken)
				same("put", p, put)
			}
		})
		twice(t, fmt.Sprint("topk ", s), func(a *arena) {
			rows, n, k := outer, n*inner, m
			x, _ := a.few(rows * n)
			if n > 5 {
				x[3] = float32(math.NaN())
			}
			y, id := a.out(rows*k), a.out(rows*k)
			a.ok(a.c.TopK(false, y, id, a.in(x), rows, n, k))
			want, at := make([]float64, rows*k), make([]int32, rows*k)
			for r := range rows {
				used := make([]bool, n)
				for c := range k {
					best := -1
					for j := range n {
						v := float64(x[r*n+j])
						if !used[j] && (best < 0 || v > float64(x[r*n+best]) || math.IsNaN(v) && !math.IsNaN(float64(x[r*n+best]))) {
							best = j
						}
					}
					used[best] = true
					want[r*k+c], at[r*k+c] = float64(x[r*n+best]), int32(best)
				}
			}
			a.want("values", y, want, relative(0, want))
			a.wantInts("places", id, at)
		})
	}
	twice(t, "cumsum keeps what additions round away", func(a *arena) {
		const n = 1000
		x := a.normal(n)
		x[0] = 1e6
		y := a.out(n)
		a.ok(a.c.CumSum(false, y, a.in(x), 1, n, 1, false))
		want := make([]float64, n)
		sum := 0.0
		for i, v := range x {
			sum += float64(v)
			want[i] = sum
		}
		a.want("y", y, want, relative(1, want))
	})
}

// TestCompareWhere covers bytes: comparisons write them, Where and CopyBytes read
// them through strides.
func TestCompareWhere(t *testing.T) {
	for _, v := range viewCases {
		if v.a == nil {
			continue
		}
		twice(t, fmt.Sprint(v.shape), func(a *arena) {
			n := 1
			for _, d := range v.shape {
				n *= d
			}
			x, xk := a.few(span(v.shape, v.a))
			z, zk := a.few(span(v.shape, v.b))
			xv, zv, xi, zi := view(a.in(x), v.a), view(a.in(z), v.b), view(a.ints(xk), v.a), view(a.ints(zk), v.b)
			flat := rowMajor(v.shape, 0)
			for op, f := range []func(a, b float32) bool{
				func(a, b float32) bool { return a < b }, func(a, b float32) bool { return a <= b }, func(a, b float32) bool { return a == b }} {
				words := (n + 3) / 4
				want, pick := make([]int32, words), make([]float64, n)
				walk(v.shape, func(i int, k []int) {
					p, q := x[at(k, v.a)], z[at(k, v.b)]
					pick[i] = float64(q)
					if f(p, q) {
						want[i/4] |= 1 << (8 * (i % 4))
						pick[i] = float64(p)
					}
				})
				y, yi, w := a.out(words), a.out(words), a.out(n)
				a.ok(a.c.Compare(Comparison(op), false, v.shape, y, xv, zv))
				a.ok(a.c.Compare(Comparison(op), true, v.shape, yi, xi, zi))
				a.wantInts("of float32", y, want)
				a.wantInts("of int32", yi, want)
				a.ok(a.c.Where(v.shape, view(w, flat), Bools(y, 0, flat), xv, zv))
				a.want("where", w, pick, relative(0, pick))
			}
		})
	}
	twice(t, "bytes", func(a *arena) {
		// Bytes 1 … 12 in three words, as 3×4; its transpose to bytes 1, 5, 9, … of
		// a buffer, five bytes apart, from byte 2 on.
		x := a.ints([]int32{0x04030201, 0x08070605, 0x0c0b0a09})
		y := a.inoutInts(make([]int32, 15))
		a.ok(a.c.CopyBytes([]int{4, 3}, Bools(y, 2, []int{15, 5}), Bools(x, 0, []int{1, 4})))
		var bytes [60]byte
		for i := range 4 {
			for j := range 3 {
				bytes[2+15*i+5*j] = byte(1 + i + 4*j)
			}
		}
		want := make([]int32, 15)
		for i, b := range bytes {
			want[i/4] |= int32(uint32(b) << (8 * (i % 4)))
		}
		a.wantInts("y", y, want)
	})
	twice(t, "NaN compares to nothing", func(a *arena) {
		nan := float32(math.NaN())
		x := a.in([]float32{nan, 1, nan, float32(math.Inf(1))})
		z := a.in([]float32{1, nan, nan, float32(math.Inf(1))})
		y := a.out(1)
		for op, want := range []int32{0, 1 << 24, 1 << 24} {
			a.ok(a.c.Compare(Comparison(op), false, []int{4}, y, view(x, []int{1}), view(z, []int{1})))
			a.wantInts("y", y, []int32{want})
		}
	})
}

func (a *arena) inoutInts(x []int32) Buffer { return a.place(x, true) }

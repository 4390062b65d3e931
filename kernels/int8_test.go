package kernels

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestQuantize: every weight within the stated error, of all sizes; each group has
// its own scale; what lies between the rows is not read.
func TestQuantize(t *testing.T) {
	s := Reference[float32]()
	r := rand.New(rand.NewPCG(5, 6))
	const n, k, ld = 60, 45, 48
	w := slices.Repeat([]float32{float32(math.NaN())}, (n-1)*ld+k)
	for i := range n {
		row := w[i*ld:][:k]
		for j := range row {
			row[j] = (2*r.Float32() - 1) * float32(math.Ldexp(1, i*9/2-149)) // from denormals on
		}
	}
	clear(w[7*ld:][:k])
	fill(w[8*ld:][:k], math.MaxFloat32)
	copy(w[9*ld:], []float32{127, 0.5, 1.5, 2.5, -0.5, -1.5, -127, 126.5})
	fill(w[10*ld:][:k], 1e-45)
	w[11*ld] = 190e-45 // a scale of one denormal: what 127 of them do not reach
	for _, group := range []int{0, 1, 8, 16, 44, k} {
		q, err := Quantize(w, n, k, ld, group)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Repeat([]float32{7}, (n-1)*ld+k)
		q.Dequantize(s, got, ld)
		for i := range n {
			for j := range ld {
				if at := i*ld + j; j < k {
					scale := q.Scale[i*q.groups()+j/q.Group]
					tol := int8Bound[0]*float64(scale) + int8Bound[1]
					observe("Quantize", s.Name, float64(got[at]), float64(w[at]), tol, func() string { return fmt.Sprintf("[%d, %d]", i, j) })
					if !within(got[at], float64(w[at]), tol) {
						t.Fatalf("group %d: Ŵ[%d, %d] = %g for %g with scale %g", group, i, j, got[at], w[at], scale)
					}
				} else if at < len(got) && got[at] != 7 {
					t.Fatalf("group %d: wrote behind row %d", group, i)
				}
			}
		}
		for _, v := range got {
			if v-v != 0 {
				t.Errorf("group %d: Ŵ has %g", group, v)
			}
		}
		if largest := slices.Max(q.Data); largest != 127 || slices.Min(q.Data) != -127 {
			t.Errorf("group %d: integers of %d…%d", group, slices.Min(q.Data), largest)
		}
		if group == 0 {
			if want := []int8{127, 0, 2, 2, 0, -2, -127, 126}; q.Scale[9] != 1 || !slices.Equal(q.Data[9*k:][:8], want) {
				t.Errorf("ties: %v with scale %g, want %v", q.Data[9*k:][:8], q.Scale[9], want)
			}
		}
	}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		w[3*ld+40] = bad
		_, err := Quantize(w, n, k, ld, 16)
		var e *WeightError
		if !errors.As(err, &e) || e.Row != 3 || e.Column != 40 || !same([]float32{e.Value}, []float32{bad}) {
			t.Errorf("%v at [3, 40]: %v", bad, err)
		}
	}
	for _, shape := range [][2]int{{0, 5}, {5, 0}, {0, 0}} {
		q, err := Quantize(nil, shape[0], shape[1], shape[1], 0)
		if err != nil {
			t.Fatal(err)
		}
		q.Dequantize(s, nil, shape[1])
		c := slices.Repeat([]float32{3}, 2*shape[0])
		GemmInt8(s, 2, make([]float32, 2*shape[1]), shape[1], q, c, shape[0], nil)
		for _, v := range c {
			if v != 0 {
				t.Errorf("%v: a product without terms is %g", shape, v)
			}
		}
	}
}

// TestGemmInt8: the bits of GemmFused on what Dequantize gives, on every path; and
// the weights that were quantized, within the stated error.
func TestGemmInt8(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	for _, s := range usable() {
		mr, nr := s.Tile.MR, s.Tile.NR
		for _, shape := range [][3]int{{1, 70, 40}, {1, 3, 8}, {1, 41, 45}, {2, 301, 264}, {int8Rows, 2*nr + 3, 264}, {int8Rows + 1, 50, 264},
			{dotsRows + 1, nr, gemmKC + 16}, {4*mr + 1, 2*nr + 3, gemmKC + 9}, {1, 1, 1}} {
			m, n, k := shape[0], shape[1], shape[2]
			const gap = 3
			lda, ldc := k+gap, n+gap
			a := make([]float32, (m-1)*lda+k)
			fractions.fill(r, a)
			for i := range a {
				if i%lda >= k {
					a[i] = float32(math.NaN())
				}
			}
			weights := bitsNormal[float32](r, n*k)
			for _, group := range []int{0, 8, 24, 64, 5, 12} {
				if group > k {
					continue
				}
				what := fmt.Sprintf("%s %v, groups of %d", s.Name, shape, group)
				w, err := Quantize(weights, n, k, k, group)
				if err != nil {
					t.Fatal(err)
				}
				wide := make([]float32, n*k)
				w.Dequantize(s, wide, k)
				for _, e := range []*Epilogue[float32]{nil, {Bias: weights[:n], Activation: ActivationSiLU}} {
					got := slices.Repeat([]float32{float32(math.NaN())}, (m-1)*ldc+n)
					want := slices.Clone(got)
					GemmFused(s, false, true, m, n, k, a, lda, wide, k, want, ldc, e)
					GemmInt8(s, m, a, lda, w, got, ldc, e)
					if !same(got, want) {
						t.Errorf("%s: other bits than GemmFused of the same values", what)
					}
					if e != nil {
						continue
					}
					for i := range m {
						for j := range n {
							var sum, size, quantized float64
							for p := range k {
								x := float64(a[i*lda+p])
								sum += x * float64(weights[j*k+p])
								size += math.Abs(x * float64(wide[j*k+p]))
								quantized += math.Abs(x) * (int8Bound[0]*float64(w.Scale[j*w.groups()+p/w.Group]) + int8Bound[1])
							}
							tol := (float64(k)+math.Ceil(float64(k)/gemmBound[0]))*ulp1*size + gemmBound[1]*float64(k) + quantized
							if !within(got[i*ldc+j], sum, tol) {
								t.Fatalf("%s: C[%d,%d] = %g, want %g ± %g", what, i, j, got[i*ldc+j], sum, tol)
							}
						}
					}
				}
				var p, q PackedB[float32]
				p.Pack(s, true, k, n, wide, k)
				PackInt8(&q, s, w)
				if !same(p.mem, q.mem) {
					t.Errorf("%s: packed otherwise than the same values", what)
				}
			}
		}
	}
}

package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func init() {
	contracts["FromInt8"] = testFromInt8
	contracts["DotsBF16"] = func(t *testing.T, s *Set[float32]) {
		if s.DotsBF16 != nil {
			testNarrowDots(t, s, narrowHalves(s.DotsBF16, s.FromBF16))
		}
	}
	contracts["DotsF16"] = func(t *testing.T, s *Set[float32]) {
		if s.DotsF16 != nil {
			testNarrowDots(t, s, narrowHalves(s.DotsF16, s.FromF16))
		}
	}
	contracts["DotsInt8"] = func(t *testing.T, s *Set[float32]) {
		if s.DotsInt8 == nil {
			return
		}
		for _, group := range []int{8, 16, 24, 1 << 40} {
			testNarrowDots(t, s, narrowInt8(t, s, group))
		}
	}
}

func testFromInt8(t *testing.T, s *Set[float32]) {
	var codes []int8
	for code := range 256 {
		codes = append(codes, int8(code))
	}
	codes = append(codes, everywhere[int8](-128, -127, -3, -1, 0, 1, 2, 100, 127)...)
	for _, scale := range append(slices.Clone(specials), 0.1, 1.0/3) {
		testConversion(t, func(y []float32, x []int8) { s.FromInt8(y, x, scale) }, func(x int8) float32 { return scale * float32(x) }, codes)
	}
}

// narrow is a kernel that is Dots of B widened.
type narrow[E BF16 | F16 | int8] struct {
	gap  E // what lies between the rows of B: what takes part would be seen
	draw func(r *rand.Rand) E
	// wide sets the n×k matrix y to B, which begins scales that run reads.
	wide func(r *rand.Rand, y []float32, n, k int, b []E, ldb int)
	run  func(m, n, k int, a *float32, lda int, b *E, ldb int, c *float32, ldc int, accumulate bool)
}

func narrowHalves[H BF16 | F16](run func(m, n, k int, a *float32, lda int, b *H, ldb int, c *float32, ldc int, accumulate bool), from func(y []float32, x []H)) narrow[H] {
	return narrow[H]{
		gap: ^H(0), // NaN
		draw: func(r *rand.Rand) H {
			if r.IntN(200) == 0 { // any code, also of a signaling NaN
				return H(r.IntN(1 << 16))
			}
			return H(r.IntN(2)<<15 | 0x3800 + r.IntN(0x800))
		},
		wide: func(_ *rand.Rand, y []float32, n, k int, b []H, ldb int) {
			for j := range n {
				from(y[j*k:][:k], b[j*ldb:])
			}
		},
		run: run,
	}
}

func narrowInt8(t *testing.T, s *Set[float32], group int) narrow[int8] {
	f := newFence(t, 8*40)
	var scale []float32
	var ldScale int
	var intact func() bool
	return narrow[int8]{
		gap:  127,
		draw: func(r *rand.Rand) int8 { return int8(r.IntN(256)) },
		wide: func(r *rand.Rand, y []float32, n, k int, b []int8, ldb int) {
			groups := (k-1)/group + 1
			ldScale = groups + r.IntN(3)
			scale, intact = f.place((n-1)*ldScale+groups, r.IntN(2) == 0)
			fill(scale, float32(math.NaN()))
			for j := range n {
				for g := range groups {
					scale[j*ldScale+g] = r.Float32() + 0.1
				}
				for p := range k {
					y[j*k+p] = scale[j*ldScale+p/group] * float32(b[j*ldb+p])
				}
			}
		},
		run: func(m, n, k int, a *float32, lda int, b *int8, ldb int, c *float32, ldc int, accumulate bool) {
			s.DotsInt8(m, n, k, a, lda, b, ldb, &scale[0], ldScale, group, c, ldc, accumulate)
			if !intact() {
				t.Fatal("wrote beside the scales")
			}
		},
	}
}

// testNarrowDots compares with the bits of Dots, on memory between fences.
func testNarrowDots[E BF16 | F16 | int8](t *testing.T, s *Set[float32], d narrow[E]) {
	defer fault(t)
	r := rand.New(rand.NewPCG(1, 2))
	const most, gaps = 296, 3
	fa, fb, fc := newFence(t, 9*(most+gaps)), newFence(t, 9*(most+gaps)), newFence(t, 9*(9+gaps))
	gap := math.Float32frombits(canaryBits)
	for m := 1; m <= 8; m++ {
		for _, n := range []int{4, 8} {
			for _, k := range []int{8, 16, 24, 32, 40, 64, most} {
				for variant := range 4 {
					end, accumulate := variant&1 == 0, variant&2 == 0
					lda, ldb, ldc := k+r.IntN(gaps+1), k+r.IntN(gaps+1), n+r.IntN(gaps+1)
					a, okA := fa.place((m-1)*lda+k, end)
					b, okB := placeOf[E](fb, (n-1)*ldb+k, end, 0xff, 0xff)
					c, okC := fc.place((m-1)*ldc+n, end)
					fill(a, gap)
					for i := range m {
						values(variant%2).fill(r, a[i*lda:][:k])
					}
					for i := range b {
						b[i] = d.draw(r)
						if i%ldb >= k {
							b[i] = d.gap
						}
					}
					fill(c, gap)
					if accumulate {
						for i := range m {
							fractions.fill(r, c[i*ldc:][:n])
						}
					}
					keptA, keptB, want := slices.Clone(a), slices.Clone(b), slices.Clone(c)
					y := make([]float32, n*k)
					d.wide(r, y, n, k, b, ldb)
					s.Dots(m, n, k, &a[0], lda, &y[0], k, &want[0], ldc, accumulate)
					d.run(m, n, k, &a[0], lda, &b[0], ldb, &c[0], ldc, accumulate)
					label := fmt.Sprintf("m=%d n=%d k=%d lda=%d ldb=%d ldc=%d accumulate=%t", m, n, k, lda, ldb, ldc, accumulate)
					if !okA() || !okB() || !okC() || !same(a, keptA) || !slices.Equal(b, keptB) {
						t.Fatalf("%s: changed an operand, or wrote beside one", label)
					}
					for i := range c {
						if math.Float32bits(c[i]) != math.Float32bits(want[i]) {
							t.Fatalf("%s: C[%d,%d] = %g (%#x), want %g (%#x)", label, i/ldc, i%ldc, c[i], math.Float32bits(c[i]), want[i], math.Float32bits(want[i]))
						}
					}
				}
			}
		}
	}
}

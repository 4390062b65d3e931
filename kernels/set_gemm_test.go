package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// testTile runs the micro-kernel for every small k, on whole numbers, whose sums
// are exact in any order, and on random ones.
func testTile(t *testing.T, s *Set[float32]) {
	defer fault(t)
	r := rand.New(rand.NewPCG(1, 1))
	mr, nr := s.Tile.MR, s.Tile.NR
	const most = 256
	gap := math.Float32frombits(canaryBits)
	fa, fb := newFence(t, most*mr), newFence(t, most*nr)
	ks := []int{most}
	for k := 1; k <= 40; k++ { // past every unrolling, and its tail
		ks = append(ks, k)
	}
	for _, ldc := range []int{nr, nr + 1, nr + 19} {
		fc := newFence(t, mr*ldc)
		for _, k := range ks {
			for variant := range 8 {
				end, accumulate, whole := variant&1 == 0, variant&2 == 0, variant&4 == 0
				a, okA := fa.place(k*mr, end)
				b, okB := fb.place(k*nr, end)
				c, okC := fc.place((mr-1)*ldc+nr, end)
				kind := wholeNumbers
				if !whole {
					kind = fractions
				}
				kind.fill(r, a)
				kind.fill(r, b)
				before := make([]float32, len(c))
				for i := range before {
					before[i] = gap
					if accumulate && i%ldc < nr {
						before[i] = float32(r.IntN(9))
					}
				}
				copy(c, before)
				s.Tile.Run(k, &a[0], &b[0], &c[0], ldc, accumulate)
				label := fmt.Sprintf("k=%d ldc=%d accumulate=%t", k, ldc, accumulate)
				if !okA() || !okB() || !okC() {
					t.Fatalf("%s: wrote beside an operand", label)
				}
				for i, got := range c {
					row, col := i/ldc, i%ldc
					if col >= nr {
						if math.Float32bits(got) != canaryBits {
							t.Fatalf("%s: wrote %g into the gap behind row %d", label, got, row)
						}
						continue
					}
					var want, size float64
					for p := range k {
						x := float64(a[p*mr+row]) * float64(b[p*nr+col])
						want, size = want+x, size+math.Abs(x)
					}
					tol := float64(k)*ulp1*size + tileBound[0]*float64(k)
					if accumulate {
						want += float64(before[i])
						tol += tileBound[1] * ulp(want)
					}
					if whole {
						tol = 0
					}
					observe("Tile", s.Name, float64(got), want, tol, func() string { return fmt.Sprintf("%s C[%d,%d]", label, row, col) })
					if !within(got, want, tol) {
						t.Fatalf("%s: C[%d,%d] = %g, want %g ± %g", label, row, col, got, want, tol)
					}
				}
			}
		}
	}
}

// testPackRows and testPackCols compare every width that a tile of some level
// asks for, full and cut, with the formula of the contract.
func testPackRows(t *testing.T, s *Set[float32]) {
	testPack(t, &s.Tile, s.PackRows, func(p, j, ld int) int { return p*ld + j }, func(k, w int) (rows, cols int) { return k, w })
}

func testPackCols(t *testing.T, s *Set[float32]) {
	testPack(t, &s.Tile, s.PackCols, func(p, i, ld int) int { return i*ld + p }, func(k, w int) (rows, cols int) { return w, k })
}

func testPack(t *testing.T, tile *Tile[float32], pack func(dst, src []float32, ld, k, w, width int), from func(p, j, ld int) int, shape func(k, w int) (rows, cols int)) {
	defer fault(t)
	const mostK, mostGap = 130, 17
	widths := []int{1, 4, 6, 8, 12, 14, 16, 32, 33, tile.MR, tile.NR}
	slices.Sort(widths)
	widths = slices.Compact(widths)
	mostWidth := widths[len(widths)-1]
	fd, fs := newFence(t, mostK*mostWidth), newFence(t, (max(mostK, mostWidth)+mostGap)*(max(mostK, mostWidth)+mostGap))
	for _, width := range widths {
		for w := 1; w <= width; w++ {
			if w > 2 && w < width-2 && w%5 != 0 {
				continue
			}
			for _, k := range []int{1, 2, 3, 7, 8, 9, 15, 16, 17, 23, 24, 31, 32, 33, 64, mostK} {
				for variant := range 4 {
					end, gap := variant&1 == 0, variant&2/2*mostGap
					rows, cols := shape(k, w)
					ld := cols + gap
					n := 0
					if rows > 0 && cols > 0 {
						n = (rows-1)*ld + cols
					}
					src, okS := fs.place(n, end)
					dst, okD := fd.place(k*width, end)
					for i := range src {
						src[i] = float32(i + 1)
						if i%ld >= cols {
							src[i] = float32(math.NaN())
						}
					}
					for i := range dst {
						dst[i] = float32(math.NaN())
					}
					pack(dst, src, ld, k, w, width)
					if !okS() || !okD() {
						t.Fatalf("k=%d w=%d width=%d ld=%d: wrote beside an operand", k, w, width, ld)
					}
					for p := range k {
						for j := range width {
							var want float32
							if j < w {
								want = src[from(p, j, ld)]
							}
							if got := dst[p*width+j]; got != want {
								t.Fatalf("k=%d w=%d width=%d ld=%d: dst[%d,%d] = %g, want %g", k, w, width, ld, p, j, got, want)
							}
						}
					}
				}
			}
		}
	}
}

// fault turns an access outside the fences into a failure.
func fault(t *testing.T) {
	t.Helper()
	if v := recover(); v != nil {
		t.Errorf("%v", v)
	}
}

// values are kinds of numbers to fill operands with.
type values uint8

const (
	wholeNumbers values = iota // −4…4, whose sums are exact in any order
	fractions                  // [−½, ½)
	wide                       // normal, times 2⁻²⁰…2²⁰
	tiny                       // denormals and their neighbours
	rareSpecials               // fractions, one in 64 of them NaN, ±Inf, −0 or denormal
	valueKinds
)

func (v values) fill(r *rand.Rand, x []float32) {
	for i := range x {
		switch x[i] = r.Float32() - 0.5; v {
		case wholeNumbers:
			x[i] = float32(r.IntN(9) - 4)
		case wide:
			x[i] = float32(math.Ldexp(r.NormFloat64(), r.IntN(41)-20))
		case tiny:
			x[i] *= float32(math.Ldexp(1, -149+r.IntN(30)))
		case rareSpecials:
			if r.IntN(64) == 0 {
				x[i] = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.Copysign(0, -1)), 1e-40}[r.IntN(5)]
			}
		}
	}
}

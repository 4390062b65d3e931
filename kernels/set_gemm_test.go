package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// testTile runs the micro-kernel for every number of rows and columns and every
// small k, with A packed, in place and transposed in place and B packed and in
// place, on whole numbers, whose sums are exact in any order, and on random ones.
func testTile(t *testing.T, s *Set[float32]) { testTileOf(t, s, "Tile", &s.Tile, false) }

// testTileOf tests a tile; one of pairs by whole numbers alone. The rest of those
// TestGemmBF16 sees.
func testTileOf(t *testing.T, s *Set[float32], name string, tile *Tile[float32], pairs bool) {
	defer fault(t)
	r := rand.New(rand.NewPCG(1, 1))
	mr, nr := tile.MR, tile.NR
	type shape struct{ m, n, k int }
	var shapes []shape
	for k := 1; k <= 40; k++ { // past every unrolling, and its tail
		shapes = append(shapes, shape{mr, nr, k}, shape{2*mr + 1 + k%(mr-1), 1 + k%nr, k})
	}
	for m := 1; m <= 2*mr+1; m++ {
		for n := 1; n <= nr; n++ {
			if m <= mr || n == nr || n == m%nr {
				shapes = append(shapes, shape{m, n, 2 + (m+n)%7})
			}
		}
	}
	shapes = append(shapes, shape{mr, nr, 256}, shape{3*mr - 1, nr - 1, 256})
	for range 4 { // every way that B and C lie
		shapes = append(shapes, shape{mr, nr, 4}, shape{mr, nr, 36})
	}
	const gaps = 3
	fa, fb, fc := newFence(t, 3*mr*(256+gaps)+256*(3*mr+gaps)), newFence(t, 256*(nr+19)), newFence(t, 3*mr*(nr+19))
	fp, fs := newFence(t, 256*nr), newFence(t, nr*(256+gaps))
	gap := math.Float32frombits(canaryBits)
	elements := func(kind values, x []float32) {
		kind.fill(r, x)
		if !pairs {
			return
		}
		low := make([]float32, len(x))
		kind.fill(r, low)
		for i := range x {
			x[i] = math.Float32frombits(math.Float32bits(x[i]) | math.Float32bits(low[i])>>16)
		}
	}
	product := func(x, y float32) float64 {
		if !pairs {
			return float64(x) * float64(y)
		}
		low := func(x float32) float64 { return float64(math.Float32frombits(math.Float32bits(x) << 16)) }
		high := func(x float32) float64 { return float64(math.Float32frombits(math.Float32bits(x) &^ 0xffff)) }
		return high(x)*high(y) + low(x)*low(y)
	}
	for i, x := range shapes {
		m, n, k := x.m, x.n, x.k
		for variant := range 24 {
			end, accumulate, whole := variant&1 == 0, variant&2 == 0, pairs || variant&4 == 0
			ldb, ldc := []int{nr, n, n + 1, n + 19}[i%4], []int{n, n + 1, n + 19}[i%3]
			var strip, row, col int
			switch variant / 8 {
			case 0:
				strip, row, col = mr*k+i%2*7, 1, mr
			case 1:
				lda := k + i%gaps
				strip, row, col = mr*lda, lda, 1
			case 2:
				strip, row, col = mr, 1, m+i%gaps
			}
			at := func(i, p int) int { return i/mr*strip + i%mr*row + p*col }
			a, okA := fa.place(at(m-1, k-1)+1, end)
			b, okB := fb.place((k-1)*ldb+n, end)
			c, okC := fc.place((m-1)*ldc+n, end)
			kind := wholeNumbers
			if !whole {
				kind = fractions
			}
			// NaN in every gap: what is not an operand must not be read.
			fill(a, gap)
			fill(b, gap)
			fill(c, gap)
			one := make([]float32, 1)
			for i := range m {
				for p := range k {
					elements(kind, one)
					a[at(i, p)] = one[0]
				}
			}
			for p := range k {
				elements(kind, b[p*ldb:p*ldb+n])
			}
			if accumulate {
				for i := range m {
					for j := range n {
						c[i*ldc+j] = float32(r.IntN(9))
					}
				}
			}
			before := slices.Clone(c)
			label := fmt.Sprintf("m=%d n=%d k=%d strip=%d row=%d col=%d ldb=%d ldc=%d accumulate=%t", m, n, k, strip, row, col, ldb, ldc, accumulate)
			var packing []float32 // C by RunPack
			if m == mr && n == nr && tile.RunPack != nil {
				panel, okPanel := fp.place(k*nr, end)
				tile.RunPack(k, &a[0], row, col, &b[0], ldb, &c[0], ldc, accumulate, &panel[0])
				for p := range k {
					if !same(panel[p*nr:(p+1)*nr], b[p*ldb:p*ldb+nr]) {
						t.Fatalf("%s: row %d of B is not what was packed", label, p)
					}
				}
				if !okA() || !okB() || !okC() || !okPanel() {
					t.Fatalf("%s: wrote beside an operand", label)
				}
				packing = slices.Clone(c)
				copy(c, before)
			}
			if m == mr && n == nr && ldb == nr && k%4 == 0 && tile.RunAside != nil {
				ld := k + i%gaps
				panel, okPanel := fp.place(k*nr-nr+nr/4, end)
				src, okSrc := fs.place((nr/4-1)*ld+k, end)
				fill(panel, gap)
				fill(src, gap)
				for i := range nr / 4 {
					kind.fill(r, src[i*ld:i*ld+k])
				}
				tile.RunAside(k, &a[0], row, col, &b[0], &c[0], ldc, accumulate, &src[0], ld, &panel[0])
				for i, x := range panel {
					want := gap
					if i%nr < nr/4 {
						want = src[i%nr*ld+i/nr]
					}
					if math.Float32bits(x) != math.Float32bits(want) {
						t.Fatalf("%s: [%d,%d] of the other panel is %g, want %g", label, i/nr, i%nr, x, want)
					}
				}
				if !okA() || !okB() || !okC() || !okPanel() || !okSrc() {
					t.Fatalf("%s: wrote beside an operand", label)
				}
				if packing != nil && !same(packing, c) {
					t.Fatalf("%s: other bits where another panel is packed aside", label)
				}
				packing = slices.Clone(c)
				copy(c, before)
			}
			tile.Run(m, n, k, &a[0], strip, row, col, &b[0], ldb, &c[0], ldc, accumulate)
			if packing != nil && !same(packing, c) {
				t.Fatalf("%s: other bits where a panel is packed on the way", label)
			}
			if !okA() || !okB() || !okC() {
				t.Fatalf("%s: wrote beside an operand", label)
			}
			for i, got := range c {
				y, x := i/ldc, i%ldc
				if x >= n {
					if math.Float32bits(got) != canaryBits {
						t.Fatalf("%s: wrote %g into the gap behind row %d", label, got, y)
					}
					continue
				}
				var want, size float64
				for p := range k {
					v := product(a[at(y, p)], b[p*ldb+x])
					want, size = want+v, size+math.Abs(v)
				}
				tol := float64(k)*ulp1*size + tileBound[0]*float64(k)
				if accumulate {
					want += float64(before[i])
					tol += tileBound[1] * ulp(want)
				}
				if whole {
					tol = 0
				}
				observe(name, s.Name, float64(got), want, tol, func() string { return fmt.Sprintf("%s C[%d,%d]", label, y, x) })
				if !within(got, want, tol) {
					t.Fatalf("%s: C[%d,%d] = %g, want %g ± %g", label, y, x, got, want, tol)
				}
			}
			if whole {
				continue
			}
			// Whole tiles, packed: how A and B lie must not be seen in the bits of Gemm.
			strips, panel, tiles := make([]float32, roundUp(m, mr)*k), make([]float32, nr*k), make([]float32, m*nr)
			for i := range m {
				for p := range k {
					strips[i/mr*mr*k+p*mr+i%mr] = a[at(i, p)]
				}
				copy(tiles[i*nr:], before[i*ldc:i*ldc+n])
			}
			for p := range k {
				copy(panel[p*nr:], b[p*ldb:p*ldb+n])
			}
			tile.Run(m, nr, k, &strips[0], mr*k, 1, mr, &panel[0], nr, &tiles[0], nr, accumulate)
			for i := range m {
				if !same(c[i*ldc:i*ldc+n], tiles[i*nr:]) {
					t.Fatalf("%s: row %d is %g, and %g of whole packed tiles", label, i, c[i*ldc:i*ldc+n], tiles[i*nr:i*nr+n])
				}
			}
		}
	}
}

// testDots runs every number of rows and columns up to past the blocks, and every
// k up to past the vectors.
func testDots(t *testing.T, s *Set[float32]) {
	defer fault(t)
	r := rand.New(rand.NewPCG(1, 2))
	const most, gaps = 300, 3
	fa, fb, fc := newFence(t, 9*(most+gaps)), newFence(t, 9*(most+gaps)), newFence(t, 9*(9+gaps))
	gap := math.Float32frombits(canaryBits)
	operand := func(f *fence, rows, cols, ld int, kind values, end bool) ([]float32, func() bool) {
		x, ok := f.place((rows-1)*ld+cols, end)
		fill(x, gap)
		for i := range rows {
			kind.fill(r, x[i*ld:i*ld+cols])
		}
		return x, ok
	}
	for m := 1; m <= 8; m++ {
		for n := 1; n <= 9; n++ {
			for _, k := range []int{1, 2, 3, 7, 8, 9, 15, 16, 31, 40 + m + n, most} {
				if k == most && m+n > 9 {
					continue
				}
				for variant := range 8 {
					end, accumulate, kind := variant&1 == 0, variant&2 == 0, wholeNumbers
					if variant&4 == 0 {
						kind = fractions
					}
					lda, ldb, ldc := k+m%(gaps+1), k+n%(gaps+1), n+(m+n)%(gaps+1)
					a, okA := operand(fa, m, k, lda, kind, end)
					b, okB := operand(fb, n, k, ldb, kind, end)
					c, okC := operand(fc, m, n, ldc, wholeNumbers, end)
					if !accumulate {
						fill(c, gap)
					}
					before := slices.Clone(c)
					s.Dots(m, n, k, &a[0], lda, &b[0], ldb, &c[0], ldc, accumulate)
					label := fmt.Sprintf("m=%d n=%d k=%d lda=%d ldb=%d ldc=%d accumulate=%t", m, n, k, lda, ldb, ldc, accumulate)
					if !okA() || !okB() || !okC() {
						t.Fatalf("%s: wrote beside an operand", label)
					}
					for i, got := range c {
						y, x := i/ldc, i%ldc
						if x >= n {
							if math.Float32bits(got) != canaryBits {
								t.Fatalf("%s: wrote %g into the gap behind row %d", label, got, y)
							}
							continue
						}
						var want, size float64
						for p := range k {
							v := float64(a[y*lda+p]) * float64(b[x*ldb+p])
							want, size = want+v, size+math.Abs(v)
						}
						tol := (float64(k)/dotsBound[0]+dotsBound[1])*ulp1*size + dotsBound[2]*float64(k)
						if accumulate {
							want += float64(before[i])
							tol += dotsBound[3] * ulp(want)
						}
						if kind == wholeNumbers {
							tol = 0
						}
						observe("Dots", s.Name, float64(got), want, tol, func() string { return fmt.Sprintf("%s C[%d,%d]", label, y, x) })
						if !within(got, want, tol) {
							t.Fatalf("%s: C[%d,%d] = %g, want %g ± %g", label, y, x, got, want, tol)
						}
					}
				}
			}
		}
	}
}

// testGemv runs every number of rows and columns up to past the blocks: within the
// bound, and with the bits of Axpy.
func testGemv(t *testing.T, s *Set[float32]) {
	defer fault(t)
	r := rand.New(rand.NewPCG(1, 3))
	const rows, columns, gaps = 40, 1030, 3
	fy, fa, fb := newFence(t, columns), newFence(t, rows), newFence(t, rows*(columns+gaps))
	gap := math.Float32frombits(canaryBits)
	lengths := []int{100, 130, columns}
	for n := 1; n < 70; n++ {
		lengths = append(lengths, n)
	}
	for _, n := range lengths {
		for _, k := range []int{0, 1, 2, 7, 8, 9, 16 + n%8, rows} {
			for variant := range 2 * valueKinds {
				end, kind, ldb := variant&1 == 0, variant/2, n+int(variant)%3*gaps/2
				y, okY := fy.place(n, end)
				a, okA := fa.place(k, end)
				b, okB := fb.place(max((k-1)*ldb+n, 0), end)
				kind.fill(r, y)
				kind.fill(r, a)
				fill(b, gap)
				for p := range k {
					kind.fill(r, b[p*ldb:p*ldb+n])
				}
				before, beforeA, beforeB, chain := slices.Clone(y), slices.Clone(a), slices.Clone(b), slices.Clone(y)
				s.Gemv(y, a, b, ldb)
				label := fmt.Sprintf("n=%d k=%d ldb=%d values %d", n, k, ldb, kind)
				if !okY() || !okA() || !okB() || !same(a, beforeA) || !same(b, beforeB) {
					t.Fatalf("%s: wrote beside y", label)
				}
				for p := range k {
					s.Axpy(chain, b[p*ldb:p*ldb+n], a[p])
				}
				if !same(y, chain) {
					t.Fatalf("%s: %g, and %g by Axpy", label, y, chain)
				}
				// Room behind y and a: their lengths tell n and k.
				longY, longA := slices.Concat(before, []float32{3.25, 3.25}), slices.Concat(beforeA, []float32{2.25, 2.25})
				s.Gemv(longY[:n], longA[:k], b, ldb)
				if !same(longY, append(chain, 3.25, 3.25)) {
					t.Fatalf("%s: %g with room behind y and a, %g without", label, longY, chain)
				}
				for j, got := range y {
					want, size := float64(before[j]), math.Abs(float64(before[j]))
					for p := range k {
						v := float64(a[p]) * float64(b[p*ldb+j])
						want, size = want+v, size+math.Abs(v)
					}
					tol := float64(k)*ulp1*size + gemvBound*float64(k)
					if kind == wholeNumbers {
						tol = 0
					}
					tol = classBound(want, tol)
					observe("Gemv", s.Name, float64(got), want, tol, func() string { return fmt.Sprintf("%s y[%d]", label, j) })
					if !within(got, want, tol) {
						t.Fatalf("%s: y[%d] = %g, want %g ± %g", label, j, got, want, tol)
					}
				}
			}
		}
	}
}

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
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

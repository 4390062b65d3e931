package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"
)

func init() {
	contracts["TileBF16"] = func(t *testing.T, s *Set[float32]) {
		if s.TileBF16.Run != nil {
			testTileOf(t, s, "TileBF16", &s.TileBF16, true)
		}
	}
	contracts["ZipBF16"] = testZipBF16
}

// testZipBF16: any codes, at every length, and nothing beside them.
func testZipBF16(t *testing.T, s *Set[float32]) {
	if (s.ZipBF16 == nil) != (s.TileBF16.Run == nil) {
		t.Fatal("one of TileBF16 and ZipBF16 is nil")
	}
	if s.ZipBF16 == nil {
		return
	}
	defer fault(t)
	r := rand.New(rand.NewPCG(3, 3))
	fy, fl, fh := newFence(t, 200), newFence(t, 200), newFence(t, 200)
	for n := range 131 {
		for _, end := range []bool{false, true} {
			y, okY := fy.place(n, end)
			lo, okLo := fl.place((n+1)/2, end)
			hi, okHi := fh.place((n+1)/2, end)
			l, h := bf16sOf(lo, n, end), bf16sOf(hi, n, end)
			for i := range n {
				l[i], h[i] = BF16(r.IntN(1<<16)), BF16(r.IntN(1<<16))
			}
			s.ZipBF16(y, l, h)
			for i := range n {
				if want := uint32(h[i])<<16 | uint32(l[i]); math.Float32bits(y[i]) != want {
					t.Fatalf("%s: pair %d of %d is %08x, want %08x", s.Name, i, n, math.Float32bits(y[i]), want)
				}
			}
			if !okY() || !okLo() || !okHi() {
				t.Fatalf("%s: wrote beside the operands of %d pairs", s.Name, n)
			}
		}
	}
}

// bf16sOf is the memory of x as n BF16, at its end or at its beginning.
func bf16sOf(x []float32, n int, end bool) []BF16 {
	if n == 0 {
		return nil
	}
	all := unsafe.Slice((*BF16)(unsafe.Pointer(&x[0])), 2*len(x))
	if end {
		return all[len(all)-n:]
	}
	return all[:n]
}

// TestGemmBF16: within the stated bound of the sums in float64, for every order of storage,
// even and odd sizes, with NaN between the rows; the bits do not depend on the number of
// workers, and a level that has no such arithmetic gives those of GemmMixed.
func TestGemmBF16(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, s := range usable() {
		mr, nr := s.Tile.MR, s.Tile.NR
		shapes := [][3]int{{mr + 1, nr + 3, 1}, {20, 1, 40}, {5 * mr, 2*nr + 5, 64}, {4*mr + 3, 3 * nr, 2*gemmKC + 6}, {2*mr + 3, nr, 2*gemmKC + 7}, {17, 9, 5 * gemmPart}, {1, 70, 40}, {3, 5, 0}}
		if testing.Short() {
			shapes = shapes[:4]
		}
		for _, shape := range shapes {
			for variant := range 16 {
				testBF16(t, s, shape, variant)
			}
		}
	}
}

func testBF16(t *testing.T, s *Set[float32], shape [3]int, variant int) {
	t.Helper()
	m, n, k := shape[0], shape[1], shape[2]
	r := rand.New(rand.NewPCG(uint64(m), uint64(k)))
	transA, transB, accumulate := variant&1 != 0, variant&2 != 0, variant&4 != 0
	gap := 2 + variant>>3 // rows begin at even places, or at odd ones too
	rowsA, colsA, rowsB, colsB := m, k, k, n
	if transA {
		rowsA, colsA = k, m
	}
	if transB {
		rowsB, colsB = n, k
	}
	if k == 0 {
		return
	}
	a, wideA := storedMatrix[BF16](r, rowsA, colsA, colsA+gap)
	b, wideB := storedMatrix[BF16](r, rowsB, colsB, colsB+gap)
	c := make([]float32, m*n)
	fractions.fill(r, c)
	what := fmt.Sprintf("%s %v, variant %04b", s.Name, shape, variant)
	var got []float32
	for _, procs := range []int{1, 3} {
		runtime.GOMAXPROCS(procs)
		y := append([]float32(nil), c...)
		GemmBF16(s, transA, transB, m, n, k, a, colsA+gap, b, colsB+gap, y, n, accumulate)
		if got != nil && !same(got, y) {
			t.Fatalf("%s: other bits with GOMAXPROCS=%d", what, procs)
		}
		got = y
	}
	if s.TileBF16.Run == nil {
		want := append([]float32(nil), c...)
		GemmMixed(s, transA, transB, m, n, k, a, colsA+gap, b, colsB+gap, want, n, accumulate)
		if !same(got, want) {
			t.Fatalf("%s: other bits than GemmMixed", what)
		}
	}
	for i := range m {
		for j := range n {
			var want, size, sizes float64
			for p := range k {
				atA, atB := i*k+p, p*n+j
				if transA {
					atA = p*m + i
				}
				if transB {
					atB = j*k + p
				}
				x, y := wideA[atA], wideB[atB]
				want += float64(x) * float64(y)
				size += math.Abs(float64(x) * float64(y))
				sizes += math.Abs(float64(x)) + math.Abs(float64(y))
			}
			tol := (float64(k)+math.Ceil(float64(k)/bf16Bound[0])+bf16Bound[1])*ulp1*size + bf16Bound[2]*(float64(k)+sizes)
			if accumulate {
				want += float64(c[i*n+j])
				tol += math.Ceil(float64(k)/bf16Bound[3]) * ulp1 * math.Abs(float64(c[i*n+j]))
			}
			tol = classBound(want, tol)
			observe("GemmBF16", s.Name, float64(got[i*n+j]), want, tol, func() string { return fmt.Sprintf("%s C[%d,%d]", what, i, j) })
			if !within(got[i*n+j], want, tol) {
				t.Fatalf("%s: C[%d,%d] = %g, want %g ± %g", what, i, j, got[i*n+j], want, tol)
			}
		}
	}
}

// TestGemmBF16Values: NaN and Inf reach their row or column alone, and denormals cost no
// more than the bound says.
func TestGemmBF16Values(t *testing.T) {
	const m, n, k = 30, 40, 50
	for _, s := range usable() {
		for _, special := range []float32{float32(math.NaN()), float32(math.Inf(1)), 1e-39} {
			a, b, c := make([]BF16, m*k), make([]BF16, k*n), make([]float32, m*n)
			for i := range a {
				a[i] = ToBF16(float32(1))
			}
			for i := range b {
				b[i] = ToBF16(float32(2))
			}
			a[7*k+11] = ToBF16(special)
			GemmBF16(s, false, false, m, n, k, a, k, b, n, c, n, false)
			for i, got := range c {
				want := float32(2 * k)
				if i/n == 7 {
					want = 2*(k-1) + 2*special
				}
				if got != want && !(math.IsNaN(float64(got)) && math.IsNaN(float64(want))) {
					t.Fatalf("%s: with one %g, C[%d,%d] is %g, want %g", s.Name, special, i/n, i%n, got, want)
				}
			}
		}
	}
}

// TestGemmBF16Odd: the sum that rounding to odd takes farthest is within the bound. Each
// pair but the first adds one unit of the last place and a trifle: what comes out is even,
// inexact, and so rounded up by nearly another unit.
func TestGemmBF16Odd(t *testing.T) {
	const m, n, k = 30, 40, 512
	for _, s := range usable() {
		a, b, c := make([]BF16, m*k), make([]BF16, k*n), make([]float32, m*n)
		put := func(p int, x, y float32) {
			for i := range m {
				a[i*k+p] = ToBF16(x)
			}
			for j := range n {
				b[p*n+j] = ToBF16(y)
			}
		}
		put(0, 1, 1)
		want := 1.0
		for p := 2; p < k; p += 2 {
			put(p, 0x1p-12, 0x1p-11)
			put(p+1, 0x1p-30, 0x1p-30)
			want += 0x1p-23 // and 2⁻⁶⁰, which float64 does not show beside 1
		}
		GemmBF16(s, false, false, m, n, k, a, k, b, n, c, n, false)
		tol := (k + math.Ceil(k/bf16Bound[0]) + bf16Bound[1]) * ulp1 * want
		for i, got := range c {
			observe("GemmBF16", s.Name, float64(got), want, tol, func() string { return fmt.Sprintf("rounding to odd, C[%d,%d]", i/n, i%n) })
			if !within(got, want, tol) {
				t.Fatalf("%s: C[%d,%d] = %g, want %g ± %g", s.Name, i/n, i%n, got, want, tol)
			}
		}
	}
}

package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestGemmMixed: 16-bit operands give the bits of Gemm of the same values, on every
// path and for every order of storage; what lies between the rows is not read.
func TestGemmMixed(t *testing.T) {
	for _, s := range usable() {
		mr, nr := s.Tile.MR, s.Tile.NR
		for _, shape := range [][3]int{{1, 70, 40}, {5, 2*nr + 3, 300}, {7, 45, 264}, {2, 301, 264}, {4*mr + 1, 2*nr + 3, gemmKC + 9}, {mr + 1, 3, 2*gemmPart + 1}, {1, 1, 1}, {30, 1, 50}, {9, 70, 1}} {
			testMixed[BF16, BF16](t, s, shape)
			testMixed[F16, F16](t, s, shape)
			testMixed[float32, BF16](t, s, shape)
			testMixed[F16, float32](t, s, shape)
			testMixed[float32, float32](t, s, shape)
		}
	}
}

func testMixed[A, B Storage](t *testing.T, s *Set[float32], shape [3]int) {
	t.Helper()
	m, n, k := shape[0], shape[1], shape[2]
	r := rand.New(rand.NewPCG(uint64(m), uint64(k)))
	const gap = 3
	for variant := range 8 {
		transA, transB, accumulate := variant&1 != 0, variant&2 != 0, variant&4 != 0
		rowsA, colsA, rowsB, colsB := m, k, k, n
		if transA {
			rowsA, colsA = k, m
		}
		if transB {
			rowsB, colsB = n, k
		}
		a, wideA := storedMatrix[A](r, rowsA, colsA, colsA+gap)
		b, wideB := storedMatrix[B](r, rowsB, colsB, colsB+gap)
		want := make([]float32, m*n)
		fractions.fill(r, want)
		got := append([]float32(nil), want...)
		Gemm(s, transA, transB, m, n, k, wideA, colsA, wideB, colsB, want, n, accumulate)
		GemmMixed(s, transA, transB, m, n, k, a, colsA+gap, b, colsB+gap, got, n, accumulate)
		what := fmt.Sprintf("%s %v, %T by %T, variant %03b", s.Name, shape, a, b, variant)
		if !same(got, want) {
			t.Errorf("%s: other bits than Gemm of the same values", what)
		}
		if transA {
			continue
		}
		var p, q PackedB[float32]
		p.Pack(s, transB, k, n, wideB, colsB)
		PackMixed(&q, s, transB, k, n, b, colsB+gap)
		if !same(p.mem, q.mem) {
			t.Errorf("%s: packed otherwise than the same values", what)
		}
	}
}

// storedMatrix is a matrix with NaN between its rows, and its values side by side.
func storedMatrix[E Storage](r *rand.Rand, rows, cols, ld int) (x []E, values []float32) {
	x, values = make([]E, (rows-1)*ld+cols), make([]float32, rows*cols)
	for i := range x {
		v := float32(math.NaN())
		if i%ld < cols {
			one := make([]float32, 1)
			fractions.fill(r, one)
			v = one[0]
		}
		switch x := any(x).(type) {
		case []BF16:
			x[i] = ToBF16(v)
			v = x[i].Float32()
		case []F16:
			x[i] = ToF16(v)
			v = x[i].Float32()
		case []float32:
			x[i] = v
		}
		if i%ld < cols {
			values[i/ld*cols+i%ld] = v
		}
	}
	return x, values
}

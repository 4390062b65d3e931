package bench

import (
	"fmt"
	"testing"

	"fuerte/kernels"
)

// reduction benchmarks a function of whole vectors. moved counts vectors read;
// flop is per element.
func reduction(b *testing.B, flop, moved float64, run func(s *kernels.Set[float32], x, y []float32)) {
	for _, n := range vectors {
		w := work{flop: flop * float64(n), bytes: 4 * moved * float64(n), reads: true}
		w.levels(b, fmt.Sprintf("n=%d", n), func(s *kernels.Set[float32]) func() {
			x, y := filled(n), filled(n)
			return func() { run(s, x, y) }
		})
	}
}

// BenchmarkSum is the sum of one vector, on one core: a row is left whole.
// 1 FLOP an element.
func BenchmarkSum(b *testing.B) {
	out := make([]float32, 1)
	reduction(b, 1, 1, func(s *kernels.Set[float32], x, _ []float32) { kernels.ReduceSum(s, out, x, 1, len(x), 1) })
}

// BenchmarkSumSquares is the sum of squares of one vector, on all cores: the norm
// of a gradient. 2 FLOP an element.
func BenchmarkSumSquares(b *testing.B) {
	reduction(b, 2, 1, func(s *kernels.Set[float32], x, _ []float32) { kernels.SumSquares(s, x) })
}

// BenchmarkSumRows is the sum over the rows of a matrix, on all cores: the
// gradient of a bias. 1 FLOP an element; reads the matrix.
func BenchmarkSumRows(b *testing.B) {
	for _, m := range summed {
		elements := float64(m.n) * float64(m.d)
		w := work{flop: elements, bytes: 4 * elements, reads: true}
		w.levels(b, fmt.Sprintf("n=%d/d=%d", m.n, m.d), func(s *kernels.Set[float32]) func() {
			x, y := filled(m.n*m.d), filled(m.d)
			return func() { kernels.ReduceSum(s, y, x, 1, m.n, m.d) }
		})
	}
}

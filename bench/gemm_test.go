package bench

import (
	"fmt"
	"testing"

	"fuerte/kernels"
)

// BenchmarkGemm times C = op(A)·op(B).
//
// Counts: 2·m·n·k FLOP; 4·(m·k + k·n + m·n) bytes.
func BenchmarkGemm(b *testing.B) {
	for _, p := range products() {
		m, n, k := p.m, p.n, p.k
		w := work{
			flop:  2 * float64(m) * float64(n) * float64(k),
			bytes: 4 * (float64(m)*float64(k) + float64(k)*float64(n) + float64(m)*float64(n)),
		}
		name := fmt.Sprintf("layout=%s/m=%d/n=%d/k=%d", p.layout, m, n, k)
		w.levels(b, name, func(s *kernels.Set[float32]) func() {
			transA, transB, lda, ldb := p.stored()
			x, y, c := filled(m*k), filled(k*n), filled(m*n)
			return func() { kernels.Gemm(s, transA, transB, m, n, k, x, lda, y, ldb, c, n, false) }
		})
	}
}

// BenchmarkGemmBF16 is BenchmarkGemm of operands in BF16, of those products that are not
// small.
//
// Counts: 2·m·n·k FLOP; 2·(m·k + k·n) + 4·m·n bytes.
func BenchmarkGemmBF16(b *testing.B) {
	for _, p := range products() {
		m, n, k := p.m, p.n, p.k
		w := work{
			flop:  2 * float64(m) * float64(n) * float64(k),
			bytes: 2*(float64(m)*float64(k)+float64(k)*float64(n)) + 4*float64(m)*float64(n),
			dtype: "bf16",
		}
		if w.flop < 1e8 {
			continue
		}
		w.levels(b, fmt.Sprintf("layout=%s/m=%d/n=%d/k=%d", p.layout, m, n, k), func(s *kernels.Set[float32]) func() {
			x, y, c := make([]kernels.BF16, m*k), make([]kernels.BF16, k*n), filled(m*n)
			s.ToBF16(x, filled(m*k))
			s.ToBF16(y, filled(k*n))
			transA, transB, lda, ldb := p.stored()
			return func() {
				kernels.GemmBF16(s, transA, transB, m, n, k, x, lda, y, ldb, c, n, false)
			}
		})
	}
}

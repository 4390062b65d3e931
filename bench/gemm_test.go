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
			transA, transB := p.layout[0] == 'T', p.layout[1] == 'T'
			lda, ldb := k, n
			if transA {
				lda = m
			}
			if transB {
				ldb = k
			}
			x, y, c := filled(m*k), filled(k*n), filled(m*n)
			return func() { kernels.Gemm(s, transA, transB, m, n, k, x, lda, y, ldb, c, n, false) }
		})
	}
}

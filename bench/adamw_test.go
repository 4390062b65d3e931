package bench

import (
	"fmt"
	"testing"

	"fuerte/kernels"
)

// BenchmarkAdamW counts 15 operations an element: clipping (1), m (3), v (4, one
// of them g²), the update √v·c + eps, m/·, ·rate (5, with the root and the
// quotient), p·keep − · (2). Reads p, m, v and g, writes p, m and v: 28 bytes.
func BenchmarkAdamW(b *testing.B) {
	step := kernels.AdamWStep[float32]{Clip: 1, Beta1: 0.9, Beta2: 0.95, Keep: 1 - 1e-4, Rate: 1e-3, RSqrtC2: 1, Eps: 1e-8}
	for _, n := range parameters {
		w := work{flop: 15 * float64(n), bytes: 28 * float64(n), resident: 16 * float64(n)}
		w.levels(b, fmt.Sprintf("n=%d", n), func(s *kernels.Set[float32]) func() {
			p, m, v, g := filled(n), filled(n), filled(n), filled(n)
			for i, x := range v {
				v[i] = x * x
			}
			return func() { kernels.AdamW(s, p, m, v, g, &step) }
		})
	}
}

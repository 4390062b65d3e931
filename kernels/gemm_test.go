package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestGemmQuick(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := Reference[float32]()
	for range 50 {
		m, n, k := 1+r.IntN(70), 1+r.IntN(70), 1+r.IntN(600)
		a, b := make([]float32, m*k), make([]float32, n*k)
		for i := range a {
			a[i] = r.Float32() - .5
		}
		for i := range b {
			b[i] = r.Float32() - .5
		}
		ta, tb := r.IntN(2) == 0, r.IntN(2) == 0
		lda, ldb := k, n
		if ta {
			lda = m
		}
		if tb {
			ldb = k
		}
		c, w := make([]float32, m*n), make([]float32, m*n)
		Gemm(s, ta, tb, m, n, k, a, lda, b, ldb, c, n, false)
		refGemm(ta, tb, m, n, k, a, lda, b, ldb, w, n, false)
		for i := range c {
			if math.Abs(float64(c[i]-w[i])) > 1e-4 {
				t.Fatal(m, n, k, ta, tb, i, c[i], w[i])
			}
		}
	}
}

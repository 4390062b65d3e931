package bench

import (
	"fmt"
	"testing"

	"fuerte/kernels"
)

const eps = 1e-5

// rows benchmarks a row op forward and backward at sizes of n rows of d. flop
// and moved count what one element costs, per pass: FLOP, and matrices [n, d]
// read or written. Vectors of n or d elements are left out.
func rows(b *testing.B, sizes []matrix, flop, moved [2]float64, prepare [2]func(s *kernels.Set[float32], n, d int) func()) {
	for i, pass := range []string{"forward", "backward"} {
		for _, m := range sizes {
			elements := float64(m.n) * float64(m.d)
			w := work{flop: flop[i] * elements, bytes: 4 * moved[i] * elements, reads: moved[i] == 1}
			w.levels(b, fmt.Sprintf("pass=%s/n=%d/d=%d", pass, m.n, m.d), func(s *kernels.Set[float32]) func() {
				return prepare[i](s, m.n, m.d)
			})
		}
	}
}

// BenchmarkRMSNorm counts per element, forward: x² summed (2), ·w·r (2); reads
// x, writes y. Backward: h = gy·w (1), x̂ = x·r (1), h·x̂ summed (2), gx =
// r·(h − x̂·c) (3), gy·x̂ added to gw (2); reads x and gy, writes gx.
func BenchmarkRMSNorm(b *testing.B) {
	rows(b, normed, [2]float64{4, 9}, [2]float64{2, 3}, [2]func(s *kernels.Set[float32], n, d int) func(){
		func(s *kernels.Set[float32], n, d int) func() {
			x, y, w, r := filled(n*d), filled(n*d), filled(d), filled(n)
			return func() { kernels.RMSNorm(s, y, r, x, w, n, d, eps) }
		},
		func(s *kernels.Set[float32], n, d int) func() {
			x, gx, gy, w, gw, r := filled(n*d), filled(n*d), filled(n*d), filled(d), filled(d), filled(n)
			return func() { kernels.RMSNormGrad(s, gx, gw, x, w, gy, r, n, d) }
		},
	})
}

// BenchmarkLayerNorm counts per element, forward: x summed (1), x−mean squared
// and summed (3), x̂ = (x−mean)·r (1), ·w + b (2); reads x, writes y. Backward:
// x̂ (2), h = gy·w (1), h and h·x̂ summed (3), gx = r·(h − mean − x̂·c) (4), gw
// and gb (3); reads x and gy, writes gx.
func BenchmarkLayerNorm(b *testing.B) {
	rows(b, normed, [2]float64{7, 13}, [2]float64{2, 3}, [2]func(s *kernels.Set[float32], n, d int) func(){
		func(s *kernels.Set[float32], n, d int) func() {
			x, y, w, bias, mean, r := filled(n*d), filled(n*d), filled(d), filled(d), filled(n), filled(n)
			return func() { kernels.LayerNorm(s, y, mean, r, x, w, bias, n, d, eps) }
		},
		func(s *kernels.Set[float32], n, d int) func() {
			x, gx, gy, w, gw, gb, mean, r := filled(n*d), filled(n*d), filled(n*d), filled(d), filled(d), filled(d), filled(n), filled(n)
			return func() { kernels.LayerNormGrad(s, gx, gw, gb, x, w, gy, mean, r, n, d) }
		},
	})
}

// BenchmarkSoftmax counts bytes only, forward: reads x, writes y. Backward, per
// element: y·gy summed (2), y·gy (1), −dot·y added (2); reads y and gy, writes gx.
func BenchmarkSoftmax(b *testing.B) {
	rows(b, softmaxed, [2]float64{0, 5}, [2]float64{2, 3}, [2]func(s *kernels.Set[float32], n, d int) func(){
		func(s *kernels.Set[float32], n, d int) func() {
			x, y := filled(n*d), filled(n*d)
			return func() { kernels.Softmax(s, y, x, n, d) }
		},
		func(s *kernels.Set[float32], n, d int) func() {
			y, gy, gx := filled(n*d), filled(n*d), filled(n*d)
			return func() { kernels.SoftmaxGrad(s, gx, y, gy, n, d) }
		},
	})
}

// BenchmarkCrossEntropy counts bytes only. Forward reads the logits; backward
// reads them and writes their gradient.
func BenchmarkCrossEntropy(b *testing.B) {
	targets := func(n, d int) []int32 {
		t := make([]int32, n)
		for i := range t {
			t[i] = int32(i * 7919 % d)
		}
		return t
	}
	rows(b, logits, [2]float64{}, [2]float64{1, 2}, [2]func(s *kernels.Set[float32], n, d int) func(){
		func(s *kernels.Set[float32], n, d int) func() {
			x, loss, lse, t := filled(n*d), filled(n), filled(n), targets(n, d)
			return func() { kernels.CrossEntropy(s, loss, lse, x, t, n, d) }
		},
		func(s *kernels.Set[float32], n, d int) func() {
			x, gx, loss, lse, gy, t := filled(n*d), filled(n*d), filled(n), filled(n), filled(n), targets(n, d)
			kernels.CrossEntropy(s, loss, lse, x, t, n, d)
			return func() { kernels.CrossEntropyGrad(s, gx, x, lse, t, gy, n, d) }
		},
	})
}

// BenchmarkSwiGLU counts bytes only. Forward reads g and u and writes y;
// backward reads g, u and gy and writes two gradients.
func BenchmarkSwiGLU(b *testing.B) {
	rows(b, gated, [2]float64{}, [2]float64{3, 5}, [2]func(s *kernels.Set[float32], n, d int) func(){
		func(s *kernels.Set[float32], n, d int) func() {
			y, g, u := filled(n*d), filled(n*d), filled(n*d)
			return func() {
				kernels.Chunks(n*d, func(lo, hi int) { s.SwiGLU(y[lo:hi], g[lo:hi], u[lo:hi]) })
			}
		},
		func(s *kernels.Set[float32], n, d int) func() {
			gg, gu, g, u, gy := filled(n*d), filled(n*d), filled(n*d), filled(n*d), filled(n*d)
			return func() {
				kernels.Chunks(n*d, func(lo, hi int) { s.SwiGLUGrad(gg[lo:hi], gu[lo:hi], g[lo:hi], u[lo:hi], gy[lo:hi]) })
			}
		},
	})
}

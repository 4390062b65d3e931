package bench

import (
	"fmt"
	"runtime"
	"testing"

	"fuerte/kernels"
)

// heads are rows of text and the vocabularies of AIMV2 and of CLIP.
var heads = []struct{ n, v int }{{512, 32000}, {512, 49408}, {2048, 32000}, {2048, 49408}}

// BenchmarkLinearCrossEntropy is the text head and its loss, forward and backward, at
// the width of the published decoder: fused, and composed of a product, CrossEntropy,
// its gradient and two products, as a tape runs them.
//
// Counts: 6·n·v·d FLOP, the three products; reads x and w, writes their gradients.
// scratch-MB is what a first call takes beside these.
func BenchmarkLinearCrossEntropy(b *testing.B) {
	const d = 1024
	for _, m := range heads {
		n, v := m.n, m.v
		w := work{flop: 6 * float64(n) * float64(v) * d, bytes: 4 * 2 * d * float64(n+v)}
		for _, form := range []struct {
			name string
			make func(s *kernels.Set[float32], x, weight, gx, gw []float32, target []int32, scale []float32) func()
		}{
			{"fused", func(s *kernels.Set[float32], x, weight, gx, gw []float32, target []int32, scale []float32) func() {
				loss := make([]float32, n)
				return func() { kernels.LinearCrossEntropy(s, loss, gx, gw, x, weight, target, scale, n, d, v) }
			}},
			{"composed", func(s *kernels.Set[float32], x, weight, gx, gw []float32, target []int32, scale []float32) func() {
				z, gz, loss, lse := make([]float32, n*v), make([]float32, n*v), make([]float32, n), make([]float32, n)
				return func() {
					kernels.Gemm(s, false, true, n, v, d, x, d, weight, d, z, v, false)
					kernels.CrossEntropy(s, loss, lse, z, target, n, v)
					kernels.CrossEntropyGrad(s, gz, z, lse, target, scale, n, v)
					kernels.Gemm(s, false, false, n, d, v, gz, v, weight, d, gx, d, false)
					kernels.Gemm(s, true, false, v, d, n, gz, v, x, d, gw, d, false)
				}
			}},
		} {
			for _, s := range usable() {
				if s.Name == "reference" {
					continue // a minute a call
				}
				for _, threads := range threadCounts() {
					b.Run(benchName(s.Name, fmt.Sprintf("form=%s/n=%d/v=%d/d=%d", form.name, n, v, d), threads), func(b *testing.B) {
						setThreads(b, threads)
						x, weight, gx, gw, scale, target := filled(n*d), filled(v*d), filled(n*d), filled(v*d), filled(n), make([]int32, n)
						for i := range target {
							target[i] = int32(i * 7919 % v)
						}
						runtime.GC()
						runtime.GC() // the second empties the pools of scratch memory
						var before, after runtime.MemStats
						runtime.ReadMemStats(&before)
						run := form.make(s, x, weight, gx, gw, target, scale)
						run()
						runtime.ReadMemStats(&after)
						for b.Loop() {
							run()
						}
						w.report(b, s, threads)
						b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/1e6, "scratch-MB")
					})
				}
			}
		}
	}
}

package bench

import (
	"fmt"
	"testing"
)

// BenchmarkPeak is the ceiling of arithmetic: each level's loop of multiply-adds
// on registers. One op is a whole measurement; the rate is the best of all so
// far, and so for streams.
func BenchmarkPeak(b *testing.B) {
	for _, s := range usable() {
		for _, threads := range threadCounts() {
			b.Run(benchName(s.Name, "f32", "", threads), func(b *testing.B) {
				setThreads(b, threads)
				var rate float64
				for b.Loop() {
					rate = measurePeak(s, threads)
				}
				b.ReportMetric(rate/1e9, "GFLOP/s")
			})
		}
	}
}

// BenchmarkStream is the ceiling of memory: reading a working set, copying half
// of it to the other half, and updating it in place, in L2, in L3 and in memory,
// with the widest registers that there are.
func BenchmarkStream(b *testing.B) {
	sets := usable()
	isa := sets[len(sets)-1].Name // measureBandwidth's
	for _, t := range traffics {
		for _, p := range places {
			for _, threads := range threadCounts() {
				b.Run(benchName(isa, "f32", fmt.Sprintf("op=%s/place=%s", t, p), threads), func(b *testing.B) {
					setThreads(b, threads)
					var rate float64
					for b.Loop() {
						rate = measureBandwidth(t, p, threads)
					}
					b.ReportMetric(rate/1e9, "GB/s")
				})
			}
		}
	}
}

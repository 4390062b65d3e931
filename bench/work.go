package bench

import (
	"fmt"
	"runtime"
	"testing"

	"fuerte/kernels"
)

// work counts what one call of a benchmark does: FLOP as its formula has them,
// and bytes with each input read once and each output written once. Where a
// formula is more than sums and products, flop is 0 and only bytes count.
type work struct {
	flop, bytes float64
	resident    float64 // distinct bytes, where what is updated in place makes them fewer
	reads       bool    // next to nothing is written
}

// referenceFLOP bounds what the reference is asked to do in one call: about a
// second.
const referenceFLOP = 1e9

// levels benchmarks what prepare returns, at every level and number of threads,
// under isa=…/dtype=f32/<name>/threads=….
func (w work) levels(b *testing.B, name string, prepare func(s *kernels.Set[float32]) func()) {
	b.Helper()
	for _, s := range usable() {
		if s.Name == "reference" && w.flop > referenceFLOP {
			continue
		}
		for _, threads := range threadCounts() {
			b.Run(fmt.Sprintf("isa=%s/dtype=f32/%s/threads=%d", s.Name, name, threads), func(b *testing.B) {
				setThreads(b, threads)
				run := prepare(s)
				run() // page faults, workers and scratch memory belong to no call
				for b.Loop() {
					run()
				}
				w.report(b, s, threads)
			})
		}
	}
}

// setThreads sets GOMAXPROCS until the end of the benchmark.
func setThreads(b *testing.B, threads int) {
	before := runtime.GOMAXPROCS(threads)
	b.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// report adds the rates and what share of the ceilings they are:
//
//	%peak  of the level's FMA loop on as many threads
//	%roof  of the roofline: the least time that the FMA loop and the streams allow
func (w work) report(b *testing.B, s *kernels.Set[float32], threads int) {
	seconds := b.Elapsed().Seconds() / float64(b.N)
	roof := 0.0
	if w.flop > 0 {
		roof = w.flop / peak(s, threads)
		b.ReportMetric(w.flop/seconds/1e9, "GFLOP/s")
		b.ReportMetric(100*roof/seconds, "%peak")
	}
	if w.bytes > 0 {
		resident := w.bytes
		if w.resident > 0 {
			resident = w.resident
		}
		roof = max(roof, w.bytes/bandwidth(w.reads, placeOf(resident, threads), threads))
		b.ReportMetric(w.bytes/seconds/1e9, "GB/s")
		b.ReportMetric(100*roof/seconds, "%roof")
		if w.flop > 0 {
			b.ReportMetric(w.flop/w.bytes, "flop/B")
		}
	}
}

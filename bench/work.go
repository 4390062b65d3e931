package bench

import (
	"cmp"
	"fmt"
	"reflect"
	"runtime"
	"sync/atomic"
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
	dtype       string  // of the operands, where that is not f32
	elements    float64 // of a vector that stays in L1; 0: they are not reported
}

// referenceFLOP bounds what the reference is asked to do in one call: about a
// second.
const referenceFLOP = 1e9

// benchName is the name of a sub-benchmark, in the form that benchstat and
// roofline read.
func benchName(isa, dtype, sizes string, threads int) string {
	if sizes != "" {
		sizes += "/"
	}
	return fmt.Sprintf("isa=%s/dtype=%s/%sthreads=%d", isa, dtype, sizes, threads)
}

// name is benchName for the dtype at hand.
func (w work) name(isa, sizes string, threads int) string {
	return benchName(isa, cmp.Or(w.dtype, "f32"), sizes, threads)
}

// levels benchmarks what prepare returns, at every level and number of threads,
// and with every candidate that it runs.
func (w work) levels(b *testing.B, sizes string, prepare func(s *kernels.Set[float32]) func()) {
	b.Helper()
	for _, s := range usable() {
		if s.Name == "reference" && w.flop > referenceFLOP {
			continue
		}
		for _, threads := range threadCounts() {
			b.Run(w.name(s.Name, sizes, threads), func(b *testing.B) { w.run(b, s, threads, prepare) })
		}
	}
	for _, c := range kernels.Candidates() {
		if c.Set.Missing != "" {
			continue
		}
		for _, threads := range threadCounts() {
			b.Run(w.name(c.Set.Name, sizes, threads), func(b *testing.B) {
				if !runs(c, prepare) { // here, since only a benchmark that is asked for gets here
					b.Skipf("it does not run Set.%s", c.Field)
				}
				w.run(b, c.Set, threads, prepare)
			})
		}
	}
}

func (w work) run(b *testing.B, s *kernels.Set[float32], threads int, prepare func(s *kernels.Set[float32]) func()) {
	setThreads(b, threads)
	run := prepare(s)
	run() // page faults, workers and scratch memory belong to no call
	for b.Loop() {
		run()
	}
	w.report(b, s, threads)
}

// runs tells whether one call of a benchmark runs the kernel of a candidate: all
// other kernels are the level's, whose benchmark it would repeat.
func runs(c kernels.Candidate, prepare func(s *kernels.Set[float32]) func()) bool {
	var called atomic.Bool
	watched := *c.Set
	if c.Field == "Tile" {
		run := watched.Tile.Run
		watched.Tile.Run = func(m, n, k int, a *float32, strip, row, col int, b *float32, ldb int, c *float32, ldc int, accumulate bool) {
			called.Store(true)
			run(m, n, k, a, strip, row, col, b, ldb, c, ldc, accumulate)
		}
	} else {
		field := reflect.ValueOf(&watched).Elem().FieldByName(c.Field)
		kernel := reflect.ValueOf(field.Interface())
		field.Set(reflect.MakeFunc(field.Type(), func(args []reflect.Value) []reflect.Value {
			called.Store(true)
			return kernel.Call(args)
		}))
	}
	prepare(&watched)()
	return called.Load()
}

// setThreads sets GOMAXPROCS until the end of the benchmark.
func setThreads(tb testing.TB, threads int) {
	before := runtime.GOMAXPROCS(threads)
	tb.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// report adds the rates and what share of the ceilings they are:
//
//	%peak  of the level's FMA loop on as many threads
//	%roof  of the roofline: the least time that the FMA loop and the streams allow
//
// and elements by the nanosecond and by the cycle.
func (w work) report(b *testing.B, s *kernels.Set[float32], threads int) {
	seconds := b.Elapsed().Seconds() / float64(b.N)
	roof := 0.0
	if w.elements > 0 {
		b.ReportMetric(w.elements/seconds/1e9, "elem/ns")
		b.ReportMetric(w.elements/seconds/clock(), "elem/cycle")
	}
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

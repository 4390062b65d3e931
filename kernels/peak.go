package kernels

import (
	"math"
	"runtime"
	"sync/atomic"
	"time"
)

// Peak measures the ceiling of a level on this machine, in FLOP/s: its FMA loop
// on the given number of threads at once, the best of several runs of a few
// milliseconds. A number of threads below 1 means GOMAXPROCS; more than that
// share the cores. It takes about a tenth of a second.
func Peak[T Float](s *Set[T], threads int) float64 {
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	const least, budget = 8, 100 * time.Millisecond
	best := peakRun(s, threads)
	begin := time.Now()
	for n := 1; n < least || time.Since(begin) < budget; n++ {
		best = min(best, peakRun(s, threads))
	}
	return float64(threads) * peakCalls * peakPasses * s.FMALoopFLOP / best.Seconds()
}

// A call of peakPasses is some 10 µs, so that a thread can be stopped between two.
const peakCalls, peakPasses = 500, 2000

// peakRun times one run, from the first thread's start to the last one's end.
// None starts before all of them are there: waking a thread may take as long as
// some calls.
func peakRun[T Float](s *Set[T], threads int) time.Duration {
	var there atomic.Int32
	done := make(chan [2]time.Time, threads)
	for range threads {
		go func() {
			for there.Add(1); int(there.Load()) < threads; {
				runtime.Gosched()
			}
			start := time.Now()
			for range peakCalls {
				s.FMALoop(peakPasses)
			}
			done <- [2]time.Time{start, time.Now()}
		}()
	}
	span := <-done
	for range threads - 1 {
		t := <-done
		if t[0].Before(span[0]) {
			span[0] = t[0]
		}
		if t[1].After(span[1]) {
			span[1] = t[1]
		}
	}
	return span[1].Sub(span[0])
}

const refFMALoopFLOP = 16

// refFMALoop keeps eight chains of multiply-add apart, so that it runs at the
// rate of the units, not at their latency.
func refFMALoop[T Float](n int) {
	var a, b, c, d, e, f, g, h T = 1, 2, 3, 4, 5, 6, 7, 8
	const x, y = 0.999, 0.001
	for range n {
		a, b, c, d = a*x+y, b*x+y, c*x+y, d*x+y
		e, f, g, h = e*x+y, f*x+y, g*x+y, h*x+y
	}
	fmaSink.Store(math.Float64bits(float64(a + b + c + d + e + f + g + h)))
}

// fmaSink keeps the loop alive; the last writer wins.
var fmaSink atomic.Uint64

package kernels

import (
	"runtime"
	"time"
)

// Peak measures the ceiling of a level on this machine, in FLOP/s: its FMA loop
// on the given number of threads at once, the best of several runs of a few
// milliseconds. A number of threads below 1 means GOMAXPROCS.
func Peak[T Float](s *Set[T], threads int) float64 {
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	const runs, passes = 8, 2000 // a call of 2000 passes is some 10 µs
	run := func() time.Duration {
		start := time.Now()
		done := make(chan struct{})
		for range threads {
			go func() {
				for range peakCalls {
					s.FMALoop(passes)
				}
				done <- struct{}{}
			}()
		}
		for range threads {
			<-done
		}
		return time.Since(start)
	}
	best := run()
	for range runs - 1 {
		best = min(best, run())
	}
	return float64(threads) * peakCalls * passes * s.FMALoopFLOP / best.Seconds()
}

const peakCalls = 500

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
	fmaSink = float64(a + b + c + d + e + f + g + h)
}

// fmaSink keeps the loop alive; the last writer wins.
var fmaSink float64

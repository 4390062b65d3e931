package bench

import (
	"runtime"
	"strings"
	"sync"
	"time"

	"fuerte/kernels"
)

// The ceilings of this machine: the rate of multiply-adds that touch no memory,
// one for each level, and the rates at which memory is read, copied and updated.
// They are measured once a run, when first asked for.

// usable lists the levels that this CPU can run, weakest first.
func usable() []*kernels.Set[float32] {
	var out []*kernels.Set[float32]
	for _, s := range kernels.Sets() {
		if s.Missing == "" {
			out = append(out, s)
		}
	}
	return out
}

// threadCounts is one thread and, where there are more, all of GOMAXPROCS.
func threadCounts() []int {
	if n := runtime.GOMAXPROCS(0); n > 1 {
		return []int{1, n}
	}
	return []int{1}
}

type peakKey struct {
	level   string
	threads int
}

var peaks = map[peakKey]float64{}

// ceilingOf names the level whose FMA loop a set is held against: its own, or
// that of which a candidate is a copy.
func ceilingOf(s *kernels.Set[float32], threads int) peakKey {
	level, _, _ := strings.Cut(s.Name, "+")
	return peakKey{level, threads}
}

// peak is kernels.Peak, measured once. GOMAXPROCS is at least threads.
func peak(s *kernels.Set[float32], threads int) float64 {
	if p := peaks[ceilingOf(s, threads)]; p > 0 {
		return p
	}
	return measurePeak(s, threads)
}

// measurePeak measures once more. The best counts: whatever else the machine did
// can only have slowed the loop.
func measurePeak(s *kernels.Set[float32], threads int) float64 {
	k := ceilingOf(s, threads)
	peaks[k] = max(peaks[k], kernels.Peak(s, threads))
	return peaks[k]
}

// clock is the core's clock in Hz, as best as a chain of additions and exclusive
// ors tells, each of which waits a cycle for the one before on every CPU that we
// know. The time-stamp counter would not tell: it ticks at a rate of its own.
var clock = sync.OnceValue(func() float64 {
	const passes, chain = 100_000, 8
	best := time.Hour
	for range 50 {
		start := time.Now()
		x, y := uint64(1), uint64(2)
		for range passes {
			x += y
			y ^= x
			x += y
			y ^= x
			x += y
			y ^= x
			x += y
			y ^= x
		}
		best = min(best, time.Since(start))
		chained = y
	}
	return passes * chain / best.Seconds()
})

var chained uint64 // keeps the compiler from dropping the chain

// place is where a working set stays between two passes over it.
type place string

const (
	inL2     place = "L2"
	inL3     place = "L3"
	inMemory place = "memory"
)

var places = []place{inL2, inL3, inMemory}

// placeOf tells where a working set of this many bytes stays, split evenly over
// the threads: each core has its own L2. What fits L1 counts as L2.
func placeOf(bytes float64, threads int) place {
	l2, l3 := kernels.CacheSizes()
	switch {
	case bytes/float64(threads) <= float64(l2):
		return inL2
	case bytes <= float64(l3):
		return inL3
	}
	return inMemory
}

// workingSet is the bytes of memory over which a stream runs: half of a cache, so
// that nothing else in it matters, or far more than L3.
func (p place) workingSet(threads int) int {
	l2, l3 := kernels.CacheSizes()
	switch p {
	case inL2:
		return threads * l2 / 2
	case inL3:
		return max(l3/2, 2*threads*l2)
	}
	return min(max(8*l3, 256<<20), 1<<30)
}

var traffics = []kernels.Traffic{kernels.Reading, kernels.Copying, kernels.Updating}

type bandwidthKey struct {
	traffic kernels.Traffic
	place   place
	threads int
}

var bandwidths = map[bandwidthKey]float64{}

// bandwidth is the ceiling of what only reads, or of what reads and writes, in
// bytes a second: that of the faster of copy and update, which differs between
// caches and memory. A stream is measured once. GOMAXPROCS is at least threads.
func bandwidth(reads bool, p place, threads int) float64 {
	best := 0.0
	for _, t := range traffics {
		if reads != (t == kernels.Reading) {
			continue
		}
		r := bandwidths[bandwidthKey{t, p, threads}]
		if r == 0 {
			r = measureBandwidth(t, p, threads)
		}
		best = max(best, r)
	}
	return best
}

// Streaming measures once more how fast this many threads copy or update memory
// out of the caches, whichever is faster, in bytes a second; the best of all calls
// counts. GOMAXPROCS is at least threads.
func Streaming(threads int) float64 {
	return max(measureBandwidth(kernels.Copying, inMemory, threads), measureBandwidth(kernels.Updating, inMemory, threads))
}

// measureBandwidth measures a stream once more, with the widest registers that
// there are.
func measureBandwidth(t kernels.Traffic, p place, threads int) float64 {
	k, sets := bandwidthKey{t, p, threads}, usable()
	s := kernels.NewStream(sets[len(sets)-1], t, p.workingSet(threads), threads)
	bandwidths[k] = max(bandwidths[k], s.Measure())
	return bandwidths[k]
}

// fill sets x to values in [−1, 1) that look random, the same every time.
func fill(x []float32) {
	pattern.Do(func() {
		state := uint32(1)
		for i := range noise {
			state = state*1664525 + 1013904223 // Numerical Recipes' generator
			noise[i] = float32(int32(state)) / (1 << 31)
		}
	})
	for lo := 0; lo < len(x); lo += len(noise) {
		copy(x[lo:], noise[:])
	}
}

var (
	pattern sync.Once
	noise   [8191]float32 // odd, so that rows of a matrix differ
)

// filled returns n such values.
func filled(n int) []float32 {
	x := make([]float32, n)
	fill(x)
	return x
}

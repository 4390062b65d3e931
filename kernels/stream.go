package kernels

import (
	"time"

	"github.com/klauspost/cpuid/v2"
)

// Traffic is what a Stream does with memory.
type Traffic string

const (
	Reading  Traffic = "read"   // sums the working set
	Copying  Traffic = "copy"   // copies half of it to the other half
	Updating Traffic = "update" // multiplies it in place
)

// Stream is one pass over a working set: with Peak, the ceilings of a machine.
type Stream struct {
	traffic Traffic
	threads int
	mem     []float32
	set     *Set[float32]
}

// NewStream prepares a pass over that many bytes, on as many threads as given,
// each over its own part. All of the memory is written first: pages that were
// never written share one page of zeros, which a read finds in L1. It asks for
// huge pages, as tensors do.
func NewStream(s *Set[float32], t Traffic, bytes, threads int) *Stream {
	mem := aligned[float32](bytes / 4 / threads * threads)
	for i := range mem {
		mem[i] = float32(i&1023)/512 - 1
	}
	return &Stream{t, threads, mem, s}
}

// bytes counts what a pass reads and writes.
func (s *Stream) bytes() float64 {
	n := 4 * float64(len(s.mem))
	if s.traffic == Updating {
		n *= 2
	}
	return n
}

// pass runs over the working set n times. Kernels get pieces of 256 KB, so that no
// call into assembly is long; copy gets all, and writes around the caches where
// that is faster.
func (s *Stream) pass(n int) {
	per := len(s.mem) / s.threads
	Parallel(s.threads, func(t int) {
		part := s.mem[t*per : (t+1)*per]
		const piece = 1 << 16
		for range n {
			if s.traffic == Copying {
				copy(part[:per/2], part[per/2:])
				continue
			}
			for lo := 0; lo < per; lo += piece {
				if x := part[lo:min(lo+piece, per)]; s.traffic == Reading {
					s.set.Sum(x)
				} else {
					s.set.Scale(x, x, 1)
				}
			}
		}
	})
}

// Measure returns the rate in bytes a second: the best of several runs of at least
// ten milliseconds. GOMAXPROCS must be at least the number of threads.
func (s *Stream) Measure() float64 {
	run := func(n int) time.Duration {
		start := time.Now()
		s.pass(n)
		return time.Since(start)
	}
	const runs, least = 6, 10 * time.Millisecond
	n := 1
	for run(n) < least {
		n *= 2
	}
	best := run(n)
	for range runs - 1 {
		best = min(best, run(n))
	}
	return float64(n) * s.bytes() / best.Seconds()
}

// CacheSizes returns the bytes of a core's L2 and of L3; a common size where the
// system does not tell.
func CacheSizes() (l2, l3 int) {
	l2, l3 = cpuid.CPU.Cache.L2, cpuid.CPU.Cache.L3
	if l2 <= 0 {
		l2 = 1 << 20
	}
	if l3 <= l2 {
		l3 = 32 << 20
	}
	return l2, l3
}

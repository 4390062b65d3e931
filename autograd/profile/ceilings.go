package profile

import (
	"runtime"

	"fuerte/kernels"
)

// Ceilings are what this machine can do at most; 0 is not known.
type Ceilings struct {
	Peak      float64    // FLOP/s of the level in use, float32
	Bandwidth [3]float64 // bytes/s of reading and writing, by place
	L2, L3    int        // bytes, L2 of all threads
}

// places name Ceilings.Bandwidth.
var places = [3]string{"L2", "L3", "memory"}

// Measure measures them, on GOMAXPROCS threads: about a second, and a working set
// of up to 256 MB for a moment. Panics: as kernels.F32.
func Measure() Ceilings {
	threads, set := runtime.GOMAXPROCS(0), kernels.F32()
	l2, l3 := kernels.CacheSizes()
	c := Ceilings{Peak: kernels.Peak(set, threads), L2: threads * l2, L3: l3}
	for i, size := range []int{c.L2 / 2, max(l3/2, 2*c.L2), min(8*l3, 256<<20)} {
		for _, t := range []kernels.Traffic{kernels.Copying, kernels.Updating} {
			c.Bandwidth[i] = max(c.Bandwidth[i], kernels.NewStream(set, t, size, threads).Measure())
		}
	}
	return c
}

// place tells where that many bytes stay.
func (c Ceilings) place(bytes float64) int {
	switch {
	case bytes <= float64(c.L2):
		return 0
	case bytes <= float64(c.L3):
		return 1
	}
	return 2
}

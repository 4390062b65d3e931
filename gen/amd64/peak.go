package main

import "fmt"

func peakFamily(e *emitter) {
	e.fmaPeak(avx2, 12)
	e.fmaPeak(avx512, 24)
}

// fmaPeak emits a loop of independent FMAs on registers alone: no kernel can
// be faster, whatever it loads.
//
// Registers: sums of zeros, more than the latency times the FMA units; one zero
// that is both factors.
// Loop:      one FMA for each sum a pass. Needs: FMA3, or AVX512F.
func (e *emitter) fmaPeak(v vectors, sums int) {
	name := "FMAPeak" + v.suffix
	e.text(name, "func(n int)",
		fmt.Sprintf("%s runs n ≥ 1 passes of %d independent FMAs on registers:", name, sums),
		fmt.Sprintf("%d FLOP a pass. Its rate is the ceiling of every kernel of this level.", 2*sums*v.lanes))
	n := e.gp("n")
	r := v.take(e, sums+1)
	for _, x := range r {
		v.zero(e, x)
	}
	e.repeat(n, 1, func() {
		for _, s := range r[1:] {
			e.VFMADD231PS(r[0], r[0], s)
		}
	})
	e.ret()
}

package main

// peakFamily emits a loop of 24 independent FMAs on registers alone: no kernel
// can be faster, whatever it loads. Four pipes of latency four need 16.
func peakFamily(file *File) {
	f := file.Func("FMAPeakNEON", "func(n int)",
		"FMAPeakNEON runs n passes of 24 independent FMAs on registers: 192 FLOP a",
		"pass. Its rate is the ceiling of every kernel of this level.")
	n, sums, zero := f.Int("n"), f.Vs(24), f.V()
	for _, v := range append(sums, zero) {
		f.ZERO(v)
	}
	f.Loop(n, 1, func() {
		for _, s := range sums {
			f.FMLA(s, zero, zero)
		}
	})
	f.RET()
}

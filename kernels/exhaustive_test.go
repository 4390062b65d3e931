package kernels

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
)

var exhaustive = flag.Bool("exhaustive", false, "TestExhaustive takes all floats, not some in a thousand")

// exhaustiveRow is a function that a kernel of one operand computes.
type exhaustiveRow struct {
	field  string
	kernel func(s *Set[float32]) func(y, x []float32)
	f      func(float64) float64
	ulps   float64
	// low and high are the values between which it lies, and it grows with x: it
	// may step down by back ULP at most from a float to the next.
	low, high, back float64
}

var exhaustiveRows = []exhaustiveRow{
	{"Exp", func(s *Set[float32]) func(y, x []float32) { return s.Exp }, math.Exp, expULP, 0, math.Inf(1), 1},
	{"Log", func(s *Set[float32]) func(y, x []float32) { return s.Log }, math.Log, logULP, math.Inf(-1), math.Inf(1), 2},
	{"Tanh", func(s *Set[float32]) func(y, x []float32) { return s.Tanh }, math.Tanh, tanhULP, -1, 1, 2},
	{"Erf", func(s *Set[float32]) func(y, x []float32) { return s.Erf }, math.Erf, erfULP, -1, 1, 2},
	{"Sigmoid", func(s *Set[float32]) func(y, x []float32) { return s.Sigmoid }, sigmoidModel, sigmoidULP, 0, 1, 3},
}

// ordered is the i-th float from −Inf up, for i ≤ floats; NaN after that.
func ordered(i uint32) float32 {
	const negative = 0x7f800000 // −Inf to −0
	if i <= negative {
		return math.Float32frombits(1<<31 | negative - i)
	}
	return math.Float32frombits(i - negative - 1)
}

const floats = 2*0x7f800000 + 1

// run is how many neighbours TestExhaustive takes at a time.
const run = 64

// TestExhaustive holds the transcendental functions to their bounds over all
// floats in their order, or over runs of neighbours spread evenly over them, and
// to what else is known of each: its range, NaN and infinities where they belong,
// and how far it steps back, within a run, where it should grow. NaN are those with one bit set.
func TestExhaustive(t *testing.T) {
	every := uint64(run * 1009)
	switch {
	case *exhaustive:
		every = run
	case testing.Short():
		every *= 31
	}
	for _, row := range exhaustiveRows {
		t.Run(row.field, func(t *testing.T) { row.test(t, every) })
	}
}

func (row exhaustiveRow) test(t *testing.T, every uint64) {
	var usable []*Set[float32]
	for _, s := range Sets() {
		if s.Missing == "" && s.Name != "reference" {
			usable = append(usable, s)
		}
	}
	if len(usable) == 0 {
		usable = Sets()
	}
	type finding struct {
		worst, back     float64
		worstAt, backAt float32
	}
	found := make([]finding, len(usable))
	var mu sync.Mutex
	const pieces = 256
	runs := floats/every + 1
	Parallel(pieces, func(piece int) {
		x, y, want := make([]float32, run), make([]float32, run), make([]float64, run)
		mine := make([]finding, len(usable))
		for r := uint64(piece); r < runs; r += pieces {
			first := r * every
			for i := range x {
				x[i] = ordered(uint32(min(first+uint64(i), floats)))
				want[i] = row.f(float64(x[i]))
			}
			for j, s := range usable {
				row.kernel(s)(y, x)
				for i, w := range want {
					got := float64(y[i])
					if rounded := float64(float32(w)); got-got != 0 || rounded-rounded != 0 { // NaN or infinite
						if got == rounded || got != got && w != w {
							continue
						}
						t.Errorf("%s, %s(%g) = %g, want %g", s.Name, row.field, x[i], got, w)
						return
					}
					if got < row.low || got > row.high {
						t.Errorf("%s, %s(%g) = %g is out of range", s.Name, row.field, x[i], got)
						return
					}
					if e := math.Abs(got-w) / ulp(w); e > mine[j].worst {
						mine[j].worst, mine[j].worstAt = e, x[i]
					}
					if i > 0 && y[i] < y[i-1] {
						if e := float64(y[i-1]-y[i]) / ulp(w); e > mine[j].back {
							mine[j].back, mine[j].backAt = e, x[i]
						}
					}
				}
			}
		}
		mu.Lock()
		defer mu.Unlock()
		for j, m := range mine {
			if m.worst > found[j].worst {
				found[j].worst, found[j].worstAt = m.worst, m.worstAt
			}
			if m.back > found[j].back {
				found[j].back, found[j].backAt = m.back, m.backAt
			}
		}
	})
	for j, s := range usable {
		f := found[j]
		if *exhaustive {
			fmt.Printf("%-8s %-8s error %.3f ULP at %g, steps back %.3g ULP at %g\n", row.field, s.Name, f.worst, f.worstAt, f.back, f.backAt)
		}
		if f.worst > row.ulps || f.back > row.back {
			t.Errorf("%s, %s: error %.3f ULP at %g, steps back %.3g ULP at %g", s.Name, row.field, f.worst, f.worstAt, f.back, f.backAt)
		}
		var nans []float32
		for bit := range 23 {
			nans = append(nans, math.Float32frombits(0x7f800000|1<<bit), math.Float32frombits(0xff800000|1<<bit))
		}
		row.kernel(s)(nans, nans)
		if i := slices.IndexFunc(nans, func(v float32) bool { return v == v }); i >= 0 {
			t.Errorf("%s, %s(NaN) = %g", s.Name, row.field, nans[i])
		}
	}
}

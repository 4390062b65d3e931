package stats

import (
	"math"
	"testing"
)

func TestStats(t *testing.T) {
	if m := Median([]float64{3, 1, 2}); m != 2 {
		t.Errorf("median %g", m)
	}
	if m := Median([]float64{4, 1, 2, 3}); m != 2.5 {
		t.Errorf("median %g", m)
	}
	if g := Geomean([]float64{1, 4, 16}); math.Abs(g-4) > 1e-12 {
		t.Errorf("geometric mean %g", g)
	}
	// The ranks of the sign test, tabulated in books: 6 of 6 and 1; 15: 4 and 12; 25: 8 and 18.
	for _, c := range []struct {
		n         int
		low, high float64
		coverage  float64
	}{{1, 1, 1, 0}, {5, 1, 5, 0.9375}, {6, 1, 6, 0.96875}, {15, 4, 12, 0.9648}, {25, 8, 18, 0.9567}} {
		x := make([]float64, c.n)
		for i := range x {
			x[i] = float64(c.n - i)
		}
		low, high, coverage := MedianInterval(x)
		if low != c.low || high != c.high || math.Abs(coverage-c.coverage) > 1e-4 {
			t.Errorf("%d values: [%g, %g] with %g, want [%g, %g] with %g", c.n, low, high, coverage, c.low, c.high, c.coverage)
		}
	}
}

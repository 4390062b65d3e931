package piecewise

import (
	"math"
	"testing"
)

// at evaluates the table in float64, so that only its own error is seen, but
// finds the interval in float32, as kernels do.
func (t *Table) at(x float32) float64 {
	i := math.Float32bits(x+t.Bias) >> t.Shift % Intervals
	r, y := float64(x)-float64(t.Center[i]), 0.0
	for j := len(t.C) - 1; j >= 0; j-- {
		y = y*r + float64(t.C[j][i])
	}
	if math.Signbit(float64(t.Base[i])) {
		return r + r*y
	}
	return float64(t.Base[i]) + r*y
}

// TestError holds the polynomials with their rounded coefficients to a bound in ULP.
func TestError(t *testing.T) {
	for name, c := range map[string]struct {
		table *Table
		f     func(float64) float64
		bound float64
	}{"tanh": {Tanh, math.Tanh, 0.6}, "erf": {Erf, math.Erf, 0.35}} {
		worst, at := 0.0, float32(0)
		for x := float32(0x1p-30); x <= c.table.Top; x = math.Nextafter32(x*1.00001, 100) {
			want := c.f(float64(x))
			if e := math.Abs(c.table.at(x)-want) / math.Ldexp(1, math.Ilogb(want)-23); e > worst {
				worst, at = e, x
			}
		}
		t.Logf("%s: %.3f ULP at %g", name, worst, at)
		if worst > c.bound {
			t.Errorf("%s: %.3f ULP at %g", name, worst, at)
		}
	}
}

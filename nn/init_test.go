package nn

import (
	"math"
	"slices"
	"testing"

	"fuerte/tensor"
)

// TestInit: bounds, mean, deviation and fourth moment of 120,000 draws, within
// five deviations of their own.
func TestInit(t *testing.T) {
	const n = 120_000
	for _, c := range []struct {
		name  string
		shape []int
		draw  func(v *Var)
		std   float64
		bound float64 // 0: none
		kurt  float64 // E x⁴/(E x²)²
	}{
		{"uniform", []int{300, 400}, func(v *Var) { Uniform(v, Rand(1, "u"), 0.3) }, 0.3 / math.Sqrt(3), 0.3, 1.8},
		{"normal", []int{n}, func(v *Var) { Normal(v, Rand(1, "n"), 0.02) }, 0.02, 0, 3},
		// The kernel of a convolution: fan in 3·20·20, fan out 100.
		{"xavier", []int{100, 3, 20, 20}, func(v *Var) { XavierUniform(v, Rand(1, "x")) }, math.Sqrt(2.0 / 1300), math.Sqrt(6.0 / 1300), 1.8},
		// N(0, 1) cut at ±2: variance 0.77374, fourth moment 3 − 2φ(2)(8+6)/(2Φ(2)−1).
		{"truncated", []int{n}, func(v *Var) { TruncatedNormal(v, Rand(1, "t"), 0.5) }, 0.5, 0.5 * 2 / 0.87962566, 2.3656},
	} {
		v := NewParam(tensor.CPU, c.shape...)
		c.draw(v)
		var m1, m2, m4, top float64
		for _, x := range tensor.Data[float32](v.Value) {
			x := float64(x)
			m1, m2, m4, top = m1+x/n, m2+x*x/n, m4+x*x*x*x/n, max(top, math.Abs(x))
		}
		if math.Abs(m1) > 5*c.std/math.Sqrt(n) {
			t.Errorf("%s: the mean is %g", c.name, m1)
		}
		if r := math.Sqrt(m2) / c.std; math.Abs(r-1) > 5*math.Sqrt((c.kurt-1)/4/n) {
			t.Errorf("%s: the deviation is %g, want %g", c.name, math.Sqrt(m2), c.std)
		}
		if k := m4 / (m2 * m2); math.Abs(k-c.kurt) > 0.1 {
			t.Errorf("%s: the kurtosis is %g, want %g", c.name, k, c.kurt)
		}
		if c.bound > 0 && (top > c.bound*(1+1e-6) || top < 0.999*c.bound) {
			t.Errorf("%s: the largest draw is %g, the bound %g", c.name, top, c.bound)
		}
	}
}

// TestRand: the draws of a parameter depend on the seed and its name alone.
func TestRand(t *testing.T) {
	draw := func(seed uint64, name string) []float64 {
		r := Rand(seed, name)
		return []float64{r.Float64(), r.Float64(), r.Float64()}
	}
	first := draw(1, "a.weight")
	if draw(1, "b.weight"); !slices.Equal(first, draw(1, "a.weight")) {
		t.Error("the same seed and name draw otherwise the second time")
	}
	for _, other := range [][]float64{draw(2, "a.weight"), draw(1, "b.weight"), draw(1, "a.weighs"), draw(1, "")} {
		if slices.Equal(first, other) {
			t.Error("another seed or name draws the same")
		}
	}
	// Pinned: a change here changes every published run.
	if got := Rand(1, "a.weight").Uint64(); got != 0xee45932258581ec7 {
		t.Errorf("the first draw of (1, a.weight) is %#x", got)
	}
}

//go:build arm64 && !purego

package arm64_test

import (
	"math"
	"testing"

	"fuerte/kernels"
)

// neon is the set under test, model the reference at float64.
func neon(t *testing.T) (set *kernels.Set[float32], model *kernels.Set[float64]) {
	for _, s := range kernels.Sets() {
		if s.Name == "neon" {
			if s.Missing != "" {
				t.Skip("neon: not run, this CPU lacks " + s.Missing)
			}
			return s, kernels.F64()
		}
	}
	t.Fatal("no set is called neon")
	return nil, nil
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// ulp is the distance of a float32 near x from the next one.
func ulp(x float64) float64 {
	_, e := math.Frexp(x)
	return math.Ldexp(1, max(e-24, -149))
}

// near says how far got lies from want, as a share of bound; 0 where both are
// NaN or the same infinity.
func near(got float32, want, bound float64) float64 {
	g := float64(got)
	switch {
	case math.IsNaN(g) && math.IsNaN(want), g == want, math.IsInf(float64(float32(want)), 0) && g == float64(float32(want)):
		return 0
	case math.IsNaN(g) || math.IsNaN(want):
		return math.Inf(1)
	}
	return math.Abs(g-want) / bound
}

// TestSweep steps through all floats, about four thousand apart, with the bounds
// of the contract: a million arguments where kernels.TestSets has some thousands.
func TestSweep(t *testing.T) {
	set, model := neon(t)
	const length = 4096
	one := make([]float32, length)
	for i := range one {
		one[i] = 1
	}
	one64 := wide(one)
	top := math.Log(math.MaxFloat32)
	for _, k := range []struct {
		name  string
		run   func(y, x []float32)
		want  func(y, x []float64)
		bound func(x, want float64) float64
	}{
		{"Exp", set.Exp, func(y, x []float64) {
			model.Exp(y, x)
			for i, v := range x {
				if v > top {
					y[i] = math.Inf(1)
				}
			}
		}, func(_, want float64) float64 { return 2 * ulp(want) }},
		{"Log", set.Log, model.Log, func(_, want float64) float64 { return 2 * ulp(want) }},
		{"Tanh", set.Tanh, model.Tanh, func(_, want float64) float64 { return 2 * ulp(want) }},
		{"Erf", set.Erf, model.Erf, func(_, want float64) float64 { return 2 * ulp(want) }},
		{"Sigmoid", set.Sigmoid, model.Sigmoid, func(_, want float64) float64 { return 2 * ulp(want) }},
		{"SiLU", set.SiLU, model.SiLU, func(x, want float64) float64 {
			if x < -87 {
				return 1e-36
			}
			return 4 * ulp(want)
		}},
		{"SiLUGrad", func(y, x []float32) { set.SiLUGrad(y, x, one) }, func(y, x []float64) { model.SiLUGrad(y, x, one64) },
			func(_, want float64) float64 { return 8 * ulp(max(1, math.Abs(want))) }},
		{"SwiGLU", func(y, x []float32) { set.SwiGLU(y, x, one) }, func(y, x []float64) { model.SwiGLU(y, x, one64) }, func(x, want float64) float64 {
			if x < -87 {
				return 1e-36
			}
			return 5 * ulp(want)
		}},
		{"GELU", set.GELU, model.GELU, func(x, _ float64) float64 { return 1e-6*math.Abs(x) + 0x1p-149 }},
		{"GELUGrad", func(y, x []float32) { set.GELUGrad(y, x, one) }, func(y, x []float64) { model.GELUGrad(y, x, one64) },
			func(x, _ float64) float64 { return 2e-6 * (1 + math.Abs(x)) }},
	} {
		t.Run(k.name, func(t *testing.T) {
			stride := uint64(1<<32/1_000_003) | 1
			if testing.Short() {
				stride *= 17
			}
			x, y, want := make([]float32, length), make([]float32, length), make([]float64, length)
			worst, worstAt := 0.0, float32(0)
			for bits := uint64(0); bits < 1<<32; {
				n := 0
				for ; n < length && bits < 1<<32; n++ {
					x[n] = math.Float32frombits(uint32(bits))
					bits += stride
				}
				k.run(y[:n], x[:n])
				k.want(want[:n], wide(x[:n]))
				for i, v := range x[:n] {
					d := near(y[i], want[i], k.bound(float64(v), want[i]))
					if d > worst {
						worst, worstAt = d, v
					}
					if d > 1 {
						t.Fatalf("%s(%g) = %g, want %g (%.2f of the bound)", k.name, v, y[i], want[i], d)
					}
				}
			}
			t.Logf("worst %.2f of the bound, at %g", worst, worstAt)
		})
	}
}

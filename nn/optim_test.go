package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"fuerte/tensor"
)

// TestDecayOnly: with a zero gradient a parameter shrinks by 1 − 1e-4 a step at
// the peak of the schedule and by 1 − 5e-5 at half of it; the excluded stay.
func TestDecayOnly(t *testing.T) {
	ps := []Named{{"w", NewParam(tensor.CPU, 37)}, {"x.bias", NewParam(tensor.CPU, 37)}}
	const peak = 8e-4
	for _, rate := range []float64{1, 0.5, 0} {
		for _, p := range ps {
			tensor.Fill(p.Value, 3)
			p.Grad = tensor.Zeros(tensor.CPU, tensor.Float32, 37)
		}
		o := NewAdamW(ps, peak, 0.9, 0.95, 1e-8, 1e-4, []string{"*bias*"})
		if norm := o.Step(rate*peak, 1); norm != 0 {
			t.Errorf("the norm of nothing is %g", norm)
		}
		for i, want := range []float64{3 * (1 - 1e-4*rate), 3} {
			for _, v := range tensor.Data[float32](ps[i].Value) {
				if math.Abs(float64(v)-want) > 3e-7 {
					t.Fatalf("rate %g: %s goes from 3 to %.8g, want %.8g", rate, ps[i].Name, v, want)
				}
			}
			if ps[i].Grad != nil {
				t.Error("the gradient was not dropped")
			}
		}
	}
}

// TestTrajectory follows 60 steps of a changing rate beside AdamW in float64, with
// weight decay decay/peak as torch counts it, and clipping.
func TestTrajectory(t *testing.T) {
	const peak, decay, b1, b2, eps, limit, n = 1e-3, 1e-4, 0.9, 0.95, 1e-8, 2.0, 130
	r := rand.New(rand.NewPCG(1, 1))
	ps := []Named{{"w", NewParam(tensor.CPU, 10, n/10)}, {"norm.w", NewParam(tensor.CPU, n)}, {"still", NewParam(tensor.CPU, 3)}}
	o := NewAdamW(ps, peak, b1, b2, eps, decay, []string{"*norm*"})
	var p, m, v [2][]float64
	for k := range p {
		Normal(ps[k].Var, r, 1)
		for _, x := range tensor.Data[float32](ps[k].Value) {
			p[k] = append(p[k], float64(x))
		}
		m[k], v[k] = make([]float64, n), make([]float64, n)
	}
	tensor.Fill(ps[2].Value, 5)
	s := WarmupCosine{Start: 1e-6, Peak: peak, Floor: 1e-5, Warmup: 10, Total: 60}
	for step := range 60 {
		var g [2][]float64
		var ss float64
		for k := range g {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(r.NormFloat64() * (0.01 + 0.3*float64(step%3))) // now and then below the limit
				g[k] = append(g[k], float64(x[i]))
				ss += g[k][i] * g[k][i]
			}
			ps[k].Grad = tensor.From(tensor.CPU, x, ps[k].Shape()...)
		}
		lr := s.At(step)
		norm := o.Step(lr, limit)
		if math.Abs(norm-math.Sqrt(ss)) > 1e-5*norm {
			t.Fatalf("step %d: the norm is %g, want %g", step, norm, math.Sqrt(ss))
		}
		clip := min(1, limit/(math.Sqrt(ss)+1e-6))
		for k := range p {
			wd := []float64{decay / peak, 0}[k]
			for i := range p[k] {
				p[k][i] *= 1 - lr*wd
				gi := g[k][i] * clip
				m[k][i] = b1*m[k][i] + (1-b1)*gi
				v[k][i] = b2*v[k][i] + (1-b2)*gi*gi
				mh, vh := m[k][i]/(1-math.Pow(b1, float64(step+1))), v[k][i]/(1-math.Pow(b2, float64(step+1)))
				p[k][i] -= lr * mh / (math.Sqrt(vh) + eps)
			}
		}
	}
	for k := range p {
		for i, x := range tensor.Data[float32](ps[k].Value) {
			if math.Abs(float64(x)-p[k][i]) > 3e-6 {
				t.Fatalf("%s[%d] is %.8g after 60 steps, in float64 %.8g", ps[k].Name, i, x, p[k][i])
			}
		}
	}
	if x := tensor.Data[float32](ps[2].Value); slices.Min(x) != 5 || slices.Max(x) != 5 {
		t.Error("a parameter without gradient was changed")
	}
	if o.Steps != 60 || o.Decayed() != n+3 {
		t.Errorf("%d steps, %d decayed elements", o.Steps, o.Decayed())
	}
}

// TestClip reads the first moment: (1−β₁)·g, scaled to the limit if above it.
func TestClip(t *testing.T) {
	for _, c := range []struct{ limit, scale float64 }{{1, 1.0 / (5 + 1e-6)}, {5, 5.0 / (5 + 1e-6)}, {5.1, 1}, {math.Inf(1), 1}} {
		ps := []Named{{"a", NewParam(tensor.CPU, 1)}, {"b", NewParam(tensor.CPU, 1)}}
		o := NewAdamW(ps, 1, 0.9, 0.95, 1e-8, 0, nil)
		ps[0].Grad, ps[1].Grad = tensor.From(tensor.CPU, []float32{3}, 1), tensor.From(tensor.CPU, []float32{-4}, 1)
		if norm := o.Step(1e-3, c.limit); norm != 5 {
			t.Errorf("the norm is %g", norm)
		}
		for i, g := range []float64{3, -4} {
			if m := o.State()[2*i].Value.Item(); math.Abs(m-0.1*g*c.scale) > 1e-6 {
				t.Errorf("limit %g: the moment is %g, want %g", c.limit, m, 0.1*g*c.scale)
			}
		}
	}
}

// TestNoStepFromNonsense: a gradient that is not finite changes nothing.
func TestNoStepFromNonsense(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), 3e38} {
		ps := []Named{{"a", NewParam(tensor.CPU, 2)}, {"b", NewParam(tensor.CPU, 2)}}
		tensor.Fill(ps[0].Value, 2)
		o := NewAdamW(ps, 1, 0.9, 0.95, 1e-8, 0.1, nil)
		for _, p := range ps {
			p.Grad = tensor.From(tensor.CPU, []float32{bad, 1}, 2)
		}
		norm := o.Step(1, 1)
		if bad == 3e38 { // squares beyond float32 may or may not overflow; either way nothing breaks
			if v := ps[0].Value.Narrow(0, 0, 1).Item(); math.IsNaN(v) || math.IsInf(v, 0) {
				t.Errorf("gradient %g: the parameter is %g", bad, v)
			}
			continue
		}
		if !math.IsNaN(norm) && !math.IsInf(norm, 0) {
			t.Errorf("gradient %g: the norm is %g", bad, norm)
		}
		if x := tensor.Data[float32](ps[0].Value); x[0] != 2 || x[1] != 2 || o.Steps != 0 || tensor.SumSquares(o.State()[0].Value) != 0 || ps[0].Grad != nil {
			t.Errorf("gradient %g: a step was taken, or the gradient stays", bad)
		}
	}
}

// TestSchedule holds the released recipe's rates.
func TestSchedule(t *testing.T) {
	s := WarmupCosine{Start: 1e-6, Peak: 1e-3, Floor: 1e-5, Warmup: 12_500, Total: 1_250_000}
	for it, want := range map[int]float64{0: 1e-6, 6_250: 5.005e-4, 12_500: 1e-3, 631_250: 5.05e-4, 1_249_999: 1e-5, 1_250_000: 1e-5, 2_000_000: 1e-5} {
		if got := s.At(it); math.Abs(got-want) > 1e-9*want {
			t.Errorf("step %d: %g, want %g", it, got, want)
		}
	}
	if got := s.At(1_249_999); got <= 1e-5 {
		t.Errorf("the last step's rate %g is not above the floor", got)
	}
	for it := 1; it < 1_250_000; it += 997 {
		if a, b := s.At(it-1), s.At(it); it <= 12_500 && b <= a || it > 12_501 && b >= a {
			t.Fatalf("step %d: from %g to %g", it, a, b)
		}
	}
	for _, s := range []WarmupCosine{{Peak: 1}, {Peak: 1, Total: 1}, {Peak: 1, Warmup: 5, Total: 5}, {Peak: 1, Warmup: 5, Total: 3}} {
		for it := range 8 {
			if v := s.At(it); !(v >= 0 && v <= 1) {
				t.Errorf("%+v: step %d has rate %g", s, it, v)
			}
		}
	}
}

// TestPatterns: a star spans dots, and a bad pattern panics.
func TestPatterns(t *testing.T) {
	var ps []Named
	for _, name := range []string{"trunk.blocks.0.norm_1.weight", "trunk.blocks.0.mlp.fc1.weight", "a.bias", "biased.weight"} {
		ps = append(ps, Named{name, NewParam(tensor.CPU, 1)})
	}
	if n := NewAdamW(ps, 1, 0, 0, 1, 0, []string{"*norm*", "*.bias"}).Decayed(); n != 2 {
		t.Errorf("%d of 4 are decayed, want 2", n)
	}
	defer func() {
		if recover() == nil {
			t.Error("a malformed pattern is accepted")
		}
	}()
	NewAdamW(ps, 1, 0, 0, 1, 0, []string{"[a"})
}

// TestState: a run that goes on from saved parameters and moments takes the very
// same steps.
func TestState(t *testing.T) {
	build := func() ([]Named, *AdamW) {
		ps := []Named{{"w", NewParam(tensor.CPU, 5, 7)}, {"b", NewParam(tensor.CPU, 7)}}
		for _, p := range ps {
			Normal(p.Var, Rand(3, p.Name), 1)
		}
		return ps, NewAdamW(ps, 1e-3, 0.9, 0.95, 1e-8, 1e-4, nil)
	}
	step := func(ps []Named, o *AdamW, k int) {
		for _, p := range ps {
			g := NewParam(tensor.CPU, p.Shape()...)
			Normal(g, Rand(uint64(k), p.Name), 1)
			p.Grad = g.Value
		}
		o.Step(1e-3, 1)
	}
	ps, o := build()
	path := t.TempDir() + "/state.safetensors"
	for k := range 6 {
		if k == 3 {
			if err := Save(path, "F32", map[string]string{"steps": fmt.Sprint(o.Steps)}, append(ps, o.State()...)); err != nil {
				t.Fatal(err)
			}
		}
		step(ps, o, k)
	}
	qs, q := build()
	meta, err := Load(path, append(qs, q.State()...))
	if err != nil || meta["steps"] != "3" {
		t.Fatal(meta, err)
	}
	q.Steps = 3
	for k := 3; k < 6; k++ {
		step(qs, q, k)
	}
	a, b := append(ps, o.State()...), append(qs, q.State()...)
	for i := range a {
		if a[i].Name != b[i].Name || !slices.Equal(tensor.Data[float32](a[i].Value), tensor.Data[float32](b[i].Value)) {
			t.Errorf("%s differs after going on", a[i].Name)
		}
	}
	if want := []string{"m.w", "v.w", "m.b", "v.b"}; !slices.Equal(names(o.State()), want) {
		t.Errorf("the state's names are %q", names(o.State()))
	}
}

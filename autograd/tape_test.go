package autograd

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"

	"fuerte/tensor"
)

// graphs are the nastiest ways that we know to share memory between values and
// cotangents: scalars of x [2, 3] and y [3].
var graphs = []struct {
	name string
	f    func(x, y *Var) *Var
}{
	{"x+x", func(x, y *Var) *Var { return Sum(Tanh(Add(x, x)), false) }},
	{"x·x", func(x, y *Var) *Var { return Sum(Mul(x, x), false) }},
	{"x/x²", func(x, y *Var) *Var { return Sum(Mul(Div(x, Mul(x, x)), y), false) }},
	{"x−x", func(x, y *Var) *Var { return Sum(Mul(Sub(x, Scale(x, 2)), Sub(x, x)), false) }},
	{"x + a view of x", func(x, y *Var) *Var {
		v := Reshape(x, 3, 2)
		return Sum(Tanh(Add(x, Reshape(Add(v, v), 2, 3))), false)
	}},
	{"y broadcast thrice", func(x, y *Var) *Var { return Sum(Tanh(Scale(Add(Add(x, y), Mul(y, Add(y, x))), 0.1)), false) }},
	{"diamond of views", func(x, y *Var) *Var {
		a := Reshape(x, 3, 2)
		b := Transpose(a, 0, 1)
		return Add(Sum(Tanh(Mul(b, x)), false), Add(Sum(Mul(a, a), false), Sum(Mul(Reshape(b, 6), Reshape(a, 6)), false)))
	}},
	// add hands gy itself on to u and v; both have consumers recorded before it
	// (deposited after it) and after it (deposited before it).
	{"gy handed on", func(x, y *Var) *Var {
		u, v := Scale(x, 2), Scale(x, 3)
		before := Mul(Tanh(u), v)
		s := Add(u, v)
		after := Mul(Exp(Scale(u, -1)), Tanh(v))
		return Sum(Add(Add(before, Mul(s, s)), Add(after, s)), false)
	}},
	{"gy handed on through many", func(x, y *Var) *Var {
		u := Scale(x, 2)
		s := AddScalar(Reshape(Reshape(Add(u, y), 6), 2, 3), 1)
		p := Permute(Permute(Add(s, u), 1, 0), 1, 0)
		return Sum(Mul(Add(p, s), Add(u, p)), false)
	}},
	{"add to add", func(x, y *Var) *Var {
		a := Scale(x, 1.5)
		b := Add(a, a)
		c := Add(b, a)
		d := Add(c, Add(b, c))
		return Sum(Mul(d, Add(d, a)), false)
	}},
	{"residual stream", func(x, y *Var) *Var {
		for range 5 {
			x = Add(x, Tanh(Mul(x, y)))
		}
		return Sum(x, false)
	}},
	{"many consumers", func(x, y *Var) *Var {
		h := Scale(x, 1.5)
		sum := Sum(h, false)
		for i := range 6 {
			sum = Add(sum, Sum(Tanh(Scale(h, float64(i)-2.3)), false))
		}
		return Add(sum, Sum(Mul(h, h), false))
	}},
	// The cotangent of sum is one element seen as many.
	{"repeated cotangent first", func(x, y *Var) *Var {
		h := Scale(x, 2)
		return Add(Sum(Mul(h, h), false), Sum(h, false))
	}},
	{"repeated cotangent last", func(x, y *Var) *Var {
		h := Scale(x, 2)
		s := Sum(h, false)
		return Add(s, Sum(Mul(h, h), false))
	}},
	{"repeated cotangents alone", func(x, y *Var) *Var { return Add(Sum(x, false), Add(Sum(x, false), Sum(y, false))) }},
	{"views of the operands alone", func(x, y *Var) *Var {
		return Sum(Mul(Reshape(x, 6), Expand(Reshape(Narrow(y, 0, 1, 1), 1), 6)), false)
	}},
	{"overlapping parts", func(x, y *Var) *Var {
		a, b := Narrow(x, 1, 0, 2), Narrow(x, -1, 1, 2)
		return Sum(Mul(Concat(0, a, b, a), Concat(-2, b, b, a)), false)
	}},
	{"joined with itself", func(x, y *Var) *Var { return Sum(Tanh(Mul(Concat(-1, x, x), Concat(1, Exp(x), x))), false) }},
	{"padded and cut", func(x, y *Var) *Var {
		p := Pad(x, -1, 2, 6)
		return Sum(Mul(Narrow(p, 1, 1, 3), Add(x, Narrow(p, 1, 2, 3))), false)
	}},
	{"products of itself", func(x, y *Var) *Var {
		m := MatMul(x, Transpose(x, 0, 1))
		return Sum(Tanh(Add(MatMul(m, x), Linear(m, Transpose(x, 0, 1), y))), false)
	}},
	{"kept on the way", func(x, y *Var) *Var {
		h := Mul(x, y)
		v := Reshape(h, 6)
		return Sum(Mul(Tanh(v), Reshape(Add(h, h), 6)), false)
	}},
	{"fused", func(x, y *Var) *Var {
		n := RMSNorm(x, y, 1e-5)
		return Sum(Add(SwiGLU(n, n), Mul(SiLU(n), LayerNorm(x, y, y, 1e-5))), false)
	}},
	{"checkpoints", func(x, y *Var) *Var {
		f := func(x *Var) *Var { return Add(x, Tanh(Scale(x, 2))) }
		return Sum(Mul(Checkpoint(Checkpoint(x, f), f), Checkpoint(x, func(x *Var) *Var { return x })), false)
	}},
	{"attention on itself", func(x, y *Var) *Var {
		q := Reshape(Mul(x, y), 1, 2, 1, 3)
		return Sum(Tanh(Attention(q, q, q, tensor.Causal, nil)), false)
	}},
}

// TestSharing compares the gradients of every graph with central differences,
// element by element, while released memory is poisoned: with leaves on the tape,
// with parameters, accumulating over two walks, with every result kept. It
// requires the same bits from two runs, and nothing unreleased after them.
func TestSharing(t *testing.T) {
	tensor.PoisonFreed(true)
	defer tensor.PoisonFreed(false)
	r := rand.New(rand.NewPCG(7, 7))
	x, y := positive(r, 2, 3), positive(r, 3)
	for _, g := range graphs {
		t.Run(g.name, func(t *testing.T) {
			want := [2]*tensor.Tensor{}
			for k, at := range []*tensor.Tensor{x, y} {
				want[k] = centralDifference(at, func() float64 {
					tape := NewInferenceTape()
					defer tape.Reset()
					return g.f(tape.Input(x), tape.Input(y)).Value.Item()
				})
			}
			want2 := [2]*tensor.Tensor{tensor.Scale(want[0], 2), tensor.Scale(want[1], 2)}
			keepX, keepY := x.Clone(), y.Clone()

			before := tensor.Live()
			run := func(tape *Tape, a, b *Var) {
				out := g.f(a, b)
				tape.Backward(out)
				out.Value.Release()
			}
			tape := NewTape()
			a, b := tape.Variable(x), tape.Variable(y)
			run(tape, a, b)
			check := func(what string, got *Var, want *tensor.Tensor) {
				t.Helper()
				if got.Grad == nil {
					if inner(want, want) > 1e-12 {
						t.Errorf("%s: no gradient", what)
					}
					return
				}
				closeTo(t, what, got.Grad, want, 1e-8)
				if !got.Grad.Contiguous() || !got.Grad.Exclusive() {
					t.Errorf("%s: the gradient does not stand in memory of its own", what)
				}
			}
			check("x", a, want[0])
			check("y", b, want[1])
			first := gradBits(a, b)
			run(tape, a, b)
			check("x, twice", a, want2[0])
			check("y, twice", b, want2[1])
			a.ZeroGrad()
			b.ZeroGrad()
			run(tape, a, b)
			if !slices.Equal(first, gradBits(a, b)) {
				t.Error("two runs differ")
			}
			a.ZeroGrad()
			b.ZeroGrad()

			p, q := Param(x), Param(y)
			on := func(p *Var) *Var { return tape.Input(x).Watch(p) }
			run(tape, on(p), on(q))
			check("parameter x", p, want[0])
			check("parameter y", q, want[1])
			if !slices.Equal(first, gradBits(p, q)) {
				t.Error("parameters and leaves on the tape differ")
			}
			p.ZeroGrad()
			q.ZeroGrad()
			if n := tensor.Live(); n != before {
				t.Errorf("%d blocks were not released", n-before)
			}

			out := g.f(a, b)
			var kept []*Var
			var copies []*tensor.Tensor
			for _, n := range tape.nodes {
				kept = append(kept, n.out.Keep())
				copies = append(copies, n.out.Value.Clone())
			}
			tape.Backward(out)
			check("x, all kept", a, want[0])
			for i, v := range kept {
				closeTo(t, "a kept result", v.Value, copies[i], 0)
				v.Value.Release()
				copies[i].Release()
			}
			closeTo(t, "operand x", x, keepX, 0)
			closeTo(t, "operand y", y, keepY, 0)
		})
	}
}

// centralDifference returns ∂f/∂at by moving its elements one by one.
func centralDifference(at *tensor.Tensor, f func() float64) *tensor.Tensor {
	const h = 1e-5
	g := tensor.New(tensor.CPU, tensor.Float64, at.Shape()...)
	d := tensor.Data[float64](at)
	for i, v := range d {
		d[i] = v + h
		up := f()
		d[i] = v - h
		tensor.Data[float64](g)[i] = (up - f()) / (2 * h)
		d[i] = v
	}
	return g
}

func gradBits(vs ...*Var) (out []float64) {
	for _, v := range vs {
		if v.Grad != nil {
			out = append(out, tensor.Data[float64](v.Grad)...)
		}
	}
	return out
}

// TestReleased: no op leaves anything behind, neither after a walk nor after the
// Reset of an inference tape, nor with all operands constant.
func TestReleased(t *testing.T) {
	tensor.PoisonFreed(true)
	defer tensor.PoisonFreed(false)
	for _, op := range Ops {
		in, args := op.Sample(rand.New(rand.NewPCG(1, 2)))
		before := tensor.Live()
		for _, mode := range []string{"walk", "reset", "inference", "constant"} {
			tape := NewTape()
			if mode == "inference" {
				tape = NewInferenceTape()
			}
			vars := make([]*Var, len(in))
			for i, x := range in {
				if vars[i] = tape.Input(x); floating(x) && mode != "constant" {
					vars[i] = tape.Variable(x)
				}
			}
			y := Sum(Apply(op, args, vars...), false)
			if y.Needs() != (mode == "walk" || mode == "reset") {
				t.Errorf("%s, %s: a gradient flows: %v", op.Name, mode, y.Needs())
			}
			if mode == "walk" {
				tape.Backward(y)
				y.Value.Release()
			}
			tape.Reset()
			for _, v := range vars {
				v.ZeroGrad()
			}
			if n := tensor.Live(); n != before {
				t.Errorf("%s, %s: %d blocks were not released", op.Name, mode, n-before)
			}
		}
	}
}

// raceEnabled: the race detector makes the kernels' scratch pools forget.
var raceEnabled bool

// TestSteadyMemory: 50 steps use the memory of the first few, and nothing goes to
// the garbage collector.
func TestSteadyMemory(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	r := rand.New(rand.NewPCG(1, 1))
	x := tensor.Cast(normal(r, 64, 256), tensor.Float32) // 64 KiB
	w := [3]*Var{}
	for i := range w {
		w[i] = Param(tensor.Cast(normal(r, 256, 256), tensor.Float32))
	}
	tape := NewTape()
	step := func() {
		h := tape.Input(x)
		for _, w := range w {
			h = Add(h, SiLU(Linear(h, w, nil)))
		}
		y := Mean(Mul(h, h), false)
		tape.Backward(y)
		y.Value.Release()
		for _, w := range w {
			w.ZeroGrad()
		}
	}
	for range 5 {
		step()
	}
	before := tensor.Live()
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	for range 50 {
		step()
	}
	runtime.ReadMemStats(&b)
	if n := tensor.Live(); n != before {
		t.Errorf("50 steps left %d blocks", n-before)
	}
	if each := (b.Mallocs - a.Mallocs) / 50; each > 0 && !raceEnabled {
		t.Errorf("a step makes %d allocations", each)
	}
}

// TestReuse: a Var and its tensor serve again two walks after the one that dropped
// them and not before; what the user kept never does.
func TestReuse(t *testing.T) {
	tape := NewTape()
	w := Param(tensor.From(tensor.CPU, []float64{3}, 1))
	type made struct {
		h, c, y *Var
		value   *tensor.Tensor
	}
	// The steps are equal but for their input, a different number each time.
	step := func(x float64, keep bool) made {
		in := tensor.From(tensor.CPU, []float64{x}, 1)
		c := tape.Input(in)
		h := Mul(c, w)
		value := h.Value
		if keep {
			h.Keep()
		}
		y := Mul(h, h)
		tape.Backward(y)
		return made{h, c, y, value}
	}
	var steps []made
	for i := range 6 {
		s := step(float64(i), false)
		w.ZeroGrad()
		s.y.Value.Release()
		steps = append(steps, s)
	}
	vars, tensors := map[*Var]int{}, map[*tensor.Tensor]int{}
	for i, s := range steps {
		for _, v := range []*Var{s.h, s.c, s.y} {
			if last, seen := vars[v]; seen && last == i-1 {
				t.Errorf("a Var of step %d serves in step %d, while it rests", last, i)
			}
			vars[v] = i
		}
		if last, seen := tensors[s.value]; seen && last == i-1 {
			t.Errorf("a tensor of step %d serves in step %d, while it rests", last, i)
		}
		tensors[s.value] = i
	}
	if len(vars) == 3*len(steps) || len(tensors) == len(steps) {
		t.Errorf("%d steps took %d Vars and %d tensors: nothing serves again", len(steps), len(vars), len(tensors))
	}

	released := step(7, true)
	released.h.Value.Release()
	loose := tape.Grad(Mul(tape.Input(w.Value), w), w)[0]
	w.ZeroGrad()
	kept := step(5, true)
	grad := w.Grad
	w.Grad = nil
	var seen []float64
	p := Param(tensor.From(tensor.CPU, []float64{2}, 1))
	hooked := Mul(tape.Input(p.Value), p)
	hooked.Hook(func(g *tensor.Tensor) { seen = append(seen, g.Item()) })
	given := tape.Grad(Mul(hooked, hooked), p)[0].Keep() // d(4p²)/dp = 2·4·2
	end := Scale(hooked, 0.5)
	tape.Backward(end)
	for i := range 8 {
		step(float64(100+i), false).y.Value.Release()
		w.ZeroGrad()
	}
	for what, c := range map[string]struct {
		x    *tensor.Tensor
		want float64
	}{
		"a kept result": {kept.h.Value, 15}, "the result of a walk": {kept.y.Value, 225}, "a gradient that was taken": {grad, 2 * 15 * 5},
		"the result of Grad": {given.Value, 16}, "the result of another": {end.Value, 2},
	} {
		if got := c.x.Item(); got != c.want {
			t.Errorf("%s is %g after other walks, was %g", what, got, c.want)
		}
	}
	free := slices.Concat(tape.vars.free, tape.vars.resting, tape.vars.out)
	for what, v := range map[string]*Var{"a kept one whose value was released": released.h, "the result of Grad": loose, "a hooked one": hooked} {
		if slices.Contains(free, v) {
			t.Errorf("%s is to serve again", what)
		}
	}
	if !slices.Equal(seen, []float64{0.5}) {
		t.Errorf("the hook saw %v, want its own walk's cotangent alone", seen)
	}
}

// TestMicroBatches: the gradients of parts add up to that of the whole.
func TestMicroBatches(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	x, w, b := normal(r, 12, 5), normal(r, 4, 5), normal(r, 4)
	run := func(sizes ...int) []*tensor.Tensor {
		pw, pb := Param(w), Param(b)
		tape, at := NewTape(), 0
		for _, n := range sizes {
			h := Tanh(Linear(tape.Input(x.Narrow(0, at, n)), pw, pb))
			tape.Backward(Sum(Mul(h, Add(h, pb)), false))
			at += n
		}
		return []*tensor.Tensor{pw.Grad, pb.Grad}
	}
	whole, parts := run(12), run(1, 4, 4, 3)
	closeTo(t, "weight", parts[0], whole[0], 1e-14)
	closeTo(t, "bias", parts[1], whole[1], 1e-14)
}

func TestDetachFreezeHook(t *testing.T) {
	tape := NewTape()
	x := tape.Variable(tensor.From(tensor.CPU, []float64{1, 2}, 2))
	h := Scale(x, 3)
	d := h.Detach()
	if d.Needs() {
		t.Error("a gradient flows through Detach")
	}
	var seen []float64
	h.Hook(func(g *tensor.Tensor) { seen = append(seen, values(g)...) })
	s := Mul(h, d) // gh = d
	tape.Backward(Sum(Add(s, h), false))
	if want := []float64{4, 7}; !slices.Equal(seen, want) {
		t.Errorf("the hook saw %v, want the complete cotangent %v", seen, want)
	}
	if want := []float64{12, 21}; !slices.Equal(values(x.Grad), want) {
		t.Errorf("the gradient is %v, want %v", values(x.Grad), want)
	}

	p, q := Param(tensor.From(tensor.CPU, []float64{1, 2}, 2)), Param(tensor.From(tensor.CPU, []float64{3, 4}, 2))
	run := func() { tape.Backward(Sum(Mul(Mul(tape.Input(p.Value), p), q), false)) }
	p.Freeze(true)
	run()
	if p.Grad != nil || q.Grad == nil || p.Needs() {
		t.Error("the frozen parameter has a gradient, or the other has none")
	}
	p.Freeze(false)
	run()
	if p.Grad == nil {
		t.Error("the thawed parameter has no gradient")
	}
	p.Freeze(true)
	q.Freeze(true)
	if s := Mul(p, q); s.Needs() {
		t.Error("a gradient flows from frozen parameters")
	}
}

// TestCustomOp: an op of the user's own may hand on gy, a value that it read, or
// one tensor for two inputs, also where one of them wants no gradient.
func TestCustomOp(t *testing.T) {
	tensor.PoisonFreed(true)
	defer tensor.PoisonFreed(false)
	half := &Op{Name: "half-square", // y = Σ x²/2 for gy = 1
		Forward: func(c *Call) *tensor.Tensor { return tensor.Sum(tensor.Scale(tensor.Mul(c.x(0), c.x(0)), 0.5), false) },
		VJP:     func(c *Call, gy *Var) []*Var { return []*Var{c.In[0]} }}
	twin := &Op{Name: "twin", Forward: func(c *Call) *tensor.Tensor { return tensor.Add(c.x(0), c.x(1)) },
		VJP: func(c *Call, gy *Var) []*Var {
			g := gy.Value.Clone()
			return c.own(g, g)
		}}
	x := tensor.From(tensor.CPU, []float64{1, 2, 3}, 3)
	tape := NewTape()
	v := tape.Variable(x)
	for range 2 {
		h := Exp(v) // its VJP reads it
		s := Sum(h, false)
		tape.Backward(Add(Apply(half, nil, h), s)) // the sum's cotangent is added to the one handed on
	}
	h := tensor.Exp(x)
	closeTo(t, "a value handed on", v.Grad, tensor.Scale(tensor.Mul(h, tensor.AddScalar(h, 1)), 2), 1e-15)
	for _, first := range []bool{true, false} {
		a, b := tape.Variable(x), tape.Input(x)
		if !first {
			a, b = b, a
		}
		tape.Backward(Sum(Apply(twin, nil, Scale(a, 1), Add(b, b)), false))
		for _, g := range []*tensor.Tensor{a.Grad, b.Grad} {
			if g != nil && !slices.Equal(values(g), []float64{1, 1, 1}) && !slices.Equal(values(g), []float64{2, 2, 2}) {
				t.Errorf("one tensor for two inputs: %v", values(g))
			}
		}
	}
	if !slices.Equal(values(x), []float64{1, 2, 3}) {
		t.Error("an input was written to")
	}
}

// TestMisuse: every mistake panics with the error type that its comment names,
// and leaves the tape usable.
func TestMisuse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	tape, other := NewTape(), NewTape()
	x := tape.Variable(normal(r, 2, 3))
	p := Param(normal(r, 3))
	var kept, done *Var
	wrong := &Op{Name: "wrong", Forward: func(c *Call) *tensor.Tensor { return c.x(0).Clone() },
		VJP: func(c *Call, gy *Var) []*Var { return []*Var{Sum(gy, false)} }}
	few := &Op{Name: "few", Forward: wrong.Forward, VJP: func(c *Call, gy *Var) []*Var { return nil }}
	for _, c := range []struct {
		what  string
		shape bool // else *Error
		f     func()
	}{
		{"a walk from a matrix", true, func() { tape.Backward(Scale(x, 2)) }},
		{"Grad of a matrix", true, func() { tape.Grad(Scale(x, 2), x) }},
		{"a cotangent of another shape", true, func() { tape.BackwardFrom(Scale(x, 2), normal(r, 3)) }},
		{"a cotangent of another dtype", true, func() { tape.BackwardFrom(Scale(x, 2), tensor.Zeros(tensor.CPU, tensor.Float32, 2, 3)) }},
		{"a second walk", false, func() {
			done = Sum(x, false)
			tape.Backward(done)
			tape.Backward(done)
		}},
		{"a second walk, over new results", false, func() {
			Sum(Scale(x, 2), false)
			tape.Backward(done)
		}},
		{"a walk on another tape", false, func() { other.Backward(Sum(x, false)) }},
		{"a walk from a leaf", false, func() { tape.Backward(tape.Variable(normal(r, 1))) }},
		{"a walk from a constant", false, func() { tape.Backward(Sum(tape.Input(normal(r, 3)), false)) }},
		{"Grad from a constant", false, func() { tape.Grad(Sum(tape.Input(normal(r, 3)), false)) }},
		{"a walk without a record", false, func() {
			t := NewInferenceTape()
			t.Backward(Sum(t.Variable(normal(r, 3)), false))
		}},
		{"nothing but parameters", false, func() { Mul(p, p) }},
		{"two tapes", false, func() { Add(x, other.Input(normal(r, 3))) }},
		{"a result of before the reset", false, func() {
			h := Scale(x, 2)
			tape.Reset()
			Add(x, h)
		}},
		{"a result of before the reset, a walk later", false, func() {
			h := Scale(x, 2)
			tape.Reset()
			tape.Backward(Sum(Mul(x, x), false))
			Add(x, h)
		}},
		{"a constant of before the reset", false, func() {
			c := tape.Input(x.Value)
			tape.Reset()
			Add(x, c)
		}},
		{"a constant of before the walk", false, func() {
			c := x.With(x.Value)
			tape.Backward(Sum(Mul(x, c), false))
			Add(x, c)
		}},
		{"a kept result of before the walk", false, func() {
			kept = Scale(x, 2).Keep()
			tape.Backward(Sum(Mul(kept, kept), false))
			a := Scale(x, 1)
			Add(kept, Scale(a, 1))
		}},
		{"a hook on a leaf", false, func() { p.Hook(func(*tensor.Tensor) {}) }},
		{"a cotangent of a wrong shape from a VJP", false, func() { tape.Backward(Sum(Apply(wrong, nil, x), false)) }},
		{"too few cotangents from a VJP", false, func() { tape.Backward(Sum(Apply(few, nil, x), false)) }},
		{"a checkpoint off the tape", false, func() { Checkpoint(p, func(x *Var) *Var { return x }) }},
		{"a checkpoint that reaches out", false, func() {
			h := Scale(x, 2)
			tape.Backward(Sum(Checkpoint(x, func(x *Var) *Var { return Mul(x, h) }), false))
		}},
		{"an axis that is not there", true, func() { Transpose(x, 0, 2) }},
		{"a negative axis that is not there", true, func() { Transpose(x, -3, 0) }},
		{"a narrow axis that is not there", true, func() { Narrow(x, 2, 0, 1) }},
		{"a pad axis that is not there", true, func() { Pad(x, -3, 0, 9) }},
		{"a permutation that is none", true, func() { Permute(x, 0, 0) }},
	} {
		err := panicOf(c.f)
		var e *Error
		var s *tensor.ShapeError
		if c.shape && !errors.As(err, &s) || !c.shape && !errors.As(err, &e) {
			t.Errorf("%s: %T %v", c.what, err, err)
		}
		tape.Reset()
		x.ZeroGrad()
		y := Sum(Mul(x, x), false)
		tape.Backward(y)
		closeTo(t, "after "+c.what, x.Grad, tensor.Scale(x.Value, 2), 0)
		x.ZeroGrad()
	}
	// A kept value goes on as a constant.
	tape.Backward(Sum(Mul(x, tape.Input(kept.Value)), false))
	closeTo(t, "a kept value", x.Grad, kept.Value, 0)
}

// TestCheckpoint: value and gradients are those without it, bit for bit: chained,
// nested, of a frozen operand, with frozen parameters.
func TestCheckpoint(t *testing.T) {
	tensor.PoisonFreed(true)
	defer tensor.PoisonFreed(false)
	r := rand.New(rand.NewPCG(1, 1))
	x, w1, w2 := normal(r, 4, 6), normal(r, 6, 6), normal(r, 6)
	plain := func(x *Var, f func(*Var) *Var) *Var { return f(x) }
	for _, frozen := range []string{"", "x", "w1", "xw1w2"} {
		run := func(around func(*Var, func(*Var) *Var) *Var) (float64, []float64, int64) {
			before := tensor.Live()
			a, b := Param(w1), Param(w2)
			tape := NewTape()
			v := tape.Variable(x)
			v.Freeze(frozen == "x" || frozen == "xw1w2")
			a.Freeze(frozen == "w1" || frozen == "xw1w2")
			b.Freeze(frozen == "xw1w2")
			block := func(x *Var) *Var { return Add(x, Tanh(RMSNorm(Linear(x, a, nil), b, 1e-5))) }
			h := around(v, func(x *Var) *Var { return around(around(x, block), block) })
			h = around(h, block)
			scale := Param(tensor.Full(tensor.CPU, tensor.Float64, 1, 6)) // so that something flows
			y := Sum(Mul(h, scale), false)
			tape.Backward(y)
			value := y.Value.Item()
			y.Value.Release()
			bits := gradBits(v, a, b, scale)
			n := 0
			for _, p := range []*Var{v, a, b, scale} {
				if p.Grad != nil {
					n++
				}
				p.ZeroGrad()
			}
			scale.Value.Release()
			return value, append(bits, float64(n)), tensor.Live() - before
		}
		v1, g1, _ := run(plain)
		v2, g2, left := run(Checkpoint)
		if v1 != v2 || !slices.Equal(g1, g2) {
			t.Errorf("frozen %q: the checkpoint changes value or gradients", frozen)
		}
		if left != 0 {
			t.Errorf("frozen %q: %d blocks were not released", frozen, left)
		}
	}
	tape := NewInferenceTape()
	if y := Checkpoint(tape.Input(x), func(x *Var) *Var { return Exp(x) }); y.Needs() {
		t.Error("an inference tape records a checkpoint")
	}
}

// TestBF16: a tape with BF16 multiplies rounded numbers in Linear, in recomputation too,
// and nowhere else; gradients arrive at float32 parameters.
func TestBF16(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	x, w := tensor.Cast(normal(r, 40, 30), tensor.Float32), Param(tensor.Cast(normal(r, 50, 30), tensor.Float32))
	run := func(bf16, recompute bool) (y, gw *tensor.Tensor) {
		tape := NewTape()
		tape.BF16 = bf16
		f := func(x *Var) *Var { return Linear(x, w, nil) }
		v := tape.Variable(x)
		out := f(v)
		if recompute {
			out = Checkpoint(v, f)
		}
		y = out.Value.Clone()
		tape.Backward(Sum(out, false))
		gw = w.Grad.Clone()
		w.ZeroGrad()
		return y, gw
	}
	exact, exactG := run(false, false)
	y, g := run(true, false)
	again, againG := run(true, true)
	if d := distance(y, exact); !(d > 1e-4 && d < 0.1) {
		t.Errorf("rounding to bfloat16 changed the result by %g", d)
	}
	if d := distance(g, exactG); !(d > 1e-4 && d < 0.1) {
		t.Errorf("rounding to bfloat16 changed the gradient by %g", d)
	}
	if distance(y, again) != 0 || distance(g, againG) != 0 || g.DType() != tensor.Float32 {
		t.Error("recomputation is not in bfloat16, or the gradient not in float32")
	}
}

// distance is the greatest difference of two float32 tensors.
func distance(a, b *tensor.Tensor) (most float64) {
	for i, x := range tensor.Data[float32](a) {
		most = max(most, math.Abs(float64(x-tensor.Data[float32](b)[i])))
	}
	return most
}

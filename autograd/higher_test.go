package autograd

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"fuerte/tensor"
)

// TestSecondDerivatives checks, for every op whose VJP is made of ops, the Hessian
// of L(x) = Σ w·tanh(op(x)) in two random directions: ⟨u, H·v⟩ by a walk through
// Grad's own record, against the central difference of ⟨v, ∇L⟩ along u. The tanh
// makes it no zero for linear ops either. Each input in turn is a parameter, on no
// tape by itself, where there is another to bring a tape.
func TestSecondDerivatives(t *testing.T) {
	for _, op := range Ops {
		if op.Fused {
			continue
		}
		in, _ := op.Sample(rand.New(rand.NewPCG(5, 6)))
		for param, x := range in {
			if floating(x) {
				t.Run(fmt.Sprint(op.Name, "/", param), func(t *testing.T) { secondDerivative(t, op, param) })
			}
		}
	}
}

func secondDerivative(t *testing.T, op *Op, param int) {
	const h = 1e-5
	r := rand.New(rand.NewPCG(5, 6))
	in, args := op.Sample(r)
	w := normal(r, forward(op, args, in).Shape()...)
	u, v := make([]*tensor.Tensor, len(in)), make([]*tensor.Tensor, len(in))
	for i, x := range in {
		if floating(x) {
			u[i], v[i] = normal(r, x.Shape()...), normal(r, x.Shape()...)
		}
	}
	build := func(in []*tensor.Tensor) (*Tape, *Var, []*Var) {
		tape := NewTape()
		vars := make([]*Var, len(in))
		for i, x := range in {
			if vars[i] = tape.Input(x); floating(x) {
				vars[i] = tape.Variable(x)
			}
		}
		if len(in) > 1 {
			vars[param] = Param(in[param])
		}
		return tape, Sum(Mul(Tanh(Apply(op, args, vars...)), tape.Input(w)), false), vars
	}
	slope := func(step float64) (sum float64) {
		moved := slices.Clone(in)
		for i, x := range in {
			if floating(x) {
				moved[i] = tensor.Add(x, tensor.Scale(u[i], step))
			}
		}
		tape, y, vars := build(moved)
		tape.Backward(y)
		for i, x := range vars {
			if x.Grad != nil {
				sum += inner(x.Grad, v[i])
			}
		}
		return sum
	}
	want := (slope(h) - slope(-h)) / (2 * h)

	first := slope(0)
	before := tensor.Live()
	tape, y, vars := build(in)
	var m *Var
	for i, g := range tape.Grad(y, vars...) {
		if g == nil {
			continue
		}
		if s := Sum(Mul(g, tape.Input(v[i])), false); m == nil {
			m = s
		} else {
			m = Add(m, s)
		}
	}
	if got := m.Value.Item(); math.Abs(got-first) > 1e-12*(1+math.Abs(first)) {
		t.Errorf("Grad gives ⟨v, ∇L⟩ = %g, Backward %g", got, first)
	}
	tape.Backward(m)
	m.Value.Release()
	var got float64
	for i, x := range vars {
		if x.Grad != nil {
			got += inner(x.Grad, u[i])
			x.ZeroGrad()
		}
	}
	if !(math.Abs(got-want) <= 1e-7*(1+math.Abs(want))) || got == 0 {
		t.Errorf("⟨u, H·v⟩ is %g, the central difference %g", got, want)
	}
	if n := tensor.Live() - before; n != 0 {
		t.Errorf("%d blocks were not released", n)
	}
}

// TestHigherPowers differentiates x⁴ down to a constant.
func TestHigherPowers(t *testing.T) {
	tape := NewTape()
	x := tape.Variable(tensor.From(tensor.CPU, []float64{1.5}, 1))
	s := Mul(x, x)
	y := Mul(s, s)
	for _, want := range []float64{4 * 1.5 * 1.5 * 1.5, 12 * 1.5 * 1.5, 24 * 1.5, 24} {
		y = tape.Grad(y, x)[0]
		if got := y.Value.Item(); math.Abs(got-want) > 1e-12*want {
			t.Errorf("got %g, want %g", got, want)
		}
	}
	if other := tape.Variable(tensor.From(tensor.CPU, []float64{1}, 1)); tape.Grad(Mul(x, x), other)[0] != nil {
		t.Error("a gradient with respect to what the result does not depend on")
	}
	tape.Reset()
}

// TestFusedOnce: Grad through an op with a fused VJP panics with an *Error that
// names the op; Backward through it works, also after Grad elsewhere. These are
// the ops that the package comment names, and no others.
func TestFusedOnce(t *testing.T) {
	var fused []string
	for _, op := range append(slices.Clone(Ops), checkpointOp) {
		if !op.Fused {
			continue
		}
		fused = append(fused, op.Name)
		var y *Var
		tape := NewTape()
		if op == checkpointOp {
			y = Checkpoint(tape.Variable(normal(rand.New(rand.NewPCG(1, 1)), 3)), func(x *Var) *Var { return Exp(x) })
		} else {
			in, args := op.Sample(rand.New(rand.NewPCG(1, 1)))
			vars := make([]*Var, len(in))
			for i, x := range in {
				if vars[i] = tape.Input(x); floating(x) {
					vars[i] = tape.Variable(x)
				}
			}
			y = Apply(op, args, vars...)
		}
		y = Sum(y, false)
		var e *Error
		if p := panicOf(func() { tape.Grad(y) }); !errors.As(p, &e) || e.Op != op.Name {
			t.Errorf("Grad through %s: %v", op.Name, p)
		}
		tape.Backward(y)
	}
	if want := []string{"linear-bf16", "layernorm", "attention", "attentionQKV", "crossentropy", "linear-crossentropy", "checkpoint"}; !slices.Equal(fused, want) {
		t.Errorf("differentiable once: %v, want %v", fused, want)
	}
}

// panicOf returns the error that f panics with, nil if it does not.
func panicOf(f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = v.(error)
		}
	}()
	f()
	return nil
}

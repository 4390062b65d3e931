package autograd

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"fuerte/tensor"
)

// Op is a differentiable op: its formula, VJP and a sample for the gradient check
// stand together in an op_*.go, and it has a row in Ops. Ops are filled in by
// init functions, not by initialisers: a VJP is built from ops, and Go refuses
// such a cycle between variables.
type Op struct {
	Name string
	// Fused marks a VJP that is always a kernel of its own, never built from ops:
	// it cannot be differentiated again. A VJP that is one only where gy.plain()
	// needs no mark.
	Fused bool
	// Sample returns small float64 inputs (and arguments) for the gradient
	// check; integer inputs take no part in it.
	Sample func(r *rand.Rand) ([]*tensor.Tensor, any)
	// Forward computes the result from c.In and c.Args and may set c.Saved.
	Forward func(c *Call) *tensor.Tensor
	// VJP returns the cotangent of each input, nil where there is none. It may
	// use c.Out and c.Saved, and must not write to any of them. It may skip an
	// input for which c.Needs is false. Ops on inputs alone take them by c.on: a
	// parameter is on no tape by itself.
	VJP func(c *Call, gy *Var) []*Var
}

// Call is one use of an op.
type Call struct {
	Op    *Op
	In    []*Var
	Out   *Var
	Args  any
	Saved []*tensor.Tensor
}

// Needs reports whether a gradient flows to input i.
func (c *Call) Needs(i int) bool { return c.In[i].needs }

// x returns the value of input i.
func (c *Call) x(i int) *tensor.Tensor { return c.In[i].Value }

// on returns input i on gy's tape.
func (c *Call) on(gy *Var, i int) *Var {
	if c.In[i].tape == nil {
		return gy.Watch(c.In[i])
	}
	return c.In[i]
}

// reads reports whether t is a value of the call itself.
func (c *Call) reads(t *tensor.Tensor) bool {
	return c.Out.Value == t || slices.Contains(c.Saved, t) || slices.ContainsFunc(c.In, func(v *Var) bool { return v.Value == t })
}

// own wraps tensors made by a fused VJP.
func own(ts ...*tensor.Tensor) []*Var {
	out := make([]*Var, len(ts))
	for i, t := range ts {
		if t != nil {
			out[i] = &Var{Value: t, node: -1}
		}
	}
	return out
}

// Ops lists every differentiable op; tests iterate over it.
var Ops = []*Op{
	identityOp, addOp, subOp, mulOp, divOp, scaleOp, addScalarOp,
	expOp, logOp, sqrtOp, tanhOp, erfOp, sigmoidOp, siluOp, geluOp, swigluOp,
	matmulOp, linearOp, sumOp, maxOp, cumSumOp, softmaxOp, rmsNormOp, layerNormOp,
	attentionOp, attentionQKVOp, crossEntropyOp,
	gatherOp, scatterAddOp, takeAlongOp, putAlongAddOp, whereOp, maskedFillOp,
	reshapeOp, permuteOp, expandOp, narrowOp, concatOp, padOp,
}

// Apply runs an op and, where a gradient flows to an input, records it. The
// tape is that of the inputs which are on one; without any the result is plain.
// Panics: *Error if a gradient is wanted but no input is on a tape, if two are on
// different ones, and if an input is a result that its tape has let go.
func Apply(op *Op, args any, in ...*Var) *Var {
	return apply(op, args, false, in)
}

// apply records the call even if no input needs a gradient, when force is set:
// for ops that reach parameters by other ways than their inputs.
func apply(op *Op, args any, force bool, in []*Var) *Var {
	var t *Tape
	needs := force
	for _, v := range in {
		needs = needs || v.needs
		switch {
		case v.tape == nil:
		case t != nil && t != v.tape:
			panic(&Error{op.Name, "the operands are on two tapes; pass a value of the other through Tape.Input"})
		case v.node >= 0 && !v.tape.holds(v):
			panic(&Error{op.Name, "an operand's tape was reset since it was made; keep its value and pass that through Tape.Input"})
		default:
			t = v.tape
		}
	}
	if t == nil && needs {
		panic(&Error{op.Name, "no operand is on a tape, so the gradient of a parameter would be lost; pass it through Var.Watch"})
	}
	c := &Call{Op: op, In: in, Args: args}
	out := &Var{Value: op.Forward(c), tape: t, node: -1}
	c.Out = out
	switch {
	case t == nil:
		release(c.Saved)
	case t.walking:
		t.scratch = append(t.scratch, out.Value)
		release(c.Saved)
	case t.noGrad || !needs:
		release(c.Saved)
		c.Saved = nil
		out.node = len(t.nodes)
		t.nodes = append(t.nodes, node{out: out})
	default:
		out.needs = true
		out.node = len(t.nodes)
		t.nodes = append(t.nodes, node{call: c, out: out})
	}
	return out
}

func release(ts []*tensor.Tensor) {
	for _, t := range ts {
		t.Release()
	}
}

// checkVJP holds a VJP to the shapes of its inputs.
func checkVJP(c *Call, given []*Var) {
	if len(given) != len(c.In) {
		panic(&Error{c.Op.Name, fmt.Sprintf("the VJP returned %d cotangents for %d inputs", len(given), len(c.In))})
	}
	for i, g := range given {
		if g != nil && !slices.Equal(g.Shape(), c.In[i].Shape()) {
			panic(&Error{c.Op.Name, fmt.Sprintf("the cotangent of input %d has shape %v, the input %v", i, g.Shape(), c.In[i].Shape())})
		}
	}
}

// normal returns a float64 tensor of standard normal values, for samples.
func normal(r *rand.Rand, shape ...int) *tensor.Tensor {
	return random(r.NormFloat64, shape...)
}

// positive returns a float64 tensor of values in [½, 2), for samples.
func positive(r *rand.Rand, shape ...int) *tensor.Tensor {
	return random(func() float64 { return 0.5 + 1.5*r.Float64() }, shape...)
}

func random(next func() float64, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.CPU, tensor.Float64, shape...)
	for i, d := 0, tensor.Data[float64](t); i < len(d); i++ {
		d[i] = next()
	}
	return t
}

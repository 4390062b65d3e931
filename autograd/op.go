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
	// always has calls recorded even if no input needs a gradient: the op reaches
	// parameters by other ways.
	always bool
	// Sample returns small float64 inputs (and arguments) for the gradient
	// check; integer inputs take no part in it.
	Sample func(r *rand.Rand) ([]*tensor.Tensor, any)
	// Forward computes the result from c.In and its arguments and may set c.Saved.
	Forward func(c *Call) *tensor.Tensor
	// VJP returns the cotangent of each input, nil where there is none; c.give,
	// c.grads and c.own have the memory for it. It may use c.Out and c.Saved, and must
	// not write to any of them; a fused one, which runs once, may take a tensor out of
	// c.Saved for its own. It may skip an
	// input for which c.Needs is false. Ops on inputs alone take them by c.on: a
	// parameter is on no tape by itself.
	VJP func(c *Call, gy *Var) []*Var
}

// Call is one use of an op. The tape makes another use of it after the walk.
type Call struct {
	Op  *Op
	In  []*Var
	Out *Var
	Numbers
	Args  any // of an op that takes others than Numbers
	Saved []*tensor.Tensor
	// Layer is for the observer, which meets the call again at its VJP; 0 in a new use.
	Layer int
	// Recorded tells Forward whether the VJP may be asked for.
	Recorded bool
	given    []*Var // what VJP returns
}

// Numbers are what ops take beside their inputs; each uses what it needs. They
// are copied into the Call, where an any would be a heap allocation.
type Numbers struct {
	Ints           []int // a shape, or axes
	Axis, Start, N int
	Alpha          float64
	Flag           bool
	Mask           tensor.Mask
}

// rankHint is room for the axes of any tensor: a slice made with this capacity
// stays on the stack.
const rankHint = 8

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

// save keeps tensors for the VJP.
func (c *Call) save(ts ...*tensor.Tensor) { c.Saved = append(c.Saved[:0], ts...) }

// give returns cotangents as a VJP does.
func (c *Call) give(gs ...*Var) []*Var {
	c.given = append(c.given[:0], gs...)
	return c.given
}

// grads returns a nil for each input, for a VJP to fill in.
func (c *Call) grads() []*Var {
	c.given = c.given[:0]
	for range c.In {
		c.given = append(c.given, nil)
	}
	return c.given
}

// own returns cotangents of the first inputs, made by a fused VJP.
func (c *Call) own(ts ...*tensor.Tensor) []*Var {
	g := c.grads()
	for i, t := range ts {
		if t != nil {
			g[i] = c.Out.With(t)
		}
	}
	return g
}

// Ops lists every differentiable op; tests iterate over it.
var Ops = []*Op{
	identityOp, addOp, subOp, mulOp, divOp, scaleOp, addScalarOp,
	expOp, logOp, sqrtOp, tanhOp, erfOp, sigmoidOp, siluOp, geluOp, swigluOp,
	matmulOp, linearOp, linearBF16Op, sumOp, maxOp, cumSumOp, softmaxOp, rmsNormOp, layerNormOp,
	attentionOp, attentionQKVOp, crossEntropyOp, linearCrossEntropyOp,
	gatherOp, scatterAddOp, takeAlongOp, putAlongAddOp, whereOp, maskedFillOp,
	reshapeOp, permuteOp, expandOp, narrowOp, concatOp, padOp,
}

// Apply runs an op and, where a gradient flows to an input, records it. args are
// Numbers, or what the op finds in Call.Args. The tape is that of the inputs which
// are on one; without any the result is plain.
// Panics: *Error if a gradient is wanted but no input is on a tape, if two are on
// different ones, and if an input is one that its tape has let go.
func Apply(op *Op, args any, in ...*Var) *Var {
	if n, ok := args.(Numbers); ok {
		return apply(op, n, nil, in)
	}
	return apply(op, Numbers{}, args, in)
}

// call is Apply of an op that takes Numbers. Their Ints, and the inputs, may be on
// the caller's stack.
func call(op *Op, n Numbers, in ...*Var) *Var { return apply(op, n, nil, in) }

func apply(op *Op, n Numbers, args any, in []*Var) *Var {
	var t *Tape
	needs := op.always
	for _, v := range in {
		needs = needs || v.needs
		switch {
		case v.tape == nil:
		case t != nil && t != v.tape:
			panic(&Error{op.Name, "the operands are on two tapes; pass a value of the other through Tape.Input"})
		case v.node == gone || v.node >= 0 && !v.tape.holds(v):
			panic(&Error{op.Name, "an operand's tape was walked or reset since it was made; keep its value and pass that through Tape.Input"})
		default:
			t = v.tape
		}
	}
	if t == nil && needs {
		panic(&Error{op.Name, "no operand is on a tape, so the gradient of a parameter would be lost; pass it through Var.Watch"})
	}
	c := t.newCall()
	c.Op, c.In, c.Args = op, append(c.In[:0], in...), args
	c.Numbers = Numbers{append(c.Ints[:0], n.Ints...), n.Axis, n.Start, n.N, n.Alpha, n.Flag, n.Mask}
	c.Recorded = t != nil && needs && !t.noGrad && !t.walking
	if t != nil && t.Observer != nil {
		t.Observer.Begin(c, nil)
	}
	out := t.newVar(op.Forward(c))
	c.Out = out
	if t != nil && t.Observer != nil {
		t.Observer.End(c, nil)
	}
	switch {
	case t == nil:
		recycle(c.Saved...)
	case t.walking:
		t.scratch = append(t.scratch, out.Value)
		recycle(c.Saved...)
	case !c.Recorded:
		recycle(c.Saved...)
		c.Saved = c.Saved[:0]
		out.node = len(t.nodes)
		t.nodes = append(t.nodes, node{out: out})
	default:
		out.needs = true
		out.node = len(t.nodes)
		t.nodes = append(t.nodes, node{call: c, out: out})
	}
	return out
}

// recycle drops tensors that nobody else holds.
func recycle(ts ...*tensor.Tensor) {
	for _, t := range ts {
		t.Recycle()
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

// Package autograd records what is computed and walks it backwards.
//
// Words:
//
//   - Var: a tensor that may take part in a derivative.
//   - tape: the ops in the order they ran; a node is one of them. Since an op's
//     inputs stand before it, walking the tape backwards needs no sorting.
//   - cotangent of v (prefix g): the gradient of the final scalar with respect
//     to v, in the shape of v.
//   - VJP: the function of an op that turns the cotangent of its result into
//     those of its inputs, Jᵀ·g.
//   - saved: what an op's forward keeps for its VJP.
//
// A tape owns the results of the ops recorded on it and hands their memory back
// as the backward walk passes them, so a training step keeps reusing the same
// storage. Call Keep on a result that must outlive the walk.
//
// The Vars are the tape's too, constants included: what is made by Input, With or
// an op is gone after the next walk or Reset, and an op that is given it then
// panics. Two walks later the same Var serves again. Leaves (Param, Variable) and
// what the user asked for (Keep, Hook, Tape.Grad) never do.
//
// VJPs are built from ops, so that what Tape.Grad returns can be differentiated
// again. Those of Attention, AttentionQKV, Linear under BF16, LayerNorm,
// CrossEntropy, LinearCrossEntropy and Checkpoint are not: they have a first
// derivative only, and Tape.Grad panics at them. SiLU, GELU, SwiGLU, RMSNorm and
// Softmax use fused VJPs in Backward, where nobody differentiates them, and ops in
// Tape.Grad.
package autograd

import (
	"fmt"
	"slices"

	"fuerte/tensor"
)

// Var is a tensor in a computation. Parameters are leaves without a tape:
// Backward leaves their gradient in Grad.
type Var struct {
	Value *tensor.Tensor
	// Grad is the gradient of a leaf: nil, or a contiguous tensor that the next
	// Backward adds to.
	Grad *tensor.Tensor

	needs bool
	kept  bool // the tape does not release Value
	users bool // never made another Var of
	tape  *Tape
	node  int // the number of the node whose result it is, or none or gone
	hooks []func(g *tensor.Tensor)
}

const (
	none = -1 // a leaf or a constant
	gone = -2 // its tape was walked or reset since
)

// Param returns a leaf whose gradient is wanted.
func Param(t *tensor.Tensor) *Var { return &Var{Value: t, needs: true, node: none} }

// Needs reports whether a gradient flows to v.
func (v *Var) Needs() bool { return v.needs }

// Freeze stops (or allows again) gradients to a leaf.
func (v *Var) Freeze(frozen bool) { v.needs = !frozen }

// Shape returns the shape of the value.
func (v *Var) Shape() []int { return v.Value.Shape() }

// Keep makes the value outlive Backward and Reset; the caller may Release it.
func (v *Var) Keep() *Var {
	v.kept, v.users = true, true
	return v
}

// Hook calls f with v's complete cotangent during Backward, if one arrives; f must
// not keep it. Panics: *Error for a leaf, whose gradient is in Grad.
func (v *Var) Hook(f func(g *tensor.Tensor)) {
	if v.node < 0 {
		panic(&Error{"hook", "a leaf or a constant has none; a leaf's gradient is in Grad"})
	}
	v.hooks, v.users = append(v.hooks, f), true
}

// Detach returns the value cut off from the computation that made it. It is on
// the same tape, so further ops on it are cleaned up with the rest.
func (v *Var) Detach() *Var { return v.With(v.Value) }

// ZeroGrad drops the gradient. Grad is v's own: who goes on with it after this
// retains it.
func (v *Var) ZeroGrad() {
	v.Grad.Recycle()
	v.Grad = nil
}

// Tape is one recorded computation. It is not for concurrent use.
type Tape struct {
	// BF16 makes Linear round what it multiplies to bfloat16; sums, results and gradients
	// stay float32. LinearCrossEntropy rounds nothing.
	BF16 bool
	// Observer, if not nil, is told of every op and VJP.
	Observer Observer

	nodes  []node
	noGrad bool
	// During a backward walk nothing is recorded: ops inside a VJP are listed
	// here, and what the VJP does not return is released after it.
	walking bool
	scratch []*tensor.Tensor
	given   []*tensor.Tensor // the tape's claims on what the VJP at hand returned
	grads   []*tensor.Tensor // cotangent of each node's result

	vars  shelf[Var]
	calls shelf[Call]
	inner [2]*Tape // of inside
	// Tensors that the tape has released, by the walk at hand and by the one before.
	spent, older []*tensor.Tensor
}

// shelf keeps a tape's objects of one kind to be used again. What was handed out
// rests for a walk after the one that dropped it, so that late uses are noticed,
// and is free then.
type shelf[T any] struct{ out, resting, free []*T }

func (s *shelf[T]) take() *T {
	if len(s.free) == 0 {
		s.free = append(s.free, new(T))
	}
	last := len(s.free) - 1
	x := s.free[last]
	s.free, s.out = s.free[:last], append(s.out, x)
	return x
}

// turn frees what rested, as far as renew allows it, and lays to rest what is out.
func (s *shelf[T]) turn(renew func(x *T) bool) {
	for _, x := range s.resting {
		if renew(x) {
			s.free = append(s.free, x)
		}
	}
	clear(s.resting)
	s.out, s.resting = s.resting[:0], s.out
}

// inside returns an empty tape for a computation within one op of t: one that
// records or one that does not. There is one of each, for one op at a time.
func (t *Tape) inside(noGrad bool) *Tape {
	at := &t.inner[0]
	if noGrad {
		at = &t.inner[1]
	}
	if *at == nil {
		*at = &Tape{noGrad: noGrad}
	}
	(*at).Reset() // what a panic has left there
	return *at
}

// newVar returns a Var that is no node's result. A nil tape has no shelf.
func (t *Tape) newVar(value *tensor.Tensor) *Var {
	if t == nil {
		return &Var{Value: value, node: none}
	}
	v := t.vars.take()
	*v = Var{Value: value, tape: t, node: none}
	return v
}

func (t *Tape) newCall() *Call {
	if t == nil {
		return new(Call)
	}
	c := t.calls.take()
	if c.In == nil { // a new one: with room for the lists of most ops
		c.In, c.given, c.Saved, c.Ints = make([]*Var, 0, 4), make([]*Var, 0, 4), make([]*tensor.Tensor, 0, 2), make([]int, 0, rankHint)
	}
	return c
}

// renew empties a Var, unless somebody may go on with it.
func (v *Var) renew() bool {
	if v.users || v.Grad != nil || v.kept && !v.Value.Released() {
		return false
	}
	if v.kept { // a walk's result: its value is not on the tape's lists
		v.Value.Recycle()
	}
	*v = Var{tape: v.tape, node: gone} // so that a use is noticed even now
	return true
}

// renew empties a Call; its slices keep their room.
func (c *Call) renew() bool {
	clear(c.In)
	clear(c.Saved)
	clear(c.given)
	*c = Call{In: c.In[:0], Saved: c.Saved[:0], given: c.given[:0], Numbers: Numbers{Ints: c.Ints[:0]}}
	return true
}

// turn ends the life of everything that the tape has handed out.
func (t *Tape) turn() {
	if len(t.vars.out) == 0 {
		return // nothing was done since the last turn, and what rests goes on resting
	}
	for _, v := range t.vars.out {
		v.node = gone
	}
	t.vars.turn((*Var).renew)
	t.calls.turn((*Call).renew)
	recycle(t.older...)
	clear(t.older)
	t.spent, t.older = t.older[:0], t.spent
}

// release drops a tensor, if there is one, that nobody but the tape holds and that it
// has not dropped yet.
func (t *Tape) release(x *tensor.Tensor) {
	if x != nil && !x.Released() {
		x.Release()
		t.spent = append(t.spent, x)
	}
}

type node struct {
	call *Call // nil where no gradient flows: kept only to release out
	out  *Var
}

// NewTape returns an empty tape.
func NewTape() *Tape { return &Tape{} }

// NewInferenceTape returns a tape that never records derivatives; it only
// releases results at Reset.
func NewInferenceTape() *Tape { return &Tape{noGrad: true} }

// Input returns v as a constant of the computation, up to the next walk or Reset.
// The caller keeps v.
func (t *Tape) Input(v *tensor.Tensor) *Var { return t.newVar(v) }

// Variable returns a leaf on the tape whose gradient is wanted, for inputs that
// are not parameters.
func (t *Tape) Variable(v *tensor.Tensor) *Var {
	return &Var{Value: v, tape: t, needs: true, node: none}
}

// Watch returns a parameter as a result on v's tape, for an op that takes
// nothing but parameters.
func (v *Var) Watch(p *Var) *Var { return Apply(identityOp, nil, p, v.With(p.Value)) }

// Reset releases every result of the tape that is not kept and forgets them.
func (t *Tape) Reset() {
	for i := len(t.nodes) - 1; i >= 0; i-- {
		t.drop(i)
	}
	t.nodes = t.nodes[:0]
	t.turn()
}

// drop releases what a node holds.
func (t *Tape) drop(i int) {
	n := &t.nodes[i]
	if n.out == nil {
		return // a walk that a panic ended had passed it
	}
	if n.call != nil {
		for _, s := range n.call.Saved {
			t.release(s)
		}
	}
	if !n.out.kept {
		t.release(n.out.Value)
	}
	*n = node{}
}

// Backward walks the tape from the scalar y, adds dy/dv to the Grad of every
// leaf that needs one, and empties the tape. The value of y is kept; the caller
// may Release it. Panics: *tensor.ShapeError if y has more than one element, *Error
// if y is not on this tape.
func (t *Tape) Backward(y *Var) {
	if y.Value.Len() != 1 {
		panic(&tensor.ShapeError{Op: "backward", Shapes: [][]int{y.Shape()}, Rule: "the result is not a scalar; use BackwardFrom with a cotangent"})
	}
	t.BackwardFrom(y, tensor.Full(y.Value.Device(), y.Value.DType(), 1, y.Shape()...))
}

// BackwardFrom is Backward from the cotangent gy of y, of any shape. It takes gy
// over. Panics: *tensor.ShapeError if gy has not the shape and dtype of y.
func (t *Tape) BackwardFrom(y *Var, gy *tensor.Tensor) {
	t.check("backward", y)
	if !slices.Equal(gy.Shape(), y.Shape()) || gy.DType() != y.Value.DType() {
		panic(&tensor.ShapeError{Op: "backward", Shapes: [][]int{y.Shape(), gy.Shape()}, Rule: "the cotangent has not the shape and dtype of the result"})
	}
	t.seed(len(t.nodes))
	t.grads[y.node] = gy
	y.kept = true
	t.walking = true
	defer func() { t.walking = false }()
	for i := len(t.nodes) - 1; i >= 0; i-- {
		t.step(i)
		t.drop(i)
	}
	t.nodes = t.nodes[:0]
	t.turn()
}

// step runs the VJP of one node and deposits what it returns.
func (t *Tape) step(i int) {
	n, g := &t.nodes[i], t.grads[i]
	if g == nil {
		return
	}
	for _, h := range n.out.hooks {
		h(g)
	}
	t.scratch = append(t.scratch[:0], g)
	gy := t.newVar(g)
	if t.Observer != nil {
		t.Observer.Begin(n.call, g)
	}
	given := n.call.Op.VJP(n.call, gy)
	checkVJP(n.call, given)
	if t.Observer != nil {
		t.Observer.End(n.call, given)
	}
	// What the VJP made by kernels of its own is the walk's, like what it made by
	// ops. What it handed on (gy, or a value that it read) is shared.
	for _, gx := range given {
		if gx != nil && !n.call.reads(gx.Value) {
			t.scratch = append(t.scratch, gx.Value)
		}
	}
	t.given = t.given[:0]
	for j, gx := range given {
		var claim *tensor.Tensor
		if gx != nil && n.call.In[j].needs {
			claim = gx.Value.Retain()
		}
		t.given = append(t.given, claim)
	}
	// Releasing first leaves most claims exclusive, so that deposit need not copy.
	for _, s := range t.scratch {
		t.release(s)
	}
	t.grads[i] = nil
	for j, gx := range t.given {
		if gx != nil {
			t.deposit(n.call, j, gx)
		}
	}
}

// deposit adds the cotangent of an input of c to where it belongs and takes it over.
func (t *Tape) deposit(c *Call, j int, g *tensor.Tensor) {
	in := c.In[j]
	at := &in.Grad
	if in.node >= 0 {
		at = &t.grads[in.node]
	}
	if t.Observer != nil && *at != nil {
		*at = t.observedSum(c, *at, g, in.node < 0)
		return
	}
	*at = accumulate(*at, g, in.node < 0)
}

// accumulate returns sum + g and takes both over. A leaf's gradient must stand
// in storage of its own, since optimisers write to it.
func accumulate(sum, g *tensor.Tensor, leaf bool) *tensor.Tensor {
	if sum == nil {
		if leaf && !(g.Contiguous() && g.Exclusive()) {
			c := g.Clone()
			g.Recycle()
			return c
		}
		return g
	}
	if sum.Exclusive() && sum.Contiguous() {
		tensor.AddInto(sum, g)
		g.Recycle()
		return sum
	}
	s := tensor.Add(sum, g)
	sum.Recycle()
	g.Recycle()
	return s
}

func (t *Tape) seed(n int) {
	for len(t.grads) < n {
		t.grads = append(t.grads, nil)
	}
	clear(t.grads)
}

func (t *Tape) check(op string, y *Var) {
	if y.tape != t || !t.holds(y) {
		panic(&Error{Op: op, Rule: "the result is not on this tape, or the tape was reset since"})
	}
	if t.nodes[y.node].call == nil {
		panic(&Error{Op: op, Rule: "no gradient flows to the result"})
	}
}

// holds reports whether v is a result that the tape has not let go since.
func (t *Tape) holds(v *Var) bool {
	return v.node >= 0 && v.node < len(t.nodes) && t.nodes[v.node].out == v
}

// Grad returns dy/dx for each x as new results on the tape, which stays whole:
// they can be differentiated again. A nil entry means that y does not depend on
// that x. Panics: *tensor.ShapeError if y has more than one element, *Error where
// an op on the way is fused and has no second derivative.
func (t *Tape) Grad(y *Var, xs ...*Var) []*Var {
	if y.Value.Len() != 1 {
		panic(&tensor.ShapeError{Op: "grad", Shapes: [][]int{y.Shape()}, Rule: "the result is not a scalar"})
	}
	t.check("grad", y)
	one := y.Adopt(tensor.Full(y.Value.Device(), y.Value.DType(), 1, y.Shape()...))
	grads := map[*Var]*Var{y: one}
	for i := y.node; i >= 0; i-- {
		n := t.nodes[i]
		gy := grads[n.out]
		if n.call == nil || gy == nil {
			continue
		}
		if n.call.Op.Fused {
			panic(&Error{Op: n.call.Op.Name, Rule: "the VJP is a fused kernel and cannot be differentiated again"})
		}
		given := n.call.Op.VJP(n.call, gy)
		checkVJP(n.call, given)
		for j, gx := range given {
			in := n.call.In[j]
			switch {
			case gx == nil || !in.needs:
			case grads[in] == nil:
				grads[in] = gx
			default:
				grads[in] = Add(grads[in], gx)
			}
		}
	}
	out := make([]*Var, len(xs))
	for i, x := range xs {
		if out[i] = grads[x]; out[i] != nil {
			out[i].users = true
		}
	}
	return out
}

// Error is the panic of a misuse of the tape.
type Error struct{ Op, Rule string }

func (e *Error) Error() string { return fmt.Sprintf("autograd: %s: %s", e.Op, e.Rule) }

// With returns a constant on v's tape, up to its next walk or Reset; the caller
// keeps t.
func (v *Var) With(t *tensor.Tensor) *Var { return v.tape.newVar(t) }

// Adopt is With for a tensor that the tape releases, if there is one: nobody else
// goes on with it.
func (v *Var) Adopt(t *tensor.Tensor) *Var {
	c := v.With(t)
	switch {
	case v.tape == nil:
	case v.tape.walking:
		v.tape.scratch = append(v.tape.scratch, t)
	default:
		c.node = len(v.tape.nodes)
		v.tape.nodes = append(v.tape.nodes, node{out: c})
	}
	return c
}

// plain reports whether the cotangent v is that of a Backward, whose steps are
// not recorded: there a VJP may be a fused kernel.
func (v *Var) plain() bool { return v.tape != nil && v.tape.walking }

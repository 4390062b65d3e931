package autograd

import "fuerte/tensor"

// Observer is told what a tape does while it does it: Tape.Observer. Package
// autograd/profile has one that measures. All calls come from the goroutine that
// uses the tape, and they nest; those open when a panic passes are never closed. The
// tape uses calls, Vars and tensors again: an observer keeps none of them.
type Observer interface {
	// Begin comes before the forward of an op, where gy is nil, and before its VJP in
	// Backward; the VJPs of Grad are ops like others.
	Begin(c *Call, gy *tensor.Tensor)
	// End comes after it. Of a forward c.Out is the result and given is nil; a VJP
	// has returned given, nil where an input gets no cotangent.
	End(c *Call, given []*Var)
	// Enter and Leave bracket a named part of the computation; i is its place among
	// its like, or negative.
	Enter(name string, i int)
	Leave()
}

// Enter tells the observer of v's tape, if there is one, that a named part of the
// computation begins, a layer for example, and returns v.
func (v *Var) Enter(name string) *Var { return v.EnterAt(name, -1) }

// EnterAt is Enter for the i-th of parts of one name.
func (v *Var) EnterAt(name string, i int) *Var {
	if v.tape != nil && v.tape.Observer != nil {
		v.tape.Observer.Enter(name, i)
	}
	return v
}

// Leave ends the part that was entered last and returns v.
func (v *Var) Leave() *Var {
	if v.tape != nil && v.tape.Observer != nil {
		v.tape.Observer.Leave()
	}
	return v
}

// Accumulate is the name of the op that observers see where cotangents of one
// value are added up; it is not in Ops, and no tape records it.
const Accumulate = "accumulate"

var accumulateOp = &Op{Name: Accumulate}

// observedSum is accumulate under the eyes of the observer, for the call c whose
// VJP gave g. At its end the observer finds the sum for the first input, which it is
// mostly written to.
func (t *Tape) observedSum(c *Call, sum, g *tensor.Tensor, leaf bool) *tensor.Tensor {
	seen := g.Retain() // accumulate recycles g
	defer seen.Recycle()
	a := t.newCall()
	a.Op, a.In, a.Layer = accumulateOp, append(a.In[:0], t.newVar(sum), t.newVar(seen)), c.Layer
	t.Observer.Begin(a, nil)
	a.Out = t.newVar(accumulate(sum, g, leaf))
	a.In[0].Value = a.Out.Value
	t.Observer.End(a, nil)
	return a.Out.Value
}

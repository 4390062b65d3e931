package autograd

import "fuerte/tensor"

// Checkpoint returns f(x) and keeps nothing of the way there: the backward walk
// runs f again. It trades one more forward pass for the memory of f's
// intermediate results. f must be a function of x and of parameters (leaves
// without a tape) alone, and give the same result both times.
//
// The gradients are those of f(x) bit for bit if x has no other consumer.
// Otherwise that of x may differ in rounding: what f's ops send to x is summed
// first, then added to what the others send.
// Source: Chen et al. 2016, arXiv:1604.06174.
func Checkpoint(x *Var, f func(x *Var) *Var) *Var {
	if x.tape == nil {
		panic(&Error{"checkpoint", "the operand is not on a tape"})
	}
	return Apply(checkpointOp, f, x)
}

// checkpointOp is not in Ops: its derivative is that of f.
var checkpointOp = new(Op)

func init() {
	*checkpointOp = Op{
		Name:   "checkpoint",
		Fused:  true,
		always: true,
		Forward: func(c *Call) *tensor.Tensor {
			t := c.In[0].tape.inside(true)
			t.BF16, t.Observer = c.In[0].tape.BF16, c.In[0].tape.Observer
			y := c.Args.(func(*Var) *Var)(t.Input(c.x(0)))
			v := y.Value.Retain()
			t.Reset()
			return v
		},
		VJP: func(c *Call, gy *Var) []*Var {
			t := c.In[0].tape.inside(false)
			x := t.Input(c.x(0))
			t.BF16, t.Observer = gy.tape.BF16, gy.tape.Observer
			x.needs = c.Needs(0)
			y := c.Args.(func(*Var) *Var)(x)
			switch {
			case y == x: // f did nothing
				t.Reset()
				return c.give(gy)
			case !y.needs: // everything is frozen
				t.Reset()
				return c.grads()
			}
			t.BackwardFrom(y, gy.Value.Retain())
			y.Value.Release()
			gx := x.Grad
			x.Grad = nil
			return c.own(gx)
		},
	}
}

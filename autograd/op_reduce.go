package autograd

import (
	"math/rand/v2"
	"slices"

	"fuerte/tensor"
)

type sumArgs struct {
	keep bool
	axes []int
}

// sum is y = Σ over some axes; the cotangent repeats along them.
var sumOp = new(Op)

func init() {
	*sumOp = Op{
		Name: "sum",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 3, 4, 5)}, sumArgs{axes: []int{0, 2}}
		},
		Forward: func(c *Call) *tensor.Tensor {
			a := c.Args.(sumArgs)
			return tensor.Sum(c.x(0), a.keep, a.axes...)
		},
		VJP: func(c *Call, gy *Var) []*Var {
			shape := slices.Clone(c.In[0].Shape())
			axes := c.Args.(sumArgs).axes
			for a := range shape {
				if len(axes) == 0 || slices.Contains(axes, a) || slices.Contains(axes, a-len(shape)) {
					shape[a] = 1
				}
			}
			return []*Var{Expand(Reshape(gy, shape...), c.In[0].Shape()...)}
		},
	}
}

// Sum returns the sum over the given axes, or over all if none is given.
func Sum(x *Var, keep bool, axes ...int) *Var { return Apply(sumOp, sumArgs{keep, axes}, x) }

// Mean returns the mean over the given axes, or over all if none is given.
func Mean(x *Var, keep bool, axes ...int) *Var {
	s := Sum(x, keep, axes...)
	return Scale(s, float64(s.Value.Len())/float64(x.Value.Len()))
}

// softmax over the last axis: gx = y·(gy − Σ gy·y).
var softmaxOp = new(Op)

func init() {
	*softmaxOp = Op{
		Name:    "softmax",
		Sample:  func(r *rand.Rand) ([]*tensor.Tensor, any) { return []*tensor.Tensor{normal(r, 3, 7)}, nil },
		Forward: func(c *Call) *tensor.Tensor { return tensor.Softmax(c.x(0)) },
		VJP: func(c *Call, gy *Var) []*Var {
			if gy.tape != nil && gy.tape.walking {
				return own(tensor.SoftmaxGrad(c.Out.Value, gy.Value))
			}
			return []*Var{Mul(c.Out, Sub(gy, Sum(Mul(gy, c.Out), true, -1)))}
		},
	}
}

// Softmax returns the softmax over the last axis.
func Softmax(x *Var) *Var { return Apply(softmaxOp, nil, x) }

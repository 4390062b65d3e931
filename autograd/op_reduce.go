package autograd

import (
	"math/rand/v2"
	"slices"

	"fuerte/tensor"
)

// reduces reports whether a reduction over axes, all if there is none, takes axis
// a of n.
func reduces(axes []int, a, n int) bool {
	return len(axes) == 0 || slices.Contains(axes, a) || slices.Contains(axes, a-n)
}

// sum is y = Σ over some axes; the cotangent repeats along them.
var sumOp = new(Op)

func init() {
	*sumOp = Op{
		Name: "sum",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 3, 4, 5)}, Numbers{Ints: []int{0, 2}}
		},
		Forward: func(c *Call) *tensor.Tensor { return tensor.Sum(c.x(0), c.Flag, c.Ints...) },
		VJP: func(c *Call, gy *Var) []*Var {
			shape := append(make([]int, 0, rankHint), c.In[0].Shape()...)
			for a := range shape {
				if reduces(c.Ints, a, len(shape)) {
					shape[a] = 1
				}
			}
			return c.give(Expand(Reshape(gy, shape...), c.In[0].Shape()...))
		},
	}
}

// Sum returns the sum over the given axes, or over all if none is given.
func Sum(x *Var, keep bool, axes ...int) *Var { return call(sumOp, Numbers{Flag: keep, Ints: axes}, x) }

// Mean returns the mean over the given axes, or over all if none is given.
func Mean(x *Var, keep bool, axes ...int) *Var {
	s := Sum(x, keep, axes...)
	return Scale(s, float64(s.Value.Len())/float64(x.Value.Len()))
}

// max is y = max over some axes: gx = gy where the maximum stands, 0 elsewhere.
// Of equals the first in row-major order of the reduced axes takes it all, of
// NaN too, as in ArgMax and TopK.
var maxOp = new(Op)

func init() {
	*maxOp = Op{
		Name: "max",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 3, 2, 3)}, Numbers{Ints: []int{0, 2}}
		},
		Forward: func(c *Call) *tensor.Tensor { return tensor.Max(c.x(0), c.Flag, c.Ints...) },
		VJP: func(c *Call, gy *Var) []*Var {
			x := c.x(0)
			if x.Len() == 0 {
				return c.grads()
			}
			// As a matrix [.., n] of what stays and the n elements reduced to one.
			var stay, gone []int
			for a := range x.Rank() {
				if reduces(c.Ints, a, x.Rank()) {
					gone = append(gone, a)
				} else {
					stay = append(stay, a)
				}
			}
			order := append(stay, gone...)
			back, shape := make([]int, len(order)), make([]int, len(order))
			for i, a := range order {
				back[a], shape[i] = i, x.Dim(a)
			}
			one := append(slices.Clone(shape[:len(stay)]), 1)
			n := x.Len() / gy.Value.Len()
			moved := x.Permute(order...)
			rows := moved.Reshape(append(slices.Clone(shape[:len(stay)]), n)...)
			first := tensor.ArgMax(rows, -1)
			id := gy.Adopt(first.Reshape(one...))
			recycle(moved, rows, first)
			g := PutAlongAdd(Reshape(gy, one...), id, -1, n)
			return c.give(Permute(Reshape(g, shape...), back...))
		},
	}
}

// Max returns the maximum over the given axes, or over all if none is given. The
// gradient goes to the first of equals.
func Max(x *Var, keep bool, axes ...int) *Var { return call(maxOp, Numbers{Flag: keep, Ints: axes}, x) }

// cumSum is y[j] = Σ_{i≤j} x[i] along an axis: gx[i] = Σ_{j≥i} gy[j], the sum
// from the other end, which the flag asks for, and each is the VJP of the other.
var cumSumOp = new(Op)

func init() {
	*cumSumOp = Op{
		Name: "cumSum",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 3, 5, 2)}, Numbers{Axis: 1}
		},
		Forward: func(c *Call) *tensor.Tensor {
			if c.Flag {
				return tensor.CumSumGrad(c.x(0), c.Axis)
			}
			return tensor.CumSum(c.x(0), c.Axis)
		},
		VJP: func(c *Call, gy *Var) []*Var {
			return c.give(call(cumSumOp, Numbers{Axis: c.Axis, Flag: !c.Flag}, gy))
		},
	}
}

// CumSum returns y[j] = Σ_{i≤j} x[i] along an axis.
func CumSum(x *Var, axis int) *Var { return call(cumSumOp, Numbers{Axis: axis}, x) }

// softmax over the last axis: gx = y·(gy − Σ gy·y).
var softmaxOp = new(Op)

func init() {
	*softmaxOp = Op{
		Name:    "softmax",
		Sample:  func(r *rand.Rand) ([]*tensor.Tensor, any) { return []*tensor.Tensor{normal(r, 3, 7)}, nil },
		Forward: func(c *Call) *tensor.Tensor { return tensor.Softmax(c.x(0)) },
		VJP: func(c *Call, gy *Var) []*Var {
			if gy.plain() {
				return c.own(tensor.SoftmaxGrad(c.Out.Value, gy.Value))
			}
			return c.give(Mul(c.Out, Sub(gy, Sum(Mul(gy, c.Out), true, -1))))
		},
	}
}

// Softmax returns the softmax over the last axis.
func Softmax(x *Var) *Var { return Apply(softmaxOp, nil, x) }

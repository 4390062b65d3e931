package autograd

import (
	"math/rand/v2"
	"slices"

	"fuerte/tensor"
)

type reduceArgs struct {
	keep bool
	axes []int // all if there is none
}

// split returns, of n axes, those which stay and those which are reduced.
func (r reduceArgs) split(n int) (stay, gone []int) {
	for a := range n {
		if len(r.axes) == 0 || slices.Contains(r.axes, a) || slices.Contains(r.axes, a-n) {
			gone = append(gone, a)
		} else {
			stay = append(stay, a)
		}
	}
	return stay, gone
}

// sum is y = Σ over some axes; the cotangent repeats along them.
var sumOp = new(Op)

func init() {
	*sumOp = Op{
		Name: "sum",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 3, 4, 5)}, reduceArgs{axes: []int{0, 2}}
		},
		Forward: func(c *Call) *tensor.Tensor {
			a := c.Args.(reduceArgs)
			return tensor.Sum(c.x(0), a.keep, a.axes...)
		},
		VJP: func(c *Call, gy *Var) []*Var {
			shape := slices.Clone(c.In[0].Shape())
			_, gone := c.Args.(reduceArgs).split(len(shape))
			for _, a := range gone {
				shape[a] = 1
			}
			return []*Var{Expand(Reshape(gy, shape...), c.In[0].Shape()...)}
		},
	}
}

// Sum returns the sum over the given axes, or over all if none is given.
func Sum(x *Var, keep bool, axes ...int) *Var { return Apply(sumOp, reduceArgs{keep, axes}, x) }

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
			return []*tensor.Tensor{normal(r, 2, 3, 2, 3)}, reduceArgs{axes: []int{0, 2}}
		},
		Forward: func(c *Call) *tensor.Tensor {
			a := c.Args.(reduceArgs)
			return tensor.Max(c.x(0), a.keep, a.axes...)
		},
		VJP: func(c *Call, gy *Var) []*Var {
			x := c.x(0)
			if x.Len() == 0 {
				return []*Var{nil}
			}
			// As a matrix [.., n] of what stays and the n elements reduced to one.
			stay, gone := c.Args.(reduceArgs).split(x.Rank())
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
			id := gy.adopt(first.Reshape(one...))
			release([]*tensor.Tensor{moved, rows, first})
			g := PutAlongAdd(Reshape(gy, one...), id, -1, n)
			return []*Var{Permute(Reshape(g, shape...), back...)}
		},
	}
}

// Max returns the maximum over the given axes, or over all if none is given. The
// gradient goes to the first of equals.
func Max(x *Var, keep bool, axes ...int) *Var { return Apply(maxOp, reduceArgs{keep, axes}, x) }

type cumSumArgs struct {
	axis    int
	reverse bool
}

// cumSum is y[j] = Σ_{i≤j} x[i] along an axis: gx[i] = Σ_{j≥i} gy[j], the sum
// from the other end, and each is the VJP of the other.
var cumSumOp = new(Op)

func init() {
	*cumSumOp = Op{
		Name: "cumSum",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 3, 5, 2)}, cumSumArgs{axis: 1}
		},
		Forward: func(c *Call) *tensor.Tensor {
			a := c.Args.(cumSumArgs)
			if a.reverse {
				return tensor.CumSumGrad(c.x(0), a.axis)
			}
			return tensor.CumSum(c.x(0), a.axis)
		},
		VJP: func(c *Call, gy *Var) []*Var {
			a := c.Args.(cumSumArgs)
			return []*Var{Apply(cumSumOp, cumSumArgs{a.axis, !a.reverse}, gy)}
		},
	}
}

// CumSum returns y[j] = Σ_{i≤j} x[i] along an axis.
func CumSum(x *Var, axis int) *Var { return Apply(cumSumOp, cumSumArgs{axis: axis}, x) }

// softmax over the last axis: gx = y·(gy − Σ gy·y).
var softmaxOp = new(Op)

func init() {
	*softmaxOp = Op{
		Name:    "softmax",
		Sample:  func(r *rand.Rand) ([]*tensor.Tensor, any) { return []*tensor.Tensor{normal(r, 3, 7)}, nil },
		Forward: func(c *Call) *tensor.Tensor { return tensor.Softmax(c.x(0)) },
		VJP: func(c *Call, gy *Var) []*Var {
			if gy.plain() {
				return own(tensor.SoftmaxGrad(c.Out.Value, gy.Value))
			}
			return []*Var{Mul(c.Out, Sub(gy, Sum(Mul(gy, c.Out), true, -1)))}
		},
	}
}

// Softmax returns the softmax over the last axis.
func Softmax(x *Var) *Var { return Apply(softmaxOp, nil, x) }

package autograd

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"fuerte/tensor"
)

// reshape keeps the elements; so does its VJP.
var reshapeOp = new(Op)

func init() {
	*reshapeOp = Op{
		Name: "reshape",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 3, 4)}, Numbers{Ints: []int{2, 6}}
		},
		Forward: func(c *Call) *tensor.Tensor { return c.x(0).Reshape(c.Ints...) },
		VJP:     func(c *Call, gy *Var) []*Var { return c.give(Reshape(gy, c.In[0].Shape()...)) },
	}
}

// Reshape returns x under another shape; one axis may be −1.
func Reshape(x *Var, shape ...int) *Var { return call(reshapeOp, Numbers{Ints: shape}, x) }

// permute reorders axes; its VJP is the inverse order.
var permuteOp = new(Op)

func init() {
	*permuteOp = Op{
		Name: "permute",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 3, 4)}, Numbers{Ints: []int{2, 0, 1}}
		},
		Forward: func(c *Call) *tensor.Tensor { return c.x(0).Permute(c.Ints...) },
		VJP: func(c *Call, gy *Var) []*Var {
			back := append(make([]int, 0, rankHint), c.Ints...)
			for i, a := range c.Ints {
				back[axisOf("permute", c.In[0], a)] = i
			}
			return c.give(Permute(gy, back...))
		},
	}
}

// Permute returns x with its axes in the given order.
func Permute(x *Var, axes ...int) *Var { return call(permuteOp, Numbers{Ints: axes}, x) }

// Transpose exchanges two axes; negative axes count from the last.
func Transpose(x *Var, a, b int) *Var {
	order := make([]int, 0, rankHint)
	for i := range x.Shape() {
		order = append(order, i)
	}
	a, b = axisOf("transpose", x, a), axisOf("transpose", x, b)
	order[a], order[b] = b, a
	return Permute(x, order...)
}

// axisOf resolves a possibly negative axis. Panics: *tensor.ShapeError.
func axisOf(op string, x *Var, axis int) int {
	a, n := axis, x.Value.Rank()
	if a < 0 {
		a += n
	}
	if a < 0 || a >= n {
		panic(&tensor.ShapeError{Op: op, Shapes: [][]int{x.Shape()}, Rule: fmt.Sprintf("axis %d is out of range", axis)})
	}
	return a
}

// expand repeats axes of size 1; its VJP sums over them.
var expandOp = new(Op)

func init() {
	*expandOp = Op{
		Name: "expand",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 3, 1)}, Numbers{Ints: []int{2, 3, 4}}
		},
		Forward: func(c *Call) *tensor.Tensor { return c.x(0).Expand(c.Ints...) },
		VJP:     func(c *Call, gy *Var) []*Var { return c.give(sumTo(gy, c.In[0])) },
	}
}

// Expand repeats axes of size 1, and new axes in front, to the given shape.
func Expand(x *Var, shape ...int) *Var { return call(expandOp, Numbers{Ints: shape}, x) }

// narrow takes entries start…start+n of an axis; its VJP puts them back among
// zeros.
var narrowOp = new(Op)

func init() {
	*narrowOp = Op{
		Name: "narrow",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 3, 5, 2)}, Numbers{Axis: 1, Start: 1, N: 3}
		},
		Forward: func(c *Call) *tensor.Tensor { return c.x(0).Narrow(c.Axis, c.Start, c.N) },
		VJP: func(c *Call, gy *Var) []*Var {
			return c.give(Pad(gy, c.Axis, c.Start, c.x(0).Dim(c.Axis)))
		},
	}
}

// Narrow returns n entries of an axis from start on.
func Narrow(x *Var, axis, start, n int) *Var {
	return call(narrowOp, Numbers{Axis: axisOf("narrow", x, axis), Start: start, N: n}, x)
}

// pad stands x at start of an axis of size n, zeros around it: the VJP of
// narrow, and narrow is its own.
var padOp = new(Op)

func init() {
	*padOp = Op{
		Name: "pad",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 3, 2, 2)}, Numbers{Axis: 1, Start: 1, N: 5}
		},
		Forward: func(c *Call) *tensor.Tensor {
			x := c.x(0)
			shape := append(make([]int, 0, rankHint), x.Shape()...)
			shape[c.Axis] = c.N
			y := tensor.Zeros(x.Device(), x.DType(), shape...)
			part := y.Narrow(c.Axis, c.Start, x.Dim(c.Axis))
			tensor.Copy(part, x)
			part.Recycle()
			return y
		},
		VJP: func(c *Call, gy *Var) []*Var {
			return c.give(Narrow(gy, c.Axis, c.Start, c.x(0).Dim(c.Axis)))
		},
	}
}

// Pad returns x at start of an axis of size n, zeros around it.
func Pad(x *Var, axis, start, n int) *Var {
	return call(padOp, Numbers{Axis: axisOf("pad", x, axis), Start: start, N: n}, x)
}

// concat joins along an axis; its VJP cuts the cotangent up again.
var concatOp = new(Op)

func init() {
	*concatOp = Op{
		Name: "concat",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 3, 2), normal(r, 2, 4, 2)}, Numbers{Axis: 1}
		},
		Forward: func(c *Call) *tensor.Tensor {
			ts := make([]*tensor.Tensor, 0, 8) // more go to the heap
			for i := range c.In {
				ts = append(ts, c.x(i))
			}
			return tensor.Concat(c.Axis, ts...)
		},
		VJP: func(c *Call, gy *Var) []*Var {
			g, at := c.grads(), 0
			for i, v := range c.In {
				n := v.Value.Dim(c.Axis)
				if v.needs {
					g[i] = Narrow(gy, c.Axis, at, n)
				}
				at += n
			}
			return g
		},
	}
}

// Concat joins along an axis.
func Concat(axis int, xs ...*Var) *Var { return call(concatOp, Numbers{Axis: axis}, xs...) }

// Unsqueeze returns x with a new axis of size 1 before axis.
func Unsqueeze(x *Var, axis int) *Var {
	v := x.Value.Unsqueeze(axis)
	defer v.Recycle()
	return Reshape(x, v.Shape()...)
}

// Stack joins results of one shape along a new axis.
func Stack(axis int, xs ...*Var) *Var {
	on := slices.IndexFunc(xs, func(x *Var) bool { return x.tape != nil })
	wide := make([]*Var, len(xs))
	for i, x := range xs {
		if x.tape == nil && on >= 0 { // a parameter
			x = xs[on].Watch(x)
		}
		wide[i] = Unsqueeze(x, axis)
	}
	return Concat(axis, wide...)
}

// Split returns consecutive parts of an axis with the given sizes, which must add
// up to it.
func Split(x *Var, axis int, sizes ...int) []*Var {
	recycle(x.Value.Split(axis, sizes...)...) // panics if they do not
	parts, at := make([]*Var, len(sizes)), 0
	for i, n := range sizes {
		parts[i] = Narrow(x, axis, at, n)
		at += n
	}
	return parts
}

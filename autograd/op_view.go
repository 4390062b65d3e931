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
		Name:    "reshape",
		Sample:  func(r *rand.Rand) ([]*tensor.Tensor, any) { return []*tensor.Tensor{normal(r, 3, 4)}, []int{2, 6} },
		Forward: func(c *Call) *tensor.Tensor { return c.x(0).Reshape(c.Args.([]int)...) },
		VJP:     func(c *Call, gy *Var) []*Var { return []*Var{Reshape(gy, c.In[0].Shape()...)} },
	}
}

// Reshape returns x under another shape; one axis may be −1.
func Reshape(x *Var, shape ...int) *Var { return Apply(reshapeOp, shape, x) }

// permute reorders axes; its VJP is the inverse order.
var permuteOp = new(Op)

func init() {
	*permuteOp = Op{
		Name: "permute",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 3, 4)}, []int{2, 0, 1}
		},
		Forward: func(c *Call) *tensor.Tensor { return c.x(0).Permute(c.Args.([]int)...) },
		VJP: func(c *Call, gy *Var) []*Var {
			order := c.Args.([]int)
			back := make([]int, len(order))
			for i, a := range order {
				back[axisOf("permute", c.In[0], a)] = i
			}
			return []*Var{Permute(gy, back...)}
		},
	}
}

// Permute returns x with its axes in the given order.
func Permute(x *Var, axes ...int) *Var { return Apply(permuteOp, axes, x) }

// Transpose exchanges two axes; negative axes count from the last.
func Transpose(x *Var, a, b int) *Var {
	n := len(x.Shape())
	order := make([]int, n)
	for i := range order {
		order[i] = i
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
			return []*tensor.Tensor{normal(r, 3, 1)}, []int{2, 3, 4}
		},
		Forward: func(c *Call) *tensor.Tensor { return c.x(0).Expand(c.Args.([]int)...) },
		VJP:     func(c *Call, gy *Var) []*Var { return []*Var{sumTo(gy, c.In[0])} },
	}
}

// Expand repeats axes of size 1, and new axes in front, to the given shape.
func Expand(x *Var, shape ...int) *Var { return Apply(expandOp, shape, x) }

type narrowArgs struct{ axis, start, n int }

// narrow takes entries start…start+n of an axis; its VJP puts them back among
// zeros.
var narrowOp = new(Op)

func init() {
	*narrowOp = Op{
		Name: "narrow",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 3, 5, 2)}, narrowArgs{1, 1, 3}
		},
		Forward: func(c *Call) *tensor.Tensor {
			a := c.Args.(narrowArgs)
			return c.x(0).Narrow(a.axis, a.start, a.n)
		},
		VJP: func(c *Call, gy *Var) []*Var {
			a := c.Args.(narrowArgs)
			return []*Var{Pad(gy, a.axis, a.start, c.x(0).Dim(a.axis))}
		},
	}
}

// Narrow returns n entries of an axis from start on.
func Narrow(x *Var, axis, start, n int) *Var {
	return Apply(narrowOp, narrowArgs{axisOf("narrow", x, axis), start, n}, x)
}

// pad stands x at start of an axis of size n, zeros around it: the VJP of
// narrow, and narrow is its own.
var padOp = new(Op)

func init() {
	*padOp = Op{
		Name: "pad",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 3, 2, 2)}, narrowArgs{1, 1, 5}
		},
		Forward: func(c *Call) *tensor.Tensor {
			a, x := c.Args.(narrowArgs), c.x(0)
			shape := slices.Clone(x.Shape())
			shape[a.axis] = a.n
			y := tensor.Zeros(x.Device(), x.DType(), shape...)
			part := y.Narrow(a.axis, a.start, x.Dim(a.axis))
			tensor.Copy(part, x)
			part.Release()
			return y
		},
		VJP: func(c *Call, gy *Var) []*Var {
			a := c.Args.(narrowArgs)
			return []*Var{Narrow(gy, a.axis, a.start, c.x(0).Dim(a.axis))}
		},
	}
}

// Pad returns x at start of an axis of size n, zeros around it.
func Pad(x *Var, axis, start, n int) *Var {
	return Apply(padOp, narrowArgs{axisOf("pad", x, axis), start, n}, x)
}

// concat joins along an axis; its VJP cuts the cotangent up again.
var concatOp = new(Op)

func init() {
	*concatOp = Op{
		Name: "concat",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 3, 2), normal(r, 2, 4, 2)}, 1
		},
		Forward: func(c *Call) *tensor.Tensor {
			ts := make([]*tensor.Tensor, len(c.In))
			for i := range ts {
				ts[i] = c.x(i)
			}
			return tensor.Concat(c.Args.(int), ts...)
		},
		VJP: func(c *Call, gy *Var) []*Var {
			g, at := make([]*Var, len(c.In)), 0
			for i, v := range c.In {
				n := v.Value.Dim(c.Args.(int))
				if v.needs {
					g[i] = Narrow(gy, c.Args.(int), at, n)
				}
				at += n
			}
			return g
		},
	}
}

// Concat joins along an axis.
func Concat(axis int, xs ...*Var) *Var { return Apply(concatOp, axis, xs...) }

// Unsqueeze returns x with a new axis of size 1 before axis.
func Unsqueeze(x *Var, axis int) *Var {
	v := x.Value.Unsqueeze(axis)
	defer v.Release()
	return Reshape(x, slices.Clone(v.Shape())...)
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
	release(x.Value.Split(axis, sizes...)) // panics if they do not
	parts, at := make([]*Var, len(sizes)), 0
	for i, n := range sizes {
		parts[i] = Narrow(x, axis, at, n)
		at += n
	}
	return parts
}

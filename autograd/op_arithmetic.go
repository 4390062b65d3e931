package autograd

import (
	"math/rand/v2"

	"fuerte/tensor"
)

// sumTo is the VJP of broadcasting: the cotangent is summed over repeated axes.
func sumTo(g *Var, like *Var) *Var {
	lead := len(g.Shape()) - len(like.Shape())
	axes := make([]int, 0, rankHint)
	for a := range g.Shape() {
		if a < lead || like.Shape()[a-lead] == 1 && g.Shape()[a] != 1 {
			axes = append(axes, a)
		}
	}
	if len(axes) == 0 {
		return g
	}
	return Reshape(Sum(g, true, axes...), like.Shape()...)
}

func pair(r *rand.Rand) ([]*tensor.Tensor, any) {
	return []*tensor.Tensor{normal(r, 2, 1, 5), normal(r, 3, 1)}, nil // both broadcast
}

// identity is y = x. Its second input only brings a parameter onto a tape.
var identityOp = new(Op)

func init() {
	*identityOp = Op{
		Name:    "identity",
		Sample:  func(r *rand.Rand) ([]*tensor.Tensor, any) { return []*tensor.Tensor{normal(r, 7), normal(r, 7)}, nil },
		Forward: func(c *Call) *tensor.Tensor { return c.x(0).Retain() },
		VJP:     func(c *Call, gy *Var) []*Var { return c.give(gy, nil) },
	}
}

// add is y = a + b, broadcast: both cotangents are gy.
var addOp = new(Op)

func init() {
	*addOp = Op{
		Name:    "add",
		Sample:  pair,
		Forward: func(c *Call) *tensor.Tensor { return tensor.Add(c.x(0), c.x(1)) },
		VJP: func(c *Call, gy *Var) []*Var {
			return c.give(sumTo(gy, c.In[0]), sumTo(gy, c.In[1]))
		},
	}
}

// Add returns a + b, broadcast.
func Add(a, b *Var) *Var { return Apply(addOp, nil, a, b) }

// sub is y = a − b, broadcast.
var subOp = new(Op)

func init() {
	*subOp = Op{
		Name:    "sub",
		Sample:  pair,
		Forward: func(c *Call) *tensor.Tensor { return tensor.Sub(c.x(0), c.x(1)) },
		VJP: func(c *Call, gy *Var) []*Var {
			g := c.give(sumTo(gy, c.In[0]), nil)
			if c.Needs(1) {
				g[1] = Scale(sumTo(gy, c.In[1]), -1)
			}
			return g
		},
	}
}

// Sub returns a − b, broadcast.
func Sub(a, b *Var) *Var { return Apply(subOp, nil, a, b) }

// mul is y = a·b, broadcast: ga = gy·b, gb = gy·a.
var mulOp = new(Op)

func init() {
	*mulOp = Op{
		Name:    "mul",
		Sample:  pair,
		Forward: func(c *Call) *tensor.Tensor { return tensor.Mul(c.x(0), c.x(1)) },
		VJP: func(c *Call, gy *Var) []*Var {
			g := c.grads()
			if c.Needs(0) {
				g[0] = sumTo(Mul(gy, c.In[1]), c.In[0])
			}
			if c.Needs(1) {
				g[1] = sumTo(Mul(gy, c.In[0]), c.In[1])
			}
			return g
		},
	}
}

// Mul returns a·b elementwise, broadcast.
func Mul(a, b *Var) *Var { return Apply(mulOp, nil, a, b) }

// div is y = a/b, broadcast: ga = gy/b, gb = −gy·y/b.
var divOp = new(Op)

func init() {
	*divOp = Op{
		Name: "div",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 1, 5), positive(r, 3, 1)}, nil
		},
		Forward: func(c *Call) *tensor.Tensor { return tensor.Div(c.x(0), c.x(1)) },
		VJP: func(c *Call, gy *Var) []*Var {
			ga := Div(gy, c.In[1])
			g := c.give(sumTo(ga, c.In[0]), nil)
			if c.Needs(1) {
				g[1] = sumTo(Scale(Mul(ga, c.Out), -1), c.In[1])
			}
			return g
		},
	}
}

// Div returns a/b elementwise, broadcast.
func Div(a, b *Var) *Var { return Apply(divOp, nil, a, b) }

// scale is y = alpha·x.
var scaleOp = new(Op)

func init() {
	*scaleOp = Op{
		Name: "scale",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 37)}, Numbers{Alpha: -1.7}
		},
		Forward: func(c *Call) *tensor.Tensor { return tensor.Scale(c.x(0), c.Alpha) },
		VJP:     func(c *Call, gy *Var) []*Var { return c.give(Scale(gy, c.Alpha)) },
	}
}

// Scale returns alpha·x.
func Scale(x *Var, alpha float64) *Var { return call(scaleOp, Numbers{Alpha: alpha}, x) }

// addScalar is y = x + alpha.
var addScalarOp = new(Op)

func init() {
	*addScalarOp = Op{
		Name: "addScalar",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 37)}, Numbers{Alpha: 0.3}
		},
		Forward: func(c *Call) *tensor.Tensor { return tensor.AddScalar(c.x(0), c.Alpha) },
		VJP:     func(c *Call, gy *Var) []*Var { return c.give(gy) },
	}
}

// AddScalar returns x + alpha.
func AddScalar(x *Var, alpha float64) *Var { return call(addScalarOp, Numbers{Alpha: alpha}, x) }

package autograd

import (
	"math/rand/v2"

	"fuerte/tensor"
)

// odd has a tail for every vector width.
func odd(r *rand.Rand) ([]*tensor.Tensor, any) { return []*tensor.Tensor{normal(r, 37)}, nil }

func oddPositive(r *rand.Rand) ([]*tensor.Tensor, any) {
	return []*tensor.Tensor{positive(r, 37)}, nil
}

// exp is y = eˣ: dy/dx = y.
var expOp = new(Op)

func init() {
	*expOp = Op{
		Name:    "exp",
		Sample:  odd,
		Forward: func(c *Call) *tensor.Tensor { return tensor.Exp(c.x(0)) },
		VJP:     func(c *Call, gy *Var) []*Var { return []*Var{Mul(gy, c.Out)} },
	}
}

// Exp returns eˣ.
func Exp(x *Var) *Var { return Apply(expOp, nil, x) }

// log is y = ln x: dy/dx = 1/x.
var logOp = new(Op)

func init() {
	*logOp = Op{
		Name:    "log",
		Sample:  oddPositive,
		Forward: func(c *Call) *tensor.Tensor { return tensor.Log(c.x(0)) },
		VJP:     func(c *Call, gy *Var) []*Var { return []*Var{Div(gy, c.In[0])} },
	}
}

// Log returns ln x.
func Log(x *Var) *Var { return Apply(logOp, nil, x) }

// sqrt is y = √x: dy/dx = ½/y.
var sqrtOp = new(Op)

func init() {
	*sqrtOp = Op{
		Name:    "sqrt",
		Sample:  oddPositive,
		Forward: func(c *Call) *tensor.Tensor { return tensor.Sqrt(c.x(0)) },
		VJP:     func(c *Call, gy *Var) []*Var { return []*Var{Scale(Div(gy, c.Out), 0.5)} },
	}
}

// Sqrt returns √x.
func Sqrt(x *Var) *Var { return Apply(sqrtOp, nil, x) }

// tanh is y = tanh x: dy/dx = 1 − y².
var tanhOp = new(Op)

func init() {
	*tanhOp = Op{
		Name:    "tanh",
		Sample:  odd,
		Forward: func(c *Call) *tensor.Tensor { return tensor.Tanh(c.x(0)) },
		VJP: func(c *Call, gy *Var) []*Var {
			return []*Var{Mul(gy, AddScalar(Scale(Mul(c.Out, c.Out), -1), 1))}
		},
	}
}

// Tanh returns tanh x.
func Tanh(x *Var) *Var { return Apply(tanhOp, nil, x) }

// silu is y = x·σ(x): dy/dx = σ·(1 + x·(1−σ)), σ = 1/(1+e^−x).
var siluOp = new(Op)

func init() {
	*siluOp = Op{
		Name:    "silu",
		Fused:   true,
		Sample:  odd,
		Forward: func(c *Call) *tensor.Tensor { return tensor.SiLU(c.x(0)) },
		VJP:     func(c *Call, gy *Var) []*Var { return own(tensor.SiLUGrad(c.x(0), gy.Value)) },
	}
}

// SiLU returns x·σ(x).
func SiLU(x *Var) *Var { return Apply(siluOp, nil, x) }

// gelu is the tanh form of GELU; its derivative stands at kernels.refGELUGrad.
var geluOp = new(Op)

func init() {
	*geluOp = Op{
		Name:    "gelu",
		Fused:   true,
		Sample:  odd,
		Forward: func(c *Call) *tensor.Tensor { return tensor.GELU(c.x(0)) },
		VJP:     func(c *Call, gy *Var) []*Var { return own(tensor.GELUGrad(c.x(0), gy.Value)) },
	}
}

// GELU returns ½x(1 + tanh(√(2/π)(x + 0.044715x³))).
func GELU(x *Var) *Var { return Apply(geluOp, nil, x) }

// swiglu is y = silu(g)·u: gg = gy·u·silu′(g), gu = gy·silu(g).
var swigluOp = new(Op)

func init() {
	*swigluOp = Op{
		Name:  "swiglu",
		Fused: true,
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 3, 13), normal(r, 3, 13)}, nil
		},
		Forward: func(c *Call) *tensor.Tensor { return tensor.SwiGLU(c.x(0), c.x(1)) },
		VJP: func(c *Call, gy *Var) []*Var {
			return own(tensor.SwiGLUGrad(c.x(0), c.x(1), gy.Value))
		},
	}
}

// SwiGLU returns silu(g)·u.
func SwiGLU(g, u *Var) *Var { return Apply(swigluOp, nil, g, u) }

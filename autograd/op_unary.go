package autograd

import (
	"math"
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
		VJP:     func(c *Call, gy *Var) []*Var { return c.give(Mul(gy, c.Out)) },
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
		VJP:     func(c *Call, gy *Var) []*Var { return c.give(Div(gy, c.In[0])) },
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
		VJP:     func(c *Call, gy *Var) []*Var { return c.give(Scale(Div(gy, c.Out), 0.5)) },
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
			return c.give(Mul(gy, AddScalar(Scale(Mul(c.Out, c.Out), -1), 1)))
		},
	}
}

// Tanh returns tanh x.
func Tanh(x *Var) *Var { return Apply(tanhOp, nil, x) }

// erf is y = erf x: dy/dx = 2/√π·e^−x².
var erfOp = new(Op)

func init() {
	*erfOp = Op{
		Name:    "erf",
		Sample:  odd,
		Forward: func(c *Call) *tensor.Tensor { return tensor.Erf(c.x(0)) },
		VJP: func(c *Call, gy *Var) []*Var {
			x := c.on(gy, 0)
			return c.give(Mul(gy, Scale(Exp(Scale(Mul(x, x), -1)), 2/math.Sqrt(math.Pi))))
		},
	}
}

// Erf returns erf x = 2/√π·∫₀ˣ e^−t² dt.
func Erf(x *Var) *Var { return Apply(erfOp, nil, x) }

// sigmoid is y = σ(x) = 1/(1+e^−x): dy/dx = y·(1−y).
var sigmoidOp = new(Op)

func init() {
	*sigmoidOp = Op{
		Name:    "sigmoid",
		Sample:  odd,
		Forward: func(c *Call) *tensor.Tensor { return tensor.Sigmoid(c.x(0)) },
		VJP: func(c *Call, gy *Var) []*Var {
			return c.give(Mul(gy, Mul(c.Out, AddScalar(Scale(c.Out, -1), 1))))
		},
	}
}

// Sigmoid returns σ(x) = 1/(1+e^−x).
func Sigmoid(x *Var) *Var { return Apply(sigmoidOp, nil, x) }

// siluGrad is the VJP of silu made of ops: gy·σ·(1 + x·(1−σ)).
func siluGrad(x, gy *Var) *Var {
	s := Sigmoid(x)
	return Mul(gy, Mul(s, AddScalar(Mul(x, AddScalar(Scale(s, -1), 1)), 1)))
}

// silu is y = x·σ(x): dy/dx = σ·(1 + x·(1−σ)), σ = 1/(1+e^−x).
var siluOp = new(Op)

func init() {
	*siluOp = Op{
		Name:    "silu",
		Sample:  odd,
		Forward: func(c *Call) *tensor.Tensor { return tensor.SiLU(c.x(0)) },
		VJP: func(c *Call, gy *Var) []*Var {
			if gy.plain() {
				return c.own(tensor.SiLUGrad(c.x(0), gy.Value))
			}
			return c.give(siluGrad(c.on(gy, 0), gy))
		},
	}
}

// SiLU returns x·σ(x).
func SiLU(x *Var) *Var { return Apply(siluOp, nil, x) }

// gelu is y = ½x·(1+t), t = tanh(s·x·(1 + c·x²)), s = √(2/π), c = 0.044715:
// dy/dx = ½(1+t) + ½x·(1−t²)·s·(1 + 3c·x²).
var geluOp = new(Op)

func init() {
	*geluOp = Op{
		Name:    "gelu",
		Sample:  odd,
		Forward: func(c *Call) *tensor.Tensor { return tensor.GELU(c.x(0)) },
		VJP: func(c *Call, gy *Var) []*Var {
			if gy.plain() {
				return c.own(tensor.GELUGrad(c.x(0), gy.Value))
			}
			const cubic = 0.044715
			scale := math.Sqrt(2 / math.Pi)
			x := c.on(gy, 0)
			square := Mul(x, x)
			t := Tanh(Scale(Mul(x, AddScalar(Scale(square, cubic), 1)), scale))
			slope := Mul(AddScalar(Scale(Mul(t, t), -1), 1), AddScalar(Scale(square, 3*cubic), 1)) // (1−t²)(1 + 3c·x²)
			return c.give(Mul(gy, Scale(Add(AddScalar(t, 1), Scale(Mul(x, slope), scale)), 0.5)))
		},
	}
}

// GELU returns ½x(1 + tanh(√(2/π)(x + 0.044715x³))).
func GELU(x *Var) *Var { return Apply(geluOp, nil, x) }

// swiglu is y = silu(g)·u: gg = gy·u·silu′(g), gu = gy·silu(g).
var swigluOp = new(Op)

func init() {
	*swigluOp = Op{
		Name: "swiglu",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 3, 13), normal(r, 3, 13)}, nil
		},
		Forward: func(c *Call) *tensor.Tensor { return tensor.SwiGLU(c.x(0), c.x(1)) },
		VJP: func(c *Call, gy *Var) []*Var {
			if gy.plain() {
				return c.own(tensor.SwiGLUGrad(c.x(0), c.x(1), gy.Value))
			}
			g := c.on(gy, 0)
			return c.give(siluGrad(g, Mul(gy, c.In[1])), Mul(gy, SiLU(g)))
		},
	}
}

// SwiGLU returns silu(g)·u.
func SwiGLU(g, u *Var) *Var { return Apply(swigluOp, nil, g, u) }

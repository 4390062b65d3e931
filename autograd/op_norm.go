package autograd

import (
	"math/rand/v2"

	"fuerte/tensor"
)

// rmsNorm is y = w·x̂, x̂ = x/s, s = √(mean x² + eps) over the last axis. From
// ∂s/∂x = x̂/D, with h = gy·w:
//
//	gx = (h − x̂·mean(h·x̂))/s    gw = Σ_rows gy·x̂
var rmsNormOp = new(Op)

func init() {
	*rmsNormOp = Op{
		Name: "rmsnorm",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 3, 7), normal(r, 7)}, Numbers{Alpha: 1e-5}
		},
		Forward: func(c *Call) *tensor.Tensor {
			y, r := tensor.RMSNorm(c.x(0), c.x(1), c.Alpha)
			c.save(r)
			return y
		},
		VJP: func(c *Call, gy *Var) []*Var {
			if gy.plain() {
				return c.own(tensor.RMSNormGrad(c.x(0), c.x(1), c.Saved[0], gy.Value))
			}
			x := c.on(gy, 0)
			s := Sqrt(AddScalar(Mean(Mul(x, x), true, -1), c.Alpha))
			unit, h := Div(x, s), Mul(gy, c.In[1])
			gx := Div(Sub(h, Mul(unit, Mean(Mul(h, unit), true, -1))), s)
			return c.give(gx, sumTo(Mul(gy, unit), c.In[1]))
		},
	}
}

// RMSNorm normalises the last axis of x and multiplies by w.
func RMSNorm(x, w *Var, eps float64) *Var { return call(rmsNormOp, Numbers{Alpha: eps}, x, w) }

// layerNorm is y = (x−mean)·r·w + b; the VJP stands at kernels.refLayerNormGradRow.
var layerNormOp = new(Op)

func init() {
	*layerNormOp = Op{
		Name:  "layernorm",
		Fused: true,
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 3, 7), normal(r, 7), normal(r, 7)}, Numbers{Alpha: 1e-5}
		},
		Forward: func(c *Call) *tensor.Tensor {
			y, mean, r := tensor.LayerNorm(c.x(0), c.x(1), c.x(2), c.Alpha)
			c.save(mean, r)
			return y
		},
		VJP: func(c *Call, gy *Var) []*Var {
			return c.own(tensor.LayerNormGrad(c.x(0), c.x(1), c.Saved[0], c.Saved[1], gy.Value))
		},
	}
}

// LayerNorm normalises the last axis of x, multiplies by w and adds b.
func LayerNorm(x, w, b *Var, eps float64) *Var {
	return call(layerNormOp, Numbers{Alpha: eps}, x, w, b)
}

package autograd

import (
	"math/rand/v2"

	"fuerte/tensor"
)

// rmsNorm is y = x·w·r, r = 1/√(mean x² + eps) over the last axis; the VJP
// stands at kernels.refRMSNormGradRow.
var rmsNormOp = new(Op)

func init() {
	*rmsNormOp = Op{
		Name:  "rmsnorm",
		Fused: true,
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 3, 7), normal(r, 7)}, 1e-5
		},
		Forward: func(c *Call) *tensor.Tensor {
			y, r := tensor.RMSNorm(c.x(0), c.x(1), c.Args.(float64))
			c.Saved = []*tensor.Tensor{r}
			return y
		},
		VJP: func(c *Call, gy *Var) []*Var {
			return own(tensor.RMSNormGrad(c.x(0), c.x(1), c.Saved[0], gy.Value))
		},
	}
}

// RMSNorm normalises the last axis of x and multiplies by w.
func RMSNorm(x, w *Var, eps float64) *Var { return Apply(rmsNormOp, eps, x, w) }

// layerNorm is y = (x−mean)·r·w + b; the VJP stands at kernels.refLayerNormGradRow.
var layerNormOp = new(Op)

func init() {
	*layerNormOp = Op{
		Name:  "layernorm",
		Fused: true,
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 3, 7), normal(r, 7), normal(r, 7)}, 1e-5
		},
		Forward: func(c *Call) *tensor.Tensor {
			y, mean, r := tensor.LayerNorm(c.x(0), c.x(1), c.x(2), c.Args.(float64))
			c.Saved = []*tensor.Tensor{mean, r}
			return y
		},
		VJP: func(c *Call, gy *Var) []*Var {
			return own(tensor.LayerNormGrad(c.x(0), c.x(1), c.Saved[0], c.Saved[1], gy.Value))
		},
	}
}

// LayerNorm normalises the last axis of x, multiplies by w and adds b.
func LayerNorm(x, w, b *Var, eps float64) *Var { return Apply(layerNormOp, eps, x, w, b) }

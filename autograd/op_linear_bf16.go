package autograd

import (
	"math/rand/v2"

	"fuerte/tensor"
)

// linearBF16 is linear of x, W and gy rounded to bfloat16 (^), with sums in float32:
// y = x̂·Ŵᵀ (+ b), gx = ĝy·Ŵ, gW = ĝyᵀ·x̂, gb = Σ_rows gy: the derivative of linear,
// for rounding has none of use. Of x and W it keeps what it multiplied, in half the
// bytes. Operands in float64 are not rounded, so that the gradient check sees the formula.
//
// Source: Micikevicius et al. 2018, arXiv:1710.03740; Kalamkar et al. 2019,
// arXiv:1905.12322 for bfloat16, which needs no loss scale.
var linearBF16Op = new(Op)

func init() {
	*linearBF16Op = Op{
		Name:  "linear-bf16",
		Fused: true,
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 3, 5), normal(r, 4, 5), normal(r, 4)}, nil
		},
		Forward: func(c *Call) *tensor.Tensor {
			rows := linearRows(c)
			defer rows.Recycle()
			x, w := rounded(rows), rounded(c.x(1))
			c.save(x, w)
			return linearForward(c, x, w)
		},
		VJP: func(c *Call, gy *Var) []*Var {
			x, w := c.Saved[0], c.Saved[1]
			rows := gy.Value.Reshape(-1, w.Dim(0))
			g := rounded(rows)
			defer recycle(rows, g)
			var grads [3]*tensor.Tensor
			if c.Needs(0) {
				gx := tensor.MatMul(g, w)
				grads[0] = gx.Reshape(c.x(0).Shape()...)
				gx.Recycle()
			}
			if c.Needs(1) {
				t := g.Transpose(0, 1)
				grads[1] = tensor.MatMul(t, x)
				t.Recycle()
			}
			if len(c.In) > 2 && c.Needs(2) {
				grads[2] = tensor.Sum(rows, false, 0)
			}
			return c.own(grads[:len(c.In)]...)
		},
	}
}

// rounded returns a float32 tensor in bfloat16, and another one as it is.
func rounded(t *tensor.Tensor) *tensor.Tensor {
	if t.DType() == tensor.Float32 {
		return tensor.Cast(t, tensor.BFloat16)
	}
	return t.Retain()
}

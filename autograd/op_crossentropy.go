package autograd

import (
	"math/rand/v2"

	"fuerte/tensor"
)

// crossEntropy is loss[i] = ln Σ_j e^x[i,j] − x[i,target[i]], 0 for a negative
// target: gx[i,j] = gy[i]·(softmax(x[i])_j − [j = target[i]]).
var crossEntropyOp = new(Op)

func init() {
	*crossEntropyOp = Op{
		Name:  "crossentropy",
		Fused: true,
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 4, 5), tensor.From(tensor.CPU, []int32{4, -1, 0, 2}, 4)}, nil
		},
		Forward: func(c *Call) *tensor.Tensor {
			loss, lse := tensor.CrossEntropy(c.x(0), c.x(1))
			c.save(lse)
			return loss
		},
		VJP: func(c *Call, gy *Var) []*Var {
			return c.own(tensor.CrossEntropyGrad(c.x(0), c.Saved[0], c.x(1), gy.Value))
		},
	}
}

// CrossEntropy returns the loss of every row of the logits x [n, V] for int32
// targets [n]; rows with a negative target give 0.
func CrossEntropy(x, target *Var) *Var { return Apply(crossEntropyOp, nil, x, target) }

// linearCrossEntropy is y = Σ_i c_i·loss_i, loss that of crossEntropy for the logits
// z = x·Wᵀ, which are never whole in memory. With g_ij = c_i·(softmax(z_i)_j −
// [j = target_i]),
//
//	gx = gy·g·W    gW = gy·gᵀ·x    gc = gy·loss
//
// The forward pass, when it has a part of g, computes gx and gW but for gy: three
// products in all, where a VJP that made the logits anew would take four. No memory
// is lost, for gW is wanted anyway.
var linearCrossEntropyOp = new(Op)

func init() {
	*linearCrossEntropyOp = Op{
		Name:  "linear-crossentropy",
		Fused: true,
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 4, 3), normal(r, 5, 3), tensor.From(tensor.CPU, []int32{4, -1, 0, 2}, 4), normal(r, 4)}, nil
		},
		Forward: func(c *Call) *tensor.Tensor {
			loss, gx, gw := tensor.LinearCrossEntropy(c.x(0), c.x(1), c.x(2), c.x(3), c.Recorded && c.Needs(0), c.Recorded && c.Needs(1))
			c.save(loss, gx, gw)
			weighted := tensor.Mul(loss, c.x(3))
			defer weighted.Recycle()
			return tensor.Sum(weighted, false)
		},
		VJP: func(c *Call, gy *Var) []*Var {
			loss, g := c.Saved[0], [4]*tensor.Tensor{c.Saved[1], c.Saved[2]}
			c.Saved = c.Saved[:1] // the gradients become the tape's: a leaf keeps them without a copy
			for _, t := range g {
				if t != nil {
					tensor.MulInto(t, gy.Value)
				}
			}
			if c.Needs(3) {
				g[3] = tensor.Mul(loss, gy.Value)
			}
			return c.own(g[:]...)
		},
	}
}

// LinearCrossEntropy returns Σ_i weight[i]·loss[i] as a scalar, loss[i] that of row i of
// CrossEntropy(Linear(x, w), target): x [n, D], w [V, D], int32 targets [n], weight [n].
// A mean over the rows that count has the inverse of their number for weight.
func LinearCrossEntropy(x, w, target, weight *Var) *Var {
	return Apply(linearCrossEntropyOp, nil, x, w, target, weight)
}

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

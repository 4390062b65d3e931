package autograd

import (
	"math/rand/v2"
	"slices"

	"fuerte/tensor"
)

// matmul is C = A·B over the last two axes, leading axes broadcast:
// gA = gC·Bᵀ, gB = Aᵀ·gC, summed over repeated leading axes.
var matmulOp = new(Op)

func init() {
	*matmulOp = Op{
		Name: "matmul",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 1, 3, 5), normal(r, 3, 5, 4)}, nil // both broadcast
		},
		Forward: func(c *Call) *tensor.Tensor { return tensor.MatMul(c.x(0), c.x(1)) },
		VJP: func(c *Call, gy *Var) []*Var {
			g := c.grads()
			if c.Needs(0) {
				g[0] = sumTo(MatMul(gy, Transpose(c.on(gy, 1), -2, -1)), c.In[0])
			}
			if c.Needs(1) {
				g[1] = sumTo(MatMul(Transpose(c.on(gy, 0), -2, -1), gy), c.In[1])
			}
			return g
		},
	}
}

// MatMul returns a·b over the last two axes; leading axes broadcast.
func MatMul(a, b *Var) *Var { return Apply(matmulOp, nil, a, b) }

// linear is y = x·Wᵀ (+ b), x [.., K], W [N, K], b [N]; with x and gy seen as
// matrices of rows, gx = gy·W, gW = gyᵀ·x, gb = Σ_rows gy.
var linearOp = new(Op)

func init() {
	*linearOp = Op{
		Name: "linear",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 3, 5), normal(r, 4, 5), normal(r, 4)}, nil
		},
		Forward: func(c *Call) *tensor.Tensor {
			rows := linearRows(c)
			defer rows.Recycle()
			return linearForward(c, rows, c.x(1))
		},
		VJP: func(c *Call, gy *Var) []*Var {
			n := c.x(1).Dim(0)
			rows := Reshape(gy, -1, n)
			g := c.grads()
			if c.Needs(0) {
				g[0] = Reshape(MatMul(rows, c.In[1]), c.In[0].Shape()...)
			}
			if c.Needs(1) {
				g[1] = MatMul(Transpose(rows, 0, 1), Reshape(c.on(gy, 0), -1, c.x(1).Dim(1)))
			}
			if len(g) > 2 && c.Needs(2) {
				g[2] = Sum(rows, false, 0)
			}
			return g
		},
	}
}

// linearRows checks the operands of linear and returns x as a matrix of rows.
func linearRows(c *Call) *tensor.Tensor {
	x, w := c.x(0), c.x(1)
	if x.Rank() < 1 || w.Rank() != 2 || x.Dim(-1) != w.Dim(1) || len(c.In) > 2 && !slices.Equal(c.x(2).Shape(), w.Shape()[:1]) {
		panic(&tensor.ShapeError{Op: "linear", Shapes: [][]int{x.Shape(), w.Shape()}, Rule: "x [.., K], W [N, K] and b [N] are needed"})
	}
	return x.Reshape(-1, x.Dim(-1))
}

// linearForward returns y for x as rows; both may be rounded.
func linearForward(c *Call, rows, w *tensor.Tensor) *tensor.Tensor {
	x := c.x(0)
	shape := append(append(make([]int, 0, rankHint), x.Shape()[:x.Rank()-1]...), w.Dim(0))
	wt := w.Transpose(0, 1)
	y := tensor.MatMul(rows, wt)
	wt.Recycle()
	if len(c.In) > 2 {
		b := c.x(2).Expand(y.Shape()...)
		tensor.AddInto(y, b)
		b.Recycle()
	}
	out := y.Reshape(shape...)
	y.Recycle()
	return out
}

// Linear returns x·wᵀ + b; b may be nil. See Tape.BF16.
func Linear(x, w, b *Var) *Var {
	op := linearOp
	if x.tape != nil && x.tape.BF16 && x.Value.DType() == tensor.Float32 {
		op = linearBF16Op
	}
	if b == nil {
		return Apply(op, nil, x, w)
	}
	return Apply(op, nil, x, w, b)
}

package autograd

import (
	"math/rand/v2"

	"fuerte/tensor"
)

// gather is y[i] = w[id[i]]: gw[r] = Σ_{id[i]=r} gy[i].
var gatherOp = new(Op)

func init() {
	*gatherOp = Op{
		Name: "gather",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 5, 3), tensor.From(tensor.CPU, []int32{1, 4, 1, 0, 1, 3}, 2, 3)}, nil
		},
		Forward: func(c *Call) *tensor.Tensor { return tensor.Gather(c.x(0), c.x(1)) },
		VJP: func(c *Call, gy *Var) []*Var {
			shape, d := c.In[0].Shape(), 1
			for _, n := range shape[1:] {
				d *= n
			}
			rows := Reshape(gy, c.x(1).Len(), d)
			return c.give(Reshape(ScatterAdd(rows, c.In[1], shape[0]), shape...), nil)
		},
	}
}

// Gather returns the rows of w [n, ..] named by the int32 ids: an embedding.
func Gather(w, id *Var) *Var { return Apply(gatherOp, nil, w, id) }

// scatterAdd is y[r] = Σ_{id[i]=r} x[i], the VJP of gather: gx[i] = gy[id[i]].
var scatterAddOp = new(Op)

func init() {
	*scatterAddOp = Op{
		Name: "scatterAdd",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 3, 4), tensor.From(tensor.CPU, []int32{1, 4, 1, 0, 1, 3}, 2, 3)}, Numbers{N: 5}
		},
		Forward: func(c *Call) *tensor.Tensor { return tensor.ScatterAdd(c.x(0), c.x(1), c.N) },
		VJP: func(c *Call, gy *Var) []*Var {
			return c.give(Reshape(Gather(gy, c.In[1]), c.In[0].Shape()...), nil)
		},
	}
}

// ScatterAdd returns zeros [n, D] with the rows of x [.., D] added where the
// int32 ids, one a row, point to.
func ScatterAdd(x, id *Var, n int) *Var { return call(scatterAddOp, Numbers{N: n}, x, id) }

// along has places that are taken twice, and others never.
func along() *tensor.Tensor {
	return tensor.From(tensor.CPU, []int32{3, 0, 1, 3, 2, 0, 0, 0, 1, 2, 3, 2}, 2, 3, 2)
}

// takeAlong picks elements of an axis; for axis 1 of three,
//
//	y[i,j,k] = x[i,id[i,j,k],k]    gx[i,l,k] = Σ_{id[i,j,k]=l} gy[i,j,k]
var takeAlongOp = new(Op)

func init() {
	*takeAlongOp = Op{
		Name: "takeAlong",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 4, 2), along()}, Numbers{Axis: 1}
		},
		Forward: func(c *Call) *tensor.Tensor { return tensor.TakeAlong(c.x(0), c.x(1), c.Axis) },
		VJP: func(c *Call, gy *Var) []*Var {
			return c.give(PutAlongAdd(gy, c.In[1], c.Axis, c.x(0).Dim(c.Axis)), nil)
		},
	}
}

// TakeAlong picks elements of an axis by id (int32), which agrees with x in the
// other axes: for axis 1 of three, y[i,j,k] = x[i,id[i,j,k],k].
func TakeAlong(x, id *Var, axis int) *Var { return call(takeAlongOp, Numbers{Axis: axis}, x, id) }

// putAlongAdd is the VJP of takeAlong, and takeAlong is its own.
var putAlongAddOp = new(Op)

func init() {
	*putAlongAddOp = Op{
		Name: "putAlongAdd",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 3, 2), along()}, Numbers{Axis: 1, N: 5}
		},
		Forward: func(c *Call) *tensor.Tensor { return tensor.PutAlongAdd(c.x(0), c.x(1), c.Axis, c.N) },
		VJP: func(c *Call, gy *Var) []*Var {
			return c.give(TakeAlong(gy, c.In[1], c.Axis), nil)
		},
	}
}

// PutAlongAdd returns zeros with x added where id (int32, of the same shape)
// points to, on an axis of n entries.
func PutAlongAdd(x, id *Var, axis, n int) *Var {
	return call(putAlongAddOp, Numbers{Axis: axis, N: n}, x, id)
}

// TopK returns the k largest elements of the last axis in falling order, of
// equals the first first, and where they stand, as int32. A gradient flows to
// the elements picked.
func TopK(x *Var, k int) (values, indices *Var) {
	v, id := tensor.TopK(x.Value, k)
	v.Recycle() // TakeAlong picks the same bits and knows its VJP
	indices = x.Adopt(id)
	return TakeAlong(x, indices, -1), indices
}

// mask has both values in every row.
func mask() *tensor.Tensor {
	return tensor.From(tensor.CPU, []bool{true, false, false, true, true, false, true, false, true, false}, 2, 1, 5)
}

// where is y = a where cond, b elsewhere, broadcast: ga = gy where cond, gb = gy
// elsewhere, and 0. Picking, not multiplying by 0 or 1, keeps an infinite
// cotangent of one side out of the other.
var whereOp = new(Op)

func init() {
	*whereOp = Op{
		Name: "where",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{mask(), normal(r, 3, 1), normal(r, 2, 3, 5)}, nil
		},
		Forward: func(c *Call) *tensor.Tensor { return tensor.Where(c.x(0), c.x(1), c.x(2)) },
		VJP: func(c *Call, gy *Var) []*Var {
			g := c.grads()
			if c.Needs(1) {
				zero := gy.Adopt(tensor.Full(gy.Value.Device(), gy.Value.DType(), 0))
				g[1] = sumTo(Where(c.In[0], gy, zero), c.In[1])
			}
			if c.Needs(2) {
				g[2] = sumTo(MaskedFill(gy, c.In[0], 0), c.In[2])
			}
			return g
		},
	}
}

// Where returns a where cond (bool) is set and b elsewhere; the three broadcast.
func Where(cond, a, b *Var) *Var { return Apply(whereOp, nil, cond, a, b) }

// maskedFill is y = alpha where mask, x elsewhere, broadcast: gx = 0 where mask,
// gy elsewhere.
var maskedFillOp = new(Op)

func init() {
	*maskedFillOp = Op{
		Name: "maskedFill",
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 3, 1), mask()}, Numbers{Alpha: -0.7}
		},
		Forward: func(c *Call) *tensor.Tensor { return tensor.MaskedFill(c.x(0), c.x(1), c.Alpha) },
		VJP: func(c *Call, gy *Var) []*Var {
			return c.give(sumTo(MaskedFill(gy, c.In[1], 0), c.In[0]), nil)
		},
	}
}

// MaskedFill returns x with alpha where mask (bool, broadcast) is set.
func MaskedFill(x, mask *Var, alpha float64) *Var {
	return call(maskedFillOp, Numbers{Alpha: alpha}, x, mask)
}

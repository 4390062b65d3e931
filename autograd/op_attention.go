package autograd

import (
	"math/rand/v2"

	"fuerte/tensor"
)

// prefix returns the prefix, which may be the last input, of an op with i others,
// or nil. The caller recycles it.
func (c *Call) prefix(i int) *tensor.Tensor {
	if i == len(c.In) {
		return nil
	}
	return c.x(i).Compact()
}

// attention is O = softmax(Q·Kᵀ/√dh + mask)·V. With P the softmax, recomputed
// block by block from the saved log-sum-exp, and D = Σ_dh gO·O:
//
//	gV = Pᵀ·gO    gS = P·(gO·Vᵀ − D)    gQ = gS·K/√dh    gK = gSᵀ·Q/√dh
//
// Source: Dao et al. 2022, arXiv:2205.14135.
var attentionOp = new(Op)

func init() {
	*attentionOp = Op{
		Name:  "attention",
		Fused: true,
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			q, k, v := normal(r, 2, 4, 2, 3), normal(r, 2, 6, 2, 3), normal(r, 2, 6, 2, 3)
			return []*tensor.Tensor{q, k, v, tensor.From(tensor.CPU, []int32{0, 5}, 2)}, Numbers{Mask: tensor.Causal}
		},
		Forward: func(c *Call) *tensor.Tensor {
			prefix := c.prefix(3)
			defer prefix.Recycle()
			o, lse := tensor.Attention(c.x(0), c.x(1), c.x(2), c.Mask, prefix)
			c.save(lse)
			return o
		},
		VJP: func(c *Call, gy *Var) []*Var {
			prefix := c.prefix(3)
			defer prefix.Recycle()
			var in, out [3]*tensor.Tensor
			for i := range in {
				in[i] = c.x(i).Compact()
				out[i] = tensor.New(in[i].Device(), in[i].DType(), in[i].Shape()...)
			}
			tensor.AttentionGrad(out[0], out[1], out[2], in[0], in[1], in[2], c.Out.Value, c.Saved[0], gy.Value, c.Mask, prefix)
			recycle(in[:]...)
			return c.own(out[:]...)
		},
	}
}

// Attention returns multi-head attention of q [B, Tq, H, dh] to k and v
// [B, Tk, H, dh]; prefix is int32 [B] or nil.
func Attention(q, k, v *Var, mask tensor.Mask, prefix *tensor.Tensor) *Var {
	if prefix == nil {
		return call(attentionOp, Numbers{Mask: mask}, q, k, v)
	}
	return call(attentionOp, Numbers{Mask: mask}, q, k, v, q.With(prefix))
}

// attentionQKV is attention on one fused product [B, T, 3·H·dh], rows of q, then
// k, then v, each head by head; the result is [B, T, H·dh]. Reading the three
// as views saves their copies, and their gradients are written in place.
var attentionQKVOp = new(Op)

func init() {
	*attentionQKVOp = Op{
		Name:  "attentionQKV",
		Fused: true,
		Sample: func(r *rand.Rand) ([]*tensor.Tensor, any) {
			return []*tensor.Tensor{normal(r, 2, 5, 3*2*3), tensor.From(tensor.CPU, []int32{1, 3}, 2)}, Numbers{N: 2, Mask: tensor.Causal}
		},
		Forward: func(c *Call) *tensor.Tensor {
			prefix := c.prefix(1)
			p := splitQKV(c.x(0), c.N)
			o, lse := tensor.Attention(p[0], p[1], p[2], c.Mask, prefix)
			recycle(p[0], p[1], p[2], prefix)
			c.save(lse)
			return mergeHeads(o)
		},
		VJP: func(c *Call, gy *Var) []*Var {
			prefix := c.prefix(1)
			x := c.x(0).Compact() // the gradient is laid out like it
			g := tensor.New(x.Device(), x.DType(), x.Shape()...)
			p, gp := splitQKV(x, c.N), splitQKV(g, c.N)
			o, gyh := splitHeads(c.Out.Value, c.N), splitHeads(gy.Value, c.N)
			tensor.AttentionGrad(gp[0], gp[1], gp[2], p[0], p[1], p[2], o, c.Saved[0], gyh, c.Mask, prefix)
			recycle(p[:]...)
			recycle(gp[:]...)
			recycle(x, o, gyh, prefix)
			return c.own(g)
		},
	}
}

// AttentionQKV returns self-attention on the fused product qkv [B, T, 3·D] as
// [B, T, D].
func AttentionQKV(qkv *Var, heads int, mask tensor.Mask, prefix *tensor.Tensor) *Var {
	if prefix == nil {
		return call(attentionQKVOp, Numbers{N: heads, Mask: mask}, qkv)
	}
	return call(attentionQKVOp, Numbers{N: heads, Mask: mask}, qkv, qkv.With(prefix))
}

// splitQKV returns q, k and v as views [B, T, H, dh].
func splitQKV(x *tensor.Tensor, heads int) (out [3]*tensor.Tensor) {
	if x.Rank() != 3 || x.Dim(2)%(3*heads) != 0 {
		panic(&tensor.ShapeError{Op: "attentionQKV", Shapes: [][]int{x.Shape()}, Rule: "[B, T, 3·H·dh] is needed"})
	}
	d := x.Dim(2) / 3
	for i := range out {
		part := x.Narrow(2, i*d, d)
		out[i] = splitHeads(part, heads)
		part.Recycle()
	}
	return out
}

func splitHeads(x *tensor.Tensor, heads int) *tensor.Tensor {
	return x.Reshape(x.Dim(0), x.Dim(1), heads, x.Dim(2)/heads)
}

// mergeHeads turns [B, T, H, dh] into [B, T, H·dh] and takes its operand over.
func mergeHeads(o *tensor.Tensor) *tensor.Tensor {
	defer o.Recycle()
	return o.Reshape(o.Dim(0), o.Dim(1), o.Dim(2)*o.Dim(3))
}

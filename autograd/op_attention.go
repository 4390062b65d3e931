package autograd

import (
	"math/rand/v2"

	"fuerte/tensor"
)

type attentionArgs struct {
	heads  int // of the fused form
	mask   tensor.Mask
	prefix *tensor.Tensor
}

// AttentionArgs returns the arguments of a call of Attention, whose heads is 0, or
// of AttentionQKV.
func (c *Call) AttentionArgs() (heads int, mask tensor.Mask, prefix *tensor.Tensor) {
	a := c.Args.(attentionArgs)
	return a.heads, a.mask, a.prefix
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
			return []*tensor.Tensor{q, k, v}, attentionArgs{mask: tensor.Causal, prefix: tensor.From(tensor.CPU, []int32{0, 5}, 2)}
		},
		Forward: func(c *Call) *tensor.Tensor {
			a := c.Args.(attentionArgs)
			o, lse := tensor.Attention(c.x(0), c.x(1), c.x(2), a.mask, a.prefix)
			c.Saved = []*tensor.Tensor{lse}
			return o
		},
		VJP: func(c *Call, gy *Var) []*Var {
			a := c.Args.(attentionArgs)
			var in, out [3]*tensor.Tensor
			for i := range in {
				in[i] = c.x(i).Compact()
				out[i] = tensor.New(in[i].Device(), in[i].DType(), in[i].Shape()...)
			}
			tensor.AttentionGrad(out[0], out[1], out[2], in[0], in[1], in[2], c.Out.Value, c.Saved[0], gy.Value, a.mask, a.prefix)
			release(in[:])
			return own(out[:]...)
		},
	}
}

// Attention returns multi-head attention of q [B, Tq, H, dh] to k and v
// [B, Tk, H, dh]; prefix is int32 [B] or nil.
func Attention(q, k, v *Var, mask tensor.Mask, prefix *tensor.Tensor) *Var {
	return Apply(attentionOp, attentionArgs{mask: mask, prefix: prefix}, q, k, v)
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
			return []*tensor.Tensor{normal(r, 2, 5, 3*2*3)}, attentionArgs{heads: 2, mask: tensor.Causal, prefix: tensor.From(tensor.CPU, []int32{1, 3}, 2)}
		},
		Forward: func(c *Call) *tensor.Tensor {
			a := c.Args.(attentionArgs)
			p := splitQKV(c.x(0), a.heads)
			o, lse := tensor.Attention(p[0], p[1], p[2], a.mask, a.prefix)
			release(p[:])
			c.Saved = []*tensor.Tensor{lse}
			return mergeHeads(o)
		},
		VJP: func(c *Call, gy *Var) []*Var {
			a := c.Args.(attentionArgs)
			x := c.x(0).Compact() // the gradient is laid out like it
			defer x.Release()
			g := tensor.New(x.Device(), x.DType(), x.Shape()...)
			p, gp := splitQKV(x, a.heads), splitQKV(g, a.heads)
			o, gyh := splitHeads(c.Out.Value, a.heads), splitHeads(gy.Value, a.heads)
			tensor.AttentionGrad(gp[0], gp[1], gp[2], p[0], p[1], p[2], o, c.Saved[0], gyh, a.mask, a.prefix)
			release(append(append(p[:], gp[:]...), o, gyh))
			return own(g)
		},
	}
}

// AttentionQKV returns self-attention on the fused product qkv [B, T, 3·D] as
// [B, T, D].
func AttentionQKV(qkv *Var, heads int, mask tensor.Mask, prefix *tensor.Tensor) *Var {
	return Apply(attentionQKVOp, attentionArgs{heads, mask, prefix}, qkv)
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
		part.Release()
	}
	return out
}

func splitHeads(x *tensor.Tensor, heads int) *tensor.Tensor {
	return x.Reshape(x.Dim(0), x.Dim(1), heads, x.Dim(2)/heads)
}

// mergeHeads turns [B, T, H, dh] into [B, T, H·dh] and takes its operand over.
func mergeHeads(o *tensor.Tensor) *tensor.Tensor {
	defer o.Release()
	return o.Reshape(o.Dim(0), o.Dim(1), o.Dim(2)*o.Dim(3))
}

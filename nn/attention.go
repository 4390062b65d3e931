package nn

import (
	"fmt"

	"fuerte/autograd"
	"fuerte/tensor"
)

// Attention is multi-head self-attention with a fused product for queries, keys
// and values: y = Proj(softmax(q·kᵀ/√dh + mask)·v).
//
// Shapes: x, y [B, T, D]; QKV is [3·D, D], rows of q, then k, then v, each head
// by head; Proj is [D, D].
// Source: Vaswani et al. 2017, arXiv:1706.03762.
type Attention struct {
	QKV   *Linear `param:"qkv"`
	Proj  *Linear `param:"proj"`
	Heads int
}

// NewAttention returns a block without biases. Panics: if heads does not divide
// width.
func NewAttention(dev *tensor.Device, width, heads int) *Attention {
	if heads < 1 || width%heads != 0 {
		panic(&tensor.ShapeError{Op: "attention", Rule: fmt.Sprintf("%d heads do not divide a width of %d", heads, width)})
	}
	return &Attention{NewLinear(dev, width, 3*width, false), NewLinear(dev, width, width, false), heads}
}

// Forward attends within x; prefix is int32 [B] or nil, and needs the causal
// mask.
func (a *Attention) Forward(x *Var, mask tensor.Mask, prefix *tensor.Tensor) *Var {
	return a.Proj.Forward(autograd.AttentionQKV(a.QKV.Forward(x), a.Heads, mask, prefix))
}

// KVCache holds the keys and values of the tokens seen so far.
type KVCache struct {
	K, V *tensor.Tensor // [B, capacity, H, dh]
	Len  int            // tokens filled
}

// NewCache returns an empty cache of an attention for a batch of sequences.
func (a *Attention) NewCache(batch, capacity int) *KVCache {
	w := a.QKV.Weight.Value
	d := w.Dim(1)
	shape := []int{batch, capacity, a.Heads, d / a.Heads}
	return &KVCache{K: tensor.New(w.Device(), w.DType(), shape...), V: tensor.New(w.Device(), w.DType(), shape...)}
}

// Extend attends causally from the new tokens x [B, n, D] to those of the cache
// and among themselves, and adds them to the cache. It is Forward, token by
// token, on an inference tape. Panics: *tensor.ShapeError if the cache is full.
func (a *Attention) Extend(x *Var, c *KVCache) *Var {
	qkv := a.QKV.Forward(x)
	b, n, d := x.Value.Dim(0), x.Value.Dim(1), x.Value.Dim(2)
	part := func(i int) *Var {
		return autograd.Reshape(autograd.Narrow(qkv, 2, i*d, d), b, n, a.Heads, d/a.Heads)
	}
	for i, dst := range []*tensor.Tensor{c.K, c.V} {
		room := dst.Narrow(1, c.Len, n)
		tensor.Copy(room, part(1+i).Value)
		room.Release()
	}
	c.Len += n
	k, v := c.K.Narrow(1, 0, c.Len), c.V.Narrow(1, 0, c.Len)
	defer k.Release()
	defer v.Release()
	o, lse := tensor.Attention(part(0).Value, k, v, tensor.Causal, nil)
	defer o.Release()
	lse.Release()
	return a.Proj.Forward(autograd.Reshape(qkv.With(o), b, n, d))
}

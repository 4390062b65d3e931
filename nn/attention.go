package nn

import (
	"fmt"
	"math"

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

// Mask says which tokens attend to which. The zero Mask lets every token see
// every other.
type Mask struct {
	Causal bool           // token i sees j ≤ i
	Prefix *tensor.Tensor // int32 [B] or nil: and the first Prefix[b] tokens; needs Causal
	// Dense is nil, or a mask that broadcasts to [B, H, T, T] in place of the two:
	// bool, true where query t may see key s, or float32, added to the scores.
	Dense *tensor.Tensor
}

// Forward attends within x.
//
// A dense mask costs O(T²) memory a head; the others are fused. A row that sees
// nothing is NaN, as in PyTorch.
// Panics: *tensor.ShapeError if the mask does not fit x.
func (a *Attention) Forward(x *Var, m Mask) *Var {
	qkv := a.QKV.Forward(x)
	if m.Dense != nil {
		return a.Proj.Forward(a.dense(qkv, m.Dense))
	}
	causal := tensor.NoMask
	if m.Causal {
		causal = tensor.Causal
	}
	return a.Proj.Forward(autograd.AttentionQKV(qkv, a.Heads, causal, m.Prefix))
}

// dense is attention by way of its scores, for masks that the fused kernel does
// not know.
func (a *Attention) dense(qkv *Var, mask *tensor.Tensor) *Var {
	b, t, d := qkv.Shape()[0], qkv.Shape()[1], qkv.Shape()[2]/3
	dh := d / a.Heads
	split := autograd.Permute(autograd.Reshape(qkv, b, t, 3, a.Heads, dh), 2, 0, 3, 1, 4)
	part := func(i int) *Var { return autograd.Reshape(autograd.Narrow(split, 0, i, 1), b, a.Heads, t, dh) }
	scores := autograd.Scale(autograd.MatMul(part(0), autograd.Transpose(part(1), 2, 3)), 1/math.Sqrt(float64(dh)))
	allowed := qkv.With(mask)
	if mask.DType() == tensor.Bool {
		never := tensor.Full(mask.Device(), scores.Value.DType(), math.Inf(-1))
		defer never.Release()
		scores = autograd.Where(allowed, scores, qkv.With(never))
	} else {
		scores = autograd.Add(scores, allowed)
	}
	o := autograd.MatMul(autograd.Softmax(scores), part(2))
	return autograd.Reshape(autograd.Permute(o, 0, 2, 1, 3), b, t, d)
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

package tensor

import (
	"slices"

	"fuerte/kernels"
)

// Softmax returns e^(x−m)/Σe^(x−m) over the last axis, m its maximum.
func Softmax(x *Tensor) *Tensor { return unary(x, func(o *Ops, y, x *Tensor) { o.Softmax(y, x) }) }

// SoftmaxGrad returns the VJP of Softmax from its result y: y·(gy − Σ gy·y).
func SoftmaxGrad(y, gy *Tensor) *Tensor {
	c := alike("softmax-grad", y, gy)
	defer recycleAll(c[:])
	gx := New(y.store.dev, y.dtype, y.Shape()...)
	if y.Len() > 0 {
		y.store.dev.ops(y.dtype).SoftmaxGrad(gx, c[0], c[1])
	}
	return gx
}

// rowWeights checks a normalisation's x [.., D] and its parameters [D].
func rowWeights(op string, x *Tensor, ws ...*Tensor) *Device {
	require(x.rank >= 1 && x.Dim(-1) > 0, op, "the last axis is empty", x)
	for _, w := range ws {
		require(w.rank == 1 && w.dims[0] == x.Dim(-1), op, "a weight does not match the last axis", x, w)
		require(w.Contiguous(), op, "a weight is a strided view", x, w)
		sameType(op, x, w)
		same(op, x, w)
	}
	return x.store.dev
}

// perRow returns a tensor of one value for every row of x.
func perRow(x *Tensor) *Tensor { return New(x.store.dev, x.dtype, x.dims[:x.rank-1]...) }

// rowStats checks what a normalisation of x kept of every row.
func rowStats(op string, x *Tensor, stats ...*Tensor) {
	for _, s := range stats {
		require(slices.Equal(s.Shape(), x.dims[:x.rank-1]), op, "one value a row is needed", x, s)
		require(s.Contiguous(), op, "a row's value is in a strided view", x, s)
		sameType(op, x, s)
		same(op, x, s)
	}
}

// RMSNorm returns y = x·w·r with r = 1/√(mean x² + eps) over the last axis, and
// r, which RMSNormGrad needs.
func RMSNorm(x, w *Tensor, eps float64) (y, r *Tensor) {
	dev := rowWeights("rmsnorm", x, w)
	c := x.Compact()
	defer c.Recycle()
	y, r = New(dev, x.dtype, x.Shape()...), perRow(x)
	if x.Len() > 0 {
		dev.ops(x.dtype).RMSNorm(y, r, c, w, eps)
	}
	return y, r
}

// RMSNormGrad returns the VJPs of RMSNorm for x and w.
func RMSNormGrad(x, w, r, gy *Tensor) (gx, gw *Tensor) {
	dev := rowWeights("rmsnorm-grad", x, w)
	rowStats("rmsnorm-grad", x, r)
	c := alike("rmsnorm-grad", x, gy)
	defer recycleAll(c[:])
	gx, gw = New(dev, x.dtype, x.Shape()...), New(dev, x.dtype, w.Shape()...)
	dev.ops(x.dtype).RMSNormGrad(gx, gw, c[0], w, c[1], r)
	return gx, gw
}

// LayerNorm returns y = (x−mean)·r·w + b over the last axis, and mean and r.
func LayerNorm(x, w, b *Tensor, eps float64) (y, mean, r *Tensor) {
	dev := rowWeights("layernorm", x, w, b)
	c := x.Compact()
	defer c.Recycle()
	y, mean, r = New(dev, x.dtype, x.Shape()...), perRow(x), perRow(x)
	if x.Len() > 0 {
		dev.ops(x.dtype).LayerNorm(y, mean, r, c, w, b, eps)
	}
	return y, mean, r
}

// LayerNormGrad returns the VJPs of LayerNorm for x, w and b.
func LayerNormGrad(x, w, mean, r, gy *Tensor) (gx, gw, gb *Tensor) {
	dev := rowWeights("layernorm-grad", x, w)
	rowStats("layernorm-grad", x, mean, r)
	c := alike("layernorm-grad", x, gy)
	defer recycleAll(c[:])
	gx, gw, gb = New(dev, x.dtype, x.Shape()...), New(dev, x.dtype, w.Shape()...), New(dev, x.dtype, w.Shape()...)
	dev.ops(x.dtype).LayerNormGrad(gx, gw, gb, c[0], w, c[1], mean, r)
	return gx, gw, gb
}

// CrossEntropy returns, for logits x [n, V] and targets int32 [n], the loss
// ln Σe^x − x[target] of every row (0 where the target is negative) and the
// row's ln Σe^x.
func CrossEntropy(x, target *Tensor) (loss, lse *Tensor) {
	dev := same("crossentropy", x, target)
	require(x.rank == 2 && target.rank == 1 && target.dims[0] == x.dims[0] && target.dtype == Int32 && x.dims[1] > 0,
		"crossentropy", "logits [n V] and int32 targets [n] are needed", x, target)
	c, t := x.Compact(), target.Compact()
	defer c.Recycle()
	defer t.Recycle()
	loss, lse = perRow(x), perRow(x)
	dev.ops(x.dtype).CrossEntropy(loss, lse, c, t)
	return loss, lse
}

// CrossEntropyGrad returns the VJP of CrossEntropy's loss for the logits.
func CrossEntropyGrad(x, lse, target, gy *Tensor) *Tensor {
	dev := same("crossentropy-grad", x, lse, target, gy)
	require(x.rank == 2 && x.dims[1] > 0, "crossentropy-grad", "logits [n V] are needed", x)
	for _, t := range []*Tensor{lse, target, gy} {
		require(t.rank == 1 && t.dims[0] == x.dims[0], "crossentropy-grad", "one value a row is needed", x, t)
	}
	sameType("crossentropy-grad", x, lse, gy)
	require(target.dtype == Int32, "crossentropy-grad", "int32 targets are needed", target)
	c, l, t, g := x.Compact(), lse.Compact(), target.Compact(), gy.Compact()
	defer recycleAll([]*Tensor{c, l, t, g})
	gx := New(dev, x.dtype, x.Shape()...)
	dev.ops(x.dtype).CrossEntropyGrad(gx, c, l, t, g)
	return gx
}

// LinearCrossEntropy returns, for the logits x·wᵀ, the loss of every row as
// CrossEntropy, and the gradients of Σ weight·loss for x and for w, each nil where it
// is not asked for. The logits are never whole in memory.
//
// Shapes: x, gx [n, d]; w, gw [V, d]; int32 targets [n], negative for a row that is
// ignored; weight, loss [n].
// Panics: *ShapeError, and *kernels.ShapeError for a target of V or more.
func LinearCrossEntropy(x, w, target, weight *Tensor, needX, needW bool) (loss, gx, gw *Tensor) {
	const op = "linear-crossentropy"
	dev := same(op, x, w, target, weight)
	sameType(op, x, w, weight)
	require(x.rank == 2 && w.rank == 2 && x.dims[1] == w.dims[1] && w.Len() > 0, op, "rows [n d] and weights [V d] are needed, V and d not 0", x, w)
	for _, t := range []*Tensor{target, weight} {
		require(t.rank == 1 && t.dims[0] == x.dims[0], op, "one value a row is needed", x, t)
	}
	require(target.dtype == Int32, op, "int32 targets are needed", target)
	c := [...]*Tensor{x.Compact(), w.Compact(), target.Compact(), weight.Compact()}
	defer recycleAll(c[:])
	loss = perRow(x)
	if needX {
		gx = New(dev, x.dtype, x.Shape()...)
	}
	if needW {
		gw = New(dev, x.dtype, w.Shape()...)
	}
	dev.ops(x.dtype).LinearCrossEntropy(loss, gx, gw, c[0], c[1], c[2], c[3])
	return loss, gx, gw
}

// Gather returns the rows of w [n, …] named by id (int32, any shape):
// y[i…] = w[id[i…]]. Panics: *kernels.ShapeError for an id outside [0, n).
func Gather(w, id *Tensor) *Tensor {
	dev := same("gather", w, id)
	require(w.rank >= 1 && id.dtype == Int32, "gather", "int32 ids of rows are needed", w, id)
	wc, ic := w.Compact(), id.Compact()
	defer wc.Recycle()
	defer ic.Recycle()
	y := New(dev, w.dtype, append(append(make([]int, 0, maxRank), id.Shape()...), w.dims[1:w.rank]...)...)
	if y.Len() > 0 {
		dev.ops(w.dtype).Gather(y, wc, ic)
	}
	return y
}

// ScatterAdd returns [n, D] with gy's rows added at id: the VJP of Gather.
func ScatterAdd(gy, id *Tensor, n int) *Tensor {
	dev := same("scatter", gy, id)
	require(gy.rank >= 1 && id.dtype == Int32, "scatter", "rows and int32 ids are needed", gy, id)
	d := gy.Dim(-1)
	require(gy.Len() == id.Len()*d, "scatter", "rows and ids differ in number", gy, id)
	c, ic := gy.Compact(), id.Compact()
	defer c.Recycle()
	defer ic.Recycle()
	gw := New(dev, gy.dtype, n, d)
	if d > 0 {
		dev.ops(gy.dtype).ScatterAdd(gw, c, ic)
	}
	return gw
}

// Mask says which keys a query may attend to.
type Mask uint8

const (
	// NoMask lets every query see every key.
	NoMask Mask = iota
	// Causal lets query i see key j if j ≤ i (counted from the last key, when
	// there are more keys than queries) or if j is in the prefix.
	Causal
)

// heads checks an attention operand and returns it laid out as the kernel asks.
func heads(op string, t *Tensor) *Tensor {
	require(t.rank == 4, op, "operands are [B T H dh]", t)
	if headsApart(t) {
		return t.view()
	}
	return t.Clone()
}

// headsApart reports whether [B, T, H, dh] has unit stride inside a token and no
// two tokens in one place.
func headsApart(t *Tensor) bool {
	token := t.dims[2] * t.dims[3]
	return t.Len() == 0 || (t.steps[3] == 1 || t.dims[3] == 1) && (t.steps[2] == t.dims[3] || t.dims[2] == 1) &&
		(t.steps[1] >= token || t.dims[1] == 1) && (t.steps[0] >= token || t.dims[0] == 1)
}

func attentionCheck(op string, q, k, v, prefix *Tensor, m Mask) *Device {
	dev := same(op, q, k, v)
	sameType(op, q, k, v)
	require(q.dims[0] == k.dims[0] && q.dims[2] == k.dims[2] && q.dims[3] == k.dims[3], op, "batch, heads and head size must agree", q, k, v)
	for i := range 4 {
		require(k.dims[i] == v.dims[i], op, "keys and values differ", q, k, v)
	}
	require(m == NoMask || k.dims[1] >= q.dims[1], op, "a causal mask needs at least as many keys as queries", q, k)
	if prefix != nil {
		same(op, q, prefix)
		require(m == Causal && prefix.dtype == Int32 && prefix.rank == 1 && prefix.dims[0] == q.dims[0] && prefix.Contiguous(), op,
			"a prefix is int32 [B], contiguous, and needs the causal mask", q, prefix)
	}
	return dev
}

// Attention returns softmax(q·kᵀ/√dh + mask)·v for every batch entry and head,
// and the log-sum-exp of its scores, which AttentionGrad needs.
//
// Shapes: q, o [B, Tq, H, dh]; k, v [B, Tk, H, dh]; lse [B, H, Tq]; prefix int32
// [B] or nil: with Causal, the first prefix[b] keys are seen by every query.
// Memory: O(T) besides the result.
func Attention(q, k, v *Tensor, m Mask, prefix *Tensor) (o, lse *Tensor) {
	qc, kc, vc := heads("attention", q), heads("attention", k), heads("attention", v)
	dev := attentionCheck("attention", qc, kc, vc, prefix, m)
	o = New(dev, q.dtype, q.Shape()...)
	lse = New(dev, q.dtype, q.dims[0], q.dims[2], q.dims[1])
	dev.ops(q.dtype).Attention(o, lse, qc, kc, vc, m, prefix)
	recycleAll([]*Tensor{qc, kc, vc})
	return o, lse
}

// AttentionGrad writes the VJPs of Attention into gq, gk and gv, which have the
// strides of q, k and v: views of one fused gradient, if those are views of one
// fused product.
func AttentionGrad(gq, gk, gv, q, k, v, o, lse, gy *Tensor, m Mask, prefix *Tensor) {
	const op = "attention-grad"
	for _, p := range [...][2]*Tensor{{gq, q}, {gk, k}, {gv, v}} {
		require(p[1].rank == 4 && headsApart(p[1]), op, "operands are [B T H dh] with unit stride inside a token", p[1])
		require(slices.Equal(p[0].Shape(), p[1].Shape()) && slices.Equal(p[0].Strides(), p[1].Strides()), op, "a gradient is not laid out as its operand", p[0], p[1])
	}
	dev := attentionCheck(op, q, k, v, prefix, m)
	same(op, q, gq, gk, gv, o, lse, gy)
	sameType(op, q, gq, gk, gv, o, lse, gy)
	require(slices.Equal(o.Shape(), q.Shape()) && slices.Equal(gy.Shape(), q.Shape()) && o.Contiguous(), op, "o and gy are [B T H dh], o contiguous", q, o, gy)
	require(lse.rank == 3 && lse.dims[0] == q.dims[0] && lse.dims[1] == q.dims[2] && lse.dims[2] == q.dims[1], op, "lse is [B H T]", q, lse)
	c := gy.Compact()
	defer c.Recycle()
	dev.ops(q.dtype).AttentionGrad(gq, gk, gv, q, k, v, o, lse, c, m, prefix)
}

// AdamW advances p, m, v (contiguous, changed in place) by the gradient g.
func AdamW(p, m, v, g *Tensor, step *kernels.AdamWStep[float64]) {
	dev := same("adamw", p, m, v, g)
	sameType("adamw", p, m, v, g)
	for _, t := range [...]*Tensor{p, m, v, g} {
		require(t.Len() == p.Len() && t.Contiguous(), "adamw", "parameter, moments and gradient must match and be contiguous", p, t)
	}
	if p.Len() > 0 {
		dev.ops(p.dtype).AdamW(p, m, v, g, step)
	}
}

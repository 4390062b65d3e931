package profile

import (
	"fuerte/autograd"
	"fuerte/kernels"
	"fuerte/tensor"
)

// Count is what a call does, by its formula: each input is read once and each
// output written once. Where a formula is more than sums and products, FLOP is 0.
type Count struct {
	FLOP, Bytes float64
	// Kernel is how kernels.Explain is asked about the call.
	Kernel kernels.Call
}

// Cost counts the calls of an op.
type Cost struct {
	Forward func(c *autograd.Call) Count
	// VJP is nil where the VJP is built from ops: it is what they count.
	VJP func(c *autograd.Call, gy *tensor.Tensor, given []*autograd.Var) Count
}

// Costs holds the ops of package autograd; give an op of your own a row here. One
// without is timed and not counted.
var Costs = map[string]Cost{
	"identity": {Forward: view}, "permute": {Forward: view}, "expand": {Forward: view}, "narrow": {Forward: view},
	"reshape": {Forward: reshape}, "concat": {Forward: elementwise(0)}, "pad": {Forward: elementwise(0)},

	"add": {Forward: elementwise(1)}, "sub": {Forward: elementwise(1)}, "mul": {Forward: elementwise(1)}, "div": {Forward: elementwise(1)},
	"scale": {Forward: elementwise(1)}, "addScalar": {Forward: elementwise(1)}, autograd.Accumulate: {Forward: elementwise(1)},
	"exp": {Forward: elementwise(0)}, "log": {Forward: elementwise(0)}, "sqrt": {Forward: elementwise(0)}, "tanh": {Forward: elementwise(0)},
	"erf": {Forward: elementwise(0)}, "sigmoid": {Forward: elementwise(0)},
	"silu": {elementwise(0), fused(0)}, "gelu": {elementwise(0), fused(0)}, "swiglu": {elementwise(0), fused(0)},
	"where": {Forward: elementwise(0)}, "maskedFill": {Forward: elementwise(0)},

	"sum": {Forward: reduction(1)}, "max": {Forward: reduction(0)}, "cumSum": {Forward: elementwise(1)},
	"softmax": {rows(0), softmaxVJP}, "rmsnorm": {rows(4), fused(9)}, "layernorm": {rows(7), fused(13)}, "crossentropy": {rows(0), fused(0)},
	"linear-crossentropy": {linearCrossEntropy, linearCrossEntropyVJP},

	"matmul": {Forward: matmul}, "linear": {Forward: linear}, "linear-bf16": {linearBF16, linearBF16VJP},
	"attention": {attention, attentionVJP}, "attentionQKV": {attention, attentionVJP},

	"gather": {Forward: picked(0)}, "scatterAdd": {Forward: picked(1)}, "takeAlong": {Forward: picked(0)}, "putAlongAdd": {Forward: picked(1)},
}

// counted is what a call counts; inside is what its ops did.
func counted(c *autograd.Call, gy *tensor.Tensor, given []*autograd.Var, inside Count) Count {
	cost := Costs[c.Op.Name]
	switch {
	case gy == nil && cost.Forward != nil:
		return cost.Forward(c)
	case gy != nil && cost.VJP != nil:
		return cost.VJP(c, gy, given)
	}
	return inside
}

// sizeOf counts the bytes of distinct elements: a repeated axis is read once. What was
// not asked for is nil and has none.
func sizeOf(t *tensor.Tensor) float64 {
	if t == nil {
		return 0
	}
	n := t.DType().Size()
	steps := t.Strides()
	for i, d := range t.Shape() {
		if steps[i] != 0 || d == 0 {
			n *= d
		}
	}
	return float64(n)
}

// moved is what a forward reads and writes.
func moved(c *autograd.Call) float64 {
	n := sizeOf(c.Out.Value)
	for _, v := range c.In {
		n += sizeOf(v.Value)
	}
	for _, s := range c.Saved {
		n += sizeOf(s)
	}
	return n
}

// movedBack is what a fused VJP reads (inputs, saved, gy) and writes.
func movedBack(c *autograd.Call, gy *tensor.Tensor, given []*autograd.Var) float64 {
	n := sizeOf(gy)
	for _, v := range c.In {
		n += sizeOf(v.Value)
	}
	for _, s := range c.Saved {
		n += sizeOf(s)
	}
	for _, g := range given {
		if g != nil {
			n += sizeOf(g.Value)
		}
	}
	return n
}

// view is an op that moves nothing.
func view(*autograd.Call) Count { return Count{} }

// reshape is a copy where the order of the elements changes.
func reshape(c *autograd.Call) Count {
	if c.In[0].Value.Contiguous() || !c.Out.Value.Contiguous() {
		return Count{}
	}
	return elementwise(0)(c)
}

// elementwise counts flop an element of the result.
func elementwise(flop float64) func(c *autograd.Call) Count {
	return func(c *autograd.Call) Count {
		n := c.Out.Value.Len()
		return Count{flop * float64(n), moved(c), kernels.Call{Op: "elementwise", N: n}}
	}
}

// reduction counts flop an element of the operand.
func reduction(flop float64) func(c *autograd.Call) Count {
	return func(c *autograd.Call) Count {
		n := c.In[0].Value.Len()
		return Count{flop * float64(n), moved(c), kernels.Call{Op: "elementwise", N: n}}
	}
}

// rows counts flop an element of rows, the last axis of the first input.
func rows(flop float64) func(c *autograd.Call) Count {
	return func(c *autograd.Call) Count {
		x := c.In[0].Value
		d := x.Dim(-1)
		return Count{flop * float64(x.Len()), moved(c), kernels.Call{Op: "rows", M: x.Len() / max(d, 1), N: d}}
	}
}

// fused counts flop an element of the first input, in a VJP of one kernel.
func fused(flop float64) func(c *autograd.Call, gy *tensor.Tensor, given []*autograd.Var) Count {
	return func(c *autograd.Call, gy *tensor.Tensor, given []*autograd.Var) Count {
		x := c.In[0].Value
		return Count{flop * float64(x.Len()), movedBack(c, gy, given), kernels.Call{Op: "elementwise", N: x.Len()}}
	}
}

// softmaxVJP reads y and gy, not x, and writes gx: by element gy·y summed (2), a
// difference and a product.
func softmaxVJP(c *autograd.Call, gy *tensor.Tensor, _ []*autograd.Var) Count {
	n, d := c.Out.Value.Len(), c.Out.Value.Dim(-1)
	return Count{4 * float64(n), sizeOf(gy) + 2*sizeOf(c.Out.Value), kernels.Call{Op: "rows", M: n / max(d, 1), N: d}}
}

// picked reads what the ids name: as much as the ops without a sum write, and all of
// the others' operand.
func picked(flop float64) func(c *autograd.Call) Count {
	return func(c *autograd.Call) Count {
		n := c.In[0].Value.Len()
		read := sizeOf(c.In[0].Value)
		if flop == 0 {
			n, read = c.Out.Value.Len(), sizeOf(c.Out.Value)
		}
		return Count{flop * float64(n), read + sizeOf(c.In[1].Value) + sizeOf(c.Out.Value), kernels.Call{Op: "elementwise", N: n}}
	}
}

// product is a gemm of m×k by k×n, batch times.
func product(batch, m, n, k int, moved float64) Count {
	return Count{2 * float64(batch) * float64(m) * float64(n) * float64(k), moved, kernels.Call{Op: "gemm", M: m, N: n, K: k}}
}

// matmul is C [.., m, n] = A [.., m, k]·B [.., k, n].
func matmul(c *autograd.Call) Count {
	a, b, y := c.In[0].Value, c.In[1].Value, c.Out.Value
	m, n, k := a.Dim(-2), b.Dim(-1), a.Dim(-1)
	p := product(y.Len()/max(m*n, 1), m, n, k, moved(c))
	p.Kernel.TransA, p.Kernel.TransB = columns(a), columns(b)
	return p
}

// columns reports whether the matrices of t lie by columns.
func columns(t *tensor.Tensor) bool {
	s := t.Strides()
	return t.Dim(-2) > 1 && s[len(s)-2] == 1 && t.Dim(-1) > 1
}

// linear is y [.., n] = x [.., k]·W [n, k]ᵀ, and the sum with b, n a row.
func linear(c *autograd.Call) Count {
	w, y := c.In[1].Value, c.Out.Value
	n, k := w.Dim(0), w.Dim(1)
	p := product(1, y.Len()/max(n, 1), n, k, moved(c))
	if len(c.In) > 2 {
		p.FLOP += float64(y.Len())
	}
	p.Kernel.TransB = true
	return p
}

// linearBF16 writes its operands rounded, too; Explain does not know this product.
func linearBF16(c *autograd.Call) Count {
	p := linear(c)
	p.Kernel = kernels.Call{Op: gemmBF16}
	return p
}

// gemmBF16 stands for kernels.GemmBF16 in Count.Kernel.
const gemmBF16 = "GemmBF16"

// linearBF16VJP reads the saved x̂ and Ŵ and writes what is asked for.
func linearBF16VJP(c *autograd.Call, gy *tensor.Tensor, given []*autograd.Var) Count {
	p := Count{Bytes: sizeOf(gy), Kernel: kernels.Call{Op: gemmBF16}}
	for _, s := range c.Saved {
		p.Bytes += sizeOf(s)
	}
	product := 2 * float64(gy.Len()) * float64(c.In[1].Value.Dim(1))
	for i, g := range given {
		if g == nil {
			continue
		}
		p.Bytes += sizeOf(g.Value)
		if i < 2 {
			p.FLOP += product
		} else {
			p.FLOP += float64(gy.Len())
		}
	}
	return p
}

// linearCrossEntropy is the product of the logits, and one more for each gradient that
// the forward pass makes; rows without a target are left out.
func linearCrossEntropy(c *autograd.Call) Count {
	x, w := c.In[0].Value, c.In[1].Value
	n, v, d := x.Dim(0), w.Dim(0), w.Dim(1)
	for _, id := range int32s(c.In[2].Value) {
		if id < 0 {
			n--
		}
	}
	products := 1
	for _, g := range c.Saved[1:] {
		if g != nil {
			products++
		}
	}
	p := product(products, n, v, d, moved(c))
	p.Kernel.TransB = true
	return p
}

// linearCrossEntropyVJP scales those gradients.
func linearCrossEntropyVJP(c *autograd.Call, gy *tensor.Tensor, given []*autograd.Var) Count {
	p := Count{Bytes: sizeOf(gy)}
	for _, g := range given {
		if g != nil {
			n := g.Value.Len()
			p.FLOP += float64(n)
			p.Bytes += 2 * sizeOf(g.Value)
			p.Kernel = kernels.Call{Op: "elementwise", N: max(n, p.Kernel.N)}
		}
	}
	return p
}

// int32s returns the values of t, or nil where they are not at hand.
func int32s(t *tensor.Tensor) []int32 {
	if t.DType() != tensor.Int32 || t.Device() != tensor.CPU || !t.Contiguous() {
		return nil
	}
	return tensor.Data[int32](t)
}

// attention is two products of B·H·pairs·dh terms; the softmax is not counted.
func attention(c *autograd.Call) Count {
	pairs, width, shape := attentionPairs(c)
	return Count{4 * pairs * width, moved(c), kernels.Call{Op: "attention", Attention: shape}}
}

// attentionVJP is five, since the scores are computed again.
func attentionVJP(c *autograd.Call, gy *tensor.Tensor, given []*autograd.Var) Count {
	pairs, width, shape := attentionPairs(c)
	return Count{10 * pairs * width, movedBack(c, gy, given) + sizeOf(c.Out.Value), kernels.Call{Op: "attention_grad", Attention: shape}}
}

// attentionPairs counts the pairs of a query and a key that it sees, over the batch,
// for all heads, whose sizes together are width.
func attentionPairs(c *autograd.Call) (pairs, width float64, shape *kernels.AttentionShape) {
	q, heads, mask, others := c.In[0].Value, c.N, c.Mask, 1
	batch, tq, tk := q.Dim(0), q.Dim(1), q.Dim(1)
	w := q.Dim(2) / 3
	if c.Op.Name == "attention" { // q, k and v apart
		others = 3
		heads, tk, w = q.Dim(2), c.In[1].Value.Dim(1), q.Dim(2)*q.Dim(3)
	}
	shape = &kernels.AttentionShape{B: batch, H: heads, Tq: tq, Tk: tk, Dh: w / max(heads, 1), Causal: mask == tensor.Causal}
	if mask == tensor.NoMask {
		return float64(batch) * float64(tq) * float64(tk), float64(w), shape
	}
	var first []int32
	if len(c.In) > others {
		first = int32s(c.In[others].Value)
	}
	for b := range batch {
		p := 0
		if first != nil {
			p = int(first[b])
		}
		// Query i sees max(i + 1 + tk − tq, p) keys; the first lie below p.
		n := tk - tq // keys before those of the queries
		low := min(max(p-n, 0), tq)
		pairs += float64(low*p) + float64(tq-low)*float64(2*n+low+1+tq)/2
	}
	return pairs, float64(w), shape
}

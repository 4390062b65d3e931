package tensor

import "fmt"

// MatMul returns a·b for matrices [m, k]·[k, n], or for stacks of them whose
// leading axes broadcast. Transposed views cost nothing. The product of BFloat16 is
// Float32.
func MatMul(a, b *Tensor) *Tensor {
	dev := same("matmul", a, b)
	sameType("matmul", a, b)
	require(a.rank >= 2 && b.rank >= 2, "matmul", "both operands need two axes", a, b)
	m, k, n := a.Dim(-2), a.Dim(-1), b.Dim(-1)
	if k != b.Dim(-2) {
		shapeFail("matmul", fmt.Sprintf("inner sizes %d and %d differ", k, b.Dim(-2)), a, b)
	}
	if a.rank == 2 && b.rank == 2 {
		c := New(dev, productType(a), m, n)
		matmulInto(c, a, b, false)
		return c
	}
	ha, hb := head(a), head(b)
	var buf [maxRank]int
	batch := broadcast("matmul", &ha, &hb, &buf)
	shape := make([]int, 0, maxRank)
	c := New(dev, productType(a), append(append(shape, batch...), m, n)...)
	ae := a.Expand(append(append(shape, batch...), m, k)...)
	be := b.Expand(append(append(shape, batch...), k, n)...)
	defer ae.Recycle()
	defer be.Recycle()
	for i := range count("matmul", batch) {
		ci, ai, bi := matrixAt(c, i), matrixAt(ae, i), matrixAt(be, i)
		matmulInto(ci, ai, bi, false)
		ci.Recycle()
		ai.Recycle()
		bi.Recycle()
	}
	return c
}

// productType is the dtype of a product with a.
func productType(a *Tensor) DType {
	if a.dtype == BFloat16 {
		return Float32
	}
	return a.dtype
}

// MatMulAdd sets c += a·b for matrices; c has unit column stride and the dtype of MatMul.
func MatMulAdd(c, a, b *Tensor) {
	same("matmul", c, a, b)
	sameType("matmul", a, b)
	require(c.dtype == productType(a), "matmul", fmt.Sprintf("the target holds %s, the product %s", c.dtype, productType(a)), a, b, c)
	require(a.rank == 2 && b.rank == 2 && c.rank == 2 && a.dims[1] == b.dims[0] && c.dims[0] == a.dims[0] && c.dims[1] == b.dims[1],
		"matmul", "sizes do not fit", a, b, c)
	require((c.steps[1] == 1 || c.dims[1] == 1) && (c.steps[0] >= c.dims[1] || c.dims[0] == 1), "matmul", "the target has strided columns or repeated rows", c)
	matmulInto(c, a, b, true)
}

func matmulInto(c, a, b *Tensor, accumulate bool) {
	if c.Len() == 0 {
		return
	}
	a, b = unitStride(a), unitStride(b)
	if ops := c.store.dev.ops(c.dtype); a.dtype == BFloat16 {
		ops.MatMulBF16(c, a, b, accumulate)
	} else {
		ops.MatMul(c, a, b, accumulate)
	}
	a.Recycle()
	b.Recycle()
}

// unitStride returns the matrix with one stride of 1, copied if need be.
func unitStride(t *Tensor) *Tensor {
	ok := func(i, j int) bool {
		return (t.steps[j] == 1 || t.dims[j] == 1) && (t.steps[i] >= t.dims[j] || t.dims[i] == 1)
	}
	if ok(0, 1) || ok(1, 0) {
		return t.view()
	}
	return t.Clone()
}

// head is the shape in front of the last two axes, as a tensor for Broadcast.
func head(t *Tensor) Tensor {
	h := *t
	h.rank -= 2
	return h
}

// matrixAt returns the i-th matrix of a stack.
func matrixAt(t *Tensor, i int) *Tensor {
	v := t.view()
	h := head(t)
	v.offset += h.position(i)
	v.rank = 2
	copy(v.dims[:2], t.dims[t.rank-2:t.rank])
	copy(v.steps[:2], t.steps[t.rank-2:t.rank])
	return v
}

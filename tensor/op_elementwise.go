package tensor

import "slices"

// Copy sets dst = src: same shape, any strides and dtypes, the same device. The
// two do not overlap, and no element of dst stands for two.
// Floats are rounded to nearest, once; floats to integers are truncated, then
// clamped to the integer's range, NaN to 0; integers to shorter ones wrap; Bool
// is x ≠ 0.
func Copy(dst, src *Tensor) {
	dev := same("copy", dst, src)
	require(slices.Equal(dst.Shape(), src.Shape()), "copy", "shapes differ", dst, src)
	dev.ops(dst.dtype).Copy(dst, src)
}

// Cast returns a contiguous copy in another dtype.
func Cast(x *Tensor, t DType) *Tensor {
	y := New(x.store.dev, t, x.Shape()...)
	Copy(y, x)
	return y
}

// Fill sets every element of a contiguous tensor.
func Fill(t *Tensor, value float64) {
	require(t.Contiguous(), "fill", "the tensor is a strided view", t)
	if t.Len() > 0 {
		t.store.dev.ops(t.dtype).Fill(t, value)
	}
}

func binary(op string, a, b *Tensor, pick func(*Ops) func(y, a, b *Tensor)) *Tensor {
	dev := same(op, a, b)
	sameType(op, a, b)
	var buf [maxRank]int
	shape := broadcast(op, a, b, &buf)
	y := New(dev, a.dtype, shape...)
	if slices.Equal(a.Shape(), shape) && slices.Equal(b.Shape(), shape) {
		pick(dev.ops(a.dtype))(y, a, b)
		return y
	}
	ae, be := a.Expand(shape...), b.Expand(shape...)
	pick(dev.ops(a.dtype))(y, ae, be)
	ae.Recycle()
	be.Recycle()
	return y
}

// Add returns a + b, broadcast.
func Add(a, b *Tensor) *Tensor {
	return binary("add", a, b, func(o *Ops) func(y, a, b *Tensor) { return o.Add })
}

// Sub returns a − b, broadcast.
func Sub(a, b *Tensor) *Tensor {
	return binary("sub", a, b, func(o *Ops) func(y, a, b *Tensor) { return o.Sub })
}

// Mul returns a·b elementwise, broadcast.
func Mul(a, b *Tensor) *Tensor {
	return binary("mul", a, b, func(o *Ops) func(y, a, b *Tensor) { return o.Mul })
}

// Div returns a/b elementwise, broadcast.
func Div(a, b *Tensor) *Tensor {
	return binary("div", a, b, func(o *Ops) func(y, a, b *Tensor) { return o.Div })
}

// AddInto sets y = y + x: same shape and dtype, y contiguous. x is y or apart
// from it.
func AddInto(y, x *Tensor) {
	dev := same("add", y, x)
	sameType("add", y, x)
	require(slices.Equal(y.Shape(), x.Shape()) && y.Contiguous(), "add", "the target must be contiguous and of the same shape", y, x)
	dev.ops(y.dtype).Add(y, y, x)
}

// MulInto sets y = y·x, x broadcast: same dtype, y contiguous. x is y or apart from
// it.
func MulInto(y, x *Tensor) {
	dev := same("mul", y, x)
	sameType("mul", y, x)
	require(y.Contiguous(), "mul", "the target is a strided view", y)
	e := x.Expand(y.Shape()...)
	defer e.Recycle()
	dev.ops(y.dtype).Mul(y, y, e)
}

func unary(x *Tensor, run func(o *Ops, y, x *Tensor)) *Tensor {
	c := x.Compact()
	defer c.Recycle()
	y := New(x.store.dev, x.dtype, x.Shape()...)
	if x.Len() > 0 {
		run(x.store.dev.ops(x.dtype), y, c)
	}
	return y
}

// Scale returns alpha·x.
func Scale(x *Tensor, alpha float64) *Tensor {
	return unary(x, func(o *Ops, y, x *Tensor) { o.Scale(y, x, alpha) })
}

// AddScalar returns x + alpha.
func AddScalar(x *Tensor, alpha float64) *Tensor {
	return unary(x, func(o *Ops, y, x *Tensor) { o.AddScalar(y, x, alpha) })
}

// Exp returns eˣ.
func Exp(x *Tensor) *Tensor { return unary(x, func(o *Ops, y, x *Tensor) { o.Exp(y, x) }) }

// Log returns ln x.
func Log(x *Tensor) *Tensor { return unary(x, func(o *Ops, y, x *Tensor) { o.Log(y, x) }) }

// Sqrt returns √x.
func Sqrt(x *Tensor) *Tensor { return unary(x, func(o *Ops, y, x *Tensor) { o.Sqrt(y, x) }) }

// Tanh returns tanh x.
func Tanh(x *Tensor) *Tensor { return unary(x, func(o *Ops, y, x *Tensor) { o.Tanh(y, x) }) }

// Erf returns erf x = 2/√π·∫₀ˣ e^−t² dt.
func Erf(x *Tensor) *Tensor { return unary(x, func(o *Ops, y, x *Tensor) { o.Erf(y, x) }) }

// Sigmoid returns σ(x) = 1/(1+e^−x).
func Sigmoid(x *Tensor) *Tensor { return unary(x, func(o *Ops, y, x *Tensor) { o.Sigmoid(y, x) }) }

// SiLU returns x·σ(x).
func SiLU(x *Tensor) *Tensor { return unary(x, func(o *Ops, y, x *Tensor) { o.SiLU(y, x) }) }

// GELU returns the tanh form of GELU.
func GELU(x *Tensor) *Tensor { return unary(x, func(o *Ops, y, x *Tensor) { o.GELU(y, x) }) }

// Axpy sets y += alpha·x: same shape and dtype, y contiguous. x is y or apart
// from it.
func Axpy(y, x *Tensor, alpha float64) {
	dev := same("axpy", y, x)
	sameType("axpy", y, x)
	require(slices.Equal(y.Shape(), x.Shape()) && y.Contiguous(), "axpy", "the target must be contiguous and of the same shape", y, x)
	c := x.Compact()
	defer c.Recycle()
	if y.Len() > 0 {
		dev.ops(y.dtype).Axpy(y, c, alpha)
	}
}

// alike requires equal shapes, dtypes and devices of three operands at most, and
// returns them contiguous; the caller recycles them.
func alike(op string, ts ...*Tensor) (out [3]*Tensor) {
	same(op, ts...)
	for i, t := range ts {
		require(slices.Equal(t.Shape(), ts[0].Shape()) && t.dtype == ts[0].dtype, op, "shapes or dtypes differ", ts...)
		out[i] = t.Compact()
	}
	return out
}

func recycleAll(ts []*Tensor) {
	for _, t := range ts {
		t.Recycle()
	}
}

// SiLUGrad returns the VJP of SiLU, gy·silu′(x).
func SiLUGrad(x, gy *Tensor) *Tensor {
	c := alike("silu-grad", x, gy)
	defer recycleAll(c[:])
	gx := New(x.store.dev, x.dtype, x.Shape()...)
	x.store.dev.ops(x.dtype).SiLUGrad(gx, c[0], c[1])
	return gx
}

// GELUGrad returns the VJP of GELU, gy·gelu′(x).
func GELUGrad(x, gy *Tensor) *Tensor {
	c := alike("gelu-grad", x, gy)
	defer recycleAll(c[:])
	gx := New(x.store.dev, x.dtype, x.Shape()...)
	x.store.dev.ops(x.dtype).GELUGrad(gx, c[0], c[1])
	return gx
}

// SwiGLU returns silu(g)·u.
func SwiGLU(g, u *Tensor) *Tensor {
	c := alike("swiglu", g, u)
	defer recycleAll(c[:])
	y := New(g.store.dev, g.dtype, g.Shape()...)
	g.store.dev.ops(g.dtype).SwiGLU(y, c[0], c[1])
	return y
}

// SwiGLUGrad returns the VJPs of SwiGLU: gy·u·silu′(g) and gy·silu(g).
func SwiGLUGrad(g, u, gy *Tensor) (gg, gu *Tensor) {
	c := alike("swiglu-grad", g, u, gy)
	defer recycleAll(c[:])
	gg = New(g.store.dev, g.dtype, g.Shape()...)
	gu = New(g.store.dev, g.dtype, g.Shape()...)
	g.store.dev.ops(g.dtype).SwiGLUGrad(gg, gu, c[0], c[1], c[2])
	return gg, gu
}

//go:build opengl

package tensor

import (
	"fmt"
	"unsafe"

	"fuerte/kernels"
	"fuerte/kernels/opengl"
)

// OpenGL opens a device on an OpenGL 4.3 driver; FUERTE_OPENGL chooses which
// (see package opengl). It computes in float32, indexes with int32, and
// takes bool where an op asks for it; other dtypes can be stored and brought
// back. Errors: one line that says what is missing.
//
// What the host cannot see there it cannot check: an id or a target outside its
// range gives NaN in its place (Gather, TakeAlong, CrossEntropy) or counts for
// nothing (ScatterAdd, PutAlongAdd). Ops return before the driver has run them;
// its error is the *DeviceError of a later op.
func OpenGL() (*Device, error) {
	c, err := opengl.Open()
	if err != nil {
		return nil, err
	}
	g := &gpu{c: c, dev: &Device{Name: "opengl"}}
	g.dev.alloc, g.dev.free = g.alloc, g.free
	g.dev.upload, g.dev.download = g.upload, g.download
	g.dev.tables[Int32] = &Ops{Copy: g.copy, Fill: g.fill, Gather: g.gather}
	g.dev.tables[Float32] = g.float32()
	for _, t := range []DType{Bool, Uint8} {
		g.dev.tables[t] = &Ops{Copy: g.copyBytes, Fill: g.fillBytes}
	}
	for _, t := range []DType{Int32, Float32} {
		g.index(g.dev.tables[t], t)
	}
	return g.dev.complete(), nil
}

// OpenGLContext returns the context that a tensor of OpenGL lives on, for Info,
// Sync, Trim and Close; nil for a tensor elsewhere.
func OpenGLContext(t *Tensor) *opengl.Context {
	if p, ok := t.store.peer.(gpuMemory); ok {
		return p.c
	}
	return nil
}

type gpu struct {
	c   *opengl.Context
	dev *Device
}

// gpuMemory is the peer of a storage.
type gpuMemory struct {
	opengl.Buffer
	c *opengl.Context
}

// check panics for an error of the driver.
func (g *gpu) check(op string, t DType, err error) {
	if err != nil {
		panic(&DeviceError{Device: g.dev.Name, Op: op, DType: t, Err: err})
	}
}

func (g *gpu) alloc(bytes int) *storage {
	b, err := g.c.Alloc((bytes + 3) / 4)
	g.check("alloc", Uint8, err)
	s := &storage{dev: g.dev, size: bytes, peer: gpuMemory{b, g.c}}
	s.refs.Store(1)
	return s
}

// free gives the memory back; without it the buffer's own cleanup does, when
// the storage is collected.
func (g *gpu) free(s *storage) { g.c.Free(s.peer.(gpuMemory).Buffer) }

// memory returns the whole storage, in words.
func (g *gpu) memory(t *Tensor) opengl.Buffer { return t.store.peer.(gpuMemory).Buffer }

// raw returns the buffer from the tensor's first element to the end of its
// storage.
func (g *gpu) raw(t *Tensor) opengl.Buffer {
	b := g.memory(t)
	return b.Slice(t.offset, b.Len())
}

// data returns the elements of a contiguous tensor, as Data does on the host.
func (g *gpu) data(t *Tensor) opengl.Buffer {
	require(t.Contiguous(), "data", "the tensor is a strided view; call Compact first", t)
	return g.raw(t).Slice(0, t.Len())
}

func (g *gpu) view(t *Tensor) opengl.View { return opengl.View{Buf: g.raw(t), Steps: t.Strides()} }

// words is the host side of a transfer: the context moves 4-byte elements,
// bytes of which the last may be in part beyond the tensor.
func words(bytes int) ([]int32, []byte) {
	w := make([]int32, (bytes+3)/4)
	return w, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(w))), len(w)*4)
}

// upload fills a new tensor, which has its storage to itself.
func (g *gpu) upload(dst *Tensor, src []byte) {
	if len(src) == 0 {
		return
	}
	require(dst.offset == 0, "upload", "the target is a part of a tensor", dst)
	w, mem := words(len(src))
	copy(mem, src)
	g.check("upload", dst.dtype, g.c.UploadInt32(g.memory(dst), w))
}

func (g *gpu) download(src *Tensor, dst []byte) {
	if len(dst) == 0 {
		return
	}
	from := src.offset * src.dtype.Size()
	w, mem := words(from%4 + len(dst))
	b := g.memory(src)
	g.check("download", src.dtype, g.c.DownloadInt32(w, b.Slice(from/4, from/4+len(w))))
	copy(dst, mem[from%4:])
}

func (g *gpu) copy(dst, src *Tensor) {
	if dst.Len() == 0 {
		return
	}
	var err error
	if dst.dtype != src.dtype {
		err = fmt.Errorf("no conversion from %s", src.dtype)
	} else {
		err = g.c.Copy(dst.Shape(), g.view(dst), g.view(src))
	}
	g.check("Copy", dst.dtype, err)
}

func (g *gpu) copyBytes(dst, src *Tensor) {
	if dst.Len() == 0 {
		return
	}
	var err error
	if dst.dtype != src.dtype {
		err = fmt.Errorf("no conversion from %s", src.dtype)
	} else {
		err = g.c.CopyBytes(dst.Shape(), g.bytes(dst), g.bytes(src))
	}
	g.check("Copy", dst.dtype, err)
}

// fillBytes repeats one byte, since a tensor of bytes need not end with a word.
func (g *gpu) fillBytes(dst *Tensor, value float64) {
	v := int32(uint8(value))
	if dst.dtype == Bool && value != 0 {
		v = 1
	}
	one, err := g.c.Alloc(1)
	g.check("Fill", dst.dtype, err)
	defer g.c.Free(one)
	g.check("Fill", dst.dtype, g.c.FillInt32(one, v))
	g.check("Fill", dst.dtype, g.c.CopyBytes([]int{dst.Len()}, opengl.Bools(g.memory(dst), dst.offset, []int{1}), opengl.Bools(one, 0, []int{0})))
}

func (g *gpu) bytes(t *Tensor) opengl.View { return opengl.Bools(g.memory(t), t.offset, t.Strides()) }

func (g *gpu) fill(dst *Tensor, value float64) {
	if dst.dtype == Int32 {
		g.check("Fill", Int32, g.c.FillInt32(g.data(dst), int32(value)))
		return
	}
	g.check("Fill", dst.dtype, g.c.Fill(g.data(dst), float32(value)))
}

func (g *gpu) gather(y, w, id *Tensor) {
	n := w.dims[0]
	g.check("Gather", y.dtype, g.c.GatherRows(g.data(y), g.data(w), g.data(id), id.Len(), n, w.Len()/max(n, 1)))
}

// index fills the ops that compare, pick and move 4-byte elements.
func (g *gpu) index(o *Ops, t DType) {
	c, at, ints := g.c, g.data, t == Int32
	compare := func(op string, k opengl.Comparison) func(y, a, b *Tensor) {
		return func(y, a, b *Tensor) {
			require(y.offset%4 == 0 && y.Contiguous(), op, "the result does not begin a word", y)
			out := g.memory(y)
			g.check(op, t, c.Compare(k, ints, y.Shape(), out.Slice(y.offset/4, out.Len()), g.view(a), g.view(b)))
		}
	}
	o.Less, o.LessEqual, o.Equal = compare("Less", opengl.Less), compare("LessEqual", opengl.LessEqual), compare("Equal", opengl.Equal)
	o.Where = func(y, cond, a, b *Tensor) {
		g.check("Where", t, c.Where(y.Shape(), g.view(y), g.bytes(cond), g.view(a), g.view(b)))
	}
	o.ArgMax = func(y, x *Tensor, outer, n, inner int) {
		g.check("ArgMax", t, c.ArgMax(ints, at(y), at(x), outer, n, inner))
	}
	o.TopK = func(y, id, x *Tensor) {
		rows, n := rows(x)
		g.check("TopK", t, c.TopK(ints, at(y), at(id), at(x), rows, n, y.Dim(-1)))
	}
	o.CumSum = func(y, x *Tensor, outer, n, inner int, reverse bool) {
		g.check("CumSum", t, c.CumSum(ints, at(y), at(x), outer, n, inner, reverse))
	}
	o.TakeAlong = func(y, x, id *Tensor, outer, n, inner int) {
		g.check("TakeAlong", t, c.TakeAlong(at(y), at(x), at(id), outer, id.Len()/max(outer*inner, 1), n, inner))
	}
	o.PutAlongAdd = func(gx, gy, id *Tensor, outer, n, inner int) {
		g.check("PutAlongAdd", t, c.PutAlongAdd(ints, at(gx), at(gy), at(id), outer, id.Len()/max(outer*inner, 1), n, inner))
	}
}

// float32 is the table of the dtype that the shaders compute in.
func (g *gpu) float32() *Ops {
	c, at := g.c, g.data
	return &Ops{
		Copy: g.copy, Fill: g.fill, Gather: g.gather,
		Add: g.binary("Add", c.Add), Sub: g.binary("Sub", c.Sub), Mul: g.binary("Mul", c.Mul), Div: g.binary("Div", c.Div),
		Scale: g.scalar("Scale", c.Scale), AddScalar: g.scalar("AddScalar", c.AddScalar), Axpy: g.scalar("Axpy", c.Axpy),
		Exp: g.unary("Exp", c.Exp), Log: g.unary("Log", c.Log), Sqrt: g.unary("Sqrt", c.Sqrt), Tanh: g.unary("Tanh", c.Tanh),
		Erf: g.unary("Erf", c.Erf), Sigmoid: g.unary("Sigmoid", c.Sigmoid),
		SiLU: g.unary("SiLU", c.SiLU), GELU: g.unary("GELU", c.GELU),
		SiLUGrad: g.vector3("SiLUGrad", c.SiLUGrad), GELUGrad: g.vector3("GELUGrad", c.GELUGrad), SwiGLU: g.vector3("SwiGLU", c.SwiGLU),
		SwiGLUGrad: func(gg, gu, gate, u, gy *Tensor) {
			g.check("SwiGLUGrad", Float32, c.SwiGLUGrad(at(gg), at(gu), at(gate), at(u), at(gy)))
		},
		Sum: func(y, x *Tensor, outer, n, inner int) {
			g.check("Sum", Float32, c.ReduceSum(at(y), at(x), outer, n, inner))
		},
		Max: func(y, x *Tensor, outer, n, inner int) {
			g.check("Max", Float32, c.ReduceMax(at(y), at(x), outer, n, inner))
		},
		MatMul: g.matmul,
		Softmax: func(y, x *Tensor) {
			n, d := rows(x)
			g.check("Softmax", Float32, c.Softmax(at(y), at(x), n, d))
		},
		SoftmaxGrad: func(gx, y, gy *Tensor) {
			n, d := rows(y)
			g.check("SoftmaxGrad", Float32, c.SoftmaxGrad(at(gx), at(y), at(gy), n, d))
		},
		RMSNorm: func(y, r, x, w *Tensor, eps float64) {
			n, d := rows(x)
			g.check("RMSNorm", Float32, c.RMSNorm(at(y), at(r), at(x), at(w), n, d, eps))
		},
		RMSNormGrad: func(gx, gw, x, w, gy, r *Tensor) {
			n, d := rows(x)
			g.check("RMSNormGrad", Float32, c.RMSNormGrad(at(gx), at(gw), at(x), at(w), at(gy), at(r), n, d))
		},
		LayerNorm: func(y, mean, r, x, w, b *Tensor, eps float64) {
			n, d := rows(x)
			g.check("LayerNorm", Float32, c.LayerNorm(at(y), at(mean), at(r), at(x), at(w), at(b), n, d, eps))
		},
		LayerNormGrad: func(gx, gw, gb, x, w, gy, mean, r *Tensor) {
			n, d := rows(x)
			g.check("LayerNormGrad", Float32, c.LayerNormGrad(at(gx), at(gw), at(gb), at(x), at(w), at(gy), at(mean), at(r), n, d))
		},
		CrossEntropy: func(loss, lse, x, target *Tensor) {
			n, d := rows(x)
			g.check("CrossEntropy", Float32, c.CrossEntropy(at(loss), at(lse), at(x), at(target), n, d))
		},
		CrossEntropyGrad: func(gx, x, lse, target, gy *Tensor) {
			n, d := rows(x)
			g.check("CrossEntropyGrad", Float32, c.CrossEntropyGrad(at(gx), at(x), at(lse), at(target), at(gy), n, d))
		},
		LinearCrossEntropy: g.linearCrossEntropy,
		ScatterAdd: func(gw, gy, id *Tensor) {
			n, d := rows(gw)
			g.check("ScatterAdd", Float32, c.ScatterAddRows(at(gw), at(gy), at(id), id.Len(), n, d))
		},
		Attention:     g.attention,
		AttentionGrad: g.attentionGrad,
		AdamW: func(p, m, v, grad *Tensor, s *kernels.AdamWStep[float64]) {
			g.check("AdamW", Float32, c.AdamW(at(p), at(m), at(v), at(grad), opengl.AdamWStep{
				Clip: float32(s.Clip), Beta1: float32(s.Beta1), Beta2: float32(s.Beta2), Keep: float32(s.Keep),
				Rate: float32(s.Rate), RSqrtC2: float32(s.RSqrtC2), Eps: float32(s.Eps)}))
		},
		SumSquares: g.sumSquares,
	}
}

func (g *gpu) unary(op string, f func(y, x opengl.Buffer) error) func(y, x *Tensor) {
	return func(y, x *Tensor) { g.check(op, Float32, f(g.data(y), g.data(x))) }
}

func (g *gpu) scalar(op string, f func(y, x opengl.Buffer, alpha float32) error) func(y, x *Tensor, alpha float64) {
	return func(y, x *Tensor, alpha float64) { g.check(op, Float32, f(g.data(y), g.data(x), float32(alpha))) }
}

func (g *gpu) vector3(op string, f func(a, b, c opengl.Buffer) error) func(a, b, c *Tensor) {
	return func(a, b, c *Tensor) { g.check(op, Float32, f(g.data(a), g.data(b), g.data(c))) }
}

func (g *gpu) binary(op string, f func(shape []int, y, a, b opengl.View) error) func(y, a, b *Tensor) {
	return func(y, a, b *Tensor) {
		if y.Len() > 0 {
			g.check(op, Float32, f(y.Shape(), g.view(y), g.view(a), g.view(b)))
		}
	}
}

func (g *gpu) matmul(c, a, b *Tensor, accumulate bool) {
	m, k, n := a.dims[0], a.dims[1], b.dims[1]
	ta, lda := matrixOrder(a)
	tb, ldb := matrixOrder(b)
	g.check("MatMul", Float32, g.c.Gemm(ta, tb, m, n, k, g.raw(a), lda, g.raw(b), ldb, g.raw(c), max(c.steps[0], n), accumulate))
}

// gpuLogits is how many logits linearCrossEntropy holds, if a row has not more.
var gpuLogits = 1 << 22

// linearCrossEntropy is made of other ops, for some rows at a time. Ignored rows, which the host cannot see, are multiplied with zeros: NaN or
// Inf in one reaches gw.
func (g *gpu) linearCrossEntropy(loss, gx, gw, x, w, target, weight *Tensor) {
	const op = "LinearCrossEntropy"
	n, d := rows(x)
	v := w.dims[0]
	if n == 0 && gw != nil {
		g.fill(gw, 0)
	}
	if n == 0 {
		return
	}
	most := min(n, max(1, gpuLogits/v))
	scratch, err := g.c.Alloc(most*v + most)
	g.check(op, Float32, err)
	defer g.c.Free(scratch)
	for lo := 0; lo < n; lo += most {
		m := min(most, n-lo)
		part := func(t *Tensor, width int) opengl.Buffer { return g.data(t).Slice(lo*width, (lo+m)*width) }
		z, lse := scratch.Slice(0, m*v), scratch.Slice(most*v, most*v+m)
		g.check(op, Float32, g.c.Gemm(false, true, m, v, d, part(x, d), d, g.data(w), d, z, v, false))
		g.check(op, Float32, g.c.CrossEntropy(part(loss, 1), lse, z, part(target, 1), m, v))
		if gx != nil || gw != nil {
			g.check(op, Float32, g.c.CrossEntropyGrad(z, z, lse, part(target, 1), part(weight, 1), m, v))
		}
		if gx != nil {
			g.check(op, Float32, g.c.Gemm(false, false, m, d, v, z, v, g.data(w), d, part(gx, d), d, false))
		}
		if gw != nil {
			g.check(op, Float32, g.c.Gemm(true, false, v, d, m, z, v, part(x, d), d, g.data(gw), d, lo > 0))
		}
	}
}

func (g *gpu) attentionShape(q, k, v, o *Tensor, m Mask, prefix *Tensor) *opengl.AttentionShape {
	s := attentionShape(q, k, v, o, m, nil)
	a := &opengl.AttentionShape{B: s.B, H: s.H, Tq: s.Tq, Tk: s.Tk, Dh: s.Dh,
		LdQ: s.LdQ, LdK: s.LdK, LdV: s.LdV, LdO: s.LdO, BatchQ: s.BatchQ, BatchK: s.BatchK, BatchV: s.BatchV, BatchO: s.BatchO,
		Scale: float32(s.Scale), Causal: s.Causal}
	if prefix != nil {
		a.Prefix = g.data(prefix)
	}
	return a
}

func (g *gpu) attention(o, lse, q, k, v *Tensor, m Mask, prefix *Tensor) {
	var l opengl.Buffer
	if lse != nil {
		l = g.data(lse)
	}
	g.check("Attention", Float32, g.c.Attention(g.raw(o), l, g.raw(q), g.raw(k), g.raw(v), g.attentionShape(q, k, v, o, m, prefix)))
}

func (g *gpu) attentionGrad(gq, gk, gv, q, k, v, o, lse, gy *Tensor, m Mask, prefix *Tensor) {
	g.check("AttentionGrad", Float32, g.c.AttentionGrad(g.raw(gq), g.raw(gk), g.raw(gv), g.raw(q), g.raw(k), g.raw(v),
		g.raw(o), g.data(lse), g.raw(gy), g.attentionShape(q, k, v, o, m, prefix)))
}

// sumSquares waits for the device, since its result is a number of the host.
func (g *gpu) sumSquares(x *Tensor) float64 {
	y, err := g.c.Alloc(1)
	g.check("SumSquares", Float32, err)
	defer g.c.Free(y)
	g.check("SumSquares", Float32, g.c.SumSquares(y, g.data(x)))
	var sum [1]float32
	g.check("SumSquares", Float32, g.c.Download(sum[:], y))
	return float64(sum[0])
}

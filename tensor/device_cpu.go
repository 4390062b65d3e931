package tensor

import "fuerte/kernels"

// CPU is the host: the vector kernels of package kernels on all cores, at
// float64 the reference kernels. Storage dtypes can be copied, cast, gathered
// and picked from; integers can be compared and summed along too.
var CPU = newCPU()

func newCPU() *Device {
	pool := new(hostPool)
	d := &Device{Name: "cpu", free: pool.put}
	d.alloc = func(bytes int) *storage { return pool.alloc(d, bytes) }
	d.upload = func(dst *Tensor, src []byte) { copy(dst.bytes(), src) }
	d.download = func(src *Tensor, dst []byte) { copy(dst, src.bytes()) }
	for t := range d.tables {
		d.tables[t] = &Ops{Copy: copyCPU, Fill: fillCPU, Gather: gatherCPU, Where: whereCPU, TakeAlong: takeAlongCPU}
	}
	fillIndex[float32, float64](d.tables[Float32])
	fillIndex[float64, float64](d.tables[Float64])
	fillIndex[int32, int64](d.tables[Int32])
	fillIndex[int64, int64](d.tables[Int64])
	fillIndex[uint8, int64](d.tables[Uint8])
	host[float32]{kernels.F32}.fill(d.tables[Float32])
	d.tables[Float32].MatMulBF16 = matmulBF16
	host[float64]{kernels.F64}.fill(d.tables[Float64])
	return d.complete()
}

// host fills the table of one compute dtype. The set is asked for at the first
// use, so that a bad FUERTE_ISA is an error of kernels.Choose, not of start-up.
type host[T kernels.Float] struct{ set func() *kernels.Set[T] }

func (h host[T]) fill(o *Ops) {
	o.Add = h.binary(func(s *kernels.Set[T]) func(y, a, b []T) { return s.Add })
	o.Sub = h.binary(func(s *kernels.Set[T]) func(y, a, b []T) { return s.Sub })
	o.Mul = h.binary(func(s *kernels.Set[T]) func(y, a, b []T) { return s.Mul })
	o.Div = h.binary(func(s *kernels.Set[T]) func(y, a, b []T) { return s.Div })
	o.Exp = h.unary(func(s *kernels.Set[T]) func(y, x []T) { return s.Exp })
	o.Log = h.unary(func(s *kernels.Set[T]) func(y, x []T) { return s.Log })
	o.Sqrt = h.unary(func(s *kernels.Set[T]) func(y, x []T) { return s.Sqrt })
	o.Tanh = h.unary(func(s *kernels.Set[T]) func(y, x []T) { return s.Tanh })
	o.Erf = h.unary(func(s *kernels.Set[T]) func(y, x []T) { return s.Erf })
	o.Sigmoid = h.unary(func(s *kernels.Set[T]) func(y, x []T) { return s.Sigmoid })
	o.SiLU = h.unary(func(s *kernels.Set[T]) func(y, x []T) { return s.SiLU })
	o.GELU = h.unary(func(s *kernels.Set[T]) func(y, x []T) { return s.GELU })
	o.SiLUGrad = h.vector3(func(s *kernels.Set[T]) func(a, b, c []T) { return s.SiLUGrad })
	o.GELUGrad = h.vector3(func(s *kernels.Set[T]) func(a, b, c []T) { return s.GELUGrad })
	o.SwiGLU = h.vector3(func(s *kernels.Set[T]) func(a, b, c []T) { return s.SwiGLU })
	o.SwiGLUGrad = func(gg, gu, g, u, gy *Tensor) {
		a, b, c, d, e := Data[T](gg), Data[T](gu), Data[T](g), Data[T](u), Data[T](gy)
		kernels.ChunksOf(len(a), vectors5[T]{h.set().Into(len(a)).SwiGLUGrad, a, b, c, d, e})
	}
	o.Scale = func(y, x *Tensor, alpha float64) {
		a := Data[T](y)
		kernels.ChunksOf(len(a), scaled[T]{h.set().Into(len(a)).Scale, a, Data[T](x), T(alpha)})
	}
	o.Axpy = func(y, x *Tensor, alpha float64) {
		a := Data[T](y)
		kernels.ChunksOf(len(a), scaled[T]{h.set().Axpy, a, Data[T](x), T(alpha)})
	}
	add := addScalar[T]
	o.AddScalar = func(y, x *Tensor, alpha float64) {
		a := Data[T](y)
		kernels.ChunksOf(len(a), scaled[T]{add, a, Data[T](x), T(alpha)})
	}
	o.Sum = func(y, x *Tensor, outer, n, inner int) {
		kernels.ReduceSum(h.set(), Data[T](y), Data[T](x), outer, n, inner)
	}
	o.Max = func(y, x *Tensor, outer, n, inner int) {
		kernels.ReduceMax(h.set(), Data[T](y), Data[T](x), outer, n, inner)
	}
	o.MatMul = h.matmul
	o.Softmax = func(y, x *Tensor) {
		n, d := rows(x)
		kernels.Softmax(h.set(), Data[T](y), Data[T](x), n, d)
	}
	o.SoftmaxGrad = func(gx, y, gy *Tensor) {
		n, d := rows(y)
		kernels.SoftmaxGrad(h.set(), Data[T](gx), Data[T](y), Data[T](gy), n, d)
	}
	o.RMSNorm = func(y, r, x, w *Tensor, eps float64) {
		n, d := rows(x)
		kernels.RMSNorm(h.set(), Data[T](y), Data[T](r), Data[T](x), Data[T](w), n, d, eps)
	}
	o.RMSNormGrad = func(gx, gw, x, w, gy, r *Tensor) {
		n, d := rows(x)
		kernels.RMSNormGrad(h.set(), Data[T](gx), Data[T](gw), Data[T](x), Data[T](w), Data[T](gy), Data[T](r), n, d)
	}
	o.LayerNorm = func(y, mean, r, x, w, b *Tensor, eps float64) {
		n, d := rows(x)
		kernels.LayerNorm(h.set(), Data[T](y), Data[T](mean), Data[T](r), Data[T](x), Data[T](w), Data[T](b), n, d, eps)
	}
	o.LayerNormGrad = func(gx, gw, gb, x, w, gy, mean, r *Tensor) {
		n, d := rows(x)
		kernels.LayerNormGrad(h.set(), Data[T](gx), Data[T](gw), Data[T](gb), Data[T](x), Data[T](w), Data[T](gy), Data[T](mean), Data[T](r), n, d)
	}
	o.CrossEntropy = func(loss, lse, x, target *Tensor) {
		n, d := rows(x)
		kernels.CrossEntropy(h.set(), Data[T](loss), Data[T](lse), Data[T](x), Data[int32](target), n, d)
	}
	o.CrossEntropyGrad = func(gx, x, lse, target, gy *Tensor) {
		n, d := rows(x)
		kernels.CrossEntropyGrad(h.set(), Data[T](gx), Data[T](x), Data[T](lse), Data[int32](target), Data[T](gy), n, d)
	}
	o.LinearCrossEntropy = func(loss, gx, gw, x, w, target, weight *Tensor) {
		n, d := rows(x)
		kernels.LinearCrossEntropy(h.set(), Data[T](loss), h.dataOrNil(gx), h.dataOrNil(gw), Data[T](x), Data[T](w), Data[int32](target), Data[T](weight), n, d, w.dims[0])
	}
	o.ScatterAdd = func(gw, gy, id *Tensor) {
		n, d := rows(gw)
		kernels.ScatterAddRows(h.set(), Data[T](gw), Data[T](gy), Data[int32](id), n, d)
	}
	o.Attention = h.attention
	o.AttentionGrad = h.attentionGrad
	o.AdamW = func(p, m, v, g *Tensor, step *kernels.AdamWStep[float64]) {
		st := kernels.AdamWStep[T]{Clip: T(step.Clip), Beta1: T(step.Beta1), Beta2: T(step.Beta2), Keep: T(step.Keep),
			Rate: T(step.Rate), RSqrtC2: T(step.RSqrtC2), Eps: T(step.Eps)}
		kernels.AdamW(h.set(), Data[T](p), Data[T](m), Data[T](v), Data[T](g), &st)
	}
	o.SumSquares = func(x *Tensor) float64 { return kernels.SumSquares(h.set(), Data[T](x)) }
}

// rows returns the shape of x seen as a matrix of its last axis.
func rows(x *Tensor) (n, d int) {
	d = x.Dim(-1)
	return x.Len() / max(d, 1), d
}

// dataOrNil is Data of a result that may not be asked for.
func (h host[T]) dataOrNil(t *Tensor) []T {
	if t == nil {
		return nil
	}
	return Data[T](t)
}

func (h host[T]) unary(pick func(*kernels.Set[T]) func(y, x []T)) func(y, x *Tensor) {
	return func(y, x *Tensor) {
		a, b := Data[T](y), Data[T](x)
		kernels.ChunksOf(len(a), vectors2[T]{pick(h.set().Into(len(a))), a, b})
	}
}

func (h host[T]) vector3(pick func(*kernels.Set[T]) func(a, b, c []T)) func(a, b, c *Tensor) {
	return func(at, bt, ct *Tensor) {
		a, b, c := Data[T](at), Data[T](bt), Data[T](ct)
		kernels.ChunksOf(len(a), vectors3[T]{pick(h.set().Into(len(a))), a, b, c})
	}
}

// binary runs a vector kernel over operands of any strides: in one piece where
// both are contiguous, else row by row of the last axes that are.
func (h host[T]) binary(pick func(*kernels.Set[T]) func(y, a, b []T)) func(y, a, b *Tensor) {
	return func(y, a, b *Tensor) {
		out := Data[T](y)
		if len(out) == 0 {
			return
		}
		k := pick(h.set().Into(len(out)))
		if a.Contiguous() && b.Contiguous() {
			kernels.ChunksOf(len(out), vectors3[T]{k, out, Data[T](a), Data[T](b)})
			return
		}
		run := min(contiguousRun(a), contiguousRun(b))
		if run == 1 && y.rank > 0 {
			// A strided or repeated last axis: compact what is not contiguous, of what is
			// one element throughout no more than a piece.
			ac, p := pieces(a)
			bc, q := pieces(b)
			kernels.RowsOf((len(out)+piece-1)/piece, piece, repeated[T]{k, out, Data[T](ac), Data[T](bc), p, q})
			ac.Recycle()
			bc.Recycle()
			return
		}
		kernels.RowsOf(len(out)/run, run, stridedRows[T]{k, out, a, b, run})
	}
}

// The Work of elementwise ops: a kernel and its vectors.
type (
	vectors2[T kernels.Float] struct {
		kernel func(a, b []T)
		a, b   []T
	}
	vectors3[T kernels.Float] struct {
		kernel  func(a, b, c []T)
		a, b, c []T
	}
	vectors5[T kernels.Float] struct {
		kernel        func(a, b, c, d, e []T)
		a, b, c, d, e []T
	}
	scaled[T kernels.Float] struct {
		kernel func(a, b []T, alpha T)
		a, b   []T
		alpha  T
	}
	repeated[T kernels.Float] struct {
		kernel  func(y, a, b []T)
		y, a, b []T
		p, q    int // steps from element to element
	}
	stridedRows[T kernels.Float] struct {
		kernel func(y, a, b []T)
		y      []T
		a, b   *Tensor
		run    int
	}
)

func (v *vectors2[T]) Run(lo, hi int) { v.kernel(v.a[lo:hi], v.b[lo:hi]) }
func (v *vectors3[T]) Run(lo, hi int) { v.kernel(v.a[lo:hi], v.b[lo:hi], v.c[lo:hi]) }
func (v *vectors5[T]) Run(lo, hi int) {
	v.kernel(v.a[lo:hi], v.b[lo:hi], v.c[lo:hi], v.d[lo:hi], v.e[lo:hi])
}
func (v *scaled[T]) Run(lo, hi int) { v.kernel(v.a[lo:hi], v.b[lo:hi], v.alpha) }

// Run does pieces lo…hi, each of the same elements of an operand whose step is 0.
func (v *repeated[T]) Run(lo, hi int) {
	for i := lo * piece; i < min(hi*piece, len(v.y)); i += piece {
		n := min(piece, len(v.y)-i)
		v.kernel(v.y[i:i+n], v.a[v.p*i:v.p*i+n], v.b[v.q*i:v.q*i+n])
	}
}

func (v *stridedRows[T]) Run(lo, hi int) {
	x, z := raw[T](v.a), raw[T](v.b)
	for i := lo; i < hi; i++ {
		p, q := v.a.position(i*v.run), v.b.position(i*v.run)
		v.kernel(v.y[i*v.run:(i+1)*v.run], x[p:p+v.run], z[q:q+v.run])
	}
}

func addScalar[T kernels.Float](y, x []T, alpha T) {
	for i, v := range x {
		y[i] = v + alpha
	}
}

const piece = 1 << 12

// pieces returns t contiguous and 1, the step from element to element; or, where t is
// one element throughout, as many of it as a piece has, and 0.
func pieces(t *Tensor) (*Tensor, int) {
	if t.Len() <= piece {
		return t.Compact(), 1
	}
	for i, step := range t.Strides() {
		if step != 0 && t.dims[i] != 1 {
			return t.Compact(), 1
		}
	}
	one := t.view()
	one.rank, one.dims[0], one.steps[0] = 1, piece, 0
	defer one.Recycle()
	return one.Compact(), 0
}

// contiguousRun returns the largest product of trailing axes over which the
// tensor is contiguous; 1 if even the last axis is not.
func contiguousRun(t *Tensor) int {
	run := 1
	for i := t.rank - 1; i >= 0; i-- {
		if t.dims[i] != 1 && t.steps[i] != run {
			break
		}
		run *= t.dims[i]
	}
	return run
}

// position returns where element i, in row-major order, stands relative to the
// first.
func (t *Tensor) position(i int) int {
	p := 0
	for a := t.rank - 1; a >= 0 && i > 0; a-- {
		p += i % t.dims[a] * t.steps[a]
		i /= t.dims[a]
	}
	return p
}

func (h host[T]) matmul(c, a, b *Tensor, accumulate bool) {
	ta, lda := matrixOrder(a)
	tb, ldb := matrixOrder(b)
	kernels.Gemm(h.set(), ta, tb, a.dims[0], b.dims[1], a.dims[1], raw[T](a), lda, raw[T](b), ldb, raw[T](c), rowStride(c), accumulate)
}

func matmulBF16(c, a, b *Tensor, accumulate bool) {
	ta, lda := matrixOrder(a)
	tb, ldb := matrixOrder(b)
	kernels.GemmBF16(kernels.F32(), ta, tb, a.dims[0], b.dims[1], a.dims[1], raw[BF16](a), lda, raw[BF16](b), ldb, raw[float32](c), rowStride(c), accumulate)
}

// rowStride is that of a result; that of a single row may be anything.
func rowStride(c *Tensor) int {
	if c.dims[0] == 1 {
		return c.dims[1]
	}
	return c.steps[0]
}

// matrixOrder tells whether a matrix is stored transposed, and its row stride
// as stored.
func matrixOrder(t *Tensor) (transposed bool, ld int) {
	if t.steps[1] == 1 || t.dims[1] == 1 {
		return false, max(t.steps[0], t.dims[1])
	}
	return true, max(t.steps[1], t.dims[0])
}

package tensor

import (
	"math"

	"fuerte/kernels"
)

// copyCPU walks both views in row-major order, in runs over which both are
// contiguous; a run of another dtype is converted by a kernel where there is one,
// else through a buffer.
func copyCPU(dst, src *Tensor) {
	n := dst.Len()
	if n == 0 {
		return
	}
	run := min(contiguousRun(dst), contiguousRun(src))
	if run == 1 && dst.rank > 0 && dst.dtype == src.dtype {
		copyStrided(dst, src)
		return
	}
	if run > 1 && copyHalves(dst, src, run) {
		return
	}
	kernels.RowsOf(n/run, run, copyRuns{dst, src, run})
}

// copyRuns copies runs over which both tensors are contiguous.
type copyRuns struct {
	dst, src *Tensor
	run      int
}

func (c *copyRuns) Run(lo, hi int) {
	dst, src, run, size := c.dst, c.src, c.run, c.dst.dtype.Size()
	var buf convertBuffer
	for i := lo; i < hi; i++ {
		p, q := dst.position(i*run), src.position(i*run)
		if dst.dtype == src.dtype {
			p, q = (dst.offset+p)*size, (src.offset+q)*size
			copy(dst.store.mem[p:p+run*size], src.store.mem[q:q+run*size])
			continue
		}
		for at := 0; at < run; at += len(buf.floats) {
			convert(dst, p+at, src, q+at, min(run-at, len(buf.floats)), &buf)
		}
	}
}

// copyHalves converts runs between float32 and a 16-bit float by a kernel; it
// reports whether there is one for the two dtypes.
func copyHalves(dst, src *Tensor, run int) bool {
	switch s := kernels.F32(); [2]DType{dst.dtype, src.dtype} {
	case [2]DType{Float32, BFloat16}:
		convertHalves(dst, src, run, s.FromBF16)
	case [2]DType{BFloat16, Float32}:
		convertHalves(dst, src, run, s.ToBF16)
	case [2]DType{Float32, Float16}:
		convertHalves(dst, src, run, s.FromF16)
	case [2]DType{Float16, Float32}:
		convertHalves(dst, src, run, s.ToF16)
	default:
		return false
	}
	return true
}

// halfPiece is what a kernel is given at once: a run may be the whole tensor.
const halfPiece = 1 << 14

func convertHalves[D, S Elem](dst, src *Tensor, run int, kernel func(y []D, x []S)) {
	pieces := (run + halfPiece - 1) / halfPiece
	kernels.RowsOf(dst.Len()/run*pieces, min(run, halfPiece), halfRuns[D, S]{kernel, dst, src, run, pieces})
}

// halfRuns converts pieces of runs.
type halfRuns[D, S Elem] struct {
	kernel      func(y []D, x []S)
	dst, src    *Tensor
	run, pieces int
}

func (c *halfRuns[D, S]) Run(lo, hi int) {
	y, x := raw[D](c.dst), raw[S](c.src)
	for i := lo; i < hi; i++ {
		first, at := i/c.pieces*c.run, i%c.pieces*halfPiece
		p, q, n := c.dst.position(first)+at, c.src.position(first)+at, min(c.run-at, halfPiece)
		c.kernel(y[p:p+n], x[q:q+n])
	}
}

// copyStrided copies element by element along the last axis.
func copyStrided(dst, src *Tensor) {
	switch dst.dtype.Size() {
	case 1:
		copyLines[uint8](dst, src)
	case 2:
		copyLines[BF16](dst, src)
	case 4:
		copyLines[float32](dst, src)
	case 8:
		copyLines[float64](dst, src)
	}
}

func copyLines[E Elem](dst, src *Tensor) {
	n := dst.dims[dst.rank-1]
	kernels.RowsOf(dst.Len()/n, n, lineCopy[E]{dst, src, n})
}

// lineCopy copies lines of n elements.
type lineCopy[E Elem] struct {
	dst, src *Tensor
	n        int
}

func (c *lineCopy[E]) Run(lo, hi int) {
	d, s := raw[E](c.dst), raw[E](c.src)
	ds, ss := lastStep(c.dst), lastStep(c.src)
	for i := lo; i < hi; i++ {
		p, q := c.dst.position(i*c.n), c.src.position(i*c.n)
		for range c.n {
			d[p] = s[q]
			p, q = p+ds, q+ss
		}
	}
}

// convertBuffer holds one piece of a run between two dtypes: as int64 where the
// source is an integer, and as float64 always. Nothing is rounded twice.
type convertBuffer struct {
	floats [256]float64
	ints   [256]int64
}

func convert(dst *Tensor, p int, src *Tensor, q, n int, b *convertBuffer) {
	integer := isInteger(src.dtype)
	switch src.dtype {
	case Float32:
		load(b, raw[float32](src)[q:q+n])
	case Float64:
		load(b, raw[float64](src)[q:q+n])
	case Int32:
		load(b, raw[int32](src)[q:q+n])
	case Int64:
		for i, v := range raw[int64](src)[q : q+n] {
			b.ints[i] = v
			if v >= 1<<53 || v <= -1<<53 {
				v = stickyBits(v)
			}
			b.floats[i] = float64(v)
		}
	case Uint8:
		load(b, raw[uint8](src)[q:q+n])
	case Bool:
		for i, v := range raw[bool](src)[q : q+n] {
			b.ints[i] = 0
			if v {
				b.ints[i] = 1
			}
			b.floats[i] = float64(b.ints[i])
		}
	case BFloat16:
		for i, v := range raw[BF16](src)[q : q+n] {
			b.floats[i] = float64(v.Float32())
		}
	case Float16:
		for i, v := range raw[F16](src)[q : q+n] {
			b.floats[i] = float64(v.Float32())
		}
	}
	switch dst.dtype {
	case Float32:
		store(raw[float32](dst)[p:p+n], b, integer)
	case Float64:
		store(raw[float64](dst)[p:p+n], b, integer)
	case Int32:
		store(raw[int32](dst)[p:p+n], b, integer)
	case Int64:
		store(raw[int64](dst)[p:p+n], b, integer)
	case Uint8:
		store(raw[uint8](dst)[p:p+n], b, integer)
	case Bool:
		for i, out := 0, raw[bool](dst)[p:p+n]; i < n; i++ {
			out[i] = b.floats[i] != 0
		}
	case BFloat16:
		for i, out := 0, raw[BF16](dst)[p:p+n]; i < n; i++ {
			out[i] = kernels.ToBF16(b.floats[i])
		}
	case Float16:
		for i, out := 0, raw[F16](dst)[p:p+n]; i < n; i++ {
			out[i] = kernels.ToF16(b.floats[i])
		}
	}
}

func isInteger(t DType) bool { return t == Int32 || t == Int64 || t == Uint8 || t == Bool }

type number interface {
	float32 | float64 | int32 | int64 | uint8
}

func load[S number](b *convertBuffer, src []S) {
	for i, v := range src {
		b.floats[i] = float64(v)
	}
	if S(1)/2 != 0 {
		return
	}
	for i, v := range src {
		b.ints[i] = int64(v)
	}
}

// stickyBits rounds a large integer to odd, to as many bits as a float64 has.
func stickyBits(v int64) int64 {
	if v&0x7ff != 0 {
		return v&^0x7ff | 0x800
	}
	return v
}

func store[D number](dst []D, b *convertBuffer, integer bool) {
	if integer {
		for i := range dst {
			dst[i] = D(b.ints[i])
		}
		return
	}
	for i := range dst {
		dst[i] = fromFloat[D](b.floats[i])
	}
}

// fromFloat converts as Copy says. Go leaves it to the machine what a float
// outside of an integer's range becomes.
func fromFloat[D number](v float64) D {
	var low, high float64
	switch any(*new(D)).(type) {
	case float32, float64:
		return D(v)
	case int32:
		low, high = math.MinInt32, math.MaxInt32
	case uint8:
		low, high = 0, math.MaxUint8
	case int64:
		if top := int64(math.MaxInt64); v >= math.MaxInt64 { // as a float64 that is 2⁶³
			return D(top)
		}
		low, high = math.MinInt64, math.MaxInt64
	}
	if v != v {
		return 0
	}
	return D(min(max(v, low), high))
}

func fillCPU(dst *Tensor, value float64) {
	switch dst.dtype {
	case Float32:
		fillWith(dst, float32(value))
	case Float64:
		fillWith(dst, value)
	case Int32:
		fillWith(dst, fromFloat[int32](value))
	case Int64:
		fillWith(dst, fromFloat[int64](value))
	case Uint8:
		fillWith(dst, fromFloat[uint8](value))
	case Bool:
		fillWith(dst, value != 0)
	case BFloat16:
		fillWith(dst, kernels.ToBF16(value))
	case Float16:
		fillWith(dst, kernels.ToF16(value))
	}
}

func fillWith[E Elem](dst *Tensor, v E) {
	d := Data[E](dst)
	kernels.ChunksOf(len(d), filling[E]{d, v})
}

// filling sets elements to one value.
type filling[E Elem] struct {
	d []E
	v E
}

func (f *filling[E]) Run(lo, hi int) {
	d := f.d[lo:hi]
	for i := range d {
		d[i] = f.v
	}
}

func gatherCPU(y, w, id *Tensor) {
	n, d := w.dims[0], w.Len()/max(w.dims[0], 1)
	size := w.dtype.Size()
	kernels.GatherRows(y.bytes()[:y.Len()*size], w.bytes()[:w.Len()*size], Data[int32](id), n, d*size)
}

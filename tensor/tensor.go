// Package tensor holds strided tensors: shape, strides, dtype, storage, device,
// and eager ops on them without gradients.
//
// A view (Narrow, Permute, Expand, Reshape where it can) shares storage and
// costs no copy. Ops check shapes, allocate the result on the device of their
// operands, and call the device. A shape mistake is the caller's bug and panics
// with *ShapeError; an op that a device lacks panics with *DeviceError, since
// nothing is ever copied to another device silently. Functions that take files,
// data or drivers return errors.
package tensor

import (
	"fmt"
	"sync"
	"unsafe"
)

// Tensor is a view of storage: element i₀…iₙ stands at offset + Σ i·stride, in
// elements. Tensors are values to read; only ops whose comment says so write.
type Tensor struct {
	store   *storage
	offset  int
	dtype   DType
	rank    int
	dims    [maxRank]int
	steps   [maxRank]int
	dropped bool // Release was called
	pooled  bool // Recycle was called: another tensor may be made of it
}

// headers keeps recycled Tensors.
var headers struct {
	mu   sync.Mutex
	free []*Tensor
}

// header returns a Tensor to be filled in.
func header() *Tensor {
	headers.mu.Lock()
	defer headers.mu.Unlock()
	n := len(headers.free)
	if n == 0 {
		return new(Tensor)
	}
	t := headers.free[n-1]
	headers.free = headers.free[:n-1]
	return t
}

// New returns an uninitialised contiguous tensor. Panics: *ShapeError for a
// shape that is negative or overflows.
func New(dev *Device, dtype DType, shape ...int) *Tensor {
	n := count("new", shape)
	t := header()
	*t = Tensor{store: dev.alloc(n * dtype.Size()), dtype: dtype}
	t.setShape(shape)
	return t
}

// Zeros returns a contiguous tensor of zeros.
func Zeros(dev *Device, dtype DType, shape ...int) *Tensor {
	t := New(dev, dtype, shape...)
	Fill(t, 0)
	return t
}

// Full returns a contiguous tensor of one value.
func Full(dev *Device, dtype DType, value float64, shape ...int) *Tensor {
	t := New(dev, dtype, shape...)
	Fill(t, value)
	return t
}

// From returns a tensor on the device with a copy of data in row-major order.
// Panics: *ShapeError if data has not exactly the shape's number of elements.
func From[E Elem](dev *Device, data []E, shape ...int) *Tensor {
	if n := count("from", shape); n != len(data) {
		panic(&ShapeError{"from", [][]int{shape}, fmt.Sprintf("%d elements were given, %d are needed", len(data), n)})
	}
	t := New(dev, TypeOf[E](), shape...)
	dev.upload(t, bytesOf(data))
	return t
}

// Data returns the elements of a contiguous host tensor, not copied: writes to
// the slice are writes to the tensor. Panics if E is not the dtype, or the
// tensor is strided or on another device.
func Data[E Elem](t *Tensor) []E {
	if TypeOf[E]() != t.dtype {
		shapeFail("data", fmt.Sprintf("the tensor holds %s, not %s", t.dtype, TypeOf[E]()), t)
	}
	require(t.Contiguous(), "data", "the tensor is a strided view; call Compact first", t)
	if t.store.mem == nil && t.Len() > 0 {
		shapeFail("data", "the tensor is on "+t.store.dev.Name+"; call To(CPU) first", t)
	}
	return raw[E](t)[:t.Len()]
}

// raw returns host memory from the tensor's first element to the end of its
// storage.
func raw[E Elem](t *Tensor) []E {
	var e E
	b := t.bytes()
	return unsafe.Slice((*E)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(e)))
}

// bytes is raw without a type. A view without elements may begin anywhere, also
// past the end.
func (t *Tensor) bytes() []byte {
	s := t.store
	if s.mem == nil {
		return nil
	}
	return s.mem[min(t.offset*t.dtype.Size(), s.size):s.size]
}

func bytesOf[E Elem](x []E) []byte {
	var e E
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*int(unsafe.Sizeof(e)))
}

// Item returns the one element of a one-element tensor of any dtype as float64.
func (t *Tensor) Item() float64 {
	require(t.Len() == 1, "item", "the tensor has not exactly one element", t)
	h := t.To(CPU)
	defer h.Recycle()
	c := Cast(h, Float64)
	defer c.Recycle()
	return Data[float64](c)[0]
}

// Shape returns the sizes of the axes; the slice must not be changed.
func (t *Tensor) Shape() []int { return t.dims[:t.rank:t.rank] }

// Strides returns the steps of the axes in elements; not to be changed.
func (t *Tensor) Strides() []int { return t.steps[:t.rank:t.rank] }

// Rank returns the number of axes.
func (t *Tensor) Rank() int { return t.rank }

// Dim returns the size of an axis; negative axes count from the last.
func (t *Tensor) Dim(axis int) int { return t.dims[t.axis("dim", axis)] }

// DType returns the element type.
func (t *Tensor) DType() DType { return t.dtype }

// Device returns where the storage is.
func (t *Tensor) Device() *Device { return t.store.dev }

// Len returns the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape() {
		n *= d
	}
	return n
}

// Contiguous reports whether the elements stand in row-major order without gaps.
func (t *Tensor) Contiguous() bool {
	step := 1
	for i := t.rank - 1; i >= 0; i-- {
		if t.dims[i] != 1 && t.steps[i] != step {
			return t.Len() == 0
		}
		step *= t.dims[i]
	}
	return true
}

// setShape makes the tensor row-major over shape.
func (t *Tensor) setShape(shape []int) {
	t.rank = len(shape)
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		t.dims[i], t.steps[i] = shape[i], step
		step *= shape[i]
	}
}

// Retain adds an owner: one more Release is needed to recycle the memory.
func (t *Tensor) Retain() *Tensor {
	return t.view()
}

// Release gives the tensor's claim on its storage back. When the last view has
// been released the memory serves the next op, and the content is gone. It is
// never needed: without it the garbage collector does the work. A second
// Release of the same tensor does nothing.
func (t *Tensor) Release() {
	if t == nil || t.dropped {
		return
	}
	t.dropped = true
	t.store.release()
}

// Recycle is Release by the only holder of t: not the memory alone, but the Tensor
// itself serves the next op, so that a steady computation allocates none. Whoever
// still held t would see another tensor, and release it: nothing but code that made
// t and handed it to nobody recycles it. After PoisonFreed(true) it only releases.
func (t *Tensor) Recycle() {
	if t == nil || t.pooled {
		return
	}
	t.Release()
	if poison.Load() {
		return
	}
	*t = Tensor{dropped: true, pooled: true}
	headers.mu.Lock()
	headers.free = append(headers.free, t)
	headers.mu.Unlock()
}

// Released reports whether Release was called.
func (t *Tensor) Released() bool { return t.dropped }

// Exclusive reports whether no other tensor shares the storage, so that an op
// may write into it.
func (t *Tensor) Exclusive() bool { return t.store.refs.Load() == 1 }

// To returns the tensor on a device: itself (retained) if it is there already,
// else a contiguous copy.
func (t *Tensor) To(dev *Device) *Tensor {
	if t.store.dev == dev {
		return t.Retain()
	}
	c := t.Compact()
	defer c.Release()
	host := c
	if t.store.dev != CPU {
		host = New(CPU, t.dtype, t.Shape()...)
		t.store.dev.download(c, host.bytes())
	}
	if dev == CPU {
		return host
	}
	out := New(dev, t.dtype, t.Shape()...)
	dev.upload(out, host.bytes()[:host.Len()*host.dtype.Size()])
	if host != c {
		host.Release()
	}
	return out
}

// String shows dtype, shape and device, and the values of a small host tensor.
func (t *Tensor) String() string {
	s := fmt.Sprintf("%s%v@%s", t.dtype, t.Shape(), t.store.dev.Name)
	if t.Len() > 64 || t.store.dev != CPU {
		return s
	}
	return s + fmt.Sprint(Data[float64](Cast(t, Float64)))
}

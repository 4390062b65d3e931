package tensor

import (
	"fmt"
	"reflect"
	"slices"

	"fuerte/kernels"
)

// Device is where tensors live and ops run: CPU, or one opened by its own
// function. It is a value to pass, not a global mode.
//
// A device is a struct of functions over tensors. The ops of this package have
// checked shapes, dtypes and devices and allocated the results, so a device
// only computes. Operands called contiguous are made so by the caller. A nil
// function means that the device lacks the op; the caller then panics with a
// *DeviceError naming both.
type Device struct {
	Name string

	alloc    func(bytes int) *storage
	free     func(s *storage)
	upload   func(dst *Tensor, src []byte) // dst contiguous
	download func(src *Tensor, dst []byte) // src contiguous
	missing  []*DeviceError
	tables   [len(dtypes)]*Ops // by the dtype of the results; nil: none at all
}

// ops returns the primitives for results of a dtype.
func (d *Device) ops(t DType) *Ops { return d.tables[t] }

// Ops holds one field per primitive. y, c, g… are results; unless said
// otherwise all operands are contiguous and of one floating dtype (float32, or
// float64 on the CPU), and an elementwise result may be the same tensor as an
// operand.
type Ops struct {
	// Copy sets dst = src elementwise; any strides, any dtypes, same shape.
	Copy func(dst, src *Tensor)
	Fill func(dst *Tensor, value float64) // dst contiguous, any dtype

	// Binary ops take operands already expanded to y's shape, any strides.
	Add, Sub, Mul, Div func(y, a, b *Tensor)

	Scale     func(y, x *Tensor, alpha float64)
	AddScalar func(y, x *Tensor, alpha float64)
	Axpy      func(y, x *Tensor, alpha float64) // y += alpha·x

	Exp, Log, Sqrt, Tanh, Erf, Sigmoid, SiLU, GELU func(y, x *Tensor)
	SiLUGrad, GELUGrad                             func(gx, x, gy *Tensor)
	SwiGLU                                         func(y, g, u *Tensor)
	SwiGLUGrad                                     func(gg, gu, g, u, gy *Tensor)

	// Reductions see x as [outer, n, inner] and y as [outer, inner].
	Sum, Max func(y, x *Tensor, outer, n, inner int)

	// MatMul sets c = a·b (+ c if accumulate) for matrices in which one of the
	// two strides is 1; the columns of c have stride 1.
	MatMul func(c, a, b *Tensor, accumulate bool)
	// MatMulBF16 is MatMul of bfloat16 matrices with sums in float32, the dtype of c and
	// of the table.
	MatMulBF16 func(c, a, b *Tensor, accumulate bool)

	// Row ops see x as [n, d], d its last axis; r, mean, loss, lse, gy of a loss
	// hold n elements.
	Softmax       func(y, x *Tensor)
	SoftmaxGrad   func(gx, y, gy *Tensor)
	RMSNorm       func(y, r, x, w *Tensor, eps float64)
	RMSNormGrad   func(gx, gw, x, w, gy, r *Tensor)
	LayerNorm     func(y, mean, r, x, w, b *Tensor, eps float64)
	LayerNormGrad func(gx, gw, gb, x, w, gy, mean, r *Tensor)
	// Targets are int32, negative for an ignored row.
	CrossEntropy     func(loss, lse, x, target *Tensor)
	CrossEntropyGrad func(gx, x, lse, target, gy *Tensor)
	// LinearCrossEntropy is that of the logits x·wᵀ, x [n, d], w [V, d], and the
	// gradients of Σ weight·loss; gx and gw may be nil.
	LinearCrossEntropy func(loss, gx, gw, x, w, target, weight *Tensor)
	Gather             func(y, w, id *Tensor)   // y[i,:] = w[id[i],:], id int32
	ScatterAdd         func(gw, gy, id *Tensor) // gw = 0, then gw[id[i],:] += gy[i,:]

	// Attention operands are [B, T, H, dh] views whose last two axes have
	// strides dh and 1; lse is [B, H, T] or nil, prefix int32 [B] or nil.
	Attention     func(o, lse, q, k, v *Tensor, m Mask, prefix *Tensor)
	AttentionGrad func(gq, gk, gv, q, k, v, o, lse, gy *Tensor, m Mask, prefix *Tensor)

	// Where sets y = cond ? a : b; Less, LessEqual and Equal set a bool y. Their
	// operands are expanded to y's shape, any strides. Those of one dtype stand in
	// its table, and so below: results may be bool or int32.
	Where                  func(y, cond, a, b *Tensor)
	Less, LessEqual, Equal func(y, a, b *Tensor)
	// Index ops see x and gx as [outer, n, inner]; y of ArgMax is int32 [outer,
	// inner]. TopK sees x as [rows, n], y and id as [rows, k].
	ArgMax      func(y, x *Tensor, outer, n, inner int)
	TopK        func(y, id, x *Tensor)
	CumSum      func(y, x *Tensor, outer, n, inner int, reverse bool)
	TakeAlong   func(y, x, id *Tensor, outer, n, inner int)   // y, id [outer, m, inner]
	PutAlongAdd func(gx, gy, id *Tensor, outer, n, inner int) // gx = 0, then += gy

	AdamW      func(p, m, v, g *Tensor, step *kernels.AdamWStep[float64])
	SumSquares func(x *Tensor) float64
}

// complete replaces every missing op by one that panics with a *DeviceError.
func (d *Device) complete() *Device {
	for t := range d.tables {
		if d.tables[t] == nil {
			d.tables[t] = new(Ops)
		}
		v := reflect.ValueOf(d.tables[t]).Elem()
		for i := range v.NumField() {
			if f := v.Field(i); f.IsNil() {
				err := &DeviceError{Device: d.Name, Op: v.Type().Field(i).Name, DType: DType(t)}
				d.missing = append(d.missing, err)
				f.Set(reflect.MakeFunc(f.Type(), func([]reflect.Value) []reflect.Value { panic(err) }))
			}
		}
	}
	return d
}

// Supports reports whether the device has a primitive, such as "RMSNorm", for
// results of a dtype.
func (d *Device) Supports(op string, t DType) bool {
	return !slices.ContainsFunc(d.missing, func(e *DeviceError) bool { return e.Op == op && e.DType == t })
}

// DeviceError is the panic of an op that a device lacks or failed at.
type DeviceError struct {
	Device string
	Op     string
	DType  DType
	Err    error // nil: the device has no such op
}

func (e *DeviceError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("tensor: device %s has no %s for %s", e.Device, e.Op, e.DType)
	}
	return fmt.Sprintf("tensor: %s on %s: %v", e.Op, e.Device, e.Err)
}

func (e *DeviceError) Unwrap() error { return e.Err }

// same returns the device that all operands share.
func same(op string, ts ...*Tensor) *Device {
	dev := ts[0].store.dev
	for _, t := range ts[1:] {
		if t != nil && t.store.dev != dev {
			shapeFail(op, fmt.Sprintf("operands are on %s and %s", dev.Name, t.store.dev.Name), ts...)
		}
	}
	return dev
}

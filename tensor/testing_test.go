package tensor

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// extraDevices adds devices to those that every op is tested on; a file under
// the build tag of a device sets it.
var extraDevices func(t *testing.T) []*Device

// testDevices lists the devices of this build and machine, CPU first.
func testDevices(t *testing.T) []*Device {
	devices := []*Device{CPU}
	if extraDevices != nil {
		devices = append(devices, extraDevices(t)...)
	}
	return devices
}

// array is the tests' own tensor: row-major float64 values, indexed by plain
// multiplication. It shares no code with the engine.
type array struct {
	shape []int
	v     []float64
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

func zeros(shape ...int) array { return array{slices.Clone(shape), make([]float64, size(shape))} }

// each calls f with every index of a shape, in row-major order.
func each(shape []int, f func(ix []int)) {
	if size(shape) == 0 {
		return
	}
	ix := make([]int, len(shape))
	for {
		f(ix)
		a := len(ix) - 1
		for ; a >= 0; a-- {
			if ix[a]++; ix[a] < shape[a] {
				break
			}
			ix[a] = 0
		}
		if a < 0 {
			return
		}
	}
}

// ref returns where element ix stands; axes are aligned at the last and those
// of size 1 repeat.
func (a array) ref(ix []int) *float64 {
	ix = ix[len(ix)-len(a.shape):]
	at := 0
	for i, d := range a.shape {
		k := ix[i]
		if d == 1 {
			k = 0
		}
		at = at*d + k
	}
	return &a.v[at]
}

func (a array) at(ix ...int) float64 { return *a.ref(ix) }

// random fills with values in [lo, hi).
func random(r *rand.Rand, lo, hi float64, shape ...int) array {
	a := zeros(shape...)
	for i := range a.v {
		a.v[i] = lo + (hi-lo)*r.Float64()
	}
	return a
}

// rounded returns the values that a dtype can hold, in place.
func (a array) rounded(t DType) array {
	for i, v := range a.v {
		switch t {
		case Float32:
			a.v[i] = float64(float32(v))
		case Int32, Int64, Uint8:
			a.v[i] = math.Trunc(v) + 0 // +0, not −0
		case Bool:
			a.v[i] = 0
			if v != 0 {
				a.v[i] = 1
			}
		}
	}
	return a
}

// put writes the array to a new contiguous tensor.
func put(dev *Device, t DType, a array) *Tensor {
	switch t {
	case Float32:
		return putAs[float32](dev, a)
	case Float64:
		return putAs[float64](dev, a)
	case Int32:
		return putAs[int32](dev, a)
	case Int64:
		return putAs[int64](dev, a)
	case Uint8:
		return putAs[uint8](dev, a)
	case Bool:
		data := make([]bool, len(a.v))
		for i, v := range a.v {
			data[i] = v != 0
		}
		return From(dev, data, a.shape...)
	}
	panic("no array of " + t.String())
}

func putAs[E number](dev *Device, a array) *Tensor {
	data := make([]E, len(a.v))
	for i, v := range a.v {
		data[i] = E(v)
	}
	return From(dev, data, a.shape...)
}

// get reads a tensor of any layout element by element, through its strides.
func get(t *Tensor) array {
	h := t
	if t.Device() != CPU {
		h = t.To(CPU)
	}
	a := zeros(h.Shape()...)
	each(a.shape, func(ix []int) {
		p := h.offset
		for i, k := range ix {
			p += k * h.steps[i]
		}
		mem := h.store.mem[:h.store.size]
		*a.ref(ix) = element(h.dtype, mem[p*h.dtype.Size():])
	})
	return a
}

func element(t DType, b []byte) float64 {
	var w uint64
	for i := range t.Size() {
		w |= uint64(b[i]) << (8 * i)
	}
	switch t {
	case Float32:
		return float64(math.Float32frombits(uint32(w)))
	case Float64:
		return math.Float64frombits(w)
	case BFloat16:
		return float64(BF16(w).Float32())
	case Float16:
		return float64(F16(w).Float32())
	case Int32:
		return float64(int32(w))
	case Int64:
		return float64(int64(w))
	}
	return float64(w)
}

// A layout builds a tensor that holds an array's values in its own way. Some
// need values of a kind: prepare makes the array so.
type layout struct {
	name    string
	prepare func(a array)
	build   func(dev *Device, t DType, a array) *Tensor
}

var contiguous = layout{"contiguous", func(array) {}, put}

// The gaps of these layouts hold NaN (or −1): a kernel that reads one is found.
var layouts = []layout{
	contiguous,
	{"transposed", func(array) {}, func(dev *Device, t DType, a array) *Tensor {
		order := make([]int, len(a.shape))
		turned := array{shape: slices.Clone(a.shape)}
		for i := range order {
			order[i] = len(order) - 1 - i
		}
		slices.Reverse(turned.shape)
		turned.v = make([]float64, len(a.v))
		each(a.shape, func(ix []int) {
			back := slices.Clone(ix)
			slices.Reverse(back)
			*turned.ref(back) = a.at(ix...)
		})
		return put(dev, t, turned).Permute(order...)
	}},
	{"gaps", func(array) {}, func(dev *Device, t DType, a array) *Tensor {
		return spread(dev, t, a, 0, 1)
	}},
	{"steps", func(array) {}, func(dev *Device, t DType, a array) *Tensor {
		return spread(dev, t, a, len(a.shape)-1, 2)
	}},
	{"expanded first", func(a array) { repeat(a, 0) }, func(dev *Device, t DType, a array) *Tensor {
		return expanded(dev, t, a, 0)
	}},
	{"expanded last", func(a array) { repeat(a, len(a.shape)-1) }, func(dev *Device, t DType, a array) *Tensor {
		return expanded(dev, t, a, len(a.shape)-1)
	}},
}

// spread puts the array into a larger tensor: three more on both sides of every
// axis, and every step-th entry of one axis.
func spread(dev *Device, t DType, a array, axis, step int) *Tensor {
	if len(a.shape) == 0 {
		return put(dev, t, a)
	}
	wide := array{shape: slices.Clone(a.shape)}
	for i := range wide.shape {
		if i == axis {
			wide.shape[i] *= step
		}
		wide.shape[i] += 6
	}
	wide.v = make([]float64, size(wide.shape))
	for i := range wide.v {
		wide.v[i] = math.NaN()
		if isInteger(t) {
			wide.v[i] = 1
		}
	}
	each(a.shape, func(ix []int) {
		to := slices.Clone(ix)
		to[axis] *= step
		for i := range to {
			to[i] += 3
		}
		*wide.ref(to) = a.at(ix...)
	})
	v := put(dev, t, wide)
	for i, d := range a.shape {
		if i == axis {
			v = v.Slice(i, 3, 3+d*step, step)
		} else {
			v = v.Narrow(i, 3, d)
		}
	}
	return v
}

// repeat makes the array constant along an axis.
func repeat(a array, axis int) {
	if axis < 0 || axis >= len(a.shape) {
		return
	}
	each(a.shape, func(ix []int) {
		from := slices.Clone(ix)
		from[axis] = 0
		*a.ref(ix) = a.at(from...)
	})
}

func expanded(dev *Device, t DType, a array, axis int) *Tensor {
	if axis < 0 || axis >= len(a.shape) || a.shape[axis] == 0 {
		return put(dev, t, a)
	}
	one := array{shape: slices.Clone(a.shape)}
	one.shape[axis] = 1
	one.v = make([]float64, size(one.shape))
	each(one.shape, func(ix []int) { *one.ref(ix) = a.at(ix...) })
	return put(dev, t, one).Expand(a.shape...)
}

// same64 treats NaNs as equal and tells the zeros apart.
func same64(a, b float64) bool {
	return a != a && b != b || a == b && math.Signbit(a) == math.Signbit(b)
}

// mustEqual compares all elements exactly.
func mustEqual(t *testing.T, what string, got *Tensor, want array) {
	t.Helper()
	if !slices.Equal(got.Shape(), want.shape) {
		t.Errorf("%s: shape %v, want %v", what, got.Shape(), want.shape)
		return
	}
	for i, v := range get(got).v {
		if !same64(v, want.v[i]) {
			t.Errorf("%s: element %d of %v is %v, want %v", what, i, want.shape, v, want.v[i])
			return
		}
	}
}

// mustPanic calls f, which must panic with a *ShapeError of the op whose rule
// contains the text, and returns it.
func mustPanic(t *testing.T, op, rule string, f func()) (e *ShapeError) {
	t.Helper()
	defer func() {
		t.Helper()
		v := recover()
		err, ok := v.(error)
		if !ok || !errors.As(err, &e) {
			t.Errorf("%s: panic with %v, want a *ShapeError", op, v)
			return
		}
		if e.Op != op || !strings.Contains(e.Rule, rule) {
			t.Errorf("panic of %q with rule %q, want %q with %q", e.Op, e.Rule, op, rule)
		}
	}()
	f()
	return nil
}

// raceEnabled is set under -race, which allocates on its own.
var raceEnabled bool

package tensor

import (
	"fmt"
	"slices"
)

// Concat joins tensors along an axis; the other axes agree.
func Concat(axis int, ts ...*Tensor) *Tensor {
	if len(ts) == 0 {
		panic(&ShapeError{Op: "concat", Rule: "nothing to join"})
	}
	dev := same("concat", ts...)
	a := ts[0].axis("concat", axis)
	shape := append(make([]int, 0, maxRank), ts[0].Shape()...)
	shape[a] = 0
	for _, t := range ts {
		require(t.rank == len(shape) && t.dtype == ts[0].dtype, "concat", "ranks or dtypes differ", ts...)
		for i, d := range t.Shape() {
			if i != a && d != ts[0].dims[i] {
				shapeFail("concat", fmt.Sprintf("axis %d differs", i), ts...)
			}
		}
		shape[a] += t.dims[a]
	}
	y := New(dev, ts[0].dtype, shape...)
	at := 0
	for _, t := range ts {
		part := y.Narrow(a, at, t.dims[a])
		if t.Len() > 0 {
			dev.ops(y.dtype).Copy(part, t)
		}
		part.Recycle()
		at += t.dims[a]
	}
	return y
}

// Stack joins tensors of one shape along a new axis.
func Stack(axis int, ts ...*Tensor) *Tensor {
	wide := make([]*Tensor, len(ts))
	for i, t := range ts {
		wide[i] = t.Unsqueeze(axis)
	}
	defer recycleAll(wide)
	return Concat(axis, wide...)
}

// Split returns views of consecutive parts of an axis with the given sizes,
// which must add up to it.
func (t *Tensor) Split(axis int, sizes ...int) []*Tensor {
	a := t.axis("split", axis)
	left := t.dims[a]
	for _, n := range sizes {
		if n < 0 || n > left {
			left = -1
			break
		}
		left -= n
	}
	if left != 0 {
		shapeFail("split", fmt.Sprintf("parts %v do not fill axis %d", slices.Clone(sizes), a), t)
	}
	out := make([]*Tensor, len(sizes))
	at := 0
	for i, n := range sizes {
		out[i] = t.Narrow(a, at, n)
		at += n
	}
	return out
}

package tensor

import (
	"fmt"
	"slices"
)

// view returns another tensor on the same storage. A released tensor has none to
// share: its memory may be another's by now.
func (t *Tensor) view() *Tensor {
	if t.dropped {
		shapeFail("view", "the tensor was released", t)
	}
	t.store.retain()
	v := header()
	*v = *t
	return v
}

// Narrow returns the view of n entries of an axis from start on.
func (t *Tensor) Narrow(axis, start, n int) *Tensor {
	return t.narrow("narrow", axis, start, n)
}

func (t *Tensor) narrow(op string, axis, start, n int) *Tensor {
	a := t.axis(op, axis)
	if start < 0 || n < 0 || start > t.dims[a]-n {
		shapeFail(op, fmt.Sprintf("[%d, %d+%d) is outside axis %d", start, start, n, a), t)
	}
	v := t.view()
	v.offset += start * t.steps[a]
	v.dims[a] = n
	return v
}

// Slice returns the view of entries start, start+step, … below stop of an axis.
func (t *Tensor) Slice(axis, start, stop, step int) *Tensor {
	a := t.axis("slice", axis)
	if step <= 0 || start < 0 || start > stop || stop > t.dims[a] {
		shapeFail("slice", fmt.Sprintf("[%d:%d:%d] is outside axis %d", start, stop, step, a), t)
	}
	step = min(step, max(stop-start, 1)) // a longer one takes one entry too, and may overflow
	v := t.view()
	v.offset += start * t.steps[a]
	v.dims[a], v.steps[a] = (stop-start+step-1)/step, t.steps[a]*step
	return v
}

// Index returns the view of one entry of an axis; the axis goes.
func (t *Tensor) Index(axis, i int) *Tensor {
	a := t.axis("index", axis)
	v := t.narrow("index", a, i, 1)
	copy(v.dims[a:], v.dims[a+1:v.rank])
	copy(v.steps[a:], v.steps[a+1:v.rank])
	v.rank--
	return v
}

// Permute returns the view with axes in the given order.
func (t *Tensor) Permute(axes ...int) *Tensor {
	if len(axes) != t.rank {
		shapeFail("permute", fmt.Sprintf("%v does not name every axis", slices.Clone(axes)), t)
	}
	v := t.view()
	var seen [maxRank]bool
	for i, a := range axes {
		a = t.axis("permute", a)
		if seen[a] {
			shapeFail("permute", fmt.Sprintf("%v names axis %d twice", slices.Clone(axes), a), t)
		}
		seen[a] = true
		v.dims[i], v.steps[i] = t.dims[a], t.steps[a]
	}
	return v
}

// Transpose returns the view with two axes exchanged.
func (t *Tensor) Transpose(a, b int) *Tensor {
	a, b = t.axis("transpose", a), t.axis("transpose", b)
	v := t.view()
	v.dims[a], v.dims[b] = t.dims[b], t.dims[a]
	v.steps[a], v.steps[b] = t.steps[b], t.steps[a]
	return v
}

// Expand returns the view of a larger shape in which axes of size 1, and new
// axes in front, repeat (stride 0).
func (t *Tensor) Expand(shape ...int) *Tensor {
	count("expand", shape)
	lead := len(shape) - t.rank
	if lead < 0 {
		shapeFail("expand", fmt.Sprintf("%v has fewer axes", slices.Clone(shape)), t)
	}
	v := t.view()
	v.rank = len(shape)
	for i, d := range shape {
		step := 0
		if i >= lead {
			j := i - lead
			if t.dims[j] != d && t.dims[j] != 1 {
				shapeFail("expand", fmt.Sprintf("axis %d of size %d does not repeat to %d", j, t.dims[j], d), t)
			}
			if t.dims[j] == d {
				step = t.steps[j]
			}
		}
		v.dims[i], v.steps[i] = d, step
	}
	return v
}

// Unsqueeze returns the view with a new axis of size 1 before axis.
func (t *Tensor) Unsqueeze(axis int) *Tensor {
	if axis < 0 || axis > t.rank || t.rank == maxRank {
		shapeFail("unsqueeze", fmt.Sprintf("no place for an axis at %d", axis), t)
	}
	v := t.view()
	v.rank++
	copy(v.dims[axis+1:v.rank], t.dims[axis:t.rank])
	copy(v.steps[axis+1:v.rank], t.steps[axis:t.rank])
	v.dims[axis], v.steps[axis] = 1, 0
	return v
}

// Reshape returns the elements, in row-major order, under another shape: a view
// if the strides allow one, else a copy. One axis may be −1: it takes the rest.
func (t *Tensor) Reshape(shape ...int) *Tensor {
	dims := append(make([]int, 0, maxRank), shape...)
	known, free := 1, -1
	for i, d := range dims {
		if d == -1 {
			if free >= 0 {
				shapeFail("reshape", fmt.Sprintf("%v leaves two axes open", slices.Clone(shape)), t)
			}
			free = i
			continue
		}
		known *= d
	}
	if free >= 0 {
		if known <= 0 || t.Len()%known != 0 {
			shapeFail("reshape", fmt.Sprintf("%d elements do not fill %v", t.Len(), slices.Clone(shape)), t)
		}
		dims[free] = t.Len() / known
	}
	if count("reshape", dims) != t.Len() {
		shapeFail("reshape", fmt.Sprintf("%d elements do not fill %v", t.Len(), slices.Clone(shape)), t)
	}
	if v, ok := t.restride(dims); ok {
		return v
	}
	c := t.Compact()
	defer c.Recycle()
	v := c.view()
	v.setShape(dims)
	return v
}

// restride tries to express the elements under another shape without a copy:
// runs of axes that are contiguous among themselves may be regrouped.
func (t *Tensor) restride(dims []int) (*Tensor, bool) {
	v := t.view()
	if t.Contiguous() {
		v.setShape(dims)
		return v, true
	}
	// Axes of size 1 say nothing, whatever their stride.
	var size, step [maxRank]int
	old := 0
	for i, d := range t.Shape() {
		if d != 1 {
			size[old], step[old] = d, t.steps[i]
			old++
		}
	}
	// From the last axis on, new axes eat up runs of old ones. The elements are
	// as many, so neither runs out before the other.
	v.rank = len(dims)
	have, at := 1, 0 // what is left of the run, and the stride within it
	for i := len(dims) - 1; i >= 0; i-- {
		v.dims[i], v.steps[i] = dims[i], 0
		if dims[i] == 1 {
			continue
		}
		if have == 1 {
			old--
			have, at = size[old], step[old]
		}
		for have%dims[i] != 0 {
			if old == 0 || step[old-1] != at*have {
				v.Recycle()
				return nil, false
			}
			old--
			have *= size[old]
		}
		v.steps[i] = at
		at *= dims[i]
		have /= dims[i]
	}
	return v, true
}

// Compact returns the tensor with its elements in row-major order: itself
// (retained) if they are, else a copy.
func (t *Tensor) Compact() *Tensor {
	if t.Contiguous() {
		return t.view()
	}
	return t.Clone()
}

// Clone returns a contiguous copy.
func (t *Tensor) Clone() *Tensor {
	c := New(t.store.dev, t.dtype, t.Shape()...)
	Copy(c, t)
	return c
}

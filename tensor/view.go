package tensor

import "fmt"

// view returns another tensor on the same storage.
func (t *Tensor) view() *Tensor {
	t.store.retain()
	v := *t
	v.dropped = false
	return &v
}

// Narrow returns the view of n entries of an axis from start on.
func (t *Tensor) Narrow(axis, start, n int) *Tensor {
	a := t.axis("narrow", axis)
	require(start >= 0 && n >= 0 && start <= t.dims[a]-n, "narrow", fmt.Sprintf("[%d, %d+%d) is outside axis %d", start, start, n, a), t)
	v := t.view()
	v.offset += start * t.steps[a]
	v.dims[a] = n
	return v
}

// Slice returns the view of entries start, start+step, … below stop of an axis.
func (t *Tensor) Slice(axis, start, stop, step int) *Tensor {
	a := t.axis("slice", axis)
	require(step > 0 && start >= 0 && start <= stop && stop <= t.dims[a], "slice", fmt.Sprintf("[%d:%d:%d] is outside axis %d", start, stop, step, a), t)
	v := t.view()
	v.offset += start * t.steps[a]
	v.dims[a], v.steps[a] = (stop-start+step-1)/step, t.steps[a]*step
	return v
}

// Index returns the view of one entry of an axis; the axis goes.
func (t *Tensor) Index(axis, i int) *Tensor {
	a := t.axis("index", axis)
	v := t.Narrow(a, i, 1)
	copy(v.dims[a:], v.dims[a+1:v.rank])
	copy(v.steps[a:], v.steps[a+1:v.rank])
	v.rank--
	return v
}

// Permute returns the view with axes in the given order.
func (t *Tensor) Permute(axes ...int) *Tensor {
	require(len(axes) == t.rank, "permute", fmt.Sprintf("%v does not name every axis", axes), t)
	v := t.view()
	var seen [maxRank]bool
	for i, a := range axes {
		a = t.axis("permute", a)
		require(!seen[a], "permute", fmt.Sprintf("%v names axis %d twice", axes, a), t)
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
	require(lead >= 0, "expand", fmt.Sprintf("%v has fewer axes", shape), t)
	v := t.view()
	v.rank = len(shape)
	for i, d := range shape {
		step := 0
		if i >= lead {
			j := i - lead
			require(t.dims[j] == d || t.dims[j] == 1, "expand", fmt.Sprintf("axis %d of size %d does not repeat to %d", j, t.dims[j], d), t)
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
	require(axis >= 0 && axis <= t.rank && t.rank < maxRank, "unsqueeze", fmt.Sprintf("no place for an axis at %d", axis), t)
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
			require(free < 0, "reshape", fmt.Sprintf("%v leaves two axes open", shape), t)
			free = i
			continue
		}
		known *= d
	}
	if free >= 0 {
		require(known > 0 && t.Len()%known == 0, "reshape", fmt.Sprintf("%d elements do not fill %v", t.Len(), shape), t)
		dims[free] = t.Len() / known
	}
	require(count("reshape", dims) == t.Len(), "reshape", fmt.Sprintf("%d elements do not fill %v", t.Len(), shape), t)
	if v, ok := t.restride(dims); ok {
		return v
	}
	c := t.Compact()
	defer c.Release()
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
	v.rank = len(dims)
	old := 0 // next axis of t to consume
	for i := 0; i < len(dims); {
		if dims[i] == 1 {
			v.dims[i], v.steps[i] = 1, 0
			i++
			continue
		}
		for old < t.rank && t.dims[old] == 1 {
			old++
		}
		if old == t.rank {
			v.Release()
			return nil, false
		}
		from, size := i, dims[i]
		have, last := t.dims[old], old
		i++
		for size != have {
			if size < have {
				size *= dims[i]
				i++
				continue
			}
			last++
			if t.steps[last-1] != t.steps[last]*t.dims[last] {
				v.Release()
				return nil, false
			}
			have *= t.dims[last]
		}
		step := t.steps[last]
		for j := i - 1; j >= from; j-- {
			v.dims[j], v.steps[j] = dims[j], step
			step *= dims[j]
		}
		old = last + 1
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

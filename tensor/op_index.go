package tensor

import (
	"fmt"
	"math"
	"slices"
)

// Where returns a where cond (bool) is set and b elsewhere. The three broadcast;
// a and b share any dtype, and their bits are moved, NaN included.
func Where(cond, a, b *Tensor) *Tensor {
	dev := same("where", cond, a, b)
	require(cond.dtype == Bool, "where", "the condition is not bool", cond, a, b)
	sameType("where", a, b)
	ab := expand2("where", a, b)
	defer recycleAll(ab[:])
	ca := expand2("where", cond, ab[0])
	defer recycleAll(ca[:])
	e := expand2("where", ca[1], ab[1])
	defer recycleAll(e[:])
	y := New(dev, a.dtype, ca[0].Shape()...)
	if y.Len() > 0 {
		dev.ops(a.dtype).Where(y, ca[0], e[0], e[1])
	}
	return y
}

// expand2 returns both operands at their common shape.
func expand2(op string, a, b *Tensor) [2]*Tensor {
	var buf [maxRank]int
	shape := broadcast(op, a, b, &buf)
	return [2]*Tensor{a.Expand(shape...), b.Expand(shape...)}
}

// MaskedFill returns x with value where mask (bool, broadcast) is set.
func MaskedFill(x, mask *Tensor, value float64) *Tensor {
	v := Full(x.store.dev, x.dtype, value)
	defer v.Recycle()
	return Where(mask, v, x)
}

func compare(op string, a, b *Tensor, pick func(*Ops) func(y, a, b *Tensor)) *Tensor {
	dev := same(op, a, b)
	sameType(op, a, b)
	e := expand2(op, a, b)
	defer recycleAll(e[:])
	y := New(dev, Bool, e[0].Shape()...)
	if y.Len() > 0 {
		pick(dev.ops(a.dtype))(y, e[0], e[1])
	}
	return y
}

// Less returns a < b as bool, broadcast; false where one is NaN.
func Less(a, b *Tensor) *Tensor {
	return compare("less", a, b, func(o *Ops) func(y, a, b *Tensor) { return o.Less })
}

// LessEqual returns a ≤ b as bool, broadcast; false where one is NaN.
func LessEqual(a, b *Tensor) *Tensor {
	return compare("less-equal", a, b, func(o *Ops) func(y, a, b *Tensor) { return o.LessEqual })
}

// Equal returns a = b as bool, broadcast; false where one is NaN.
func Equal(a, b *Tensor) *Tensor {
	return compare("equal", a, b, func(o *Ops) func(y, a, b *Tensor) { return o.Equal })
}

// around returns the sizes before, of and after an axis.
func (t *Tensor) around(a int) (outer, n, inner int) {
	outer, inner = 1, 1
	for _, d := range t.dims[:a] {
		outer *= d
	}
	for _, d := range t.dims[a+1 : t.rank] {
		inner *= d
	}
	return outer, t.dims[a], inner
}

// ArgMax returns, as int32, where on an axis the maximum stands: the first of
// equals, the first NaN if there is one. The axis goes.
// Panics: *ShapeError if the axis is empty.
func ArgMax(x *Tensor, axis int) *Tensor {
	a := x.axis("argmax", axis)
	require(x.dims[a] > 0 && x.dims[a] <= math.MaxInt32, "argmax", "the axis is empty or too long for int32", x)
	c := x.Compact()
	defer c.Recycle()
	outer, n, inner := c.around(a)
	y := New(x.store.dev, Int32, slices.Delete(slices.Clone(x.Shape()), a, a+1)...)
	if y.Len() > 0 {
		x.store.dev.ops(x.dtype).ArgMax(y, c, outer, n, inner)
	}
	return y
}

// TopK returns the k largest elements of the last axis in falling order, and
// where they stand, as int32. NaN counts as the largest; of equals the one that
// stands first comes first.
//
// Shapes: x [.., n], values and indices [.., k], k ≤ n.
// Cost: O(n·log k) a row for x in random order, O(n·k) for rising x.
func TopK(x *Tensor, k int) (values, indices *Tensor) {
	n := x.dims[x.axis("topk", -1)]
	if k < 0 || k > n || n > math.MaxInt32 {
		shapeFail("topk", fmt.Sprintf("there are no %d elements on the last axis, or it is too long for int32", k), x)
	}
	c := x.Compact()
	defer c.Recycle()
	shape := slices.Clone(x.Shape())
	shape[x.rank-1] = k
	values, indices = New(x.store.dev, x.dtype, shape...), New(x.store.dev, Int32, shape...)
	if values.Len() > 0 {
		x.store.dev.ops(x.dtype).TopK(values, indices, c)
	}
	return values, indices
}

// CumSum returns y[j] = Σ_{i≤j} x[i] along an axis. Floats are added in order in
// float64 and rounded once a result; integers wrap.
func CumSum(x *Tensor, axis int) *Tensor { return cumsum("cumsum", x, axis, false) }

// CumSumGrad returns the VJP of CumSum: gx[i] = Σ_{j≥i} gy[j].
func CumSumGrad(gy *Tensor, axis int) *Tensor { return cumsum("cumsum-grad", gy, axis, true) }

func cumsum(op string, x *Tensor, axis int, reverse bool) *Tensor {
	a := x.axis(op, axis)
	return unary(x, func(o *Ops, y, x *Tensor) {
		outer, n, inner := x.around(a)
		o.CumSum(y, x, outer, n, inner, reverse)
	})
}

// TakeAlong picks elements of an axis by id (int32): for axis 1 of three,
// y[i,j,k] = x[i,id[i,j,k],k]. Any dtype.
//
// Shapes: y and id agree with x but for the axis.
// Panics: *ShapeError if an id is outside the axis.
func TakeAlong(x, id *Tensor, axis int) *Tensor {
	a := alongCheck("take", x, id, axis)
	c, ic := x.Compact(), id.Compact()
	defer c.Recycle()
	defer ic.Recycle()
	y := New(x.store.dev, x.dtype, id.Shape()...)
	if y.Len() > 0 {
		outer, n, inner := c.around(a)
		x.store.dev.ops(x.dtype).TakeAlong(y, c, ic, outer, n, inner)
	}
	return y
}

// PutAlongAdd returns zeros with gy added where id points to, on an axis of n
// entries: the VJP of TakeAlong. Elements that meet in one place are added in
// their order.
// Panics: *ShapeError if an id is outside [0, n).
func PutAlongAdd(gy, id *Tensor, axis, n int) *Tensor {
	a := gy.axis("put", axis)
	shape := slices.Clone(gy.Shape())
	shape[a] = n
	gx := New(gy.store.dev, gy.dtype, shape...)
	alongCheck("put", gx, id, axis)
	require(slices.Equal(gy.Shape(), id.Shape()), "put", "one id an element is needed", gy, id)
	c, ic := gy.Compact(), id.Compact()
	defer c.Recycle()
	defer ic.Recycle()
	if gx.Len() > 0 || c.Len() > 0 {
		outer, _, inner := c.around(a)
		gy.store.dev.ops(gy.dtype).PutAlongAdd(gx, c, ic, outer, n, inner)
	}
	return gx
}

func alongCheck(op string, x, id *Tensor, axis int) int {
	same(op, x, id)
	a := x.axis(op, axis)
	require(id.dtype == Int32 && id.rank == x.rank, op, "int32 ids with as many axes are needed", x, id)
	for i, d := range x.Shape() {
		if i != a && d != id.dims[i] {
			shapeFail(op, fmt.Sprintf("axis %d differs", i), x, id)
		}
	}
	return a
}

package tensor

import "fmt"

// reduce brings the reduced axes together and runs the device's reduction over
// [outer, n, inner]. With keep the axes stay, at size 1.
func reduce(op string, x *Tensor, keep bool, axes []int, run func(o *Ops, y, x *Tensor, outer, n, inner int)) *Tensor {
	var gone [maxRank]bool
	for _, a := range axes {
		a = x.axis(op, a)
		if gone[a] {
			shapeFail(op, fmt.Sprintf("axis %d is named twice", a), x)
		}
		gone[a] = true
	}
	if len(axes) == 0 {
		for a := range x.rank {
			gone[a] = true
		}
	}
	// The result's shape; the kept and the reduced axes in order.
	shape, front, back := make([]int, 0, maxRank), make([]int, 0, maxRank), make([]int, 0, maxRank)
	n := 1
	for a, d := range x.Shape() {
		if gone[a] {
			back, n = append(back, a), n*d
			if keep {
				shape = append(shape, 1)
			}
			continue
		}
		front = append(front, a)
		shape = append(shape, d)
	}
	y := New(x.store.dev, x.dtype, shape...)
	// A run of neighbouring axes reduces in place; others are moved to the back.
	inner := 1
	src := x
	if len(back) > 0 && back[len(back)-1]-back[0] == len(back)-1 {
		for _, d := range x.dims[back[len(back)-1]+1 : x.rank] {
			inner *= d
		}
		src = x.view()
	} else {
		src = x.Permute(append(front, back...)...)
	}
	c := src.Compact()
	src.Recycle()
	defer c.Recycle()
	if y.Len() > 0 {
		run(x.store.dev.ops(x.dtype), y, c, y.Len()/inner, n, inner)
	}
	return y
}

// Sum returns the sum over the given axes, or over all if none is given.
func Sum(x *Tensor, keep bool, axes ...int) *Tensor {
	return reduce("sum", x, keep, axes, func(o *Ops, y, x *Tensor, outer, n, inner int) { o.Sum(y, x, outer, n, inner) })
}

// Max returns the maximum over the given axes, or over all if none is given;
// NaN wins, and nothing gives −Inf.
func Max(x *Tensor, keep bool, axes ...int) *Tensor {
	return reduce("max", x, keep, axes, func(o *Ops, y, x *Tensor, outer, n, inner int) { o.Max(y, x, outer, n, inner) })
}

// Mean returns the mean over the given axes, or over all if none is given.
func Mean(x *Tensor, keep bool, axes ...int) *Tensor {
	s := Sum(x, keep, axes...)
	defer s.Recycle()
	return Scale(s, float64(s.Len())/float64(x.Len()))
}

// SumSquares returns Σ x² over all elements.
func SumSquares(x *Tensor) float64 {
	c := x.Compact()
	defer c.Recycle()
	if x.Len() == 0 {
		return 0
	}
	return x.store.dev.ops(x.dtype).SumSquares(c)
}

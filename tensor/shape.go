package tensor

import (
	"fmt"
	"math"
	"slices"
)

// maxRank is the largest number of axes: patchify needs six, batches one more.
const maxRank = 8

// ShapeError is the panic of an op whose operands do not fit: a mistake of the
// caller. It names the op, the shapes and the rule.
type ShapeError struct {
	Op     string
	Shapes [][]int
	Rule   string
}

func (e *ShapeError) Error() string {
	s := "tensor: " + e.Op
	for i, sh := range e.Shapes {
		if i > 0 {
			s += " ·"
		}
		s += " " + fmt.Sprint(sh)
	}
	return s + ": " + e.Rule
}

// require panics with a *ShapeError unless ok.
func require(ok bool, op string, rule string, ts ...*Tensor) {
	if !ok {
		shapeFail(op, rule, ts...)
	}
}

func shapeFail(op, rule string, ts ...*Tensor) {
	e := &ShapeError{Op: op, Rule: rule}
	for _, t := range ts {
		e.Shapes = append(e.Shapes, slices.Clone(t.Shape()))
	}
	panic(e)
}

// sameType requires operands of one dtype.
func sameType(op string, ts ...*Tensor) {
	for _, t := range ts[1:] {
		if t.dtype != ts[0].dtype {
			shapeFail(op, fmt.Sprintf("dtypes %s and %s differ", ts[0].dtype, t.dtype), ts...)
		}
	}
}

// count returns the number of elements of a shape; it panics on a negative
// axis, a rank above maxRank, and a product that overflows.
func count(op string, shape []int) int {
	if len(shape) > maxRank {
		panic(&ShapeError{op, [][]int{slices.Clone(shape)}, fmt.Sprintf("rank %d is above %d", len(shape), maxRank)})
	}
	n := 1
	for _, d := range shape {
		if d < 0 {
			panic(&ShapeError{op, [][]int{slices.Clone(shape)}, "an axis is negative"})
		}
		if d > 0 && n > math.MaxInt/16/d {
			panic(&ShapeError{op, [][]int{slices.Clone(shape)}, "the number of elements overflows"})
		}
		n *= d
	}
	return n
}

// Broadcast returns the common shape of NumPy's rule: axes are aligned at the
// last, and sizes must agree or be 1.
func Broadcast(op string, a, b *Tensor) []int {
	return slices.Clone(broadcast(op, a, b, new([maxRank]int)))
}

// broadcast is Broadcast into out, or a's own shape.
func broadcast(op string, a, b *Tensor, out *[maxRank]int) []int {
	if slices.Equal(a.Shape(), b.Shape()) {
		return a.Shape()
	}
	n := max(a.Rank(), b.Rank())
	for i := range n {
		x, y := axisFromEnd(a, n-i), axisFromEnd(b, n-i)
		if x != y && x != 1 && y != 1 {
			shapeFail(op, fmt.Sprintf("sizes %d and %d do not broadcast", x, y), a, b)
		}
		out[i] = x
		if x == 1 {
			out[i] = y
		}
	}
	return out[:n]
}

func axisFromEnd(t *Tensor, back int) int {
	if back > t.Rank() {
		return 1
	}
	return t.Shape()[t.Rank()-back]
}

// axis resolves a possibly negative axis.
func (t *Tensor) axis(op string, a int) int {
	asked := a
	if a < 0 {
		a += t.Rank()
	}
	if a < 0 || a >= t.Rank() {
		shapeFail(op, fmt.Sprintf("axis %d is out of range", asked), t)
	}
	return a
}

package autograd

import (
	"errors"
	"math"
	"slices"
	"testing"

	"fuerte/tensor"
)

// grad returns the gradient at x of Σ g·f(x).
func grad(x, g *tensor.Tensor, f func(x *Var) *Var) []float64 {
	tape := NewTape()
	v := tape.Variable(x)
	y := f(v)
	tape.BackwardFrom(y, g)
	return values(v.Grad)
}

// TestMaxTies: the gradient goes to the first of equals in row-major order of the
// reduced axes, the first NaN above all, in Max and in TopK alike.
func TestMaxTies(t *testing.T) {
	nan := math.NaN()
	one := func(n ...int) *tensor.Tensor { return tensor.Full(tensor.CPU, tensor.Float64, 1, n...) }
	for _, c := range []struct {
		x    []float64
		want []float64
	}{
		{[]float64{1, 3, 3, 2}, []float64{0, 1, 0, 0}},
		{[]float64{5, 5, 5, 5}, []float64{1, 0, 0, 0}},
		{[]float64{1, nan, math.Inf(1), nan}, []float64{0, 1, 0, 0}},
	} {
		x := tensor.From(tensor.CPU, c.x, 2, 2)
		for _, axes := range [][]int{nil, {0, 1}, {-1, 0}} {
			if got := grad(x, one(), func(x *Var) *Var { return Max(x, false, axes...) }); !slices.Equal(got, c.want) {
				t.Errorf("max of %v over %v: %v, want %v", c.x, axes, got, c.want)
			}
		}
		top := func(x *Var) *Var {
			v, _ := TopK(Reshape(x, 4), 1)
			return v
		}
		if got := grad(x, one(1), top); !slices.Equal(got, c.want) {
			t.Errorf("top of %v: %v, want %v", c.x, got, c.want)
		}
	}
	x := tensor.From(tensor.CPU, []float64{1, 2, 2, 1, 0, 2}, 2, 3)
	g := tensor.From(tensor.CPU, []float64{10, 20, 30}, 1, 3)
	if got := grad(x, g, func(x *Var) *Var { return Max(x, true, 0) }); !slices.Equal(got, []float64{10, 20, 30, 0, 0, 0}) {
		t.Errorf("max over rows: %v", got)
	}
	tape := NewTape()
	empty := tape.Variable(tensor.Zeros(tensor.CPU, tensor.Float64, 0, 3))
	tape.BackwardFrom(Max(empty, false, 0), one(3))
	if empty.Grad != nil {
		t.Error("nothing has a gradient")
	}
}

// TestComposed: TopK, Stack and Split, which are made of other ops, against
// gradients written out.
func TestComposed(t *testing.T) {
	from := func(shape []int, v ...float64) *tensor.Tensor { return tensor.From(tensor.CPU, v, shape...) }
	x := from([]int{2, 3}, 1, 5, 3, 6, 2, 4)
	before := tensor.Live()

	tape := NewTape()
	v := tape.Variable(x)
	top, at := TopK(v, 2)
	if !slices.Equal(values(top.Value), []float64{5, 3, 6, 4}) || !slices.Equal(values(at.Value), []float64{1, 2, 0, 2}) {
		t.Errorf("top 2: %v at %v", values(top.Value), values(at.Value))
	}
	// d/dx Σ g·y² = 2·g·y where y was picked: by Grad and by Backward.
	g := from([]int{2, 2}, 1, 2, 3, 4)
	y := Sum(Mul(Mul(top, top), tape.Input(g)), false)
	want := []float64{0, 10, 12, 36, 0, 32}
	if got := values(tape.Grad(y, v)[0].Value); !slices.Equal(got, want) {
		t.Errorf("Grad of the top 2: %v, want %v", got, want)
	}
	tape.Backward(y)
	y.Value.Release()
	if got := values(v.Grad); !slices.Equal(got, want) {
		t.Errorf("gradient of the top 2: %v, want %v", got, want)
	}
	v.ZeroGrad()

	// A parameter, first, stacked on something on the tape.
	p := Param(from([]int{3}, 7, 8, 9))
	for axis, shape := range [][]int{{2, 3}, {3, 2}} {
		a := tape.Variable(p.Value)
		s := Stack(axis, p, a)
		if !slices.Equal(s.Shape(), shape) {
			t.Errorf("stack along %d: shape %v, want %v", axis, s.Shape(), shape)
		}
		gs := from([]int{2, 3}, 1, 2, 3, 4, 5, 6)
		if axis == 1 {
			back := gs.Transpose(0, 1)
			gs.Release()
			gs = back
		}
		tape.BackwardFrom(s, gs)
		s.Value.Release()
		if !slices.Equal(values(p.Grad), []float64{1, 2, 3}) || !slices.Equal(values(a.Grad), []float64{4, 5, 6}) {
			t.Errorf("stack along %d: gradients %v and %v", axis, values(p.Grad), values(a.Grad))
		}
		p.ZeroGrad()
		a.ZeroGrad()
	}
	p.Value.Release()

	parts := Split(v, -1, 1, 0, 2)
	y = Add(Sum(Scale(parts[0], 2), false), Sum(Mul(parts[2], parts[2]), false))
	tape.Backward(y)
	y.Value.Release()
	if want := []float64{2, 10, 6, 2, 4, 8}; !slices.Equal(values(v.Grad), want) {
		t.Errorf("split: gradient %v, want %v", values(v.Grad), want)
	}
	v.ZeroGrad()
	tape.Reset()
	g.Release()
	if n := tensor.Live() - before; n != 0 {
		t.Errorf("%d blocks were not released", n)
	}
	var e *tensor.ShapeError
	if err := panicOf(func() { Split(v, 1, 1, 1) }); !errors.As(err, &e) {
		t.Errorf("parts that do not fill the axis: %v", err)
	}
}

// TestWhereInfinite: an infinite cotangent of the side taken leaves the other 0.
func TestWhereInfinite(t *testing.T) {
	tape := NewTape()
	cond := tape.Input(tensor.From(tensor.CPU, []bool{true, false}, 2))
	a := tape.Variable(tensor.From(tensor.CPU, []float64{0, 4}, 2))
	b := tape.Variable(tensor.From(tensor.CPU, []float64{1, 1}, 2))
	tape.Backward(Sum(Sqrt(Where(cond, a, b)), false)) // √′(0) = ∞
	if ga, gb := values(a.Grad), values(b.Grad); !slices.Equal(ga, []float64{math.Inf(1), 0}) || !slices.Equal(gb, []float64{0, 0.5}) {
		t.Errorf("gradients %v and %v, want [+Inf 0] and [0 0.5]", ga, gb)
	}
}

// TestGatherRanks: Gather's gradient for rows of any rank.
func TestGatherRanks(t *testing.T) {
	id := tensor.From(tensor.CPU, []int32{2, 0, 2}, 3)
	for _, shape := range [][]int{{3}, {3, 2}, {3, 2, 2}} {
		w := tensor.Zeros(tensor.CPU, tensor.Float64, shape...)
		got := grad(w, tensor.Full(tensor.CPU, tensor.Float64, 1, shape...), func(w *Var) *Var { return Gather(w, w.With(id)) })
		d := len(got) / 3
		for i, g := range got {
			if want := []float64{1, 0, 2}[i/d]; g != want {
				t.Errorf("%v: %v", shape, got)
				break
			}
		}
	}
}

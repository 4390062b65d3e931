package autograd

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"fuerte/tensor"
)

// TestLinearCrossEntropyComposed: the fused op is Linear, CrossEntropy and a weighted
// sum, under any cotangent, twice in a row, and where a checkpoint runs it again.
func TestLinearCrossEntropyComposed(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const n, d, v = 23, 6, 11
	x, w, weight, ids := normal(r, n, d), normal(r, v, d), normal(r, n), make([]int32, n)
	for i := range ids {
		ids[i] = int32(r.IntN(v+1) - 1)
	}
	target := tensor.From(tensor.CPU, ids, n)
	fused := func(x, w, c *Var) *Var { return LinearCrossEntropy(x, w, x.With(target), c) }
	composed := func(x, w, c *Var) *Var {
		return Sum(Mul(CrossEntropy(Linear(x, w, nil), x.With(target)), c), false)
	}
	run := func(loss func(x, w, c *Var) *Var, again bool) []*tensor.Tensor {
		tape, pw := NewTape(), Param(w)
		vx, vc := tape.Variable(x), tape.Variable(weight)
		for range 2 {
			h := vx
			var y *Var
			if again {
				y = Checkpoint(Exp(h), func(x *Var) *Var { return loss(x, pw, x.With(weight)) })
			} else {
				y = loss(Exp(h), pw, vc)
			}
			tape.Backward(Mul(Scale(y, -3), y)) // the cotangent depends on y
		}
		return []*tensor.Tensor{vx.Grad, pw.Grad, vc.Grad}
	}
	want := run(composed, false)
	for i, g := range run(fused, false) {
		closeTo(t, []string{"gx", "gw", "gradient of the weights"}[i], g, want[i], 1e-13)
	}
	for i, g := range run(fused, true)[:2] {
		closeTo(t, []string{"gx", "gw"}[i]+" from a checkpoint", g, want[i], 1e-13)
	}
}

// TestLinearCrossEntropyMemory: a leaf's gradient is what the forward pass made, not a
// copy; without a Backward to come, or for a frozen w, there is none.
func TestLinearCrossEntropyMemory(t *testing.T) {
	const n, d, v = 2, 64, 12000
	make32 := func(shape ...int) *tensor.Tensor { return tensor.Full(tensor.CPU, tensor.Float32, 0.01, shape...) }
	x, w, target, weight := make32(n, d), Param(make32(v, d)), tensor.Zeros(tensor.CPU, tensor.Int32, n), make32(n)
	op := func(tape *Tape) *Var {
		return LinearCrossEntropy(tape.Variable(x), w, tape.Input(target), tape.Input(weight))
	}
	allocated := func(tape *Tape) uint64 {
		before := tensor.Live()
		var a, b runtime.MemStats
		runtime.ReadMemStats(&a)
		op(tape)
		runtime.ReadMemStats(&b)
		tape.Reset()
		if left := tensor.Live() - before; left != 0 {
			t.Errorf("%d blocks are left", left)
		}
		return b.TotalAlloc - a.TotalAlloc
	}
	const size = 4 * v * d
	if got := allocated(NewInferenceTape()); got > size/2 {
		t.Errorf("inference allocates %d bytes, gw has %d", got, size)
	}
	w.Freeze(true)
	if got := allocated(NewTape()); got > size/2 {
		t.Errorf("with w frozen %d bytes are allocated, gw has %d", got, size)
	}
	w.Freeze(false)
	if got := allocated(NewTape()); got < size {
		t.Errorf("%d bytes are allocated, gw has %d: is this the first of its size?", got, size)
	}

	tape := NewTape()
	y := op(tape)
	made := &tensor.Data[float32](tape.nodes[y.node].call.Saved[2])[0]
	tape.Backward(Scale(y, 2))
	if got := &tensor.Data[float32](w.Grad)[0]; got != made {
		t.Error("the gradient was copied")
	}
	once := w.Grad.Clone()
	tape.Backward(Scale(op(tape), 2))
	if got := &tensor.Data[float32](w.Grad)[0]; got != made {
		t.Error("the sum of two gradients stands elsewhere")
	}
	closeTo(t, "two gradients", w.Grad, tensor.Scale(once, 2), 1e-7)
}

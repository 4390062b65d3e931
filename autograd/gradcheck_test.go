package autograd

import (
	"math"
	"math/rand/v2"
	"testing"

	"fuerte/tensor"
)

// TestVJPs checks ⟨g, J·v⟩, by central difference, against ⟨Jᵀ·g, v⟩, by the
// VJP, for every op, in one random direction v of all floating inputs together.
func TestVJPs(t *testing.T) {
	const h = 1e-5 // float64: truncation ~h², rounding ~1e-16/h, both under the bound
	for _, op := range Ops {
		t.Run(op.Name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			in, args := op.Sample(r)
			dir := make([]*tensor.Tensor, len(in))
			for i, x := range in {
				if x.DType() == tensor.Float64 {
					dir[i] = normal(r, x.Shape()...)
				}
			}
			at := func(step float64) *tensor.Tensor {
				tape := NewInferenceTape()
				vars := make([]*Var, len(in))
				for i, x := range in {
					if dir[i] != nil {
						x = tensor.Add(x, tensor.Scale(dir[i], step))
					}
					vars[i] = tape.Input(x)
				}
				return Apply(op, args, vars...).Value
			}
			g := normal(r, at(0).Shape()...)
			want := (inner(g, at(h)) - inner(g, at(-h))) / (2 * h)

			tape := NewTape()
			vars := make([]*Var, len(in))
			for i, x := range in {
				vars[i] = tape.Input(x)
				if dir[i] != nil {
					vars[i] = tape.Variable(x)
				}
			}
			tape.BackwardFrom(Apply(op, args, vars...), g.Retain())
			var got float64
			for i := range vars {
				if vars[i].Grad != nil {
					got += inner(vars[i].Grad, dir[i])
				}
			}
			if !(math.Abs(got-want) <= 1e-7*(1+math.Abs(want))) {
				t.Errorf("the VJP gives %g, the central difference %g", got, want)
			}
			if got == 0 {
				t.Error("the sample's derivative is zero: it proves nothing")
			}
		})
	}
}

func inner(a, b *tensor.Tensor) float64 {
	return tensor.Sum(tensor.Mul(a, b), false).Item()
}

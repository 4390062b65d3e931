package main

import (
	"fmt"
	"math"

	"fuerte/autograd"
	"fuerte/bench/internal/shapes"
	"fuerte/nn"
	"fuerte/tensor"
)

var adamwOp = define(operation{name: "adamw", unit: byteRate, limit: compiling},
	shapes.AdamWTable, parseAdamW, adamwRow, adamwProblem)

// adamwRow counts p, m, v and g read and p, m and v written.
func adamwRow(a shapes.AdamW) row {
	n := float64(a.Parameters())
	return row{
		role: "clip, decay, step", shape: a.String(), bytes: 28 * n, memory: 16 * n,
		args:     fmt.Sprintf("%d %d %d", a.Width, a.Depth, a.Hidden),
		verifier: func() func([]float64) error { return verifyAdamW(a) },
	}
}

// parseAdamW reads WIDTH DEPTH HIDDEN.
func parseAdamW(line string) (a shapes.AdamW, err error) {
	n, err := numbers(line, "WIDTH DEPTH HIDDEN", 1<<14)
	if err != nil {
		return a, err
	}
	a = shapes.AdamW{Width: n[0], Depth: n[1], Hidden: n[2]}
	return a, bounded(line, a.Parameters())
}

// Settings of the optimiser, those of the released recipe; decay is of a step.
const (
	learningRate, beta1, beta2, adamEps, decay, clipNorm = 1e-3, 0.9, 0.95, 1e-8, 1e-4, 1
)

// adamwProblem holds our step. The parameters are one pattern from end to end,
// and so are their gradients; in the check's second step the gradients are a
// third as large, which clipping hides: without it the step is another.
func adamwProblem(a shapes.AdamW) (problem, error) {
	n := a.Parameters()
	start, cotangent := filled(n, seedX, 0, 1), filled(n, seedCotangent, 0, 1)
	var params []nn.Named
	var grads []*tensor.Tensor
	at := 0
	for block := range a.Depth {
		for i, size := range a.Sizes() {
			kind := "weight"
			if i >= shapes.Matrices {
				kind = "norm"
			}
			name := fmt.Sprintf("blocks.%d.%d.%s", block, i, kind)
			params = append(params, nn.Named{Name: name, Var: autograd.Param(tensor.From(tensor.CPU, start[at:at+size], size))})
			grads = append(grads, tensor.From(tensor.CPU, cotangent[at:at+size], size))
			at += size
		}
	}
	fresh := func() *nn.AdamW {
		return nn.NewAdamW(params, learningRate, beta1, beta2, adamEps, decay, []string{"*norm*"})
	}
	step := func(o *nn.AdamW) {
		for i, p := range params {
			p.Grad = grads[i].Retain()
		}
		o.Step(learningRate, clipNorm)
	}
	opt := fresh()
	return problem{
		run: func() { step(opt) },
		check: func() []float64 {
			scale := func(times float32, seed uint32) {
				at := 0
				for _, g := range grads {
					for i := range tensor.Data[float32](g) {
						tensor.Data[float32](g)[i] = times * periodic(seed, at+i)
					}
					at += g.Len()
				}
			}
			begin := make([]float32, 0, n)
			for _, p := range params {
				begin = append(begin, tensor.Data[float32](p.Value)...)
			}
			at := 0
			for _, p := range params {
				at += copy(tensor.Data[float32](p.Value), start[at:])
			}
			o := fresh()
			step(o)
			scale(1.0/3, seedU)
			step(o)
			scale(1, seedCotangent)
			moved, at := make([]float32, n), 0
			for _, p := range params {
				for _, v := range tensor.Data[float32](p.Value) {
					moved[at] = (v - start[at]) / learningRate
					at++
				}
			}
			at = 0
			for _, p := range params {
				at += copy(tensor.Data[float32](p.Value), begin[at:])
			}
			return combine(moved)
		},
	}, nil
}

// verifyAdamW compares what two steps moved, in units of the learning rate, with
// the formula in float64. A parameter of about 1 is rounded to 6e-8, and so are
// the moves to 1e-4.
func verifyAdamW(a shapes.AdamW) func([]float64) error {
	n := a.Parameters()
	gradients := []func(i int) float64{
		func(i int) float64 { return float64(periodic(seedCotangent, i)) },
		func(i int) float64 { return float64(periodic(seedU, i)) / 3 },
	}
	var clip []float64
	for _, g := range gradients {
		squares := 0.0
		for i := range n {
			squares += g(i) * g(i)
		}
		clip = append(clip, min(1, clipNorm/(math.Sqrt(squares)+1e-6)))
	}
	moved := make([]float64, n)
	at := 0
	for range a.Depth {
		for i, size := range a.Sizes() {
			keep := 1.0
			if i < shapes.Matrices {
				keep = 1 - decay
			}
			for e := at; e < at+size; e++ {
				p0 := float64(periodic(seedX, e))
				p, m, v := p0, 0.0, 0.0
				for t, g := range gradients {
					c := g(e) * clip[t]
					m = beta1*m + (1-beta1)*c
					v = beta2*v + (1-beta2)*c*c
					mean, square := m/(1-math.Pow(beta1, float64(t+1))), v/(1-math.Pow(beta2, float64(t+1)))
					p = p*keep - learningRate*mean/(math.Sqrt(square)+adamEps)
				}
				moved[e] = (p - p0) / learningRate
			}
			at += size
		}
	}
	return expect(5e-4, array("the move", moved))
}

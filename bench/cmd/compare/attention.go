package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"fuerte/bench/internal/shapes"
	"fuerte/tensor"
)

var attentionOp = define(operation{name: "attention", unit: flopRate, limit: compiling},
	shapes.AttentionTable, parseAttention, attentionRow, attentionProblem)

func attentionRow(a shapes.Attention) row {
	return row{
		role: "attention", shape: a.String(), flop: a.FLOP(),
		args:     fmt.Sprintf("%s %s %d %d %d %d", a.Pass, a.Mask, a.B, a.H, a.T, a.D),
		verifier: func() func([]float64) error { return verifyAttention(a) },
	}
}

// parseAttention reads PASS MASK B H T D.
func parseAttention(line string) (a shapes.Attention, err error) {
	f := strings.Fields(line)
	if len(f) != 6 {
		return a, fmt.Errorf("%q is not PASS MASK B H T D", line)
	}
	a.Pass, a.Mask = f[0], f[1]
	if !slices.Contains(shapes.Passes, a.Pass) || !slices.Contains(shapes.Masks, a.Mask) {
		return a, fmt.Errorf("%q does not begin with one of %v and one of %v", line, shapes.Passes, shapes.Masks)
	}
	n, err := numbers(strings.Join(f[2:], " "), "B H T D", 1<<20)
	if err != nil {
		return a, err
	}
	a.B, a.H, a.T, a.D = n[0], n[1], n[2], n[3]
	return a, bounded(line, a.B, a.H, a.T, a.D)
}

// checked are the rows [b, t, h] of queries that an answer about attention has:
// the first and the last, and some between. Of the backward pass they alone have
// a cotangent in a check, so that the gradients of all keys need only these
// queries' scores.
func checked(a shapes.Attention) []int {
	rows := a.B * a.T * a.H
	var out []int
	for e := range elements {
		if r := element(e, rows); !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

// attentionProblem holds our call: q, k, v, o and their gradients are [B, T, H, D].
func attentionProblem(a shapes.Attention) (problem, error) {
	n := a.B * a.T * a.H * a.D
	in := func(seed uint32) *tensor.Tensor {
		return tensor.From(tensor.CPU, filled(n, seed, 0, 2), a.B, a.T, a.H, a.D)
	}
	q, k, v := in(seedX), in(seedU), in(seedWeight)
	mask, prefix := tensor.NoMask, (*tensor.Tensor)(nil)
	if a.Mask != "none" {
		mask = tensor.Causal
	}
	if a.Mask == "prefix" {
		seen := make([]int32, a.B)
		for i := range seen {
			seen[i] = int32(a.T / 2)
		}
		prefix = tensor.From(tensor.CPU, seen, a.B)
	}
	if a.Pass == "forward" {
		forward := func() *tensor.Tensor {
			o, lse := tensor.Attention(q, k, v, mask, prefix)
			lse.Release()
			return o
		}
		return problem{
			run: func() { forward().Release() },
			check: func() []float64 {
				o := forward()
				defer o.Release()
				data := tensor.Data[float32](o)
				var rows []float32
				for _, r := range checked(a) {
					rows = append(rows, data[r*a.D:(r+1)*a.D]...)
				}
				return combine(rows)
			},
		}, nil
	}
	o, lse := tensor.Attention(q, k, v, mask, prefix)
	gy := in(seedCotangent)
	backward := func(gy *tensor.Tensor) (g [3]*tensor.Tensor) {
		for i := range g {
			g[i] = tensor.New(tensor.CPU, tensor.Float32, a.B, a.T, a.H, a.D)
		}
		tensor.AttentionGrad(g[0], g[1], g[2], q, k, v, o, lse, gy, mask, prefix)
		return g
	}
	return problem{
		run: func() { release(backward(gy)) },
		check: func() (values []float64) {
			some := tensor.Zeros(tensor.CPU, tensor.Float32, a.B, a.T, a.H, a.D)
			defer some.Release()
			for _, r := range checked(a) {
				copy(tensor.Data[float32](some)[r*a.D:(r+1)*a.D], tensor.Data[float32](gy)[r*a.D:])
			}
			g := backward(some)
			defer release(g)
			for _, t := range g {
				values = append(values, combine(tensor.Data[float32](t))...)
			}
			return values
		},
	}, nil
}

func release(ts [3]*tensor.Tensor) {
	for _, t := range ts {
		t.Release()
	}
}

// verifyAttention compares with the formulas of kernels.Attention and
// AttentionGrad in float64.
func verifyAttention(a shapes.Attention) func([]float64) error {
	at := func(seed uint32, b, t, h, d int) float64 {
		return 2 * float64(periodic(seed, ((b*a.T+t)*a.H+h)*a.D+d))
	}
	rows := checked(a)
	out := make([]float64, 0, len(rows)*a.D)
	var grads [3][]float64
	if a.Pass == "backward" {
		for i := range grads {
			grads[i] = make([]float64, a.B*a.T*a.H*a.D)
		}
	}
	scale := 1 / math.Sqrt(float64(a.D))
	for _, r := range rows {
		b, t, h := r/(a.T*a.H), r/a.H%a.T, r%a.H
		p := make([]float64, a.Seen(t))
		sum, most := 0.0, math.Inf(-1)
		for j := range p {
			for d := range a.D {
				p[j] += scale * at(seedX, b, t, h, d) * at(seedU, b, j, h, d)
			}
			most = max(most, p[j])
		}
		for j := range p {
			p[j] = math.Exp(p[j] - most)
			sum += p[j]
		}
		o := make([]float64, a.D)
		for j := range p {
			p[j] /= sum
			for d := range o {
				o[d] += p[j] * at(seedWeight, b, j, h, d)
			}
		}
		out = append(out, o...)
		if a.Pass == "forward" {
			continue
		}
		mean := 0.0 // D_i
		for d := range o {
			mean += at(seedCotangent, b, t, h, d) * o[d]
		}
		for j := range p {
			dp := 0.0
			for d := range o {
				dp += at(seedCotangent, b, t, h, d) * at(seedWeight, b, j, h, d)
			}
			ds, key := scale*p[j]*(dp-mean), ((b*a.T+j)*a.H+h)*a.D
			for d := range o {
				grads[0][r*a.D+d] += ds * at(seedU, b, j, h, d)
				grads[1][key+d] += ds * at(seedX, b, t, h, d)
				grads[2][key+d] += p[j] * at(seedCotangent, b, t, h, d)
			}
		}
	}
	const tolerance = 2e-5
	if a.Pass == "forward" {
		return expect(tolerance, array("o", out))
	}
	return expect(tolerance, array("gq", grads[0]), array("gk", grads[1]), array("gv", grads[2]))
}

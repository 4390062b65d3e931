package main

import (
	"fmt"
	"math"
	"strings"

	"fuerte/bench/internal/shapes"
	"fuerte/tensor"
)

// normOp is what memory bounds: norms, softmax, activations and the sum of the
// residual stream.
var normOp = define(operation{name: "norm", unit: byteRate, limit: compiling},
	shapes.NormTable, parseNorm, normRow, normProblem)

func normRow(n shapes.Norm) row {
	return row{
		role: "memory-bound", shape: n.String(), bytes: n.Bytes(),
		args:     fmt.Sprintf("%s %s %d %d", n.Op, n.Pass, n.N, n.D),
		verifier: func() func([]float64) error { return verifyNorm(n) },
	}
}

// parseNorm reads NAME PASS N D.
func parseNorm(line string) (n shapes.Norm, err error) {
	f := strings.Fields(line)
	if len(f) != 4 {
		return n, fmt.Errorf("%q is not NAME PASS N D", line)
	}
	sizes, err := numbers(strings.Join(f[2:], " "), "N D", 1<<30)
	if err != nil {
		return n, err
	}
	n = shapes.Norm{Op: f[0], Pass: f[1], N: sizes[0], D: sizes[1]}
	if n.Bytes() == 0 {
		return n, fmt.Errorf("there is no %s %s", n.Op, n.Pass)
	}
	return n, bounded(line, n.N, n.D)
}

const normEps = 1e-5

// normProblem holds our call. Operands: x = 4·pattern; u, which is the second
// operand of swiglu and add, and the cotangent are patterns; the weight is
// 1 + pattern/10.
func normProblem(n shapes.Norm) (problem, error) {
	matrix := func(seed uint32, times float32) *tensor.Tensor {
		return tensor.From(tensor.CPU, filled(n.N*n.D, seed, 0, times), n.N, n.D)
	}
	vector := func(seed uint32, plus, times float32) *tensor.Tensor {
		return tensor.From(tensor.CPU, filled(n.D, seed, plus, times), n.D)
	}
	type list = []*tensor.Tensor
	x := matrix(seedX, 4)
	var call func() list // the results
	if n.Pass == "forward" {
		switch n.Op {
		case "rmsnorm":
			w := vector(seedWeight, 1, 0.1)
			call = func() list {
				y, r := tensor.RMSNorm(x, w, normEps)
				r.Release()
				return list{y}
			}
		case "layernorm":
			w, b := vector(seedWeight, 1, 0.1), vector(seedBias, 0, 1)
			call = func() list {
				y, mean, r := tensor.LayerNorm(x, w, b, normEps)
				mean.Release()
				r.Release()
				return list{y}
			}
		case "softmax":
			call = func() list { return list{tensor.Softmax(x)} }
		case "swiglu":
			u := matrix(seedU, 1)
			call = func() list { return list{tensor.SwiGLU(x, u)} }
		case "gelu":
			call = func() list { return list{tensor.GELU(x)} }
		case "add":
			u := matrix(seedU, 1)
			call = func() list { return list{tensor.Add(x, u)} }
		}
	} else {
		gy := matrix(seedCotangent, 1)
		switch n.Op {
		case "rmsnorm":
			w := vector(seedWeight, 1, 0.1)
			y, r := tensor.RMSNorm(x, w, normEps)
			y.Release()
			call = func() list {
				gx, gw := tensor.RMSNormGrad(x, w, r, gy)
				return list{gx, gw}
			}
		case "layernorm":
			w, b := vector(seedWeight, 1, 0.1), vector(seedBias, 0, 1)
			y, mean, r := tensor.LayerNorm(x, w, b, normEps)
			y.Release()
			call = func() list {
				gx, gw, gb := tensor.LayerNormGrad(x, w, mean, r, gy)
				return list{gx, gw, gb}
			}
		case "softmax":
			y := tensor.Softmax(x)
			call = func() list { return list{tensor.SoftmaxGrad(y, gy)} }
		case "swiglu":
			u := matrix(seedU, 1)
			call = func() list {
				gx, gu := tensor.SwiGLUGrad(x, u, gy)
				return list{gx, gu}
			}
		case "gelu":
			call = func() list { return list{tensor.GELUGrad(x, gy)} }
		}
	}
	done := func(ts list) {
		for _, t := range ts {
			t.Release()
		}
	}
	return problem{
		run: func() { done(call()) },
		check: func() (values []float64) {
			out := call()
			defer done(out)
			for _, t := range out {
				values = append(values, combine(tensor.Data[float32](t))...)
			}
			return values
		},
	}, nil
}

// verifyNorm compares with the formulas in float64.
func verifyNorm(n shapes.Norm) func([]float64) error {
	size := n.N * n.D
	x := func(i int) float64 { return 4 * float64(periodic(seedX, i)) }
	u := func(i int) float64 { return float64(periodic(seedU, i)) }
	gy := func(i int) float64 { return float64(periodic(seedCotangent, i)) }
	weight := func(j int) float64 { return float64(1 + 0.1*periodic(seedWeight, j)) }
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	first, second := make([]float64, size), []float64(nil)
	gw, gb := make([]float64, n.D), make([]float64, n.D)
	row, h := make([]float64, n.D), make([]float64, n.D)
	backward := n.Pass == "backward"
	if n.Op == "swiglu" && backward {
		second = make([]float64, size)
	}
	for i := range n.N {
		o := i * n.D
		switch n.Op {
		case "rmsnorm", "layernorm":
			mean, squares := 0.0, 0.0
			for j := range row {
				mean += x(o+j) / float64(n.D)
			}
			if n.Op == "rmsnorm" {
				mean = 0
			}
			for j := range row {
				row[j] = x(o+j) - mean
				squares += row[j] * row[j] / float64(n.D)
			}
			r := 1 / math.Sqrt(squares+normEps)
			sum, dot := 0.0, 0.0
			for j := range row {
				row[j] *= r // x̂
				if !backward {
					first[o+j] = row[j] * weight(j)
					if n.Op == "layernorm" {
						first[o+j] += float64(periodic(seedBias, j))
					}
					continue
				}
				h[j] = gy(o+j) * weight(j)
				sum += h[j] / float64(n.D)
				dot += h[j] * row[j] / float64(n.D)
				gw[j] += gy(o+j) * row[j]
				gb[j] += gy(o + j)
			}
			if n.Op == "rmsnorm" {
				sum = 0
			}
			for j := range row {
				if backward {
					first[o+j] = r * (h[j] - sum - row[j]*dot)
				}
			}
		case "softmax":
			sum, dot := 0.0, 0.0
			for j := range row {
				row[j] = math.Exp(x(o + j)) // |x| ≤ 4
				sum += row[j]
			}
			for j := range row {
				row[j] /= sum
				dot += row[j] * gy(o+j)
			}
			for j, y := range row {
				if first[o+j] = y; backward {
					first[o+j] = y * (gy(o+j) - dot)
				}
			}
		case "swiglu":
			for e := o; e < o+n.D; e++ {
				s := sigmoid(x(e))
				if !backward {
					first[e] = x(e) * s * u(e)
					continue
				}
				first[e] = gy(e) * u(e) * s * (1 + x(e)*(1-s))
				second[e] = gy(e) * x(e) * s
			}
		case "gelu":
			for e := o; e < o+n.D; e++ {
				const a, c = 0.7978845608028654, 0.044715 // √(2/π)
				v := x(e)
				t := math.Tanh(a * (v + c*v*v*v))
				if !backward {
					first[e] = v / 2 * (1 + t)
					continue
				}
				first[e] = gy(e) * ((1+t)/2 + v/2*(1-t*t)*a*(1+3*c*v*v))
			}
		case "add":
			for e := o; e < o+n.D; e++ {
				first[e] = x(e) + u(e)
			}
		}
	}
	outputs := []output{array("y", first)}
	if backward {
		outputs[0].name = "gx"
		switch n.Op {
		case "rmsnorm":
			outputs = append(outputs, array("gw", gw))
		case "layernorm":
			outputs = append(outputs, array("gw", gw), array("gb", gb))
		case "swiglu":
			outputs = append(outputs, array("gu", second))
		}
	}
	return expect(2e-5, outputs...)
}

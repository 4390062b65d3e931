package tensor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"fuerte/kernels"
)

// A primitive is one field of Ops: how to call it, and what it means in float64.
// A new field asks for a row in primitives.
type primitive struct {
	name    string
	samples [][]operand // by case; shapes only, values are drawn anew
	run     func(in []*Tensor) []*Tensor
	model   func(in []array) []result
	also    []DType // dtypes beside float32 and float64; results are then exact
}

// operand says what a primitive takes.
type operand struct {
	shape  []int
	lo, hi float64
	as     DType // Int32 or Bool; else the dtype under test
	plain  bool  // the op asks for a contiguous one
}

// result is what a model says: values, and the error allowed in each, in units
// of u, the round-off 2⁻²⁴ of float32.
type result struct{ val, err array }

func newResult(shape ...int) result { return result{zeros(shape...), zeros(shape...)} }

func (r result) set(ix []int, v, err float64) { *r.val.ref(ix), *r.err.ref(ix) = v, err }

func exact(a array) result { return result{a, zeros(a.shape...)} }

// ulp is the error of n units in the last place, in u.
func ulp(n, v float64) float64 { return 2 * n * math.Abs(v) }

// value is an operand of the dtype under test.
func value(shape ...int) operand { return operand{shape: shape, lo: -4, hi: 4} }

func (o operand) within(lo, hi float64) operand { o.lo, o.hi = lo, hi; return o }
func (o operand) contiguous() operand           { o.plain = true; return o }
func (o operand) of(t DType) operand            { o.as = t; return o }

// The 129×131 elements are more than one task of the worker pool.
var anyShape = [][]int{{}, {1}, {7}, {0}, {3, 0, 2}, {5, 17}, {2, 3, 4, 5}, {129, 131}}

// alikes are cases of n operands of one shape each.
func alikes(n int, lo, hi float64) (out [][]operand) {
	for _, s := range anyShape {
		out = append(out, slices.Repeat([]operand{value(s...).within(lo, hi)}, n))
	}
	return out
}

// broadcasts are cases of two operands.
func broadcasts() (out [][]operand) {
	out = alikes(2, -4, 4)
	for _, p := range [][2][]int{{{3, 1}, {4}}, {{}, {2, 3}}, {{2, 3, 4}, {3, 1}}, {{1}, {0}}, {{0, 3}, {1, 3}}, {{2, 1, 1, 5}, {3, 4, 1}}, {{64, 300}, {300}}, {{64, 1}, {64, 300}}} {
		out = append(out, []operand{value(p[0]...), value(p[1]...)})
	}
	return out
}

// elementwise makes the row of y = f(x).
func elementwise(name string, lo, hi float64, run func(x *Tensor) *Tensor, f func(x float64) float64, err func(x, y float64) float64) primitive {
	return primitive{name, alikes(1, lo, hi),
		func(in []*Tensor) []*Tensor { return []*Tensor{run(in[0])} },
		func(in []array) []result {
			y := newResult(in[0].shape...)
			for i, x := range in[0].v {
				y.val.v[i] = f(x)
				y.err.v[i] = err(x, f(x))
			}
			return []result{y}
		}, nil}
}

func ulps(n float64) func(x, y float64) float64 {
	return func(x, y float64) float64 { return ulp(n, y) }
}

func pair(run func(a, b *Tensor) *Tensor) func(in []*Tensor) []*Tensor {
	return func(in []*Tensor) []*Tensor { return []*Tensor{run(in[0], in[1])} }
}

// broadcastShape is NumPy's rule, written out once more.
func broadcastShape(shapes ...[]int) (out []int) {
	for _, s := range shapes {
		for len(out) < len(s) {
			out = append([]int{1}, out...)
		}
	}
	for _, s := range shapes {
		for i, d := range s {
			if j := len(out) - len(s) + i; d != 1 {
				out[j] = d
			}
		}
	}
	return out
}

func binaryModel(f func(a, b float64) (v, err float64)) func(in []array) []result {
	return func(in []array) []result {
		y := newResult(broadcastShape(in[0].shape, in[1].shape)...)
		each(y.val.shape, func(ix []int) {
			v, e := f(*in[0].ref(ix), *in[1].ref(ix))
			y.set(ix, v, e)
		})
		return []result{y}
	}
}

func rounded1(f func(a, b float64) float64) func(in []array) []result {
	return binaryModel(func(a, b float64) (float64, float64) { return f(a, b), ulp(.5, f(a, b)) })
}

func predicate(f func(a, b float64) bool) func(in []array) []result {
	return binaryModel(func(a, b float64) (float64, float64) {
		if f(a, b) {
			return 1, 0
		}
		return 0, 0
	})
}

// smallIntegers makes ties likely, and is fit for every dtype.
func smallIntegers(cases [][]operand) [][]operand {
	for _, c := range cases {
		for i := range c {
			if c[i].as == 0 {
				c[i].lo, c[i].hi = 0, 4
			}
		}
	}
	return cases
}

var integers = []DType{Int32, Int64, Uint8}

// reductions are cases of one operand for each list of axes.
func reductions() (out [][]operand) {
	for _, s := range reduceShapes {
		out = append(out, []operand{value(s...)})
	}
	return out
}

var reduceShapes = [][]int{{}, {9}, {0}, {3, 0}, {0, 4}, {4, 1, 3}, {2, 5, 3, 4}, {300, 70}, {70, 300}, {3, 600, 11}}

// axesOf lists what a tensor of a rank may be reduced over.
func axesOf(rank int) [][]int {
	switch rank {
	case 0:
		return [][]int{{}}
	case 1:
		return [][]int{{}, {0}}
	case 2:
		return [][]int{{}, {0}, {-1}, {1, 0}}
	case 3:
		return [][]int{{}, {0}, {1}, {2}, {0, 2}, {1, 2}}
	}
	return [][]int{{}, {0}, {1}, {-1}, {1, 2}, {0, 3}, {3, 0, 1}}
}

// reduceRun calls the op for all axes, with and without keeping them.
func reduceRun(f func(x *Tensor, keep bool, axes ...int) *Tensor) func(in []*Tensor) []*Tensor {
	return func(in []*Tensor) (out []*Tensor) {
		for _, axes := range axesOf(in[0].Rank()) {
			out = append(out, f(in[0], false, axes...), f(in[0], true, axes...))
		}
		return out
	}
}

func reduceModel(start float64, f func(acc, x float64) float64, slack func(n float64) float64) func(in []array) []result {
	return func(in []array) (out []result) {
		x := in[0]
		for _, axes := range axesOf(len(x.shape)) {
			gone := make([]bool, len(x.shape))
			for _, a := range axes {
				gone[(a+len(gone))%len(gone)] = true
			}
			kept, short := slices.Clone(x.shape), []int{}
			for a := range gone {
				if gone[a] || len(axes) == 0 {
					kept[a] = 1
				} else {
					short = append(short, x.shape[a])
				}
			}
			y := newResult(kept...)
			for i := range y.val.v {
				y.val.v[i] = start
			}
			each(x.shape, func(ix []int) {
				v, e := y.val.ref(ix), y.err.ref(ix)
				*v = f(*v, x.at(ix...))
				*e += math.Abs(x.at(ix...))
			})
			n := float64(len(x.v)) / max(float64(len(y.val.v)), 1)
			for i := range y.err.v {
				y.err.v[i] *= slack(n)
			}
			out = append(out, result{array{short, y.val.v}, array{short, y.err.v}}, y)
		}
		return out
	}
}

func sigma(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func dSiLU(x float64) float64 { return sigma(x) * (1 + x*(1-sigma(x))) }

func gelu(x float64) float64 {
	return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

// dGELU by the fourth-order central difference: its formula stands in kernels.
func dGELU(x float64) float64 {
	const h = 1e-3
	return (8*(gelu(x+h)-gelu(x-h)) - (gelu(x+2*h) - gelu(x-2*h))) / (12 * h)
}

// alikeModel is y_k[i] = f_k(in[0][i], in[1][i], …).
func alikeModel(f func(x []float64) []valErr) func(in []array) []result {
	return func(in []array) []result {
		out := make([]result, len(f(make([]float64, len(in)))))
		for k := range out {
			out[k] = newResult(in[0].shape...)
		}
		for i := range in[0].v {
			x := make([]float64, len(in))
			for j := range in {
				x[j] = in[j].v[i]
			}
			for k, r := range f(x) {
				out[k].val.v[i], out[k].err.v[i] = r.v, r.e
			}
		}
		return out
	}
}

type valErr struct{ v, e float64 }

var step = kernels.AdamWStep[float64]{Clip: .5, Beta1: .875, Beta2: .984375, Keep: 1 - 0x1p-10, Rate: 0x1p-9, RSqrtC2: 1.25, Eps: 0x1p-20}

var matmulOperands = [][]operand{
	{value(1, 1), value(1, 1)}, {value(5, 7), value(7, 3)}, {value(0, 3), value(3, 4)}, {value(3, 0), value(0, 4)},
	{value(33, 300), value(300, 65)}, {value(3, 1, 4, 5), value(2, 5, 6)}, {value(2, 4, 5), value(5, 6)},
	{value(1, 9), value(9, 1)}, {value(9, 1), value(1, 9)}, {value(0, 2, 3), value(3, 4)}, {value(2, 3, 0), value(0, 5)},
}

var primitives = []primitive{
	elementwise("Copy", -4, 4, func(x *Tensor) *Tensor {
		y := New(x.Device(), x.DType(), x.Shape()...)
		Copy(y, x)
		return y
	}, func(x float64) float64 { return x }, ulps(0)),
	elementwise("Fill", -4, 4, func(x *Tensor) *Tensor { return Full(x.Device(), x.DType(), 2.5, x.Shape()...) },
		func(x float64) float64 { return 2.5 }, ulps(0)),
	elementwise("Scale", -4, 4, func(x *Tensor) *Tensor { return Scale(x, -1.25) }, func(x float64) float64 { return -1.25 * x }, ulps(.5)),
	elementwise("AddScalar", -4, 4, func(x *Tensor) *Tensor { return AddScalar(x, -1.25) }, func(x float64) float64 { return x - 1.25 }, ulps(.5)),
	elementwise("Exp", -20, 20, Exp, math.Exp, ulps(2)),
	elementwise("Log", 1e-6, 10, Log, math.Log, ulps(2)),
	elementwise("Sqrt", 0, 100, Sqrt, math.Sqrt, ulps(.5)),
	elementwise("Tanh", -5, 5, Tanh, math.Tanh, ulps(2)),
	elementwise("Erf", -5, 5, Erf, math.Erf, ulps(2)),
	elementwise("Sigmoid", -80, 20, Sigmoid, sigma, ulps(2)),
	elementwise("SiLU", -20, 20, SiLU, func(x float64) float64 { return x * sigma(x) }, ulps(4)),
	elementwise("GELU", -10, 10, GELU, gelu, func(x, y float64) float64 { return 1e-6 * 0x1p24 * math.Abs(x) }),

	{"Add", broadcasts(), pair(Add), rounded1(func(a, b float64) float64 { return a + b }), nil},
	{"Sub", broadcasts(), pair(Sub), rounded1(func(a, b float64) float64 { return a - b }), nil},
	{"Mul", broadcasts(), pair(Mul), rounded1(func(a, b float64) float64 { return a * b }), nil},
	{"Div", broadcasts(), pair(Div), rounded1(func(a, b float64) float64 { return a / b }), nil},

	{"Axpy", alikes(2, -4, 4), func(in []*Tensor) []*Tensor {
		y := in[0].Clone()
		Axpy(y, in[1], -0.75)
		return []*Tensor{y}
	}, alikeModel(func(x []float64) []valErr {
		y := math.FMA(-.75, x[1], x[0])
		return []valErr{{y, ulp(.5, y)}}
	}), nil},
	{"SiLUGrad", alikes(2, -8, 8), pair(SiLUGrad), alikeModel(func(x []float64) []valErr {
		d := dSiLU(x[0])
		return []valErr{{x[1] * d, ulp(8, x[1]) * max(1, math.Abs(d))}}
	}), nil},
	{"GELUGrad", alikes(2, -4, 4), pair(GELUGrad), alikeModel(func(x []float64) []valErr {
		// The last term is the error of the central difference, in u of float64.
		return []valErr{{x[1] * dGELU(x[0]), (2e-6*0x1p24 + 1e5) * math.Abs(x[1]) * (1 + math.Abs(x[0]))}}
	}), nil},
	{"SwiGLU", alikes(2, -8, 8), pair(SwiGLU), alikeModel(func(x []float64) []valErr {
		y := x[0] * sigma(x[0]) * x[1]
		return []valErr{{y, ulp(5, y)}}
	}), nil},
	{"SwiGLUGrad", alikes(3, -8, 8), func(in []*Tensor) []*Tensor {
		gg, gu := SwiGLUGrad(in[0], in[1], in[2])
		return []*Tensor{gg, gu}
	}, alikeModel(func(x []float64) []valErr {
		d, u := dSiLU(x[0]), x[2]*x[0]*sigma(x[0])
		return []valErr{{x[2] * x[1] * d, ulp(10, x[2]*x[1]) * max(1, math.Abs(d))}, {u, ulp(5, u)}}
	}), nil},

	{"Sum", reductions(), reduceRun(Sum), reduceModel(0, func(s, x float64) float64 { return s + x }, func(n float64) float64 { return n + 8 }), nil},
	{"Max", reductions(), reduceRun(Max), reduceModel(math.Inf(-1), math.Max, func(n float64) float64 { return 0 }), nil},
	{"SumSquares", alikes(1, -4, 4), func(in []*Tensor) []*Tensor {
		return []*Tensor{From(CPU, []float64{SumSquares(in[0])})}
	}, func(in []array) []result {
		y := newResult()
		for _, v := range in[0].v {
			y.val.v[0] += v * v
		}
		y.err.v[0] = (1<<14/16 + 16) * y.val.v[0]
		return []result{y}
	}, nil},

	{"MatMul", matmulOperands, pair(MatMul), matmulModel, nil},
	{"MatMulBF16", matmulOperands, pair(func(a, b *Tensor) *Tensor {
		a, b = Cast(a, BFloat16), Cast(b, BFloat16)
		defer a.Release()
		defer b.Release()
		return MatMul(a, b)
	}), func(in []array) []result {
		for _, x := range in {
			for i, v := range x.v {
				x.v[i] = float64(ToBF16(float32(v)).Float32())
			}
		}
		return matmulModel(in)
	}, nil},

	{"Softmax", rowCases(1), func(in []*Tensor) []*Tensor { return []*Tensor{Softmax(in[0])} }, func(in []array) []result {
		y := newResult(in[0].shape...)
		perLine(in[0], func(row []float64, i, d int) {
			top, sum := slices.Max(row), 0.0
			for _, v := range row {
				sum += math.Exp(v - top)
			}
			for j, v := range row {
				p := math.Exp(v-top) / sum
				y.val.v[i*d+j], y.err.v[i*d+j] = p, p*(float64(d)/16+16+top-v)
			}
		})
		return []result{y}
	}, nil},
	{"SoftmaxGrad", rowCases(2), pair(SoftmaxGrad), func(in []array) []result {
		y, gy, gx := in[0], in[1], newResult(in[0].shape...)
		perLine(y, func(row []float64, i, d int) {
			var dot, size float64
			for j, p := range row {
				dot += p * gy.v[i*d+j]
				size += math.Abs(p * gy.v[i*d+j])
			}
			for j, p := range row {
				gx.val.v[i*d+j] = p * (gy.v[i*d+j] - dot)
				gx.err.v[i*d+j] = math.Abs(p) * ((float64(d)/16+10)*size + 4*math.Abs(gy.v[i*d+j]))
			}
		})
		return []result{gx}
	}, nil},
	{"RMSNorm", withWeights(1, 1), func(in []*Tensor) []*Tensor {
		y, r := RMSNorm(in[0], in[1], 1e-5)
		return []*Tensor{y, r}
	}, rmsNormModel, nil},
	{"RMSNormGrad", withWeights(2, 1), func(in []*Tensor) []*Tensor {
		y, r := RMSNorm(in[0], in[2], 1e-5)
		y.Release()
		gx, gw := RMSNormGrad(in[0], in[2], r, in[1])
		return []*Tensor{gx, gw}
	}, rmsNormGradModel, nil},
	{"LayerNorm", withWeights(1, 2), func(in []*Tensor) []*Tensor {
		y, mean, r := LayerNorm(in[0], in[1], in[2], 1e-5)
		return []*Tensor{y, mean, r}
	}, layerNormModel, nil},
	{"LayerNormGrad", withWeights(2, 1), func(in []*Tensor) []*Tensor {
		y, mean, r := LayerNorm(in[0], in[2], in[2], 1e-5)
		y.Release()
		gx, gw, gb := LayerNormGrad(in[0], in[2], mean, r, in[1])
		return []*Tensor{gx, gw, gb}
	}, layerNormGradModel, nil},

	{"CrossEntropy", lossCases(false), func(in []*Tensor) []*Tensor {
		loss, lse := CrossEntropy(in[0], in[1])
		return []*Tensor{loss, lse}
	}, func(in []array) []result {
		loss, lse := newResult(in[0].shape[0]), newResult(in[0].shape[0])
		perLine(in[0], func(row []float64, i, d int) {
			l := logSumExp(row)
			e := float64(d)/16 + 32 + 4*math.Abs(l) + 4*math.Abs(slices.Max(row))
			lse.set([]int{i}, l, e)
			if t := in[1].v[i]; t >= 0 {
				loss.set([]int{i}, l-row[int(t)], e+2*math.Abs(l-row[int(t)]))
			}
		})
		return []result{loss, lse}
	}, nil},
	{"CrossEntropyGrad", lossCases(true), func(in []*Tensor) []*Tensor {
		loss, lse := CrossEntropy(in[0], in[1])
		loss.Release()
		return []*Tensor{CrossEntropyGrad(in[0], lse, in[1], in[2])}
	}, func(in []array) []result {
		gx := newResult(in[0].shape...)
		perLine(in[0], func(row []float64, i, d int) {
			l, t := logSumExp(row), int(in[1].v[i])
			for j, v := range row {
				if t < 0 {
					return
				}
				p := math.Exp(v - l)
				// The error of lse (see CrossEntropy) is a relative one here.
				e := p*(float64(d)/16+64+8*math.Abs(l)+8*math.Abs(slices.Max(row))) + 2
				if j == t {
					p--
				}
				gx.set([]int{i, j}, in[2].v[i]*p, math.Abs(in[2].v[i])*e)
			}
		})
		return []result{gx}
	}, nil},

	{"LinearCrossEntropy", linearLossCases(), func(in []*Tensor) []*Tensor {
		loss, gx, gw := LinearCrossEntropy(in[0], in[1], in[2], in[3], true, true)
		return []*Tensor{loss, gx, gw}
	}, linearLossModel, nil},

	{"Gather", [][]operand{
		{value(5, 3), ids(5, 4)}, {value(5), ids(5, 2, 3)}, {value(5, 2, 3), ids(5)}, {value(5, 0), ids(5, 2)},
		{value(0, 3), ids(1, 0)}, {value(50, 300), ids(50, 100)}, {value(1, 7), ids(1, 6)},
	}, pair(Gather), func(in []array) []result {
		w, id := in[0], in[1]
		y := zeros(append(slices.Clone(id.shape), w.shape[1:]...)...)
		d := size(w.shape[1:])
		for i, k := range id.v {
			copy(y.v[i*d:(i+1)*d], w.v[int(k)*d:])
		}
		return []result{exact(y)}
	}, []DType{Int32, Int64, Uint8, Bool}},
	{"ScatterAdd", [][]operand{
		{value(4, 3), ids(6, 4)}, {value(2, 3, 5), ids(6, 2, 3)}, {value(0, 3), ids(6, 0)}, {value(2, 0), ids(6, 2)}, {value(100, 150), ids(6, 100)},
	}, func(in []*Tensor) []*Tensor { return []*Tensor{ScatterAdd(in[0], in[1], 6)} }, func(in []array) []result {
		d := in[0].shape[len(in[0].shape)-1]
		gw := newResult(6, d)
		for i, k := range in[1].v {
			for j := range d {
				at := int(k)*d + j
				gw.val.v[at] += in[0].v[i*d+j]
				gw.err.v[at] += float64(len(in[1].v)) * math.Abs(in[0].v[i*d+j])
			}
		}
		return []result{gw}
	}, nil},

	{"Attention", attentionCases(3), func(in []*Tensor) (out []*Tensor) {
		for _, m := range maskedFor(in) {
			o, lse := Attention(in[0], in[1], in[2], m.mask, m.prefix)
			out = append(out, o, lse)
		}
		return out
	}, attentionModel, nil},
	{"AttentionGrad", attentionCases(4), func(in []*Tensor) (out []*Tensor) {
		for _, m := range maskedFor(in) {
			var x, g [3]*Tensor
			for i := range x {
				x[i] = heads("test", in[i])
				g[i] = sameLayout(x[i])
			}
			o, lse := Attention(x[0], x[1], x[2], m.mask, m.prefix)
			AttentionGrad(g[0], g[1], g[2], x[0], x[1], x[2], o, lse, in[3], m.mask, m.prefix)
			out = append(out, g[:]...)
		}
		return out
	}, attentionGradModel, nil},

	{"Where", append([][]operand{
		{value(3, 1).of(Bool), value(4), value(2, 1, 1)}, {value().of(Bool), value(3), value()}, {value(5).of(Bool), value(), value()}, {value(0).of(Bool), value(1), value()},
	}, boolFirst(alikes(3, 0, 2))...), func(in []*Tensor) []*Tensor { return []*Tensor{Where(in[0], in[1], in[2])} }, func(in []array) []result {
		y := zeros(broadcastShape(in[0].shape, in[1].shape, in[2].shape)...)
		each(y.shape, func(ix []int) {
			from := in[2]
			if *in[0].ref(ix) != 0 {
				from = in[1]
			}
			*y.ref(ix) = *from.ref(ix)
		})
		return []result{exact(y)}
	}, []DType{Int32, Int64, Uint8, Bool}},
	{"Less", smallIntegers(broadcasts()), pair(Less), predicate(func(a, b float64) bool { return a < b }), integers},
	{"LessEqual", smallIntegers(broadcasts()), pair(LessEqual), predicate(func(a, b float64) bool { return a <= b }), integers},
	{"Equal", smallIntegers(broadcasts()), pair(Equal), predicate(func(a, b float64) bool { return a == b }), integers},
	{"ArgMax", axisCases(true), perAxis(ArgMax), argMaxModel, integers},
	{"TopK", axisCases(true), func(in []*Tensor) (out []*Tensor) {
		for _, k := range topKs(in[0].Dim(-1)) {
			v, id := TopK(in[0], k)
			out = append(out, v, id)
		}
		return out
	}, topKModel, integers},
	{"CumSum", axisCases(false), func(in []*Tensor) []*Tensor {
		return append(perAxis(CumSum)(in), perAxis(CumSumGrad)(in)...)
	}, func(in []array) []result { return append(cumSumModel(in[0], false), cumSumModel(in[0], true)...) }, integers},
	{"TakeAlong", [][]operand{
		{value(4, 5, 3), ids(5, 4, 2, 3)}, {value(4, 5, 3), ids(5, 4, 0, 3)}, {value(4, 5, 0), ids(5, 4, 2, 0)}, {value(2, 5, 200), ids(5, 2, 60, 200)},
	}, func(in []*Tensor) []*Tensor { return []*Tensor{TakeAlong(in[0], in[1], 1)} }, func(in []array) []result {
		y := zeros(in[1].shape...)
		each(y.shape, func(ix []int) { *y.ref(ix) = in[0].at(ix[0], int(in[1].at(ix...)), ix[2]) })
		return []result{exact(y)}
	}, []DType{Int32, Int64, Uint8, Bool}},
	{"PutAlongAdd", [][]operand{
		{value(4, 2, 3).within(0, 4), ids(5, 4, 2, 3)}, {value(4, 0, 3), ids(5, 4, 0, 3)}, {value(4, 2, 0), ids(5, 4, 2, 0)}, {value(2, 60, 200).within(0, 4), ids(5, 2, 60, 200)},
	}, func(in []*Tensor) []*Tensor { return []*Tensor{PutAlongAdd(in[0], in[1], -2, 5)} }, func(in []array) []result {
		gx := newResult(in[0].shape[0], 5, in[0].shape[2])
		each(in[0].shape, func(ix []int) {
			to := []int{ix[0], int(in[1].at(ix...)), ix[2]}
			*gx.val.ref(to) += in[0].at(ix...)
			*gx.err.ref(to) += float64(in[0].shape[1]) * math.Abs(in[0].at(ix...))
		})
		return []result{gx}
	}, integers},

	{"AdamW", positiveThird(alikes(4, -2, 2)), func(in []*Tensor) []*Tensor {
		p, m, v := in[0].Clone(), in[1].Clone(), in[2].Clone()
		AdamW(p, m, v, in[3].Compact(), &step)
		return []*Tensor{p, m, v}
	}, alikeModel(func(x []float64) []valErr {
		p, m, v, g := x[0], x[1], x[2], x[3]*step.Clip
		m1 := step.Beta1*m + (1-step.Beta1)*g
		v1 := step.Beta2*v + (1-step.Beta2)*g*g
		me := 4 * (math.Abs(step.Beta1*m) + math.Abs((1-step.Beta1)*g))
		rate := step.Rate / (math.Sqrt(v1)*step.RSqrtC2 + step.Eps)
		p1 := step.Keep*p - rate*m1
		return []valErr{{p1, 4*(math.Abs(p)+math.Abs(rate*m1)) + rate*me}, {m1, me}, {v1, 8 * v1}}
	}), nil},
}

// TestPrimitives runs every row on every device, dtype and layout, against the
// model, and checks that operands are left as they were.
func TestPrimitives(t *testing.T) {
	for _, dev := range testDevices(t) {
		for _, p := range primitives {
			for _, dt := range append([]DType{Float32, Float64}, p.also...) {
				name := fmt.Sprintf("%s/%s/%s", dev.Name, p.name, dt)
				if !dev.Supports(p.name, dt) {
					if dev == CPU && (p.name != "MatMulBF16" || dt != Float64) { // whose sums are float32
						t.Errorf("%s: the CPU lacks it", name)
					} else {
						t.Logf("%s: not run, the device lacks it", name)
					}
					continue
				}
				r := rand.New(rand.NewPCG(3, 4))
				for _, c := range p.samples {
					elements := 0
					for _, o := range c {
						elements = max(elements, size(o.shape))
					}
					for l := range len(layouts) + 1 {
						if elements > 3000 && l != 0 && l != 2 {
							continue // contiguous and with gaps is enough
						}
						p.check(t, name, dev, dt, c, func() layout {
							if l < len(layouts) {
								return layouts[l]
							}
							return layouts[r.IntN(len(layouts))] // each operand its own
						}, r)
					}
				}
			}
		}
	}
}

func (p *primitive) check(t *testing.T, name string, dev *Device, dt DType, c []operand, pick func() layout, r *rand.Rand) {
	var in []*Tensor
	var model, before []array
	for _, o := range c {
		as := dt
		if o.as != 0 {
			as = o.as
		}
		lay := pick()
		if o.plain {
			lay = contiguous
		}
		a := random(r, o.lo, o.hi, o.shape...)
		if isInteger(as) && o.as == 0 {
			for i := range a.v {
				a.v[i] = math.Abs(a.v[i])
			}
		}
		a.rounded(as)
		lay.prepare(a)
		x := lay.build(dev, as, a)
		mustEqual(t, name+" operand "+lay.name, x, a)
		name += fmt.Sprintf(" %v %s", o.shape, lay.name)
		in, model = append(in, x), append(model, a)
		before = append(before, array{slices.Clone(a.shape), slices.Clone(a.v)})
	}
	// The bounds are those of float32. At float64 the models are as inexact as the
	// kernels: both add up in one line.
	u := map[DType]float64{Float32: 0x1p-24, Float64: 0x1p-49}[dt]
	if dev != CPU {
		u *= 16 // the contract of other devices is looser
	}
	got, want := p.run(in), p.model(model)
	if len(got) != len(want) {
		t.Fatalf("%s: %d results, want %d", name, len(got), len(want))
	}
	for k, y := range got {
		w := want[k]
		if !slices.Equal(y.Shape(), w.val.shape) {
			t.Errorf("%s: result %d has shape %v, want %v", name, k, y.Shape(), w.val.shape)
			continue
		}
		for i, v := range get(y).v {
			bound := u*w.err.v[i] + 1e-44
			if w.err.v[i] == 0 {
				bound = 0
			}
			if d := math.Abs(v - w.val.v[i]); !(d <= bound) && !same64(v, w.val.v[i]) {
				t.Errorf("%s: result %d, element %d of %v is %v, want %v ± %v", name, k, i, w.val.shape, v, w.val.v[i], bound)
				break
			}
		}
	}
	for i, x := range in {
		mustEqual(t, fmt.Sprintf("%s: operand %d afterwards", name, i), x, before[i])
	}
}

// TestPrimitivesComplete fails for a field of Ops without a row.
func TestPrimitivesComplete(t *testing.T) {
	rows := map[string]bool{}
	for _, p := range primitives {
		if rows[p.name] {
			t.Errorf("two rows for %s", p.name)
		}
		rows[p.name] = true
	}
	ops := reflect.TypeFor[Ops]()
	for i := range ops.NumField() {
		name := ops.Field(i).Name
		if !rows[name] {
			t.Errorf("Ops.%s has no row in primitives", name)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("the row %s names no field of Ops", name)
	}
}

// TestSupport prints the table op × device (go test -run Support -v ./tensor).
func TestSupport(t *testing.T) {
	for _, dev := range testDevices(t) {
		for _, p := range primitives {
			line := ""
			for dt := range dtypes {
				if dev.Supports(p.name, DType(dt)) {
					line += " " + DType(dt).String()
				}
			}
			t.Logf("%-8s %-17s%s", dev.Name, p.name, line)
		}
	}
}

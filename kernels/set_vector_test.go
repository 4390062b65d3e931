package kernels

import (
	"math"
	"math/rand/v2"
)

// elementwise makes a row of y = f(inputs) with an error bound per element.
func elementwise(field string, in int, run func(s *Set[float32], y []float32, in [][]float32), f func(x []float64) float64, tol func(y float64, x []float64) float64) vectorRow {
	row := vectorRow{
		field: field, in: in, out: 1, special: true,
		run: func(s *Set[float32], out, in [][]float32) []float32 { run(s, out[0], in); return nil },
		model: func(want, bound, in [][]float64) ([]float64, []float64) {
			x := make([]float64, len(in))
			for i := range want[0] {
				for k := range in {
					x[k] = in[k][i]
				}
				want[0][i] = f(x)
				bound[0][i] = tol(want[0][i], x)
			}
			return nil, nil
		},
	}
	for k := range in {
		row.inPlace = append(row.inPlace, [2]int{0, k})
	}
	return row
}

func binaryRow(field string, kernel func(s *Set[float32]) func(y, a, b []float32), f func(a, b float64) float64) vectorRow {
	return elementwise(field, 2,
		func(s *Set[float32], y []float32, in [][]float32) { kernel(s)(y, in[0], in[1]) },
		func(x []float64) float64 { return f(x[0], x[1]) },
		rounded(field))
}

func unaryRow(field string, kernel func(s *Set[float32]) func(y, x []float32), f func(x float64) float64, tol func(y, x float64) float64) vectorRow {
	return elementwise(field, 1,
		func(s *Set[float32], y []float32, in [][]float32) { kernel(s)(y, in[0]) },
		func(x []float64) float64 { return f(x[0]) },
		func(y float64, x []float64) float64 { return tol(y, x[0]) })
}

func ulps(k float64) func(y, x float64) float64 {
	return func(y, _ float64) float64 { return k * ulp(y) }
}

// promised is tol, the bound of scale·factor, where factor is known to near. It
// is no promise where the scale overflows float32 on the way, or is infinite and
// the factor may be 0.
func promised(scale, factor, near, tol float64) float64 {
	switch s := math.Abs(scale); {
	case math.IsInf(s, 1) && math.Abs(factor) <= near, s > math.MaxFloat32 && !math.IsInf(s, 1):
		return noPromise
	}
	return tol
}

// sigmoidModel does not overflow where σ, which is eˣ there, is not 0.
func sigmoidModel(x float64) float64 {
	if x < -40 {
		return math.Exp(x)
	}
	return 1 / (1 + math.Exp(-x))
}

func siluModel(x float64) float64 { return x / (1 + math.Exp(-x)) }

func siluGradModel(x float64) float64 {
	if x < 0 { // 1−σ by itself, so that nothing cancels
		s := 1 / (1 + math.Exp(-x))
		return s * (1 + x/(1+math.Exp(x)))
	}
	return (1 + x/(1+math.Exp(x))) / (1 + math.Exp(-x))
}

func geluModel(x float64) float64 {
	return x / (1 + math.Exp(-2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

func geluGradModel(x float64) float64 {
	if math.Abs(x) > 40 { // 0·∞ below
		return siluGradModel(math.Copysign(1e9, x)) + 0*x
	}
	const s = 0.79788456080286535588
	t := math.Tanh(s * (x + 0.044715*x*x*x))
	return 0.5*(1+t) + 0.5*x*(1-t*t)*s*(1+3*0.044715*x*x)
}

// siluTol is the bound of silu(x), swigluTol that of silu(x)·u.
func siluTol(y, x float64) float64 {
	if x < siluBound[1] {
		return siluBound[2]
	}
	return siluBound[0] * ulp(y)
}

func swigluTol(y, x, u float64) float64 {
	b := swigluBound
	tol := b[0]*ulp(y) + b[1]*math.Abs(u)
	if x < b[2] {
		tol = b[3]*ulp(y) + b[4]*math.Abs(u)
	}
	silu := siluModel(x)
	return promised(u, silu, siluTol(silu, x), tol)
}

// derivative is the bound of scale·silu′ = scale·d.
func derivative(scale, d float64) float64 {
	m := math.Abs(scale) * math.Max(1, math.Abs(d))
	return promised(scale, d, siluGradULP*ulp(1), siluGradULP*ulp(m))
}

var axpyULP, layerGradRounded = roundedBound("Axpy"), roundedBound("LayerNormGradRow")

// rounded is the bound of one rounding.
func rounded(field string) func(y float64, _ []float64) float64 {
	half := roundedBound(field)
	return func(y float64, _ []float64) float64 { return half * ulp(y) }
}

// stepModel is a step whose fields are all at work.
var stepModel = AdamWStep[float32]{Clip: 0.75, Beta1: 0.9, Beta2: 0.95, Keep: 1 - 1e-4, Rate: 3e-3, RSqrtC2: 1.25, Eps: 1e-8}

var vectorRows = []vectorRow{
	binaryRow("Add", func(s *Set[float32]) func(y, a, b []float32) { return s.Add }, func(a, b float64) float64 { return a + b }),
	binaryRow("Sub", func(s *Set[float32]) func(y, a, b []float32) { return s.Sub }, func(a, b float64) float64 { return a - b }),
	binaryRow("Mul", func(s *Set[float32]) func(y, a, b []float32) { return s.Mul }, func(a, b float64) float64 { return a * b }),
	binaryRow("Div", func(s *Set[float32]) func(y, a, b []float32) { return s.Div }, func(a, b float64) float64 { return a / b }),
	elementwise("Scale", 1,
		func(s *Set[float32], y []float32, in [][]float32) { s.Scale(y, in[0], -1.7) },
		func(x []float64) float64 { return float64(float32(-1.7)) * x[0] },
		rounded("Scale")),
	{
		field: "Axpy", in: 1, out: 1,
		run: func(s *Set[float32], out, in [][]float32) []float32 { s.Axpy(out[0], in[0], -1.7); return nil },
		model: func(want, tol, in [][]float64) ([]float64, []float64) {
			for i, x := range in[0] {
				want[0][i] += float64(float32(-1.7)) * x
				tol[0][i] = axpyULP * ulp(want[0][i])
			}
			return nil, nil
		},
	},

	unaryRow("Exp", func(s *Set[float32]) func(y, x []float32) { return s.Exp }, math.Exp, ulps(expULP)),
	unaryRow("Log", func(s *Set[float32]) func(y, x []float32) { return s.Log }, math.Log, ulps(logULP)),
	unaryRow("Sqrt", func(s *Set[float32]) func(y, x []float32) { return s.Sqrt }, math.Sqrt, ulps(roundedBound("Sqrt"))),
	unaryRow("Tanh", func(s *Set[float32]) func(y, x []float32) { return s.Tanh }, math.Tanh, ulps(tanhULP)),
	unaryRow("Erf", func(s *Set[float32]) func(y, x []float32) { return s.Erf }, math.Erf, ulps(erfULP)),
	unaryRow("Sigmoid", func(s *Set[float32]) func(y, x []float32) { return s.Sigmoid }, sigmoidModel, ulps(sigmoidULP)),
	unaryRow("SiLU", func(s *Set[float32]) func(y, x []float32) { return s.SiLU }, siluModel, siluTol),
	elementwise("SiLUGrad", 2,
		func(s *Set[float32], y []float32, in [][]float32) { s.SiLUGrad(y, in[0], in[1]) },
		func(x []float64) float64 { return x[1] * siluGradModel(x[0]) },
		func(_ float64, x []float64) float64 { return derivative(x[1], siluGradModel(x[0])) }),
	elementwise("SwiGLU", 2,
		func(s *Set[float32], y []float32, in [][]float32) { s.SwiGLU(y, in[0], in[1]) },
		func(x []float64) float64 { return siluModel(x[0]) * x[1] },
		func(y float64, x []float64) float64 { return swigluTol(y, x[0], x[1]) }),
	{
		field: "SwiGLUGrad", in: 3, out: 2, special: true, inPlace: [][2]int{{0, 0}, {1, 1}, {1, 2}},
		run: func(s *Set[float32], out, in [][]float32) []float32 {
			s.SwiGLUGrad(out[0], out[1], in[0], in[1], in[2])
			return nil
		},
		model: func(want, tol, in [][]float64) ([]float64, []float64) {
			for i, g := range in[0] {
				u, gy, d := in[1][i], in[2][i], siluGradModel(g)
				want[0][i] = gy * u * d
				tol[0][i] = derivative(gy*u, d)
				want[1][i] = gy * siluModel(g)
				tol[1][i] = swigluTol(want[1][i], g, gy)
			}
			return nil, nil
		},
	},
	unaryRow("GELU", func(s *Set[float32]) func(y, x []float32) { return s.GELU }, geluModel, func(_, x float64) float64 {
		return geluBound[0]*math.Min(math.Abs(x), math.MaxFloat32) + geluBound[1]
	}),
	{
		field: "GELUGrad", in: 2, out: 1, special: true, inPlace: [][2]int{{0, 0}, {0, 1}},
		skip: func(in []float64) bool { return math.IsInf(in[0], 0) }, // the formula says ∞·0
		run:  func(s *Set[float32], out, in [][]float32) []float32 { s.GELUGrad(out[0], in[0], in[1]); return nil },
		model: func(want, tol, in [][]float64) ([]float64, []float64) {
			for i, x := range in[0] {
				gy, d, k := in[1][i], geluGradModel(x), geluGrad[0]*(1+math.Abs(x))
				want[0][i] = gy * d
				tol[0][i] = promised(gy, d, k, k*math.Abs(gy)+geluGrad[1])
			}
			return nil, nil
		},
	},

	{
		field: "Sum", in: 1,
		run: func(s *Set[float32], _, in [][]float32) []float32 { return []float32{s.Sum(in[0])} },
		model: func(_, _, in [][]float64) ([]float64, []float64) {
			var sum, size float64
			for _, x := range in[0] {
				sum, size = sum+x, size+math.Abs(x)
			}
			return []float64{sum}, []float64{slack(sumBound, len(in[0])) * size}
		},
	},
	{
		field: "Dot", in: 2,
		run: func(s *Set[float32], _, in [][]float32) []float32 { return []float32{s.Dot(in[0], in[1])} },
		model: func(_, _, in [][]float64) ([]float64, []float64) {
			var sum, size float64
			for i, x := range in[0] {
				p := x * in[1][i]
				sum, size = sum+p, size+math.Abs(p)
			}
			return []float64{sum}, []float64{slack(dotBound, len(in[0]))*size + dotBound[2]*float64(len(in[0]))}
		},
	},
	{
		field: "Max", in: 1,
		fill: func(r *rand.Rand, in, _ [][]float32) { // all negative, at times one NaN or −Inf
			x := in[0]
			for i := range x {
				x[i] = -1 - r.Float32()
			}
			if len(x) > 0 && r.IntN(3) == 0 {
				x[r.IntN(len(x))] = []float32{float32(math.NaN()), float32(math.Inf(-1)), float32(math.Inf(1))}[r.IntN(3)]
			}
		},
		run: func(s *Set[float32], _, in [][]float32) []float32 { return []float32{s.Max(in[0])} },
		model: func(_, _, in [][]float64) ([]float64, []float64) {
			top := math.Inf(-1)
			for _, x := range in[0] {
				top = max(top, x)
			}
			return []float64{top}, []float64{0}
		},
	},
	{
		field: "ExpSub", in: 1, out: 1, inPlace: [][2]int{{0, 0}},
		fill: func(r *rand.Rand, in, _ [][]float32) {
			for i := range in[0] {
				below := r.ExpFloat64()
				switch r.IntN(8) {
				case 0: // past underflow
					below *= 100
				case 1: // as far as masks are
					below *= 1e30
				case 2: // behind a power of two, where x has a bit more than x − m, which is halfway then
					below = math.Ldexp(1+r.Float64()/16, r.IntN(7))
				default:
					below *= 10
				}
				in[0][i] = float32(3.25 - below)
			}
		},
		run: func(s *Set[float32], out, in [][]float32) []float32 {
			return []float32{s.ExpSub(out[0], in[0], 3.25)}
		},
		model: func(want, tol, in [][]float64) ([]float64, []float64) {
			var sum, size float64
			for i, x := range in[0] {
				y := math.Exp(x - 3.25)
				want[0][i] = y
				tol[0][i] = max(expSubBound[0]*ulp(y)+ulp1*math.Abs(x-3.25)*y, expSubBound[1])
				if x == math.Inf(-1) {
					tol[0][i] = 0
				}
				sum, size = sum+y, size+tol[0][i]
			}
			return []float64{sum}, []float64{slack(expSubSum, len(in[0]))*sum + size}
		},
	},

	{
		field: "RMSNormRow", in: 2, out: 1, min: 1, inPlace: [][2]int{{0, 0}, {0, 1}},
		run: func(s *Set[float32], out, in [][]float32) []float32 {
			return []float32{s.RMSNormRow(out[0], in[0], in[1], 1e-5)}
		},
		model: func(want, tol, in [][]float64) ([]float64, []float64) {
			var ss float64
			for _, x := range in[0] {
				ss += x * x
			}
			d := float64(len(in[0]))
			r := 1 / math.Sqrt(ss/d+float64(float32(1e-5)))
			for i, x := range in[0] {
				y := x * r * in[1][i]
				want[0][i], tol[0][i] = y, rmsBound[0]*ulp(y)+d/rmsBound[1]*ulp1*math.Abs(y)+rmsBound[2]*(math.Abs(in[1][i])+r)
			}
			return []float64{r}, []float64{rmsBound[0]*ulp(r) + d/rmsBound[1]*ulp1*r}
		},
	},
	{
		field: "RMSNormGradRow", in: 3, out: 2, min: 1, inPlace: [][2]int{{0, 2}},
		run: func(s *Set[float32], out, in [][]float32) []float32 {
			s.RMSNormGradRow(out[0], out[1], in[0], in[1], in[2], 0.3)
			return nil
		},
		model: func(want, tol, in [][]float64) ([]float64, []float64) {
			d, r := float64(len(in[0])), float64(float32(0.3))
			var c, size float64
			for i, x := range in[0] {
				h := in[2][i] * in[1][i] * x * r
				c, size = c+h/d, size+math.Abs(h)/d
			}
			for i, x := range in[0] {
				xh, gy, w := r*x, in[2][i], in[1][i]
				want[0][i] = r * (gy*w - xh*c)
				tol[0][i] = slack(rmsGrad, len(in[0]))*r*(math.Abs(gy*w)+math.Abs(xh)*size) + rmsGrad[2]*(1+r)*(1+math.Abs(xh))
				want[1][i] += gy * xh
				tol[1][i] = rmsGrad[3]*ulp(want[1][i]) + rmsGrad[4]*ulp(gy*xh)
			}
			return nil, nil
		},
	},
	{
		field: "LayerNormRow", in: 3, out: 1, min: 1, inPlace: [][2]int{{0, 0}, {0, 1}, {0, 2}},
		run: func(s *Set[float32], out, in [][]float32) []float32 {
			mean, r := s.LayerNormRow(out[0], in[0], in[1], in[2], 1e-5)
			return []float32{mean, r}
		},
		model: func(want, tol, in [][]float64) ([]float64, []float64) {
			d := float64(len(in[0]))
			var mean, ss, top float64
			for _, x := range in[0] {
				mean, top = mean+x/d, max(top, math.Abs(x))
			}
			for _, x := range in[0] {
				ss += (x - mean) * (x - mean)
			}
			r := 1 / math.Sqrt(ss/d+float64(float32(1e-5)))
			e := slack(layerBound, len(in[0]))
			for i, x := range in[0] {
				w, b := in[1][i], in[2][i]
				want[0][i] = (x-mean)*r*w + b
				tol[0][i] = e * (math.Abs((x-mean)*r*w) + math.Abs(b) + top*r*math.Abs(w))
			}
			return []float64{mean, r}, []float64{e * top, e * r * (layerBound[2] + e*(r*top)*(r*top))}
		},
	},
	{
		field: "LayerNormGradRow", in: 3, out: 3, min: 1, inPlace: [][2]int{{0, 2}},
		run: func(s *Set[float32], out, in [][]float32) []float32 {
			s.LayerNormGradRow(out[0], out[1], out[2], in[0], in[1], in[2], 0.7, 0.3)
			return nil
		},
		model: func(want, tol, in [][]float64) ([]float64, []float64) {
			d, mean, r := float64(len(in[0])), float64(float32(0.7)), float64(float32(0.3))
			var a, c, sizeA, sizeC float64
			for i, x := range in[0] {
				h := in[2][i] * in[1][i]
				a, sizeA = a+h/d, sizeA+math.Abs(h)/d
				h *= (x - mean) * r
				c, sizeC = c+h/d, sizeC+math.Abs(h)/d
			}
			for i, x := range in[0] {
				xh, gy, h := (x-mean)*r, in[2][i], in[2][i]*in[1][i]
				want[0][i] = r * (h - a - xh*c)
				tol[0][i] = slack(layerGrad, len(in[0]))*r*(math.Abs(h)+sizeA+math.Abs(xh)*sizeC) + layerGrad[2]*(1+r)*(1+math.Abs(xh))
				want[1][i] += gy * xh
				tol[1][i] = layerGrad[3]*ulp(want[1][i]) + layerGrad[4]*ulp(gy*xh)
				want[2][i] += gy
				tol[2][i] = layerGradRounded * ulp(want[2][i])
			}
			return nil, nil
		},
	},

	{
		field: "AdamW", in: 1, out: 3,
		fill: func(r *rand.Rand, in, out [][]float32) {
			for _, x := range append(out, in...) {
				mixed(r, x)
			}
			for i, v := range out[2] {
				out[2][i] = v * v
			}
		},
		run: func(s *Set[float32], out, in [][]float32) []float32 {
			step := stepModel
			s.AdamW(out[0], out[1], out[2], in[0], &step)
			return nil
		},
		model: func(want, tol, in [][]float64) ([]float64, []float64) {
			adamModel(&stepModel, want, tol, in[0])
			return nil, nil
		},
	},
}

// adamModel advances want = p, m, v by g and sets the bounds of each.
func adamModel(s *AdamWStep[float32], want, tol [][]float64, g []float64) {
	b1, b2 := float64(s.Beta1), float64(s.Beta2)
	for i, g := range g {
		g *= float64(s.Clip)
		a := b1*math.Abs(want[1][i]) + (1-b1)*math.Abs(g)
		m := b1*want[1][i] + (1-b1)*g
		v := b2*want[2][i] + (1-b2)*g*g
		den := math.Sqrt(v)*float64(s.RSqrtC2) + float64(s.Eps)
		p := float64(s.Keep)*want[0][i] - float64(s.Rate)*m/den
		want[0][i], tol[0][i] = p, adamBound[0]*ulp(p)+adamBound[1]*ulp(float64(s.Rate)*a/den)
		want[1][i], tol[1][i] = m, adamBound[2]*ulp(a)
		want[2][i], tol[2][i] = v, adamBound[3]*ulp(v)
	}
}

// slack is (n/bound[0] + bound[1])·u.
func slack(bound []float64, n int) float64 { return (float64(n)/bound[0] + bound[1]) * ulp1 }

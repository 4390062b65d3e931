// Package piecewise fits tanh and erf by eight polynomials each, for generators
// that look coefficients up in a register. That takes neither an exponential nor
// a division, and the relative error is that of the last sum.
package piecewise

import "math"

// Intervals is how many polynomials a function has: as many as a register of
// AVX2 has lanes.
const Intervals = 8

// Table is an odd function that approaches ±1, on a = min(|x|, Top), to float32:
//
//	f(a) = base + r·(c₁ + r·(c₂ + …))     r = a − Center[i]
//
// where i is the low bits of bits(a + Bias) >> Shift: the exponent and the
// first bits of the mantissa, so that intervals grow with a. The first has Center
// = 0, which keeps the relative error near 0. base is Base[i]; but FromR makes it r
// in the first interval, which Base has −0 for, and c₁ less by 1: for a c₁ whose
// rounding is seen.
type Table struct {
	Bias, Top    float32
	Shift        int
	FromR        bool
	Center, Base [Intervals]float32
	C            [][Intervals]float32 // c₁ and up
}

// Bias and Shift are those of the least error in a search: approximation alone has
// up to 0.5 and 0.3 ULP. At Top the functions round to 1.
var (
	Tanh = fit(math.Tanh, 0.75, 9.015625, 22, 7, false)
	Erf  = fit(math.Erf, 4.75, 3.9375, 20, 6, true)
)

// fit makes the table of f.
func fit(f func(float64) float64, bias, top float32, shift, degree int, fromR bool) *Table {
	t := &Table{Bias: bias, Top: top, Shift: shift, FromR: fromR, C: make([][Intervals]float32, degree)}
	low := 0.0
	for n, first := 0, math.Float32bits(bias)>>shift; low < float64(top); n++ {
		if n == Intervals {
			panic("more than eight intervals")
		}
		i := (first + uint32(n)) % Intervals
		edge := math.Float32frombits((first + uint32(n) + 1) << shift)
		high := min(float64(edge)-float64(bias), float64(top))
		t.fitInterval(f, int(i), low, high)
		low = high
	}
	return t
}

// fitInterval sets what belongs to one interval: coefficients from the highest
// down by least squares of the error in ULP at the nodes of Chebyshev, each
// rounded before the lower ones are fitted anew.
func (t *Table) fitInterval(f func(float64) float64, i int, low, high float64) {
	const nodes = 64
	center, base := 0.0, 0.0
	if t.FromR {
		t.Base[i] = float32(math.Copysign(0, -1))
	}
	if low > 0 {
		center = exactCenter(f, (low+high)/2)
		t.Base[i] = float32(f(center))
		base = float64(t.Base[i])
	}
	t.Center[i] = float32(center)
	reach := max(high-center, center-low) // makes columns of one size
	columns := make([][]float64, len(t.C))
	for j := range columns {
		columns[j] = make([]float64, nodes)
	}
	rest := make([]float64, nodes)
	for k := range nodes {
		x := (low + high) / 2 * (1 - math.Cos((float64(k)+0.5)*math.Pi/nodes)*(high-low)/(high+low))
		y := f(x)
		unit := math.Ldexp(1, math.Ilogb(y))
		if low == 0 {
			unit = y
			if t.FromR {
				base = x
			}
		}
		p := 1 / unit
		rest[k] = (y - base) / unit
		for j := range columns {
			p *= (x - center) / reach
			columns[j][k] = p
		}
	}
	for range t.C {
		last := len(columns) - 1
		scale := math.Pow(reach, float64(last+1))
		c := float32(highest(columns, rest) / scale)
		for k := range rest {
			rest[k] -= float64(float64(c) * scale * columns[last][k])
		}
		t.C[last][i], columns = c, columns[:last]
	}
}

// exactCenter returns a number of few bits near x whose value is nearly a
// float32: rounding the constant term then costs nothing.
func exactCenter(f func(float64) float64, x float64) float64 {
	best, least := 0.0, math.Inf(1)
	for n := math.Round(x*4096) - 24; n <= math.Round(x*4096)+24; n++ {
		if y := f(n / 4096); math.Abs(y-float64(float32(y))) < least {
			best, least = n/4096, math.Abs(y-float64(float32(y)))
		}
	}
	return best
}

// highest returns the coefficient of the last column in the combination of columns
// nearest to y: what of y lies along that part of it which is orthogonal to the
// others, found twice for the sake of rounding (Gram and Schmidt).
func highest(columns [][]float64, y []float64) float64 {
	var basis [][]float64
	for _, c := range columns {
		v := append([]float64(nil), c...)
		for range 2 {
			for _, b := range basis {
				d := dot(v, b) / dot(b, b)
				for k := range v {
					v[k] -= float64(d * b[k])
				}
			}
		}
		basis = append(basis, v)
	}
	v := basis[len(basis)-1]
	return dot(v, y) / dot(v, v)
}

// dot sums without fusing: the generated files are the same wherever they are made.
func dot(a, b []float64) (s float64) {
	for i := range a {
		s += float64(a[i] * b[i])
	}
	return s
}

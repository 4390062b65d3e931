package kernels

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// rowShapes hold one row and many, odd lengths, and more than one task.
var rowShapes = [][2]int{{0, 3}, {1, 1}, {1, 7}, {5, 17}, {3, 1024}, {300, 70}, {1000, 33}, {20000, 3}, {1, 2 * chunk}, {2, 20001}}

// rowCase is the float64 model of a kernel over rows: results, and the error
// allowed in each, in units of u; under is allowed beside it, for underflow.
type rowCase struct {
	val, bound [][]float64
	under      float64
}

func newRowCase(sizes ...int) *rowCase {
	c := &rowCase{}
	for _, n := range sizes {
		c.val = append(c.val, make([]float64, n))
		c.bound = append(c.bound, make([]float64, n))
	}
	return c
}

func (c *rowCase) set(k, i int, v, bound float64) { c.val[k][i], c.bound[k][i] = v, bound }

func (c *rowCase) add(k, i int, v, slack float64) {
	c.val[k][i] += v
	c.bound[k][i] += slack * math.Abs(v)
}

// operands draws what a kernel reads.
type operands struct {
	r     *rand.Rand
	scale float64
}

func (o operands) uniform(n int, lo, hi float64) []float32 {
	return uniform(o.r, n, lo*o.scale, hi*o.scale)
}

// rowDraw makes operands and returns the kernel and the model of one shape.
type rowDraw func(o operands, n, d int) (run func(s *Set[float32]) [][]float32, model *rowCase)

// rowDraws are the kernels over rows, for whatever tests them all.
var rowDraws = []struct {
	name string
	draw rowDraw
}{
	{"RMSNorm", drawRMSNorm}, {"RMSNormGrad", drawRMSNormGrad},
	{"LayerNorm", drawLayerNorm}, {"LayerNormGrad", drawLayerNormGrad},
	{"Softmax", drawSoftmax}, {"SoftmaxGrad", drawSoftmaxGrad},
	{"CrossEntropy", drawCrossEntropy}, {"LinearCrossEntropy", drawLinearCrossEntropy}, {"GatherScatter", drawGatherScatter},
}

// testRows runs a kernel of rows.go on every usable set and shape: the same bits
// for 1, 2 and 3 processors, and within the model's bounds.
func testRows(t *testing.T, kernel string) {
	for _, row := range rowDraws {
		if row.name != kernel {
			continue
		}
		for _, s := range usable() {
			r := rand.New(rand.NewPCG(1, 2))
			for _, shape := range rowShapes {
				run, model := row.draw(operands{r, 1}, shape[0], shape[1])
				name := fmt.Sprintf("%s %v", s.Name, shape)
				model.check(t, kernel, s.Name, shape, sameBits(t, name, func() [][]float32 { return run(s) }))
			}
		}
		return
	}
	t.Fatalf("%s is not among rowDraws", kernel)
}

func (c *rowCase) check(t *testing.T, kernel, level string, shape any, got [][]float32) {
	t.Helper()
	for k := range got {
		boundedBy(t, kernel, level, fmt.Sprintf("%v, result %d", shape, k), got[k], c.val[k], c.bound[k], c.under)
	}
}

// FuzzRows tries any small shape and scale of the operands on every kernel over
// rows and every level.
func FuzzRows(f *testing.F) {
	f.Add(uint8(0), uint8(2), uint8(20), int8(0), uint64(1))
	f.Fuzz(func(t *testing.T, kernel, n, d uint8, scale int8, seed uint64) {
		row := rowDraws[int(kernel)%len(rowDraws)]
		shape := [2]int{int(n % 70), 1 + int(d)}
		for _, s := range usable() {
			o := operands{rand.New(rand.NewPCG(seed, 1)), math.Ldexp(1, int(scale%8))}
			run, model := row.draw(o, shape[0], shape[1])
			model.check(t, row.name, s.Name, shape, run(s))
		}
	})
}

// eachRow calls f with every row, widened.
func eachRow(x []float32, n, d int, f func(i int, row []float64)) {
	row := make([]float64, d)
	for i := range n {
		for j := range row {
			row[j] = float64(x[i*d+j])
		}
		f(i, row)
	}
}

func TestRMSNorm(t *testing.T) { testRows(t, "RMSNorm") }

func drawRMSNorm(o operands, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
	x, w := o.uniform(n*d, -3, 3), o.uniform(d, -2, 2)
	c := newRowCase(n*d, n, n*d)
	slack := func(y, scale float64) float64 {
		return (rmsBound[0]*ulp(y)+rmsBound[2]*scale)/unit + float64(d)/rmsBound[1]*math.Abs(y)
	}
	eachRow(x, n, d, func(i int, row []float64) {
		ss := 0.0
		for _, v := range row {
			ss += v * v
		}
		ri := 1 / math.Sqrt(ss/float64(d)+float64(float32(1e-5)))
		c.set(1, i, ri, slack(ri, 0))
		for j, v := range row {
			y := v * float64(w[j]) * ri
			bound := slack(y, math.Abs(float64(w[j]))+ri)
			c.set(0, i*d+j, y, bound)
			c.set(2, i*d+j, y, bound)
		}
	})
	return func(s *Set[float32]) [][]float32 {
		y, ri, in := make([]float32, n*d), make([]float32, n), slices.Clone(x)
		RMSNorm(s, y, ri, x, w, n, d, 1e-5)
		RMSNorm(s, in, slices.Clone(ri), in, w, n, d, 1e-5) // y may be x
		return [][]float32{y, ri, in}
	}, c
}

// treeRows is p of the Error lines: the rows of a partial sum of reduceRows.
func treeRows(n, d int) float64 { return float64(min(partialRows(n, d), n)) }

// slackOf is n/bound[0] + bound[1].
func slackOf(bound []float64, n int) float64 { return float64(n)/bound[0] + bound[1] }

func TestRMSNormGrad(t *testing.T) { testRows(t, "RMSNormGrad") }

func drawRMSNormGrad(o operands, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
	x, w, gy, ri := o.uniform(n*d, -3, 3), o.uniform(d, -2, 2), o.uniform(n*d, -1, 1), o.uniform(n, .2, 2)
	c := newRowCase(n*d, d, n*d)
	eachRow(x, n, d, func(i int, row []float64) {
		rr, mean, size := float64(ri[i]), 0.0, 0.0
		for j, v := range row {
			h := float64(gy[i*d+j]) * float64(w[j]) * v * rr / float64(d)
			mean, size = mean+h, size+math.Abs(h)
		}
		for j, v := range row {
			g := float64(gy[i*d+j])
			xh, h := v*rr, g*float64(w[j])
			gx, bound := rr*(h-xh*mean), slackOf(rmsGrad, d)*rr*(math.Abs(h)+math.Abs(xh)*size)+rmsGrad[2]*(1+rr)*(1+math.Abs(xh))/unit
			c.set(0, i*d+j, gx, bound)
			c.set(2, i*d+j, gx, bound)
			c.add(1, j, g*xh, treeRows(n, d)+rmsGradTree)
		}
	})
	return func(s *Set[float32]) [][]float32 {
		gx, gw, in := make([]float32, n*d), make([]float32, d), slices.Clone(gy)
		RMSNormGrad(s, gx, gw, x, w, gy, ri, n, d)
		RMSNormGrad(s, in, slices.Clone(gw), x, w, in, ri, n, d) // gx may be gy
		return [][]float32{gx, gw, in}
	}, c
}

func TestLayerNorm(t *testing.T) { testRows(t, "LayerNorm") }

func drawLayerNorm(o operands, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
	x, w, b := o.uniform(n*d, -3, 5), o.uniform(d, -2, 2), o.uniform(d, -1, 1)
	c := newRowCase(n*d, n, n, n*d)
	eachRow(x, n, d, func(i int, row []float64) {
		mean, ss, top := 0.0, 0.0, 0.0
		for _, v := range row {
			mean += v / float64(d)
			top = max(top, math.Abs(v))
		}
		for _, v := range row {
			ss += (v - mean) * (v - mean)
		}
		ri := 1 / math.Sqrt(ss/float64(d)+float64(float32(1e-5)))
		e := slackOf(layerBound, d)
		c.set(1, i, mean, e*top)
		c.set(2, i, ri, e*ri*(layerBound[2]+e*unit*(ri*top)*(ri*top)))
		for j, v := range row {
			xh := (v - mean) * ri
			y := xh*float64(w[j]) + float64(b[j])
			bound := e * (math.Abs(xh*float64(w[j])) + math.Abs(float64(b[j])) + top*ri*math.Abs(float64(w[j])))
			c.set(0, i*d+j, y, bound)
			c.set(3, i*d+j, y, bound)
		}
	})
	return func(s *Set[float32]) [][]float32 {
		y, mean, ri, in := make([]float32, n*d), make([]float32, n), make([]float32, n), slices.Clone(x)
		LayerNorm(s, y, mean, ri, x, w, b, n, d, 1e-5)
		LayerNorm(s, in, slices.Clone(mean), slices.Clone(ri), in, w, b, n, d, 1e-5)
		return [][]float32{y, mean, ri, in}
	}, c
}

func TestLayerNormGrad(t *testing.T) { testRows(t, "LayerNormGrad") }

func drawLayerNormGrad(o operands, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
	x, w, gy := o.uniform(n*d, -3, 3), o.uniform(d, -2, 2), o.uniform(n*d, -1, 1)
	mean, ri := o.uniform(n, -1, 1), o.uniform(n, .2, 2)
	c := newRowCase(n*d, d, d, n*d)
	eachRow(x, n, d, func(i int, row []float64) {
		m, rr := float64(mean[i]), float64(ri[i])
		var a, ax, absA, absX float64
		for j, v := range row {
			h := float64(gy[i*d+j]) * float64(w[j]) / float64(d)
			a, absA = a+h, absA+math.Abs(h)
			ax, absX = ax+h*(v-m)*rr, absX+math.Abs(h*(v-m)*rr)
		}
		for j, v := range row {
			g := float64(gy[i*d+j])
			xh, h := (v-m)*rr, g*float64(w[j])
			gx, bound := rr*(h-a-xh*ax), slackOf(layerGrad, d)*rr*(math.Abs(h)+absA+math.Abs(xh)*absX)+layerGrad[2]*(1+rr)*(1+math.Abs(xh))/unit
			c.set(0, i*d+j, gx, bound)
			c.set(3, i*d+j, gx, bound)
			c.add(1, j, g*xh, treeRows(n, d)+layerTree[0])
			c.add(2, j, g, treeRows(n, d)+layerTree[1])
		}
	})
	return func(s *Set[float32]) [][]float32 {
		gx, gw, gb, in := make([]float32, n*d), make([]float32, d), make([]float32, d), slices.Clone(gy)
		LayerNormGrad(s, gx, gw, gb, x, w, gy, mean, ri, n, d)
		LayerNormGrad(s, in, slices.Clone(gw), slices.Clone(gb), x, w, in, mean, ri, n, d)
		return [][]float32{gx, gw, gb, in}
	}, c
}

// logSum returns the maximum of a row and ln Σ eˣ.
func logSum(row []float64) (top, lse float64) {
	top = slices.Max(row)
	sum := 0.0
	for _, v := range row {
		sum += math.Exp(v - top)
	}
	return top, top + math.Log(sum)
}

func TestSoftmax(t *testing.T) { testRows(t, "Softmax") }

func drawSoftmax(o operands, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
	x := o.uniform(n*d, -20, 20)
	c := newRowCase(n*d, n*d)
	c.under = softmaxBound[2]
	eachRow(x, n, d, func(i int, row []float64) {
		top, lse := logSum(row)
		for j, v := range row {
			y := math.Exp(v - lse)
			bound := y * (slackOf(softmaxBound, d) + top - v)
			c.set(0, i*d+j, y, bound)
			c.set(1, i*d+j, y, bound)
		}
	})
	return func(s *Set[float32]) [][]float32 {
		y, in := make([]float32, n*d), slices.Clone(x)
		Softmax(s, y, x, n, d)
		Softmax(s, in, in, n, d)
		return [][]float32{y, in}
	}, c
}

func TestSoftmaxGrad(t *testing.T) { testRows(t, "SoftmaxGrad") }

func drawSoftmaxGrad(o operands, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
	y, gy := o.uniform(n*d, 0, 1), o.uniform(n*d, -1, 1)
	c := newRowCase(n*d, n*d)
	c.under = softmaxGrad[3]
	eachRow(y, n, d, func(i int, row []float64) {
		dot, size := 0.0, 0.0
		for j, p := range row {
			dot += p * float64(gy[i*d+j])
			size += math.Abs(p * float64(gy[i*d+j]))
		}
		for j, p := range row {
			g := float64(gy[i*d+j])
			bound := p * (slackOf(softmaxGrad, d)*size + softmaxGrad[2]*math.Abs(g))
			c.set(0, i*d+j, p*(g-dot), bound)
			c.set(1, i*d+j, p*(g-dot), bound)
		}
	})
	return func(s *Set[float32]) [][]float32 {
		gx, in := make([]float32, n*d), slices.Clone(gy)
		SoftmaxGrad(s, gx, y, gy, n, d)
		SoftmaxGrad(s, in, y, in, n, d)
		return [][]float32{gx, in}
	}, c
}

func TestCrossEntropy(t *testing.T) { testRows(t, "CrossEntropy") }

func drawCrossEntropy(o operands, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
	x, gy, given := o.uniform(n*d, -8, 8), o.uniform(n, -1, 1), make([]float32, n)
	target := make([]int32, n)
	for i := range target {
		target[i] = int32(o.r.IntN(d+1) - 1) // some are ignored
	}
	c := newRowCase(n, n, n*d, n*d)
	eachRow(x, n, d, func(i int, row []float64) {
		top, lse := logSum(row)
		given[i] = float32(lse)
		bound := slackOf(crossBound, d) + crossBound[2]*(math.Abs(top)+math.Abs(lse))
		c.set(1, i, lse, bound)
		if target[i] < 0 {
			return
		}
		loss := lse - row[target[i]]
		c.set(0, i, loss, bound+crossBound[3]*math.Abs(loss))
		for j, v := range row {
			p := math.Exp(v - float64(given[i]))
			bound := p * (crossGrad[0] + math.Abs(v-lse))
			if j == int(target[i]) {
				p, bound = p-1, bound+crossGrad[1]
			}
			g := float64(gy[i])
			under := crossGrad[2] * (1 + math.Abs(g)) / unit
			c.set(2, i*d+j, g*p, math.Abs(g)*bound+under)
			c.set(3, i*d+j, g*p, math.Abs(g)*bound+under)
		}
	})
	return func(s *Set[float32]) [][]float32 {
		loss, lse, gx, in := make([]float32, n), make([]float32, n), make([]float32, n*d), slices.Clone(x)
		CrossEntropy(s, loss, lse, x, target, n, d)
		CrossEntropyGrad(s, gx, x, given, target, gy, n, d)
		CrossEntropyGrad(s, in, in, given, target, gy, n, d)
		return [][]float32{loss, lse, gx, in}
	}, c
}

func TestGatherScatter(t *testing.T) { testRows(t, "GatherScatter") }

func drawGatherScatter(o operands, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
	const rows = 7
	w, gy := o.uniform(rows*d, -1, 1), o.uniform(n*d, -1, 1)
	id := make([]int32, n)
	for i := range id {
		id[i] = int32(o.r.IntN(rows))
	}
	c := newRowCase(n*d, rows*d)
	for i, k := range id {
		for j := range d {
			c.set(0, i*d+j, float64(w[int(k)*d+j]), 0)
			c.add(1, int(k)*d+j, float64(gy[i*d+j]), float64(n))
		}
	}
	return func(s *Set[float32]) [][]float32 {
		y, gw := make([]float32, n*d), o.uniform(rows*d, 5, 6) // what stood there goes
		GatherRows(y, w, id, rows, d)
		ScatterAddRows(s, gw, gy, id, rows, d)
		return [][]float32{y, gw}
	}, c
}

// TestRowsValues puts NaN, Inf and −0 in one row of three and holds the kernels to
// the Values lines of their comments; the other rows keep their bits.
func TestRowsValues(t *testing.T) {
	const n, bad = 3, 1
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	isNaN := func(x float32) bool { return x != x }
	for _, s := range usable() {
		for _, d := range []int{1, 7, 33, 70} {
			r := rand.New(rand.NewPCG(3, 9))
			x, gy := uniform(r, n*d, -8, 8), uniform(r, n*d, -1, 1)
			target, ignored := []int32{0, int32(d - 1), 0}, []int32{0, -1, 0}
			type result struct{ y, loss, lse, ignoredLoss, gx, ignoredGx []float32 }
			run := func(x []float32) (c result) {
				v := func(n int) []float32 { return uniform(r, n, 5, 6) }
				c = result{v(n * d), v(n), v(n), v(n), v(n * d), v(n * d)}
				Softmax(s, c.y, x, n, d)
				CrossEntropy(s, c.ignoredLoss, c.lse, x, ignored, n, d)
				CrossEntropy(s, c.loss, c.lse, x, target, n, d)
				CrossEntropyGrad(s, c.gx, x, c.lse, target, gy, n, d)
				CrossEntropyGrad(s, c.ignoredGx, x, c.lse, ignored, gy, n, d)
				return c
			}
			clean := run(x)
			for _, value := range []float32{nan, inf, -inf, float32(math.Copysign(0, -1)), 1e-45} {
				for j := range d + 1 { // behind the last place: the whole row
					name := fmt.Sprintf("%s d=%d: %g at %d", s.Name, d, value, j)
					x := slices.Clone(x)
					row := x[bad*d : bad*d+d]
					if j < d {
						row[j] = value
					}
					for i := range row {
						if j == d {
							row[i] = value
						}
					}
					got := run(x)
					_, want := logSum(widen([][]float32{row})[0])
					allNaN := want != want || value == inf || value == -inf && (j == d || d == 1)
					for i := range n * d {
						y, gx := got.y[i], got.gx[i]
						switch {
						case i/d != bad:
							if !same([]float32{y, gx}, []float32{clean.y[i], clean.gx[i]}) {
								t.Fatalf("%s: row %d changed", name, i/d)
							}
						case isNaN(y) != allNaN || isNaN(gx) != allNaN:
							t.Fatalf("%s: element %d has y %g and gx %g", name, i%d, y, gx)
						case value == -inf && !allNaN && i%d == j && (y != 0 || j != d-1 && gx != 0):
							t.Fatalf("%s: y %g and gx %g, want 0", name, y, gx)
						case got.ignoredGx[i] != 0:
							t.Fatalf("%s: the ignored row has the gradient %g", name, got.ignoredGx[i])
						}
					}
					for i := range n {
						if i == bad && isNaN(got.lse[i]) != allNaN || i != bad && got.lse[i] != clean.lse[i] {
							t.Fatalf("%s: lse of row %d is %g, was %g", name, i, got.lse[i], clean.lse[i])
						}
					}
					if got.ignoredLoss[bad] != 0 {
						t.Fatalf("%s: the ignored row has loss %g", name, got.ignoredLoss[bad])
					}
				}
			}
		}
	}
}

// TestRowsShapeErrors gives each kernel a short operand or a wrong index.
func TestRowsShapeErrors(t *testing.T) {
	s := Reference[float32]()
	v := func(n int) []float32 { return make([]float32, n) }
	id := func(x ...int32) []int32 { return x }
	for op, calls := range map[string][]func(){
		"rmsnorm":           {func() { RMSNorm(s, v(6), v(2), v(5), v(3), 2, 3, 1) }, func() { RMSNorm(s, v(6), v(2), v(6), v(2), 2, 3, 1) }, func() { RMSNorm(s, v(6), v(1), v(6), v(3), 2, 3, 1) }, func() { RMSNorm(s, v(6), v(2), v(6), v(3), 2, 0, 1) }, func() { RMSNorm(s, v(6), v(2), v(6), v(3), -1, 3, 1) }},
		"rmsnorm-grad":      {func() { RMSNormGrad(s, v(6), v(2), v(6), v(3), v(6), v(2), 2, 3) }},
		"layernorm":         {func() { LayerNorm(s, v(6), v(2), v(1), v(6), v(3), v(3), 2, 3, 1) }},
		"layernorm-grad":    {func() { LayerNormGrad(s, v(6), v(3), v(3), v(6), v(3), v(5), v(2), v(2), 2, 3) }},
		"softmax":           {func() { Softmax(s, v(5), v(6), 2, 3) }, func() { Softmax(s, v(6), v(6), math.MaxInt/2, 3) }},
		"softmax-grad":      {func() { SoftmaxGrad(s, v(6), v(6), v(4), 2, 3) }},
		"crossentropy":      {func() { CrossEntropy(s, v(2), v(2), v(6), id(0, 3), 2, 3) }, func() { CrossEntropy(s, v(2), v(2), v(6), id(0), 2, 3) }},
		"crossentropy-grad": {func() { CrossEntropyGrad(s, v(6), v(6), v(2), id(0, 3), v(2), 2, 3) }, func() { CrossEntropyGrad(s, v(6), v(6), v(2), id(0, 2), v(1), 2, 3) }},
		"linear-crossentropy": {
			func() { LinearCrossEntropy(s, v(2), v(6), v(12), v(6), v(12), id(0, 4), v(2), 2, 3, 4) },
			func() { LinearCrossEntropy(s, v(2), v(6), v(12), v(6), v(11), id(0, 3), v(2), 2, 3, 4) },
			func() { LinearCrossEntropy(s, v(2), nil, v(11), v(6), v(12), id(0, 3), v(2), 2, 3, 4) },
			func() { LinearCrossEntropy(s, v(2), v(6), nil, v(6), v(12), id(0, 3), v(1), 2, 3, 4) },
			func() { LinearCrossEntropy(s, v(2), v(6), nil, v(6), nil, id(-1, -1), v(2), 2, 3, 0) },
		},
		"gather":  {func() { GatherRows(v(6), v(9), id(0, 3), 3, 3) }, func() { GatherRows(v(6), v(9), id(0, -1), 3, 3) }, func() { GatherRows(v(5), v(9), id(0, 1), 3, 3) }},
		"scatter": {func() { ScatterAddRows(s, v(9), v(6), id(0, 3), 3, 3) }, func() { ScatterAddRows(s, v(8), v(6), id(0, 1), 3, 3) }},
	} {
		for i, call := range calls {
			var e *ShapeError
			if err, _ := catch(call).(error); !errors.As(err, &e) || e.Op != op {
				t.Errorf("%s, call %d: panic with %v", op, i, err)
			}
		}
	}
}

// TestRowsAllocations: the checks cost nothing per row, and the scratch memory
// comes back.
func TestRowsAllocations(t *testing.T) {
	s := Reference[float32]()
	const n, d = 600, 40
	x, y, w, r, id := make([]float32, n*d), make([]float32, n*d), make([]float32, d), make([]float32, n), make([]int32, n)
	for name, run := range map[string]func(){
		"rmsnorm":      func() { RMSNorm(s, y, r, x, w, n, d, 1) },
		"rmsnorm-grad": func() { RMSNormGrad(s, y, w, x, w, x, r, n, d) },
		"crossentropy": func() { CrossEntropy(s, r, make([]float32, n), x, id, n, d) },
		"linear":       func() { LinearCrossEntropy(s, make([]float32, n), nil, y[:10*d], x, x[:10*d], id, r, n, d, 10) },
		"gather":       func() { GatherRows(y, x, id, n, d) },
		"scatter":      func() { ScatterAddRows(s, y, x, id, n, d) },
	} {
		if a := testing.AllocsPerRun(20, run); a > n/20 { // some, because pools leak under the race detector
			t.Errorf("%s: %v allocations", name, a)
		}
	}
}

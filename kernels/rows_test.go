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
var rowShapes = [][2]int{{0, 3}, {1, 1}, {1, 7}, {5, 17}, {3, 1024}, {300, 70}, {1000, 33}, {20000, 3}, {2, 20001}}

// rowCase is the float64 model of a kernel over rows: results, and the error
// allowed in each, in units of u.
type rowCase struct{ val, bound [][]float64 }

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

// testRows runs a kernel of rows.go on every usable set and shape: the same bits
// for 1, 2 and 3 processors, and within the model's bounds. draw makes operands
// and returns the kernel and the model of one shape.
func testRows(t *testing.T, draw func(r *rand.Rand, n, d int) (run func(s *Set[float32]) [][]float32, model *rowCase)) {
	for _, s := range usable() {
		r := rand.New(rand.NewPCG(1, 2))
		for _, shape := range rowShapes {
			run, model := draw(r, shape[0], shape[1])
			name := fmt.Sprintf("%s %v", s.Name, shape)
			got := sameBits(t, name, func() [][]float32 { return run(s) })
			for k := range got {
				boundedBy(t, fmt.Sprintf("%s result %d", name, k), got[k], model.val[k], model.bound[k])
			}
		}
	}
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

func TestRMSNorm(t *testing.T) {
	testRows(t, func(r *rand.Rand, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
		x, w := uniform(r, n*d, -3, 3), uniform(r, d, -2, 2)
		c := newRowCase(n*d, n, n*d)
		slack := 8 + float64(d)/32
		eachRow(x, n, d, func(i int, row []float64) {
			ss := 0.0
			for _, v := range row {
				ss += v * v
			}
			ri := 1 / math.Sqrt(ss/float64(d)+float64(float32(1e-5)))
			c.set(1, i, ri, slack*ri)
			for j, v := range row {
				y := v * float64(w[j]) * ri
				c.set(0, i*d+j, y, slack*math.Abs(y))
				c.set(2, i*d+j, y, slack*math.Abs(y))
			}
		})
		return func(s *Set[float32]) [][]float32 {
			y, ri, in := make([]float32, n*d), make([]float32, n), slices.Clone(x)
			RMSNorm(s, y, ri, x, w, n, d, 1e-5)
			RMSNorm(s, in, slices.Clone(ri), in, w, n, d, 1e-5) // y may be x
			return [][]float32{y, ri, in}
		}, c
	})
}

// treeSlack bounds, in u, a sum over n rows of d elements by reduceRows.
func treeSlack(n, d int) float64 { return float64(min(partialRows(n, d), n)) + 8 }

func TestRMSNormGrad(t *testing.T) {
	testRows(t, func(r *rand.Rand, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
		x, w, gy, ri := uniform(r, n*d, -3, 3), uniform(r, d, -2, 2), uniform(r, n*d, -1, 1), uniform(r, n, .2, 2)
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
				gx, bound := rr*(h-xh*mean), (float64(d)/16+16)*rr*(math.Abs(h)+math.Abs(xh)*size)
				c.set(0, i*d+j, gx, bound)
				c.set(2, i*d+j, gx, bound)
				c.add(1, j, g*xh, treeSlack(n, d))
			}
		})
		return func(s *Set[float32]) [][]float32 {
			gx, gw, in := make([]float32, n*d), make([]float32, d), slices.Clone(gy)
			RMSNormGrad(s, gx, gw, x, w, gy, ri, n, d)
			RMSNormGrad(s, in, slices.Clone(gw), x, w, in, ri, n, d) // gx may be gy
			return [][]float32{gx, gw, in}
		}, c
	})
}

func TestLayerNorm(t *testing.T) {
	testRows(t, func(r *rand.Rand, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
		x, w, b := uniform(r, n*d, -3, 5), uniform(r, d, -2, 2), uniform(r, d, -1, 1)
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
			slack := float64(d)/16 + 16
			c.set(1, i, mean, slack*top)
			c.set(2, i, ri, slack*ri*(1+top*ri))
			for j, v := range row {
				xh := (v - mean) * ri
				y := xh*float64(w[j]) + float64(b[j])
				// The factor 1+|x̂| carries the error of r to y.
				bound := slack * ((math.Abs(xh*float64(w[j]))+top*ri*math.Abs(float64(w[j])))*(1+math.Abs(xh)) + math.Abs(float64(b[j])))
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
	})
}

func TestLayerNormGrad(t *testing.T) {
	testRows(t, func(r *rand.Rand, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
		x, w, gy := uniform(r, n*d, -3, 3), uniform(r, d, -2, 2), uniform(r, n*d, -1, 1)
		mean, ri := uniform(r, n, -1, 1), uniform(r, n, .2, 2)
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
				gx, bound := rr*(h-a-xh*ax), (float64(d)/16+16)*rr*(math.Abs(h)+absA+math.Abs(xh)*absX)
				c.set(0, i*d+j, gx, bound)
				c.set(3, i*d+j, gx, bound)
				c.add(1, j, g*xh, treeSlack(n, 2*d)+4)
				c.add(2, j, g, treeSlack(n, d))
			}
		})
		return func(s *Set[float32]) [][]float32 {
			gx, gw, gb, in := make([]float32, n*d), make([]float32, d), make([]float32, d), slices.Clone(gy)
			LayerNormGrad(s, gx, gw, gb, x, w, gy, mean, ri, n, d)
			LayerNormGrad(s, in, slices.Clone(gw), slices.Clone(gb), x, w, in, mean, ri, n, d)
			return [][]float32{gx, gw, gb, in}
		}, c
	})
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

func TestSoftmax(t *testing.T) {
	testRows(t, func(r *rand.Rand, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
		x := uniform(r, n*d, -20, 20)
		c := newRowCase(n*d, n*d)
		eachRow(x, n, d, func(i int, row []float64) {
			top, lse := logSum(row)
			for j, v := range row {
				y := math.Exp(v - lse)
				bound := y * (float64(d)/16 + 16 + top - v)
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
	})
}

func TestSoftmaxGrad(t *testing.T) {
	testRows(t, func(r *rand.Rand, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
		y, gy := uniform(r, n*d, 0, 1), uniform(r, n*d, -1, 1)
		c := newRowCase(n*d, n*d)
		eachRow(y, n, d, func(i int, row []float64) {
			dot, size := 0.0, 0.0
			for j, p := range row {
				dot += p * float64(gy[i*d+j])
				size += math.Abs(p * float64(gy[i*d+j]))
			}
			for j, p := range row {
				g := float64(gy[i*d+j])
				bound := p * ((float64(d)/16+10)*size + 4*math.Abs(g))
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
	})
}

func TestCrossEntropy(t *testing.T) {
	testRows(t, func(r *rand.Rand, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
		x, gy, given := uniform(r, n*d, -8, 8), uniform(r, n, -1, 1), make([]float32, n)
		target := make([]int32, n)
		for i := range target {
			target[i] = int32(r.IntN(d+1) - 1) // some are ignored
		}
		c := newRowCase(n, n, n*d, n*d)
		eachRow(x, n, d, func(i int, row []float64) {
			top, lse := logSum(row)
			given[i] = float32(lse)
			bound := float64(d)/16 + 32 + 2*math.Abs(top) + 2*math.Abs(lse)
			c.set(1, i, lse, bound)
			if target[i] < 0 {
				return
			}
			loss := lse - row[target[i]]
			c.set(0, i, loss, bound+2*math.Abs(loss))
			for j, v := range row {
				p := math.Exp(v - float64(given[i]))
				e := p * (8 + math.Abs(v-lse))
				if j == int(target[i]) {
					p, e = p-1, e+2
				}
				g := float64(gy[i])
				c.set(2, i*d+j, g*p, math.Abs(g)*(e+math.Abs(p)))
				c.set(3, i*d+j, g*p, math.Abs(g)*(e+math.Abs(p)))
			}
		})
		return func(s *Set[float32]) [][]float32 {
			loss, lse, gx, in := make([]float32, n), make([]float32, n), make([]float32, n*d), slices.Clone(x)
			CrossEntropy(s, loss, lse, x, target, n, d)
			CrossEntropyGrad(s, gx, x, given, target, gy, n, d)
			CrossEntropyGrad(s, in, in, given, target, gy, n, d)
			return [][]float32{loss, lse, gx, in}
		}, c
	})
}

func TestGatherScatter(t *testing.T) {
	testRows(t, func(r *rand.Rand, n, d int) (func(s *Set[float32]) [][]float32, *rowCase) {
		const rows = 7
		w, gy := uniform(r, rows*d, -1, 1), uniform(r, n*d, -1, 1)
		id := make([]int32, n)
		for i := range id {
			id[i] = int32(r.IntN(rows))
		}
		c := newRowCase(n*d, rows*d)
		for i, k := range id {
			for j := range d {
				c.set(0, i*d+j, float64(w[int(k)*d+j]), 0)
				c.add(1, int(k)*d+j, float64(gy[i*d+j]), float64(n))
			}
		}
		return func(s *Set[float32]) [][]float32 {
			y, gw := make([]float32, n*d), uniform(r, rows*d, 5, 6) // what stood there goes
			GatherRows(y, w, id, rows, d)
			ScatterAddRows(s, gw, gy, id, rows, d)
			return [][]float32{y, gw}
		}, c
	})
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
		"gather":            {func() { GatherRows(v(6), v(9), id(0, 3), 3, 3) }, func() { GatherRows(v(6), v(9), id(0, -1), 3, 3) }, func() { GatherRows(v(5), v(9), id(0, 1), 3, 3) }},
		"scatter":           {func() { ScatterAddRows(s, v(9), v(6), id(0, 3), 3, 3) }, func() { ScatterAddRows(s, v(8), v(6), id(0, 1), 3, 3) }},
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
		"gather":       func() { GatherRows(y, x, id, n, d) },
		"scatter":      func() { ScatterAddRows(s, y, x, id, n, d) },
	} {
		if a := testing.AllocsPerRun(20, run); a > 8 {
			t.Errorf("%s: %v allocations", name, a)
		}
	}
}

package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

func TestLinearCrossEntropy(t *testing.T) { testRows(t, "LinearCrossEntropy") }

// drawLinearCrossEntropy is for n rows and v classes, of some width.
func drawLinearCrossEntropy(o operands, n, v int) (func(s *Set[float32]) [][]float32, *rowCase) {
	d := 1 + (n+v)%11
	x, w, weight, target := o.uniform(n*d, -2, 2), o.uniform(v*d, -2, 2), o.uniform(n, -1, 1), make([]int32, n)
	for i := range target {
		target[i] = int32(o.r.IntN(v+1) - 1) // some are ignored
	}
	return func(s *Set[float32]) [][]float32 {
		loss, gx, gw := uniform(o.r, n, 5, 6), uniform(o.r, n*d, 5, 6), uniform(o.r, v*d, 5, 6)
		LinearCrossEntropy(s, loss, gx, gw, x, w, target, weight, n, d, v)
		return [][]float32{loss, gx, gw}
	}, linearCrossEntropyModel(x, w, target, weight, n, d, v)
}

// linearCrossEntropyModel is the composition in float64: logits, softmax, its
// gradient, and the products with w and x, one row at a time.
func linearCrossEntropyModel(x, w []float32, target []int32, weight []float32, n, d, v int) *rowCase {
	c := newRowCase(n, n*d, v*d)
	c.under = linearGrad[5] * float64(v+n)
	z := make([]float64, v)
	eachRow(x, n, d, func(i int, row []float64) {
		if target[i] < 0 {
			return
		}
		top := 0.0 // A_i
		for j := range v {
			sum, size := 0.0, 0.0
			for k, a := range row {
				sum += a * float64(w[j*d+k])
				size += math.Abs(a * float64(w[j*d+k]))
			}
			z[j], top = sum, max(top, size)
		}
		_, lse := logSum(z)
		r := (linearRow[0]*float64(d)+linearRow[1])*top + float64(v)/linearRow[2] + linearRow[3]
		if r*unit >= linearRow[4] {
			r = math.Inf(1) // nothing is said
		}
		c.set(0, i, lse-z[target[i]], r)
		q := math.Abs(float64(weight[i]))
		tiny := (1 + q) / unit
		for j := range v {
			p, e := math.Exp(z[j]-lse), math.Exp(z[j]-lse)
			if j == int(target[i]) {
				p, e = p-1, e+1
			}
			for k, a := range row {
				b := float64(w[j*d+k])
				c.val[1][i*d+k] += float64(weight[i]) * p * b
				c.bound[1][i*d+k] += linearGrad[0] * ((r+float64(v))*q*e + linearGrad[1]*tiny) * math.Abs(b)
				c.val[2][j*d+k] += float64(weight[i]) * p * a
				c.bound[2][j*d+k] += linearGrad[2] * ((r+linearGrad[3]*float64(n))*q*e + linearGrad[4]*tiny) * math.Abs(a)
			}
		}
	})
	return c
}

// withLogits runs f where no more than so many logits are held at once.
func withLogits(n int, f func()) {
	defer func(before int) { logitsAtOnce = before }(logitsAtOnce)
	logitsAtOnce = n
	f()
}

// TestLinearCrossEntropyChunks cuts the rows in chunks of several sizes, a single row
// among them, with counts around each: all, some or none of the rows are ignored. A
// gradient alone has the bits that it has beside the other, and so has the loss.
func TestLinearCrossEntropyChunks(t *testing.T) {
	for _, s := range usable() {
		r := rand.New(rand.NewPCG(7, 1))
		for _, at := range []int{1, 39, 40, 41, 5 * 40, 12 * 40, 28*40 + 39} {
			for _, n := range []int{0, 1, 2, 4, 5, 6, 7, 11, 12, 13, 27, 28, 29, 40} {
				for _, size := range [][2]int{{40, 7}, {7, 40}, {1, 40}, {40, 1}} {
					v, d := size[0], size[1]
					x, w, weight := uniform(r, n*d, -1, 1), uniform(r, v*d, -1, 1), uniform(r, n, -1, 1)
					for kind, keep := range map[string]float64{"all": 1, "half": .5, "none": 0} {
						target := make([]int32, n)
						for i := range target {
							if target[i] = -1; r.Float64() < keep {
								target[i] = int32(r.IntN(v))
							}
						}
						name := fmt.Sprintf("%d logits, n=%d v=%d d=%d, %s counted", at, n, v, d, kind)
						loss, gx, gw := uniform(r, n, 5, 6), uniform(r, n*d, 5, 6), uniform(r, v*d, 5, 6)
						only := [][]float32{slices.Clone(loss), slices.Clone(loss), slices.Clone(loss), slices.Clone(gx), slices.Clone(gw)}
						withLogits(at, func() {
							LinearCrossEntropy(s, loss, gx, gw, x, w, target, weight, n, d, v)
							LinearCrossEntropy(s, only[0], nil, nil, x, w, target, weight, n, d, v)
							LinearCrossEntropy(s, only[1], only[3], nil, x, w, target, weight, n, d, v)
							LinearCrossEntropy(s, only[2], nil, only[4], x, w, target, weight, n, d, v)
						})
						linearCrossEntropyModel(x, w, target, weight, n, d, v).check(t, "LinearCrossEntropy", s.Name, name, [][]float32{loss, gx, gw})
						for k, got := range only {
							if !same(got, [][]float32{loss, loss, loss, gx, gw}[k]) {
								t.Errorf("%s: %s: result %d differs without the others", s.Name, name, k)
							}
						}
						if t.Failed() {
							return
						}
					}
				}
			}
		}
	}
}

// TestLinearCrossEntropyValues puts NaN, Inf and −0 in a row of x, counted or
// ignored, in a row of w and in a weight, and looks how far they get.
func TestLinearCrossEntropyValues(t *testing.T) {
	const n, d, v, bad = 30, 5, 9, 17
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	isFinite := func(x float32) bool { return x-x == 0 }
	for _, s := range usable() {
		for _, at := range []int{logitsAtOnce, 6 * v} {
			r := rand.New(rand.NewPCG(3, 9))
			x, w, weight := uniform(r, n*d, -1, 1), uniform(r, v*d, -1, 1), uniform(r, n, .5, 1)
			target := make([]int32, n)
			for i := range target {
				target[i] = int32(i % v)
			}
			run := func() (loss, gx, gw []float32) {
				loss, gx, gw = uniform(r, n, 5, 6), uniform(r, n*d, 5, 6), uniform(r, v*d, 5, 6)
				withLogits(at, func() { LinearCrossEntropy(s, loss, gx, gw, x, w, target, weight, n, d, v) })
				return loss, gx, gw
			}
			allNaN := func(x []float32) bool {
				return !slices.ContainsFunc(x, func(v float32) bool { return v == v })
			}
			loss0, gx0, gw0 := run()
			for _, value := range []float32{nan, inf, -inf} {
				name := fmt.Sprintf("%s, %d logits, %g", s.Name, at, value)
				before := x[bad*d+2]
				x[bad*d+2] = value
				loss, gx, gw := run()
				if !allNaN(loss[bad:bad+1]) && value == nan || !allNaN(gx[bad*d:(bad+1)*d]) || !allNaN(gw) {
					t.Errorf("%s in a counted row: loss %g, gx %g, gw %g", name, loss[bad], gx[bad*d:(bad+1)*d], gw)
				}
				for i := range n {
					if i != bad && (loss[i] != loss0[i] || !same(gx[i*d:(i+1)*d], gx0[i*d:(i+1)*d])) {
						t.Errorf("%s: row %d changed", name, i)
					}
				}
				target[bad] = -1
				loss, gx, gw = run()
				x[bad*d+2] = before
				clean, _, cleanW := run()
				if target[bad] = bad % v; loss[bad] != 0 || slices.ContainsFunc(gx[bad*d:(bad+1)*d], func(v float32) bool { return v != 0 }) || !same(gw, cleanW) || !same(loss, clean) {
					t.Errorf("%s in an ignored row: loss %g, gx %g, gw %g", name, loss[bad], gx[bad*d:(bad+1)*d], gw)
				}
				before, w[4*d] = w[4*d], value
				loss, gx, gw = run()
				for i := range n { // the logit is ±Inf, or NaN
					reached := value != value || (value > 0) == (x[i*d] > 0)
					if allNaN(gx[i*d:(i+1)*d]) != reached || !reached && isFinite(gx[i*d]) {
						t.Errorf("%s in w, times %g: loss %g, gx %g", name, x[i*d], loss[i], gx[i*d:(i+1)*d])
					}
				}
				if !allNaN(gw) {
					t.Errorf("%s in w: gw %g", name, gw)
				}
				w[4*d] = before
				before, weight[bad] = weight[bad], value
				if loss, gx, gw = run(); !same(loss, loss0) || slices.ContainsFunc(gx[bad*d:(bad+1)*d], isFinite) || slices.ContainsFunc(gw, isFinite) {
					t.Errorf("%s as a weight: loss %g, gx %g, gw %g", name, loss, gx[bad*d:(bad+1)*d], gw)
				}
				weight[bad] = before
			}
			x[3], w[3], weight[3] = float32(math.Copysign(0, -1)), float32(math.Copysign(0, -1)), 1e-45
			loss, gx, gw := run()
			linearCrossEntropyModel(x, w, target, weight, n, d, v).check(t, "LinearCrossEntropy", s.Name, "denormals", [][]float32{loss, gx, gw})
			if same(gw, gw0) {
				t.Errorf("%s: a weight of 1e-45 is one like any other", s.Name)
			}
		}
	}
}

// TestLinearCrossEntropyLarge: logits beyond what e^x holds are told apart like any
// other, for a row's maximum is taken off first.
func TestLinearCrossEntropyLarge(t *testing.T) {
	for _, s := range usable() {
		x, w := []float32{1000, -1000}, []float32{1, 2, -3}
		loss, gx, gw := make([]float32, 2), make([]float32, 2), make([]float32, 3)
		LinearCrossEntropy(s, loss, gx, gw, x, w, []int32{0, 2}, []float32{1, 1}, 2, 1, 3)
		if !slices.Equal(loss, []float32{1000, 0}) || !slices.Equal(gx, []float32{1, 0}) || !slices.Equal(gw, []float32{-1000, 1000, 0}) {
			t.Errorf("%s: loss %v, gx %v, gw %v", s.Name, loss, gx, gw)
		}
	}
}

// TestLinearCrossEntropyMemory: of a vocabulary of 49,408 and 512 rows never all
// logits are held, 101 MB, but 2²² of them, and as much again at most by Gemm. Under an
// emulator all of it is less.
func TestLinearCrossEntropyMemory(t *testing.T) {
	n, d, v, most := 512, 4, 49408, logitsAtOnce
	if testing.Short() {
		n, v, most = 128, 6000, 1<<16
	}
	r := rand.New(rand.NewPCG(1, 1))
	x, w, target, weight := uniform(r, n*d, -1, 1), uniform(r, v*d, -1, 1), make([]int32, n), uniform(r, n, 0, 1)
	loss, gx, gw := make([]float32, n), make([]float32, n*d), make([]float32, v*d)
	allocated := func() uint64 {
		runtime.GC()
		runtime.GC() // the second empties the pools
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		LinearCrossEntropy(F32(), loss, gx, gw, x, w, target, weight, n, d, v)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	withLogits(most, func() {
		const panels = 128 << 10 // of Gemm
		if got, logits := allocated(), uint64(4*most); got > 2*logits+logits/8+panels {
			t.Errorf("%d bytes were allocated, of logits there may be %d", got, logits)
		}
	})
	withLogits(2*n*v, func() { // all at once: the measure sees it
		if got := allocated(); got < uint64(4*n*v) {
			t.Errorf("%d bytes were allocated for %d logits", got, n*v)
		}
	})
}

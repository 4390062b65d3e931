//go:build opengl

package opengl

import (
	"fmt"
	"math"
	"testing"
)

var lengths = []int{1, 2, 31, 100, 255, 256, 257, 1000}

func TestFill(t *testing.T) {
	for _, n := range lengths {
		twice(t, fmt.Sprint(n), func(a *arena) {
			y, z := a.out(n), a.out(n)
			a.ok(a.c.Fill(y, -2.5))
			a.ok(a.c.FillInt32(z, int32(math.Float32bits(7))))
			want, seven := make([]float64, n), make([]float64, n)
			for i := range want {
				want[i], seven[i] = -2.5, 7
			}
			a.want("y", y, want, relative(0, want))
			a.want("z", z, seven, relative(0, want))
		})
	}
}

// walk calls f with the positions of every element of views over shape.
func walk(shape []int, f func(i int, index []int)) {
	index := make([]int, len(shape))
	n := 1
	for _, d := range shape {
		n *= d
	}
	for i := range n {
		f(i, index)
		for a := len(shape) - 1; a >= 0; a-- {
			if index[a]++; index[a] < shape[a] {
				break
			}
			index[a] = 0
		}
	}
}

func at(index, steps []int) (p int) {
	for a, k := range index {
		p += k * steps[a]
	}
	return p
}

func span(shape, steps []int) int {
	p := 1
	for a, d := range shape {
		p += (d - 1) * steps[a]
	}
	return p
}

// rowMajor returns the steps of a contiguous shape whose last axis is padded.
func rowMajor(shape []int, pad int) []int {
	steps := make([]int, len(shape))
	s := 1
	for a := len(shape) - 1; a >= 0; a-- {
		steps[a] = s
		s *= shape[a]
		if a == len(shape)-1 {
			s += pad
		}
	}
	return steps
}

var viewCases = []struct {
	shape   []int
	y, a, b []int // steps; nil: contiguous
}{
	{shape: []int{37}},
	{shape: []int{}, y: []int{}, a: []int{}, b: []int{}},
	{shape: []int{300}, y: []int{1}, a: []int{2}, b: []int{0}},
	{shape: []int{7, 11}, a: []int{1, 7}, b: []int{0, 1}},
	{shape: []int{5, 1, 9}, y: []int{9, 77, 1}, a: []int{1, 0, 5}, b: []int{1, 3, 0}},
	{shape: []int{2, 3, 4, 5}, y: rowMajor([]int{2, 3, 4, 5}, 3), a: []int{1, 2, 6, 24}, b: []int{0, 4, 1, 0}},
	{shape: []int{2, 3, 2, 3, 2, 3}, y: rowMajor([]int{2, 3, 2, 3, 2, 3}, 2), a: []int{1, 2, 6, 12, 36, 72}, b: []int{0, 1, 0, 3, 0, 9}},
	{shape: []int{2, 2, 1, 3, 2, 2, 2, 3}, a: []int{144, 1, 5, 2, 6, 12, 24, 48}, b: []int{1, 0, 0, 2, 0, 6, 0, 12}},
}

func TestCopy(t *testing.T) {
	for _, v := range viewCases {
		twice(t, fmt.Sprint(v.shape), func(a *arena) {
			ys, xs := v.y, v.a
			if ys == nil {
				ys = rowMajor(v.shape, 0)
			}
			if xs == nil {
				xs = rowMajor(v.shape, 0)
			}
			x := a.normal(span(v.shape, xs))
			y := a.out(span(v.shape, ys))
			a.ok(a.c.Copy(v.shape, view(y, ys), view(a.in(x), xs)))
			want := make([]float64, span(v.shape, ys))
			for i := range want {
				want[i] = math.NaN() // gaps stay as they were
			}
			walk(v.shape, func(_ int, k []int) { want[at(k, ys)] = float64(x[at(k, xs)]) })
			a.want("y", y, want, relative(0, want))
		})
	}
	c := testContext(t)
	b, err := c.Alloc(1000)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Free(b)
	nine, odd := []int{2, 2, 2, 2, 2, 2, 2, 2, 2}, []int{1, 3, 9, 2, 5, 7, 11, 13, 17}
	if err := c.Copy(nine, view(b, rowMajor(nine, 0)), view(b, odd)); err == nil {
		t.Error("nine axes that do not merge were accepted")
	}
	if err := c.Copy([]int{2, 3}, view(b, []int{3, 1}), view(b, []int{1})); err == nil {
		t.Error("a step is missing, and was not missed")
	}
}

func TestBinary(t *testing.T) {
	ops := []struct {
		name string
		run  func(*Context, []int, View, View, View) error
		f    func(a, b float64) float64
		ulp  float64
	}{
		{"add", (*Context).Add, func(a, b float64) float64 { return a + b }, 0.5},
		{"sub", (*Context).Sub, func(a, b float64) float64 { return a - b }, 0.5},
		{"mul", (*Context).Mul, func(a, b float64) float64 { return a * b }, 0.5},
		{"div", (*Context).Div, func(a, b float64) float64 { return a / b }, 2.5},
	}
	for _, op := range ops {
		for _, v := range viewCases {
			twice(t, fmt.Sprint(op.name, v.shape), func(a *arena) {
				ys, as, bs := v.y, v.a, v.b
				if ys == nil {
					ys = rowMajor(v.shape, 0)
				}
				if as == nil {
					as, bs = ys, ys
				}
				x, z := a.normal(span(v.shape, as)), a.normal(span(v.shape, bs))
				y := a.out(span(v.shape, ys))
				a.ok(op.run(a.c, v.shape, view(y, ys), view(a.in(x), as), view(a.in(z), bs)))
				want := make([]float64, span(v.shape, ys))
				for i := range want {
					want[i] = math.NaN()
				}
				walk(v.shape, func(_ int, k []int) { want[at(k, ys)] = op.f(float64(x[at(k, as)]), float64(z[at(k, bs)])) })
				a.want("y", y, want, relative(op.ulp, want))
			})
		}
		twice(t, op.name+" in place", func(a *arena) {
			const n = 77
			x, z := a.normal(n), a.normal(n)
			y, s := a.inout(x), []int{1}
			a.ok(op.run(a.c, []int{n}, view(y, s), view(y, s), view(a.in(z), s)))
			want := make([]float64, n)
			for i := range want {
				want[i] = op.f(float64(x[i]), float64(z[i]))
			}
			a.want("y", y, want, relative(op.ulp, want))
		})
	}
}

func sigma(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func gelu(x float64) float64 {
	return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

// slope is the central difference of f, good to about 1e-9.
func slope(f func(float64) float64, x float64) float64 {
	const h = 1e-4
	return (8*(f(x+h)-f(x-h)) - (f(x+2*h) - f(x-2*h))) / (12 * h)
}

func TestUnary(t *testing.T) {
	type inputs func(a *arena, n int) []float32
	between := func(lo, hi float64) inputs {
		return func(a *arena, n int) []float32 { return a.uniform(n, lo, hi) }
	}
	scalar := func(f func(*Context, Buffer, Buffer, float32) error) func(*Context, Buffer, Buffer) error {
		return func(c *Context, y, x Buffer) error { return f(c, y, x, -1.75) }
	}
	k := func(ulps float64) func(x, y float64) float64 {
		return func(_, y float64) float64 { return ulps * ulp * math.Abs(y) }
	}
	silu := func(x float64) float64 { return x * sigma(x) }
	ops := []struct {
		name  string
		run   func(*Context, Buffer, Buffer) error
		f     func(float64) float64
		in    inputs
		bound func(x, y float64) float64
	}{
		{"scale", scalar((*Context).Scale), func(x float64) float64 { return -1.75 * x }, between(-9, 9), k(0.5)},
		{"add-scalar", scalar((*Context).AddScalar), func(x float64) float64 { return x - 1.75 }, between(-9, 9), k(0.5)},
		{"neg", (*Context).Neg, func(x float64) float64 { return -x }, between(-9, 9), k(0)},
		{"exp", (*Context).Exp, math.Exp, between(-87.3, 88.7), k(2)},
		{"log", (*Context).Log, math.Log, between(1e-6, 50), k(3)},
		{"log near 1", (*Context).Log, math.Log, between(0.9, 1.1), k(3)},
		{"sqrt", (*Context).Sqrt, math.Sqrt, between(0, 1e6), k(2)},
		{"tanh", (*Context).Tanh, math.Tanh, between(-10, 10), k(4)},
		{"tanh near 0", (*Context).Tanh, math.Tanh, between(-1e-3, 1e-3), k(4)},
		{"erf", (*Context).Erf, math.Erf, between(-5, 5), k(4)},
		{"erf near 0", (*Context).Erf, math.Erf, between(-1e-3, 1e-3), k(4)},
		{"sigmoid", (*Context).Sigmoid, sigma, between(-87.3, 30), k(5)},
		{"silu", (*Context).SiLU, silu, between(-30, 30), k(6)},
		{"gelu", (*Context).GELU, gelu, between(-8, 8), func(x, _ float64) float64 { return 1e-6 * math.Abs(x) }},
	}
	for _, op := range ops {
		for _, n := range lengths {
			for _, place := range []string{"", " in place"} {
				twice(t, fmt.Sprint(op.name, " ", n, place), func(a *arena) {
					x := op.in(a, n)
					var y Buffer
					if place == "" {
						y = a.out(n)
						a.ok(op.run(a.c, y, a.in(x)))
					} else {
						y = a.inout(x)
						a.ok(op.run(a.c, y, y))
					}
					want := make([]float64, n)
					for i := range want {
						want[i] = op.f(float64(x[i]))
					}
					a.want("y", y, want, func(i int) float64 { return op.bound(float64(x[i]), want[i]) })
				})
			}
		}
	}
	inf, nan := math.Inf(1), math.NaN()
	for _, s := range []struct {
		name    string
		run     func(*Context, Buffer, Buffer) error
		x, want []float64
	}{
		{"exp", (*Context).Exp, []float64{-inf, -1e30, -100, 0, 89, inf, nan}, []float64{0, 0, 0, 1, inf, inf, nan}},
		{"log", (*Context).Log, []float64{0, -1, 1, inf, nan}, []float64{-inf, nan, 0, inf, nan}},
		{"tanh", (*Context).Tanh, []float64{-inf, -1e30, -50, 0, 50, inf}, []float64{-1, -1, -1, 0, 1, 1}},
		{"erf", (*Context).Erf, []float64{-inf, -1e30, -5, 0, 5, inf, nan}, []float64{-1, -1, -1, 0, 1, 1, nan}},
		{"sigmoid", (*Context).Sigmoid, []float64{-1e30, -200, 0, 200, 1e30, inf}, []float64{0, 0, 0.5, 1, 1, 1}},
		{"silu", (*Context).SiLU, []float64{-1e30, -200, 0, 200, 1e30}, []float64{0, 0, 0, 200, 1e30}},
		{"gelu", (*Context).GELU, []float64{-1e5, -50, 0, 50, 1e5}, []float64{0, 0, 0, 50, 1e5}},
	} {
		twice(t, s.name+" at the ends", func(a *arena) {
			x := make([]float32, len(s.x))
			for i, v := range s.x {
				x[i] = float32(v)
			}
			y := a.out(len(x))
			a.ok(s.run(a.c, y, a.in(x)))
			a.want("y", y, s.want, func(i int) float64 { return 1e-6 * math.Abs(s.want[i]) })
		})
	}
	twice(t, "axpy at the ends", func(a *arena) {
		y := a.inout([]float32{1, 1, 1e30, float32(inf), float32(nan), -3e38})
		a.ok(a.c.Axpy(y, a.in([]float32{1e30, float32(inf), 1, 1, 1, -3e38}), 2))
		want := []float64{2e30, inf, 1e30, inf, nan, -inf}
		a.want("y", y, want, relative(1, []float64{2e30, 0, 1e30, 0, 0, 0}))
	})
	for _, n := range lengths {
		twice(t, fmt.Sprint("axpy ", n), func(a *arena) {
			x, y0 := a.normal(n), a.normal(n)
			y := a.inout(y0)
			a.ok(a.c.Axpy(y, a.in(x), 0.3))
			want := make([]float64, n)
			for i := range want {
				want[i] = float64(y0[i]) + float64(float32(0.3))*float64(x[i])
			}
			a.want("y", y, want, func(i int) float64 { return unit*math.Abs(want[i]) + 1e-13 })
		})
	}
}

func TestActivationGrad(t *testing.T) {
	silu := func(x float64) float64 { return x * sigma(x) }
	for _, n := range lengths {
		for _, op := range []struct {
			name  string
			run   func(c *Context, gx, x, gy Buffer) error
			f     func(float64) float64
			bound func(x, gy, d float64) float64
		}{
			{"silu-grad", (*Context).SiLUGrad, silu, func(_, gy, d float64) float64 { return 10*ulp*math.Abs(gy)*math.Max(1, d) + 1e-8 }},
			{"gelu-grad", (*Context).GELUGrad, gelu, func(x, gy, _ float64) float64 { return 2e-6 * math.Abs(gy) * (1 + math.Abs(x)) }},
		} {
			twice(t, fmt.Sprint(op.name, " ", n), func(a *arena) {
				x, gy := a.uniform(n, -12, 12), a.normal(n)
				gx := a.out(n)
				same := a.inout(gy) // gx = gy
				xb := a.in(x)
				a.ok(op.run(a.c, gx, xb, a.in(gy)))
				a.ok(op.run(a.c, same, xb, same))
				want := make([]float64, n)
				bound := func(i int) float64 { return op.bound(float64(x[i]), float64(gy[i]), 1.1) }
				for i := range want {
					want[i] = float64(gy[i]) * slope(op.f, float64(x[i]))
				}
				a.want("gx", gx, want, bound)
				a.want("gx in place", same, want, bound)
			})
		}
		twice(t, fmt.Sprint("swiglu ", n), func(a *arena) {
			g, u, gy := a.uniform(n, -12, 12), a.normal(n), a.normal(n)
			y, gg, gu := a.out(n), a.out(n), a.out(n)
			gb, ub, gyb := a.in(g), a.in(u), a.in(gy)
			a.ok(a.c.SwiGLU(y, gb, ub))
			a.ok(a.c.SwiGLUGrad(gg, gu, gb, ub, gyb))
			g2, gy2 := a.inout(g), a.inout(gy)
			a.ok(a.c.SwiGLUGrad(g2, gy2, g2, ub, gy2))
			wy, wg, wu := make([]float64, n), make([]float64, n), make([]float64, n)
			for i := range wy {
				v, up, d := float64(g[i]), float64(u[i]), float64(gy[i])
				wy[i], wg[i], wu[i] = silu(v)*up, d*up*slope(silu, v), d*silu(v)
			}
			wgBound := func(i int) float64 { return 11*ulp*math.Abs(float64(gy[i])*float64(u[i]))*1.1 + 1e-8 }
			a.want("y", y, wy, relative(7, wy))
			a.want("gg", gg, wg, wgBound)
			a.want("gu", gu, wu, relative(7, wu))
			a.want("gg in place", g2, wg, wgBound)
			a.want("gu in place", gy2, wu, relative(7, wu))
		})
	}
}

func TestReduce(t *testing.T) {
	for _, s := range [][3]int{{1, 1, 1}, {1, 1000, 1}, {7, 33, 1}, {3, 257, 1}, {1, 100, 31}, {2, 5, 64}, {3, 9, 33}, {5, 1, 7}, {2, 0, 3}, {4, 0, 1}, {70, 3, 1}} {
		outer, n, inner := s[0], s[1], s[2]
		twice(t, fmt.Sprint(s), func(a *arena) {
			x := a.normal(outer * n * inner)
			xb := a.in(x)
			ys, ym := a.out(outer*inner), a.out(outer*inner)
			a.ok(a.c.ReduceSum(ys, xb, outer, n, inner))
			a.ok(a.c.ReduceMax(ym, xb, outer, n, inner))
			sum, size, top := make([]float64, outer*inner), make([]float64, outer*inner), make([]float64, outer*inner)
			for o := range outer {
				for i := range inner {
					e := o*inner + i
					top[e] = math.Inf(-1)
					for j := range n {
						v := float64(x[(o*n+j)*inner+i])
						sum[e] += v
						size[e] += math.Abs(v)
						top[e] = math.Max(top[e], v)
					}
				}
			}
			a.want("sum", ys, sum, func(i int) float64 { return (float64(n)/8 + 16) * unit * size[i] })
			a.want("max", ym, top, relative(0, top))
		})
	}
	twice(t, "max of infinities", func(a *arena) {
		inf := float32(math.Inf(1))
		y := a.out(3)
		a.ok(a.c.ReduceMax(y, a.in([]float32{-inf, -inf, -inf, -3e38, 1, inf}), 3, 2, 1))
		want := []float64{math.Inf(-1), -3e38, math.Inf(1)}
		a.want("max", y, want, relative(1, []float64{0, 3e38, 0}))
	})
	for _, n := range []int{0, 1, 100, 4096, 4097, 20000} {
		twice(t, fmt.Sprint("sumsq ", n), func(a *arena) {
			x, y := a.normal(n), a.out(1)
			a.ok(a.c.SumSquares(y, a.in(x)))
			want := []float64{0}
			for _, v := range x {
				want[0] += float64(v) * float64(v)
			}
			a.want("y", y, want, relative(20, want))
		})
	}
}

func TestGemm(t *testing.T) {
	type size struct{ m, n, k int }
	sizes := []size{{1, 1, 1}, {3, 5, 7}, {16, 16, 16}, {17, 65, 33}, {64, 64, 64}, {65, 63, 1}, {1, 100, 50}, {100, 1, 50}, {37, 128, 100}, {5, 9, 0}}
	for _, transA := range []bool{false, true} {
		for _, transB := range []bool{false, true} {
			for _, accumulate := range []bool{false, true} {
				for _, s := range sizes {
					twice(t, fmt.Sprint(transA, transB, accumulate, s), func(a *arena) { gemmCase(a, 1, transA, transB, s.m, s.n, s.k, accumulate) })
				}
				twice(t, fmt.Sprint("batch", transA, transB, accumulate), func(a *arena) { gemmCase(a, 3, transA, transB, 19, 21, 23, accumulate) })
			}
		}
	}
	c := testContext(t)
	b, err := c.Alloc(100)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Free(b)
	if err := c.Gemm(false, false, 10, 10, 10, b, 9, b, 10, b, 10, false); err == nil {
		t.Error("a row stride below the row's length was accepted")
	}
	if err := c.Gemm(false, false, 10, 11, 10, b, 10, b, 11, b, 11, false); err == nil {
		t.Error("a short B was accepted")
	}
}

// gemmCase has gaps of NaN after each row of A, B and C.
func gemmCase(a *arena, batch int, transA, transB bool, m, n, k int, accumulate bool) {
	const gap = 3
	matrix := func(rows, cols int) ([]float32, int, int) {
		ld := cols + gap
		step := rows*ld + 5
		x := make([]float32, max(0, (batch-1)*step+rows*ld-gap))
		for i := range x {
			x[i] = float32(math.NaN())
		}
		for z := range batch {
			for r := range rows {
				copy(x[z*step+r*ld:], a.normal(cols))
			}
		}
		return x, ld, step
	}
	ar, ac, br, bc := m, k, k, n
	if transA {
		ar, ac = k, m
	}
	if transB {
		br, bc = n, k
	}
	x, lda, stepA := matrix(ar, ac)
	w, ldb, stepB := matrix(br, bc)
	c0, ldc, stepC := matrix(m, n)
	if !accumulate { // C must not be read
		for i := range c0 {
			c0[i] = float32(math.NaN())
		}
	}
	out := a.inout(c0)
	a.ok(a.c.GemmBatch(batch, transA, transB, m, n, k, a.in(x), lda, stepA, a.in(w), ldb, stepB, out, ldc, stepC, accumulate))
	want, size := wide(c0), make([]float64, len(c0))
	for z := range batch {
		for i := range m {
			for j := range n {
				e := z*stepC + i*ldc + j
				var s float64
				if accumulate {
					s = float64(c0[e])
					size[e] = math.Abs(s)
				}
				for p := range k {
					ai, bi := z*stepA+i*lda+p, z*stepB+p*ldb+j
					if transA {
						ai = z*stepA + p*lda + i
					}
					if transB {
						bi = z*stepB + j*ldb + p
					}
					v := float64(x[ai]) * float64(w[bi])
					s += v
					size[e] += float64(k+1) * math.Abs(v)
				}
				want[e] = s
			}
		}
	}
	a.want("c", out, want, func(i int) float64 { return unit * size[i] })
}

var rowShapes = [][2]int{{1, 1}, {3, 7}, {2, 256}, {5, 257}, {33, 100}, {70, 33}}

func TestRMSNorm(t *testing.T) {
	const eps = 1e-5
	for _, s := range rowShapes {
		n, d := s[0], s[1]
		twice(t, fmt.Sprint(s), func(a *arena) {
			x, w, gy := a.normal(n*d), a.normal(d), a.normal(n*d)
			xb, wb, gyb := a.in(x), a.in(w), a.in(gy)
			y, r, gx, gw := a.out(n*d), a.out(n), a.out(n*d), a.out(d)
			a.ok(a.c.RMSNorm(y, r, xb, wb, n, d, eps))
			a.ok(a.c.RMSNormGrad(gx, gw, xb, wb, gyb, r, n, d))
			y2, gx2 := a.inout(x), a.inout(gy)
			a.ok(a.c.RMSNorm(y2, r, y2, wb, n, d, eps))
			a.ok(a.c.RMSNormGrad(gx2, gw, xb, wb, gx2, r, n, d))
			wy, wr, wgx, wgw := make([]float64, n*d), make([]float64, n), make([]float64, n*d), make([]float64, d)
			sizeX, sizeW := make([]float64, n*d), make([]float64, d)
			for i := range n {
				var ss, c, ca float64
				for j := range d {
					v := float64(x[i*d+j])
					ss += v * v
				}
				q := 1 / math.Sqrt(ss/float64(d)+eps)
				wr[i] = q
				for j := range d {
					h := float64(gy[i*d+j]) * float64(w[j]) * float64(x[i*d+j]) * q
					c += h / float64(d)
					ca += math.Abs(h) / float64(d)
				}
				for j := range d {
					v, g, xh := float64(x[i*d+j]), float64(gy[i*d+j]), float64(x[i*d+j])*q
					wy[i*d+j] = v * q * float64(w[j])
					wgx[i*d+j] = q * (g*float64(w[j]) - xh*c)
					sizeX[i*d+j] = q * (math.Abs(g*float64(w[j])) + math.Abs(xh)*ca)
					wgw[j] += g * xh
					sizeW[j] += math.Abs(g * xh)
				}
			}
			forward := float64(d)/256 + 16
			a.want("y", y, wy, relative(forward/2, wy))
			a.want("y in place", y2, wy, relative(forward/2, wy))
			a.want("r", r, wr, relative(forward/2, wr))
			a.want("gx", gx, wgx, func(i int) float64 { return (float64(d)/128 + 16) * unit * sizeX[i] })
			a.want("gx in place", gx2, wgx, func(i int) float64 { return (float64(d)/128 + 16) * unit * sizeX[i] })
			a.want("gw", gw, wgw, func(j int) float64 { return (float64(n)/8 + 16) * unit * sizeW[j] })
		})
	}
}

func TestLayerNorm(t *testing.T) {
	const eps = 1e-5
	for _, s := range rowShapes {
		n, d := s[0], s[1]
		twice(t, fmt.Sprint(s), func(a *arena) {
			x, w, b, gy := a.normal(n*d), a.normal(d), a.normal(d), a.normal(n*d)
			xb, wb, bb, gyb := a.in(x), a.in(w), a.in(b), a.in(gy)
			y, mean, r, gx, gw, gb := a.out(n*d), a.out(n), a.out(n), a.out(n*d), a.out(d), a.out(d)
			a.ok(a.c.LayerNorm(y, mean, r, xb, wb, bb, n, d, eps))
			a.ok(a.c.LayerNormGrad(gx, gw, gb, xb, wb, gyb, mean, r, n, d))
			y2, gx2 := a.inout(x), a.inout(gy)
			a.ok(a.c.LayerNorm(y2, mean, r, y2, wb, bb, n, d, eps))
			a.ok(a.c.LayerNormGrad(gx2, gw, gb, xb, wb, gx2, mean, r, n, d))
			wy, wgx := make([]float64, n*d), make([]float64, n*d)
			wm, wr, wgw, wgb := make([]float64, n), make([]float64, n), make([]float64, d), make([]float64, d)
			sizeY, sizeX, sizeW, sizeB := make([]float64, n*d), make([]float64, n*d), make([]float64, d), make([]float64, d)
			sizeM := make([]float64, n)
			for i := range n {
				row := wide(x[i*d : (i+1)*d])
				var m, v, top float64
				for _, e := range row {
					m += e / float64(d)
					top = math.Max(top, math.Abs(e))
				}
				for _, e := range row {
					v += (e - m) * (e - m) / float64(d)
				}
				q := 1 / math.Sqrt(v+eps)
				wm[i], wr[i], sizeM[i] = m, q, top
				var hm, hx, ha, hxa float64
				for j, e := range row {
					h := float64(gy[i*d+j]) * float64(w[j]) / float64(d)
					xh := (e - m) * q
					hm, hx = hm+h, hx+h*xh
					ha, hxa = ha+math.Abs(h), hxa+math.Abs(h*xh)
				}
				for j, e := range row {
					g, xh := float64(gy[i*d+j]), (e-m)*q
					wy[i*d+j] = xh*float64(w[j]) + float64(b[j])
					sizeY[i*d+j] = (math.Abs(xh)+top*q)*math.Abs(float64(w[j])) + math.Abs(float64(b[j]))
					wgx[i*d+j] = q * (g*float64(w[j]) - hm - xh*hx)
					sizeX[i*d+j] = q * (math.Abs(g*float64(w[j])) + ha + (math.Abs(xh)+top*q)*(hxa+ha*top*q))
					wgw[j] += g * xh
					wgb[j] += g
					sizeW[j] += math.Abs(g) * (math.Abs(xh) + top*q)
					sizeB[j] += math.Abs(g)
				}
			}
			k := (float64(d)/128 + 16) * unit
			a.want("y", y, wy, func(i int) float64 { return k * sizeY[i] })
			a.want("y in place", y2, wy, func(i int) float64 { return k * sizeY[i] })
			a.want("mean", mean, wm, func(i int) float64 { return k * sizeM[i] })
			a.want("r", r, wr, func(i int) float64 { return 2 * k * wr[i] * (1 + sizeM[i]*wr[i]) })
			a.want("gx", gx, wgx, func(i int) float64 { return 2 * k * sizeX[i] })
			a.want("gx in place", gx2, wgx, func(i int) float64 { return 2 * k * sizeX[i] })
			kn := (float64(n)/8 + 16) * unit
			a.want("gw", gw, wgw, func(j int) float64 { return (kn + k) * sizeW[j] })
			a.want("gb", gb, wgb, func(j int) float64 { return kn * sizeB[j] })
		})
	}
}

func TestSoftmax(t *testing.T) {
	for _, s := range rowShapes {
		n, d := s[0], s[1]
		twice(t, fmt.Sprint(s), func(a *arena) {
			x, gy := a.uniform(n*d, -20, 20), a.normal(n*d)
			y, gx, y2, gx2 := a.out(n*d), a.out(n*d), a.inout(x), a.inout(gy)
			a.ok(a.c.Softmax(y, a.in(x), n, d))
			a.ok(a.c.Softmax(y2, y2, n, d))
			a.ok(a.c.SoftmaxGrad(gx, y, a.in(gy), n, d))
			a.ok(a.c.SoftmaxGrad(gx2, y, gx2, n, d))
			wy, wg, size, dist := make([]float64, n*d), make([]float64, n*d), make([]float64, n*d), make([]float64, n*d)
			for i := range n {
				row := wide(x[i*d : (i+1)*d])
				m, sum, dot, dots := math.Inf(-1), 0.0, 0.0, 0.0
				for _, v := range row {
					m = math.Max(m, v)
				}
				for _, v := range row {
					sum += math.Exp(v - m)
				}
				for j, v := range row {
					wy[i*d+j] = math.Exp(v-m) / sum
					dist[i*d+j] = m - v
					dot += wy[i*d+j] * float64(gy[i*d+j])
					dots += wy[i*d+j] * math.Abs(float64(gy[i*d+j]))
				}
				for j := range row {
					wg[i*d+j] = wy[i*d+j] * (float64(gy[i*d+j]) - dot)
					size[i*d+j] = wy[i*d+j] * (math.Abs(float64(gy[i*d+j])) + dots)
				}
			}
			k := float64(d)/128 + 16
			bound := func(i int) float64 { return unit * (k + dist[i]) * wy[i] }
			a.want("y", y, wy, bound)
			a.want("y in place", y2, wy, bound)
			a.want("gx", gx, wg, func(i int) float64 { return unit * (2*k + 40) * size[i] })
			a.want("gx in place", gx2, wg, func(i int) float64 { return unit * (2*k + 40) * size[i] })
		})
	}
}

func TestCrossEntropy(t *testing.T) {
	for _, s := range rowShapes {
		n, d := s[0], s[1]
		twice(t, fmt.Sprint(s), func(a *arena) {
			x, gy, target := a.uniform(n*d, -15, 15), a.normal(n), make([]int32, n)
			for i := range target {
				target[i] = int32(a.r.IntN(d+1)) - 1
			}
			xb, tb, gyb := a.in(x), a.ints(target), a.in(gy)
			loss, lse, gx, gx2 := a.out(n), a.out(n), a.out(n*d), a.inout(x)
			a.ok(a.c.CrossEntropy(loss, lse, xb, tb, n, d))
			a.ok(a.c.CrossEntropyGrad(gx, xb, lse, tb, gyb, n, d))
			a.ok(a.c.CrossEntropyGrad(gx2, gx2, lse, tb, gyb, n, d))
			wl, ws, wg, size := make([]float64, n), make([]float64, n), make([]float64, n*d), make([]float64, n)
			for i := range n {
				var sum float64
				for _, v := range x[i*d : (i+1)*d] {
					sum += math.Exp(float64(v))
				}
				ws[i] = math.Log(sum)
				size[i] = 32 + math.Abs(ws[i])
				if target[i] < 0 {
					continue
				}
				wl[i] = ws[i] - float64(x[i*d+int(target[i])])
				for j := range d {
					wg[i*d+j] = math.Exp(float64(x[i*d+j]) - ws[i])
					if j == int(target[i]) {
						wg[i*d+j]--
					}
					wg[i*d+j] *= float64(gy[i])
				}
			}
			k := (float64(d)/256 + 16) * unit
			a.want("loss", loss, wl, func(i int) float64 { return k * size[i] })
			a.want("lse", lse, ws, func(i int) float64 { return k * size[i] })
			bound := func(e int) float64 { return k * size[e/d] * math.Abs(float64(gy[e/d])) }
			a.want("gx", gx, wg, bound)
			a.want("gx in place", gx2, wg, bound)
		})
	}
	twice(t, "target beyond the classes", func(a *arena) {
		loss, lse := a.out(2), a.out(2)
		a.ok(a.c.CrossEntropy(loss, lse, a.in([]float32{0, 0, 0, 0}), a.ints([]int32{2, 1}), 2, 2))
		want := []float64{math.NaN(), math.Ln2}
		a.want("loss", loss, want, relative(8, []float64{0, math.Ln2}))
	})
}

func TestGatherScatter(t *testing.T) {
	for _, s := range [][3]int{{1, 1, 1}, {10, 4, 33}, {100, 7, 5}, {3, 50, 8}, {0, 4, 4}} {
		n, rows, d := s[0], s[1], s[2]
		twice(t, fmt.Sprint(s), func(a *arena) {
			w, gy, id := a.normal(rows*d), a.normal(n*d), make([]int32, n)
			for i := range id {
				id[i] = int32(a.r.IntN(rows))
			}
			idb := a.ints(id)
			y, gw := a.out(n*d), a.out(rows*d)
			a.ok(a.c.GatherRows(y, a.in(w), idb, n, rows, d))
			a.ok(a.c.ScatterAddRows(gw, a.in(gy), idb, n, rows, d))
			wy, wg, size := make([]float64, n*d), make([]float64, rows*d), make([]float64, rows*d)
			for i, r := range id {
				for j := range d {
					wy[i*d+j] = float64(w[int(r)*d+j])
					wg[int(r)*d+j] += float64(gy[i*d+j])
					size[int(r)*d+j] += math.Abs(float64(gy[i*d+j]))
				}
			}
			a.want("y", y, wy, relative(0, wy))
			a.want("gw", gw, wg, func(i int) float64 { return float64(n) * unit * size[i] })
		})
	}
	twice(t, "ids that are no rows", func(a *arena) {
		y, gw := a.out(6), a.out(4)
		id := a.ints([]int32{-1, 1, 2})
		a.ok(a.c.GatherRows(y, a.in([]float32{1, 2, 3, 4}), id, 3, 2, 2))
		a.ok(a.c.ScatterAddRows(gw, a.in([]float32{1, 2, 3, 4, 5, 6}), id, 3, 2, 2))
		nan := math.NaN()
		zero := func(int) float64 { return 0 }
		a.want("y", y, []float64{nan, nan, 3, 4, nan, nan}, zero)
		a.want("gw", gw, []float64{0, 0, 3, 4}, zero)
	})
}

func TestAdamW(t *testing.T) {
	s := AdamWStep{Clip: 0.7, Beta1: 0.9, Beta2: 0.95, Keep: 0.9999, Rate: 0.01, RSqrtC2: 3.3, Eps: 1e-8}
	for _, n := range lengths {
		twice(t, fmt.Sprint(n), func(a *arena) {
			p, m, v, g := a.normal(n), a.normal(n), a.uniform(n, 0, 2), a.normal(n)
			pb, mb, vb := a.inout(p), a.inout(m), a.inout(v)
			a.ok(a.c.AdamW(pb, mb, vb, a.in(g), s))
			wp, wm, wv := make([]float64, n), make([]float64, n), make([]float64, n)
			sp, sm := make([]float64, n), make([]float64, n)
			for i := range wp {
				b1, b2, d := float64(s.Beta1), float64(s.Beta2), float64(s.Clip)*float64(g[i])
				wm[i] = b1*float64(m[i]) + (1-b1)*d
				wv[i] = b2*float64(v[i]) + (1-b2)*d*d
				over := float64(s.Rate) / (math.Sqrt(wv[i])*float64(s.RSqrtC2) + float64(s.Eps))
				wp[i] = float64(s.Keep)*float64(p[i]) - wm[i]*over
				sm[i] = b1*math.Abs(float64(m[i])) + (1-b1)*math.Abs(d)
				sp[i] = math.Abs(float64(p[i])) + sm[i]*over
			}
			a.want("m", mb, wm, func(i int) float64 { return 4 * ulp * sm[i] })
			a.want("v", vb, wv, relative(4, wv))
			a.want("p", pb, wp, func(i int) float64 { return 8 * ulp * sp[i] })
		})
	}
}

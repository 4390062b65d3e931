package main

import (
	"math"

	"fuerte/gen/piecewise"
)

// The activations treat eight floats a pass: the constants of e^x take eleven
// registers and each vector about five.
const activationBlock = 2

func activationFamily(file *File) {
	expKernel(file)
	logKernel(file)
	tanhKernel(file)
	erfKernel(file)
	sigmoidKernel(file)
	silu(file)
	siluGrad(file)
	swiGLU(file)
	swiGLUGrad(file)
	gelu(file)
	geluGrad(file)
}

func expKernel(file *File) {
	f := file.Func("ExpNEON", "func(y, x []float32)",
		"ExpNEON sets y = eˣ. Error: ≤ 1.3 ULP. Contract: kernels.Set.Exp.")
	y, x, n := f.Ptr("y"), f.Ptr("x"), f.Len("y")
	e, _ := f.exponential()
	f.blocks(n, activationBlock, func(b block) { b.store(y, f.exp(e, b.load(x))) })
	f.RET()
}

// onePlusExp returns 1 + e^−x, the inverse of σ(x), and e^−x.
func (f *Func) onePlusExp(e exponential, x []V) (d, em []V) {
	em = f.exp(e, f.map1((*Func).FNEG, x))
	return f.each((*Func).FADD, em, e.one()), em
}

// silu emits x/(1+e^−x). Where e^−x overflows the quotient is −0, short of the
// true value by under 3e-37.
func silu(file *File) {
	f := file.Func("SiLUNEON", "func(y, x []float32)",
		"SiLUNEON sets y = x·σ(x). Contract: kernels.Set.SiLU.")
	y, x, n := f.Ptr("y"), f.Ptr("x"), f.Len("y")
	e, _ := f.exponential()
	f.blocks(n, activationBlock, func(b block) {
		v := b.load(x)
		d, _ := f.onePlusExp(e, v)
		b.store(y, f.each((*Func).FDIV, v, d))
	})
	f.RET()
}

// sigmoid returns s = 1/d and 1−s = e·s. The latter is as accurate near s = 1
// as near 0, where the subtraction would cancel; where e is infinite s is 0, and
// e·s must not be NaN, so e is cut to the largest float.
func (f *Func) sigmoid(one, largest V, d, em []V) (s, rest []V) {
	s = f.each((*Func).FDIV, f.fill(one, len(d)), d)
	return s, f.each((*Func).FMUL, s, f.each((*Func).FMIN, em, []V{largest}))
}

// siluSlope returns s·(1 + x·(1−s)).
func (f *Func) siluSlope(one V, x, s, rest []V) []V {
	t := f.fill(one, len(x))
	f.eachTo((*Func).FMLA, t, x, rest)
	return f.each((*Func).FMUL, s, t)
}

func siluGrad(file *File) {
	f := file.Func("SiLUGradNEON", "func(gx, x, gy []float32)",
		"SiLUGradNEON sets gx = gy·σ(x)·(1 + x·(1−σ(x))). Contract:",
		"kernels.Set.SiLUGrad.")
	gx, x, gy, n := f.Ptr("gx"), f.Ptr("x"), f.Ptr("gy"), f.Len("gx")
	e, more := f.exponential(math.MaxFloat32)
	f.blocks(n, activationBlock, func(b block) {
		v := b.load(x)
		d, em := f.onePlusExp(e, v)
		s, rest := f.sigmoid(e.one()[0], more[0], d, em)
		b.store(gx, f.each((*Func).FMUL, f.siluSlope(e.one()[0], v, s, rest), b.load(gy)))
	})
	f.RET()
}

func swiGLU(file *File) {
	f := file.Func("SwiGLUNEON", "func(y, g, u []float32)",
		"SwiGLUNEON sets y = silu(g)·u. Contract: kernels.Set.SwiGLU.")
	y, g, u, n := f.Ptr("y"), f.Ptr("g"), f.Ptr("u"), f.Len("y")
	e, _ := f.exponential()
	f.blocks(n, activationBlock, func(b block) {
		v := b.load(g)
		d, _ := f.onePlusExp(e, v)
		b.store(y, f.each((*Func).FMUL, f.each((*Func).FDIV, v, d), b.load(u)))
	})
	f.RET()
}

func swiGLUGrad(file *File) {
	f := file.Func("SwiGLUGradNEON", "func(gg, gu, g, u, gy []float32)",
		"SwiGLUGradNEON sets gg = gy·u·silu′(g) and gu = gy·silu(g). Contract:",
		"kernels.Set.SwiGLUGrad.")
	gg, gu, g, u, gy, n := f.Ptr("gg"), f.Ptr("gu"), f.Ptr("g"), f.Ptr("u"), f.Ptr("gy"), f.Len("gg")
	e, more := f.exponential(math.MaxFloat32)
	f.blocks(n, activationBlock, func(b block) {
		v := b.load(g)
		d, em := f.onePlusExp(e, v)
		s, rest := f.sigmoid(e.one()[0], more[0], d, em)
		slope, value := f.siluSlope(e.one()[0], v, s, rest), f.each((*Func).FDIV, v, d)
		up, cot := b.load(u), b.load(gy)
		b.store(gg, f.each((*Func).FMUL, f.each((*Func).FMUL, cot, up), slope))
		b.store(gu, f.each((*Func).FMUL, cot, value))
	})
	f.RET()
}

// GELU's tanh form is x·σ(2z), z = √(2/π)·(x + 0.044715·x³), because
// ½·(1 + tanh z) = σ(2z). With σ = σ(2z), 1−tanh² z = 4σ(1−σ):
//
//	dy/dx = σ + x·σ·(1−σ)·(a + 3b·x²)    a = 2√(2/π), b = 0.044715·a
var (
	geluA = 2 * math.Sqrt(2/math.Pi)
	geluB = 0.044715 * geluA
)

// geluLargest bounds x² in the polynomials, so that 0·x² stays 0.
const geluLargest = 0x1p100

func gelu(file *File) {
	f := file.Func("GELUNEON", "func(y, x []float32)",
		"GELUNEON sets y = ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))), as x·σ(2z).",
		"Contract: kernels.Set.GELU.")
	y, x, n := f.Ptr("y"), f.Ptr("x"), f.Len("y")
	e, more := f.exponential(float32(geluA), float32(geluB))
	f.blocks(n, activationBlock, func(b block) {
		v := b.load(x)
		t := f.fill(more[0], len(v))
		f.eachTo((*Func).FMLA, t, f.each((*Func).FMUL, v, v), more[1:])
		d, _ := f.onePlusExp(e, f.each((*Func).FMUL, v, t))
		b.store(y, f.each((*Func).FDIV, v, d))
	})
	f.RET()
}

func geluGrad(file *File) {
	f := file.Func("GELUGradNEON", "func(gx, x, gy []float32)",
		"GELUGradNEON sets gx = gy·dGELU/dx. Contract: kernels.Set.GELUGrad.")
	gx, x, gy, n := f.Ptr("gx"), f.Ptr("x"), f.Ptr("gy"), f.Len("gx")
	e, more := f.exponential(float32(geluA), float32(geluB), float32(3*geluB), geluLargest, math.MaxFloat32)
	a, c, c3, largest, max := more[:1], more[1:2], more[2:3], more[3:4], more[4]
	f.blocks(n, activationBlock, func(b block) {
		v := b.load(x)
		q := f.each((*Func).FMIN, f.each((*Func).FMUL, v, v), largest)
		t := f.fill(a[0], len(v))
		f.eachTo((*Func).FMLA, t, q, c)
		d, em := f.onePlusExp(e, f.each((*Func).FMUL, v, t))
		s, rest := f.sigmoid(e.one()[0], max, d, em)
		slope := f.fill(a[0], len(v))
		f.eachTo((*Func).FMLA, slope, q, c3)
		w := f.each((*Func).FMUL, v, f.each((*Func).FMUL, s, rest))
		f.eachTo((*Func).FMLA, s, w, slope)
		b.store(gx, f.each((*Func).FMUL, s, b.load(gy)))
	})
	f.RET()
}

// tanhPoly is Cephes' tanhf (Moshier) for |x| ≤ tanhSmall, x + x³·P(x²), from the
// constant up.
var tanhPoly = []float32{-3.33332819422e-1, 1.33314422036e-1, -5.37397155531e-2, 2.06390887954e-2, -5.70498872745e-3}

const tanhSmall = 0.625

// tanhKernel emits 1 − 2e/(1+e), e = e^−2|x|, with the sign of x, or the odd
// polynomial where that would cancel. NaN takes the polynomial, which keeps it.
func tanhKernel(file *File) {
	f := file.Func("TanhNEON", "func(y, x []float32)",
		"TanhNEON sets y = tanh x. Contract: kernels.Set.Tanh.")
	y, x, n := f.Ptr("y"), f.Ptr("x"), f.Len("y")
	e, more := f.exponential(append([]float32{tanhSmall, float32(math.Copysign(0, -1))}, tanhPoly...)...)
	small, sign, c := more[0], more[1], more[2:]
	last := len(c) - 1
	f.blocks(n, activationBlock, func(b block) {
		v := b.load(x)
		size := f.map1((*Func).FABS, v)
		d, em := f.onePlusExp(e, f.each((*Func).FADD, size, size))
		large := f.each((*Func).FDIV, f.each((*Func).FADD, em, em), d)
		square := f.each((*Func).FMUL, v, v)
		p := f.fill(c[last], len(v))
		f.horner(p, square, c[:last])
		p = f.each((*Func).FMUL, p, square)
		for i, a := range v {
			far, t, q := f.V(), f.V(), f.V()
			f.FSUB(t, e.one()[0], large[i])
			f.BIT(t, a, sign)
			f.MOV(q, a)
			f.FMLA(q, a, p[i])
			f.FCMGT(far, size[i], small)
			f.BIT(q, t, far)
			p[i] = q
		}
		b.store(y, p)
	})
	f.RET()
}

// erfKernel emits the polynomials of piecewise.Erf. A table fills two registers:
// TBL takes an entry from the first, TBX from the second where it lies there.
func erfKernel(file *File) {
	f := file.Func("ErfNEON", "func(y, x []float32)",
		"ErfNEON sets y = erf x. Contract: kernels.Set.Erf.")
	y, x, n := f.Ptr("y"), f.Ptr("x"), f.Len("y")
	t := piecewise.Erf
	tables := append([][piecewise.Intervals]float32{t.Center, t.Base}, t.C...)
	var constants []float32
	for _, entries := range tables {
		constants = append(constants, entries[:]...)
	}
	p := f.table(append(constants, t.Top, t.Bias, float32(math.Copysign(0, -1)),
		math.Float32frombits(0x1c), math.Float32frombits(0x03020100), math.Float32frombits(0x10101010)))
	half := make([][2]V, len(tables))
	for i := range half {
		half[i] = [2]V{f.LoadQP(p), f.LoadQP(p)}
	}
	v := f.dups(p, 6)
	top, bias, sign, entry, bytes, second := v[0], v[1], v[2], v[3], v[4], v[5]
	f.blocks(n, 1, func(b block) {
		in := b.load(x)[0]
		size, i, t := f.V(), f.V(), f.V()
		f.FABS(size, in)
		f.FMIN(size, size, top)
		f.FADD(i, size, bias)
		f.USHR(i, i, piecewise.Erf.Shift-2)
		f.AND(i, i, entry) // four times the interval, the first byte of its entry
		f.SHL(t, i, 8)
		f.ORR(i, i, t)
		f.SHL(t, i, 16)
		f.ORR(i, i, t)
		f.ORR(i, i, bytes)
		f.EOR(t, i, second)
		look := func(h [2]V) V {
			d := f.V()
			f.TBL(d, h[0], i)
			f.TBX(d, h[1], t)
			return d
		}
		r := f.V()
		f.FSUB(r, size, look(half[0]))
		p := look(half[len(half)-1])
		for j := len(half) - 2; j >= 2; j-- {
			c := look(half[j])
			f.FMLA(c, p, r)
			p = c
		}
		base, first := look(half[1]), f.V()
		f.SSHR(first, base, 31)
		f.BIT(base, r, first)
		f.FMLA(base, p, r)
		f.BIT(base, in, sign)
		b.store(y, []V{base})
	})
	f.RET()
}

// sigmoidKernel emits s − s·E/(1+E), s = x ≥ 0 ? 1 : E, E = e^−|x|. The quotient
// s/(1+E) would have the rounding of 1+E in full where E is small; here it is E
// times less.
func sigmoidKernel(file *File) {
	f := file.Func("SigmoidNEON", "func(y, x []float32)",
		"SigmoidNEON sets y = 1/(1 + e^−x). Contract: kernels.Set.Sigmoid.")
	y, x, n := f.Ptr("y"), f.Ptr("x"), f.Len("y")
	e, _ := f.exponential()
	f.blocks(n, activationBlock, func(b block) {
		v := b.load(x)
		d, em := f.onePlusExp(e, f.map1((*Func).FABS, v))
		over := f.fill(e.c[0], len(v))
		for i, a := range v {
			negative := f.V()
			f.SSHR(negative, a, 31)
			f.BIT(over[i], em[i], negative)
		}
		q, s := f.each((*Func).FDIV, em, d), f.clone(over)
		f.eachTo((*Func).FMLS, s, over, q)
		b.store(y, s)
	})
	f.RET()
}

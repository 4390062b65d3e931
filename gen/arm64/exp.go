package main

import (
	"math"
	"slices"
)

// exponential holds the constants of e^x in registers.
type exponential struct {
	reduce   V // lanes: log₂ e, then ln 2 in two parts
	c        []V
	low, top V
}

// The polynomial is a relative minimax fit of e^r on |r| ≤ ½·ln 2, with
// p(0) = p′(0) = 1 kept. The high part of ln 2 has 15 bits, so k times it is
// exact. Below expLow e^x is 0, from expTop on it is infinite.
var (
	expReduce = [4]float32{0x1.715476p0, 0x1.62e4p-1, 0x1.7f7d1cp-20}
	expPoly   = []float32{1, 1, 5.000000596e-1, 1.666636467e-1, 4.166477174e-2, 8.379058912e-3, 1.406142139e-3}
	expLow    = float32(-104)
	expTop    = float32(89)
)

// exponential loads the constants of e^x, and others for the caller.
func (f *Func) exponential(others ...float32) (e exponential, more []V) {
	all := append(slices.Clone(expPoly[1:]), expLow, expTop)
	reduce, v := f.Consts(expReduce, append(all, others...)...)
	n := len(expPoly)
	return exponential{
		reduce: reduce,
		c:      append([]V{v[0]}, v[:n-1]...), // the first two are 1
		low:    v[n-1], top: v[n],
	}, v[n+1:]
}

// one is the constant 1.
func (e exponential) one() []V { return e.c[:1] }

// exp returns e^x, right to 1.2 ULP: with k = rint(x/ln 2) and r = x − k·ln 2,
// e^x = p(r)·2^k. Half of k is added to the exponent bits of p, the other half is a
// factor: only that product rounds, or overflows. NaN comes through k·0 + NaN.
func (f *Func) exp(e exponential, x []V) []V {
	n := len(x)
	x = f.each((*Func).FMIN, f.each((*Func).FMAX, x, []V{e.low}), []V{e.top})
	t, k, r, p := f.Vs(n), f.Vs(n), f.clone(x), f.fill(e.c[len(e.c)-1], n)
	for i := range x {
		f.FMULE(t[i], x[i], e.reduce, 0)
	}
	for i := range x {
		f.FRINTN(k[i], t[i])
	}
	for part := 1; part <= 2; part++ {
		for i := range x {
			f.FMLSE(r[i], k[i], e.reduce, part)
		}
	}
	f.horner(p, r, e.c[:len(e.c)-1])
	y := f.Vs(n)
	for i := range x {
		q, half, bits := f.V(), f.V(), f.V()
		f.FCVTNS(q, k[i])
		f.SSHR(half, q, 1)
		f.SHL(bits, half, 23)
		f.ADD4(y[i], p[i], bits)
		other, factor := f.V(), f.V()
		f.SUB4(other, q, half)
		f.SHL(bits, other, 23)
		f.ADD4(factor, bits, e.c[0])
		f.FMUL(y[i], y[i], factor)
	}
	return y
}

// horner continues a polynomial in r: p = p·r + c for each c, the last one
// first.
func (f *Func) horner(p, r, c []V) {
	for j := len(c) - 1; j >= 0; j-- {
		for i := range p {
			s := f.V()
			f.MOV(s, c[j])
			f.FMLA(s, p[i], r[i])
			p[i] = s
		}
	}
}

// logPoly is (ln(1+f) − f + ½f²)/f³ on √½ ≤ 1+f < √2, from the constant up; with
// it the split of ln 2. Both are those of Cephes' logf (Moshier).
var (
	logPoly = []float32{3.3333331174e-1, -2.4999993993e-1, 2.0000714765e-1, -1.6668057665e-1,
		1.4249322787e-1, -1.2420140846e-1, 1.1676998740e-1, -1.1514610310e-1, 7.0376836292e-2}
	logLanes = [4]float32{0.5, 0.693359375, -2.12194440e-4, 1 << 23} // ½, ln 2 in two parts, 2²³
)

// logKernel emits k·ln 2 + ln(1+f), x = 2ᵏ·(1+f), for x scaled by 2²³ if it is
// subnormal.
func logKernel(file *File) {
	f := file.Func("LogNEON", "func(y, x []float32)",
		"LogNEON sets y = ln x. Contract: kernels.Set.Log.")
	const half, high, low, scale = 0, 1, 2, 3
	y, x, n := f.Ptr("y"), f.Ptr("x"), f.Len("y")
	inf := float32(math.Inf(1))
	lanes, v := f.Consts(logLanes, append(slices.Clone(logPoly),
		math.Sqrt2/2, 0x1p-126, 1, -23, inf, -inf, float32(math.NaN()), 0)...)
	c := v[:len(logPoly)]
	v = v[len(c):]
	root, normal, one, minus23, top, bottom, nan, zero := v[0:1], v[1], v[2:3], v[3:4], v[4], v[5], v[6], v[7:8]
	last := len(c) - 1
	f.blocks(n, 2, func(b block) {
		in := b.load(x)
		m := f.clone(in)
		k := make([]V, len(in))
		for i, a := range in {
			tiny, up := f.V(), f.V()
			f.FCMGT(tiny, normal, a)
			f.FMULE(up, a, lanes, scale)
			f.BIT(m[i], up, tiny)
			k[i] = f.each((*Func).AND, []V{tiny}, minus23)[0]
		}
		for i, t := range f.each((*Func).SUB4, m, root) {
			e, bits, whole := f.V(), f.V(), f.V()
			f.SSHR(e, t, 23)
			f.SHL(bits, e, 23)
			f.SUB4(m[i], m[i], bits)
			f.SCVTF(whole, e)
			f.FADD(k[i], k[i], whole)
		}
		r := f.each((*Func).FSUB, m, one)
		p := f.fill(c[last], len(r))
		f.horner(p, r, c[:last])
		square := f.each((*Func).FMUL, r, r)
		p = f.each((*Func).FMUL, f.each((*Func).FMUL, r, square), p)
		for i := range p {
			f.FMLAE(p[i], k[i], lanes, low)
			f.FMLSE(p[i], square[i], lanes, half)
		}
		p = f.each((*Func).FADD, r, p)
		for i, a := range in {
			f.FMLAE(p[i], k[i], lanes, high)
			finite, none, negative := f.V(), f.V(), f.V()
			f.FCMGT(finite, top, a)
			f.BIF(p[i], a, finite) // +Inf and NaN stay
			f.FCMEQ(none, a, zero[0])
			f.BIT(p[i], bottom, none)
			f.FCMGT(negative, zero[0], a)
			f.BIT(p[i], nan, negative)
		}
		b.store(y, p)
	})
	f.RET()
}

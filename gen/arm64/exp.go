package main

import "math"

// exponential holds the constants of e^x in registers.
type exponential struct {
	reduce        V // lanes: log₂ e, then ln 2 in two parts
	c             []V
	low, top, inf V
}

// The polynomial is a relative minimax fit of e^r on |r| ≤ ½·ln 2, with
// p(0) = p′(0) = 1 kept. The high part of ln 2 has 15 bits, so k times it is
// exact. Below low e^x is subnormal, above top it overflows.
var (
	expReduce = []float32{0x1.715476p0, 0x1.62e4p-1, 0x1.7f7d1cp-20, 0}
	expPoly   = []float32{1, 1, 5.000000596e-1, 1.666636467e-1, 4.166477174e-2, 8.379058912e-3, 1.406142139e-3}
	expLow    = float32(-0x1.5d589ep6) // −87.33654
	expTop    = float32(0x1.62e42ep6)  // 88.72283
)

// exponential loads the constants.
func (f *Func) exponential(more ...float32) (e exponential, others []V) {
	p := f.table(floatBits(expReduce))
	e.reduce = f.LoadQP(p)
	bits := floatBits(expPoly[1:])
	bits = append(bits, floatBits([]float32{expLow, expTop, float32(math.Inf(1))})...)
	bits = append(bits, floatBits(more)...)
	f.consts = append(f.consts, bits...)
	v := make([]V, len(bits))
	for i := range v {
		v[i] = f.LoadDup(p)
	}
	n := len(expPoly)
	e.c = append([]V{v[0]}, v[:n-1]...)
	e.low, e.top, e.inf = v[n-1], v[n], v[n+1]
	return e, v[n+2:]
}

// one is the constant 1.
func (e exponential) one() []V { return e.c[:1] }

// exp returns e^x, right to 1.2 ULP: with k = rint(x/ln 2) and r = x − k·ln 2,
// e^x = p(r)·2^k, the power added to the exponent bits of p. That is a normal
// float for every x between low and top: at k = 128 x ≤ top makes p < 1, and at
// k = −126 x ≥ low makes p ≥ 1 but for its rounding. NaN comes through k·0 + NaN.
func (f *Func) exp(e exponential, x []V) []V {
	n := len(x)
	t, k, r, p := f.Vs(n), f.Vs(n), f.fill1(x), f.fill(e.c[len(e.c)-1], n)
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
	for j := len(e.c) - 2; j >= 0; j-- {
		for i := range x {
			s := f.V()
			f.MOV(s, e.c[j])
			f.FMLA(s, p[i], r[i])
			p[i] = s
		}
	}
	y := f.Vs(n)
	for i := range x {
		q, s, m := f.V(), f.V(), f.V()
		f.FCVTNS(q, k[i])
		f.SHL(s, q, 23)
		f.ADD4(y[i], p[i], s)
		f.FCMGT(m, e.low, x[i])
		f.BIC(y[i], y[i], m)
		over := f.V()
		f.FCMGT(over, x[i], e.top)
		f.BIT(y[i], e.inf, over)
	}
	return y
}

// fill1 returns copies of x, to be updated.
func (f *Func) fill1(x []V) []V { return f.map1((*Func).MOV, x) }

func floatBits(x []float32) []uint32 {
	bits := make([]uint32, len(x))
	for i, v := range x {
		bits[i] = math.Float32bits(v)
	}
	return bits
}

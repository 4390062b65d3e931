package main

import (
	"math"

	op "github.com/mmcloughlin/avo/operand"
)

func expFamily(e *emitter) {
	e.exp()
	e.expSub()
	e.log()
}

// eˣ = 2ᵏ·eʳ, k = rint(x·log₂e), |r| ≤ ½·ln 2; ln 2 in two parts so that r is
// exact to below a bit. The polynomial is a minimax fit of the relative error
// with p(0) = 1: 1.2 ULP, where degree 5 has 7.1 and degree 7 0.9.
const (
	log2e   = 0x1.715476p0
	ln2High = 0x1.62e4p-1
	ln2Low  = 0x1.7f7d1cp-20
	// magic + k has k in the low bits of its mantissa, rounded to nearest.
	magic = 12582912
)

var (
	expPoly = []float32{1.406142139e-3, 8.379058912e-3, 4.166477174e-2, 1.666636467e-1, 5.000000596e-1, 1, 1}

	// expMin is the least x with a normal eˣ, expMax the largest with a finite.
	expMin = math.Float32frombits(0xc2aeac4f)
	expMax = math.Float32frombits(0x42b17217)

	inf = float32(math.Inf(1))

	signBit = math.Float32frombits(1 << 31)
	absBits = math.Float32frombits(1<<31 - 1)
)

// expConstants are those of exp and expNegative that AVX-512 kernels hold.
var expConstants = append([]float32{log2e, ln2High, ln2Low, magic, -104, 89}, expPoly...)

// expCore returns t, whose low bits are k, k as a float, and p = eʳ.
func (m *lanes) expCore(x vec) (t, k, p vec) {
	t = m.copy(m.c(log2e))
	m.VFMADD213PS(m.c(magic), x, t)
	k = m.sub(t, m.c(magic))
	r := m.copy(m.c(ln2High))
	m.VFNMADD213PS(x, k, r)
	m.VFNMADD231PS(m.c(ln2Low), k, r)
	p = m.copy(m.c(expPoly[0]))
	m.horner(p, r, expPoly[1:]...)
	return t, k, p
}

// shift multiplies p by 2ᵏ by adding k to its exponent: right where the result
// is normal.
func (m *lanes) shift(t, p vec) vec {
	r := m.new()
	m.VPSLLD(op.Imm(23), t, r)
	m.VPADDD(p, r, r)
	return r
}

// expOf returns eˣ for any x: NaN stays, +Inf above expMax; below expMin AVX2
// gives 0 and AVX-512 the denormal. The AVX-512 kernel holds expConstants.
func (m *lanes) expOf(x vec) vec {
	if m.lanes == 16 {
		x = m.min(m.held[math.Float32bits(89)], m.max(m.held[math.Float32bits(-104)], x)) // NaN passes as b
		_, k, p := m.expCore(x)
		m.VSCALEFPS(k, p, p)
		return p
	}
	t, _, p := m.expCore(x)
	y := m.where(x, ge, m.c(expMin), m.shift(t, p))
	return m.pick(x, notLE, m.c(expMax), m.add(x, m.c(inf)), y) // x + Inf: Inf, or the NaN
}

// expNegative is expOf for x ≤ 0; undefined for NaN.
func (m *lanes) expNegative(x vec) vec {
	if m.lanes == 16 {
		_, k, p := m.expCore(m.max(x, m.c(-104)))
		m.VSCALEFPS(k, p, p)
		return p
	}
	t, _, p := m.expCore(x)
	return m.where(x, ge, m.c(expMin), m.shift(t, p))
}

// exp emits y = eˣ; the model is math.Exp.
//
// Contract:  kernels.Set.Exp.
// Registers: on AVX-512 13 constants; about 6 of temporaries.
// Loop:      1 vector a pass: the out-of-order window overlaps several.
// Needs:     AVX2 and FMA3, or AVX512F.
func (e *emitter) exp() {
	e.both(func(m *lanes) {
		m.begin("Exp", "func(y, x []float32)", "sets y = eˣ.")
		p, n := m.bases("y", "x"), m.length("y")
		m.holdWide(expConstants...)
		m.sweep(n, 1, func(_ int, at access) {
			at.store(m.expOf(at.load(p[1])), p[0])
		})
		m.ret()
	})
}

// expSub emits y = e^(x−m), and its sum; the model is kernels.refExpSub.
//
// Contract:  kernels.Set.ExpSub.
// Registers: m, 2 sums; then as exp.
// Loop:      2 vectors a pass, one for each sum. Needs: as exp.
func (e *emitter) expSub() {
	e.both(func(m *lanes) {
		m.begin("ExpSub", "func(y, x []float32, m float32) float32", "sets y = e^(x−m) and returns Σ y.")
		p, n, top := m.bases("y", "x"), m.length("y"), m.spread("m")
		sums := m.zeros(2)
		m.holdWide(expConstants...)
		m.sweep(n, 2, func(j int, at access) {
			y := m.expOf(m.sub(at.load(p[1]), top))
			m.VADDPS(at.keep(y), sums[j], sums[j])
			at.store(y, p[0])
		})
		m.result(m.total(sums...), 0)
		m.ret()
	})
}

// ln x = k·ln 2 + ln(1+f), 1+f in [√½, √2). The polynomial and the split of
// ln 2 are those of Cephes' logf (Moshier).
var (
	logPoly = []float32{7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1,
		1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1}
	sqrtHalf = math.Float32frombits(0x3f3504f3)
	smallest = math.Float32frombits(0x00800000) // normal
	nan      = math.Float32frombits(0x7fc00000)
)

const (
	logLn2High = 0.693359375
	logLn2Low  = -2.12194440e-4
)

// log emits y = ln x; the model is math.Log.
//
// Contract:  kernels.Set.Log. Denormals are scaled by 2²³ first.
// Registers: on AVX-512 15 constants; about 8 of temporaries.
// Loop:      1 vector a pass. Needs: AVX2 and FMA3, or AVX512F.
func (e *emitter) log() {
	e.both(func(m *lanes) {
		m.begin("Log", "func(y, x []float32)", "sets y = ln x.")
		p, n := m.bases("y", "x"), m.length("y")
		m.holdWide(logPoly...)
		m.holdWide(sqrtHalf, smallest, 1, 0.5, logLn2High, logLn2Low)
		zero := m.zeros(1)[0]
		m.sweep(n, 1, func(_ int, at access) {
			x := at.load(p[1])
			scaled := m.mul(x, m.c(1<<23))
			normal := m.pick(x, lt, m.c(smallest), scaled, x)
			shift := m.where(x, lt, m.c(smallest), m.copy(m.c(-23)))
			t, k := m.new(), m.new()
			m.VPSUBD(m.c(sqrtHalf), normal, t)
			m.VPSRAD(op.Imm(23), t, k)
			m.VPSLLD(op.Imm(23), k, t)
			m.VPSUBD(t, normal, t) // 1+f
			m.VCVTDQ2PS(k, k)
			k = m.add(k, shift)
			f := m.sub(t, m.c(1))
			z := m.mul(f, f)
			y := m.copy(m.c(logPoly[0]))
			m.horner(y, f, logPoly[1:]...)
			y = m.mul(m.mul(f, z), y)
			m.VFMADD231PS(m.c(logLn2Low), k, y)
			m.VFNMADD231PS(m.c(0.5), z, y)
			y = m.add(f, y)
			m.VFMADD231PS(m.c(logLn2High), k, y)
			y = m.pick(x, notLT, m.c(inf), x, y)
			y = m.pick(x, eq, zero, m.copy(m.c(-inf)), y)
			y = m.pick(x, lt, zero, m.copy(m.c(nan)), y)
			at.store(y, p[0])
		})
		m.ret()
	})
}

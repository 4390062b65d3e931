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

	// expMin is the least x with a normal eˣ.
	expMin = math.Float32frombits(0xc2aeac4f)

	inf = float32(math.Inf(1))

	signBit = math.Float32frombits(1 << 31)
	absBits = math.Float32frombits(1<<31 - 1)
)

// expConstants are those of exp and expNegative that AVX-512 kernels hold.
var expConstants = append([]float32{log2e, ln2High, ln2Low, magic, -104, 89}, expPoly...)

// expCore returns t, whose low bits are k + bias, k as a float, and p = eʳ.
func (m *lanes) expCore(x vec, bias float32) (t, k, p vec) {
	t = m.copy(m.c(log2e))
	m.VFMADD213PS(m.c(magic+bias), x, t)
	k = m.sub(t, m.c(magic+bias))
	r := m.copy(x)
	m.VFNMADD231PS(m.c(ln2High), k, r)
	m.VFNMADD231PS(m.c(ln2Low), k, r)
	p = m.copy(m.c(expPoly[0]))
	m.horner(p, r, expPoly[1:]...)
	return t, k, p
}

// expOf returns eˣ for any x, see expBelow.
func (m *lanes) expOf(x vec) vec { return m.expBelow(m.min(m.held[math.Float32bits(89)], x)) }

// expBelow returns eˣ for x ≤ 89, which overflows; also a denormal result, 0 below
// −104, and NaN for NaN. Both want 89 and −104 in registers.
func (m *lanes) expBelow(x vec) vec {
	x = m.max(m.held[math.Float32bits(-104)], x) // NaN passes as b
	if m.lanes == 16 {
		_, k, p := m.expCore(x, 0)
		m.VSCALEFPS(k, p, p)
		return p
	}
	// 2ᵏ in two factors: neither has a power out of range, and only the last
	// product rounds. The bias makes exponents of both halves of t.
	t, _, p := m.expCore(x, 2*127)
	half, other := m.new(), m.new()
	m.VPSRLD(op.Imm(1), t, half)
	m.VPSUBD(half, t, other)
	m.VPSLLD(op.Imm(23), half, half)
	m.VPSLLD(op.Imm(23), other, other)
	return m.mul(m.mul(p, half), other)
}

// expNegative is expOf for x ≤ 0 that AVX2 flushes below expMin, where it saves
// three instructions; undefined for NaN.
func (m *lanes) expNegative(x vec) vec {
	if m.lanes == 16 {
		_, k, p := m.expCore(m.max(x, m.c(-104)), 0)
		m.VSCALEFPS(k, p, p)
		return p
	}
	t, _, p := m.expCore(x, 0)
	y := m.new()
	m.VPSLLD(op.Imm(23), t, y)
	m.VPADDD(p, y, y) // adds k to the exponent: the result is normal
	return m.where(x, ge, m.c(expMin), y)
}

// exp emits y = eˣ; the model is math.Exp.
//
// Contract:  kernels.Set.Exp.
// Registers: on AVX-512 13 constants, on AVX2 4; 5 of temporaries for a vector.
// Loop:      2 vectors a pass, woven.
// Needs:     AVX2 and FMA3, or AVX512F.
func (e *emitter) exp() {
	e.streamed(func(m *lanes) {
		m.begin("Exp", "func(y, x []float32)", "sets y = eˣ.")
		p, n := m.bases("y", "x"), m.length("y")
		m.hold(-104, 89, ln2High, ln2Low)
		m.holdWide(expConstants...)
		m.sweepWoven(p[:1], n, 2, func(_ int, at access) {
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
		m.hold(-104, 89)
		m.sweepWoven(nil, n, 2, func(j int, at access) {
			y := m.expOf(m.sub(at.load(p[1]), top))
			m.VADDPS(at.keep(y), sums[j], sums[j])
			at.store(y, p[0])
		})
		m.result(m.total(sums...), 0)
		m.ret()
	})
}

// ln x = k·ln 2 + ln(1+f), 1+f in [√½, √2). The polynomial is a minimax fit of
// (ln(1+f) − f + ½f²)/f³, in ULP of ln(1+f): 0.10, where one degree more has 0.01.
// ln 2 needs no second part: its error is below a tenth of an ULP of the result, and
// the fused product has none.
var (
	logPoly = []float32{-7.636427879e-2, 1.276221275e-1, -1.315961033e-1, 1.420157999e-1,
		-1.662340909e-1, 2.000124156e-1, -2.500081956e-1, 3.333333135e-1}
	sqrtHalf = math.Float32frombits(0x3f3504f3)
	smallest = math.Float32frombits(0x00800000) // normal
	nan      = math.Float32frombits(0x7fc00000)

	// As integers: bits(x) + notNormal > lastNormal for 0, denormals, negative
	// numbers, Inf and NaN alone.
	notNormal  = math.Float32frombits(0x7f800000)
	lastNormal = math.Float32frombits(0xfeffffff)
	bits23     = math.Float32frombits(23 << 23)
)

// log emits y = ln x; the model is math.Log.
//
// Contract:  kernels.Set.Log.
// Registers: on AVX-512 16 constants, on AVX2 9; about 6 of temporaries.
// Loop:      1 vector a pass; what is not normal and positive takes two detours.
// Needs:     AVX2 and FMA3, or AVX512F.
func (e *emitter) log() {
	e.both(func(m *lanes) {
		m.begin("Log", "func(y, x []float32)", "sets y = ln x.")
		out, in, n := m.base("y"), m.base("x"), m.length("y")
		m.holdWide(logPoly...)
		m.holdWide(sqrtHalf, 1, 0.5, math.Ln2, notNormal, lastNormal)
		if m.lanes == 8 {
			m.hold(append(logPoly[1:6:6], sqrtHalf, 1, 0.5, math.Ln2, notNormal, lastNormal)...)
		}
		m.sweep(n, 1, func(_ int, at access) {
			x := at.load(in)
			key := m.new()
			m.VPADDD(m.c(notNormal), x, key)
			odd := m.anyAbove(key, m.c(lastNormal))
			m.detour(odd, func() {
				// A denormal times 2²³, and 23 off its exponent: that is below 0 then,
				// but k and 1+f come out of integers.
				scaled := m.mul(x, m.c(1<<23))
				m.VPSUBD(m.c(bits23), scaled, scaled)
				m.VMOVUPS(m.pick(x, lt, m.c(smallest), scaled, x), x)
			})
			t, k := m.new(), m.new()
			m.VPSUBD(m.c(sqrtHalf), x, t)
			m.VPSRAD(op.Imm(23), t, k)
			m.VPSLLD(op.Imm(23), k, t)
			m.VPSUBD(t, x, t) // 1+f
			m.VCVTDQ2PS(k, k)
			f := m.sub(t, m.c(1))
			z := m.mul(f, f)
			p := m.copy(m.c(logPoly[0]))
			m.horner(p, f, logPoly[1:]...)
			m.VFMSUB213PS(m.c(0.5), f, p)
			m.VFMADD231PS(m.c(math.Ln2), k, f)
			m.VFMADD213PS(f, z, p) // k·ln 2 + f + f²·(f·P − ½)
			m.detour(odd, func() {
				x, zero := at.load(in), m.zeros(1)[0] // what it was
				y := m.pick(x, notLT, m.c(inf), x, p)
				y = m.pick(x, eq, zero, m.copy(m.c(-inf)), y)
				m.VMOVUPS(m.pick(x, lt, zero, m.copy(m.c(nan)), y), p)
			})
			at.store(p, out)
		})
		m.ret()
	})
}

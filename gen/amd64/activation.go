package main

import (
	"math"

	op "github.com/mmcloughlin/avo/operand"

	"fuerte/gen/piecewise"
)

func activationFamily(e *emitter) {
	e.silu()
	e.siluGrad()
	e.swiglu()
	e.swigluGrad()
	e.gelu()
	e.geluGrad()
	e.tanh()
	e.erf()
	e.sigmoid()
}

// With E = e^−|x| ∈ (0, 1] nothing overflows and nothing cancels:
//
//	σ(x) = (x ≥ 0 ? 1 : E)/(1+E)     1 − σ(x) = (x ≥ 0 ? E : 1)/(1+E)

// sigmoidConstants are what the functions below need beside expConstants.
var sigmoidConstants = []float32{1, signBit}

// bySign returns below where the sign bit of x is set, above elsewhere.
func (m *lanes) bySign(x vec, below, above vec) vec {
	r := m.new()
	if m.lanes == 16 {
		k := m.K()
		m.VPMOVD2M(x, k)
		m.VBLENDMPS(below, above, k, r)
	} else {
		m.VBLENDVPS(x, below, above, r)
	}
	return r
}

// expAbs returns e^−|x|.
func (m *lanes) expAbs(x vec) vec { return m.expNegative(m.or(x, m.c(signBit))) }

// siluOf returns x·σ(x); for NaN the factor x keeps it.
func (m *lanes) siluOf(x vec) vec {
	e := m.expAbs(x)
	one := m.copy(m.c(1))
	den := m.add(e, one)
	return m.div(m.mul(x, m.bySign(x, e, one)), den)
}

// sigmoidOf returns σ(x) and 1 − σ(x); undefined for NaN.
func (m *lanes) sigmoidOf(x vec) (s, t vec) {
	e := m.expAbs(x)
	one := m.copy(m.c(1))
	inverse := m.div(one, m.add(e, one))
	small := m.mul(e, inverse)
	return m.bySign(x, small, inverse), m.bySign(x, inverse, small)
}

// siluGradOf returns σ·(1 + x·(1−σ)), and σ.
func (m *lanes) siluGradOf(x vec) (d, s vec) {
	s, t := m.sigmoidOf(x)
	d = m.copy(t)
	m.VFMADD213PS(m.c(1), x, d)
	return m.mul(s, d), s
}

// silu emits y = x·σ(x); the model is kernels.refSiLU.
//
// Contract:  kernels.Set.SiLU.
// Registers: on AVX-512 15 constants; about 7 of temporaries.
// Loop:      2 vectors a pass, woven; 1 where registers are short, in the gradients.
// Needs:     AVX2 and FMA3, or AVX512F and DQ. So all kernels of this file.
func (e *emitter) silu() {
	e.streamed(func(m *lanes) {
		m.begin("SiLU", "func(y, x []float32)", "sets y = x·σ(x).")
		p, n := m.bases("y", "x"), m.length("y")
		m.holdWide(expConstants...)
		m.holdWide(sigmoidConstants...)
		m.sweepWoven(p[:1], n, 2, func(_ int, at access) {
			at.store(m.siluOf(at.load(p[1])), p[0])
		})
		m.ret()
	})
}

// siluGrad emits gx = gy·silu′(x); the model is kernels.refSiLUGrad.
//
// Contract: kernels.Set.SiLUGrad. The rest: see silu.
func (e *emitter) siluGrad() {
	e.streamed(func(m *lanes) {
		m.begin("SiLUGrad", "func(gx, x, gy []float32)", "sets gx = gy·σ(x)·(1 + x·(1−σ(x))).")
		p, n := m.bases("gx", "x", "gy"), m.length("gx")
		m.holdWide(expConstants...)
		m.holdWide(sigmoidConstants...)
		m.sweepTo(p[:1], n, 1, func(_ int, at access) {
			d, _ := m.siluGradOf(at.load(p[1]))
			at.store(m.mul(d, at.load(p[2])), p[0])
		})
		m.ret()
	})
}

// swiglu emits y = silu(g)·u; the model is kernels.refSwiGLU.
//
// Contract: kernels.Set.SwiGLU. The rest: see silu.
func (e *emitter) swiglu() {
	e.streamed(func(m *lanes) {
		m.begin("SwiGLU", "func(y, g, u []float32)", "sets y = silu(g)·u.")
		p, n := m.bases("y", "g", "u"), m.length("y")
		m.holdWide(expConstants...)
		m.holdWide(sigmoidConstants...)
		m.sweepWoven(p[:1], n, 2, func(_ int, at access) {
			at.store(m.mul(m.siluOf(at.load(p[1])), at.load(p[2])), p[0])
		})
		m.ret()
	})
}

// swigluGrad emits both gradients; the model is kernels.refSwiGLUGrad.
//
// Contract: kernels.Set.SwiGLUGrad: all loads come before the stores, so that
// any output may be any input. The rest: see silu.
func (e *emitter) swigluGrad() {
	e.streamed(func(m *lanes) {
		m.begin("SwiGLUGrad", "func(gg, gu, g, u, gy []float32)", "sets gg = gy·u·silu′(g) and gu = gy·silu(g).")
		p, n := m.bases("gg", "gu", "g", "u", "gy"), m.length("gg")
		m.holdWide(expConstants...)
		m.holdWide(sigmoidConstants...)
		m.sweepTo(p[:2], n, 1, func(_ int, at access) {
			g := at.load(p[2])
			d, s := m.siluGradOf(g)
			gy := at.load(p[4])
			gg := m.mul(m.mul(gy, at.load(p[3])), d)
			gu := m.mul(gy, m.mul(g, s))
			at.store(gg, p[0])
			at.store(gu, p[1])
		})
		m.ret()
	})
}

// ½·(1 + tanh u) = σ(2u): GELU(x) = x·σ(z), z = 2√(2/π)·x·(1 + c·x²).
const (
	gelu2Scale = 1.5957691216057308
	geluCubic  = 0.044715
	// Beyond ±geluFlat the derivative is 0 or 1 to the last bit, and x² would
	// meet 0 as Inf.
	geluFlat = 13
)

// gelu emits y = x·σ(z); the model is kernels.refGELU.
//
// Contract: kernels.Set.GELU. The rest: see silu.
func (e *emitter) gelu() {
	e.streamed(func(m *lanes) {
		m.begin("GELU", "func(y, x []float32)", "sets y = ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))).")
		p, n := m.bases("y", "x"), m.length("y")
		m.holdWide(expConstants...)
		m.holdWide(sigmoidConstants...)
		m.holdWide(gelu2Scale, gelu2Scale*geluCubic)
		m.sweepWoven(p[:1], n, 2, func(_ int, at access) {
			x := at.load(p[1])
			z := m.copy(m.c(gelu2Scale * geluCubic))
			m.VFMADD213PS(m.c(gelu2Scale), m.mul(x, x), z)
			z = m.mul(z, x)
			e := m.expAbs(z)
			one := m.copy(m.c(1))
			den := m.add(e, one)
			at.store(m.div(m.mul(x, m.bySign(z, e, one)), den), p[0])
		})
		m.ret()
	})
}

// geluGrad emits gx = gy·(σ + x·σ·(1−σ)·z′), z′ = 2√(2/π)·(1 + 3c·x²); the model
// is kernels.refGELUGrad.
//
// Contract: kernels.Set.GELUGrad. The rest: see silu.
func (e *emitter) geluGrad() {
	e.streamed(func(m *lanes) {
		m.begin("GELUGrad", "func(gx, x, gy []float32)", "sets gx = gy·dGELU/dx.")
		p, n := m.bases("gx", "x", "gy"), m.length("gx")
		m.holdWide(expConstants...)
		m.holdWide(sigmoidConstants...)
		m.holdWide(gelu2Scale, gelu2Scale*geluCubic, 3*gelu2Scale*geluCubic)
		m.hold(-geluFlat, geluFlat)
		low, high := m.held[math.Float32bits(-geluFlat)], m.held[math.Float32bits(geluFlat)]
		m.sweepTo(p[:1], n, 1, func(_ int, at access) {
			x := m.min(high, m.max(low, at.load(p[1]))) // NaN passes as b
			xx := m.mul(x, x)
			z, dz := m.copy(m.c(gelu2Scale*geluCubic)), m.copy(m.c(3*gelu2Scale*geluCubic))
			m.VFMADD213PS(m.c(gelu2Scale), xx, z)
			m.VFMADD213PS(m.c(gelu2Scale), xx, dz)
			s, t := m.sigmoidOf(m.mul(z, x))
			d := m.mul(m.mul(x, dz), t)
			m.VFMADD213PS(s, s, d) // s + s·d
			at.store(m.mul(d, at.load(p[2])), p[0])
		})
		m.ret()
	})
}

// piecewiseOf returns the function of a table for any x; NaN stays.
func (m *lanes) piecewiseOf(t *piecewise.Table, x vec) vec {
	size := m.and(x, m.c(absBits))
	sign := m.xor(x, size)
	size = m.min(m.held[math.Float32bits(t.Top)], size) // NaN passes as b
	i := m.add(size, m.c(t.Bias))
	m.VPSRLD(op.Imm(uint64(t.Shift)), i, i)
	r := m.sub(size, m.lookup(i, t.Center))
	y := m.lookup(i, t.C[len(t.C)-1])
	for j := len(t.C) - 2; j >= 0; j-- {
		m.VFMADD213PS(m.lookup(i, t.C[j]), r, y)
	}
	base := m.lookup(i, t.Base)
	if t.FromR {
		base = m.bySign(base, r, base)
	}
	m.VFMADD213PS(base, r, y)
	return m.or(y, sign)
}

// piecewise emits an odd function from its table.
//
// Registers: on AVX-512 all constants, on AVX2 3 and one table; 6 of temporaries
// for a vector.
// Loop:      2 vectors a pass, woven. Needs: AVX2 and FMA3, or AVX512F and DQ.
func (e *emitter) piecewise(name, formula string, t *piecewise.Table) {
	e.streamed(func(m *lanes) {
		m.begin(name, "func(y, x []float32)", formula)
		p, n := m.bases("y", "x"), m.length("y")
		m.hold(absBits, t.Top, t.Bias)
		if m.lanes == 16 {
			m.holdTables(t.Center, t.Base)
			m.holdTables(t.C...)
		} else {
			m.holdTables(t.Center)
		}
		m.sweepWoven(p[:1], n, 2, func(_ int, at access) {
			at.store(m.piecewiseOf(t, at.load(p[1])), p[0])
		})
		m.ret()
	})
}

// tanh emits y = tanh x; the model is math.Tanh. Contract: kernels.Set.Tanh.
func (e *emitter) tanh() { e.piecewise("Tanh", "sets y = tanh x.", piecewise.Tanh) }

// erf emits y = erf x; the model is math.Erf. Contract: kernels.Set.Erf.
func (e *emitter) erf() { e.piecewise("Erf", "sets y = erf x.", piecewise.Erf) }

// sigmoid emits y = s − s·E/(1+E), s = x ≥ 0 ? 1 : E; the model is
// kernels.refSigmoid. The quotient s/(1+E) would have the rounding of 1+E in full
// where E is small; here it is E times less.
//
// Contract:  kernels.Set.Sigmoid. Unlike the others it keeps E where that is
// denormal, for σ is as small there.
// Registers: on AVX-512 16 constants, on AVX2 3; about 6 of temporaries for a vector.
// Loop:      2 vectors a pass, woven.
func (e *emitter) sigmoid() {
	e.streamed(func(m *lanes) {
		m.begin("Sigmoid", "func(y, x []float32)", "sets y = 1/(1 + e^−x).")
		p, n := m.bases("y", "x"), m.length("y")
		m.hold(-104, ln2High, ln2Low)
		m.holdWide(expConstants...)
		m.holdWide(sigmoidConstants...)
		m.sweepWoven(p[:1], n, 2, func(_ int, at access) {
			x := at.load(p[1])
			e, one := m.expBelow(m.or(x, m.c(signBit))), m.copy(m.c(1))
			q, over := m.div(e, m.add(e, one)), m.bySign(x, e, one)
			m.VFNMADD213PS(over, over, q)
			at.store(q, p[0])
		})
		m.ret()
	})
}

package main

import "math"

func normFamily(e *emitter) {
	e.rmsNormRow()
	e.rmsNormGradRow()
	e.layerNormRow()
	e.layerNormGradRow()
}

// count returns the length as a scalar float.
func (m *lanes) count(n ptr) vec {
	x := m.XMM()
	m.VXORPS(x, x, x)
	m.VCVTSI2SSQ(n, x, x)
	return x
}

// inverseRoot turns the scalar x into 1/√(x/n + eps).
func (m *lanes) inverseRoot(x, n vec) {
	eps, one := m.XMM(), m.XMM()
	m.VMOVSS(m.address(m.Param("eps")), eps)
	m.VDIVSS(n, x, x)
	m.VADDSS(eps, x, x)
	m.VSQRTSS(x, x, x)
	m.VMOVSS(m.constant(math.Float32bits(1)), one)
	m.VDIVSS(x, one, x)
}

// rmsNormRow emits y = x·r·w; the model is kernels.refRMSNormRow.
//
// Contract:  kernels.Set.RMSNormRow; |x|² must not overflow.
// Registers: 4 sums of squares; then r in all lanes.
// Loop:      two passes of 4 vectors, the second finds the row in cache.
// Needs:     AVX2 and FMA3, or AVX512F. So all kernels of this file.
func (e *emitter) rmsNormRow() {
	e.streamed(func(m *lanes) {
		m.begin("RMSNormRow", "func(y, x, w []float32, eps float32) (r float32)",
			"sets y[j] = x[j]·w[j]·r and returns r = 1/√(mean x² + eps).")
		p, n := m.bases("y", "x", "w"), m.length("y")
		sums := m.zeros(4)
		m.sweep(n, 4, func(j int, at access) {
			x := at.load(p[1])
			m.VFMADD231PS(x, x, sums[j])
		})
		s := m.total(sums...)
		m.inverseRoot(s, m.count(n))
		m.result(s, 0)
		r := m.spreadLow(s)
		m.sweepTo(p[:1], n, 4, func(_ int, at access) {
			at.store(m.mul(m.mul(at.load(p[1]), r), at.load(p[2])), p[0])
		})
		m.ret()
	})
}

// rmsNormGradRow emits the VJP; the model is kernels.refRMSNormGradRow.
//
// Contract:  kernels.Set.RMSNormGradRow.
// Registers: 4 sums of gy·w·x; then r and c in all lanes.
// Loop:      two passes, of 4 and 2 vectors.
func (e *emitter) rmsNormGradRow() {
	e.streamed(func(m *lanes) {
		m.begin("RMSNormGradRow", "func(gx, gw, x, w, gy []float32, r float32)",
			"sets gx = r·(gy·w − x̂·c) and adds gy·x̂ to gw, x̂ = r·x, c = mean gy·w·x̂.")
		p, n := m.bases("gx", "gw", "x", "w", "gy"), m.length("gx")
		sums := m.zeros(4)
		m.sweep(n, 4, func(j int, at access) {
			h := m.mul(at.load(p[4]), at.load(p[3]))
			m.VFMADD231PS(at.load(p[2]), h, sums[j])
		})
		r, s := m.spread("r"), m.total(sums...)
		m.VMULSS(r.AsX(), s, s)
		m.VDIVSS(m.count(n), s, s)
		c := m.spreadLow(s)
		m.sweepTo(p[:1], n, 2, func(_ int, at access) {
			gy, xh := at.load(p[4]), m.mul(at.load(p[2]), r)
			h := m.mul(gy, at.load(p[3]))
			gw := at.load(p[1])
			m.VFMADD231PS(xh, gy, gw)
			m.VFNMADD231PS(c, xh, h)
			at.store(gw, p[1])
			at.store(m.mul(h, r), p[0])
		})
		m.ret()
	})
}

// layerNormRow emits y = (x−mean)·r·w + b; the model is kernels.refLayerNormRow.
//
// Contract:  kernels.Set.LayerNormRow; |x|² must not overflow.
// Registers: 4 sums; then mean and r in all lanes.
// Loop:      three passes, the mean, the variance around it, the result: one
// pass over x and x² would cancel.
func (e *emitter) layerNormRow() {
	e.streamed(func(m *lanes) {
		m.begin("LayerNormRow", "func(y, x, w, b []float32, eps float32) (mean, r float32)",
			"sets y[j] = (x[j]−mean)·r·w[j] + b[j], r = 1/√(var x + eps).")
		p, n := m.bases("y", "x", "w", "b"), m.length("y")
		sums := m.zeros(4)
		m.sweep(n, 4, func(j int, at access) {
			m.VADDPS(at.load(p[1]), sums[j], sums[j])
		})
		s, count := m.total(sums...), m.count(n)
		m.VDIVSS(count, s, s)
		m.result(s, 0)
		mean := m.spreadLow(s)
		for _, x := range sums {
			m.zero(m.emitter, x)
		}
		m.sweep(n, 4, func(j int, at access) {
			d := at.keep(m.sub(at.load(p[1]), mean))
			m.VFMADD231PS(d, d, sums[j])
		})
		s = m.total(sums...)
		m.inverseRoot(s, count)
		m.result(s, 1)
		r := m.spreadLow(s)
		m.sweepTo(p[:1], n, 2, func(_ int, at access) {
			y := m.mul(m.sub(at.load(p[1]), mean), r)
			m.VFMADD213PS(at.load(p[3]), at.load(p[2]), y)
			at.store(y, p[0])
		})
		m.ret()
	})
}

// layerNormGradRow emits the VJP; the model is kernels.refLayerNormGradRow.
//
// Contract:  kernels.Set.LayerNormGradRow.
// Registers: 2 sums of h = gy·w and 2 of h·(x−mean); then mean, r and the two
// means in all lanes.
// Loop:      two passes of 2 vectors.
func (e *emitter) layerNormGradRow() {
	e.streamed(func(m *lanes) {
		m.begin("LayerNormGradRow", "func(gx, gw, gb, x, w, gy []float32, mean, r float32)",
			"sets gx = r·(h − mean h − x̂·mean(h·x̂)), h = gy·w, x̂ = (x−mean)·r, and adds gy·x̂ to gw and gy to gb.")
		p, n := m.bases("gx", "gw", "gb", "x", "w", "gy"), m.length("gx")
		mean, r := m.spread("mean"), m.spread("r")
		hs, cs := m.zeros(2), m.zeros(2)
		m.sweep(n, 2, func(j int, at access) {
			h := m.mul(at.load(p[5]), at.load(p[4]))
			m.VADDPS(h, hs[j], hs[j])
			m.VFMADD231PS(m.sub(at.load(p[3]), mean), h, cs[j])
		})
		count := m.count(n)
		h, c := m.total(hs...), m.total(cs...)
		m.VDIVSS(count, h, h)
		m.VMULSS(r.AsX(), c, c)
		m.VDIVSS(count, c, c)
		meanH, meanC := m.spreadLow(h), m.spreadLow(c)
		m.sweepTo(p[:1], n, 2, func(_ int, at access) {
			gy, xh := at.load(p[5]), m.mul(m.sub(at.load(p[3]), mean), r)
			gx := m.sub(m.mul(gy, at.load(p[4])), meanH)
			m.VFNMADD231PS(meanC, xh, gx)
			gw, gb := at.load(p[1]), m.add(gy, at.load(p[2]))
			m.VFMADD231PS(xh, gy, gw)
			at.store(gw, p[1])
			at.store(gb, p[2])
			at.store(m.mul(gx, r), p[0])
		})
		m.ret()
	})
}

package main

import op "github.com/mmcloughlin/avo/operand"

func elementwiseFamily(e *emitter) {
	e.binary("Add", "a + b", (*lanes).add)
	e.binary("Sub", "a − b", (*lanes).sub)
	e.binary("Mul", "a·b", (*lanes).mul)
	e.binary("Div", "a/b", (*lanes).div)
	e.scale()
	e.axpy()
	e.sqrt()
}

// binary emits y = a ∘ b; the models are kernels.refAdd and so on.
//
// Contract:  kernels.Set.Add. Loop: 4 vectors a pass. Needs: AVX, or AVX512F.
func (e *emitter) binary(name, formula string, f func(m *lanes, a vec, b op.Op) vec) {
	e.both(func(m *lanes) {
		m.begin(name, "func(y, a, b []float32)", "sets y = "+formula+".")
		p, n := m.bases("y", "a", "b"), m.length("y")
		m.sweep(n, 4, func(_ int, at access) {
			at.store(f(m, at.load(p[1]), at.load(p[2])), p[0])
		})
		m.ret()
	})
}

// scale emits y = alpha·x; the model is kernels.refScale.
//
// Contract: kernels.Set.Scale. Loop: 4 vectors a pass. Needs: AVX2, or AVX512F.
func (e *emitter) scale() {
	e.both(func(m *lanes) {
		m.begin("Scale", "func(y, x []float32, alpha float32)", "sets y = alpha·x.")
		p, n, alpha := m.bases("y", "x"), m.length("y"), m.spread("alpha")
		m.sweep(n, 4, func(_ int, at access) {
			at.store(m.mul(alpha, at.load(p[1])), p[0])
		})
		m.ret()
	})
}

// axpy emits y += alpha·x; the model is kernels.refAxpy.
//
// Contract: kernels.Set.Axpy. Loop: 4 vectors a pass. Needs: FMA3, or AVX512F.
func (e *emitter) axpy() {
	e.both(func(m *lanes) {
		m.begin("Axpy", "func(y, x []float32, alpha float32)", "sets y += alpha·x, fused.")
		p, n, alpha := m.bases("y", "x"), m.length("y"), m.spread("alpha")
		m.sweep(n, 4, func(_ int, at access) {
			y := at.load(p[0])
			m.VFMADD231PS(at.load(p[1]), alpha, y)
			at.store(y, p[0])
		})
		m.ret()
	})
}

// sqrt emits y = √x; the model is math.Sqrt.
//
// Contract: kernels.Set.Sqrt. Loop: 2 vectors a pass, the divider is the limit.
// Needs: AVX, or AVX512F.
func (e *emitter) sqrt() {
	e.both(func(m *lanes) {
		m.begin("Sqrt", "func(y, x []float32)", "sets y = √x.")
		p, n := m.bases("y", "x"), m.length("y")
		m.sweep(n, 2, func(_ int, at access) {
			y := at.load(p[1])
			m.VSQRTPS(y, y)
			at.store(y, p[0])
		})
		m.ret()
	})
}

package main

import op "github.com/mmcloughlin/avo/operand"

func elementwiseFamily(e *emitter) {
	e.binary("Add", "a + b", (*lanes).add)
	e.binary("Sub", "a − b", (*lanes).sub)
	e.binary("Mul", "a·b", (*lanes).mul)
	e.binary("Div", "a/b", (*lanes).div)
	e.scale()
	e.axpy()
	e.gemv()
	e.sqrt()
}

// binary emits y = a ∘ b; the models are kernels.refAdd and so on.
//
// Contract:  kernels.Set.Add. Loop: 4 vectors a pass. Needs: AVX, or AVX512F.
func (e *emitter) binary(name, formula string, f func(m *lanes, a vec, b op.Op) vec) {
	e.streamed(func(m *lanes) {
		m.begin(name, "func(y, a, b []float32)", "sets y = "+formula+".")
		p, n := m.bases("y", "a", "b"), m.length("y")
		m.sweepTo(p[:1], n, 4, func(_ int, at access) {
			at.store(f(m, at.load(p[1]), at.load(p[2])), p[0])
		})
		m.ret()
	})
}

// scale emits y = alpha·x; the model is kernels.refScale.
//
// Contract: kernels.Set.Scale. Loop: 4 vectors a pass. Needs: AVX2, or AVX512F.
func (e *emitter) scale() {
	e.streamed(func(m *lanes) {
		m.begin("Scale", "func(y, x []float32, alpha float32)", "sets y = alpha·x.")
		p, n, alpha := m.bases("y", "x"), m.length("y"), m.spread("alpha")
		m.sweepTo(p[:1], n, 4, func(_ int, at access) {
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

// gemv emits y += a·B; the model is kernels.refGemv.
//
// Contract:  kernels.Set.Gemv. Needs: FMA3, or AVX512F.
// Registers: 8 elements of a, each in all lanes of a vector, and one vector of y.
// Loop:      8 rows of B at a time, then one; in it a vector of y a pass, loaded and
// stored once for all of these rows. Nothing is prefetched: of the rows to come that
// helps from memory, but costs more from the caches.
func (e *emitter) gemv() {
	e.both(func(m *lanes) {
		m.begin("Gemv", "func(y, a, b []float32, ldb int)", "sets y[j] += Σ_p a[p]·b[p·ldb+j], fused, in order of p.")
		left, next := m.length("a"), m.base("b")
		for _, rows := range []int{8, 1} {
			loop := m.repeat
			if rows == 1 {
				loop = m.passes // nobody asks what it leaves
			}
			loop(left, rows, func() {
				a, past, stride, stride3 := m.base("a"), m.length("a"), m.gp("ldb"), m.GP64()
				m.SUBQ(left, past) // rows done, and these
				alpha := make([]vec, rows)
				for i := range alpha {
					alpha[i] = m.new()
					m.VBROADCASTSS(op.Mem{Base: a, Index: past, Scale: 4, Disp: 4 * (i - rows)}, alpha[i])
				}
				m.SHLQ(op.Imm(2), stride)
				row := []ptr{m.GP64()} // and every fourth after it
				m.MOVQ(next, row[0])
				if rows == 8 {
					row = append(row, m.GP64())
					m.LEAQ(op.Mem{Base: next, Index: stride, Scale: 4}, row[1])
					m.LEAQ(op.Mem{Base: stride, Index: stride, Scale: 2}, stride3)
				}
				m.LEAQ(op.Mem{Base: next, Index: stride, Scale: uint8(rows)}, next)
				b := func(i int) op.Mem {
					switch p := row[i/4]; i % 4 {
					case 0:
						return op.Mem{Base: p}
					case 3:
						return op.Mem{Base: p, Index: stride3, Scale: 1}
					default:
						return op.Mem{Base: p, Index: stride, Scale: uint8(i % 4)}
					}
				}
				y := m.base("y")
				m.sweep(m.length("y"), 1, func(_ int, at access) {
					sum := at.load(y)
					for i := range alpha {
						if at.rest == nil {
							m.VFMADD231PS(b(i), alpha[i], sum)
						} else {
							m.VFMADD231PS(at.loadFrom(b(i)), alpha[i], sum)
						}
					}
					at.store(sum, y)
					if at.rest == nil {
						for _, p := range row {
							m.ADDQ(op.U32(uint32(4*m.lanes)), p)
						}
					}
				})
			})
		}
		m.ret()
	})
}

// sqrt emits y = √x; the model is math.Sqrt.
//
// Contract: kernels.Set.Sqrt. Loop: 2 vectors a pass, the divider is the limit.
// Needs: AVX, or AVX512F.
func (e *emitter) sqrt() {
	e.streamed(func(m *lanes) {
		m.begin("Sqrt", "func(y, x []float32)", "sets y = √x.")
		p, n := m.bases("y", "x"), m.length("y")
		m.sweepTo(p[:1], n, 2, func(_ int, at access) {
			y := at.load(p[1])
			m.VSQRTPS(y, y)
			at.store(y, p[0])
		})
		m.ret()
	})
}

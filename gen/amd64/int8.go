package main

import op "github.com/mmcloughlin/avo/operand"

func int8Family(e *emitter) { e.both((*lanes).fromInt8) }

// fromInt8 emits y = scale·x; the model is kernels.refFromInt8.
//
// Contract: kernels.Set. Loop: 4 vectors a pass. Needs: AVX2, or AVX512F.
func (m *lanes) fromInt8() {
	m.begin("FromInt8", "func(y []float32, x []int8, scale float32)", "sets y = scale·x.")
	p, n, scale := m.bases("y", "x"), m.length("y"), m.spread("scale")
	m.sweepHalves(n, 4, func(h *halves) {
		by := op.Op(scale)
		if h.m.lanes == 4 {
			by = scale.AsX()
		}
		h.storeFloats(h.m.mul(h.widenBytes(p[1]), by), p[0])
	})
	m.ret()
}

// widenBytes loads 8-bit integers as floats. VPMOVSXBD would read four at least, so
// that fewer go through a register.
func (h *halves) widenBytes(base ptr) vec {
	m, r := h.m, h.m.new()
	from := op.Op(op.Mem{Base: base, Index: h.index, Scale: 1, Disp: h.floats})
	switch {
	case h.rest != nil:
		m.VPMOVSXBD_Z(from, h.mask, r)
		m.VCVTDQ2PS(r, r)
		return r
	case h.count == 2:
		m.VPBROADCASTW(from, r)
		from = r
	case h.count == 1:
		m.VPBROADCASTB(from, r)
		from = r
	}
	m.VPMOVSXBD(from, r)
	m.VCVTDQ2PS(r, r)
	return r
}

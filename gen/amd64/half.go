package main

import (
	"math"

	"github.com/mmcloughlin/avo/build"
	op "github.com/mmcloughlin/avo/operand"
)

func halfFamily(e *emitter) {
	e.fromHalf("FromBF16", (*halves).widenBF16)
	e.toHalf("ToBF16", (*halves).narrowBF16)
	e.fromHalf("FromF16", (*halves).widenF16)
	e.toHalf("ToF16", (*halves).narrowF16)
	e.zipBF16()
}

// halves is one step of a conversion: as many elements as a register has lanes,
// or, at the end of a slice, those that a mask leaves (AVX-512), or four, two or
// one (AVX2, in an X register: nothing masks 16-bit lanes there).
type halves struct {
	access
	count int
}

// fromHalf emits y = x, widened; the model is kernels.ref+name.
//
// Contract: kernels.Set. Loop: 4 vectors a pass. Needs: AVX2 and F16C, or AVX512F.
func (e *emitter) fromHalf(name string, widen func(h *halves, base ptr) vec) {
	e.both(func(m *lanes) {
		m.begin(name, "func(y []float32, x []uint16)", "sets y = x, exactly.")
		p, n := m.bases("y", "x"), m.length("y")
		if name == "FromBF16" {
			m.hold(negativeZero)
		}
		m.sweepHalves(n, 4, func(h *halves) { h.storeFloats(widen(h, p[1]), p[0]) })
		m.ret()
	})
}

// toHalf emits y = x, rounded; the model is kernels.ref+name.
//
// Contract: kernels.Set. Loop: 4 vectors a pass. Needs: AVX2 and F16C, or AVX512F
// and AVX512DQ.
func (e *emitter) toHalf(name string, narrow func(h *halves, x vec, base ptr)) {
	e.both(func(m *lanes) {
		m.begin(name, "func(y []uint16, x []float32)", "sets y = x, rounded to nearest, ties to even.")
		p, n := m.bases("y", "x"), m.length("y")
		if name == "ToBF16" {
			m.hold(lastBit, belowHalf, quietBit)
		}
		m.sweepHalves(n, 4, func(h *halves) { narrow(h, h.loadFloats(p[1]), p[0]) })
		m.ret()
	})
}

// zipBF16 emits pairs of BF16.
//
// Contract: kernels.Set.ZipBF16. Loop: 4 vectors a pass. Needs: AVX512F and AVX512DQ.
// AVX2 has nothing that would multiply them.
func (e *emitter) zipBF16() {
	m := &lanes{emitter: e, vectors: avx512, held: map[uint32]vec{}}
	m.text("ZipBF16"+m.suffix, "func(y []float32, lo, hi []uint16)",
		"ZipBF16"+m.suffix+" sets y[i] to the pair of lo[i] and hi[i], the upper half. See kernels.Set.ZipBF16.")
	p, n := m.bases("y", "lo", "hi"), m.length("y")
	m.sweepHalves(n, 4, func(h *halves) {
		lo := h.widenWords(p[1], m.VPMOVZXWD, m.VPMOVZXWD_Z)
		hi := h.widenWords(p[2], m.VPMOVZXWD, m.VPMOVZXWD_Z)
		m.VPSLLD(op.Imm(16), hi, hi)
		h.storeFloats(m.or(lo, hi), p[0])
	})
	m.ret()
}

// Bit patterns as what hold and c take.
var (
	negativeZero = math.Float32frombits(1 << 31)
	lastBit      = math.Float32frombits(1)
	belowHalf    = math.Float32frombits(0x7fff) // of what the upper half counts
	quietBit     = math.Float32frombits(0x40)   // of a NaN, in its upper half
)

// sweepHalves is sweep, with another tail on AVX2.
func (m *lanes) sweepHalves(n ptr, unroll int, body func(h *halves)) {
	whole := func(_ int, a access) { body(&halves{a, m.lanes}) }
	if m.lanes == 16 {
		m.sweep(n, unroll, whole)
		return
	}
	index, rest := m.sweepWhole(nil, n, unroll, whole) // of rest the three lowest bits are those of the tail
	x := &lanes{emitter: m.emitter, vectors: vectors{suffix: m.suffix, lanes: 4, kind: (*build.Context).XMM}, held: map[uint32]vec{}}
	for _, count := range []int{4, 2, 1} {
		skip := m.label("skip")
		m.TESTQ(op.U32(uint32(count)), rest)
		m.JZ(op.LabelRef(skip))
		body(&halves{access{m: x, index: index}, count})
		if count > 1 {
			m.ADDQ(op.U32(uint32(count)), index)
		}
		m.Label(skip)
	}
}

// words is where the 16-bit elements of the step lie.
func (h *halves) words(base ptr) op.Mem {
	return op.Mem{Base: base, Index: h.index, Scale: 2, Disp: 2 * h.floats}
}

// loadFloats and storeFloats are access.load and store for fewer elements too.
func (h *halves) loadFloats(base ptr) vec {
	r := h.m.new()
	switch h.count {
	case 2:
		h.m.VMOVSD(h.mem(base), r)
	case 1:
		h.m.VMOVSS(h.mem(base), r)
	default:
		return h.load(base)
	}
	return r
}

func (h *halves) storeFloats(x vec, base ptr) {
	switch h.count {
	case 2:
		h.m.VMOVLPS(x, h.mem(base))
	case 1:
		h.m.VMOVSS(x, h.mem(base))
	default:
		h.store(x, base)
	}
}

// widenWords runs an instruction that widens 16-bit lanes of memory. It would read
// four at least, so that fewer go through a register.
func (h *halves) widenWords(base ptr, widen func(...op.Op), masked func(m, k, r op.Op)) vec {
	m, from, r := h.m, op.Op(h.words(base)), h.m.new()
	switch {
	case h.rest != nil:
		masked(from, h.mask, r)
		return r
	case h.count == 2:
		m.VMOVSS(from, r)
		from = r
	case h.count == 1:
		from = h.word(base)
	}
	widen(from, r)
	return r
}

// word loads one element into every 16-bit lane.
func (h *halves) word(base ptr) vec {
	r := h.m.new()
	h.m.VPBROADCASTW(h.words(base), r)
	return r
}

// storeWords writes the low words of an X register, 4 or fewer.
func (h *halves) storeWords(x vec, base ptr) {
	switch h.count {
	case 4:
		h.m.VMOVLPS(x, h.words(base))
	case 2:
		h.m.VMOVSS(x, h.words(base))
	case 1:
		h.m.VPEXTRW(op.Imm(0), x, h.words(base))
	}
}

// widenBF16 moves each element to the upper half of a lane. That −0 is added
// changes nothing but makes a NaN quiet; a factor of 1 would do so too, but some
// CPUs are slow at the product of a denormal.
func (h *halves) widenBF16(base ptr) vec {
	m, r := h.m, vec(nil)
	if h.count == 1 { // the shift does away with the lower half
		r = h.word(base)
	} else {
		r = h.widenWords(base, m.VPMOVZXWD, m.VPMOVZXWD_Z)
	}
	m.VPSLLD(op.Imm(16), r, r)
	return m.add(r, m.c(negativeZero))
}

// narrowBF16 adds half an ULP, less if the result would be even, and keeps the
// upper halves; of a NaN it keeps that half as it is, made quiet. VCVTNEPS2BF16
// would take denormals for zeros.
func (h *halves) narrowBF16(x vec, base ptr) {
	m, upper, sum := h.m, h.m.new(), h.m.new()
	m.VPSRLD(op.Imm(16), x, upper)
	m.VPADDD(m.c(belowHalf), x, sum)
	m.VPADDD(m.and(upper, m.c(lastBit)), sum, sum)
	m.VPSRLD(op.Imm(16), sum, sum)
	y := m.pick(x, unord, x, m.or(upper, m.c(quietBit)), sum)
	switch {
	case m.lanes == 4:
		if h.count > 1 {
			m.VPACKUSDW(y, y, y)
		}
		h.storeWords(y, base)
	case m.lanes == 8:
		high := m.XMM()
		m.VEXTRACTF128(op.Imm(1), y, high)
		m.VPACKUSDW(high, y.AsX(), high)
		m.VMOVUPS(high, h.words(base))
	case h.rest != nil:
		m.VPMOVDW(y, h.mask, h.words(base))
	default:
		m.VPMOVDW(y, h.words(base))
	}
}

func (h *halves) widenF16(base ptr) vec {
	return h.widenWords(base, h.m.VCVTPH2PS, h.m.VCVTPH2PS_Z)
}

// narrowF16 says how to round, for MXCSR could say otherwise.
func (h *halves) narrowF16(x vec, base ptr) {
	m, nearest := h.m, op.Imm(0)
	switch {
	case m.lanes == 4:
		m.VCVTPS2PH(nearest, x, x)
		h.storeWords(x, base)
	case h.rest != nil:
		m.VCVTPS2PH(nearest, x, h.mask, h.words(base))
	default:
		m.VCVTPS2PH(nearest, x, h.words(base))
	}
}

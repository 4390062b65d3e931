package main

import (
	"math"

	op "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func reduceFamily(e *emitter) {
	e.sum()
	e.dot()
	e.max()
}

// sum emits Σ x; the model is kernels.refSum.
//
// Contract:  kernels.Set.Sum. The sums are added up in one fixed order.
// Registers: 4 sums, to hide the latency of the addition.
// Loop:      4 vectors a pass. Needs: AVX, or AVX512F.
func (e *emitter) sum() {
	e.both(func(m *lanes) {
		m.begin("Sum", "func(x []float32) float32", "returns Σ x.")
		x, n := m.base("x"), m.length("x")
		sums := m.zeros(4)
		m.sweep(n, 4, func(j int, at access) {
			m.VADDPS(at.load(x), sums[j], sums[j])
		})
		m.result(m.total(sums...), 0)
		m.ret()
	})
}

// dot emits Σ x·y; the model is kernels.refDot.
//
// Contract: kernels.Set.Dot. Registers and loop: as sum. Needs: FMA3, or AVX512F.
func (e *emitter) dot() {
	e.both(func(m *lanes) {
		m.begin("Dot", "func(x, y []float32) float32", "returns Σ x·y.")
		p, n := m.bases("x", "y"), m.length("x")
		sums := m.zeros(4)
		m.sweep(n, 4, func(j int, at access) {
			m.VFMADD231PS(at.load(p[0]), at.load(p[1]), sums[j])
		})
		m.result(m.total(sums...), 0)
		m.ret()
	})
}

// max emits the maximum; the model is kernels.refMax. VMAXPS forgets a NaN that
// it meets, so unordered lanes are collected apart.
//
// Contract:  kernels.Set.Max.
// Registers: 4 maxima, one of NaN lanes.
// Loop:      4 vectors a pass. Needs: AVX, or AVX512F.
func (e *emitter) max() {
	e.both(func(m *lanes) {
		m.begin("Max", "func(x []float32) float32", "returns the largest element, NaN if there is one.")
		x, n := m.base("x"), m.length("x")
		m.hold(-inf)
		lowest := m.held[math.Float32bits(-inf)]
		tops := make([]vec, 4)
		for i := range tops {
			tops[i] = m.copy(lowest)
		}
		collect, nans := m.nanCollector()
		m.sweep(n, 4, func(j int, at access) {
			v := at.load(x)
			collect(v)
			m.VMAXPS(at.fill(v, lowest), tops[j], tops[j])
		})
		for w := len(tops); w > 1; w /= 2 {
			for i := range w / 2 {
				m.VMAXPS(tops[i+w/2], tops[i], tops[i])
			}
		}
		top := m.fold(tops[0], m.VMAXPS)
		bits, good := nans(), m.label("good")
		m.TESTL(bits, bits)
		m.JZ(op.LabelRef(good))
		m.VMOVSS(m.constant(math.Float32bits(nan)), top)
		m.Label(good)
		m.result(top, 0)
		m.ret()
	})
}

// nanCollector returns what notes the NaN lanes of a vector, and what gives them
// at the end as bits.
func (m *lanes) nanCollector() (collect func(v vec), nans func() reg.GPVirtual) {
	if m.lanes == 16 {
		all := m.K()
		m.KXORW(all, all, all)
		collect = func(v vec) {
			k := m.K()
			m.VCMPPS(op.Imm(unord), v, v, k)
			m.KORW(k, all, all)
		}
		return collect, func() reg.GPVirtual { b := m.GP32(); m.KMOVW(all, b); return b }
	}
	all := m.zeros(1)[0]
	collect = func(v vec) {
		r := m.new()
		m.VCMPPS(op.Imm(unord), v, v, r)
		m.VORPS(r, all, all)
	}
	return collect, func() reg.GPVirtual { b := m.GP32(); m.VMOVMSKPS(all, b); return b }
}

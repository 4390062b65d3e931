package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/gotypes"
	"github.com/mmcloughlin/avo/ir"
	op "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"fuerte/gen/piecewise"
)

type (
	vec = reg.VecVirtual
	ptr = reg.GPVirtual
)

// lanes writes one vector kernel for one level: arithmetic that reads the same
// for both, constants, and the sweep over slices with its tail.
//
// Operands are in the order of the mathematics: sub(a, b) is a − b.
type lanes struct {
	*emitter
	vectors
	held map[uint32]vec // constants in registers, by their bits
	// heldTables are eight floats in a register, on AVX-512 twice.
	heldTables map[[piecewise.Intervals]float32]vec
	weaves     bool // see sweepWoven
}

// both emits a kernel for each level.
func (e *emitter) both(kernel func(m *lanes)) { e.each(kernel, avx2, avx512) }

// streamed is both, and once more for each level with stores past the caches.
func (e *emitter) streamed(kernel func(m *lanes)) {
	e.each(kernel, avx2, avx512, avx2.streaming(), avx512.streaming())
}

func (e *emitter) each(kernel func(m *lanes), levels ...vectors) {
	for _, v := range levels {
		kernel(&lanes{emitter: e, vectors: v, held: map[uint32]vec{}, heldTables: map[[piecewise.Intervals]float32]vec{}})
	}
}

// begin starts the kernel name+suffix. The formula completes "X sets …"; the
// model is kernels.ref+name, or the function of package math where that has one.
func (m *lanes) begin(name, signature, formula string) {
	model := "kernels.ref" + name
	switch name {
	case "Exp", "Log", "Sqrt", "Tanh", "Erf":
		model = "math." + name
	}
	doc := []string{fmt.Sprintf("%s%s %s", name, m.suffix, formula), fmt.Sprintf("It works like %s, see kernels.Set.", model)}
	if m.past {
		doc = append(doc, "Aligned results go past the caches, see kernels.Set.Streaming.")
	}
	m.text(name+m.suffix, signature, doc...)
}

// base, bases and length load the parts of slice parameters.
func (m *lanes) base(name string) ptr {
	r := m.GP64()
	m.Load(m.Param(name).Base(), r)
	return r
}

func (m *lanes) bases(names ...string) []ptr {
	r := make([]ptr, len(names))
	for i, n := range names {
		r[i] = m.base(n)
	}
	return r
}

func (m *lanes) length(name string) ptr {
	r := m.GP64()
	m.Load(m.Param(name).Len(), r)
	return r
}

// spread loads a float parameter into all lanes.
func (m *lanes) spread(name string) vec {
	r := m.new()
	m.VBROADCASTSS(m.address(m.Param(name)), r)
	return r
}

// address is where a float parameter or result lies. avo's Load and Store would
// take MOVSS, which on Intel CPUs waits for the dirty upper halves.
func (m *lanes) address(c gotypes.Component) op.Mem {
	b, err := c.Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

func (m *lanes) new() vec { return m.kind(m.Context) }

// constant returns the address of sixteen copies of the float with these bits,
// emitted at its first use in the file.
func (e *emitter) constant(bits uint32) op.Mem {
	if mem, ok := e.constants[bits]; ok {
		return mem
	}
	mem := e.StaticGlobal(fmt.Sprintf("f%08x", bits))
	e.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 16 {
		e.AddDatum(4*i, op.U32(bits))
	}
	if e.constants == nil {
		e.constants = map[uint32]op.Mem{}
	}
	e.constants[bits] = mem
	return mem
}

// hold keeps constants in registers from here on; the others are read from
// memory. AVX-512 kernels have room for most of theirs.
func (m *lanes) hold(xs ...float32) {
	for _, x := range xs {
		bits := math.Float32bits(x)
		if _, ok := m.held[bits]; !ok {
			r := m.new()
			m.VBROADCASTSS(m.constant(bits), r)
			m.held[bits] = r
		}
	}
}

// holdWide is hold on AVX-512 and nothing on AVX2.
func (m *lanes) holdWide(xs ...float32) {
	if m.lanes == 16 {
		m.hold(xs...)
	}
}

// c is a constant as the last source of an instruction.
func (m *lanes) c(x float32) op.Op {
	bits := math.Float32bits(x)
	if r, ok := m.held[bits]; ok {
		return r
	}
	return m.constant(bits)
}

// copy returns a new register with a constant, or with another register.
func (m *lanes) copy(x op.Op) vec {
	r := m.new()
	m.VMOVUPS(x, r)
	return r
}

func (m *lanes) add(a vec, b op.Op) vec { r := m.new(); m.VADDPS(b, a, r); return r }
func (m *lanes) sub(a vec, b op.Op) vec { r := m.new(); m.VSUBPS(b, a, r); return r }
func (m *lanes) mul(a vec, b op.Op) vec { r := m.new(); m.VMULPS(b, a, r); return r }
func (m *lanes) div(a vec, b op.Op) vec { r := m.new(); m.VDIVPS(b, a, r); return r }
func (m *lanes) and(a vec, b op.Op) vec { r := m.new(); m.VANDPS(b, a, r); return r }
func (m *lanes) xor(a vec, b op.Op) vec { r := m.new(); m.VXORPS(b, a, r); return r }
func (m *lanes) or(a vec, b op.Op) vec  { r := m.new(); m.VORPS(b, a, r); return r }

// max and min return b if either is NaN.
func (m *lanes) max(a vec, b op.Op) vec { r := m.new(); m.VMAXPS(b, a, r); return r }
func (m *lanes) min(a vec, b op.Op) vec { r := m.new(); m.VMINPS(b, a, r); return r }

// horner sets p ← p·x + c for each c.
func (m *lanes) horner(p, x vec, cs ...float32) {
	for _, c := range cs {
		m.VFMADD213PS(m.c(c), x, p)
	}
}

// Comparisons, with the value for NaN where it is not false.
const (
	lt    = 0x11 // quiet
	ge    = 0x1d
	notLT = 0x15 // true for NaN
	notLE = 0x16 // true for NaN
	eq    = 0x00
	unord = 0x03
)

// pick returns yes where a cmp b, no elsewhere.
func (m *lanes) pick(a vec, cmp uint8, b op.Op, yes, no op.Op) vec {
	r := m.new()
	if m.lanes == 16 {
		k := m.K()
		m.VCMPPS(op.Imm(uint64(cmp)), b, a, k)
		m.VBLENDMPS(yes, no, k, r)
		return r
	}
	m.VCMPPS(op.Imm(uint64(cmp)), b, a, r)
	m.VBLENDVPS(r, yes, no, r)
	return r
}

// where clears the lanes of x except where a cmp b.
func (m *lanes) where(a vec, cmp uint8, b op.Op, x vec) vec {
	r := m.new()
	if m.lanes == 16 {
		k := m.K()
		m.VCMPPS(op.Imm(uint64(cmp)), b, a, k)
		m.VMOVAPS_Z(x, k, r)
		return r
	}
	m.VCMPPS(op.Imm(uint64(cmp)), b, a, r)
	m.VANDPS(x, r, r)
	return r
}

// anyAbove returns a register that is not 0 where a lane of a, as an integer with
// a sign, is above b.
func (m *lanes) anyAbove(a vec, b op.Op) reg.GPVirtual {
	r := m.GP32()
	if m.lanes == 16 {
		k := m.K()
		m.VPCMPGTD(b, a, k)
		m.KMOVW(k, r)
		return r
	}
	above := m.new()
	m.VPCMPGTD(b, a, above)
	m.VMOVMSKPS(above, r)
	return r
}

// detour emits body to run where r is not 0, for values that are rare.
func (m *lanes) detour(r reg.GPVirtual, body func()) {
	past := m.label("past")
	m.TESTL(r, r)
	m.JZ(op.LabelRef(past))
	body()
	m.Label(past)
}

// lookup returns in each lane the entry of a table that the low three bits of the
// index name.
func (m *lanes) lookup(index vec, table [piecewise.Intervals]float32) vec {
	r := m.new()
	m.VPERMPS(m.table(table), index, r)
	return r
}

// table is constant for eight floats, emitted twice for the sake of AVX-512; or
// the register that holds them.
func (m *lanes) table(t [piecewise.Intervals]float32) op.Op {
	if r, ok := m.heldTables[t]; ok {
		return r
	}
	if mem, ok := m.tables[t]; ok {
		return mem
	}
	mem := m.StaticGlobal(fmt.Sprintf("table%d", len(m.tables)))
	m.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 16 {
		m.AddDatum(4*i, op.U32(math.Float32bits(t[i%len(t)])))
	}
	if m.tables == nil {
		m.tables = map[[piecewise.Intervals]float32]op.Mem{}
	}
	m.tables[t] = mem
	return mem
}

// holdTables is hold for tables.
func (m *lanes) holdTables(ts ...[piecewise.Intervals]float32) {
	for _, t := range ts {
		m.heldTables[t] = m.copy(m.table(t))
	}
}

// access is one vector of a sweep: the elements at an offset of every slice,
// all lanes of it or the first rest of them.
type access struct {
	m      *lanes
	index  ptr
	floats int          // from index
	rest   ptr          // the tail's length; nil: a whole vector
	mask   reg.Register // of the tail: Y or K
	past   []ptr        // what is stored past the caches: all vectors of it are aligned
}

func (a access) mem(base ptr) op.Mem {
	return op.Mem{Base: base, Index: a.index, Scale: 4, Disp: 4 * a.floats}
}

// load returns the elements of a slice; lanes beyond the tail are 0.
func (a access) load(base ptr) vec { return a.loadFrom(a.mem(base)) }

// loadFrom is load where the elements do not lie at the offset of all slices.
func (a access) loadFrom(mem op.Mem) vec {
	r := a.m.new()
	switch {
	case a.rest == nil:
		a.m.VMOVUPS(mem, r)
	case a.m.lanes == 16:
		a.m.VMOVUPS_Z(mem, a.mask, r)
	default:
		a.m.VMASKMOVPS(mem, a.mask, r)
	}
	return r
}

// store writes x, in pieces on the tail of AVX2: VMASKMOVPS as a store takes
// some 20 cycles on Zen. It may leave x undefined.
func (a access) store(x vec, base ptr) {
	m := a.m
	switch {
	case slices.Contains(a.past, base):
		m.VMOVNTPS(x, a.mem(base))
		return
	case a.rest == nil:
		m.VMOVUPS(x, a.mem(base))
		return
	case m.lanes == 16:
		m.VMOVUPS(x, a.mask, a.mem(base))
		return
	}
	p, half := m.GP64(), m.XMM()
	m.LEAQ(a.mem(base), p)
	m.VMOVAPS(x.AsX(), half)
	for _, n := range []int{4, 2, 1} {
		skip := m.label("skip")
		m.TESTQ(op.U32(uint32(n)), a.rest)
		m.JZ(op.LabelRef(skip))
		switch n {
		case 4:
			m.VMOVUPS(half, at(p, 0))
			m.VEXTRACTF128(op.Imm(1), x, half)
			m.ADDQ(op.Imm(16), p)
		case 2:
			m.VMOVLPS(half, at(p, 0))
			m.VMOVHLPS(half, half, half)
			m.ADDQ(op.Imm(8), p)
		case 1:
			m.VMOVSS(half, at(p, 0))
		}
		m.Label(skip)
	}
}

// keep clears the lanes of x beyond the tail, for sums.
func (a access) keep(x vec) vec {
	if a.rest == nil {
		return x
	}
	r := a.m.new()
	if a.m.lanes == 16 {
		a.m.VMOVAPS_Z(x, a.mask, r)
	} else {
		a.m.VANDPS(a.mask, x, r)
	}
	return r
}

// fill sets the lanes of x beyond the tail to other.
func (a access) fill(x, other vec) vec {
	if a.rest == nil {
		return x
	}
	r := a.m.new()
	if a.m.lanes == 16 {
		a.m.VBLENDMPS(x, other, a.mask, r)
	} else {
		a.m.VBLENDVPS(a.mask, x, other, r)
	}
	return r
}

// sweep emits body for all n elements: unroll vectors a pass with j counting
// them, then single vectors, then the tail, both with j = 0. It keeps n. The
// body loads before it stores, so that slices may be the same.
func (m *lanes) sweep(n ptr, unroll int, body func(j int, a access)) { m.sweepTo(nil, n, unroll, body) }

// sweepTo is sweep whose body sets the results and reads none of them: a kernel
// of kernels.Set.Streaming stores them past the caches, in whole vectors, if
// they are all aligned to vectors.
func (m *lanes) sweepTo(results []ptr, n ptr, unroll int, body func(j int, a access)) {
	index, rest := m.sweepWhole(results, n, unroll, body)
	m.ADDQ(op.U32(uint32(m.lanes)), rest)
	end := m.label("end")
	m.TESTQ(rest, rest)
	m.JZ(op.LabelRef(end))
	body(0, access{m: m, index: index, rest: rest, mask: m.prefix(rest)})
	m.Label(end)
}

// sweepWoven is sweepTo that weaves the bodies of a pass, which have no labels: an
// instruction of each in turn. One behind the other, bodies that are long chains
// fill the scheduler with what waits: woven they are a tenth faster on Zen 4.
func (m *lanes) sweepWoven(results []ptr, n ptr, unroll int, body func(j int, a access)) {
	m.weaves = true
	m.sweepTo(results, n, unroll, body)
	m.weaves = false
}

// thread and woven mark where a body of sweepWoven begins and the last one ends.
const thread, woven = "thread", "woven"

// weave merges what the marks of sweepWoven enclose, and drops the marks.
func weave(f *ir.Function) {
	var out []ir.Node
	var threads [][]ir.Node
	for _, n := range f.Nodes {
		c, ok := n.(*ir.Comment)
		switch {
		case ok && c.Lines[0] == thread:
			threads = append(threads, nil)
		case ok && c.Lines[0] == woven:
			for i := range threads[0] {
				for _, t := range threads {
					out = append(out, t[i])
				}
			}
			threads = nil
		case threads != nil:
			threads[len(threads)-1] = append(threads[len(threads)-1], n)
		default:
			out = append(out, n)
		}
	}
	f.Nodes = out
}

// sweepWhole is sweepTo without the tail: it returns where that begins, and its
// length less a vector.
func (m *lanes) sweepWhole(results []ptr, n ptr, unroll int, body func(j int, a access)) (index, rest ptr) {
	index, rest = m.GP64(), m.GP64()
	m.XORQ(index, index)
	m.MOVQ(n, rest)
	pass := func(u int, past []ptr) func() {
		return func() {
			for j := range u {
				if m.weaves {
					m.Comment(thread)
				}
				body(j, access{m: m, index: index, floats: j * m.lanes, past: past})
			}
			if m.weaves {
				m.Comment(woven)
			}
			m.ADDQ(op.U32(uint32(u*m.lanes)), index)
		}
	}
	switch {
	case m.past && results != nil:
		plain, bits := m.label("plain"), m.GP64()
		m.MOVQ(results[0], bits)
		for _, r := range results[1:] {
			m.ORQ(r, bits)
		}
		m.TESTQ(op.U32(uint32(4*m.lanes-1)), bits)
		m.JNZ(op.LabelRef(plain))
		m.repeat(rest, unroll*m.lanes, pass(unroll, results))
		m.Label(plain)
	case unroll > 1:
		m.repeat(rest, unroll*m.lanes, pass(unroll, nil))
	}
	m.passes(rest, m.lanes, pass(1, nil))
	return index, rest
}

// prefix returns the mask of the first rest lanes.
func (m *lanes) prefix(rest ptr) reg.Register {
	if m.lanes == 16 {
		k, bits := m.K(), m.GP32()
		m.MOVL(rest.As32(), reg.ECX)
		m.MOVL(op.I32(-1), bits)
		m.SHLL(reg.CL, bits)
		m.NOTL(bits)
		m.KMOVW(bits, k)
		return k
	}
	mask := m.YMM()
	m.VMOVUPS(m.prefixAt(rest), mask)
	return mask
}

// prefixAt is the address of the mask of the first rest lanes of AVX2.
func (m *lanes) prefixAt(rest ptr) op.Mem {
	if !m.prefixes {
		m.prefixes = true
		m.prefixTable = m.StaticGlobal("prefix")
		m.DataAttributes(attr.RODATA | attr.NOPTR)
		for i := range 16 {
			m.AddDatum(4*i, op.U32([]uint32{math.MaxUint32, 0}[i/8]))
		}
	}
	table, back := m.GP64(), m.GP64()
	m.LEAQ(m.prefixTable, table)
	m.MOVQ(rest, back)
	m.NEGQ(back)
	return op.Mem{Base: table, Index: back, Scale: 4, Disp: 32}
}

// total adds up the sums and their lanes, in a fixed order, into lane 0.
func (m *lanes) total(sums ...vec) reg.VecVirtual {
	for w := len(sums); w > 1; w /= 2 {
		for i := range w / 2 {
			m.VADDPS(sums[i+w/2], sums[i], sums[i])
		}
	}
	return m.fold(sums[0], m.VADDPS)
}

// fold combines the halves of r until one lane is left.
func (m *lanes) fold(r vec, combine func(...op.Op)) reg.VecVirtual {
	if m.lanes == 16 {
		y, low := m.YMM(), m.YMM()
		m.VEXTRACTF64X4(op.Imm(1), r, y)
		combine(y, r.AsY(), low)
		r = low
	}
	x, low := m.XMM(), m.XMM()
	m.VEXTRACTF128(op.Imm(1), r, x)
	combine(x, r.AsX(), low)
	m.VMOVHLPS(low, low, x)
	combine(x, low, low)
	m.VMOVSHDUP(low, x)
	combine(x, low, low)
	return low
}

// spreadLow copies lane 0 to all lanes.
func (m *lanes) spreadLow(x reg.VecVirtual) vec {
	r := m.new()
	m.VBROADCASTSS(x.AsX(), r)
	return r
}

// zeros returns n cleared registers.
func (m *lanes) zeros(n int) []vec {
	r := m.take(m.emitter, n)
	for _, x := range r {
		m.zero(m.emitter, x)
	}
	return r
}

// result stores lane 0 as the i-th result.
func (m *lanes) result(x vec, i int) { m.VMOVSS(x.AsX(), m.address(m.ReturnIndex(i))) }

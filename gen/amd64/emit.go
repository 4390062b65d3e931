package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	op "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"fuerte/gen/piecewise"
)

// emitter writes one generated file: avo's context and what the families share.
type emitter struct {
	*build.Context
	labels      int // used up in the current function
	constants   map[uint32]op.Mem
	tables      map[[piecewise.Intervals]float32]op.Mem
	prefixes    bool // prefixTable exists
	prefixTable op.Mem
	pairs       bool // the micro-kernels of GEMM take pairs of BF16
}

// text starts a leaf function that keeps no pointer.
func (e *emitter) text(name, signature string, doc ...string) {
	e.Function(name)
	e.Attributes(attr.NOSPLIT)
	e.SignatureExpr(signature)
	e.Doc(doc...)
	e.Pragma("noescape")
	e.labels = 0
}

// ret ends a function that touched the upper halves of vector registers: dirty
// ones would slow down the SSE code of Go on Intel CPUs.
func (e *emitter) ret() {
	e.VZEROUPPER()
	e.RET()
}

// label returns a name that is new in this function.
func (e *emitter) label(name string) string {
	e.labels++
	return fmt.Sprintf("%s%d", name, e.labels)
}

// align puts the next instruction on a 32-byte boundary: a loop head.
func (e *emitter) align() {
	e.Instruction(&ir.Instruction{Opcode: "PCALIGN", Operands: []op.Op{op.Imm(32)}})
}

// gp loads a parameter into a new general-purpose register.
func (e *emitter) gp(name string) reg.GPVirtual {
	r := e.GP64()
	e.Load(e.Param(name), r)
	return r
}

// repeat emits body in a loop that runs n/step times and leaves n mod step in n.
func (e *emitter) repeat(n reg.GPVirtual, step int, body func()) {
	e.passes(n, step, body)
	e.ADDQ(op.U32(uint32(step)), n)
}

// passes is repeat that leaves n mod step − step.
func (e *emitter) passes(n reg.GPVirtual, step int, body func()) {
	head, done := e.label("loop"), e.label("done")
	e.SUBQ(op.U32(uint32(step)), n)
	e.JB(op.LabelRef(done))
	e.passesFrom(head, n, step, body)
	e.Label(done)
}

// somePasses is passes for n ≥ step.
func (e *emitter) somePasses(n reg.GPVirtual, step int, body func()) {
	e.SUBQ(op.U32(uint32(step)), n)
	e.passesFrom(e.label("loop"), n, step, body)
}

func (e *emitter) passesFrom(head string, n reg.GPVirtual, step int, body func()) {
	e.align()
	e.Label(head)
	body()
	e.SUBQ(op.U32(uint32(step)), n)
	e.JAE(op.LabelRef(head))
}

// addOrSet emits the end of a product twice, for the parameter accumulate and for
// its absence; where it is the last of the function, with the return.
func (e *emitter) addOrSet(last bool, rows func(add bool)) {
	accumulate, set, done := e.GP8(), e.label("set"), e.label("stored")
	e.Load(e.Param("accumulate"), accumulate)
	e.TESTB(accumulate, accumulate)
	e.JZ(op.LabelRef(set))
	rows(true)
	if last {
		e.ret()
	} else {
		e.JMP(op.LabelRef(done))
	}
	e.Label(set)
	rows(false)
	if last {
		e.ret()
	} else {
		e.Label(done)
	}
}

// at is the memory at base + floats·4 bytes.
func at(base reg.Register, floats int) op.Mem { return op.Mem{Base: base, Disp: 4 * floats} }

// loadLow loads four floats into the lower half of y and clears the upper: a
// move to X, of which avo would think that it keeps the upper half alive.
func (e *emitter) loadLow(m op.Mem, y reg.VecVirtual) {
	e.Instruction(&ir.Instruction{
		Opcode:   "VMOVUPS",
		Operands: []op.Op{m, y.AsX()},
		Inputs:   []op.Op{m},
		Outputs:  []op.Op{y},
		ISA:      []string{"AVX"},
	})
}

// vectors are the registers of one instruction-set level.
type vectors struct {
	suffix string // of kernel names
	lanes  int    // float32 in a register
	kind   func(*build.Context) reg.VecVirtual
	past   bool // results are stored past the caches where they can be, see sweepTo
}

var (
	avx2   = vectors{suffix: "AVX2", lanes: 8, kind: (*build.Context).YMM}
	avx512 = vectors{suffix: "AVX512", lanes: 16, kind: (*build.Context).ZMM}
)

// streaming returns the level for kernels of kernels.Set.Streaming.
func (v vectors) streaming() vectors {
	v.suffix, v.past = "Stream"+v.suffix, true
	return v
}

// take returns n new registers.
func (v vectors) take(e *emitter, n int) []reg.VecVirtual {
	r := make([]reg.VecVirtual, n)
	for i := range r {
		r[i] = v.kind(e.Context)
	}
	return r
}

// zero clears r; the wide form without DQ is the integer one.
func (v vectors) zero(e *emitter, r reg.VecVirtual) {
	if v.lanes == 16 {
		e.VPXORD(r, r, r)
	} else {
		e.VXORPS(r, r, r)
	}
}

package main

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/mmcloughlin/avo/ir"
	op "github.com/mmcloughlin/avo/operand"
)

// dotPairs emits VDPBF16PS, which neither avo nor Go's assembler has: to each float
// of sum the two products of the pairs of BF16 that stand in its place in b and a.
func (e *emitter) dotPairs(b, a, sum vec) {
	e.Instruction(&ir.Instruction{
		Opcode:   "VDPBF16PS",
		Operands: []op.Op{b, a, sum},
		Inputs:   []op.Op{b, a, sum},
		Outputs:  []op.Op{sum},
		ISA:      []string{"AVX512BF16"},
	})
}

var dotPairsLine = regexp.MustCompile(`(?m)^\tVDPBF16PS +Z(\d+), Z(\d+), Z(\d+)$`)

// encodeBF16 replaces each VDPBF16PS by its bytes; the comment says what they are.
//
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2,
// EVEX.512.F3.0F38.W0 52 /r, and section 2.7.1 for the prefix.
func encodeBF16(text []byte) []byte {
	return dotPairsLine.ReplaceAllFunc(text, func(line []byte) []byte {
		var r [3]uint32 // b is r/m, a is vvvv, sum is reg
		for i, digits := range dotPairsLine.FindSubmatch(line)[1:] {
			n, err := strconv.ParseUint(string(digits), 10, 5)
			if err != nil {
				panic(err) // the allocator knows 32 registers
			}
			r[i] = uint32(n)
		}
		rm, v, reg := r[0], r[1], r[2]
		no := func(x uint32, bit int) uint32 { return ^x >> bit & 1 } // the prefix holds them inverted
		p0 := no(reg, 3)<<7 | no(rm, 4)<<6 | no(rm, 3)<<5 | no(reg, 4)<<4 | 2
		p1 := (^v&15)<<3 | 1<<2 | 2
		p2 := 2<<5 | no(v, 4)<<3
		modrm := 3<<6 | (reg&7)<<3 | rm&7
		return fmt.Appendf(nil, "\tLONG $0x%08x; WORD $0x%04x // VDPBF16PS Z%d, Z%d, Z%d", p2<<24|p1<<16|p0<<8|0x62, modrm<<8|0x52, rm, v, reg)
	})
}

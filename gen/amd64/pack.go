package main

import (
	"fmt"

	op "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// packWidths are the micro-panel widths that some level's tile asks for.
var packWidths = []int{6, 14, 16, 32}

func packFamily(e *emitter) {
	for _, w := range packWidths {
		e.packRows(w)
	}
	for _, w := range packWidths {
		e.packCols(w)
	}
	e.packGroup()
}

// pieces cuts n floats into vectors that memory moves can carry exactly.
func pieces(n int) (p []int) {
	for _, w := range []int{8, 4, 2, 1} {
		for n >= w {
			p, n = append(p, w), n-w
		}
	}
	return p
}

// packRows emits the copy of k strided rows of exactly width floats.
//
// Contract:  kernels.Set.PackRows for w = width; k ≥ 0.
// Registers: up to four Y, one row in pieces of 8, 4 and 2 floats.
// Loop:      4 rows a pass, then 1 a pass. Needs: AVX.
func (e *emitter) packRows(width int) {
	name := fmt.Sprintf("PackRows%dAVX2", width)
	e.text(name, "func(dst, src *float32, ld, k int)",
		fmt.Sprintf("%s sets dst[p·%d+j] = src[p·ld+j], p < k, j < %d.", name, width, width),
		"It works like kernels.refPackRows with w and width equal.")
	dst, src, ld, k := e.gp("dst"), e.gp("src"), e.gp("ld"), e.gp("k")
	e.SHLQ(op.Imm(2), ld)
	for _, rows := range []int{4, 1} {
		e.repeat(k, rows, func() {
			for p := range rows {
				if rows > 1 { // a stride beyond 4 KiB is more than the hardware follows
					e.PREFETCHT0(op.Mem{Base: src, Index: ld, Scale: 8})
				}
				j := 0
				for _, w := range pieces(width) {
					e.move(at(src, j), at(dst, p*width+j), w)
					j += w
				}
				e.ADDQ(ld, src)
			}
			e.ADDQ(op.U32(uint32(4*rows*width)), dst)
		})
	}
	e.ret()
}

// move copies 8, 4 or 2 floats.
func (e *emitter) move(from, to op.Mem, floats int) {
	switch floats {
	case 8:
		r := e.YMM()
		e.VMOVUPS(from, r)
		e.VMOVUPS(r, to)
	case 4:
		r := e.XMM()
		e.VMOVUPS(from, r)
		e.VMOVUPS(r, to)
	case 2:
		r := e.GP64()
		e.MOVQ(from, r)
		e.MOVQ(r, to)
	}
}

// packCols emits the transposing copy of exactly width rows of 8·blocks floats.
//
// Contract:  kernels.Set.PackCols for w = width, k = 8·blocks; dst gets exactly
// width·k floats: where a row of the micro-panel is no multiple of 8, a store
// runs over into the next row, which is written after it, and the last row of a
// block is stored in pieces.
// Registers: 8 Y of one 8×8 block, 8 more for its transpose.
// Loop:      two 8-column blocks of all rows a pass, then one; the rows in groups
// of 8 or the 6 left, the 6 first. A group takes both blocks at once, the whole
// cache line: with a row stride of a multiple of 4 KiB all rows share one set of
// L1, and a line is gone before the next group is through. Needs: AVX.
func (e *emitter) packCols(width int) {
	name := fmt.Sprintf("PackCols%dAVX2", width)
	e.text(name, "func(dst, src *float32, ld, blocks int)",
		fmt.Sprintf("%s sets dst[p·%d+i] = src[i·ld+p], p < 8·blocks, i < %d.", name, width, width),
		"It works like kernels.refPackCols with w and width equal and k a multiple of 8.")
	dst, src, ld, blocks := e.gp("dst"), e.gp("src"), e.gp("ld"), e.gp("blocks")
	e.SHLQ(op.Imm(2), ld)
	ld3, group := e.GP64(), e.GP64()
	e.LEAQ(op.Mem{Base: ld, Index: ld, Scale: 2}, ld3)
	full, rest := width/8, width%8
	// block emits the transpose of columns 8·c … of a group of rows.
	block := func(c, g, rows int) {
		cols, to := e.transpose(group, ld, ld3, 8*c, rows), 8*c*width+8*g
		if rows == 8 {
			for p, y := range cols {
				e.VMOVUPS(y, at(dst, to+p*width))
			}
			return
		}
		for p, y := range cols[:7] {
			e.VMOVUPS(y, at(dst, to+p*width))
		}
		high := e.XMM()
		e.VMOVUPS(cols[7].AsX(), at(dst, to+7*width))
		e.VEXTRACTF128(op.Imm(1), cols[7], high)
		e.VMOVLPS(high, at(dst, to+7*width+4)) // rows is 6
	}
	for _, n := range []int{2, 1} {
		e.repeat(blocks, n, func() {
			if rest != 0 {
				e.MOVQ(src, group)
				for range full {
					e.LEAQ(op.Mem{Base: group, Index: ld, Scale: 8}, group)
				}
				for c := range n {
					block(c, full, rest)
				}
			}
			e.MOVQ(src, group)
			for g := range full {
				for c := range n {
					block(c, g, 8)
				}
				if g < full-1 {
					e.LEAQ(op.Mem{Base: group, Index: ld, Scale: 8}, group)
				}
			}
			e.ADDQ(op.U32(uint32(32*n)), src)
			e.ADDQ(op.U32(uint32(32*n*width)), dst)
		})
	}
	e.ret()
}

// packGroup emits the transposing copy of 8 rows into micro-panels of any width:
// for panels that hang over an edge of the matrix.
//
// Contract:  as packCols for 8 rows, dst in rows of width ≥ 8 floats of which it
// writes 8. Loop: two 8-column blocks a pass, then one. Needs: AVX.
func (e *emitter) packGroup() {
	e.text("PackCols8AVX2", "func(dst, src *float32, ld, blocks, width int)",
		"PackCols8AVX2 sets dst[p·width+i] = src[i·ld+p], p < 8·blocks, i < 8.",
		"It works like kernels.refPackCols with w = 8 and k a multiple of 8, but leaves the rest of dst.")
	dst, src, ld, blocks, width := e.gp("dst"), e.gp("src"), e.gp("ld"), e.gp("blocks"), e.gp("width")
	e.SHLQ(op.Imm(2), ld)
	e.SHLQ(op.Imm(2), width)
	ld3 := e.GP64()
	e.LEAQ(op.Mem{Base: ld, Index: ld, Scale: 2}, ld3)
	for _, n := range []int{2, 1} {
		e.repeat(blocks, n, func() {
			for c := range n {
				for _, y := range e.transpose(src, ld, ld3, 8*c, 8) {
					e.VMOVUPS(y, at(dst, 0))
					e.ADDQ(width, dst)
				}
			}
			e.ADDQ(op.U32(uint32(32*n)), src)
		})
	}
	e.ret()
}

// transpose loads 8 columns from first on of rows ≤ 8 rows and returns its columns,
// undefined beyond rows. Rows i and i+4 share a register from the start: the
// upper halves come by VINSERTF128 from memory, which costs no shuffle unit.
func (e *emitter) transpose(src, ld, ld3 reg.GPVirtual, first, rows int) [8]reg.VecVirtual {
	src4 := e.GP64()
	e.LEAQ(op.Mem{Base: src, Index: ld, Scale: 4}, src4)
	row := func(i, col int) op.Mem {
		m := at(src, first+col)
		if i >= 4 {
			m.Base = src4
		}
		switch i % 4 {
		case 1, 2:
			m.Index, m.Scale = ld, uint8(i%4)
		case 3:
			m.Index, m.Scale = ld3, 1
		}
		return m
	}
	var cols [8]reg.VecVirtual
	for half := range 2 {
		var r [4]reg.VecVirtual // r[i]: columns 4·half … of rows i | i+4
		for i := range r {
			r[i] = e.YMM()
			e.loadLow(row(i, 4*half), r[i])
			if i+4 < rows {
				e.VINSERTF128(op.Imm(1), row(i+4, 4*half), r[i], r[i])
			}
		}
		lo01, hi01, lo23, hi23 := e.YMM(), e.YMM(), e.YMM(), e.YMM()
		e.VUNPCKLPS(r[1], r[0], lo01)
		e.VUNPCKHPS(r[1], r[0], hi01)
		e.VUNPCKLPS(r[3], r[2], lo23)
		e.VUNPCKHPS(r[3], r[2], hi23)
		c := cols[4*half:]
		for i := range 4 {
			c[i] = e.YMM()
		}
		e.VUNPCKLPD(lo23, lo01, c[0])
		e.VUNPCKHPD(lo23, lo01, c[1])
		e.VUNPCKLPD(hi23, hi01, c[2])
		e.VUNPCKHPD(hi23, hi01, c[3])
	}
	return cols
}

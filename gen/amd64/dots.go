package main

import (
	"fmt"

	op "github.com/mmcloughlin/avo/operand"
)

func dotsFamily(e *emitter) {
	e.dots(4)
	e.dots(1)
}

// dots emits C = A·Bᵀ or += A·Bᵀ for all rows of A and cols rows of B, both as
// they lie; the model is kernels.refDots.
//
// Contract:  kernels.Set.Dots.
// Registers: 3·cols sums, 3 vectors of A, 1 of B: 16 Y with 4 columns.
// Loop:      strips of 3 rows, then one of what is left; in it 8 terms a pass: as
// many loads as rows and columns, rows·cols FMAs. The terms that are left are
// loaded under a mask. Needs: AVX and FMA3.
func (e *emitter) dots(cols int) {
	const mr = 3
	m := &lanes{emitter: e, vectors: avx2}
	name := fmt.Sprintf("Dots%dAVX2", cols)
	e.text(name, "func(m, k int, a *float32, lda int, b *float32, ldb int, c *float32, ldc int, accumulate bool)",
		fmt.Sprintf("%s sets C[i·ldc+j] = Σ_p a[i·lda+p]·b[j·ldb+p] for i < m, j < %d, p < k, or adds to", name, cols),
		"it if accumulate. It works like kernels.refDots, see kernels.Set.")
	left, a, c := e.gp("m"), e.gp("a"), e.gp("c")
	lda, ldc := e.gp("lda"), e.gp("ldc")
	e.SHLQ(op.Imm(2), lda)
	e.SHLQ(op.Imm(2), ldc)
	var ldb, ldb3 ptr
	if cols == 4 {
		ldb, ldb3 = e.gp("ldb"), e.GP64()
		e.SHLQ(op.Imm(2), ldb)
		e.LEAQ(op.Mem{Base: ldb, Index: ldb, Scale: 2}, ldb3)
	}
	rest := e.gp("k")
	e.ANDQ(op.Imm(7), rest)
	mask := m.prefixAt(rest)
	sum, as, b0 := m.take(e, mr*cols), m.take(e, mr), m.new()

	aAt := func(p ptr, i int) op.Mem {
		if i == 0 {
			return op.Mem{Base: p}
		}
		return op.Mem{Base: p, Index: lda, Scale: uint8(i)}
	}
	bAt := func(p ptr, j int) op.Mem {
		switch j {
		case 0:
			return op.Mem{Base: p}
		case 3:
			return op.Mem{Base: p, Index: ldb3, Scale: 1}
		}
		return op.Mem{Base: p, Index: ldb, Scale: uint8(j)}
	}
	block := func(rows int, last bool) {
		for _, s := range sum[:rows*cols] {
			m.zero(e, s)
		}
		pa, pb, n := e.GP64(), e.gp("b"), e.gp("k")
		e.MOVQ(a, pa)
		e.passes(n, 8, func() {
			for i := range rows {
				e.VMOVUPS(aAt(pa, i), as[i])
			}
			for j := range cols {
				e.VMOVUPS(bAt(pb, j), b0)
				for i := range rows {
					e.VFMADD231PS(b0, as[i], sum[i*cols+j])
				}
			}
			e.ADDQ(op.Imm(32), pa)
			e.ADDQ(op.Imm(32), pb)
		})
		whole := e.label("end")
		e.TESTQ(op.U32(7), n) // the passes left k mod 8 − 8
		e.JZ(op.LabelRef(whole))
		e.VMOVUPS(mask, as[2]) // one register for A, one for B, and one for the mask
		if cols == 1 {
			e.VMASKMOVPS(bAt(pb, 0), as[2], as[1])
		}
		for i := range rows {
			e.VMASKMOVPS(aAt(pa, i), as[2], as[0])
			for j := range cols {
				if cols > 1 {
					e.VMASKMOVPS(bAt(pb, j), as[2], as[1])
				}
				e.VFMADD231PS(as[1], as[0], sum[i*cols+j])
			}
		}
		e.Label(whole)
		for i := range rows {
			s := sum[i*cols : (i+1)*cols]
			if cols == 4 { // four sums side by side
				e.VHADDPS(s[1], s[0], s[0])
				e.VHADDPS(s[3], s[2], s[2])
				e.VHADDPS(s[2], s[0], s[0])
			} else {
				e.VHADDPS(s[0], s[0], s[0])
				e.VHADDPS(s[0], s[0], s[0])
			}
			e.VEXTRACTF128(op.Imm(1), s[0], b0.AsX())
			e.VADDPS(b0.AsX(), s[0].AsX(), s[0].AsX())
		}
		e.addOrSet(last, func(add bool) {
			for i := range rows {
				x, to := sum[i*cols].AsX(), op.Mem{Base: c}
				switch {
				case add && cols == 4:
					e.VADDPS(to, x, x)
				case add:
					e.VADDSS(to, x, x)
				}
				if cols == 4 {
					e.VMOVUPS(x, to)
				} else {
					e.VMOVSS(x, to)
				}
				if i < rows-1 || !last {
					e.ADDQ(ldc, c)
				}
			}
		})
	}

	head, tail := e.label("strip"), e.label("rest")
	e.Label(head)
	e.CMPQ(left, op.Imm(mr))
	e.JB(op.LabelRef(tail))
	block(mr, false)
	e.LEAQ(op.Mem{Base: a, Index: lda, Scale: 2}, a)
	e.ADDQ(lda, a)
	e.SUBQ(op.Imm(mr), left)
	e.JMP(op.LabelRef(head))
	e.Label(tail)
	for rows := mr - 1; rows > 0; rows-- {
		next := e.label("fewer")
		e.CMPQ(left, op.Imm(uint64(rows)))
		e.JNZ(op.LabelRef(next))
		block(rows, true)
		e.Label(next)
	}
	e.ret()
}

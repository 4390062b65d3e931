package main

import (
	"fmt"

	op "github.com/mmcloughlin/avo/operand"
)

func dotsFamily(e *emitter) {
	e.dots(4, float32s)
	e.dots(1, float32s)
	e.dots(4, bf16s)
	e.dots(4, f16s)
	e.dots(4, int8s)
}

// dotsType is how B is stored.
type dotsType struct {
	name, elem string // of kernels.Set.Dots+name, and of an element for assembly
	shift      uint64 // log2 of the bytes of an element
	mr         int    // rows of A in a strip
	load       func(e *emitter, from op.Mem, r vec)
}

var (
	float32s = dotsType{"", "float32", 2, 3, func(e *emitter, from op.Mem, r vec) { e.VMOVUPS(from, r) }}
	// A signaling NaN is made quiet by what it is multiplied with.
	bf16s = dotsType{"BF16", "uint16", 1, 3, func(e *emitter, from op.Mem, r vec) {
		e.VPMOVZXWD(from, r)
		e.VPSLLD(op.Imm(16), r, r)
	}}
	f16s = dotsType{"F16", "uint16", 1, 3, func(e *emitter, from op.Mem, r vec) { e.VCVTPH2PS(from, r) }}
	// A strip less than the others leaves registers for the scales of four columns.
	int8s = dotsType{"Int8", "int8", 0, 2, func(e *emitter, from op.Mem, r vec) {
		e.VPMOVSXBD(from, r)
		e.VCVTDQ2PS(r, r)
	}}
)

// dots emits C = A·Bᵀ or += A·Bᵀ for all rows of A and cols rows of B, both as
// they lie; the model is kernels.refDots.
//
// Contract:  kernels.Set.Dots, or that of B of another type.
// Registers: mr·cols sums, mr vectors of A, 1 of B, of int8 cols scales: 16 Y, or 15,
// with 4 columns.
// Loop:      strips of mr rows, then one of what is left; in it 8 terms a pass: as
// many loads as rows and columns, rows·cols FMAs; of int8 group after group. Of
// float32 two passes at once, a line of cache of each column, and the prefetch of the
// columns that come next: without it B comes from memory at two thirds of the speed.
// The terms that are left are loaded under a mask; of other types than float32 there
// are none. Needs: AVX and FMA3, for other types AVX2 or F16C.
func (e *emitter) dots(cols int, t dotsType) {
	mr, whole, scaled := t.mr, t.name != "", t.name == "Int8"
	m := &lanes{emitter: e, vectors: avx2}
	name, value, scales := fmt.Sprintf("Dots%d%sAVX2", cols, t.name), "b[j·ldb+p]", ""
	if scaled {
		value, scales = "b[j·ldb+p]·scale[j·ldScale+⌊p/group⌋]", "scale *float32, ldScale, group, groups, last int, "
	}
	sizes := "m, k"
	if scaled {
		sizes = "m"
	}
	e.text(name, "func("+sizes+" int, a *float32, lda int, b *"+t.elem+", ldb int, "+scales+"c *float32, ldc int, accumulate bool)",
		fmt.Sprintf("%s sets C[i·ldc+j] = Σ_p a[i·lda+p]·%s for i < m, j < %d, p < k, or adds to", name, value, cols),
		"it if accumulate. It works like kernels.refDots, see kernels.Set.")
	left, a, c := e.gp("m"), e.gp("a"), e.gp("c")
	lda := e.gp("lda")
	e.SHLQ(op.Imm(2), lda)
	var ldb, ldb3 ptr
	if cols == 4 {
		ldb, ldb3 = e.gp("ldb"), e.GP64()
		if t.shift > 0 {
			e.SHLQ(op.Imm(t.shift), ldb)
		}
		e.LEAQ(op.Mem{Base: ldb, Index: ldb, Scale: 2}, ldb3)
	}
	var mask op.Mem
	if !whole {
		rest := e.gp("k")
		e.ANDQ(op.Imm(7), rest)
		mask = m.prefixAt(rest)
	}
	var scale []vec
	if scaled {
		scale = m.take(e, cols)
	}
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
		pa, pb, n := e.GP64(), e.gp("b"), ptr(nil)
		e.MOVQ(a, pa)
		pass := func() {
			for i := range rows {
				e.VMOVUPS(aAt(pa, i), as[i])
			}
			for j := range cols {
				t.load(e, bAt(pb, j), b0)
				if scaled {
					e.VMULPS(scale[j], b0, b0)
				}
				for i := range rows {
					e.VFMADD231PS(b0, as[i], sum[i*cols+j])
				}
			}
			e.ADDQ(op.Imm(32), pa)
			e.ADDQ(op.Imm(8<<t.shift), pb)
		}
		switch {
		case scaled:
			e.groups(scale, pass)
		case whole:
			e.somePasses(e.gp("k"), 8, pass)
		case cols == 1:
			n = e.gp("k")
			e.passes(n, 8, pass)
		default:
			n = e.gp("k")
			ahead := e.GP64()
			e.LEAQ(op.Mem{Base: pb, Index: ldb, Scale: 4}, ahead)
			e.passes(n, 16, func() {
				for j := range cols {
					e.PREFETCHT2(bAt(ahead, j))
				}
				e.ADDQ(op.Imm(64), ahead)
				pass()
				pass()
			})
			even := e.label("even")
			e.TESTQ(op.U32(8), n) // the passes left k mod 16 − 16
			e.JZ(op.LabelRef(even))
			pass()
			e.Label(even)
		}
		if !whole {
			end := e.label("end")
			e.TESTQ(op.U32(7), n)
			e.JZ(op.LabelRef(end))
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
			e.Label(end)
		}
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
		var ldc ptr // before, there is no register for it
		if rows > 1 || !last {
			ldc = e.gp("ldc")
			e.SHLQ(op.Imm(2), ldc)
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
	e.CMPQ(left, op.Imm(uint64(mr)))
	e.JB(op.LabelRef(tail))
	block(mr, false)
	e.LEAQ(op.Mem{Base: a, Index: lda, Scale: 2}, a)
	if mr == 3 {
		e.ADDQ(lda, a)
	}
	e.SUBQ(op.Imm(uint64(mr)), left)
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

// groups emits pass for 8 terms at a time, and before those of each group the load of
// its scales.
func (e *emitter) groups(scale []vec, pass func()) {
	from, n := e.gp("scale"), e.gp("groups")
	e.somePasses(n, 1, func() {
		terms, whole := e.gp("group"), e.label("whole")
		e.JNZ(op.LabelRef(whole)) // the flags are those of the count of groups
		e.Load(e.Param("last"), terms)
		e.Label(whole)
		ld := e.gp("ldScale")
		for j, s := range scale {
			switch j {
			case 0:
				e.VBROADCASTSS(op.Mem{Base: from}, s)
				continue
			case 3:
				e.LEAQ(op.Mem{Base: ld, Index: ld, Scale: 2}, ld)
			}
			e.VBROADCASTSS(op.Mem{Base: from, Index: ld, Scale: []uint8{0, 4, 8, 4}[j]}, s)
		}
		e.ADDQ(op.Imm(4), from)
		e.somePasses(terms, 8, pass)
	})
}

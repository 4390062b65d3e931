package main

import (
	"fmt"

	op "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func gemmFamily(e *emitter) {
	e.gemmTiles(avx2, 6, 2)
	e.gemmTiles(avx512, 14, 2)
}

// gemmTiles emits the kernels of one tile, cols vectors wide: for whole panels and
// for every number of vectors that a narrower one has.
func (e *emitter) gemmTiles(v vectors, mr, cols int) {
	e.gemmTile(v, mr, cols, false)
	for c := range cols {
		e.gemmTile(v, mr, c+1, true)
	}
}

// gemmTile emits C = A·B or += A·B for any number of rows, and of columns cols
// vectors, or, with tail, as many of the last as n asks for; the model is
// kernels.refTile.
//
// Contract:  kernels.Tile.
// Registers: mr·cols sums; cols vectors of one row of B; one element of A in all
// lanes, of which renaming makes as many as are in flight; the mask of a tail.
// 6×16: 12 + 2 + 1 + 1 = 16 Y. 14×32: 28 + 2 + 1 = 31 Z. Where the mask has no
// room, it is read from memory in every step.
// Loop:      strips of mr rows, then one of what is left, each with its own code;
// in a strip of mr 4 steps of k a pass, then 1 a pass, else 1 a pass; per step as
// many broadcasts as rows, cols loads and rows·cols FMAs. C is prefetched first,
// so that the adds at the end find it. Needs: AVX and FMA3, or AVX512F.
func (e *emitter) gemmTile(v vectors, mr, cols int, tail bool) {
	m := &lanes{emitter: e, vectors: v}
	nr := cols * v.lanes
	name, least := fmt.Sprintf("GemmTile%dx%d", mr, nr), nr
	columns, parameters := fmt.Sprintf("of %d columns", nr), "m, k"
	if tail {
		name += "Tail"
		least -= v.lanes - 1
		columns, parameters = fmt.Sprintf("of n columns, %d ≤ n ≤ %d,", least, nr), "m, n, k"
	}
	e.text(name+v.suffix, "func("+parameters+" int, a *float32, strip, row, col int, b *float32, ldb int, c *float32, ldc int, accumulate bool)",
		fmt.Sprintf("%s%s sets the m rows %s of C[i·ldc+j] = Σ_p a[i/%d·strip+i%%%d·row+p·col]·b[p·ldb+j], p < k,", name, v.suffix, columns, mr, mr),
		"or adds to them if accumulate. It works like kernels.refTile, see kernels.Tile.")
	t := gemmTile{lanes: m, mr: mr, cols: cols, tail: tail}
	if tail {
		n := e.gp("n")
		if cols > 1 {
			e.SUBQ(op.U32(uint32(nr-v.lanes)), n)
		}
		if v.lanes == 8 && mr*cols+cols+2 > 16 {
			t.maskAt = m.prefixAt(n)
		} else {
			t.mask = m.prefix(n)
		}
	}
	t.left, t.strip, t.c = e.gp("m"), e.gp("a"), e.gp("c")
	t.row, t.col, t.ldb = t.bytes("row"), t.bytes("col"), t.bytes("ldb")
	t.row3, t.row5 = e.GP64(), e.GP64()
	e.LEAQ(op.Mem{Base: t.row, Index: t.row, Scale: 2}, t.row3)
	e.LEAQ(op.Mem{Base: t.row, Index: t.row, Scale: 4}, t.row5)

	// The same registers in every block: avo's allocator fails on many apart.
	t.sum, t.bs, t.a0 = t.take(e, mr*cols), t.take(e, cols), t.new()
	rest, last := e.label("rest"), make([]string, mr)
	head := e.label("strip")
	e.Label(head)
	e.CMPQ(t.left, op.Imm(uint64(mr)))
	e.JB(op.LabelRef(rest))
	t.block(mr, 4, false)
	step := t.bytes("strip")
	e.ADDQ(step, t.strip)
	e.SUBQ(op.Imm(uint64(mr)), t.left)
	e.JMP(op.LabelRef(head))

	e.Label(rest)
	for r := mr - 1; r > 0; r-- {
		last[r] = e.label("rows")
		e.CMPQ(t.left, op.Imm(uint64(r)))
		e.JZ(op.LabelRef(last[r]))
	}
	e.ret()
	for r := mr - 1; r > 0; r-- {
		e.Label(last[r])
		t.block(r, 1, true)
	}
}

// gemmTile is what the blocks of a GEMM micro-kernel share: addresses, and
// strides in bytes.
type gemmTile struct {
	*lanes
	mr, cols                  int
	left, strip, c            ptr // rows to do, the strip of A, the rows of C
	row, row3, row5, col, ldb ptr // strides in bytes
	tail                      bool
	mask                      reg.Register // of a tail's last vector, or
	maskAt                    op.Mem       // where it lies
	sum, bs                   []vec
	a0                        vec
}

// bytes is a stride in bytes.
func (t *gemmTile) bytes(parameter string) ptr {
	r := t.gp(parameter)
	t.SHLQ(op.Imm(2), r)
	return r
}

// rowOf is the address of A's row i, of rows that two pointers share.
func (t *gemmTile) rowOf(a [2]ptr, i int) op.Mem {
	m := op.Mem{Base: a[i/7]}
	switch i %= 7; i {
	case 1, 2, 4:
		m.Index, m.Scale = t.row, uint8(i)
	case 3, 6:
		m.Index, m.Scale = t.row3, uint8(i/3)
	case 5:
		m.Index, m.Scale = t.row5, 1
	}
	return m
}

// block emits the code of one strip of rows: of the last one with the return, of
// others c is moved past it.
func (t *gemmTile) block(rows, unroll int, last bool) {
	sum := t.sum[:rows*t.cols]
	for _, x := range sum {
		t.zero(t.emitter, x)
	}
	var a [2]ptr
	a[0] = t.GP64()
	t.MOVQ(t.strip, a[0])
	if rows > 7 {
		a[1] = t.GP64()
		t.LEAQ(op.Mem{Base: t.strip, Index: t.row5, Scale: 1}, a[1])
		t.LEAQ(op.Mem{Base: a[1], Index: t.row, Scale: 2}, a[1])
	}
	b, k := t.gp("b"), t.gp("k")
	bs, a0 := t.bs, t.a0
	step := func() {
		for j := range t.cols {
			t.load(at(b, j*t.lanes.lanes), bs[j], j, a0)
		}
		t.ADDQ(t.ldb, b)
		for i := range rows {
			t.VBROADCASTSS(t.rowOf(a, i), a0)
			for j := range t.cols {
				t.VFMADD231PS(bs[j], a0, sum[i*t.cols+j])
			}
		}
		t.ADDQ(t.col, a[0])
		if rows > 7 {
			t.ADDQ(t.col, a[1])
		}
	}
	head, done := t.label("one"), t.label("even")
	if unroll > 1 {
		t.repeat(k, unroll, func() {
			for range unroll {
				step()
			}
		})
		t.TESTQ(k, k)
		t.JZ(op.LabelRef(done))
	} else {
		t.align()
	}
	t.Label(head)
	step()
	t.SUBQ(op.Imm(1), k)
	t.JNZ(op.LabelRef(head))
	if unroll > 1 {
		t.Label(done)
	}

	var ldc ptr
	if rows > 1 || !last {
		ldc = t.bytes("ldc")
	}
	t.addOrSet(last, func(add bool) {
		for i := range rows {
			for j := range t.cols {
				s, to := sum[i*t.cols+j], at(t.c, j*t.lanes.lanes)
				if add {
					t.load(to, a0, j, bs[0])
					t.VADDPS(a0, s, s)
				}
				t.store(s, to, j, a0)
			}
			if i < rows-1 || !last {
				t.ADDQ(ldc, t.c)
			}
		}
	})
}

// load and store move the j-th vector of a row: of a tail's last one only what
// the mask has. free is a register that a mask may use.
func (t *gemmTile) load(from op.Mem, to vec, j int, free vec) {
	switch {
	case !t.tail || j < t.cols-1:
		t.VMOVUPS(from, to)
	case t.lanes.lanes == 16:
		t.VMOVUPS_Z(from, t.mask, to)
	default:
		t.VMASKMOVPS(from, t.maskIn(free), to)
	}
}

func (t *gemmTile) store(from vec, to op.Mem, j int, free vec) {
	switch {
	case !t.tail || j < t.cols-1:
		t.VMOVUPS(from, to)
	case t.lanes.lanes == 16:
		t.VMOVUPS(from, t.mask, to)
	default:
		t.VMASKMOVPS(from, t.maskIn(free), to)
	}
}

func (t *gemmTile) maskIn(free vec) reg.Register {
	if t.mask != nil {
		return t.mask
	}
	t.VMOVUPS(t.maskAt, free)
	return free
}

package main

import (
	"fmt"
	"strings"

	op "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func gemmFamily(e *emitter) {
	e.gemmTiles(avx2, 6, 2)
	e.gemmTilePack(avx2, 6, 2)
	e.gemmTiles(avx512, 14, 2)
	e.gemmTilePack(avx512, 14, 2)
	e.gemmTileAside(avx512, 14, 2)
	e.pairs = true
	e.gemmTiles(avx512, 14, 2)
	e.gemmTilePack(avx512, 14, 2)
	e.gemmTileAside(avx512, 14, 2)
}

// tileName names a kernel of a tile, of pairs of BF16 or of float32.
func (e *emitter) tileName(mr, nr int, parts ...string) string {
	name := fmt.Sprintf("GemmTile%dx%d%s", mr, nr, strings.Join(parts, ""))
	if e.pairs {
		name += "BF16"
	}
	return name
}

// tileContract says what else there is to know of a tile.
func (e *emitter) tileContract() string {
	if e.pairs {
		return "Elements of a and b are pairs, see kernels.Set.TileBF16."
	}
	return "It works like kernels.refTile, see kernels.Tile."
}

// multiply adds b·a to sum, or both products of the pairs that they hold.
func (t *gemmTile) multiply(b, a, sum vec) {
	if t.pairs {
		t.dotPairs(b, a, sum)
	} else {
		t.VFMADD231PS(b, a, sum)
	}
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
// so that the adds at the end find it, and by fewer than mr rows, which may be all
// that there are, B as in gemmTilePack. Needs: AVX and FMA3, or AVX512F.
func (e *emitter) gemmTile(v vectors, mr, cols int, tail bool) {
	m := &lanes{emitter: e, vectors: v}
	nr := cols * v.lanes
	name, least := e.tileName(mr, nr), nr
	columns, parameters := fmt.Sprintf("of %d columns", nr), "m, k"
	if tail {
		name = e.tileName(mr, nr, "Tail")
		least -= v.lanes - 1
		columns, parameters = fmt.Sprintf("of n columns, %d ≤ n ≤ %d,", least, nr), "m, n, k"
	}
	e.text(name+v.suffix, "func("+parameters+" int, a *float32, strip, row, col int, b *float32, ldb int, c *float32, ldc int, accumulate bool)",
		fmt.Sprintf("%s%s sets the m rows %s of C[i·ldc+j] = Σ_p a[i/%d·strip+i%%%d·row+p·col]·b[p·ldb+j], p < k,", name, v.suffix, columns, mr, mr),
		"or adds to them if accumulate. "+e.tileContract())
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
	t.strides()
	t.ldb = t.bytes("ldb")
	rest, last := e.label("rest"), make([]string, mr)
	head := e.label("strip")
	e.Label(head)
	e.CMPQ(t.left, op.Imm(uint64(mr)))
	e.JB(op.LabelRef(rest))
	t.block(mr, 4, false, nil)
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
		t.block(r, 1, true, t.ahead())
	}
}

// gemmTilePack emits the micro-kernel of one strip of mr rows that packs the panel
// of B, which it reads in place, on the way: a store for each vector that it has
// loaded anyway, on ports that the FMAs leave free.
//
// Contract:  kernels.Tile.RunPack.
// Registers: as gemmTile.
// Loop:      as a strip of mr rows in gemmTile, and B is prefetched, see ahead. Needs:
// AVX and FMA3, or AVX512F.
func (e *emitter) gemmTilePack(v vectors, mr, cols int) {
	nr := cols * v.lanes
	name := e.tileName(mr, nr, "Pack") + v.suffix
	e.text(name, "func(k int, a *float32, row, col int, b *float32, ldb int, c *float32, ldc int, accumulate bool, panel *float32)",
		fmt.Sprintf("%s sets %d rows of %d columns of C[i·ldc+j] = Σ_p a[i·row+p·col]·b[p·ldb+j], p < k,", name, mr, nr),
		fmt.Sprintf("or adds to them if accumulate, and panel[p·%d+j] = b[p·ldb+j]. See kernels.Tile.RunPack.", nr))
	t := gemmTile{lanes: &lanes{emitter: e, vectors: v}, mr: mr, cols: cols}
	t.strip, t.c = e.gp("a"), e.gp("c")
	panel := e.gp("panel")
	t.strides()
	t.ldb = t.bytes("ldb")
	ahead := t.ahead()
	t.block(mr, 4, true, func(i int) {
		ahead(i)
		if i >= 0 {
			return
		}
		for j, x := range t.bs {
			e.VMOVUPS(x, at(panel, j*v.lanes))
		}
		e.ADDQ(op.U32(uint32(4*nr)), panel)
	})
}

// gemmTileAside emits the micro-kernel of one strip of mr rows that packs a quarter
// of another panel aside: the FMA units bound it, and loads and stores of single
// floats, which transpose without a vector register, fit beside them.
//
// Contract:  kernels.Tile.RunAside. AVX2 has none: a step of 6×16 leaves no room.
// Registers: as gemmTile, and for the copy a source, its stride, a destination and
// what is between them: all 12 that there are.
// Loop:      4 steps of k a pass and, spread over them, as many floats as the panel is
// wide: 4 of each row of the source. The rows after these, which the next call takes,
// are prefetched. Needs: AVX and FMA3, or AVX512F.
func (e *emitter) gemmTileAside(v vectors, mr, cols int) {
	const unroll = 4
	nr := cols * v.lanes
	rows := nr / 4
	name := e.tileName(mr, nr, "Aside") + v.suffix
	e.text(name, "func(k int, a *float32, row, col int, b, c *float32, ldc int, accumulate bool, src *float32, ld int, panel *float32)",
		fmt.Sprintf("%s sets %d rows of %d columns of C[i·ldc+j] = Σ_p a[i·row+p·col]·b[p·%d+j], p < k,", name, mr, nr, nr),
		fmt.Sprintf("or adds to them if accumulate, and panel[p·%d+i] = src[i·ld+p], i < %d. See kernels.Tile.RunAside.", nr, rows))
	t := gemmTile{lanes: &lanes{emitter: e, vectors: v}, mr: mr, cols: cols}
	t.strip, t.c = e.gp("a"), e.gp("c")
	t.strides()
	t.begin(mr)

	src, ld, dst, between := e.gp("src"), t.bytes("ld"), e.gp("panel"), e.GP64()
	// row is the i-th after from, by way of between where one address does not reach.
	row := func(from ptr, i, disp int) op.Mem {
		for _, n := range []int{4, 2} {
			if i > n {
				e.LEAQ(op.Mem{Base: from, Index: ld, Scale: uint8(n)}, between)
				from, i = between, i-n
			}
		}
		m := op.Mem{Base: from, Disp: disp}
		if i > 0 {
			m.Index, m.Scale = ld, uint8(i)
		}
		return m
	}
	k := e.gp("k")
	e.passes(k, unroll, func() {
		copied := 0
		for u := range unroll {
			t.step(mr, func(i int) {
				if i < 0 || copied == (u+1)*rows {
					return
				}
				e.MOVL(row(src, copied/unroll, 4*(copied%unroll)), between.As32())
				e.MOVL(between.As32(), at(dst, copied%unroll*nr+copied/unroll))
				copied++
			})
		}
		for i := range rows {
			e.LEAQ(op.Mem{Base: src, Index: ld, Scale: uint8(rows)}, between)
			e.PREFETCHT0(row(between, i, 0))
		}
		e.ADDQ(op.U32(4*unroll), src)
		e.ADDQ(op.U32(uint32(4*unroll*nr)), dst)
	})
	t.c = e.gp("c")
	t.finish(mr, true)
}

// gemmTile is what the blocks of a GEMM micro-kernel share: addresses, and
// strides in bytes.
type gemmTile struct {
	*lanes
	mr, cols                  int
	left, strip, c            ptr    // rows to do, the strip of A, the rows of C
	a                         [2]ptr // the elements of the step: rows 0…6, and 7…
	b                         ptr
	row, row3, row5, col, ldb ptr // strides in bytes; ldb nil: of a packed panel
	tail                      bool
	mask                      reg.Register // of a tail's last vector, or
	maskAt                    op.Mem       // where it lies
	sum, bs                   []vec
	a0                        vec
}

// strides loads the strides of A and takes the vectors, the same for every block: avo's
// allocator fails on many apart.
func (t *gemmTile) strides() {
	t.row, t.col = t.bytes("row"), t.bytes("col")
	t.row3, t.row5 = t.GP64(), t.GP64()
	t.LEAQ(op.Mem{Base: t.row, Index: t.row, Scale: 2}, t.row3)
	t.LEAQ(op.Mem{Base: t.row, Index: t.row, Scale: 4}, t.row5)
	t.sum, t.bs, t.a0 = t.take(t.emitter, t.mr*t.cols), t.take(t.emitter, t.cols), t.new()
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
// others c is moved past it. beside is what a step does beside multiplying, see step.
func (t *gemmTile) block(rows, unroll int, last bool, beside func(i int)) {
	t.begin(rows)
	k := t.gp("k")
	head, done := t.label("one"), t.label("even")
	if unroll > 1 {
		t.repeat(k, unroll, func() {
			for range unroll {
				t.step(rows, beside)
			}
		})
		t.TESTQ(k, k)
		t.JZ(op.LabelRef(done))
	} else {
		t.align()
	}
	t.Label(head)
	t.step(rows, beside)
	t.SUBQ(op.Imm(1), k)
	t.JNZ(op.LabelRef(head))
	if unroll > 1 {
		t.Label(done)
	}
	t.finish(rows, last)
}

// ahead returns what a step does beside multiplying to have B in place in L2 in time.
// No hardware follows columns of a matrix, and into L1 they would come at a third of
// the speed of memory: L1 can wait for few lines at a time, L2 for many.
func (t *gemmTile) ahead() func(i int) {
	const rows = 64
	to := t.GP64()
	t.MOVQ(t.ldb, to)
	t.SHLQ(op.Imm(6), to)
	t.ADDQ(t.gp("b"), to)
	return func(i int) {
		if i >= 0 {
			return
		}
		width := t.cols * t.lanes.lanes
		for j := 0; j < width; j += 16 { // a line
			t.PREFETCHT2(at(to, j))
		}
		t.PREFETCHT2(at(to, width-1))
		t.ADDQ(t.ldb, to)
	}
}

// begin asks for C, clears the sums and points at A and B.
func (t *gemmTile) begin(rows int) {
	if rows == t.mr { // others are few, and with them the wait at the end
		to, step := t.GP64(), t.bytes("ldc")
		t.MOVQ(t.c, to)
		for i := range rows {
			t.PREFETCHT1(at(to, 0)) // L1 may not hold a column of tall C
			t.PREFETCHT1(at(to, t.cols*t.lanes.lanes-1))
			if i < rows-1 {
				t.ADDQ(step, to)
			}
		}
	}
	for _, x := range t.sum[:rows*t.cols] {
		t.zero(t.emitter, x)
	}
	t.a[0] = t.GP64()
	t.MOVQ(t.strip, t.a[0])
	if rows > 7 {
		t.a[1] = t.GP64()
		t.LEAQ(op.Mem{Base: t.strip, Index: t.row5, Scale: 1}, t.a[1])
		t.LEAQ(op.Mem{Base: t.a[1], Index: t.row, Scale: 2}, t.a[1])
	}
	t.b = t.gp("b")
}

// step emits one step of k. beside emits what goes on between its parts: i is the row
// of A that is done, and −1 after the row of B is loaded.
func (t *gemmTile) step(rows int, beside func(i int)) {
	for j := range t.cols {
		t.load(at(t.b, j*t.lanes.lanes), t.bs[j], j, t.a0)
	}
	if beside != nil {
		beside(-1)
	}
	if t.ldb != nil {
		t.ADDQ(t.ldb, t.b)
	} else {
		t.ADDQ(op.U32(uint32(4*t.cols*t.lanes.lanes)), t.b)
	}
	for i := range rows {
		t.VBROADCASTSS(t.rowOf(t.a, i), t.a0)
		for j := range t.cols {
			t.multiply(t.bs[j], t.a0, t.sum[i*t.cols+j])
		}
		if beside != nil {
			beside(i)
		}
	}
	t.ADDQ(t.col, t.a[0])
	if rows > 7 {
		t.ADDQ(t.col, t.a[1])
	}
}

// finish sets C, or adds to it.
func (t *gemmTile) finish(rows int, last bool) {
	var ldc ptr
	if rows > 1 || !last {
		ldc = t.bytes("ldc")
	}
	t.addOrSet(last, func(add bool) {
		for i := range rows {
			for j := range t.cols {
				s, to := t.sum[i*t.cols+j], at(t.c, j*t.lanes.lanes)
				if add {
					t.load(to, t.a0, j, t.bs[0])
					t.VADDPS(t.a0, s, s)
				}
				t.store(s, to, j, t.a0)
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

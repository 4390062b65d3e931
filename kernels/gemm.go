package kernels

import (
	"fmt"
	"sync"
	"unsafe"
)

// Blocking of the five loops, in elements. KC×NR of B and KC×MR of A share L1;
// an MC×KC block of A stays in L2 while the KC×NC panel of B, packed once for
// all workers, streams past it from L3. Every value is a constant of the shape,
// so the order of every sum is fixed; see bench/ for how they were chosen.
const (
	gemmKC = 256
	gemmMC = 168 // a multiple of 6, 8, 12 and 14
	gemmNC = 3072
)

// ShapeError is the panic of a kernel given operands that do not fit its shape:
// a mistake of the caller.
type ShapeError struct {
	Op   string
	Rule string
}

func (e *ShapeError) Error() string { return "kernels: " + e.Op + ": " + e.Rule }

func shapeCheck(ok bool, op, format string, args ...any) {
	if !ok {
		panic(&ShapeError{op, fmt.Sprintf(format, args...)})
	}
}

// Gemm sets C = op(A)·op(B), or C += op(A)·op(B) if accumulate; op transposes
// if transA or transB is set.
//
// Shapes: op(A) [m, k], op(B) [k, n], C [m, n]; lda, ldb, ldc are the row
// strides, in elements, of the matrices as stored.
// Memory: C overlaps neither input; the gaps of C between n and ldc are neither
// read nor written. With k = 0 or accumulate unset C is not read.
// Error: ≤ (k+⌈k/256⌉)·u·Σ|a·b| + 1.5e-45·k per element, and ⌈k/256⌉·u·|C| more if
// accumulate.
// Values: as in Set; NaN and Inf in A or B reach their row or column alone.
// Panics: *ShapeError if a slice is short or a stride is smaller than a row.
// Cost: 2·m·n·k FLOP.
// Source: Goto & van de Geijn 2008; Low et al. 2016 for the blocking.
func Gemm[T Float](s *Set[T], transA, transB bool, m, n, k int, a []T, lda int, b []T, ldb int, c []T, ldc int, accumulate bool) {
	aRows, aCols := m, k
	if transA {
		aRows, aCols = k, m
	}
	bRows, bCols := k, n
	if transB {
		bRows, bCols = n, k
	}
	if m < 0 || n < 0 || k < 0 {
		shapeCheck(false, "gemm", "negative size m=%d n=%d k=%d", m, n, k)
	}
	if m == 0 || n == 0 {
		return
	}
	checkMatrix("gemm", "A", aRows, aCols, lda, len(a))
	checkMatrix("gemm", "B", bRows, bCols, ldb, len(b))
	checkMatrix("gemm", "C", m, n, ldc, len(c))
	if k == 0 {
		if !accumulate {
			for i := range m {
				clear(c[i*ldc : i*ldc+n])
			}
		}
		return
	}
	g := newGemm[T]()
	g.s, g.transA, g.transB, g.accumulate = s, transA, transB, accumulate
	g.m, g.n, g.k, g.a, g.lda, g.b, g.ldb, g.c, g.ldc = m, n, k, a, lda, b, ldb, c, ldc
	g.run()
	g.free()
}

// checkMatrix panics unless rows×cols with row stride ld lies in n elements.
func checkMatrix(op, name string, rows, cols, ld, n int) {
	if rows == 0 || cols == 0 {
		return
	}
	if ld < cols { // guarded: the arguments of shapeCheck are allocated
		shapeCheck(false, op, "row stride %d of %s is smaller than its %d columns", ld, name, cols)
	}
	if n < cols || rows-1 > (n-cols)/ld {
		shapeCheck(false, op, "%s has %d elements, too few for %d×%d with row stride %d", name, n, rows, cols, ld)
	}
}

type gemm[T Float] struct {
	s              *Set[T]
	transA, transB bool
	m, n, k        int
	a, b, c        []T
	lda, ldb, ldc  int
	accumulate     bool

	// The panel of B at hand: columns jc…jc+w, rows pc…pc+d, packed in bp; mc is
	// the height of a block of A.
	bp                []T
	jc, w, pc, d, mc  int
	add               bool
	packTask, mulTask func(t int) // method values, made once: a closure for each panel would be a heap allocation
	pool              *sync.Pool
}

// gemms are finished calls, to be used again, apart for each element type.
var gemms32, gemms64 sync.Pool

func newGemm[T Float]() *gemm[T] {
	pool := &gemms32
	if unsafe.Sizeof(T(0)) == 8 {
		pool = &gemms64
	}
	if g, ok := pool.Get().(*gemm[T]); ok {
		return g
	}
	g := &gemm[T]{pool: pool}
	g.packTask, g.mulTask = g.packGroup, g.block
	return g
}

// free keeps no operand alive.
func (g *gemm[T]) free() {
	g.a, g.b, g.c, g.bp = nil, nil, nil, nil
	g.pool.Put(g)
}

// run walks the outer two loops, over column panels and the inner dimension:
// all workers first pack the panel of B, then multiply blocks of A with it.
func (g *gemm[T]) run() {
	mr, nr := g.s.Tile.MR, g.s.Tile.NR
	mc := max(gemmMC/mr, 1) * mr
	// Short matrices still give every worker something to do.
	for mc > mr && (g.m+mc-1)/mc < 8 && mc > 4*mr {
		mc = (mc/2 + mr - 1) / mr * mr
	}
	nc := min(gemmNC/nr*nr, (g.n+nr-1)/nr*nr)
	kc := min(gemmKC, g.k)
	bp := scratch[T](nc * kc)
	defer bp.free()
	g.bp, g.mc = bp.mem, mc
	for g.jc = 0; g.jc < g.n; g.jc += nc {
		g.w = min(nc, g.n-g.jc)
		for g.pc = 0; g.pc < g.k; g.pc += kc {
			g.d = min(kc, g.k-g.pc)
			g.add = g.accumulate || g.pc > 0
			panels := (g.w + nr - 1) / nr
			Parallel((panels+packedTogether-1)/packedTogether, g.packTask)
			Parallel((g.m+mc-1)/mc, g.mulTask)
		}
	}
}

const packedTogether = 8 // panels a task packs: about 100 KB

// packGroup packs one task's panels of B.
func (g *gemm[T]) packGroup(t int) {
	nr := g.s.Tile.NR
	panels := (g.w + nr - 1) / nr
	for q := t * packedTogether; q < min((t+1)*packedTogether, panels); q++ {
		g.packB(g.bp[q*nr*g.d:][:nr*g.d], g.pc, g.d, g.jc+q*nr, min(nr, g.w-q*nr))
	}
}

// packB fills one micro-panel with rows pc…pc+d and columns j…j+w of op(B).
func (g *gemm[T]) packB(dst []T, pc, d, j, w int) {
	if g.transB {
		g.s.PackCols(dst, g.b[j*g.ldb+pc:], g.ldb, d, w, g.s.Tile.NR)
	} else {
		g.s.PackRows(dst, g.b[pc*g.ldb+j:], g.ldb, d, w, g.s.Tile.NR)
	}
}

// packA fills one micro-panel with rows i…i+h and columns pc…pc+d of op(A).
func (g *gemm[T]) packA(dst []T, i, h, pc, d int) {
	if g.transA {
		g.s.PackRows(dst, g.a[pc*g.lda+i:], g.lda, d, h, g.s.Tile.MR)
	} else {
		g.s.PackCols(dst, g.a[i*g.lda+pc:], g.lda, d, h, g.s.Tile.MR)
	}
}

// block multiplies one block of A, packed here, with the packed panel of B.
func (g *gemm[T]) block(t int) {
	mr, nr, d := g.s.Tile.MR, g.s.Tile.NR, g.d
	ic := t * g.mc
	h := min(g.mc, g.m-ic)
	strips := (h + mr - 1) / mr
	ap := scratch[T](strips*mr*d + mr*nr)
	defer ap.free()
	edge := ap.mem[strips*mr*d:]
	for q := range strips {
		g.packA(ap.mem[q*mr*d:][:mr*d], ic+q*mr, min(mr, h-q*mr), g.pc, d)
	}
	multiplyPanels(&g.s.Tile, h, g.w, d, ap.mem, d, g.bp, d, g.c[ic*g.ldc+g.jc:], g.ldc, g.add, edge)
}

// multiplyPanels sets (or accumulates into) the m×n block c from micro-panels:
// a holds ⌈m/MR⌉ panels [k, MR], aStep rows apart, and b ⌈n/NR⌉ panels [k, NR],
// bStep rows apart, so that k may be a part of what was packed. Tiles that hang
// over an edge go through edge, room for one full tile, so that c is written
// exactly; where m and n are whole tiles it may be nil.
func multiplyPanels[T Float](t *Tile[T], m, n, k int, a []T, aStep int, b []T, bStep int, c []T, ldc int, accumulate bool, edge []T) {
	for j := 0; j < n; j += t.NR {
		stopPoint()
		w, panel := min(t.NR, n-j), &b[j*bStep]
		for i := 0; i < m; i += t.MR {
			h := min(t.MR, m-i)
			if h == t.MR && w == t.NR {
				t.Run(k, &a[i*aStep], panel, &c[i*ldc+j], ldc, accumulate)
				continue
			}
			t.Run(k, &a[i*aStep], panel, &edge[0], t.NR, false)
			for r := range h {
				row, from := c[(i+r)*ldc+j:][:w], edge[r*t.NR:][:w]
				if !accumulate {
					copy(row, from)
					continue
				}
				for x, v := range from {
					row[x] += v
				}
			}
		}
	}
}

// buffer is scratch memory borrowed from a pool; its content is undefined.
type buffer[T Float] struct {
	mem  []T
	pool *sync.Pool
}

// Scratch is pooled by powers of two, apart for each element type, and starts
// on a cache line: packed panels are read with full-line loads.
var scratch32, scratch64 [48]sync.Pool

func scratch[T Float](n int) *buffer[T] {
	class := 0
	for 1<<class < n {
		class++
	}
	pools := &scratch32
	if unsafe.Sizeof(T(0)) == 8 {
		pools = &scratch64
	}
	p := &pools[class]
	if b, ok := p.Get().(*buffer[T]); ok {
		b.mem = b.mem[:n]
		return b
	}
	const line = 64
	size := int(unsafe.Sizeof(T(0)))
	mem := make([]T, 1<<class+line/size)
	skip := -int(uintptr(unsafe.Pointer(&mem[0]))) & (line - 1) / size
	return &buffer[T]{mem: mem[skip : skip+1<<class][:n], pool: p}
}

func (b *buffer[T]) free() { b.pool.Put(b) }

package kernels

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"
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
// Bits: the same for any GOMAXPROCS; they follow from the level and the shape,
// whatever the caches and the strides.
// Panics: *ShapeError if a slice is short or a stride is smaller than a row.
// Cost: 2·m·n·k FLOP.
// Source: Goto & van de Geijn 2008; Low et al. 2016 for the blocking.
func Gemm[T Float](s *Set[T], transA, transB bool, m, n, k int, a []T, lda int, b []T, ldb int, c []T, ldc int, accumulate bool) {
	if smallGemm(s, "gemm", transA, transB, m, n, k, a, lda, b, ldb, c, ldc, accumulate) {
		return
	}
	g := newGemm(s, "gemm", transA, m, n, k, len(a), lda, c, ldc)
	g.setB("gemm", transB, len(b), ldb)
	g.a, g.b = a, b
	g.accumulate = accumulate
	g.run()
}

// smallGemm is Gemm of a product that takes less time than a plan, a pool and the hand-out
// of tasks, with the same bits; or it does nothing and reports false.
func smallGemm[T Float](s *Set[T], op string, transA, transB bool, m, n, k int, a []T, lda int, b []T, ldb int, c []T, ldc int, accumulate bool) bool {
	if !isSmall(s, transA, transB, m, n, k) {
		return false
	}
	checkProduct(op, transA, m, n, k, len(a), lda, len(c), ldc)
	checkB(op, transB, n, k, len(b), ldb)
	tile, strip, row, col := &s.Tile, s.Tile.MR*lda, lda, 1
	if transA {
		strip, row, col = tile.MR, 1, lda
	}
	switch {
	case gemmPathOf(transA, transB, m, n, k) == byDots:
		s.Dots(m, n, k, &a[0], lda, &b[0], ldb, &c[0], ldc, accumulate)
	case transB:
		panel := scratch[T](tile.NR * k)
		for j := 0; j < n; j += tile.NR {
			w := min(tile.NR, n-j)
			s.PackCols(panel.mem, b[j*ldb:], ldb, k, w, tile.NR)
			tile.Run(m, w, k, &a[0], strip, row, col, &panel.mem[0], tile.NR, &c[j], ldc, accumulate)
		}
		panel.free()
	default:
		for j := 0; j < n; j += tile.NR {
			tile.Run(m, min(tile.NR, n-j), k, &a[0], strip, row, col, &b[j], ldb, &c[j], ldc, accumulate)
		}
	}
	return true
}

// GemmBatched is Gemm for a batch of products of one shape: those of entry i begin at
// a[i·strideA], b[i·strideB] and c[i·strideC]. strideA or strideB may be 0: all entries
// share that matrix.
//
// Memory: the C of different entries do not overlap.
// Error: as Gemm.
// Bits: those of Gemm of each entry.
// Panics: as Gemm, if the batch or a stride is negative, or if C of two entries overlap.
func GemmBatched[T Float](s *Set[T], transA, transB bool, batch, m, n, k int, a []T, lda, strideA int, b []T, ldb, strideB int, c []T, ldc, strideC int, accumulate bool) {
	const op = "gemm-batched"
	if batch < 0 || strideA < 0 || strideB < 0 {
		shapeCheck(false, op, "batch of %d, stride %d of A, %d of B", batch, strideA, strideB)
	}
	switch batch {
	case 0:
		return
	case 1:
		if smallGemm(s, op, transA, transB, m, n, k, a, lda, b, ldb, c, ldc, accumulate) {
			return
		}
	}
	if batch > 1 && m > 0 && n > 0 && strideC < (m-1)*ldc+n {
		shapeCheck(false, op, "stride %d of C is less than the %d elements of an entry", strideC, (m-1)*ldc+n)
	}
	// Of the last entry all must be there; what is before it then is.
	last := func(x []T, stride int) []T {
		if stride > 0 && batch-1 > len(x)/stride { // their product may be more than an int holds
			return nil
		}
		return x[(batch-1)*stride:]
	}
	g := newGemm(s, op, transA, m, n, k, len(last(a, strideA)), lda, last(c, strideC), ldc)
	g.setB(op, transB, len(last(b, strideB)), ldb)
	g.a, g.b, g.c = a, b, c
	g.batch, g.strideA, g.strideB, g.strideC = batch, strideA, strideB, strideC
	g.accumulate = accumulate
	g.run()
}

// GemmFused sets C = e(op(A)·op(B)), e applied to each block of C while it is in
// cache.
//
// Error: as Gemm.
// Each step of the epilogue adds its own, see Epilogue.
// Panics: as Gemm, and if an operand of the epilogue is short.
func GemmFused[T Float](s *Set[T], transA, transB bool, m, n, k int, a []T, lda int, b []T, ldb int, c []T, ldc int, e *Epilogue[T]) {
	e.check("gemm-fused", m, n)
	g := newGemm(s, "gemm-fused", transA, m, n, k, len(a), lda, c, ldc)
	g.setB("gemm-fused", transB, len(b), ldb)
	g.a, g.b, g.epilogue = a, b, e
	g.run()
}

// GemmPacked sets C = e(op(A)·B), or C = op(A)·B where e is nil, for B packed
// before, at the level s.
//
// Error: as GemmFused. Bits: as Gemm, but not those of Gemm where that would read B
// in place.
// Panics: as GemmFused, and if B was packed for another tile.
func GemmPacked[T Float](s *Set[T], transA bool, m int, a []T, lda int, b *PackedB[T], c []T, ldc int, e *Epilogue[T]) {
	if b == nil || b.nr != s.Tile.NR {
		shapeCheck(false, "gemm-packed", "B is not packed in panels of %d columns", s.Tile.NR)
	}
	e.check("gemm-packed", m, b.n)
	g := newGemm(s, "gemm-packed", transA, m, b.n, b.k, len(a), lda, c, ldc)
	g.a, g.packed, g.epilogue = a, b.mem, e
	g.run()
}

// PackedB is op(B) of a product as the micro-kernel reads it, for weights that
// take part in many products. It is valid until the weights change: then Pack
// packs them again, into the same memory.
type PackedB[T Float] struct {
	k, n, nr int
	mem      []T
}

// Pack packs op(B) for the level s.
//
// Shapes: op(B) [k, n], ldb the row stride of B as stored. Memory: ⌈n/NR⌉·NR·k
// elements. Panics: as Gemm.
func (p *PackedB[T]) Pack(s *Set[T], transB bool, k, n int, b []T, ldb int) {
	g := newGemm(s, "pack-b", false, 0, n, k, 0, k, nil, n)
	g.m = 1 // B is read, whatever rows come
	g.setB("pack-b", transB, len(b), ldb)
	g.b = b
	p.pack(g)
}

// pack takes B over from g, which it frees.
func (p *PackedB[T]) pack(g *gemm[T]) {
	nr := g.s.Tile.NR
	if size := roundUp(g.n, nr) * g.k; cap(p.mem) < size {
		p.mem = aligned[T](size)
	} else {
		p.mem = p.mem[:size]
	}
	p.k, p.n, p.nr = g.k, g.n, nr
	g.packed = p.mem
	Parallel((g.n+nr-1)/nr*((g.k+gemmKC-1)/gemmKC), g.packTask)
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

// gemm is a call under way.
type gemm[T Float] struct {
	s              *Set[T]
	tile           *Tile[T] // of s, or that for pairs of BF16, which then are what a, b and k count
	pairs          bool
	transA, transB bool
	m, n, k        int
	a, b, c        []T
	lda, ldb, ldc  int
	accumulate     bool
	epilogue       *Epilogue[T]
	// wideA and wideB read an operand that is not stored as T, in place of a and b: they
	// set dst to the elements that are stored from at on.
	wideA, wideB func(dst []T, at int)
	// narrowDots is Set.Dots for B as it is stored, from its row j on, with the limits of
	// Set.DotsBF16; nil where there is none.
	narrowDots func(m, n int, a *T, lda, j int, c *T, ldc int)

	batch                     int // products, and from one to the next:
	strideA, strideB, strideC int

	plan gemmPlan
	from int // the entry of task 0
	// strips holds rows ic…ic+h of op(A), strip by strip, each [k, MR]; nil where A is
	// read in place.
	strips []T
	ic, h  int
	// packed is a PackedB's memory: op(B) panel by panel, each [k, NR].
	packed   []T
	partials []T // of the parts of k, each [m, n]

	packTask, stripTask, mulTask, sumTask func(t int) // method values, made once: a closure would be a heap allocation
	pool                                  *sync.Pool
}

// gemms are finished calls, to be used again, apart for each element type.
var gemms32, gemms64 sync.Pool

// newGemm checks the sizes of a product, of A, which has so many elements, and of C.
func newGemm[T Float](s *Set[T], op string, transA bool, m, n, k, sizeA, lda int, c []T, ldc int) *gemm[T] {
	checkProduct(op, transA, m, n, k, sizeA, lda, len(c), ldc)
	pool := &gemms32
	if unsafe.Sizeof(T(0)) == 8 {
		pool = &gemms64
	}
	g, ok := pool.Get().(*gemm[T])
	if !ok {
		g = &gemm[T]{pool: pool}
		g.packTask, g.stripTask, g.mulTask, g.sumTask = g.packPiece, g.packStrips, g.block, g.sum
	}
	g.s, g.tile, g.pairs, g.transA, g.m, g.n, g.k, g.lda, g.c, g.ldc = s, &s.Tile, false, transA, m, n, k, lda, c, ldc
	g.batch, g.from, g.strideA, g.strideB, g.strideC = 1, 0, 0, 0, 0
	return g
}

// setB checks the size of B, of which there are so many elements.
func (g *gemm[T]) setB(op string, transB bool, sizeB, ldb int) {
	if g.m > 0 {
		checkB(op, transB, g.n, g.k, sizeB, ldb)
	}
	g.transB, g.ldb = transB, ldb
}

// checkProduct panics unless the sizes are none below 0 and A and C have them.
func checkProduct(op string, transA bool, m, n, k, sizeA, lda, sizeC, ldc int) {
	if m < 0 || n < 0 || k < 0 {
		shapeCheck(false, op, "negative size m=%d n=%d k=%d", m, n, k)
	}
	if m == 0 || n == 0 { // then nothing is read
		return
	}
	rows, cols := m, k
	if transA {
		rows, cols = k, m
	}
	checkMatrix(op, "A", rows, cols, lda, sizeA)
	checkMatrix(op, "C", m, n, ldc, sizeC)
}

// checkB panics unless B has the sizes of op(B) [k, n].
func checkB(op string, transB bool, n, k, sizeB, ldb int) {
	rows, cols := k, n
	if transB {
		rows, cols = n, k
	}
	checkMatrix(op, "B", rows, cols, ldb, sizeB)
}

// free keeps no operand alive.
func (g *gemm[T]) free() {
	g.a, g.b, g.c, g.strips, g.packed, g.partials, g.epilogue, g.accumulate = nil, nil, nil, nil, nil, nil, nil, false
	g.wideA, g.wideB, g.narrowDots = nil, nil, nil
	g.pool.Put(g)
}

// run multiplies the entries of the batch: all at once, or one after the other where
// scratch holds something of each.
func (g *gemm[T]) run() {
	defer g.free()
	if g.m == 0 || g.n == 0 {
		return
	}
	if g.k == 0 {
		for e := range g.batch {
			c := g.c[e*g.strideC:]
			for i := range g.m {
				if !g.accumulate {
					clear(c[i*g.ldc : i*g.ldc+g.n])
				}
				g.epilogue.apply(g.s, c[i*g.ldc:], g.ldc, i, i+1, 0, g.n)
			}
		}
		return
	}
	if g.n == 1 && g.m > 1 && g.packed == nil && !g.pairs {
		g.column()
		return
	}
	g.plan = planGemm(g.tile, gemmShape{g.transA, g.transB, g.packed != nil, g.wideA != nil, g.wideB != nil, g.pairs, g.batch, g.m, g.n, g.k, g.lda, g.ldb, runtime.GOMAXPROCS(0)})
	p := &g.plan
	if p.parts == 1 && !p.packA {
		g.ic, g.h = 0, g.m
		Parallel(g.batch*g.blocks(), g.mulTask)
		return
	}
	if p.parts > 1 {
		sums := scratch[T](p.parts * g.m * g.n)
		defer sums.free()
		g.partials = sums.mem
	}
	if p.packA {
		a := scratch[T](p.rows * g.k)
		defer a.free()
		g.strips = a.mem
	}
	for g.from = range g.batch {
		g.product()
	}
}

// column is run for C of one column: its transpose is a row, and rows have kernels of
// their own.
func (g *gemm[T]) column() {
	column, row := scratch[T](g.k), scratch[T](g.m)
	defer column.free()
	defer row.free()
	step := g.ldb
	if g.transB {
		step = 1
	}
	for e := range g.batch {
		vector(column.mem, g.b, g.wideB, e*g.strideB, step)
		r := newGemm(g.s, "gemm", false, 1, g.m, g.k, g.k, g.k, row.mem, g.m)
		r.transB, r.ldb, r.a, r.wideB = !g.transA, g.lda, column.mem, g.wideA
		if g.wideA == nil {
			r.b = g.a[e*g.strideA:]
		}
		r.run()
		c := g.c[e*g.strideC:]
		for i, x := range row.mem {
			if g.accumulate {
				x += c[i*g.ldc]
			}
			c[i*g.ldc] = x
		}
		g.epilogue.apply(g.s, c, g.ldc, 0, g.m, 0, 1)
	}
}

// vector sets dst[i] to the element at + i·step of x, or of what wide reads.
func vector[T Float](dst, x []T, wide func(dst []T, at int), at, step int) {
	switch {
	case wide != nil && step == 1:
		wide(dst, at)
	case wide != nil:
		widenRows(dst, wide, at, step, len(dst), 1)
	case step == 1:
		copy(dst, x[at:])
	default:
		for i := range dst {
			dst[i] = x[at+i*step]
		}
	}
}

// product multiplies the blocks of C of one entry, all workers together, and before
// that packs A where it has to be: as many rows as scratch may hold.
func (g *gemm[T]) product() {
	p := &g.plan
	for g.ic = 0; g.ic < g.m; g.ic += p.rows {
		g.h = min(p.rows, g.m-g.ic)
		if p.packA {
			per := g.stripRows()
			Parallel((g.h+per-1)/per, g.stripTask)
		}
		Parallel(g.blocks(), g.mulTask)
	}
	if p.parts > 1 {
		Parallel((g.m+p.mc-1)/p.mc, g.sumTask)
	}
}

// blocks counts the tasks of the rows at hand of one entry.
func (g *gemm[T]) blocks() int {
	p := &g.plan
	return (g.h + p.mc - 1) / p.mc * ((g.n + p.nc - 1) / p.nc) * p.parts
}

// packRowsPerTask is about how many rows of A a task packs.
const packRowsPerTask = 56

// stripRows are the rows of A that a task packs: whole strips.
func (g *gemm[T]) stripRows() int { return wholeTiles(packRowsPerTask, g.tile.MR) }

// packStrips packs some of the rows ic…ic+h of op(A).
func (g *gemm[T]) packStrips(t int) {
	mr, per := g.tile.MR, g.stripRows()
	lo, hi, deep := t*per, min((t+1)*per, g.h), gemmKC
	if g.transA {
		deep = 8 // its rows are read whole, while these many are in L1
	}
	for p := 0; p < g.k; p += deep {
		d := min(deep, g.k-p)
		for r := lo; r < hi; r += mr {
			stopPoint()
			i, w, dst := g.ic+r, min(mr, hi-r), g.strips[r*g.k+p*mr:][:mr*d]
			at := i*g.lda + p
			if g.transA {
				at = p*g.lda + i
			}
			if g.wideA == nil {
				g.packAs(g.transA, dst, g.a[g.from*g.strideA+at:], g.lda, d, w, mr)
			} else {
				g.packWide(g.transA, dst, g.wideA, at, g.lda, d, w, mr)
			}
		}
	}
}

// packAs packs a micro-panel of a matrix whose rows are those of the panel, or else
// its columns.
func (g *gemm[T]) packAs(rows bool, dst, src []T, ld, d, w, width int) {
	if rows {
		g.s.PackRows(dst, src, ld, d, w, width)
	} else {
		g.s.PackCols(dst, src, ld, d, w, width)
	}
}

// packWide is packAs for a matrix that wide reads, from its element at on.
func (g *gemm[T]) packWide(rows bool, dst []T, wide func(dst []T, at int), at, ld, d, w, width int) {
	if rows && w == width {
		widenRows(dst, wide, at, ld, d, w)
		return
	}
	high, cols := w, d
	if rows {
		high, cols = d, w
	}
	x := scratch[T](high * cols)
	defer x.free()
	widenRows(x.mem, wide, at, ld, high, cols)
	g.packAs(rows, dst, x.mem, cols, d, w, width)
}

// widenRows sets dst to so many rows, side by side, of a matrix that wide reads, from
// its element at on.
func widenRows[T Float](dst []T, wide func(dst []T, at int), at, ld, rows, cols int) {
	for i := range rows {
		wide(dst[i*cols:][:cols], at+i*ld)
	}
}

// packPiece packs one panel of op(B) over one piece of k, for a PackedB.
func (g *gemm[T]) packPiece(t int) {
	nr := g.tile.NR
	panels := (g.n + nr - 1) / nr
	j, p := t%panels*nr, t/panels*gemmKC // neighbouring panels share cache lines and pages of B
	d := min(gemmKC, g.k-p)
	g.packPanel(g.packed[j*g.k+p*nr:][:d*nr], g.b, p, d, j)
}

// packPanel packs rows p…p+d of the panel of op(b) that begins with column j.
func (g *gemm[T]) packPanel(dst, b []T, p, d, j int) {
	nr := g.tile.NR
	w, at := min(nr, g.n-j), p*g.ldb+j
	if g.transB {
		at = j*g.ldb + p
	}
	if g.wideB == nil {
		g.packAs(!g.transB, dst, b[at:], g.ldb, d, w, nr)
	} else {
		g.packWide(!g.transB, dst, g.wideB, at, g.ldb, d, w, nr)
	}
}

// block multiplies one block of rows of A with a block of columns of B, over one
// part of k.
func (g *gemm[T]) block(t int) {
	p := &g.plan
	blocks := g.blocks()
	entry, t := g.from+t/blocks, t%blocks
	high := (g.h + p.mc - 1) / p.mc
	part := t % p.parts
	i, j := g.ic+t/p.parts%high*p.mc, t/p.parts/high*p.nc
	h, w := min(p.mc, g.ic+g.h-i), min(p.nc, g.n-j)
	c, ldc := g.c[entry*g.strideC+i*g.ldc+j:], g.ldc
	var a, b []T // what is read in place
	if g.wideA == nil {
		a = g.a[entry*g.strideA:]
	}
	if g.packed == nil && g.wideB == nil {
		b = g.b[entry*g.strideB:]
	}
	switch {
	case p.path == byOuter:
		g.outer(a, b, c, i, h, j, w)
	case p.path != byTiles:
		g.thin(a, b, c, j, w)
	case p.parts > 1:
		from, to := part*g.k/p.parts/gemmKC*gemmKC, (part+1)*g.k/p.parts/gemmKC*gemmKC
		if part == p.parts-1 {
			to = g.k
		}
		g.tiles(a, b, i, h, j, w, from, to, g.partials[(part*g.m+i)*g.n+j:], g.n, false)
		return // sum goes on
	default:
		g.tiles(a, b, i, h, j, w, 0, g.k, c, ldc, g.accumulate)
	}
	g.epilogue.apply(g.s, c, ldc, i, i+h, j, j+w)
}

// tiles sets (or adds to) the block c of rows i…i+h of op(a) and columns j…j+w of
// op(b), the sums over terms from…to: panel by panel of b, each with all the rows.
func (g *gemm[T]) tiles(a, b []T, i, h, j, w, from, to int, c []T, ldc int, accumulate bool) {
	tile := g.tile
	mr, nr := tile.MR, tile.NR
	var panel, next []T // of B, and the one after it where that is packed aside
	if g.plan.packB {
		size := nr * min(gemmKC, to-from)
		buffer := scratch[T](2 * size)
		defer buffer.free()
		panel, next = buffer.mem[:size], buffer.mem[size:]
	}
	aside := false // next is packed
	for p := from; p < to; p += gemmKC {
		d := min(gemmKC, to-p)
		var x *T
		strip, row, col := mr*g.lda, g.lda, 1
		switch {
		case g.strips != nil:
			x, strip, row, col = &g.strips[(i-g.ic)*g.k+p*mr], mr*g.k, 1, mr
		case g.transA:
			x, strip, row, col = &a[p*g.lda+i], mr, 1, g.lda
		default:
			x = &a[i*g.lda+p]
		}
		for q := j; q < j+w; q += nr {
			stopPoint()
			n, h, x, c, add := min(nr, j+w-q), h, x, c[q-j:], accumulate || p > from
			var y *T
			ldb := nr
			switch {
			case g.packed != nil:
				y = &g.packed[q*g.k+p*nr]
			case panel == nil || !g.transB && g.wideB == nil && (h <= mr || n < nr):
				y, ldb = &b[p*g.ldb+q], g.ldb
			case !g.transB && n == nr && tile.RunPack != nil && g.wideB == nil:
				y = &panel[0]
				tile.RunPack(d, x, row, col, &b[p*g.ldb+q], g.ldb, &c[0], ldc, add, y)
				h, x, c = h-mr, offset(x, strip), c[mr*ldc:]
			case aside:
				panel, next = next, panel
				y = &panel[0]
			default:
				g.packPanel(panel[:d*nr], b, p, d, q)
				y = &panel[0]
			}
			if aside = g.transB && panel != nil && g.wideB == nil && tile.RunAside != nil && d%4 == 0 && h >= 4*mr && n == nr; aside {
				np, nq := p, q+nr // what comes next, and is d deep too
				if nq >= j+w {
					np, nq = p+gemmKC, j
				}
				aside = np+d <= to && nq+nr <= g.n
				for part := 0; aside && part < 4; part++ {
					at := part * nr / 4
					tile.RunAside(d, x, row, col, y, &c[0], ldc, add, &b[(nq+at)*g.ldb+np], g.ldb, &next[at])
					h, x = h-mr, offset(x, strip)
					c = c[min(len(c), mr*ldc):]
				}
			}
			if h > 0 {
				tile.Run(h, n, d, x, strip, row, col, y, ldb, &c[0], ldc, add)
			}
		}
	}
}

// outer sets (or adds to) rows i…i+h and columns j…j+w of the product of a column and a
// row, one row after the other: C is all the traffic, and so it goes to memory in order.
func (g *gemm[T]) outer(a, b, c []T, i, h, j, w int) {
	x := scratch[T](h + w)
	defer x.free()
	column, row := x.mem[:h], x.mem[h:]
	at, step := i*g.lda, g.lda
	if g.transA {
		at, step = i, 1
	}
	vector(column, a, g.wideA, at, step)
	at, step = j, 1
	if g.transB {
		at, step = j*g.ldb, g.ldb
	}
	vector(row, b, g.wideB, at, step)
	for i, alpha := range column {
		stopPoint()
		y := c[i*g.ldc:][:w]
		if g.accumulate {
			g.s.Axpy(y, row, alpha)
		} else {
			g.s.Scale(y, row, alpha)
		}
	}
}

// thin multiplies all rows of a, of which there are few, with w columns of b in
// place.
func (g *gemm[T]) thin(a, b, c []T, j, w int) {
	lda := g.lda
	if g.wideA != nil {
		x := scratch[T](g.m * g.k)
		defer x.free()
		a, lda = x.mem, g.k
		high, cols := g.m, g.k
		if g.transA {
			lda, high, cols = g.m, g.k, g.m
		}
		widenRows(a, g.wideA, 0, g.lda, high, cols)
	}
	if g.plan.path == byDots {
		const columns = 16
		var x *buffer[T]
		if g.wideB != nil {
			x = scratch[T](columns * g.k)
			defer x.free()
		}
		q := 0
		if g.narrowDots != nil && g.k%8 == 0 {
			for four := w &^ 3; q < four; q += min(columns, four-q) {
				stopPoint()
				g.narrowDots(g.m, min(columns, four-q), &a[0], lda, j+q, &c[q], g.ldc)
			}
		}
		for ; q < w; q += columns {
			stopPoint()
			n := min(columns, w-q)
			var y *T
			ldb := g.ldb
			if x == nil {
				y = &b[(j+q)*ldb]
			} else {
				widenRows(x.mem, g.wideB, (j+q)*ldb, ldb, n, g.k)
				y, ldb = &x.mem[0], g.k
			}
			g.s.Dots(g.m, n, g.k, &a[0], lda, y, ldb, &c[q], g.ldc, g.accumulate)
		}
		return
	}
	row := scratch[T](w + g.k)
	defer row.free()
	sum, x := row.mem[:w], row.mem[w:]
	for i := range g.m {
		y := c[i*g.ldc:][:w]
		if g.transA {
			for p := range x {
				x[p] = a[p*lda+i]
			}
		} else {
			x = a[i*lda:][:g.k]
		}
		clear(sum)
		if g.wideB == nil {
			gemv(g.s, sum, x, b[j:], g.ldb)
		} else {
			g.gemvWide(sum, x, j)
		}
		if g.accumulate {
			g.s.Add(y, y, sum)
		} else {
			copy(y, sum)
		}
	}
}

// gemvWide adds a·B to the sums of columns j… of a B that wideB reads, eight rows at a
// time.
func (g *gemm[T]) gemvWide(sum, a []T, j int) {
	const rows = 8
	wide := scratch[T](rows * len(sum))
	defer wide.free()
	for p := 0; p < len(a); p += rows {
		h := min(rows, len(a)-p)
		widenRows(wide.mem, g.wideB, p*g.ldb+j, g.ldb, h, len(sum))
		gemv(g.s, sum, a[p:p+h], wide.mem, len(sum))
	}
}

// gemv is Set.Gemv in pieces: few enough columns that y stays in L1, and few enough
// elements of b to bound the call, but rows by the dozen, for at the beginning of each
// piece the caches have yet to learn where it lies.
func gemv[T Float](s *Set[T], y, a, b []T, ldb int) {
	const columns, elements = 4096, 1 << 17
	for j := 0; j < len(y); j += columns {
		to := y[j:min(j+columns, len(y))]
		rows := wholeTiles(elements/len(to), 8)
		for p := 0; p < len(a); p += rows {
			stopPoint()
			s.Gemv(to, a[p:min(p+rows, len(a))], b[p*ldb+j:], ldb)
		}
	}
}

// sum adds the parts of k of one block of rows in a fixed binary tree.
func (g *gemm[T]) sum(t int) {
	c, lo, hi := g.c[g.from*g.strideC:], t*g.plan.mc, min((t+1)*g.plan.mc, g.m)
	part := func(q int) []T { return g.partials[(q*g.m+lo)*g.n : (q*g.m+hi)*g.n] }
	for step := 1; step < g.plan.parts; step *= 2 {
		for q := 0; q+step < g.plan.parts; q += 2 * step {
			eachChunk(len(part(q)), func(lo, hi int) { g.s.Add(part(q)[lo:hi], part(q)[lo:hi], part(q + step)[lo:hi]) })
		}
	}
	for i := lo; i < hi; i++ {
		row, from := c[i*g.ldc:i*g.ldc+g.n], part(0)[(i-lo)*g.n:(i-lo+1)*g.n]
		if g.accumulate {
			g.s.Add(row, row, from)
		} else {
			copy(row, from)
		}
	}
	g.epilogue.apply(g.s, c[lo*g.ldc:], g.ldc, lo, hi, 0, g.n)
}

// multiplyPanels sets (or accumulates into) the m×n block c from strips of A, packed
// step rows apart, and packed panels of B, bStep elements apart.
func multiplyPanels[T Float](t *Tile[T], m, n, k int, a []T, step int, b []T, bStep int, c []T, ldc int, accumulate bool) {
	for j := 0; j < n; j += t.NR {
		stopPoint()
		t.Run(m, min(t.NR, n-j), k, &a[0], t.MR*step, 1, t.MR, &b[j/t.NR*bStep], t.NR, &c[j], ldc, accumulate)
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
	return &buffer[T]{mem: aligned[T](1 << class)[:n], pool: p}
}

// aligned returns n elements that start on a cache line.
func aligned[T Float](n int) []T {
	const line = 64
	size := int(unsafe.Sizeof(T(0)))
	mem := make([]T, n+line/size)
	AdviseHuge(mem)
	skip := -int(uintptr(unsafe.Pointer(&mem[0]))) & (line - 1) / size
	return mem[skip : skip+n : skip+n]
}

// free gives it back; nil is none.
func (b *buffer[T]) free() {
	if b != nil {
		b.pool.Put(b)
	}
}

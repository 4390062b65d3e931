package kernels

import "github.com/klauspost/cpuid/v2"

// gemmKC is how many terms of a sum are added up in registers: a panel of B, NR of
// these, and a strip of A, MR, share L1. It is a constant, because the bits depend
// on it.
const gemmKC = 256

// gemmPlan is how a product is cut up: a function of the level, the shape and the
// size of the caches. Of these the caches reach only the blocks of C, which no bit
// of it depends on.
type gemmPlan struct {
	path         gemmPath
	packA, packB bool // copied into micro-panels first, or read in place
	columns      int  // of B that are packed at a time
	mc, nc       int  // the block of C of a task
	parts        int  // of k, summed up apart
}

// gemmPath is which kernel multiplies, and how.
type gemmPath uint8

const (
	byTiles gemmPath = iota // Tile
	byDots                  // Dots: few rows of A with Bᵀ as it lies, at the speed at which B is read
	byRows                  // Axpy: one row of A with the rows of B as they lie
)

// The sizes that tasks are made for: enough of them that a worker which comes late
// costs little, and each long enough that its hand-out does.
const (
	gemmTasks    = 16
	gemmTaskFLOP = 1 << 20
	// thinTaskElements is the least part of B that a task takes where B is read once.
	thinTaskElements = 1 << 15
	thinTaskColumns  = 384 // a call for each row of B should be longer than its hand-out
	// dotsRows and axpyRows are the most rows of A that are not worth packing B for.
	dotsRows, axpyRows = 16, 1
	// gemmPart is the least length of a part of k.
	gemmPart = 1024
	// gemmRows is the most rows of a block: with gemmKC columns, 172 KB of L2.
	gemmRows = 168 // a multiple of 6, 8, 12 and 14
)

// packElements bounds the scratch memory for packed columns of B.
var packElements = 1 << 23

func planGemm[T Float](s *Set[T], transA, transB, packed bool, m, n, k int) gemmPlan {
	mr, nr := s.Tile.MR, s.Tile.NR
	p := gemmPlan{parts: 1}
	switch {
	case packed:
	case transB && !transA && m <= dotsRows:
		p.path = byDots
	case !transB && m <= axpyRows:
		p.path = byRows
	}
	if p.path != byTiles {
		p.mc, p.columns = m, n
		least := 1 + thinTaskElements/k
		if p.path == byRows {
			least = max(least, thinTaskColumns)
		}
		p.nc = roundUp(min(n, max((n+gemmTasks-1)/gemmTasks, least)), 4)
		return p
	}
	p.packB = packed || transB || m > 2*mr
	p.columns = roundUp(min(n, max(nr, packElements/k)), nr)
	p.mc, p.nc = min(roundUp(m, mr), wholeTiles(gemmRows, mr)), min(roundUp(n, nr), wholeTiles(blockColumns, nr))
	tasks := func() int { return ((m + p.mc - 1) / p.mc) * ((min(n, p.columns) + p.nc - 1) / p.nc) }
	// Rows are cut before columns: each block of columns packs A anew.
	long := func() bool { return 2*p.mc*p.nc*min(k, 1<<20) >= 2*gemmTaskFLOP }
	for tasks() < gemmTasks && p.mc > 4*mr && long() {
		p.mc = roundUp(p.mc/2, mr)
	}
	for tasks() < gemmTasks && p.nc > 4*nr && long() {
		p.nc = roundUp(p.nc/2, nr)
	}
	p.mc, p.nc = even(m, p.mc, mr), even(min(n, p.columns), p.nc, nr)
	// The bits depend on the parts: they are counted from the least blocks, which no
	// cache reaches.
	if t := (m + 4*mr - 1) / (4 * mr) * ((n + 4*nr - 1) / (4 * nr)); t < gemmTasks/2 {
		for p.parts < 8 && p.parts*t < gemmTasks && k/(2*p.parts) >= gemmPart {
			p.parts *= 2
		}
	}
	p.packA = !s.Tile.InPlace || p.nc > 2*nr
	return p
}

// even makes the blocks of a side of n, at most size each, alike.
func even(n, size, unit int) int {
	blocks := (n + size - 1) / size
	return roundUp((n+blocks-1)/blocks, unit)
}

// blockColumns are the columns of C of a task: with gemmRows rows of it, half of
// L2.
var blockColumns = columnsFor(cpuid.CPU.Cache.L2)

func columnsFor(l2 int) int {
	if l2 <= 0 {
		l2 = 512 << 10
	}
	return max(l2/2/4/gemmRows, 128)
}

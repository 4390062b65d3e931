package kernels

import "unsafe"

// gemmKC is how many terms of a sum are added up in registers: the panel of B, NR
// of these, stays in L2 and mostly in L1. It is a constant, because the bits depend
// on it.
const gemmKC = 256

// gemmPlan is how a product is cut up: a function of the level, the shape, the
// strides and the Tuning. Of the last two the bits of C are free.
type gemmPlan struct {
	path   gemmPath
	packA  bool // into strips first, by all workers, so many rows at a time:
	rows   int
	packB  bool // by each task, a panel over gemmKC terms at a time; or read in place
	mc, nc int  // the block of C of a task
	parts  int  // of k, summed up apart
}

// gemmPath is which kernel multiplies, and how.
type gemmPath uint8

const (
	byTiles gemmPath = iota // Tile
	byDots                  // Dots: few rows of A with Bᵀ as it lies, at the speed at which B is read
	byRows                  // Axpy: one row of A with the rows of B as they lie
)

// What no Tuning reaches: the bits depend on it, but for thinTaskColumns.
const (
	thinTaskColumns = 384 // a call for each row of B should be longer than its hand-out
	// dotsRows and axpyRows are the most rows of A that are not worth packing B for.
	dotsRows, axpyRows = 16, 1
	// gemmPart is the least length of a part of k, and gemmPartTasks how many tasks the
	// parts are to make.
	gemmPart, gemmPartTasks = 1024, 16
)

// packElements bounds the scratch memory for packed rows of A.
var packElements = 1 << 23

// gemmShape is what the plan of a product depends on.
type gemmShape struct {
	transA, transB bool
	packed         bool // B, before
	wideA, wideB   bool // stored as another type than the sums have
	batch, m, n, k int
	lda, ldb       int
}

func planGemm[T Float](s *Set[T], g gemmShape) gemmPlan {
	mr, nr, m, n, k := s.Tile.MR, s.Tile.NR, g.m, g.n, g.k
	p, tuned := gemmPlan{parts: 1, rows: m}, CurrentTuning()
	switch {
	case g.packed:
	case g.transB && !g.transA && m <= dotsRows:
		p.path = byDots
	case !g.transB && m <= axpyRows:
		p.path = byRows
	}
	if p.path != byTiles {
		p.mc = m
		least := 1 + tuned.ThinElements/k
		if p.path == byRows {
			least = max(least, thinTaskColumns)
		}
		p.nc = roundUp(min(n, max((n*g.batch+tuned.Tasks-1)/tuned.Tasks, least)), 4)
		return p
	}

	// Down the rows of a matrix, a large tile multiplies long enough between two lines of
	// cache that it does not wait for them, wherever they lie; a small one does, where
	// half of them meet in a set.
	size := int(unsafe.Sizeof(T(0)))
	crowds := func(ld int) bool { return mr*nr < 256 && crowd(16, ld*size) >= 8 }
	switch {
	case !s.Tile.InPlace || g.wideA:
		p.packA = true
	case g.transA:
		p.packA = n > nr && crowds(g.lda)
	default:
		p.packA = n > nr && crowd(mr, g.lda*size) > 8 // of the rows of a strip, side by side
	}
	p.packB = !g.packed && (g.transB || g.wideB || m > mr)
	if p.packA {
		p.rows = min(roundUp(m, mr), wholeTiles(max(packElements/k, mr), mr))
	}

	// Columns are cut before rows: each block of rows reads, or packs, B anew.
	enough := (min(tuned.Tasks, 2*g.batch*m*n*k/tuned.TaskFLOP) + g.batch - 1) / g.batch
	tasks := func(beside, most int) int { return min((enough+beside-1)/beside, most) }
	high := (m + tuned.BlockRows - 1) / tuned.BlockRows
	wide := max(1, tasks(high, (n+nr-1)/nr))
	high = max(high, tasks(wide, (m+4*mr-1)/(4*mr)))
	p.mc, p.nc = roundUp((m+high-1)/high, mr), roundUp((n+wide-1)/wide, nr)

	// The bits depend on the parts: they are counted from the least blocks, which no
	// Tuning reaches.
	if t := (m + 4*mr - 1) / (4 * mr) * ((n + 4*nr - 1) / (4 * nr)); t < gemmPartTasks/2 {
		for p.parts < 8 && p.parts*t < gemmPartTasks && k/(2*p.parts) >= gemmPart {
			p.parts *= 2
		}
	}
	return p
}

// crowd is how many of n lines of cache, stride bytes apart, share a set of a L1
// whose ways are 4 KB, as they are where L1 is indexed by what a page leaves alone.
func crowd(n, stride int) int {
	const line, sets = 64, 64
	var in [sets]int
	most := 0
	for i := range n {
		set := i * stride / line % sets
		in[set]++
		most = max(most, in[set])
	}
	return most
}

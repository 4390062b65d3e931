package kernels

import "unsafe"

// gemmKC is how many terms of a sum are added up in registers: the panel of B, NR
// of these, stays in L2 and mostly in L1. It is a constant, because the bits depend
// on it.
const gemmKC = 256

// gemmPlan is how a product is cut up: a function of the level, the shape, the
// strides, the Tuning and the number of workers. The bits of C follow from path and
// parts alone, and these from the level and the shape: a block is always the whole sum
// of its elements, so that its borders are free.
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
	byRows                  // Gemv: one row of A with the rows of B as they lie
	byOuter                 // Scale or Axpy: a column of A with a row of B
)

// gemmPathOf returns the path of a product whose B was not packed before.
func gemmPathOf(transA, transB bool, m, n, k int) gemmPath {
	switch {
	case k == 1 && n >= outerColumns:
		return byOuter
	case transB && !transA && m <= dotsRows:
		return byDots
	case !transB && m <= gemvRows:
		return byRows
	}
	return byTiles
}

// isSmall reports whether a product goes without a plan: by one worker, A in place, and
// B too or a panel at a time.
func isSmall[T Float](s *Set[T], transA, transB bool, m, n, k int) bool {
	const most = 1 << 17 // multiplications; some 3 µs
	if uint(m-1) >= most || uint(n-1) >= most || uint(k-1) >= gemmKC || m*n > most/k || n == 1 || !s.Tile.InPlace {
		return false
	}
	path := gemmPathOf(transA, transB, m, n, k)
	return path == byTiles || path == byDots
}

// What no Tuning reaches: the bits depend on it, but for the columns.
const (
	thinTaskColumns = 1024 // each row of B should go on for longer than the caches take to see it
	thinTaskMost    = 4096 // their sums stay in L1
	// outerElements of C are worth a task, where it is only written.
	outerElements = 1 << 15
	// dotsRows and gemvRows are the most rows of A that are not worth packing B for.
	dotsRows, gemvRows = 16, 1
	outerColumns       = 32 // the fewest columns that are worth a call for each row
	// A sum is cut into parts of at least gemmPart terms where C has few elements, up to
	// gemmParts blocks in all.
	gemmPart, gemmParts = 1024, 16
)

// packElements bounds the scratch memory for packed rows of A.
var packElements = 1 << 23

// gemmShape is what the plan of a product depends on.
type gemmShape struct {
	transA, transB bool
	packed         bool // B, before
	wideA, wideB   bool // stored as another type than the sums have
	pairs          bool // of BF16 are what k counts; only Tile takes them
	batch, m, n, k int
	lda, ldb       int
	workers        int
}

func planGemm[T Float](tile *Tile[T], g gemmShape) gemmPlan {
	mr, nr, m, n, k := tile.MR, tile.NR, g.m, g.n, g.k
	p, tuned := gemmPlan{parts: 1, rows: m}, CurrentTuning()
	if !g.packed && !g.pairs {
		p.path = gemmPathOf(g.transA, g.transB, m, n, k)
	}
	most := 1 // tasks that are worth while: each reads A anew
	if g.workers > 1 {
		most = tuned.Tasks * g.workers
	}
	if p.path == byOuter {
		high := max(1, min(most, g.batch*m*n/outerElements)/g.batch)
		p.mc, p.nc = (m+high-1)/high, min(n, outerElements)
		return p
	}
	if p.path != byTiles {
		p.mc = m
		least := 1 + tuned.ThinElements/k
		if p.path == byRows {
			least = max(least, thinTaskColumns)
		}
		p.nc = roundUp(min(n, thinTaskMost, max((n*g.batch+most-1)/most, least)), 4)
		return p
	}

	// A large tile multiplies long enough between two lines of cache that it waits for
	// none of them, unless more rows of A share a set of L1 than it has ways. A small one
	// waits down the rows of a matrix where half of the lines meet in a set, and anywhere
	// for an A that is not in L2, which packing pays for from so many columns on.
	size := int(unsafe.Sizeof(T(0)))
	switch {
	case !tile.InPlace || g.wideA:
		p.packA = true
	case mr*nr < 256 && n >= 2*gemmKC && m*k > tuned.BlockRows*gemmKC:
		p.packA = true
	case g.transA:
		p.packA = mr*nr < 256 && n > nr && crowd(16, g.lda*size) >= 8
	default:
		p.packA = n > nr && crowd(mr, g.lda*size) > 8
	}
	p.packB = !g.packed && (g.transB || g.wideB || m > mr)
	if p.packA {
		p.rows = min(roundUp(m, mr), wholeTiles(max(packElements/k, mr), mr))
	}

	// Columns are cut before rows: each block of rows reads, or packs, B anew.
	enough := (min(most, 2*g.batch*m*n*k/tuned.TaskFLOP) + g.batch - 1) / g.batch
	tasks := func(beside, most int) int { return min((enough+beside-1)/beside, most) }
	high := (m + tuned.BlockRows - 1) / tuned.BlockRows
	wide := max(1, tasks(high, (n+nr-1)/nr))
	high = max(high, tasks(wide, (m+8*mr-1)/(8*mr)))
	p.mc, p.nc = roundUp((m+high-1)/high, mr), roundUp((n+wide-1)/wide, nr)

	// The bits depend on the parts: they are counted from the least blocks, which no
	// Tuning reaches.
	if t := (m + 4*mr - 1) / (4 * mr) * ((n + 4*nr - 1) / (4 * nr)); t < gemmParts/2 {
		for p.parts < 8 && p.parts*t < gemmParts && k/(2*p.parts) >= gemmPart {
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

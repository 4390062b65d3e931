package kernels

import (
	"fmt"
	"runtime"
	"strings"
)

// Call is a call of an op, as far as its plan depends on it.
type Call struct {
	// Op is "gemm", "attention", "attention_grad", "rows" for a function over rows of
	// a matrix, or "elementwise".
	Op string
	// M, N, K are the sizes of a product; TransA and TransB as in Gemm, Packed for
	// GemmPacked; the rows of the operands lie side by side. Rows are M×N, vectors are N
	// long.
	M, N, K                int
	TransA, TransB, Packed bool
	// Attention is the shape of an attention.
	Attention *AttentionShape
}

// Explain tells which kernel, tile, packing and split a call takes at a level, and
// why, a fact a line. It asks the plan that the call itself follows.
//
// Errors: an unknown op, or sizes below 1.
func Explain[T Float](s *Set[T], c Call) (string, error) {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	why := "the strongest that this CPU has, or the one that was asked for"
	if s.Missing != "" {
		why = "cannot run here: the CPU lacks " + s.Missing
	}
	say("level: %s (%s)", s.Name, why)
	switch c.Op {
	case "gemm":
		if c.M < 1 || c.N < 1 || c.K < 1 {
			return "", fmt.Errorf("kernels: explain gemm: bad size m=%d n=%d k=%d", c.M, c.N, c.K)
		}
		lda, ldb := c.K, c.N
		if c.TransA {
			lda = c.M
		}
		if c.TransB {
			ldb = c.K
		}
		if c.N == 1 && c.M > 1 && !c.Packed {
			say("C is one column: its transpose is computed, a row, Bᵀ·Aᵀ")
			c.M, c.N, c.TransA, c.TransB, lda, ldb = 1, c.M, false, !c.TransA, c.K, lda
		} else if !c.Packed && isSmall(s, c.TransA, c.TransB, c.M, c.N, c.K) {
			if gemmPathOf(c.TransA, c.TransB, c.M, c.N, c.K) == byDots {
				say("kernel: Dots, in one call")
			} else {
				say("kernel: Tile, %d×%d", s.Tile.MR, s.Tile.NR)
				say("A: read in place")
				if c.TransB {
					say("B: packed a panel at a time")
				} else {
					say("B: read in place")
				}
			}
			say("tasks: none, the product is smaller than the hand-out of work")
			break
		}
		planGemm(&s.Tile, gemmShape{transA: c.TransA, transB: c.TransB, packed: c.Packed, batch: 1, m: c.M, n: c.N, k: c.K, lda: lda, ldb: ldb, workers: runtime.GOMAXPROCS(0)}).explain(say, s.Tile.MR, s.Tile.NR, s.Tile.RunPack != nil, s.Tile.RunAside != nil, c)
	case "attention", "attention_grad":
		if c.Attention == nil || c.Attention.B < 1 || c.Attention.H < 1 || c.Attention.Tq < 1 || c.Attention.Tk < 1 || c.Attention.Dh < 1 {
			return "", fmt.Errorf("kernels: explain %s: no shape, or one that is empty", c.Op)
		}
		a := c.Attention
		if a.Tq <= attentionFew {
			say("kernel: Dots, ExpSub and Gemv, row by row: %d queries are not worth packing keys for", a.Tq)
			say("tasks: %d, a head of a batch entry each", a.B*a.H)
			break
		}
		say("kernel: Tile, %d×%d; scores exist in blocks of at most %d keys, never as a whole", s.Tile.MR, s.Tile.NR, attentionKeys)
		if c.Op == "attention" {
			block, part, parts := attentionParts(s, a)
			say("tasks: %d, %d of each of %d heads, of up to %d queries, in blocks of %d", a.B*a.H*parts, parts, a.B*a.H, part, block)
		} else {
			say("tasks: %d, a head of a batch entry each, in blocks of %d queries", a.B*a.H, wholeTiles(attentionGradQueries, s.Tile.MR))
		}
	case "rows":
		if c.M < 1 || c.N < 1 {
			return "", fmt.Errorf("kernels: explain rows: bad size %d×%d", c.M, c.N)
		}
		per := rowsPerTask(c.N)
		say("kernel: one call for each row")
		say("tasks: %d of %d rows, about %d elements", (c.M+per-1)/per, per, chunk)
	case "elementwise":
		if c.N < 1 {
			return "", fmt.Errorf("kernels: explain elementwise: bad length %d", c.N)
		}
		say("tasks: %d of %d elements", (c.N+chunk-1)/chunk, min(c.N, chunk))
	default:
		return "", fmt.Errorf("kernels: explain: unknown op %q; there are gemm, attention, attention_grad, rows, elementwise", c.Op)
	}
	return b.String(), nil
}

func (p gemmPlan) explain(say func(format string, args ...any), mr, nr int, onTheWay, aside bool, c Call) {
	switch p.path {
	case byDots:
		say("kernel: Dots: %d rows of A (at most %d) read both operands as they lie, at the speed at which B is read", c.M, dotsRows)
	case byOuter:
		say("kernel: Scale or Axpy: each row of C is the row of B by an element of A, in the order of memory")
	case byRows:
		say("kernel: Gemv: one row of A adds up the rows of B as they lie, at the speed at which B is read")
	default:
		say("kernel: Tile, %d×%d, sums in registers over %d terms at a time", mr, nr, min(gemmKC, c.K))
	}
	if p.path == byTiles {
		switch {
		case c.Packed:
			say("B: packed before")
		case p.packB && !c.TransB && onTheWay:
			say("B: read in place by the first strip of A, which packs each panel on the way; a narrow panel stays in place")
		case p.packB && c.TransB && aside && p.mc >= 4*mr && c.M >= 4*mr:
			say("B: each task packs a panel at a time, over %d terms, and while it multiplies it the next one", min(gemmKC, c.K))
		case p.packB:
			say("B: each task packs a panel at a time, over %d terms, and multiplies it", min(gemmKC, c.K))
		default:
			say("B: read in place")
		}
		if p.packA {
			say("A: packed first, by all workers, %d rows at a time", min(p.rows, c.M))
		} else {
			say("A: read in place")
		}
	}
	say("tasks: %d×%d blocks of C, of up to %d×%d", (min(p.rows, c.M)+p.mc-1)/p.mc, (c.N+p.nc-1)/p.nc, min(p.mc, c.M), min(p.nc, c.N))
	if p.parts > 1 {
		say("sums: in %d parts, because C has few elements, added up in a fixed tree", p.parts)
	}
}

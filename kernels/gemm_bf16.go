package kernels

import "unsafe"

// GemmBF16 is GemmMixed of two matrices of BF16 in the arithmetic that the CPU has for
// them: pairs of products, at twice the rate of float32. Where it has none, and for few
// rows, which memory bounds, it is GemmMixed.
//
// Shapes and memory: as Gemm.
// Error: ≤ (k+⌈k/512⌉+2)·u·Σ|a·b| + 1.2e-38·(k+Σ|a|+Σ|b|) per element, and ⌈k/512⌉·u·|C| more if
// accumulate: denormals may be taken for zeros.
// Values: as in Set. Bits: the same for any GOMAXPROCS; they follow from the level, whether
// it has TileBF16, and the shape.
// Panics: as Gemm.
// Cost: 2·m·n·k FLOP; what does not lie in pairs along k is put so first, (m+n)·k elements
// at most.
// Source: of how VDPBF16PS rounds, the Intel 64 and IA-32 Architectures Software Developer's
// Manual, volume 2; of BFDOT, the Arm Architecture Reference Manual, DDI 0487, BFDotAdd and
// BFRound. Products of two BF16 are exact. VDPBF16PS adds them to the sum one by one, to nearest;
// BFDOT adds the two of a pair, then that to the sum, both times rounding to odd, by less than
// 2·u. Of q ≤ 256 pairs, the first of which meets a sum of 0, it rounds a product q times at
// most, VDPBF16PS 2·q−1 times by half as much: the product is off by (1+2·u)^q−1 < (2·q+0.01)·u,
// and 2·q ≤ k+1. Sums of 256 pairs are added up to nearest, ⌈k/512⌉ times at most. Both take
// denormals for zeros, operands and results: a product with one loses less than 2⁻¹²⁶ times the
// other operand; of the two products of a pair, their sum and the new sum two at most are lost,
// since what follows a loss adds nothing to round, 2⁻¹²⁶ each.
func GemmBF16(s *Set[float32], transA, transB bool, m, n, k int, a []BF16, lda int, b []BF16, ldb int, c []float32, ldc int, accumulate bool) {
	const op = "gemm-bf16"
	checkProduct(op, transA, m, n, k, len(a), lda, len(c), ldc)
	if m > 0 {
		checkB(op, transB, n, k, len(b), ldb)
	}
	if s.TileBF16.Run == nil || min(m, n, k) < 1 || gemmPathOf(transA, transB, m, n, k) != byTiles {
		GemmMixed(s, transA, transB, m, n, k, a, lda, b, ldb, c, ldc, accumulate)
		return
	}
	x, y := pairUp(s, !transA, m, k, a, lda), pairUp(s, transB, n, k, b, ldb)
	g := newGemm(s, op, transA, m, n, (k+1)/2, len(x.mem), x.ld, c, ldc)
	g.tile, g.pairs = &s.TileBF16, true
	g.setB(op, transB, len(y.mem), y.ld)
	g.a, g.b = x.mem, y.mem
	g.accumulate = accumulate
	g.run()
	x.free()
	y.free()
}

// paired is a matrix of pairs of BF16, each in the place of a float32.
type paired struct {
	mem    []float32
	ld     int
	buffer *buffer[float32] // nil: the operand as it lies
}

func (p paired) free() {
	if p.buffer != nil {
		p.buffer.free()
	}
}

// pairUp puts the elements 2p and 2p+1 of each of n vectors of length k side by side; of
// an odd k the last one is followed by 0. The vectors are the rows of x, or its columns.
// Even rows are in pairs already.
func pairUp(s *Set[float32], rows bool, n, k int, x []BF16, ld int) paired {
	pairs := (k + 1) / 2
	if rows && k%2 == 0 && (ld%2 == 0 || n == 1) && uintptr(unsafe.Pointer(&x[0]))%4 == 0 {
		ld = max(ld/2, pairs)
		return paired{unsafe.Slice((*float32)(unsafe.Pointer(&x[0])), (n-1)*ld+pairs), ld, nil}
	}
	b := scratch[float32](n * pairs)
	p := paired{b.mem, pairs, b}
	if rows {
		RowsOf(n, k, pairRows{b.mem, x, ld, k})
		return p
	}
	p.ld = n
	var zeros []BF16
	if k%2 != 0 {
		zeros = make([]BF16, n)
	}
	RowsOf(pairs, 2*n, pairColumns{s, b.mem, x, zeros, ld, n, k})
	return p
}

// pairRows is the Work of pairUp on rows of k elements.
type pairRows struct {
	y     []float32
	x     []BF16
	ld, k int
}

func (c *pairRows) Run(lo, hi int) {
	pairs := (c.k + 1) / 2
	for i := lo; i < hi; i++ {
		y := c.y[i*pairs:][:pairs]
		y[pairs-1] = 0
		copy(unsafe.Slice((*BF16)(unsafe.Pointer(&y[0])), 2*pairs), c.x[i*c.ld:][:c.k])
	}
}

// pairColumns is that on n columns of k elements, two rows at a time.
type pairColumns struct {
	s        *Set[float32]
	y        []float32
	x, zeros []BF16
	ld, n, k int
}

func (c *pairColumns) Run(lo, hi int) {
	for i := lo; i < hi; i++ {
		odd := c.zeros
		if 2*i+1 < c.k {
			odd = c.x[(2*i+1)*c.ld:]
		}
		c.s.ZipBF16(c.y[i*c.n:][:c.n], c.x[2*i*c.ld:], odd)
	}
}

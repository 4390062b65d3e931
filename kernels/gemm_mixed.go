package kernels

// Storage is an element type that matrices may be stored in; sums are float32.
type Storage interface{ float32 | BF16 | F16 }

// GemmMixed is Gemm for operands of 32 or 16 bits, which are widened where they are
// packed, a block in cache at a time.
//
// Shapes and memory: as Gemm.
// Error: as Gemm.
// Bits: those of Gemm of the operands as float32, which hold them exactly.
// Panics: as Gemm.
func GemmMixed[A, B Storage](s *Set[float32], transA, transB bool, m, n, k int, a []A, lda int, b []B, ldb int, c []float32, ldc int, accumulate bool) {
	g := newGemm(s, "gemm-mixed", transA, m, n, k, len(a), lda, c, ldc)
	g.setB("gemm-mixed", transB, len(b), ldb)
	g.a, g.wideA = widening(s, a)
	g.b, g.wideB = widening(s, b)
	g.narrowDots = dotting(s, k, b, ldb, accumulate)
	g.accumulate = accumulate
	g.run()
}

// PackMixed is PackedB.Pack for op(B) of 32 or 16 bits.
//
// Error: exact.
func PackMixed[B Storage](p *PackedB[float32], s *Set[float32], transB bool, k, n int, b []B, ldb int) {
	g := newGemm(s, "pack-b", false, 0, n, k, 0, k, nil, n)
	g.m = 1 // B is read, whatever rows come
	g.setB("pack-b", transB, len(b), ldb)
	g.b, g.wideB = widening(s, b)
	p.pack(g)
}

// widening returns x as it is, or how to read it.
func widening[E Storage](s *Set[float32], x []E) ([]float32, func(dst []float32, at int)) {
	switch x := any(x).(type) {
	case []BF16:
		return nil, func(dst []float32, at int) { s.FromBF16(dst, x[at:]) }
	case []F16:
		return nil, func(dst []float32, at int) { s.FromF16(dst, x[at:]) }
	}
	return any(x).([]float32), nil
}

// dotting returns gemm.narrowDots for b of 16 bits.
func dotting[E Storage](s *Set[float32], k int, b []E, ldb int, accumulate bool) func(m, n int, a *float32, lda, j int, c *float32, ldc int) {
	switch b := any(b).(type) {
	case []BF16:
		if s.DotsBF16 != nil {
			return func(m, n int, a *float32, lda, j int, c *float32, ldc int) {
				s.DotsBF16(m, n, k, a, lda, &b[j*ldb], ldb, c, ldc, accumulate)
			}
		}
	case []F16:
		if s.DotsF16 != nil {
			return func(m, n int, a *float32, lda, j int, c *float32, ldc int) {
				s.DotsF16(m, n, k, a, lda, &b[j*ldb], ldb, c, ldc, accumulate)
			}
		}
	}
	return nil
}

// Package kernels holds the numeric kernels: their contract (Set), the
// reference implementation that defines each of them, the portable blocking
// and threading above the assembly, and the choice of an instruction set.
//
// Two floors:
//
//   - A Set is a struct of leaf kernels for one instruction-set level: single
//     threaded, on contiguous slices. The reference Set is plain Go and generic
//     over float32 and float64; kernels/amd64 and kernels/arm64 hold assembly
//     with the same signatures at float32. A level starts as a copy of the one
//     below it and overrides what it improves (dispatch_*.go).
//   - Functions of this package (Gemm, RMSNorm, Attention, …) take a *Set, cut
//     the work by shape alone, and run the pieces on a persistent worker pool.
//     Since neither the pieces nor the order of their reduction depend on the
//     number of workers, the bits of every result are the same for any
//     GOMAXPROCS. Only the blocks of a product follow the workers, the caches and
//     the Tuning, for each element of it is one task's whole sum, or the sum of
//     parts that follow the shape: its bits do not know where blocks end, and a
//     single worker is up to a fifth faster with one block than with sixteen.
//
// Kernels know slices, pointers and integers, never tensors. The leaf kernels
// check nothing: the layer above has checked every length.
package kernels

import (
	"sync"
	"unsafe"
)

// Float is an element type that kernels compute in.
type Float interface{ float32 | float64 }

// Tile is the GEMM micro-kernel: it multiplies m rows of A by a micro-panel of B,
// n ≤ NR columns wide, and keeps a block of C, MR×NR at most, in registers.
//
// Run computes, for i < m and j < n,
//
//	C[i·ldc+j] = Σ_{p<k} A[i,p]·b[p·ldb+j]  (+ C[i·ldc+j] if accumulate)
//	A[i,p] = a[⌊i/MR⌋·strip + (i mod MR)·row + p·col]
//
// Shapes: m, n, k ≥ 1, n ≤ NR. A lies in strips of MR rows: packed [k, MR] with
// strip = MR·k, row = 1, col = MR; row-major in place with strip = MR·lda, row =
// lda, col = 1; transposed in place with strip = MR, row = 1, col = lda. b is a
// packed panel, ldb = NR, or columns of a row-major matrix.
// Memory: reads exactly the m·k and k·n elements; writes exactly the m×n block and
// does not read it unless accumulate; c overlaps neither a nor b.
// Error: ≤ k·u·Σ|a||b| + 1.5e-45·k per element, u the unit round-off (and 1 ULP
// more if accumulate): one running sum in order of p, into which assembly fuses
// each product; C is added last.
// Cost: 2·m·n·k FLOP.
type Tile[T Float] struct {
	MR, NR int
	// InPlace tells that Run takes A as fast in place as packed, but for the caches.
	InPlace bool
	Run     func(m, n, k int, a *T, strip, row, col int, b *T, ldb int, c *T, ldc int, accumulate bool)
	// RunPack is Run for m = MR and n = NR, and packs the panel of B on the way:
	// panel[p·NR+j] = b[p·ldb+j]. It may be nil: PackRows and Run do the same.
	RunPack func(k int, a *T, row, col int, b *T, ldb int, c *T, ldc int, accumulate bool, panel *T)
	// RunAside is Run for m = MR, n = NR and a packed panel b, ldb = NR, and packs a
	// quarter of another panel from its transposed source in the shadow of the
	// multiplication: panel[p·NR+i] = src[i·ld+p] for p < k, i < NR/4. k is a multiple
	// of 4. It may be nil: PackCols and Run do the same.
	RunAside func(k int, a *T, row, col int, b, c *T, ldc int, accumulate bool, src *T, ld int, panel *T)
}

// Set is one instruction-set level: a kernel for each field. The comment of a
// field is the contract of every implementation, the reference included; Error
// lines bound the float32 kernels against the float64 result of the same
// inputs, in ULP of the result unless they say otherwise. The tests read their
// numbers there. An ULP is at least 2⁻¹⁴⁹, the least denormal; u is 2⁻²⁴.
//
// Common terms: vectors have the length of the first operand (y, or x where
// there is no y); other operands are at least as long and reads and writes stay
// within that length; y may be any of the inputs, exactly in place; partial
// overlap is undefined. No alignment is asked.
//
// Values: NaN, ±Inf, −0 and denormals are operands like any other: nothing is
// flushed to zero, and a result is NaN or ±Inf where the formula, in IEEE 754
// arithmetic, is, unless something finite overflows on the way or what an Inf is
// multiplied with is 0 within its error. The sign of a zero stays open.
type Set[T Float] struct {
	// Name is the level: "reference", "avx2", "avx512", "neon".
	Name string
	// Missing names the CPU features that this machine lacks; empty: usable.
	Missing string

	// Tile is the GEMM micro-kernel.
	Tile Tile[T]
	// TileBF16 is Tile for pairs of BF16: an element of a, b and panel holds two, of p the
	// lower half first, and C sums up both products of each pair. Its Run may be nil:
	// GemmMixed does the same. k ≤ 256 pairs. Error: ≤ (2·k+1)·u·Σ|a||b| + 1.2e-38·(2·k+Σ|a|+Σ|b|),
	// and 1 ULP more if accumulate: denormals may be taken for zeros; see GemmBF16.
	TileBF16 Tile[T]
	// FMALoop runs n passes of independent fused multiply-adds on registers, or
	// the nearest that the level has; FMALoopFLOP is the FLOP of a pass. Its rate
	// is the ceiling of every kernel of the level; see Peak.
	FMALoop     func(n int)
	FMALoopFLOP float64

	// PackRows sets dst[p·width+j] = src[p·ld+j] for p < k, j < w, and 0 for
	// w ≤ j < width: a micro-panel whose source rows are contiguous.
	PackRows func(dst, src []T, ld, k, w, width int)
	// PackCols sets dst[p·width+i] = src[i·ld+p] for p < k, i < w, and 0 for
	// w ≤ i < width: a micro-panel from the transposed source. k ≥ 1 in both.
	PackCols func(dst, src []T, ld, k, w, width int)

	// Dots sets C[i·ldc+j] = Σ_{p<k} a[i·lda+p]·b[j·ldb+p] (+ C[i·ldc+j] if
	// accumulate) for i < m, j < n: A·Bᵀ, both as they lie, for few rows of A.
	// m, n, k ≥ 1; memory as Tile.Run.
	// Error: ≤ (k/8+8)·u·Σ|a||b| + 1.5e-45·k, and 1 ULP more if accumulate.
	Dots func(m, n, k int, a *T, lda int, b *T, ldb int, c *T, ldc int, accumulate bool)
	// DotsBF16 is Dots of B widened, which it reads once as it lies; n is a multiple of 4
	// and k of 8. Of this and the next two: it may be nil, Dots of rows widened before
	// does the same. Error: as Dots. Bits: those of Dots.
	DotsBF16 func(m, n, k int, a *T, lda int, b *BF16, ldb int, c *T, ldc int, accumulate bool)
	// DotsF16 is Dots of B widened, as DotsBF16. Error: as Dots. Bits: those of Dots.
	DotsF16 func(m, n, k int, a *T, lda int, b *F16, ldb int, c *T, ldc int, accumulate bool)
	// DotsInt8 is Dots, as DotsBF16, of scale[j·ldScale+⌊p/group⌋]·b[j·ldb+p], rounded
	// as by FromInt8; group ≥ 8 is a multiple of 8. Error: as Dots. Bits: those of Dots.
	DotsInt8 func(m, n, k int, a *T, lda int, b *int8, ldb int, scale *T, ldScale, group int, c *T, ldc int, accumulate bool)

	// Add sets y = a + b. Error: correctly rounded.
	Add func(y, a, b []T)
	// Sub sets y = a − b. Error: correctly rounded.
	Sub func(y, a, b []T)
	// Mul sets y = a·b. Error: correctly rounded.
	Mul func(y, a, b []T)
	// Div sets y = a/b. Error: correctly rounded.
	Div func(y, a, b []T)
	// Scale sets y = alpha·x. Error: correctly rounded.
	Scale func(y, x []T, alpha T)
	// Axpy sets y += alpha·x. Error: correctly rounded (fused).
	Axpy func(y, x []T, alpha T)
	// Gemv sets y[j] += Σ_p a[p]·b[p·ldb+j], p over the length of a: one row of A times
	// B as it lies. Shapes: ldb ≥ len(y) ≥ 1. Memory: y overlaps neither a nor b.
	// Error: ≤ k·u·(|y| + Σ|a||b|) + 1.5e-45·k, k = len(a).
	// Bits: those of Axpy with each row of B in order of p.
	Gemv func(y, a, b []T, ldb int)

	// ZipBF16 sets y[i] to the pair lo[i] and hi[i] as TileBF16 takes it, hi in the upper
	// half. It is nil where that is.
	// Error: exact.
	ZipBF16 func(y []T, lo, hi []BF16)
	// FromBF16 sets y = x. Of this and the next three y and x lie apart: one is
	// wider than the other. Error: exact; a NaN is made quiet and keeps its sign and
	// its payload.
	FromBF16 func(y []T, x []BF16)
	// ToBF16 sets y = x. Error: correctly rounded, ties to even, also to ±Inf and to
	// denormals; a NaN is made quiet and keeps its sign and the upper bits of its
	// payload.
	ToBF16 func(y []BF16, x []T)
	// FromF16 sets y = x. Error: exact; a NaN is made quiet and keeps its sign and
	// its payload.
	FromF16 func(y []T, x []F16)
	// ToF16 sets y = x. Error: correctly rounded, ties to even, also to denormals,
	// and to ±Inf from 65520 on; a NaN is made quiet and keeps its sign and the upper
	// bits of its payload.
	ToF16 func(y []F16, x []T)
	// FromInt8 sets y = scale·x; they lie apart. Error: correctly rounded.
	FromInt8 func(y []T, x []int8, scale T)

	// Exp sets y = eˣ. Error: ≤ 1.7 ULP, also where it is denormal; +Inf above
	// overflow; NaN stays NaN.
	Exp func(y, x []T)
	// Log sets y = ln x. Error: ≤ 1.7 ULP; −Inf at 0, NaN below.
	Log func(y, x []T)
	// Sqrt sets y = √x. Error: correctly rounded.
	Sqrt func(y, x []T)
	// Tanh sets y = tanh x. Error: ≤ 1.7 ULP.
	Tanh func(y, x []T)
	// Erf sets y = erf x = 2/√π·∫₀ˣ e^−t² dt. Error: ≤ 1.2 ULP.
	Erf func(y, x []T)
	// Sigmoid sets y = σ(x) = 1/(1+e^−x). Error: ≤ 1.9 ULP, also where it is denormal.
	Sigmoid func(y, x []T)
	// SiLU sets y = x·σ(x), σ(x) = 1/(1+e^−x). Error: ≤ 4 ULP for x ≥ −87, an
	// absolute 1.1e-36 below. Source: Elfwing et al. 2017, arXiv:1702.03118.
	SiLU func(y, x []T)
	// SiLUGrad sets gx = gy·σ(x)·(1 + x·(1−σ(x))).
	// Error: ≤ 6 ULP of |gy|·max(1, |dy/dx|): the derivative has a zero.
	SiLUGrad func(gx, x, gy []T)
	// SwiGLU sets y = silu(g)·u. Error: ≤ 4.5 ULP + 1.5e-45·|u| for g ≥ −87,
	// 1 ULP + 1.1e-36·|u| below.
	// Source: Shazeer 2020, arXiv:2002.05202.
	SwiGLU func(y, g, u []T)
	// SwiGLUGrad sets gg = gy·u·silu′(g) and gu = gy·silu(g). gg may be g and
	// gu may be u or gy. Error: gg as SiLUGrad with gy·u for gy, gu as SwiGLU.
	SwiGLUGrad func(gg, gu, g, u, gy []T)
	// GELU sets y = ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
	// Error: ≤ 1.8e-7·|x| + 1.5e-45.
	// Source: Hendrycks & Gimpel 2016, arXiv:1606.08415 (the tanh form).
	GELU func(y, x []T)
	// GELUGrad sets gx = gy·dGELU/dx. Error: ≤ 2e-7·|gy|·(1+|x|) + 1.5e-45.
	// Values: at ±Inf, where the formula is NaN, it may be the limit instead.
	GELUGrad func(gx, x, gy []T)

	// Sum returns Σ x. Error: ≤ (n/16+8)·u·Σ|x|.
	Sum func(x []T) T
	// Dot returns Σ x·y. Error: ≤ (n/16+8)·u·Σ|x·y| + 1.5e-45·n.
	Dot func(x, y []T) T
	// Max returns the largest element, −Inf for none; NaN if there is one.
	// Error: exact.
	Max func(x []T) T
	// ExpSub sets y = e^(x−m) and returns Σ y. It is the inner loop of softmax:
	// x ≤ m is expected. Error: element ≤ 1.7 ULP + u·|x−m| relative, and 1.2e-38
	// where it is less than that; sum ≤ (n/16+8)·u·Σ y beside that of the elements.
	ExpSub func(y, x []T, m T) T

	// RMSNormRow sets y[j] = x[j]·w[j]·r and returns r = 1/√(mean x² + eps).
	// D ≥ 1; Σ x² must not overflow T, and so in LayerNormRow.
	// Error: of y and r ≤ 4 ULP + D/32·u relative, and of y 1.5e-45·(|w|+r) for
	// underflow.
	// Source: Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4.
	RMSNormRow func(y, x, w []T, eps T) (r T)
	// RMSNormGradRow is the VJP of RMSNormRow for one row: with x̂ = r·x and
	// c = mean_j gy·w·x̂,
	//
	//	gx[j] = r·(gy[j]·w[j] − x̂[j]·c)      gw[j] += gy[j]·x̂[j]
	//
	// gx may be gy.
	// Error: of gx ≤ (D/16+16)·u·r·(|gy·w| + |x̂|·mean|gy·w·x̂|), and
	// 1.2e-38·(1+r)·(1+|x̂|) for underflow, of gw ≤ 1 ULP of the sum and 1 of the addend.
	RMSNormGradRow func(gx, gw, x, w, gy []T, r T)
	// LayerNormRow sets y[j] = (x[j]−mean)·r·w[j] + b[j] and returns mean x and
	// r = 1/√(var x + eps), var the biased variance, taken in a second pass.
	// Error: with e = (D/16+16)·u, of y ≤ e·(|x−mean|·r·|w| + |b| + max|x|·r·|w|), of
	// mean ≤ e·max|x|, of r ≤ e·r·(1 + e·(r·max|x|)²).
	// Source: Ba et al. 2016, arXiv:1607.06450.
	LayerNormRow func(y, x, w, b []T, eps T) (mean, r T)
	// LayerNormGradRow is its VJP for one row: with x̂ = (x−mean)·r, h = gy·w,
	//
	//	gx = r·(h − mean h − x̂·mean(h·x̂))    gw += gy·x̂    gb += gy
	//
	// gx may be gy.
	// Error: of gx ≤ (D/16+16)·u·r·(|h| + mean|h| + |x̂|·mean|h·x̂|), and
	// 1.2e-38·(1+r)·(1+|x̂|) for underflow, of gw ≤ 1 ULP of the sum and 2 of the addend,
	// of gb correctly rounded.
	LayerNormGradRow func(gx, gw, gb, x, w, gy []T, mean, r T)

	// AdamW advances one stretch of parameters; see AdamWStep for the formula.
	// p, m, v are updated in place. g² must not overflow T, and Eps ≥ 1e-15.
	// Error: with a = Beta1·|m|+(1−Beta1)·|g|, m without cancellation, of p ≤ 0.51 ULP +
	// 4 ULP of Rate·a/(√v·RSqrtC2 + Eps), of m ≤ 2 ULP of a, of v ≤ 4 ULP.
	AdamW func(p, m, v, g []T, s *AdamWStep[T])

	// Streaming is the level with other kernels for results that the caches would not
	// keep: of those that set a vector without reading it, most store what is aligned
	// around the caches (non-temporal stores), which spares reading each line before it
	// is written. Bits: those of the level. Another core sees such stores in order
	// behind the next locked instruction, and every hand-over between goroutines has one
	// (Intel SDM, volume 3, "Buffering of Write Combining Memory Locations"). It is nil
	// where there are none. See Into.
	Streaming *Set[T]
}

// streamBytes is from where on a result is streamed: half of L3, for its operands
// have passed through the caches too.
var streamBytes = sync.OnceValue(func() int {
	_, l3 := CacheSizes()
	return l3 / 2
})

// Into returns the set for results of n elements each that are not read in making
// them: Streaming where they are too large for the caches to keep.
func (s *Set[T]) Into(n int) *Set[T] {
	if s.Streaming != nil && n*int(unsafe.Sizeof(T(0))) >= streamBytes() {
		return s.Streaming
	}
	return s
}

// AdamWStep holds the scalars of one decoupled AdamW step, computed once a step
// so that the kernel does no power and no schedule:
//
//	g ← Clip·g
//	m ← Beta1·m + (1−Beta1)·g
//	v ← Beta2·v + (1−Beta2)·g²
//	p ← Keep·p − Rate·m/(√v·RSqrtC2 + Eps)
//
// Keep = 1 − decay·η, η the schedule relative to its peak (fully decoupled);
// Rate = lr/(1−Beta1ᵗ); RSqrtC2 = 1/√(1−Beta2ᵗ); Clip = min(1, limit/‖g‖).
// Source: Loshchilov & Hutter 2017, arXiv:1711.05101.
type AdamWStep[T Float] struct {
	Clip, Beta1, Beta2, Keep, Rate, RSqrtC2, Eps T
}

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
//     GOMAXPROCS.
//
// Kernels know slices, pointers and integers, never tensors. The leaf kernels
// check nothing: the layer above has checked every length.
package kernels

// Float is an element type that kernels compute in.
type Float interface{ float32 | float64 }

// Tile is the GEMM micro-kernel: it multiplies one packed micro-panel of A by
// one of B and keeps the MR×NR block of C in registers.
//
// Run computes, for i < MR and j < NR,
//
//	C[i·ldc+j] = Σ_{p<k} a[p·MR+i]·b[p·NR+j]  (+ C[i·ldc+j] if accumulate)
//
// Shapes: a [k, MR], b [k, NR] packed, c MR rows of ldc elements.
// Memory: reads exactly k·MR and k·NR elements; writes exactly the MR×NR block
// and does not read it unless accumulate; k ≥ 1; c overlaps neither a nor b.
// Error: ≤ k·u·Σ|a||b| per element, u the unit round-off (and an ULP more if
// accumulate): one running sum in order of p, into which assembly fuses each
// product; C is added last.
// Cost: 2·MR·NR·k FLOP.
type Tile[T Float] struct {
	MR, NR int
	Run    func(k int, a, b, c *T, ldc int, accumulate bool)
}

// Set is one instruction-set level: a kernel for each field. The comment of a
// field is the contract of every implementation, the reference included; Error
// lines bound the float32 kernels against the float64 result of the same
// inputs, in ULP of the result unless they say otherwise.
//
// Common terms: vectors have the length of the first operand (y, or x where
// there is no y); other operands are at least as long and reads and writes stay
// within that length; y may be any of the inputs, exactly in place; partial
// overlap is undefined. No alignment is asked.
type Set[T Float] struct {
	// Name is the level: "reference", "avx2", "avx512", "neon".
	Name string
	// Missing names the CPU features that this machine lacks; empty: usable.
	Missing string

	// Tile is the GEMM micro-kernel.
	Tile Tile[T]
	// FMALoop runs n passes of independent fused multiply-adds on registers, or
	// the nearest that the level has; FMALoopFLOP is the FLOP of a pass. Its rate
	// is the ceiling of every kernel of the level; see Peak.
	FMALoop     func(n int)
	FMALoopFLOP float64

	// PackRows sets dst[p·width+j] = src[p·ld+j] for p < k, j < w, and 0 for
	// w ≤ j < width: a micro-panel whose source rows are contiguous.
	PackRows func(dst, src []T, ld, k, w, width int)
	// PackCols sets dst[p·width+i] = src[i·ld+p] for p < k, i < w, and 0 for
	// w ≤ i < width: a micro-panel from the transposed source.
	PackCols func(dst, src []T, ld, k, w, width int)

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

	// Exp sets y = eˣ. Error: ≤ 2 ULP; a result below the smallest normal
	// number may be 0; +Inf above overflow; NaN stays NaN.
	Exp func(y, x []T)
	// Log sets y = ln x. Error: ≤ 2 ULP; −Inf at 0, NaN below.
	Log func(y, x []T)
	// Sqrt sets y = √x. Error: correctly rounded.
	Sqrt func(y, x []T)
	// Tanh sets y = tanh x. Error: ≤ 2 ULP.
	Tanh func(y, x []T)
	// SiLU sets y = x·σ(x), σ(x) = 1/(1+e^−x). Error: ≤ 4 ULP for x ≥ −87, an
	// absolute 1.1e-36 below. Source: Elfwing et al. 2017, arXiv:1702.03118.
	SiLU func(y, x []T)
	// SiLUGrad sets gx = gy·σ(x)·(1 + x·(1−σ(x))).
	// Error: ≤ 8 ULP of |gy|·max(1, |dy/dx|): the derivative has a zero.
	SiLUGrad func(gx, x, gy []T)
	// SwiGLU sets y = silu(g)·u. Error: ≤ 5 ULP for g ≥ −87, where silu(g) is
	// normal.
	// Source: Shazeer 2020, arXiv:2002.05202.
	SwiGLU func(y, g, u []T)
	// SwiGLUGrad sets gg = gy·u·silu′(g) and gu = gy·silu(g). gg may be g and
	// gu may be u or gy. Error: as SiLUGrad and SwiGLU.
	SwiGLUGrad func(gg, gu, g, u, gy []T)
	// GELU sets y = ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
	// Error: |err| ≤ 1e-6·|x|.
	// Source: Hendrycks & Gimpel 2016, arXiv:1606.08415 (the tanh form).
	GELU func(y, x []T)
	// GELUGrad sets gx = gy·dGELU/dx. Error: |err| ≤ 2e-6·|gy|·(1+|x|).
	GELUGrad func(gx, x, gy []T)

	// Sum returns Σ x. Error: ≤ (n/16+8)·u·Σ|x|.
	Sum func(x []T) T
	// Dot returns Σ x·y. Error: ≤ (n/16+8)·u·Σ|x·y|.
	Dot func(x, y []T) T
	// Max returns the largest element, −Inf for none; NaN if there is one.
	Max func(x []T) T
	// ExpSub sets y = e^(x−m) and returns Σ y. It is the inner loop of softmax:
	// x ≤ m is expected. Error: element ≤ 2 ULP + u·|x−m| relative; sum as Sum.
	ExpSub func(y, x []T, m T) T

	// RMSNormRow sets y[j] = x[j]·w[j]·r and returns r = 1/√(mean x² + eps).
	// Error: ≤ 4 ULP + D/32·u relative. D ≥ 1; Σ x² must not overflow T, and so in
	// LayerNormRow.
	// Source: Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4.
	RMSNormRow func(y, x, w []T, eps T) (r T)
	// RMSNormGradRow is the VJP of RMSNormRow for one row: with x̂ = r·x and
	// c = mean_j gy·w·x̂,
	//
	//	gx[j] = r·(gy[j]·w[j] − x̂[j]·c)      gw[j] += gy[j]·x̂[j]
	//
	// gx may be gy. Error: ≤ (D/16+16)·u·r·(|gy·w| + |x̂|·mean|gy·w·x̂|).
	RMSNormGradRow func(gx, gw, x, w, gy []T, r T)
	// LayerNormRow sets y[j] = (x[j]−mean)·r·w[j] + b[j] and returns mean x and
	// r = 1/√(var x + eps), var the biased variance, taken in a second pass.
	// Error: ≤ (D/16+16)·u·(|x−mean|·r·|w| + |b| + max|x|·r·|w|).
	// Source: Ba et al. 2016, arXiv:1607.06450.
	LayerNormRow func(y, x, w, b []T, eps T) (mean, r T)
	// LayerNormGradRow is its VJP for one row: with x̂ = (x−mean)·r, h = gy·w,
	//
	//	gx = r·(h − mean h − x̂·mean(h·x̂))    gw += gy·x̂    gb += gy
	//
	// gx may be gy.
	LayerNormGradRow func(gx, gw, gb, x, w, gy []T, mean, r T)

	// AdamW advances one stretch of parameters; see AdamWStep for the formula.
	// p, m, v are updated in place. Error: ≤ 4 ULP of the update without the
	// cancellation in m, of Rate·(Beta1·|m|+(1−Beta1)·|g|)/(…).
	AdamW func(p, m, v, g []T, s *AdamWStep[T])
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

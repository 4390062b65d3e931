//go:build !purego

package kernels

import (
	"unsafe"

	"github.com/klauspost/cpuid/v2"

	"fuerte/kernels/arm64"
)

// bf16Features are asked beside ASIMD: ARMv8.6 has them, and some before. On a system
// that cpuid knows nothing of they are missing.
var bf16Features = []cpuid.FeatureID{cpuid.BF16}

// archSets lists the arm64 levels, weakest first. Each starts as a copy of the
// one before it, so a set names only the kernels it improves.
func archSets() []*Set[float32] {
	neon := Reference[float32]()
	neon.Name = "neon"
	// cpuid knows nothing of some systems, not even FP; there we trust that Go
	// runs on ARMv8-A, which has ASIMD.
	if cpuid.CPU.Has(cpuid.FP) && !cpuid.CPU.Has(cpuid.ASIMD) {
		neon.Missing = "ASIMD"
	}
	neon.Tile = Tile[float32]{MR: 8, NR: 12, InPlace: true, Run: tile8x12}
	if missing(bf16Features) == "" {
		neon.TileBF16 = Tile[float32]{MR: 8, NR: 12, InPlace: true, Run: tile8x12BF16}
		neon.ZipBF16 = zipBF16
	}
	neon.FMALoop, neon.FMALoopFLOP = arm64.FMAPeakNEON, 192
	neon.PackRows, neon.PackCols = arm64.PackRowsNEON, arm64.PackColsNEON

	neon.Add, neon.Sub, neon.Mul, neon.Div = arm64.AddNEON, arm64.SubNEON, arm64.MulNEON, arm64.DivNEON
	neon.Scale, neon.Axpy, neon.Gemv = arm64.ScaleNEON, arm64.AxpyNEON, arm64.GemvNEON
	neon.FromBF16, neon.ToBF16 = ofHalves[BF16](arm64.FromBF16NEON), toHalves[BF16](arm64.ToBF16NEON)
	neon.FromF16, neon.ToF16 = ofHalves[F16](arm64.FromF16NEON), toHalves[F16](arm64.ToF16NEON)
	neon.Sqrt, neon.Exp = arm64.SqrtNEON, arm64.ExpNEON
	neon.Log, neon.Tanh = arm64.LogNEON, arm64.TanhNEON
	neon.Erf, neon.Sigmoid = arm64.ErfNEON, arm64.SigmoidNEON
	neon.SiLU, neon.SiLUGrad = arm64.SiLUNEON, arm64.SiLUGradNEON
	neon.SwiGLU, neon.SwiGLUGrad = arm64.SwiGLUNEON, arm64.SwiGLUGradNEON
	neon.GELU, neon.GELUGrad = arm64.GELUNEON, arm64.GELUGradNEON

	neon.Sum, neon.Dot, neon.Max, neon.ExpSub = arm64.SumNEON, arm64.DotNEON, arm64.MaxNEON, arm64.ExpSubNEON
	neon.Dots = dots

	neon.RMSNormRow, neon.RMSNormGradRow = arm64.RMSNormRowNEON, arm64.RMSNormGradRowNEON
	neon.LayerNormRow, neon.LayerNormGradRow = arm64.LayerNormRowNEON, arm64.LayerNormGradRowNEON

	neon.AdamW = adamWNEON
	return []*Set[float32]{neon}
}

// tile8x12 takes whole panels by the kernel for A packed or transposed, or by that
// for rows that lie apart; of narrower ones eight or four columns, then the last
// three at most.
func tile8x12(m, n, k int, a *float32, strip, row, col int, b *float32, ldb int, c *float32, ldc int, accumulate bool) {
	done := 0
	switch {
	case n == 12 && row == 1:
		arm64.GemmTile8x12NEON(m, k, a, strip, col, b, ldb, c, ldc, accumulate)
		done = 12
	case n == 12:
		arm64.GemmTile8x12RowsNEON(m, k, a, strip, row, col, b, ldb, c, ldc, accumulate)
		done = 12
	case n >= 8:
		arm64.GemmTile8x8TailNEON(m, k, a, strip, row, col, b, ldb, c, ldc, accumulate)
		done = 8
	case n >= 4:
		arm64.GemmTile8x4TailNEON(m, k, a, strip, row, col, b, ldb, c, ldc, accumulate)
		done = 4
	}
	if done < n {
		arm64.GemmTile8x3TailNEON(m, n-done, k, a, strip, row, col, offset(b, done), ldb, offset(c, done), ldc, accumulate)
	}
}

// tile8x12BF16 is tile8x12 of pairs of BF16.
func tile8x12BF16(m, n, k int, a *float32, strip, row, col int, b *float32, ldb int, c *float32, ldc int, accumulate bool) {
	done := 0
	switch {
	case n == 12 && row == 1:
		arm64.GemmTile8x12BF16NEON(m, k, a, strip, col, b, ldb, c, ldc, accumulate)
		done = 12
	case n == 12:
		arm64.GemmTile8x12RowsBF16NEON(m, k, a, strip, row, col, b, ldb, c, ldc, accumulate)
		done = 12
	case n >= 8:
		arm64.GemmTile8x8TailBF16NEON(m, k, a, strip, row, col, b, ldb, c, ldc, accumulate)
		done = 8
	case n >= 4:
		arm64.GemmTile8x4TailBF16NEON(m, k, a, strip, row, col, b, ldb, c, ldc, accumulate)
		done = 4
	}
	if done < n {
		arm64.GemmTile8x3TailBF16NEON(m, n-done, k, a, strip, row, col, offset(b, done), ldb, offset(c, done), ldc, accumulate)
	}
}

func zipBF16(y []float32, lo, hi []BF16) {
	arm64.ZipBF16NEON(y, bits16(lo), bits16(hi))
}

// dots takes four columns at a time, then one.
func dots(m, n, k int, a *float32, lda int, b *float32, ldb int, c *float32, ldc int, accumulate bool) {
	j := 0
	for ; j+4 <= n; j += 4 {
		arm64.Dots4NEON(m, k, a, lda, offset(b, j*ldb), ldb, offset(c, j), ldc, accumulate)
	}
	for ; j < n; j++ {
		arm64.Dots1NEON(m, k, a, lda, offset(b, j*ldb), ldb, offset(c, j), ldc, accumulate)
	}
}

// adamWNEON hands the step over as seven floats: kernels/arm64 cannot know
// AdamWStep, which has just these fields, in this order.
func adamWNEON(p, m, v, g []float32, s *AdamWStep[float32]) {
	arm64.AdamWNEON(p, m, v, g, (*[7]float32)(unsafe.Pointer(s)))
}

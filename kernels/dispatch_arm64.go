//go:build !purego

package kernels

import (
	"unsafe"

	"github.com/klauspost/cpuid/v2"

	"fuerte/kernels/arm64"
)

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
	neon.Tile = Tile[float32]{MR: 8, NR: 12, Run: arm64.GemmTile8x12NEON}
	neon.FMALoop, neon.FMALoopFLOP = arm64.FMAPeakNEON, 192
	neon.PackRows, neon.PackCols = arm64.PackRowsNEON, arm64.PackColsNEON

	neon.Add, neon.Sub, neon.Mul, neon.Div = arm64.AddNEON, arm64.SubNEON, arm64.MulNEON, arm64.DivNEON
	neon.Scale, neon.Axpy = arm64.ScaleNEON, arm64.AxpyNEON
	neon.Sqrt, neon.Exp = arm64.SqrtNEON, arm64.ExpNEON
	neon.Log, neon.Tanh = arm64.LogNEON, arm64.TanhNEON
	neon.SiLU, neon.SiLUGrad = arm64.SiLUNEON, arm64.SiLUGradNEON
	neon.SwiGLU, neon.SwiGLUGrad = arm64.SwiGLUNEON, arm64.SwiGLUGradNEON
	neon.GELU, neon.GELUGrad = arm64.GELUNEON, arm64.GELUGradNEON

	neon.Sum, neon.Dot, neon.Max, neon.ExpSub = arm64.SumNEON, arm64.DotNEON, arm64.MaxNEON, arm64.ExpSubNEON

	neon.RMSNormRow, neon.RMSNormGradRow = arm64.RMSNormRowNEON, arm64.RMSNormGradRowNEON
	neon.LayerNormRow, neon.LayerNormGradRow = arm64.LayerNormRowNEON, arm64.LayerNormGradRowNEON

	neon.AdamW = adamWNEON
	return []*Set[float32]{neon}
}

// adamWNEON hands the step over as seven floats: kernels/arm64 cannot know
// AdamWStep, which has just these fields, in this order.
func adamWNEON(p, m, v, g []float32, s *AdamWStep[float32]) {
	arm64.AdamWNEON(p, m, v, g, (*[7]float32)(unsafe.Pointer(s)))
}

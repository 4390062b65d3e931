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
	neon.Tile = Tile[float32]{MR: 8, NR: 12, Run: tile8x12}
	neon.FMALoop, neon.FMALoopFLOP = arm64.FMAPeakNEON, 192
	neon.PackRows, neon.PackCols = arm64.PackRowsNEON, arm64.PackColsNEON

	neon.Add, neon.Sub, neon.Mul, neon.Div = arm64.AddNEON, arm64.SubNEON, arm64.MulNEON, arm64.DivNEON
	neon.Scale, neon.Axpy = arm64.ScaleNEON, arm64.AxpyNEON
	neon.FromBF16, neon.ToBF16 = ofHalves[BF16](arm64.FromBF16NEON), toHalves[BF16](arm64.ToBF16NEON)
	neon.FromF16, neon.ToF16 = ofHalves[F16](arm64.FromF16NEON), toHalves[F16](arm64.ToF16NEON)
	neon.Sqrt, neon.Exp = arm64.SqrtNEON, arm64.ExpNEON
	neon.Log, neon.Tanh = arm64.LogNEON, arm64.TanhNEON
	neon.SiLU, neon.SiLUGrad = arm64.SiLUNEON, arm64.SiLUGradNEON
	neon.SwiGLU, neon.SwiGLUGrad = arm64.SwiGLUNEON, arm64.SwiGLUGradNEON
	neon.GELU, neon.GELUGrad = arm64.GELUNEON, arm64.GELUGradNEON

	neon.Sum, neon.Dot, neon.Max, neon.ExpSub = arm64.SumNEON, arm64.DotNEON, arm64.MaxNEON, arm64.ExpSubNEON
	neon.Dots = dotsBy(arm64.DotNEON)

	neon.RMSNormRow, neon.RMSNormGradRow = arm64.RMSNormRowNEON, arm64.RMSNormGradRowNEON
	neon.LayerNormRow, neon.LayerNormGradRow = arm64.LayerNormRowNEON, arm64.LayerNormGradRowNEON

	neon.AdamW = adamWNEON
	return []*Set[float32]{neon}
}

// tile8x12 runs the kernel, which knows whole packed tiles only, strip by strip.
// Panels that are not packed, and tiles that hang over an edge, go through
// scratch.
func tile8x12(m, n, k int, a *float32, strip, row, col int, b *float32, ldb int, c *float32, ldc int, accumulate bool) {
	const mr, nr = 8, 12
	var panel, rows *buffer[float32]
	if n < nr || ldb != nr {
		panel = scratch[float32](k * nr)
		defer panel.free()
		refPackRows(panel.mem, unsafe.Slice(b, (k-1)*ldb+n), ldb, k, n, nr)
		b = &panel.mem[0]
	}
	for i := 0; i < m; i += mr {
		h, from := min(mr, m-i), offset(a, i/mr*strip)
		if h < mr || row != 1 || col != mr {
			if rows == nil {
				rows = scratch[float32](k * mr)
				defer rows.free()
			}
			x := unsafe.Slice(from, (h-1)*row+(k-1)*col+1)
			for p := range k {
				for r := range mr {
					rows.mem[p*mr+r] = 0
					if r < h {
						rows.mem[p*mr+r] = x[r*row+p*col]
					}
				}
			}
			from = &rows.mem[0]
		}
		if h == mr && n == nr {
			arm64.GemmTile8x12NEON(k, from, b, offset(c, i*ldc), ldc, accumulate)
			continue
		}
		var tile [mr * nr]float32
		arm64.GemmTile8x12NEON(k, from, b, &tile[0], nr, false)
		for r := range h {
			for j, v := range tile[r*nr : r*nr+n] {
				if dst := offset(c, (i+r)*ldc+j); accumulate {
					*dst += v
				} else {
					*dst = v
				}
			}
		}
	}
}

// adamWNEON hands the step over as seven floats: kernels/arm64 cannot know
// AdamWStep, which has just these fields, in this order.
func adamWNEON(p, m, v, g []float32, s *AdamWStep[float32]) {
	arm64.AdamWNEON(p, m, v, g, (*[7]float32)(unsafe.Pointer(s)))
}

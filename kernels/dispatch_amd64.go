//go:build !purego

package kernels

import (
	"unsafe"

	"github.com/klauspost/cpuid/v2"

	"fuerte/kernels/amd64"
)

// What each level asks of the CPU and, through XGETBV, of the operating system.
// gen checks the generated instructions against these lists.
var (
	avx2Features   = []cpuid.FeatureID{cpuid.AVX, cpuid.AVX2, cpuid.FMA3, cpuid.F16C}
	bf16Features   = []cpuid.FeatureID{cpuid.AVX512BF16} // beside those of avx512, not on all of its CPUs
	avx512Features = []cpuid.FeatureID{cpuid.AVX, cpuid.AVX2, cpuid.FMA3, cpuid.F16C, cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL, cpuid.AVX512CD}
)

// archSets lists the amd64 levels, weakest first.
func archSets() []*Set[float32] {
	avx2 := Reference[float32]()
	avx2.Name, avx2.Missing = "avx2", missing(avx2Features)
	avx2.Tile = Tile[float32]{MR: 6, NR: 16, InPlace: true,
		Run: byWidth(8, amd64.GemmTile6x16AVX2, amd64.GemmTile6x8TailAVX2, amd64.GemmTile6x16TailAVX2), RunPack: amd64.GemmTile6x16PackAVX2}
	avx2.FMALoop, avx2.FMALoopFLOP = amd64.FMAPeakAVX2, 192
	avx2.PackRows, avx2.PackCols = packRows, packCols
	avx2.Dots = dots
	avx2.DotsBF16 = dotsHalves[BF16](amd64.Dots4BF16AVX2)
	avx2.DotsF16 = dotsHalves[F16](amd64.Dots4F16AVX2)
	avx2.DotsInt8 = dotsInt8
	avx2.Add = amd64.AddAVX2
	avx2.Sub = amd64.SubAVX2
	avx2.Mul = amd64.MulAVX2
	avx2.Div = amd64.DivAVX2
	avx2.Scale = amd64.ScaleAVX2
	avx2.Axpy = amd64.AxpyAVX2
	avx2.Gemv = amd64.GemvAVX2
	avx2.FromBF16 = ofHalves[BF16](amd64.FromBF16AVX2)
	avx2.ToBF16 = toHalves[BF16](amd64.ToBF16AVX2)
	avx2.FromF16 = ofHalves[F16](amd64.FromF16AVX2)
	avx2.ToF16 = toHalves[F16](amd64.ToF16AVX2)
	avx2.FromInt8 = amd64.FromInt8AVX2
	avx2.Exp = amd64.ExpAVX2
	avx2.Log = amd64.LogAVX2
	avx2.Sqrt = amd64.SqrtAVX2
	avx2.Tanh = amd64.TanhAVX2
	avx2.Erf = amd64.ErfAVX2
	avx2.Sigmoid = amd64.SigmoidAVX2
	avx2.SiLU = amd64.SiLUAVX2
	avx2.SiLUGrad = amd64.SiLUGradAVX2
	avx2.SwiGLU = amd64.SwiGLUAVX2
	avx2.SwiGLUGrad = amd64.SwiGLUGradAVX2
	avx2.GELU = amd64.GELUAVX2
	avx2.GELUGrad = amd64.GELUGradAVX2
	avx2.Sum = amd64.SumAVX2
	avx2.Dot = amd64.DotAVX2
	avx2.Max = amd64.MaxAVX2
	avx2.ExpSub = amd64.ExpSubAVX2
	avx2.RMSNormRow = amd64.RMSNormRowAVX2
	avx2.RMSNormGradRow = amd64.RMSNormGradRowAVX2
	avx2.LayerNormRow = amd64.LayerNormRowAVX2
	avx2.LayerNormGradRow = amd64.LayerNormGradRowAVX2
	avx2.AdamW = adamW(amd64.AdamWAVX2)

	avx512 := *avx2
	avx512.Name, avx512.Missing = "avx512", missing(avx512Features)
	avx512.Tile = Tile[float32]{MR: 14, NR: 32, InPlace: true,
		Run: byWidth(16, amd64.GemmTile14x32AVX512, amd64.GemmTile14x16TailAVX512, amd64.GemmTile14x32TailAVX512), RunPack: amd64.GemmTile14x32PackAVX512, RunAside: amd64.GemmTile14x32AsideAVX512}
	if missing(bf16Features) == "" {
		avx512.TileBF16 = Tile[float32]{MR: 14, NR: 32, InPlace: true,
			Run: byWidth(16, amd64.GemmTile14x32BF16AVX512, amd64.GemmTile14x16TailBF16AVX512, amd64.GemmTile14x32TailBF16AVX512), RunPack: amd64.GemmTile14x32PackBF16AVX512, RunAside: amd64.GemmTile14x32AsideBF16AVX512}
		avx512.ZipBF16 = zipBF16
	}
	avx512.FMALoop, avx512.FMALoopFLOP = amd64.FMAPeakAVX512, 768
	avx512.Add = amd64.AddAVX512
	avx512.Sub = amd64.SubAVX512
	avx512.Mul = amd64.MulAVX512
	avx512.Div = amd64.DivAVX512
	avx512.Scale = amd64.ScaleAVX512
	avx512.Axpy = amd64.AxpyAVX512
	avx512.Gemv = amd64.GemvAVX512
	avx512.FromBF16 = ofHalves[BF16](amd64.FromBF16AVX512)
	avx512.ToBF16 = toHalves[BF16](amd64.ToBF16AVX512)
	avx512.FromF16 = ofHalves[F16](amd64.FromF16AVX512)
	avx512.ToF16 = toHalves[F16](amd64.ToF16AVX512)
	avx512.FromInt8 = amd64.FromInt8AVX512
	avx512.Exp = amd64.ExpAVX512
	avx512.Log = amd64.LogAVX512
	avx512.Sqrt = amd64.SqrtAVX512
	avx512.Tanh = amd64.TanhAVX512
	avx512.Erf = amd64.ErfAVX512
	avx512.Sigmoid = amd64.SigmoidAVX512
	avx512.SiLU = amd64.SiLUAVX512
	avx512.SiLUGrad = amd64.SiLUGradAVX512
	avx512.SwiGLU = amd64.SwiGLUAVX512
	avx512.SwiGLUGrad = amd64.SwiGLUGradAVX512
	avx512.GELU = amd64.GELUAVX512
	avx512.GELUGrad = amd64.GELUGradAVX512
	avx512.Sum = amd64.SumAVX512
	avx512.Dot = amd64.DotAVX512
	avx512.Max = amd64.MaxAVX512
	avx512.ExpSub = amd64.ExpSubAVX512
	avx512.RMSNormRow = amd64.RMSNormRowAVX512
	avx512.RMSNormGradRow = amd64.RMSNormGradRowAVX512
	avx512.LayerNormRow = amd64.LayerNormRowAVX512
	avx512.LayerNormGradRow = amd64.LayerNormGradRowAVX512
	avx512.AdamW = adamW(amd64.AdamWAVX512)

	avx2.Streaming = streamingAVX2(*avx2)
	avx512.Streaming = streamingAVX512(avx512)

	return []*Set[float32]{avx2, &avx512}
}

// streamingAVX2 is Set.Streaming of the level s.
func streamingAVX2(s Set[float32]) *Set[float32] {
	s.Add = amd64.AddStreamAVX2
	s.Sub = amd64.SubStreamAVX2
	s.Mul = amd64.MulStreamAVX2
	s.Div = amd64.DivStreamAVX2
	s.Scale = amd64.ScaleStreamAVX2
	s.Exp = amd64.ExpStreamAVX2
	s.Sqrt = amd64.SqrtStreamAVX2
	s.Tanh = amd64.TanhStreamAVX2
	s.Erf = amd64.ErfStreamAVX2
	s.Sigmoid = amd64.SigmoidStreamAVX2
	s.SiLU = amd64.SiLUStreamAVX2
	s.SiLUGrad = amd64.SiLUGradStreamAVX2
	s.SwiGLU = amd64.SwiGLUStreamAVX2
	s.SwiGLUGrad = amd64.SwiGLUGradStreamAVX2
	s.GELU = amd64.GELUStreamAVX2
	s.GELUGrad = amd64.GELUGradStreamAVX2
	s.RMSNormRow = amd64.RMSNormRowStreamAVX2
	s.RMSNormGradRow = amd64.RMSNormGradRowStreamAVX2
	s.LayerNormRow = amd64.LayerNormRowStreamAVX2
	s.LayerNormGradRow = amd64.LayerNormGradRowStreamAVX2
	return &s
}

// streamingAVX512 is Set.Streaming of the level s.
func streamingAVX512(s Set[float32]) *Set[float32] {
	s.Add = amd64.AddStreamAVX512
	s.Sub = amd64.SubStreamAVX512
	s.Mul = amd64.MulStreamAVX512
	s.Div = amd64.DivStreamAVX512
	s.Scale = amd64.ScaleStreamAVX512
	s.Exp = amd64.ExpStreamAVX512
	s.Sqrt = amd64.SqrtStreamAVX512
	s.Tanh = amd64.TanhStreamAVX512
	s.Erf = amd64.ErfStreamAVX512
	s.Sigmoid = amd64.SigmoidStreamAVX512
	s.SiLU = amd64.SiLUStreamAVX512
	s.SiLUGrad = amd64.SiLUGradStreamAVX512
	s.SwiGLU = amd64.SwiGLUStreamAVX512
	s.SwiGLUGrad = amd64.SwiGLUGradStreamAVX512
	s.GELU = amd64.GELUStreamAVX512
	s.GELUGrad = amd64.GELUGradStreamAVX512
	s.RMSNormRow = amd64.RMSNormRowStreamAVX512
	s.RMSNormGradRow = amd64.RMSNormGradRowStreamAVX512
	s.LayerNormRow = amd64.LayerNormRowStreamAVX512
	s.LayerNormGradRow = amd64.LayerNormGradRowStreamAVX512
	return &s
}

// adamW passes the step to assembly, which cannot name its type, as the array
// that it is.
func adamW(run func(p, m, v, g []float32, s *[7]float32)) func(p, m, v, g []float32, s *AdamWStep[float32]) {
	return func(p, m, v, g []float32, s *AdamWStep[float32]) {
		run(p, m, v, g, (*[7]float32)(unsafe.Pointer(s)))
	}
}

// byWidth is the micro-kernel made of one for whole panels and those for narrower
// ones, tails[i] for more than i and at most i+1 vectors of so many lanes.
func byWidth(lanes int, whole func(m, k int, a *float32, strip, row, col int, b *float32, ldb int, c *float32, ldc int, accumulate bool),
	tails ...func(m, n, k int, a *float32, strip, row, col int, b *float32, ldb int, c *float32, ldc int, accumulate bool),
) func(m, n, k int, a *float32, strip, row, col int, b *float32, ldb int, c *float32, ldc int, accumulate bool) {
	nr := lanes * len(tails)
	return func(m, n, k int, a *float32, strip, row, col int, b *float32, ldb int, c *float32, ldc int, accumulate bool) {
		if n == nr {
			whole(m, k, a, strip, row, col, b, ldb, c, ldc, accumulate)
			return
		}
		tails[(n-1)/lanes](m, n, k, a, strip, row, col, b, ldb, c, ldc, accumulate)
	}
}

// dots takes four columns at a time, then one.
func dots(m, n, k int, a *float32, lda int, b *float32, ldb int, c *float32, ldc int, accumulate bool) {
	j := 0
	for ; j+4 <= n; j += 4 {
		amd64.Dots4AVX2(m, k, a, lda, offset(b, j*ldb), ldb, offset(c, j), ldc, accumulate)
	}
	for ; j < n; j++ {
		amd64.Dots1AVX2(m, k, a, lda, offset(b, j*ldb), ldb, offset(c, j), ldc, accumulate)
	}
}

// dotsHalves takes four columns at a time, and hands their bits over.
func dotsHalves[H BF16 | F16](run func(m, k int, a *float32, lda int, b *uint16, ldb int, c *float32, ldc int, accumulate bool)) func(m, n, k int, a *float32, lda int, b *H, ldb int, c *float32, ldc int, accumulate bool) {
	return func(m, n, k int, a *float32, lda int, b *H, ldb int, c *float32, ldc int, accumulate bool) {
		for j := 0; j < n; j += 4 {
			run(m, k, a, lda, (*uint16)(unsafe.Pointer(offset(b, j*ldb))), ldb, offset(c, j), ldc, accumulate)
		}
	}
}

// dotsInt8 takes four columns at a time.
func dotsInt8(m, n, k int, a *float32, lda int, b *int8, ldb int, scale *float32, ldScale, group int, c *float32, ldc int, accumulate bool) {
	groups := (k-1)/group + 1
	last := k - (groups-1)*group
	for j := 0; j < n; j += 4 {
		amd64.Dots4Int8AVX2(m, a, lda, offset(b, j*ldb), ldb, offset(scale, j*ldScale), ldScale, group, groups, last, offset(c, j), ldc, accumulate)
	}
}

func zipBF16(y []float32, lo, hi []BF16) {
	amd64.ZipBF16AVX512(y, bits16(lo), bits16(hi))
}

// packRows copies full micro-panels in assembly; those that hang over an edge
// are few.
func packRows(dst, src []float32, ld, k, w, width int) {
	if w != width || k == 0 {
		refPackRows(dst, src, ld, k, w, width)
		return
	}
	switch width {
	case 6:
		amd64.PackRows6AVX2(&dst[0], &src[0], ld, k)
	case 14:
		amd64.PackRows14AVX2(&dst[0], &src[0], ld, k)
	case 16:
		amd64.PackRows16AVX2(&dst[0], &src[0], ld, k)
	case 32:
		amd64.PackRows32AVX2(&dst[0], &src[0], ld, k)
	default:
		refPackRows(dst, src, ld, k, w, width)
	}
}

// packCols transposes in assembly, in blocks of 8 columns: full micro-panels at
// once, those that hang over an edge in groups of 8 rows.
func packCols(dst, src []float32, ld, k, w, width int) {
	blocks := k / 8
	rows := w // done by assembly
	switch {
	case blocks == 0:
	case w == width && width == 6:
		amd64.PackCols6AVX2(&dst[0], &src[0], ld, blocks)
	case w == width && width == 14:
		amd64.PackCols14AVX2(&dst[0], &src[0], ld, blocks)
	case w == width && width == 16:
		amd64.PackCols16AVX2(&dst[0], &src[0], ld, blocks)
	case w == width && width == 32:
		amd64.PackCols32AVX2(&dst[0], &src[0], ld, blocks)
	default:
		for rows = 0; rows+8 <= w; rows += 8 {
			amd64.PackCols8AVX2(&dst[rows], &src[rows*ld], ld, blocks, width)
		}
	}
	done := 8 * blocks
	if rows < width && done > 0 { // the rows left, and the zeros
		for p := range done {
			d := dst[p*width+rows : (p+1)*width]
			for i := range d {
				if d[i] = 0; rows+i < w {
					d[i] = src[(rows+i)*ld+p]
				}
			}
		}
	}
	if done < k {
		refPackCols(dst[done*width:], src[done:], ld, k-done, w, width)
	}
}

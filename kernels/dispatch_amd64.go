//go:build !purego

package kernels

import (
	"strings"

	"github.com/klauspost/cpuid/v2"

	"fuerte/kernels/amd64"
)

// What each level asks of the CPU and, through XGETBV, of the operating system.
// gen checks the generated instructions against these lists.
var (
	avx2Features   = []cpuid.FeatureID{cpuid.AVX, cpuid.AVX2, cpuid.FMA3}
	avx512Features = []cpuid.FeatureID{cpuid.AVX, cpuid.AVX2, cpuid.FMA3, cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL, cpuid.AVX512CD}
)

// archSets lists the amd64 levels, weakest first.
func archSets() []*Set[float32] {
	avx2 := Reference[float32]()
	avx2.Name, avx2.Missing = "avx2", missing(avx2Features)
	avx2.Tile = Tile[float32]{MR: 6, NR: 16, Run: amd64.GemmTile6x16AVX2}
	avx2.PackRows, avx2.PackCols = packRows, packCols

	avx512 := *avx2
	avx512.Name, avx512.Missing = "avx512", missing(avx512Features)
	avx512.Tile = Tile[float32]{MR: 14, NR: 32, Run: amd64.GemmTile14x32AVX512}

	return []*Set[float32]{avx2, &avx512}
}

// missing names the features that this machine lacks.
func missing(features []cpuid.FeatureID) string {
	var names []string
	for _, f := range features {
		if !cpuid.CPU.Has(f) {
			names = append(names, f.String())
		}
	}
	return strings.Join(names, ", ")
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

// packCols transposes full micro-panels in assembly, in blocks of 8 columns.
func packCols(dst, src []float32, ld, k, w, width int) {
	blocks := k / 8
	if w != width {
		blocks = 0
	}
	if blocks > 0 {
		switch width {
		case 6:
			amd64.PackCols6AVX2(&dst[0], &src[0], ld, blocks)
		case 14:
			amd64.PackCols14AVX2(&dst[0], &src[0], ld, blocks)
		case 16:
			amd64.PackCols16AVX2(&dst[0], &src[0], ld, blocks)
		case 32:
			amd64.PackCols32AVX2(&dst[0], &src[0], ld, blocks)
		default:
			blocks = 0
		}
	}
	if done := 8 * blocks; done < k {
		refPackCols(dst[done*width:], src[done:], ld, k-done, w, width)
	}
}

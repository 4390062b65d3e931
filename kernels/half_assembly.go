//go:build !purego && (amd64 || arm64)

package kernels

import "unsafe"

// ofHalves and toHalves hand the bits over to assembly, which cannot name the
// types of this package.

func ofHalves[H BF16 | F16](run func(y []float32, x []uint16)) func(y []float32, x []H) {
	return func(y []float32, x []H) { run(y, bits16(x)) }
}

func toHalves[H BF16 | F16](run func(y []uint16, x []float32)) func(y []H, x []float32) {
	return func(y []H, x []float32) { run(bits16(y), x) }
}

func bits16[H BF16 | F16](x []H) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(x))), cap(x))[:len(x)]
}

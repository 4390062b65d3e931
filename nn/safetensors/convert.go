package safetensors

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"fuerte/kernels"
)

// AppendFloat32s appends src to dst as little-endian elements of dtype "F32",
// "BF16", "F16" or "F64".
//
// Rounding is to nearest, ties to even, and goes to ±Inf where the IEEE rule
// says so (from 65520 on for F16). A NaN stays a NaN: it is made quiet and keeps
// its sign and the upper bits of its payload. F32 keeps every bit, F64 is exact.
//
// Errors: a dtype that is none of the four, those of kernels.Choose; dst is then
// returned unchanged.
func AppendFloat32s(dst []byte, dtype string, src []float32) ([]byte, error) {
	set, err := kernels.Choose()
	if err != nil {
		return dst, fmt.Errorf("safetensors: %w", err)
	}
	switch dtype {
	case "F32":
		for _, v := range src {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
	case "BF16":
		return appendHalves(dst, src, set.ToBF16), nil
	case "F16":
		return appendHalves(dst, src, set.ToF16), nil
	case "F64":
		for _, v := range src {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(float64(v)))
		}
	default:
		return dst, fmt.Errorf("safetensors: float32 values cannot be written as dtype %q", dtype)
	}
	return dst, nil
}

// decodeFloat32s sets dst to the elements of src, which holds exactly len(dst)
// of them. BF16 and F16 are exact, but a NaN is made quiet; F64 is rounded to
// nearest, ties to even. Errors: another dtype, those of kernels.Choose.
func decodeFloat32s(dst []float32, dtype string, src []byte) error {
	set, err := kernels.Choose()
	if err != nil {
		return err
	}
	switch dtype {
	case "F32":
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case "BF16":
		decodeHalves(dst, src, set.FromBF16)
	case "F16":
		decodeHalves(dst, src, set.FromF16)
	case "F64":
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
	default:
		return fmt.Errorf("dtype %s is not one that reads as float32", dtype)
	}
	return nil
}

// block is how many halves are converted at a time: they and their floats stay
// in L1.
const block = 4 << 10

func appendHalves[H kernels.BF16 | kernels.F16](dst []byte, src []float32, narrow func(y []H, x []float32)) []byte {
	halves := make([]H, min(len(src), block))
	for part := range slices.Chunk(src, block) {
		narrow(halves[:len(part)], part)
		for _, h := range halves[:len(part)] {
			dst = binary.LittleEndian.AppendUint16(dst, uint16(h))
		}
	}
	return dst
}

func decodeHalves[H kernels.BF16 | kernels.F16](dst []float32, src []byte, widen func(y []float32, x []H)) {
	halves := make([]H, min(len(dst), block))
	for part := range slices.Chunk(dst, block) {
		for i := range part {
			halves[i] = H(binary.LittleEndian.Uint16(src[2*i:]))
		}
		widen(part, halves)
		src = src[2*len(part):]
	}
}

// Recode writes the elements of src, of dtype from, as elements of dtype to: the
// same bytes where the two are one, else those of AppendFloat32s for the values
// that Float32s reads. It works in blocks.
//
// Errors: dtypes that those two refuse; a src that is not whole elements; those
// of w.
func Recode(w io.Writer, to, from string, src []byte) error {
	if to == from {
		_, err := w.Write(src)
		return err
	}
	size, ok := dtypeSizes[from]
	if !ok || len(src)%size != 0 {
		return fmt.Errorf("safetensors: %d bytes are no elements of dtype %q", len(src), from)
	}
	values := make([]float32, min(len(src)/size, block))
	var out []byte
	for len(src) > 0 {
		part := values[:min(len(src)/size, block)]
		if err := decodeFloat32s(part, from, src[:len(part)*size]); err != nil {
			return err
		}
		src = src[len(part)*size:]
		var err error
		if out, err = AppendFloat32s(out[:0], to, part); err != nil {
			return err
		}
		if _, err := w.Write(out); err != nil {
			return err
		}
	}
	return nil
}

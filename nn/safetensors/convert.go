package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
)

// AppendFloat32s appends src to dst as little-endian elements of dtype "F32",
// "BF16", "F16" or "F64".
//
// Rounding is to nearest, ties to even, and goes to ±Inf where the IEEE rule
// says so (from 65520 on for F16). A NaN stays a NaN: it is made quiet and keeps
// its sign and the upper bits of its payload. F32 keeps every bit, F64 is exact.
//
// Errors: a dtype that is none of the four; dst is then returned unchanged.
func AppendFloat32s(dst []byte, dtype string, src []float32) ([]byte, error) {
	switch dtype {
	case "F32":
		for _, v := range src {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
	case "BF16":
		for _, v := range src {
			dst = binary.LittleEndian.AppendUint16(dst, bf16FromFloat32(v))
		}
	case "F16":
		for _, v := range src {
			dst = binary.LittleEndian.AppendUint16(dst, f16FromFloat32(v))
		}
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
// of them. BF16 and F16 are exact; F64 is rounded to nearest, ties to even.
func decodeFloat32s(dst []float32, dtype string, src []byte) error {
	switch dtype {
	case "F32":
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case "BF16":
		for i := range dst {
			dst[i] = bf16ToFloat32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case "F16":
		for i := range dst {
			dst[i] = f16ToFloat32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case "F64":
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
	default:
		return fmt.Errorf("dtype %s is not one that reads as float32", dtype)
	}
	return nil
}

// bf16FromFloat32 keeps the upper half of f, rounded to nearest, ties to even.
func bf16FromFloat32(f float32) uint16 {
	b := math.Float32bits(f)
	if f != f {
		// Rounding could carry a NaN into Inf or past it; cutting alone could
		// leave a payload of zero, which is Inf too. The quiet bit prevents both.
		return uint16(b>>16) | 0x0040
	}
	b += 0x7fff + b>>16&1 // half an ulp, less one if the result would be even
	return uint16(b >> 16)
}

func bf16ToFloat32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// f16FromFloat32 rounds f to binary16: 1 sign, 5 exponent (bias 15) and 10
// fraction bits, where float32 has 8 (bias 127) and 23.
func f16FromFloat32(f float32) uint16 {
	const (
		inf      = 0x7f800000
		overflow = 0x477ff000 // 65520: half way from the largest f16, 65504, to 2^16
		normal   = 0x38800000 // 2^-14, the smallest normal f16
	)
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	switch a := b &^ (1 << 31); {
	case a > inf:
		return sign | 0x7e00 | uint16(a>>13&0x3ff)
	case a >= overflow:
		return sign | 0x7c00
	case a >= normal:
		a -= (127 - 15) << 23
		a += 0xfff + a>>13&1
		return sign | uint16(a>>13)
	default:
		// Subnormals of f16 are multiples of 2^-24, and 2^-24 is the ulp of
		// float32 in [0.5, 1): adding 0.5 makes the hardware round for us.
		return sign | uint16(math.Float32bits(math.Float32frombits(a)+0.5)-math.Float32bits(0.5))
	}
}

func f16ToFloat32(h uint16) float32 {
	sign, exp, frac := uint32(h&0x8000)<<16, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exp {
	case 0:
		return math.Float32frombits(math.Float32bits(float32(frac)*0x1p-24) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	default:
		return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
	}
}

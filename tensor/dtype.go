package tensor

import (
	"fmt"
	"math"
)

// DType is the type of a tensor's elements.
type DType uint8

// Float32 is what the engine computes in; Float64 is for reference results and
// gradient checks; BFloat16 and Float16 are storage, computed with in float32.
const (
	Float32 DType = iota
	Float64
	BFloat16
	Float16
	Int32
	Int64
	Uint8
	Bool
)

var dtypes = [...]struct {
	name string
	size int
}{{"float32", 4}, {"float64", 8}, {"bfloat16", 2}, {"float16", 2}, {"int32", 4}, {"int64", 8}, {"uint8", 1}, {"bool", 1}}

// String returns the name, such as "float32".
func (d DType) String() string { return dtypes[d].name }

// Size returns the bytes of one element.
func (d DType) Size() int { return dtypes[d].size }

// BF16 is a bfloat16: the upper half of a float32.
type BF16 uint16

// F16 is an IEEE 754 binary16.
type F16 uint16

// Elem lists the Go types of tensor elements.
type Elem interface {
	float32 | float64 | BF16 | F16 | int32 | int64 | uint8 | bool
}

// TypeOf returns the DType of E.
func TypeOf[E Elem]() DType {
	switch any(*new(E)).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case BF16:
		return BFloat16
	case F16:
		return Float16
	case int32:
		return Int32
	case int64:
		return Int64
	case uint8:
		return Uint8
	case bool:
		return Bool
	}
	panic(fmt.Sprintf("tensor: no dtype for %T", *new(E)))
}

// ToBF16 rounds to the nearest bfloat16, ties to even; NaN stays a (quiet) NaN.
func ToBF16(x float32) BF16 {
	b := math.Float32bits(x)
	if x != x {
		return BF16(b>>16 | 0x40)
	}
	return BF16((b + 0x7fff + b>>16&1) >> 16)
}

// Float32 widens exactly.
func (x BF16) Float32() float32 { return math.Float32frombits(uint32(x) << 16) }

// ToF16 rounds to the nearest binary16, ties to even; overflow gives ±Inf and
// NaN stays a (quiet) NaN.
func ToF16(x float32) F16 {
	b := math.Float32bits(x)
	sign, b := F16(b>>16&0x8000), b&0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00
	case b >= 0x477ff000: // rounds to 65536 or more
		return sign | 0x7c00
	case b >= 0x38800000: // normal: re-bias the exponent by 112 and round 13 bits away
		return sign | F16((b-112<<23+0xfff+b>>13&1)>>13)
	}
	// Subnormal: adding ½ aligns the last place with 2⁻²⁴, rounding in hardware.
	return sign | F16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
}

// Float32 widens exactly.
func (x F16) Float32() float32 {
	sign, e, m := uint32(x&0x8000)<<16, uint32(x>>10&31), uint32(x&0x3ff)
	switch e {
	case 0:
		return math.Float32frombits(sign | math.Float32bits(float32(m)*0x1p-24))
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | m<<13)
	}
	return math.Float32frombits(sign | (e+112)<<23 | m<<13)
}

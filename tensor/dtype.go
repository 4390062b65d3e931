package tensor

import (
	"fmt"

	"fuerte/kernels"
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
type BF16 = kernels.BF16

// F16 is an IEEE 754 binary16.
type F16 = kernels.F16

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
func ToBF16(x float32) BF16 { return kernels.ToBF16(x) }

// ToF16 rounds to the nearest binary16, ties to even; overflow gives ±Inf and
// NaN stays a (quiet) NaN.
func ToF16(x float32) F16 { return kernels.ToF16(x) }

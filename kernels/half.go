package kernels

import "math"

// BF16 is a bfloat16: the upper half of a float32.
type BF16 uint16

// F16 is an IEEE 754 binary16: 5 bits of exponent and 10 of fraction.
type F16 uint16

// quietNaN is the bit that tells a quiet NaN of float32 from a signaling one.
const quietNaN = 0x00400000

// Float32 widens x exactly; a NaN is made quiet and keeps its sign and payload.
func (x BF16) Float32() float32 {
	b := uint32(x) << 16
	if b&^(1<<31) > 0x7f800000 {
		b |= quietNaN
	}
	return math.Float32frombits(b)
}

// Float32 widens x exactly; a NaN is made quiet and keeps its sign and payload.
func (x F16) Float32() float32 {
	sign, e, m := uint32(x&0x8000)<<16, uint32(x>>10&31), uint32(x&0x3ff)
	switch {
	case e == 0:
		return math.Float32frombits(sign | math.Float32bits(float32(m)*0x1p-24))
	case e < 31:
		return math.Float32frombits(sign | (e+112)<<23 | m<<13)
	case m > 0:
		sign |= quietNaN
	}
	return math.Float32frombits(sign | 0x7f800000 | m<<13)
}

// ToBF16 rounds x once, to the nearest bfloat16, ties to even; a NaN is made
// quiet and keeps its sign and the upper bits of its payload.
func ToBF16[T Float](x T) BF16 {
	b := math.Float32bits(roundToOdd(float64(x)))
	if x != x {
		// Rounding could carry a NaN into Inf or past it; cutting alone could leave
		// a payload of zero, which is Inf too.
		return BF16((b | quietNaN) >> 16)
	}
	return BF16((b + 0x7fff + b>>16&1) >> 16) // half an ULP, less if the result would be even
}

// ToF16 rounds x once, to the nearest binary16, ties to even, and from 65520 on
// to ±Inf; a NaN is made quiet and keeps its sign and the upper bits of its payload.
func ToF16[T Float](x T) F16 {
	b := math.Float32bits(roundToOdd(float64(x)))
	sign, b := F16(b>>16&0x8000), b&^(1<<31)
	switch {
	case b > 0x7f800000:
		return sign | F16(0x7e00|b>>13&0x3ff)
	case b >= 0x477ff000: // 65520: half way from 65504, the largest, to 65536
		return sign | 0x7c00
	case b >= 0x38800000: // 2⁻¹⁴, the least normal one: re-bias the exponent by 112 and round 13 bits away
		return sign | F16((b-112<<23+0xfff+b>>13&1)>>13)
	}
	// Denormal: adding ½ aligns the last place with 2⁻²⁴, rounding in hardware.
	return sign | F16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
}

// roundToOdd rounds to one of the two neighbouring float32, where there are
// two, with a last bit of 1: a second rounding, to fewer bits, then gives what a
// single one would have given. Source: Boldo & Melquiond 2008, doi:10.1109/TC.2007.70819.
func roundToOdd(x float64) float32 {
	f := float32(x)
	b := math.Float32bits(f)
	if d := float64(f); d == x || x != x || b&1 == 1 {
		return f
	} else if math.Abs(d) > math.Abs(x) {
		return math.Float32frombits(b - 1)
	}
	return math.Float32frombits(b + 1)
}

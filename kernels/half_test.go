package kernels

import (
	"math"
	"testing"
)

// halfFormat describes a 16-bit float by its definition, in float64, where every
// code and every midpoint between two codes is exact, beside the conversions of
// this package.
type halfFormat struct {
	name     string
	fraction int // bits
	bias     int
	wide     func(code uint16) float32
	narrow   func(float32) uint16
	narrow64 func(float64) uint16
}

var halfFormats = []halfFormat{
	{"F16", 10, 15,
		func(code uint16) float32 { return F16(code).Float32() },
		func(x float32) uint16 { return uint16(ToF16(x)) },
		func(x float64) uint16 { return uint16(ToF16(x)) }},
	{"BF16", 7, 127,
		func(code uint16) float32 { return BF16(code).Float32() },
		func(x float32) uint16 { return uint16(ToBF16(x)) },
		func(x float64) uint16 { return uint16(ToBF16(x)) }},
}

// value is the meaning of a code: (−1)ˢ·2^(e−bias)·1.f, denormals with e = 1 and
// 0.f. The largest exponent is not special here, so that the code of Inf has the
// value from which rounding overflows.
func (h halfFormat) value(code uint16) float64 {
	sign, e, f := 1.0, int(code&0x7fff)>>h.fraction, float64(code&(1<<h.fraction-1))
	if code&0x8000 != 0 {
		sign = -1
	}
	if e > 0 {
		f += float64(int(1) << h.fraction)
	} else {
		e = 1
	}
	return sign * math.Ldexp(f, e-h.bias-h.fraction)
}

func (h halfFormat) inf() uint16   { return 0x7fff &^ (1<<h.fraction - 1) }
func (h halfFormat) quiet() uint16 { return 1 << (h.fraction - 1) }

// midpoint is half way between a code and the next, in size.
func (h halfFormat) midpoint(low uint16) float64 { return (h.value(low) + h.value(low+1)) / 2 }

// TestHalfCodes widens and narrows each of the 65,536 codes.
func TestHalfCodes(t *testing.T) {
	for _, h := range halfFormats {
		for i := range 1 << 16 {
			code := uint16(i)
			got, want, back := h.wide(code), h.value(code), code
			switch magnitude := code & 0x7fff; {
			case magnitude > h.inf():
				back |= h.quiet()
				want = math.NaN()
				bits := uint32(code&0x8000)<<16 | 0x7f800000 | uint32(back&^(h.inf()|0x8000))<<(23-h.fraction)
				if math.Float32bits(got) != bits {
					t.Fatalf("%s %#04x: NaN %#08x, want %#08x", h.name, code, math.Float32bits(got), bits)
				}
			case magnitude == h.inf():
				want = math.Inf(1 - 2*int(code>>15))
			}
			if want == want && float64(got) != want || math.Signbit(float64(got)) != (code>>15 == 1) {
				t.Fatalf("%s %#04x: %g, want %g", h.name, code, got, want)
			}
			if h.narrow(got) != back || h.narrow64(float64(got)) != back {
				t.Fatalf("%s %#04x: came back as %#04x from float32, %#04x from float64, want %#04x", h.name, code, h.narrow(got), h.narrow64(float64(got)), back)
			}
		}
	}
}

// TestHalfRounding narrows, around every midpoint of two neighbouring codes, the
// midpoint itself (which goes to the even code) and the nearest numbers below and
// above it; those of float64 would go wrong by way of a float32 that is rounded to
// nearest. Inf is the neighbour of the largest finite code.
func TestHalfRounding(t *testing.T) {
	for _, h := range halfFormats {
		for low := uint16(0); low < h.inf(); low++ {
			even, mid := low+low&1, h.midpoint(low)
			for _, c := range []struct {
				x    float64
				want uint16
			}{
				{float64(math.Nextafter32(float32(mid), 0)), low},
				{mid, even},
				{float64(math.Nextafter32(float32(mid), math.MaxFloat32)), low + 1},
				{math.Nextafter(mid, 0), low},
				{math.Nextafter(mid, math.MaxFloat64), low + 1},
			} {
				if got, minus := h.narrow64(c.x), h.narrow64(-c.x); got != c.want || minus != c.want|0x8000 {
					t.Fatalf("%s: ±%g gives %#04x and %#04x, want %#04x", h.name, c.x, got, minus, c.want)
				}
				x := float32(c.x)
				if float64(x) != c.x {
					continue
				}
				if got, minus := h.narrow(x), h.narrow(-x); got != c.want || minus != c.want|0x8000 {
					t.Fatalf("%s: ±%g as float32 gives %#04x and %#04x, want %#04x", h.name, x, got, minus, c.want)
				}
			}
		}
		for _, x := range []float64{math.MaxFloat32, 1e39, math.MaxFloat64, math.Inf(1)} {
			if got, minus := h.narrow64(x), h.narrow64(-x); got != h.inf() || minus != h.inf()|0x8000 {
				t.Errorf("%s: ±%g gives %#04x and %#04x, want ±Inf", h.name, x, got, minus)
			}
		}
		for _, x := range []float64{1e-46, 5e-324, 0} {
			if got, minus := h.narrow64(x), h.narrow64(math.Copysign(x, -1)); got != 0 || minus != 0x8000 {
				t.Errorf("%s: ±%g gives %#04x and %#04x, want ±0", h.name, x, got, minus)
			}
		}
	}
}

// TestF16Overflow holds the number that the comment states.
func TestF16Overflow(t *testing.T) {
	below := math.Nextafter(toF16Inf, 0)
	if ToF16(toF16Inf).Float32() != float32(math.Inf(1)) || ToF16(below).Float32() != 65504 {
		t.Errorf("%g gives %g and %g gives %g", toF16Inf, ToF16(toF16Inf).Float32(), below, ToF16(below).Float32())
	}
}

// TestHalfNaN narrows NaNs, among them such whose payload lies only in the bits
// that are lost: cut without care, they would become infinities.
func TestHalfNaN(t *testing.T) {
	for _, h := range halfFormats {
		for _, bits := range []uint32{0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff, 0x7fc00000, 0xffaaaaaa} {
			x := math.Float32frombits(bits)
			want := uint16(bits>>16)&0x8000 | h.inf() | h.quiet() | uint16(bits&0x7fffff>>(23-h.fraction))
			if got := h.narrow(x); got != want {
				t.Errorf("%s: NaN %#08x gives %#04x, want %#04x", h.name, bits, got, want)
			}
			if got := h.narrow64(float64(x)); got != want {
				t.Errorf("%s: NaN %#08x as float64 gives %#04x, want %#04x", h.name, bits, got, want)
			}
		}
	}
}

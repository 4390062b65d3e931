package safetensors

import (
	"math"
	"testing"
)

// half describes a 16-bit float of the format by its definition, in float64,
// where every code and every midpoint between two codes is exact.
type half struct {
	dtype    string
	fraction int // bits
	bias     int
	from     func(float32) uint16
	to       func(uint16) float32
}

var halves = []half{
	{"F16", 10, 15, f16FromFloat32, f16ToFloat32},
	{"BF16", 7, 127, bf16FromFloat32, bf16ToFloat32},
}

// value is the meaning of a code: (-1)^s · 2^(e-bias) · 1.f, the subnormals
// with e = 1 and 0.f. The largest exponent is not special here, so that the
// code of Inf has the value from which rounding overflows.
func (h half) value(code uint16) float64 {
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

func (h half) inf() uint16 { return 0x7fff &^ (1<<h.fraction - 1) }

// TestHalfCodes decodes and encodes each of the 65,536 codes.
func TestHalfCodes(t *testing.T) {
	for _, h := range halves {
		quiet := uint16(1) << (h.fraction - 1)
		for i := range 1 << 16 {
			code := uint16(i)
			got := h.to(code)
			switch magnitude := code & 0x7fff; {
			case magnitude > h.inf():
				if got == got {
					t.Fatalf("%s %#04x: %g, want NaN", h.dtype, code, got)
				}
				if back := h.from(got); back != code|quiet {
					t.Fatalf("%s %#04x: NaN came back as %#04x, want %#04x", h.dtype, code, back, code|quiet)
				}
				continue
			case magnitude == h.inf():
				if !math.IsInf(float64(got), 1-2*int(code>>15)) {
					t.Fatalf("%s %#04x: %g, want infinity", h.dtype, code, got)
				}
			default:
				want := h.value(code)
				if float64(got) != want || math.Signbit(float64(got)) != (code>>15 == 1) {
					t.Fatalf("%s %#04x: %g, want %g", h.dtype, code, got, want)
				}
			}
			if back := h.from(got); back != code {
				t.Fatalf("%s %#04x: came back as %#04x", h.dtype, code, back)
			}
		}
	}
}

// TestHalfRounding encodes, around every midpoint of two neighbouring codes,
// the midpoint itself (which goes to the even code) and the nearest float32
// below and above it. Inf is the neighbour of the largest finite code.
func TestHalfRounding(t *testing.T) {
	for _, h := range halves {
		for low := uint16(0); low < h.inf(); low++ {
			even := low + low&1
			mid := float32((h.value(low) + h.value(low+1)) / 2)
			for _, c := range []struct {
				f    float32
				want uint16
			}{
				{math.Nextafter32(mid, 0), low},
				{mid, even},
				{math.Nextafter32(mid, math.MaxFloat32), low + 1},
			} {
				if got := h.from(c.f); got != c.want {
					t.Fatalf("%s: %g gives %#04x, want %#04x", h.dtype, c.f, got, c.want)
				}
				if got := h.from(-c.f); got != c.want|0x8000 {
					t.Fatalf("%s: %g gives %#04x, want %#04x", h.dtype, -c.f, got, c.want|0x8000)
				}
			}
		}
	}
}

// TestHalfNaN encodes NaNs whose payload lies only in the bits that are lost:
// cut without care, they would become infinities.
func TestHalfNaN(t *testing.T) {
	for _, h := range halves {
		for _, bits := range []uint32{0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff, 0x7fc00000} {
			got := h.from(math.Float32frombits(bits))
			quiet := uint16(1) << (h.fraction - 1)
			if got&0x7fff <= h.inf() || got&quiet == 0 || uint32(got>>15) != bits>>31 {
				t.Errorf("%s: NaN %#08x gives %#04x", h.dtype, bits, got)
			}
		}
	}
}

func TestAppendFloat32sRefusesIntegers(t *testing.T) {
	got, err := AppendFloat32s([]byte{1}, "I32", []float32{1})
	if err == nil || len(got) != 1 {
		t.Errorf("AppendFloat32s to I32: %v, %v", got, err)
	}
}

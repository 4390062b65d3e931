package safetensors

import (
	"math"
	"testing"

	"fuerte/kernels"
)

// TestHalfBytes writes and reads every code of the 16-bit floats, NaNs too, in
// several blocks: little-endian, as the scalar conversions say.
func TestHalfBytes(t *testing.T) {
	for dtype, wide := range map[string]func(code uint16) float32{
		"BF16": func(code uint16) float32 { return kernels.BF16(code).Float32() },
		"F16":  func(code uint16) float32 { return kernels.F16(code).Float32() },
	} {
		const n = 1<<16 + 3
		bytes := make([]byte, 2*n)
		for i := range n {
			bytes[2*i], bytes[2*i+1] = byte(i), byte(i>>8)
		}
		floats := make([]float32, n)
		if err := decodeFloat32s(floats, dtype, bytes); err != nil {
			t.Fatal(err)
		}
		for i, got := range floats {
			if want := wide(uint16(i)); math.Float32bits(got) != math.Float32bits(want) {
				t.Fatalf("%s %#04x: %g, want %g", dtype, uint16(i), got, want)
			}
		}
		back, err := AppendFloat32s([]byte{7}, dtype, floats)
		if err != nil || len(back) != len(bytes)+1 || back[0] != 7 {
			t.Fatalf("%s: %d bytes, %v", dtype, len(back), err)
		}
		for i, got := range floats {
			if code := uint16(back[2*i+1]) | uint16(back[2*i+2])<<8; code != uint16(i) && (got == got || wide(code) == wide(code)) {
				t.Fatalf("%s %#04x comes back as %#04x", dtype, uint16(i), code)
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

package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

func init() {
	contracts["FromBF16"] = func(t *testing.T, s *Set[float32]) { testConversion(t, s.FromBF16, BF16.Float32, halfCodes[BF16]()) }
	contracts["FromF16"] = func(t *testing.T, s *Set[float32]) { testConversion(t, s.FromF16, F16.Float32, halfCodes[F16]()) }
	contracts["ToBF16"] = func(t *testing.T, s *Set[float32]) { testConversion(t, s.ToBF16, ToBF16, halfEdges(halfFormats[1])) }
	contracts["ToF16"] = func(t *testing.T, s *Set[float32]) { testConversion(t, s.ToF16, ToF16, halfEdges(halfFormats[0])) }
}

// halfCodes are all codes, and some so often that each meets every lane.
func halfCodes[H BF16 | F16]() []H {
	codes := make([]H, 1<<16)
	for i := range codes {
		codes[i] = H(i)
	}
	return append(codes, everywhere[H](0, 0x8000, 1, 0x8001, 0x3f, 0x80, 0x3ff, 0x83ff, 0x3c00, 0x3f80, 0xbf80, 0x7bff, 0xfbff, 0x7c00, 0xfc00,
		0x7c01, 0xfc01, 0x7dff, 0x7e00, 0xfe01, 0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x7f81, 0xffbf, 0x7fc0, 0x7fff, 0xffff)...)
}

// everywhere repeats values. Their number is odd, so that each comes to stand in
// every lane and in every place of a short call.
func everywhere[E any](values ...E) []E {
	if len(values)%2 == 0 {
		panic("an even number of values")
	}
	return slices.Repeat(values, 512)
}

// halfEdges are the values of all codes of a format, those between which rounding
// changes, and what lies 1 ULP beside either; some so often that each meets every
// lane; random bit patterns.
func halfEdges(h halfFormat) (x []float32) {
	add := func(v float64) {
		bits := math.Float32bits(float32(v))
		for _, b := range []uint32{bits - 1, bits, bits + 1} { // past ±Inf, NaNs
			x = append(x, math.Float32frombits(b), math.Float32frombits(b^1<<31))
		}
	}
	for code := range h.inf() {
		add(h.value(code))
		add(h.midpoint(code))
	}
	add(math.Inf(1))
	x = append(x, everywhere(append(specials, 65504, 65519, 65520, -65520, 0x1p-25, 0x1.8p-25, -0x1p-24, 0x1p-14, 1+0x1p-8, 1+0x1.8p-7, math.Float32frombits(0x7f800001), math.Float32frombits(0xffffffff))...)...)
	r, random := rand.New(rand.NewPCG(9, 2)), 1<<20
	if testing.Short() {
		random = 1 << 16
	}
	for range random {
		x = append(x, math.Float32frombits(r.Uint32()), math.Float32frombits(0x7f800000|r.Uint32()&0x807fffff))
	}
	return x
}

// testConversion compares y = x with the scalar conversion, bit for bit: all of x
// at once; then in short calls, of which most are tails; then fenced, for every
// length about the widths of vectors.
func testConversion[Y, X float32 | BF16 | F16 | int8](t *testing.T, run func(y []Y, x []X), scalar func(X) Y, all []X) {
	want := make([]Y, len(all))
	for i, x := range all {
		want[i] = scalar(x)
	}
	bits := bitsOf[Y]()
	compare := func(label string, x []X, got, want []Y) {
		t.Helper()
		for i := range want {
			if bits(got[i]) != bits(want[i]) {
				t.Fatalf("%s: %v (%#x) at %d of %d gives %#x, want %#x", label, x[i], bitsOf[X]()(x[i]), i, len(want), bits(got[i]), bits(want[i]))
			}
		}
	}
	got := make([]Y, len(all))
	run(got, all)
	compare("at once", all, got, want)
	r := rand.New(rand.NewPCG(3, 5))
	clear(got)
	for at := 0; at < len(all); {
		next := min(at+1+r.IntN(40), len(all))
		run(got[at:next], all[at:next])
		at = next
	}
	compare("in parts", all, got, want)

	const most = 1000
	fx, fy := newFence(t, most), newFence(t, most)
	lengths := []int{most}
	for n := range 68 {
		lengths = append(lengths, n)
	}
	for _, n := range lengths {
		from := r.IntN(len(all) - n)
		x, want := all[from:from+n], want[from:from+n]
		for _, end := range []bool{true, false} {
			// Bands of NaNs; what lies beside x would not become what lies beside y.
			in, inIntact := placeOf[X](fx, n, end, 0xff, 0xff)
			out, outIntact := placeOf[Y](fy, n, end, 0xff, 0x7f)
			copy(in, x)
			for i := range out {
				out[i] = scalar(all[r.IntN(len(all))])
			}
			run(out, in)
			if !inIntact() || !outIntact() {
				t.Fatalf("n=%d: wrote beside an operand", n)
			}
			for i := range x {
				if bitsOf[X]()(in[i]) != bitsOf[X]()(x[i]) {
					t.Fatalf("n=%d: changed the input", n)
				}
			}
			compare("fenced", x, out, want)
		}
		// y alone tells the length.
		out := slices.Repeat([]Y{3}, n+canary)
		run(out[:n], all[from:min(from+n+canary, len(all))])
		compare("x longer", x, out, want)
		for _, v := range out[n:] {
			if v != 3 {
				t.Fatalf("n=%d: wrote beyond the length of y", n)
			}
		}
	}
}

// bitsOf returns what takes the bits of an E.
func bitsOf[E float32 | BF16 | F16 | int8]() func(E) uint32 {
	if unsafe.Sizeof(*new(E)) == 4 {
		return func(x E) uint32 { return math.Float32bits(float32(x)) }
	}
	return func(x E) uint32 { return uint32(x) }
}

// placeOf is fence.place for elements of another type: the band beside them holds
// two bytes, repeated.
func placeOf[E any](f *fence, n int, end bool, low, high byte) (x []E, intact func() bool) {
	size := int(unsafe.Sizeof(*new(E)))
	mem := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(f.mem))), 4*len(f.mem))
	at, band := 0, mem[n*size:][:4*canary]
	if end {
		at = len(mem) - n*size
		band = mem[at-4*canary : at]
	}
	for i := range band {
		band[i] = []byte{low, high}[i%2]
	}
	// Of no elements none has an address past the fence.
	if n > 0 {
		x = unsafe.Slice((*E)(unsafe.Pointer(&mem[at])), n)
	}
	return x, func() bool {
		for i, v := range band {
			if v != []byte{low, high}[i%2] {
				return false
			}
		}
		return true
	}
}

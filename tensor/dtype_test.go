package tensor

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// roundModel rounds to p significant bits, ties to even, with exponents from
// emin (of the last place of the smallest numbers) to the overflow bound, by
// exact arithmetic.
func roundModel(x *big.Float, bits, emin int, limit float64) float64 {
	if x.Sign() == 0 {
		v, _ := x.Float64()
		return v
	}
	// Count in units of the last place, a power of two.
	place := max(x.MantExp(nil)-bits, emin)
	units := new(big.Float).SetMantExp(new(big.Float).SetPrec(200).Abs(x), -place)
	whole, _ := units.Int(nil)
	rest := new(big.Float).Sub(units, new(big.Float).SetPrec(200).SetInt(whole))
	if c := rest.Cmp(big.NewFloat(.5)); c > 0 || c == 0 && whole.Bit(0) == 1 {
		whole.Add(whole, big.NewInt(1))
	}
	v, _ := new(big.Float).SetMantExp(new(big.Float).SetInt(whole), place).Float64()
	if v > limit {
		v = math.Inf(1)
	}
	return math.Copysign(v, float64(x.Sign()))
}

// specials are values where conversions go wrong, as float64.
func specials() []float64 {
	out := []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), 1, -1, .5, -.5, 1.5, -1.5, 2.999,
		255, 256, 300, -7, 1 << 24, 1<<24 + 1, 1 << 31, 1<<31 - 1, -1 << 31, -1<<31 - 1, 1 << 53, 0x1p63, -0x1p63, 1e300, -1e300,
		5e-324, 0x1p-149, 0x1p-150, 0x1.8p-150, 0x1p-126, 0x1p-24, 0x1p-25, 0x1.8p-25, 0x1.000002p-25, 0x1p-14, 65504, 65519.999, 65520,
		math.MaxFloat32, 0x1.ffffffp127, 0x1.fep127, 0x1.fefp127, 0x1.ffp127,
		1 + 0x1p-8 + 0x1p-40, 1 + 0x1p-8, 1 + 0x1p-11 + 0x1p-40, 1 + 3*0x1p-11 - 0x1p-40, 1 + 0x1p-24 + 0x1p-50}
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		out = append(out, math.Ldexp(r.Float64()-.5, r.IntN(300)-160), math.Float64frombits(r.Uint64()))
	}
	return out
}

// castModel converts one exact value (or NaN, ±Inf in f) as Copy promises.
func castModel(f float64, x *big.Float, integer bool, to DType) float64 {
	if x == nil || x.Sign() == 0 { // NaN, ±Inf, ±0
		switch to {
		case Bool:
			if f != 0 {
				return 1
			}
			return 0
		case Int32, Int64, Uint8:
			low, high := math.Inf(-1), math.Inf(1)
			switch to {
			case Int32:
				low, high = math.MinInt32, math.MaxInt32
			case Int64:
				low, high = math.MinInt64, math.MaxInt64
			case Uint8:
				low, high = 0, 255
			}
			if f != f {
				return 0
			}
			return min(max(f, low), high) + 0
		}
		return f
	}
	switch to {
	case Float32:
		return roundModel(x, 24, -149, math.MaxFloat32)
	case BFloat16:
		return roundModel(x, 8, -133, 0x1.fep127)
	case Float16:
		return roundModel(x, 11, -24, 65504)
	case Float64:
		return roundModel(x, 53, -1074, math.MaxFloat64)
	case Bool:
		return 1
	}
	whole, _ := x.Int(nil)
	bits := map[DType]uint{Int32: 32, Int64: 64, Uint8: 8}[to]
	low, high := new(big.Int), new(big.Int).Lsh(big.NewInt(1), bits)
	if to != Uint8 {
		high.Rsh(high, 1)
		low.Neg(high)
	}
	high.Sub(high, big.NewInt(1))
	switch {
	case integer && whole.Cmp(low) < 0 || integer && whole.Cmp(high) > 0: // wraps
		span := new(big.Int).Lsh(big.NewInt(1), bits)
		whole.Mod(whole, span)
		if whole.Cmp(high) > 0 {
			whole.Sub(whole, span)
		}
	case whole.Cmp(low) < 0:
		whole = low
	case whole.Cmp(high) > 0:
		whole = high
	}
	v, _ := new(big.Float).SetInt(whole).Float64()
	return v
}

// exactly returns the value of a float64 as a big number, nil for NaN and ±Inf.
func exactly(f float64) *big.Float {
	if f != f || math.IsInf(f, 0) {
		return nil
	}
	return new(big.Float).SetPrec(200).SetFloat64(f)
}

// TestCast converts the special values between all pairs of dtypes, contiguous
// and strided, against exact arithmetic.
func TestCast(t *testing.T) {
	source := From(CPU, specials(), len(specials()))
	wide := []int64{math.MaxInt64, math.MinInt64, math.MaxInt64 - 1, 1<<53 + 1, -1<<53 - 1, 1<<60 + 1<<36, 1<<60 + 1<<36 + 1,
		-(1<<60 + 1<<36 + 1), 1<<60 + 1<<52 + 1, 1<<60 + 1<<52, 1<<60 + 1<<52 - 1, 1<<62 + 1<<9, 1<<33 + 7, -129, 300}
	r := rand.New(rand.NewPCG(2, 2))
	for range 500 {
		wide = append(wide, int64(r.Uint64())>>r.IntN(64))
	}
	for from := range dtypes {
		var x *Tensor
		if DType(from) == Int64 {
			x = From(CPU, wide, len(wide))
		} else {
			x = Cast(source, DType(from))
		}
		n := x.Len()
		held := get(x).v
		big64 := make([]*big.Float, n)
		for i, v := range held {
			if big64[i] = exactly(v); DType(from) == Int64 {
				big64[i] = new(big.Float).SetPrec(200).SetInt64(wide[i])
			}
		}
		for to := range dtypes {
			name := fmt.Sprintf("%s to %s", DType(from), DType(to))
			y, z := Cast(x, DType(to)), New(CPU, DType(to), n, 2)
			Copy(z.Index(1, 1), x.Unsqueeze(1).Expand(n, 3).Index(1, 2)) // strided on both sides
			got, again := get(y).v, get(z.Index(1, 1)).v
			for i := range got {
				want := castModel(held[i], big64[i], isInteger(DType(from)), DType(to))
				if !same64(got[i], want) || !same64(again[i], want) {
					t.Errorf("%s: %v gives %v and, strided, %v; want %v", name, big64[i], got[i], again[i], want)
					break
				}
			}
		}
	}
}

// TestFillConverts checks that Fill converts as Copy does.
func TestFillConverts(t *testing.T) {
	for _, v := range specials()[:60] {
		for to := range dtypes {
			got := Full(CPU, DType(to), v, 1)
			if want := Cast(From(CPU, []float64{v}, 1), DType(to)); !same64(got.Item(), want.Item()) {
				t.Errorf("fill of %s with %v gives %v, a cast %v", DType(to), v, got.Item(), want.Item())
			}
		}
	}
}

// TestCastHalves converts between float32 and 16-bit floats: whole tensors of
// several pieces, views whose rows alone are contiguous, of one piece and of two,
// and views without two elements side by side. The scalar conversions say what
// comes out, bit for bit, NaNs too.
func TestCastHalves(t *testing.T) {
	castHalves(t, ToBF16)
	castHalves(t, ToF16)
}

func castHalves[H BF16 | F16](t *testing.T, narrow func(float32) H) {
	for _, dims := range [][2]int{{1, 1}, {3, 5}, {40, 1000}, {4, 20_001}} {
		rows, cols := dims[0], dims[1]
		codes, floats := make([]H, 2*rows*cols), make([]float32, 2*rows*cols)
		for i := range codes {
			codes[i], floats[i] = H(i*25_717), math.Float32frombits(uint32(i)*2_654_435_761)
		}
		half, float := From(CPU, codes, rows, 2*cols), From(CPU, floats, rows, 2*cols)
		for name, view := range map[string]func(x *Tensor) *Tensor{
			"whole":   func(x *Tensor) *Tensor { return x },
			"rows":    func(x *Tensor) *Tensor { return x.Slice(1, 1, cols+1, 1) },
			"strided": func(x *Tensor) *Tensor { return x.Transpose(0, 1) },
		} {
			from, to := view(half), view(float)
			got := Data[float32](Cast(from, Float32))
			for i, h := range Data[H](from.Compact()) {
				if want := wide(h); math.Float32bits(got[i]) != math.Float32bits(want) {
					t.Fatalf("%T %v %s: %#04x gives %#08x, want %#08x", h, dims, name, h, math.Float32bits(got[i]), math.Float32bits(want))
				}
			}
			back := Data[H](Cast(to, TypeOf[H]()))
			for i, x := range Data[float32](to.Compact()) {
				if want := narrow(x); back[i] != want {
					t.Fatalf("%T %v %s: %#08x gives %#04x, want %#04x", want, dims, name, math.Float32bits(x), back[i], want)
				}
			}
		}
	}
}

func wide[H BF16 | F16](h H) float32 { return any(h).(interface{ Float32() float32 }).Float32() }

func TestDTypeTable(t *testing.T) {
	for d, want := range map[DType]DType{Float32: TypeOf[float32](), Float64: TypeOf[float64](), BFloat16: TypeOf[BF16](), Float16: TypeOf[F16](),
		Int32: TypeOf[int32](), Int64: TypeOf[int64](), Uint8: TypeOf[uint8](), Bool: TypeOf[bool]()} {
		if d != want {
			t.Errorf("TypeOf gives %s for %s", want, d)
		}
		if New(CPU, d, 3).store.size != 3*d.Size() {
			t.Errorf("%s: size %d", d, d.Size())
		}
	}
}

package tensor

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var nan = math.NaN()

// TestArgMaxTies: the first of equals, and the first NaN above all.
func TestArgMaxTies(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		x    []float64
		want float64
	}{
		{[]float64{1, 3, 3, 2}, 1},
		{[]float64{0, math.Copysign(0, -1), 0}, 0},
		{[]float64{math.Copysign(0, -1), 0}, 0},
		{[]float64{1, nan, inf, nan}, 1},
		{[]float64{nan, 1}, 0},
		{[]float64{-inf, -inf}, 0},
		{[]float64{-inf, -1, -2}, 1},
	} {
		x := From(CPU, c.x, len(c.x))
		for _, dt := range []DType{Float32, Float64} {
			if got := ArgMax(Cast(x, dt), 0).Item(); got != c.want {
				t.Errorf("%v: %v, want %v", c.x, got, c.want)
			}
			// As a column, beside another.
			two := Stack(1, Cast(x, dt), Cast(x, dt))
			mustEqual(t, "column", ArgMax(two, 0), array{[]int{2}, []float64{c.want, c.want}})
		}
		if m := Max(x, false).Item(); !same64(m, c.x[int(c.want)]) && m != c.x[int(c.want)] {
			t.Errorf("%v: Max %v and ArgMax disagree", c.x, m)
		}
	}
}

// TestTopKOrder: falling, NaN first, equals by index; and against a full sort.
func TestTopKOrder(t *testing.T) {
	v, id := TopK(From(CPU, []float64{2, nan, 3, 2, math.Inf(1), nan, 3}, 7), 6)
	mustEqual(t, "values", v, array{[]int{6}, []float64{nan, nan, math.Inf(1), 3, 3, 2}})
	mustEqual(t, "indices", id, array{[]int{6}, []float64{1, 5, 4, 2, 6, 0}})
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		n := 1 + r.IntN(100)
		x := make([]int32, n)
		for i := range x {
			x[i] = int32(r.IntN(20))
		}
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return int(x[b] - x[a]) })
		k := r.IntN(n + 1)
		_, id := TopK(From(CPU, x, n), k)
		for i, got := range Data[int32](id) {
			if int(got) != order[i] {
				t.Fatalf("top %d of %v: %v, want %v", k, x, Data[int32](id), order[:k])
			}
		}
	}
}

// TestTakePut: PutAlongAdd is the transpose of TakeAlong, ⟨take x, g⟩ = ⟨x, put g⟩.
func TestTakePut(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	x, g := put(CPU, Float64, random(r, -1, 1, 4, 6, 3)), put(CPU, Float64, random(r, -1, 1, 4, 9, 3))
	id := put(CPU, Int32, random(r, 0, 6, 4, 9, 3).rounded(Int32))
	left := Sum(Mul(TakeAlong(x, id, 1), g), false).Item()
	right := Sum(Mul(x, PutAlongAdd(g, id, 1, 6)), false).Item()
	if math.Abs(left-right) > 1e-12 {
		t.Errorf("%v and %v", left, right)
	}
	// TopK and TakeAlong agree.
	v, at := TopK(x, 2)
	mustEqual(t, "take of topk", TakeAlong(x, at, -1), get(v))
}

// TestCumSumGrad: ⟨cumsum x, g⟩ = ⟨x, grad g⟩, and integers wrap.
func TestCumSumGrad(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	x, g := put(CPU, Float64, random(r, -1, 1, 4, 130, 3)), put(CPU, Float64, random(r, -1, 1, 4, 130, 3))
	for axis := range 3 {
		left := Sum(Mul(CumSum(x, axis), g), false).Item()
		right := Sum(Mul(x, CumSumGrad(g, axis)), false).Item()
		if math.Abs(left-right) > 1e-10 {
			t.Errorf("axis %d: %v and %v", axis, left, right)
		}
	}
	mustEqual(t, "wrap", CumSum(From(CPU, []uint8{200, 100, 3}, 3), 0), array{[]int{3}, []float64{200, 44, 47}})
}

// TestMaskedFill: every dtype, with a broadcast mask; NaN payloads stay.
func TestMaskedFill(t *testing.T) {
	mask := From(CPU, []bool{true, false, true}, 3)
	for dt := range dtypes {
		x := Full(CPU, DType(dt), 1, 2, 3)
		mustEqual(t, DType(dt).String(), MaskedFill(x, mask, 0), array{[]int{2, 3}, []float64{0, 1, 0, 0, 1, 0}})
	}
	odd := From(CPU, []float32{math.Float32frombits(0x7fc12345)}, 1)
	y := Where(From(CPU, []bool{false}, 1), Zeros(CPU, Float32, 1), odd)
	if b := math.Float32bits(Data[float32](y)[0]); b != 0x7fc12345 {
		t.Errorf("NaN %#x came out as %#x", 0x7fc12345, b)
	}
}

func TestCompareNaN(t *testing.T) {
	a, b := From(CPU, []float64{nan, 1, nan, 0}, 4), From(CPU, []float64{1, nan, nan, math.Copysign(0, -1)}, 4)
	mustEqual(t, "less", Less(a, b), array{[]int{4}, []float64{0, 0, 0, 0}})
	mustEqual(t, "less-equal", LessEqual(a, b), array{[]int{4}, []float64{0, 0, 0, 1}})
	mustEqual(t, "equal", Equal(a, b), array{[]int{4}, []float64{0, 0, 0, 1}})
	// Integers beyond the reach of float64 compare exactly.
	c, d := From(CPU, []int64{1<<60 + 1}, 1), From(CPU, []int64{1 << 60}, 1)
	mustEqual(t, "int64", Equal(c, d), array{[]int{1}, []float64{0}})
}

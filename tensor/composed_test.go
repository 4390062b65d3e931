package tensor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// Tests of what is put together from primitives, or writes in place.

func TestJoin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	for _, dt := range []DType{Float32, Int64, Bool} {
		a, b := random(r, 0, 9, 2, 3, 4).rounded(dt), random(r, 0, 9, 2, 0, 4)
		c := random(r, 0, 9, 2, 2, 4).rounded(dt)
		want := zeros(2, 5, 4)
		each(want.shape, func(ix []int) {
			if ix[1] < 3 {
				*want.ref(ix) = a.at(ix...)
			} else {
				*want.ref(ix) = c.at(ix[0], ix[1]-3, ix[2])
			}
		})
		for _, l := range layouts[:4] {
			x, y, z := l.build(CPU, dt, a), l.build(CPU, dt, b), l.build(CPU, dt, c)
			joined := Concat(-2, x, y, z)
			mustEqual(t, "concat "+l.name, joined, want)
			for i, part := range joined.Split(1, 3, 0, 2) {
				mustEqual(t, "split", part, []array{a, b, c}[i])
			}
			stacked := Stack(1, x, x)
			for i := range 2 {
				mustEqual(t, "stack "+l.name, stacked.Index(1, i), a)
			}
		}
	}
}

func TestMean(t *testing.T) {
	x := From(CPU, []float32{1, 2, 3, 4, 5, 9}, 2, 3)
	mustEqual(t, "all", Mean(x, false), array{[]int{}, []float64{4}})
	mustEqual(t, "rows", Mean(x, true, 1), array{[]int{2, 1}, []float64{2, 6}})
}

// TestMatMulAdd accumulates into targets of all the layouts it allows.
func TestMatMulAdd(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	for _, s := range [][3]int{{1, 1, 1}, {1, 5, 3}, {7, 9, 1}, {33, 17, 20}, {4, 0, 3}, {0, 2, 2}} {
		m, k, n := s[0], s[1], s[2]
		a, b := random(r, -1, 1, m, k).rounded(Float32), random(r, -1, 1, k, n).rounded(Float32)
		product := matmulModel([]array{a, b})[0]
		for name, c := range map[string]*Tensor{
			"contiguous": Full(CPU, Float32, 2, m, n),
			"narrow":     Full(CPU, Float32, 2, m+2, n+3).Narrow(0, 1, m).Narrow(1, 2, n),
			"reshaped":   Full(CPU, Float32, 2, 1, m*n).Reshape(m, n),
		} {
			if m == 1 {
				c = Full(CPU, Float32, 2, n).Unsqueeze(0) // stride 0
			}
			for _, l := range layouts[:4] {
				before := get(c)
				MatMulAdd(c, l.build(CPU, Float32, a), l.build(CPU, Float32, b))
				for i, v := range get(c).v {
					want := before.v[i] + product.val.v[i]
					if math.Abs(v-want) > 0x1p-24*(product.err.v[i]+2*math.Abs(want)+4) {
						t.Errorf("%v %s %s: element %d is %v, want %v", s, name, l.name, i, v, want)
						break
					}
				}
			}
		}
	}
}

// TestInPlace adds a tensor to itself and to strided views of others.
func TestInPlace(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 6))
	a, b := random(r, -1, 1, 5, 7).rounded(Float64), random(r, -1, 1, 5, 7).rounded(Float64)
	for _, l := range layouts {
		bb := array{b.shape, append([]float64(nil), b.v...)}
		l.prepare(bb)
		y := put(CPU, Float64, a)
		AddInto(y, l.build(CPU, Float64, bb))
		want := zeros(5, 7)
		for i := range want.v {
			want.v[i] = a.v[i] + bb.v[i]
		}
		mustEqual(t, l.name, y, want)
		AddInto(y, y)
		for i := range want.v {
			want.v[i] *= 2
		}
		mustEqual(t, "doubled", y, want)
	}
}

// TestMulInto multiplies by one element, of any number of axes, and by rows, and a
// tensor by itself, with more and fewer elements than a piece has; and Sub has either
// operand repeated.
func TestMulInto(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for _, shape := range [][]int{{}, {5}, {3, 7}, {piece}, {piece + 1}, {3, piece}, {100, 173}} {
		a := random(r, -1, 1, shape...).rounded(Float32)
		for _, by := range []array{random(r, -1, 1).rounded(Float32), random(r, -1, 1, shape...).rounded(Float32)} {
			b := func(i int) float64 { return by.v[i%len(by.v)] }
			product, less, more := zeros(shape...), zeros(shape...), zeros(shape...)
			for i, v := range a.v {
				product.v[i] = float64(float32(v * b(i)))
				less.v[i], more.v[i] = float64(float32(v-b(i))), float64(float32(b(i)-v))
			}
			y, x := put(CPU, Float32, a), put(CPU, Float32, by)
			mustEqual(t, "sub", Sub(y, x), less)
			mustEqual(t, "sub from", Sub(x, y), more)
			MulInto(y, x)
			mustEqual(t, "mul", y, product)
			MulInto(y, y)
			for i, v := range product.v {
				product.v[i] = float64(float32(v * v))
			}
			mustEqual(t, "square", y, product)
		}
	}
	before := Live()
	y, x := Full(CPU, Float32, 2, 300, 20), Full(CPU, Float32, 3)
	MulInto(y, x)
	y.Release()
	x.Release()
	if n := Live() - before; n != 0 {
		t.Errorf("%d blocks were left", n)
	}
}

// TestLinearCrossEntropyParts: what is not asked for is nil, and the rest keeps its
// bits.
func TestLinearCrossEntropyParts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 10))
	x, w := put(CPU, Float32, random(r, -1, 1, 6, 4)), put(CPU, Float32, random(r, -1, 1, 9, 4))
	target, weight := From(CPU, []int32{0, 8, -1, 3, 3, -1}, 6), Full(CPU, Float32, 0.25, 6)
	loss, gx, gw := LinearCrossEntropy(x, w, target, weight, true, true)
	for _, need := range [][2]bool{{false, false}, {true, false}, {false, true}} {
		l, a, b := LinearCrossEntropy(x, w, target, weight, need[0], need[1])
		mustEqual(t, "loss", l, get(loss))
		if (a != nil) != need[0] || (b != nil) != need[1] {
			t.Fatalf("asked for %v, got %v and %v", need, a, b)
		}
		if a != nil {
			mustEqual(t, "gx", a, get(gx))
		}
		if b != nil {
			mustEqual(t, "gw", b, get(gw))
		}
	}
}

// TestAttentionFused takes q, k and v as views of one product, as a model does,
// and the gradients as views of one gradient: the bits are those of apart.
func TestAttentionFused(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	const b, n, h, dh = 2, 9, 3, 8
	qkv := put(CPU, Float32, random(r, -1, 1, b, n, 3, h, dh))
	gy := put(CPU, Float32, random(r, -1, 1, b, n, h, dh))
	fused := Zeros(CPU, Float32, b, n, 3, h, dh)
	var x, apart, g, gApart [3]*Tensor
	for i := range x {
		x[i], g[i] = qkv.Index(2, i), fused.Index(2, i)
		apart[i], gApart[i] = x[i].Clone(), Zeros(CPU, Float32, b, n, h, dh)
	}
	o, lse := Attention(x[0], x[1], x[2], Causal, nil)
	o2, lse2 := Attention(apart[0], apart[1], apart[2], Causal, nil)
	mustEqual(t, "o", o, get(o2))
	mustEqual(t, "lse", lse, get(lse2))
	AttentionGrad(g[0], g[1], g[2], x[0], x[1], x[2], o, lse, gy, Causal, nil)
	AttentionGrad(gApart[0], gApart[1], gApart[2], apart[0], apart[1], apart[2], o, lse, gy, Causal, nil)
	for i := range g {
		mustEqual(t, fmt.Sprint("gradient ", i), g[i], get(gApart[i]))
	}
	// Keys that all batch entries share.
	one := put(CPU, Float32, random(r, -1, 1, 1, n, h, dh))
	shared, copied := one.Expand(b, n, h, dh), one.Expand(b, n, h, dh).Clone()
	o, _ = Attention(x[0], shared, shared, NoMask, nil)
	o2, _ = Attention(x[0], copied, copied, NoMask, nil)
	mustEqual(t, "shared keys", o, get(o2))
}

// TestTo moves tensors of all layouts between devices.
func TestTo(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 8))
	for _, dev := range append(testDevices(t), testPool()) {
		for _, l := range layouts {
			a := random(r, -1, 1, 3, 4).rounded(Float32)
			l.prepare(a)
			x := l.build(CPU, Float32, a)
			y := x.To(dev)
			z := y.To(CPU)
			mustEqual(t, dev.Name+" "+l.name, y, a)
			mustEqual(t, dev.Name+" "+l.name, z, a)
			if y.Device() != dev || z.Device() != CPU {
				t.Errorf("%s: wrong device", dev.Name)
			}
			if dev == CPU && (y.store != x.store || y == x) {
				t.Error("To the same device is not a view")
			}
		}
	}
}

func TestString(t *testing.T) {
	if s := From(CPU, []int32{1, 2, 3, 4}, 2, 2).Transpose(0, 1).String(); s != "int32[2 2]@cpu[1 3 2 4]" {
		t.Error(s)
	}
	if s := Zeros(CPU, Float32, 100).String(); strings.Contains(s, "0 0") {
		t.Error(s)
	}
	if v := From(CPU, []F16{0x3c00}, 1, 1).Item(); v != 1 {
		t.Error(v)
	}
}

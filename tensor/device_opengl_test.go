//go:build opengl

package tensor

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"fuerte/kernels"
)

var openedGL struct {
	sync.Once
	dev *Device
	err error
}

// openGL opens one device for all tests. Without a driver they are skipped, but
// fail if FUERTE_OPENGL says that there is one.
func openGL(t *testing.T) *Device {
	t.Helper()
	openedGL.Do(func() {
		if openedGL.dev, openedGL.err = OpenGL(); openedGL.err == nil {
			fmt.Println("opengl tests run on", OpenGLContext(New(openedGL.dev, Float32, 1)).Info())
		}
	})
	if openedGL.err != nil {
		if os.Getenv("FUERTE_OPENGL") != "" {
			t.Fatal(openedGL.err)
		}
		t.Skip("NOT RUN: ", openedGL.err)
	}
	return openedGL.dev
}

func init() {
	extraDevices = func(t *testing.T) []*Device { return []*Device{openGL(t)} }
}

// A gpuCase is an op with operands of its own making; run gives the results. The
// operand with number k is made by the layout of the case in turn.
type gpuCase struct {
	name   string
	shapes [][]int
	lo, hi float64 // of the operands' values
	tol    float64 // |got − want| ≤ tol·(1 + |want|)
	views  bool    // operands may be of any layout
	run    func(x []*Tensor) []*Tensor
}

func gpuOne(t *Tensor) []*Tensor { return []*Tensor{t} }

func gpuIDs(dev *Device, n, below int) *Tensor {
	id := make([]int32, n)
	for i := range id {
		id[i] = int32((i*7 + 3) % below)
	}
	return From(dev, id, n)
}

func gpuCases() []gpuCase {
	both := [][]int{{6, 5, 33}, {6, 5, 33}}
	three := [][]int{{6, 5, 33}, {6, 5, 33}, {6, 5, 33}}
	map1 := func(name string, lo, hi, tol float64, f func(x *Tensor) *Tensor) gpuCase {
		return gpuCase{name, [][]int{{6, 5, 33}}, lo, hi, tol, true, func(x []*Tensor) []*Tensor { return gpuOne(f(x[0])) }}
	}
	map2 := func(name string, shapes [][]int, lo, hi, tol float64, f func(a, b *Tensor) *Tensor) gpuCase {
		return gpuCase{name, shapes, lo, hi, tol, true, func(x []*Tensor) []*Tensor { return gpuOne(f(x[0], x[1])) }}
	}
	step := &kernels.AdamWStep[float64]{Clip: 0.5, Beta1: 0.9, Beta2: 0.95, Keep: 0.999, Rate: 0.01, RSqrtC2: 3, Eps: 1e-8}
	attention := func(name string, q, k []int, m Mask, prefix []int32) gpuCase {
		return gpuCase{name, [][]int{q, k, k, q}, -2, 2, 4e-6, false, func(x []*Tensor) []*Tensor {
			dev := x[0].Device()
			var p *Tensor
			if prefix != nil {
				p = From(dev, prefix, len(prefix))
			}
			o, lse := Attention(x[0], x[1], x[2], m, p)
			gq, gk, gv := x[0].Clone(), x[1].Clone(), x[2].Clone()
			AttentionGrad(gq, gk, gv, x[0], x[1], x[2], o, lse, x[3], m, p)
			return []*Tensor{o, lse, gq, gk, gv}
		}}
	}
	linear := func(name string, logits int) gpuCase {
		return gpuCase{name, [][]int{{20, 9}, {33, 9}, {20}}, -2, 2, 2e-5, true, func(x []*Tensor) []*Tensor {
			defer func(before int) { gpuLogits = before }(gpuLogits)
			gpuLogits = logits
			target := make([]int32, 20)
			for i := range target {
				target[i] = int32(i*5%34) - 1
			}
			loss, gx, gw := LinearCrossEntropy(x[0], x[1], From(x[0].Device(), target, 20), x[2], true, true)
			return []*Tensor{loss, gx, gw}
		}}
	}
	return []gpuCase{
		map1("Clone", -9, 9, 0, (*Tensor).Clone),
		map1("Scale", -9, 9, 1e-7, func(x *Tensor) *Tensor { return Scale(x, 0.3) }),
		map1("AddScalar", -9, 9, 1e-7, func(x *Tensor) *Tensor { return AddScalar(x, 0.3) }),
		map1("Exp", -20, 3, 1e-6, Exp),
		map1("Log", 0.01, 9, 1e-6, Log),
		map1("Sqrt", 0, 9, 1e-6, Sqrt),
		map1("Tanh", -9, 9, 1e-6, Tanh),
		map1("Erf", -5, 5, 1e-6, Erf),
		map1("Sigmoid", -9, 9, 1e-6, Sigmoid),
		map1("SiLU", -9, 9, 1e-6, SiLU),
		map1("GELU", -9, 9, 2e-6, GELU),
		map1("Softmax", -9, 9, 1e-6, Softmax),
		map1("Sum all", -1, 1, 1e-5, func(x *Tensor) *Tensor { return Sum(x, false) }),
		map1("Sum last", -1, 1, 1e-5, func(x *Tensor) *Tensor { return Sum(x, true, -1) }),
		map1("Sum first", -1, 1, 1e-5, func(x *Tensor) *Tensor { return Sum(x, false, 0) }),
		map1("Sum ends", -1, 1, 1e-5, func(x *Tensor) *Tensor { return Sum(x, false, 0, 2) }),
		map1("Max middle", -9, 9, 0, func(x *Tensor) *Tensor { return Max(x, false, 1) }),
		map1("Max last", -9, 9, 0, func(x *Tensor) *Tensor { return Max(x, true, 2) }),
		map1("Mean", -9, 9, 1e-6, func(x *Tensor) *Tensor { return Mean(x, false, 1) }),
		map1("Reshape", -9, 9, 0, func(x *Tensor) *Tensor { return x.Reshape(33, 30) }),
		map1("SumSquares", -9, 9, 1e-5, func(x *Tensor) *Tensor { return Full(x.Device(), Float32, SumSquares(x)) }),
		map2("Add", both, -9, 9, 1e-7, Add),
		map2("Sub", both, -9, 9, 1e-7, Sub),
		map2("Mul", both, -9, 9, 1e-7, Mul),
		map2("Div", both, 1, 9, 1e-6, Div),
		map2("Add rows", [][]int{{6, 5, 33}, {33}}, -9, 9, 1e-7, Add),
		map2("Mul columns", [][]int{{5, 1}, {6, 5, 33}}, -9, 9, 1e-7, Mul),
		map2("SiLUGrad", both, -9, 9, 2e-6, SiLUGrad),
		map2("GELUGrad", both, -9, 9, 2e-5, GELUGrad),
		map2("SwiGLU", both, -9, 9, 2e-6, SwiGLU),
		map2("SoftmaxGrad", both, -1, 1, 2e-5, func(y, gy *Tensor) *Tensor { return SoftmaxGrad(y, gy) }),
		map2("Concat", both, -9, 9, 0, func(a, b *Tensor) *Tensor { return Concat(1, a, b) }),
		map2("Stack", both, -9, 9, 0, func(a, b *Tensor) *Tensor { return Stack(2, a, b) }),
		map2("MatMul", [][]int{{37, 70}, {70, 65}}, -1, 1, 2e-5, MatMul),
		map2("MatMul stack", [][]int{{3, 9, 17}, {3, 17, 11}}, -1, 1, 1e-5, MatMul),
		map2("MatMul broadcast", [][]int{{2, 3, 9, 17}, {17, 11}}, -1, 1, 1e-5, MatMul),
		{"MatMulAdd", [][]int{{21, 40}, {40, 23}, {21, 23}}, -1, 1, 1e-5, true, func(x []*Tensor) []*Tensor {
			c := x[2].Clone()
			MatMulAdd(c, x[0], x[1])
			return gpuOne(c)
		}},
		{"Axpy", both, -1, 1, 1e-6, true, func(x []*Tensor) []*Tensor {
			y := x[0].Clone()
			Axpy(y, x[1], 0.7)
			AddInto(y, x[1])
			return gpuOne(y)
		}},
		{"SwiGLUGrad", three, -5, 5, 5e-6, true, func(x []*Tensor) []*Tensor {
			gg, gu := SwiGLUGrad(x[0], x[1], x[2])
			return []*Tensor{gg, gu}
		}},
		{"RMSNorm", [][]int{{6, 5, 33}, {33}, {6, 5, 33}}, -2, 2, 1e-5, false, func(x []*Tensor) []*Tensor {
			y, r := RMSNorm(x[0], x[1], 1e-5)
			gx, gw := RMSNormGrad(x[0], x[1], r, x[2])
			return []*Tensor{y, r, gx, gw}
		}},
		{"LayerNorm", [][]int{{6, 5, 33}, {33}, {33}, {6, 5, 33}}, -2, 2, 2e-5, false, func(x []*Tensor) []*Tensor {
			y, mean, r := LayerNorm(x[0], x[1], x[2], 1e-5)
			gx, gw, gb := LayerNormGrad(x[0], x[1], mean, r, x[3])
			return []*Tensor{y, mean, r, gx, gw, gb}
		}},
		{"CrossEntropy", [][]int{{20, 33}, {20}}, -5, 5, 5e-6, false, func(x []*Tensor) []*Tensor {
			target := make([]int32, 20)
			for i := range target {
				target[i] = int32(i*5%34) - 1
			}
			ids := From(x[0].Device(), target, 20)
			loss, lse := CrossEntropy(x[0], ids)
			return []*Tensor{loss, lse, CrossEntropyGrad(x[0], lse, ids, x[1])}
		}},
		linear("LinearCrossEntropy", gpuLogits),
		linear("LinearCrossEntropy in chunks", 7*33+1),
		linear("LinearCrossEntropy row by row", 1),
		{"MulInto", [][]int{{70, 71}, {1}}, -9, 9, 1e-7, true, func(x []*Tensor) []*Tensor {
			y := x[0].Clone()
			MulInto(y, x[1])
			return gpuOne(y)
		}},
		{"Gather", [][]int{{9, 5}, {12, 5}}, -5, 5, 1e-6, true, func(x []*Tensor) []*Tensor {
			id := gpuIDs(x[0].Device(), 12, 9)
			return []*Tensor{Gather(x[0], id), ScatterAdd(x[1], id, 9)}
		}},
		{"AdamW", [][]int{{100}, {100}, {100}, {100}}, 0, 1, 1e-6, false, func(x []*Tensor) []*Tensor {
			p, m, v := x[0].Clone(), x[1].Clone(), x[2].Clone()
			AdamW(p, m, v, x[3], step)
			return []*Tensor{p, m, v}
		}},
		attention("Attention", []int{2, 9, 3, 8}, []int{2, 70, 3, 8}, NoMask, nil),
		attention("Attention causal", []int{2, 70, 2, 16}, []int{2, 70, 2, 16}, Causal, nil),
		attention("Attention prefix", []int{2, 33, 2, 12}, []int{2, 40, 2, 12}, Causal, []int32{5, 37}),
		attention("Attention one query", []int{3, 1, 2, 4}, []int{3, 7, 2, 4}, Causal, nil),
	}
}

// TestOpenGLAgainstCPU runs every op on both devices, with operands of every
// layout, and compares all results.
func TestOpenGLAgainstCPU(t *testing.T) {
	dev := openGL(t)
	for _, c := range gpuCases() {
		t.Run(c.name, func(t *testing.T) {
			for _, l := range layouts {
				if !c.views && l.name != "contiguous" {
					continue
				}
				results := make([][]*Tensor, 2)
				for d, dev := range []*Device{CPU, dev} {
					r := rand.New(rand.NewPCG(3, uint64(len(c.name))))
					var x []*Tensor
					for _, shape := range c.shapes {
						a := random(r, c.lo, c.hi, shape...).rounded(Float32)
						l.prepare(a)
						x = append(x, l.build(dev, Float32, a))
					}
					results[d] = c.run(x)
				}
				for k := range results[0] {
					want, got := get(results[0][k]), get(results[1][k])
					if results[1][k].Device() != dev {
						t.Errorf("%s: result %d is on %s", l.name, k, results[1][k].Device().Name)
					}
					if !slices.Equal(want.shape, got.shape) {
						t.Fatalf("%s: result %d has shape %v, want %v", l.name, k, got.shape, want.shape)
					}
					for i, w := range want.v {
						if g := got.v[i]; !(math.Abs(g-w) <= c.tol*(1+math.Abs(w))) {
							t.Fatalf("%s: result %d, element %d of %v: %v, on the CPU %v", l.name, k, i, want.shape, g, w)
						}
					}
				}
			}
		})
	}
}

// TestOpenGLFusedAttention: q, k and v, and their gradients, as views of one
// product each.
func TestOpenGLFusedAttention(t *testing.T) {
	const B, T, H, dh = 2, 19, 2, 6
	dev := openGL(t)
	r := rand.New(rand.NewPCG(5, 5))
	x, g := random(r, -1, 1, B, T, 3*H*dh), random(r, -1, 1, B, T, H, dh)
	var results [2]array
	for d, dev := range []*Device{CPU, dev} {
		split := func(all *Tensor) (p [3]*Tensor) {
			for i, v := range all.Split(2, H*dh, H*dh, H*dh) {
				p[i] = v.Reshape(B, T, H, dh)
			}
			return p
		}
		gx := Zeros(dev, Float32, B, T, 3*H*dh)
		q, gq := split(put(dev, Float32, x)), split(gx)
		o, lse := Attention(q[0], q[1], q[2], Causal, nil)
		AttentionGrad(gq[0], gq[1], gq[2], q[0], q[1], q[2], o, lse, put(dev, Float32, g), Causal, nil)
		results[d] = get(gx)
	}
	for i, w := range results[0].v {
		if g := results[1].v[i]; !(math.Abs(g-w) <= 4e-6*(1+math.Abs(w))) {
			t.Fatalf("element %d: %v, on the CPU %v", i, g, w)
		}
	}
}

// TestOpenGLTransfers moves every dtype there and back, whole and in part.
func TestOpenGLTransfers(t *testing.T) {
	dev := openGL(t)
	for dt := range DType(len(dtypes)) {
		if dt == BFloat16 || dt == Float16 {
			continue // put has no values of theirs; Uint8 and Int64 stand for their sizes
		}
		for _, n := range []int{0, 1, 2, 3, 4, 5, 101} {
			a := random(rand.New(rand.NewPCG(1, uint64(n))), 0, 99, n).rounded(dt)
			x := put(CPU, dt, a).To(dev)
			mustEqual(t, dt.String(), x.To(CPU), a)
			if n > 3 {
				mustEqual(t, dt.String()+" in part", x.Narrow(0, 3, n-3).To(CPU), array{[]int{n - 3}, a.v[3:]})
			}
		}
	}
	mustEqual(t, "int32 transposed", put(dev, Int32, array{[]int{2, 3}, []float64{1, 2, 3, 4, 5, 6}}).Transpose(0, 1).Clone(), array{[]int{3, 2}, []float64{1, 4, 2, 5, 3, 6}})
	mustEqual(t, "bool filled", Full(dev, Bool, 1, 5), array{[]int{5}, []float64{1, 1, 1, 1, 1}})
	mustEqual(t, "int32 filled", Full(dev, Int32, -7, 3), array{[]int{3}, []float64{-7, -7, -7}})
}

// TestOpenGLMissing: what the device lacks fails naming both, and nothing goes
// to the host for it.
func TestOpenGLMissing(t *testing.T) {
	dev := openGL(t)
	x := Full(dev, Float32, 1, 4)
	for name, f := range map[string]func(){
		"no Exp for float64":                       func() { Exp(From(dev, []float64{1}, 1)) },
		"no Add for int32":                         func() { Add(Full(dev, Int32, 1, 4), Full(dev, Int32, 1, 4)) },
		"no Fill for int64":                        func() { Zeros(dev, Int64, 4) },
		"Copy on opengl: no conversion from int32": func() { Cast(Full(dev, Int32, 1, 4), Float32) },
	} {
		func() {
			defer func() {
				var e *DeviceError
				if err, ok := recover().(error); !ok || !errors.As(err, &e) || !strings.Contains(err.Error(), name) || e.Device != "opengl" {
					t.Errorf("%s: panic with %v", name, err)
				}
			}()
			f()
		}()
	}
	for _, op := range []string{"Attention", "AdamW", "MatMul"} {
		if !dev.Supports(op, Float32) || dev.Supports(op, Float64) {
			t.Errorf("Supports is wrong about %s", op)
		}
	}
	mustPanic(t, "add", "opengl", func() { Add(x, Full(CPU, Float32, 1, 4)) })
}

// TestOpenGLMemory: a loop that releases what it makes does not grow.
func TestOpenGLMemory(t *testing.T) {
	dev := openGL(t)
	x := Full(dev, Float32, 1, 1000)
	for range 200 {
		y := Add(x, x)
		z := Scale(y, 0.5)
		y.Release()
		x.Release()
		x = z
	}
	if got := x.Narrow(0, 999, 1).Item(); got != 1 {
		t.Errorf("after the loop %v, want 1", got)
	}
}

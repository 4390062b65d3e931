package tensor

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"fuerte/kernels"
)

func f32(shape ...int) *Tensor { return Zeros(CPU, Float32, shape...) }
func f64(shape ...int) *Tensor { return Zeros(CPU, Float64, shape...) }
func i32(shape ...int) *Tensor { return Zeros(CPU, Int32, shape...) }

// TestMisuse calls every op wrongly: the panic is a *ShapeError that names the
// op, the shapes and the rule.
func TestMisuse(t *testing.T) {
	other := testPool()
	far := func(shape ...int) *Tensor { return Zeros(other, Float32, shape...) }
	q := f32(2, 3, 2, 4)
	step := kernels.AdamWStep[float64]{}
	for _, c := range []struct {
		op, rule string
		call     func()
	}{
		{"new", "negative", func() { New(CPU, Float32, 2, -1) }},
		{"new", "overflows", func() { New(CPU, Float32, math.MaxInt/2, 3) }},
		{"new", "overflows", func() { New(CPU, Uint8, 1<<31, 1<<31, 2) }},
		{"new", "rank 9", func() { New(CPU, Float32, 1, 1, 1, 1, 1, 1, 1, 1, 1) }},
		{"from", "5 elements were given, 6 are needed", func() { From(CPU, make([]float32, 5), 2, 3) }},
		{"from", "overflows", func() { From(CPU, []float32{}, math.MaxInt, math.MaxInt) }},
		{"data", "holds float32, not float64", func() { Data[float64](f32(2)) }},
		{"data", "strided", func() { Data[float32](f32(2, 3).Transpose(0, 1)) }},
		{"item", "one element", func() { f32(2).Item() }},
		{"dim", "axis 2", func() { f32(2, 3).Dim(2) }},
		{"dim", "axis -3", func() { f32(2, 3).Dim(-3) }},

		{"narrow", "outside axis 1", func() { f32(2, 3).Narrow(1, 2, 2) }},
		{"narrow", "outside axis 0", func() { f32(2, 3).Narrow(0, -1, 1) }},
		{"narrow", "outside axis 0", func() { f32(2, 3).Narrow(0, 1, -1) }},
		{"narrow", "outside axis 0", func() { f32(2, 3).Narrow(0, math.MaxInt, math.MaxInt) }},
		{"narrow", "axis 5", func() { f32(2, 3).Narrow(5, 0, 1) }},
		{"slice", "outside", func() { f32(5).Slice(0, 0, 6, 1) }},
		{"slice", "outside", func() { f32(5).Slice(0, 3, 2, 1) }},
		{"slice", "outside", func() { f32(5).Slice(0, 0, 5, 0) }},
		{"slice", "outside", func() { f32(5).Slice(0, -1, 5, 1) }},
		{"index", "outside", func() { f32(5).Index(0, 5) }},
		{"index", "axis 1", func() { f32(5).Index(1, 0) }},
		{"permute", "every axis", func() { f32(2, 3).Permute(0) }},
		{"permute", "twice", func() { f32(2, 3).Permute(1, -1) }},
		{"permute", "axis 2", func() { f32(2, 3).Permute(0, 2) }},
		{"transpose", "axis 2", func() { f32(2, 3).Transpose(0, 2) }},
		{"expand", "axis 0 of size 2", func() { f32(2, 3).Expand(4, 3) }},
		{"expand", "fewer", func() { f32(2, 3).Expand(3) }},
		{"expand", "overflows", func() { f32(1).Expand(math.MaxInt/2, 3) }},
		{"unsqueeze", "at 3", func() { f32(2, 3).Unsqueeze(3) }},
		{"unsqueeze", "at 0", func() { f32(1, 1, 1, 1, 1, 1, 1, 1).Unsqueeze(0) }},
		{"reshape", "6 elements do not fill [4 2]", func() { f32(2, 3).Reshape(4, 2) }},
		{"reshape", "do not fill [4 -1]", func() { f32(2, 3).Reshape(4, -1) }},
		{"reshape", "two axes open", func() { f32(2, 3).Reshape(-1, -1) }},
		{"reshape", "negative", func() { f32(2, 3).Reshape(-2, -3) }},
		{"reshape", "negative", func() { f32(2, 3).Reshape(-1, -2, -3) }},
		{"reshape", "do not fill", func() { f32(0, 3).Reshape(-1, 0) }},
		{"reshape", "overflows", func() { f32(2, 3).Reshape(math.MaxInt, 6) }},
		{"split", "[1 1]", func() { f32(3).Split(0, 1, 1) }},
		{"split", "[2 2]", func() { f32(3).Split(0, 2, 2) }},
		{"split", "[4 -1]", func() { f32(3).Split(0, 4, -1) }},

		{"copy", "differ", func() { Copy(f32(2), f32(3)) }},
		{"copy", "operands are on", func() { Copy(f32(2), far(2)) }},
		{"fill", "strided", func() { Fill(f32(2, 3).Transpose(0, 1), 1) }},
		{"add", "sizes 2 and 3", func() { Add(f32(2), f32(3)) }},
		{"add", "float32 and float64", func() { Add(f32(2), f64(2)) }},
		{"add", "operands are on", func() { Add(f32(2), far(2)) }},
		{"sub", "sizes 4 and 3", func() { Sub(f32(4, 1), f32(3, 2)) }},
		{"mul", "int32", func() { Mul(i32(2), f32(2)) }},
		{"div", "sizes", func() { Div(f32(2, 0), f32(2)) }},
		{"add", "same shape", func() { AddInto(f32(2, 3), f32(3)) }},
		{"add", "contiguous", func() { AddInto(f32(2, 3).Transpose(0, 1), f32(3, 2)) }},
		{"add", "float64", func() { AddInto(f32(2, 3), f64(3, 2).Transpose(0, 1)) }},
		{"axpy", "same shape", func() { Axpy(f32(2), f32(3), 1) }},
		{"axpy", "float64", func() { Axpy(f32(2), f64(2), 1) }},
		{"silu-grad", "differ", func() { SiLUGrad(f32(2), f32(3)) }},
		{"gelu-grad", "differ", func() { GELUGrad(f32(2), f64(2)) }},
		{"swiglu", "differ", func() { SwiGLU(f32(2), f32(2, 1)) }},
		{"swiglu-grad", "operands are on", func() { SwiGLUGrad(f32(2), f32(2), far(2)) }},
		{"softmax-grad", "differ", func() { SoftmaxGrad(f32(2), f32(3)) }},

		{"sum", "axis 2", func() { Sum(f32(2, 3), false, 2) }},
		{"sum", "twice", func() { Sum(f32(2, 3), false, 1, -1) }},
		{"max", "axis -3", func() { Max(f32(2, 3), false, -3) }},

		{"matmul", "inner sizes 3 and 4", func() { MatMul(f32(2, 3), f32(4, 5)) }},
		{"matmul", "two axes", func() { MatMul(f32(3), f32(3, 5)) }},
		{"matmul", "float64", func() { MatMul(f32(2, 3), f64(3, 5)) }},
		{"matmul", "sizes 2 and 3", func() { MatMul(f32(2, 2, 3), f32(3, 3, 2)) }},
		{"matmul", "operands are on", func() { MatMul(f32(2, 3), far(3, 2)) }},
		{"matmul", "do not fit", func() { MatMulAdd(f32(2, 2), f32(2, 3), f32(3, 3)) }},
		{"matmul", "strided columns", func() { MatMulAdd(f32(2, 3).Transpose(0, 1), f32(3, 2), f32(2, 2)) }},
		{"matmul", "repeated rows", func() { MatMulAdd(f32(1, 3).Expand(2, 3), f32(2, 4), f32(4, 3)) }},
		{"matmul", "float64", func() { MatMulAdd(f64(2, 2), f32(2, 2), f32(2, 2)) }},

		{"concat", "nothing", func() { Concat(0) }},
		{"concat", "axis 1 differs", func() { Concat(0, f32(2, 3), f32(2, 4)) }},
		{"concat", "ranks or dtypes", func() { Concat(0, f32(2), f64(2)) }},
		{"concat", "ranks or dtypes", func() { Concat(0, f32(2), f32(2, 1)) }},
		{"concat", "axis 1", func() { Concat(1, f32(2), f32(2)) }},
		{"concat", "differs", func() { Stack(0, f32(2), f32(3)) }},

		{"rmsnorm", "last axis is empty", func() { RMSNorm(f32(2, 0), f32(0), 1) }},
		{"rmsnorm", "match", func() { RMSNorm(f32(2, 3), f32(4), 1) }},
		{"rmsnorm", "strided", func() { RMSNorm(f32(2, 3), f32(3, 2).Index(1, 0), 1) }},
		{"rmsnorm", "float64", func() { RMSNorm(f32(2, 3), f64(3), 1) }},
		{"rmsnorm-grad", "differ", func() { RMSNormGrad(f32(2, 3), f32(3), f32(2), f32(3, 2)) }},
		{"rmsnorm-grad", "one value a row", func() { RMSNormGrad(f32(2, 3), f32(3), f32(3), f32(2, 3)) }},
		{"rmsnorm-grad", "strided", func() { RMSNormGrad(f32(2, 3), f32(3), f32(2, 2).Index(1, 0), f32(2, 3)) }},
		{"rmsnorm-grad", "float64", func() { RMSNormGrad(f32(2, 3), f32(3), f64(2), f32(2, 3)) }},
		{"rmsnorm-grad", "operands are on", func() { RMSNormGrad(f32(2, 3), f32(3), far(2), f32(2, 3)) }},
		{"layernorm", "match", func() { LayerNorm(f32(2, 3), f32(3), f32(2), 1) }},
		{"layernorm-grad", "match", func() { LayerNormGrad(f32(2, 3), f32(2), f32(2), f32(2), f32(2, 3)) }},
		{"layernorm-grad", "one value a row", func() { LayerNormGrad(f32(2, 3), f32(3), f32(1), f32(2), f32(2, 3)) }},
		{"layernorm-grad", "one value a row", func() { LayerNormGrad(f32(2, 3), f32(3), f32(2), f32(1), f32(2, 3)) }},
		{"layernorm-grad", "operands are on", func() { LayerNormGrad(f32(2, 3), f32(3), far(2), f32(2), f32(2, 3)) }},
		{"crossentropy", "int32 targets", func() { CrossEntropy(f32(2, 3), f32(2)) }},
		{"crossentropy", "int32 targets", func() { CrossEntropy(f32(2, 3), i32(3)) }},
		{"crossentropy", "int32 targets", func() { CrossEntropy(f32(2, 0), i32(2)) }},
		{"crossentropy-grad", "one value a row", func() { CrossEntropyGrad(f32(2, 3), f32(2), i32(2), f32(3)) }},
		{"crossentropy-grad", "int32 targets", func() { CrossEntropyGrad(f32(2, 3), f32(2), f32(2), f32(2)) }},
		{"crossentropy-grad", "float64", func() { CrossEntropyGrad(f32(2, 3), f64(2), i32(2), f32(2)) }},
		{"linear-crossentropy", "[V d] are needed", func() { LinearCrossEntropy(f32(2, 3), f32(4, 2), i32(2), f32(2), true, true) }},
		{"linear-crossentropy", "[V d] are needed", func() { LinearCrossEntropy(f32(1, 2, 3), f32(4, 3), i32(1), f32(1), true, true) }},
		{"linear-crossentropy", "[V d] are needed", func() { LinearCrossEntropy(f32(2, 3), f32(0, 3), i32(2), f32(2), true, true) }},
		{"linear-crossentropy", "[V d] are needed", func() { LinearCrossEntropy(f32(2, 0), f32(4, 0), i32(2), f32(2), true, true) }},
		{"linear-crossentropy", "one value a row", func() { LinearCrossEntropy(f32(2, 3), f32(4, 3), i32(3), f32(2), true, true) }},
		{"linear-crossentropy", "one value a row", func() { LinearCrossEntropy(f32(2, 3), f32(4, 3), i32(2), f32(2, 1), true, true) }},
		{"linear-crossentropy", "int32 targets", func() { LinearCrossEntropy(f32(2, 3), f32(4, 3), f32(2), f32(2), true, true) }},
		{"linear-crossentropy", "float64", func() { LinearCrossEntropy(f32(2, 3), f64(4, 3), i32(2), f32(2), true, true) }},
		{"linear-crossentropy", "operands are on", func() { LinearCrossEntropy(f32(2, 3), far(4, 3), i32(2), f32(2), true, true) }},
		{"mul", "strided", func() { MulInto(f32(2, 3).Transpose(0, 1), f32()) }},
		{"mul", "float64", func() { MulInto(f32(2, 3), f64()) }},
		{"gather", "int32", func() { Gather(f32(2, 3), f32(2)) }},
		{"gather", "rows", func() { Gather(f32(), i32(2)) }},
		{"scatter", "number", func() { ScatterAdd(f32(2, 3), i32(3), 4) }},
		{"scatter", "int32", func() { ScatterAdd(f32(2, 3), f32(2), 4) }},
		{"new", "negative", func() { ScatterAdd(f32(2, 3), i32(2), -1) }},

		{"attention", "[B T H dh]", func() { Attention(f32(2, 3), q, q, NoMask, nil) }},
		{"attention", "agree", func() { Attention(q, f32(2, 3, 1, 4), f32(2, 3, 1, 4), NoMask, nil) }},
		{"attention", "keys and values", func() { Attention(q, f32(2, 5, 2, 4), q, NoMask, nil) }},
		{"attention", "as many keys", func() { Attention(q, f32(2, 2, 2, 4), f32(2, 2, 2, 4), Causal, nil) }},
		{"attention", "float64", func() { Attention(q, f64(2, 3, 2, 4), f64(2, 3, 2, 4), NoMask, nil) }},
		{"attention", "prefix is int32", func() { Attention(q, q, q, NoMask, i32(2)) }},
		{"attention", "prefix is int32", func() { Attention(q, q, q, Causal, i32(3)) }},
		{"attention", "operands are on", func() { Attention(q, far(2, 3, 2, 4), q, NoMask, nil) }},
		{"attention-grad", "laid out", func() {
			AttentionGrad(f32(2, 3, 2, 5).Narrow(3, 0, 4), q, q, q, q, q, q, f32(2, 2, 3), q, NoMask, nil)
		}},
		{"attention-grad", "unit stride", func() {
			p := f32(2, 2, 3, 4).Transpose(1, 2)
			AttentionGrad(p, q, q, p, q, q, q, f32(2, 2, 3), q, NoMask, nil)
		}},
		{"attention-grad", "lse is", func() { AttentionGrad(q, q, q, q, q, q, q, f32(2, 3, 2), q, NoMask, nil) }},
		{"attention-grad", "o and gy", func() { AttentionGrad(q, q, q, q, q, q, q, f32(2, 2, 3), f32(2, 3, 2, 3), NoMask, nil) }},
		{"adamw", "match", func() { AdamW(f32(3), f32(3), f32(3), f32(2), &step) }},
		{"adamw", "contiguous", func() { AdamW(f32(3, 2).Index(1, 0), f32(3), f32(3), f32(3), &step) }},
		{"adamw", "float64", func() { AdamW(f32(3), f32(3), f64(3), f32(3), &step) }},

		{"where", "not bool", func() { Where(f32(2), f32(2), f32(2)) }},
		{"where", "float64", func() { Where(Zeros(CPU, Bool, 2), f32(2), f64(2)) }},
		{"where", "sizes", func() { Where(Zeros(CPU, Bool, 2), f32(3), f32()) }},
		{"where", "not bool", func() { MaskedFill(f32(2), i32(2), 1) }},
		{"less", "differ", func() { Less(f32(2), f64(2)) }},
		{"equal", "sizes 2 and 3", func() { Equal(f32(2), f32(3)) }},
		{"argmax", "axis is empty", func() { ArgMax(f32(2, 0), 1) }},
		{"argmax", "axis 0", func() { ArgMax(f32(), 0) }},
		{"topk", "no 4 elements", func() { TopK(f32(2, 3), 4) }},
		{"topk", "no -1 elements", func() { TopK(f32(2, 3), -1) }},
		{"topk", "axis -1", func() { TopK(f32(), 1) }},
		{"cumsum", "axis 1", func() { CumSum(f32(3), 1) }},
		{"take", "int32", func() { TakeAlong(f32(3), f32(3), 0) }},
		{"take", "axis 1 differs", func() { TakeAlong(f32(2, 3), i32(2, 2), 0) }},
		{"take", "id 3 is outside an axis of 3", func() { TakeAlong(f32(3), Full(CPU, Int32, 3, 1), 0) }},
		{"put", "id -1 is outside", func() { PutAlongAdd(f32(1), Full(CPU, Int32, -1, 1), 0, 3) }},
		{"put", "id 0 is outside an axis of 0", func() { PutAlongAdd(f32(1), i32(1), 0, 0) }},
		{"put", "one id an element", func() { PutAlongAdd(f32(2), i32(3), 0, 3) }},
	} {
		e := mustPanic(t, c.op, c.rule, c.call)
		if e == nil {
			continue
		}
		if s := e.Error(); !strings.HasPrefix(s, "tensor: "+c.op) || !strings.HasSuffix(s, ": "+e.Rule) {
			t.Errorf("%s: message %q", c.op, s)
		}
	}
	e := mustPanic(t, "matmul", "inner", func() { MatMul(f32(2, 3), f32(4, 5)) })
	if want := "tensor: matmul [2 3] · [4 5]: inner sizes 3 and 4 differ"; e.Error() != want {
		t.Errorf("message %q, want %q", e.Error(), want)
	}
}

// TestKernelMisuse is for values that only the kernels see.
func TestKernelMisuse(t *testing.T) {
	for name, call := range map[string]func(){
		"gather":       func() { Gather(f32(2, 3), Full(CPU, Int32, 2, 1)) },
		"gather empty": func() { Gather(f32(0, 3), Full(CPU, Int32, 0, 1)) },
		"gather past":  func() { Gather(f32(2, 3).Narrow(0, 2, 0), Full(CPU, Int32, 0, 1)) },
		"scatter":      func() { ScatterAdd(f32(1, 3), Full(CPU, Int32, 4, 1), 4) },
		"scatter none": func() { ScatterAdd(f32(1, 3), i32(1), 0) },
		"target":       func() { CrossEntropy(f32(1, 3), Full(CPU, Int32, 3, 1)) },
		"target grad":  func() { CrossEntropyGrad(f32(1, 3), f32(1), Full(CPU, Int32, 3, 1), f32(1)) },
		"target fused": func() {
			LinearCrossEntropy(f32(1, 2), f32(3, 2), Full(CPU, Int32, 3, 1), f32(1), true, true)
		},
		"prefix": func() { Attention(f32(1, 2, 1, 4), f32(1, 2, 1, 4), f32(1, 2, 1, 4), Causal, Full(CPU, Int32, 3, 1)) },
	} {
		func() {
			defer func() {
				err, ok := recover().(error)
				var e *kernels.ShapeError
				if !ok || !errors.As(err, &e) {
					t.Errorf("%s: panic with %v", name, err)
				}
			}()
			call()
		}()
	}
}

// TestMissingOps asks for ops that a dtype lacks: the panic names op and dtype.
func TestMissingOps(t *testing.T) {
	for name, call := range map[string]func(){
		"Add":    func() { Add(i32(2), i32(2)) },
		"Sum":    func() { Sum(Zeros(CPU, BFloat16, 2), false) },
		"MatMul": func() { MatMul(Zeros(CPU, Float16, 2, 2), Zeros(CPU, Float16, 2, 2)) },
		"CumSum": func() { CumSum(Zeros(CPU, Bool, 2), 0) },
		"SiLU":   func() { SiLU(Zeros(CPU, Uint8, 2)) },
	} {
		func() {
			defer func() {
				e, ok := recover().(*DeviceError)
				if !ok || e.Op != name || e.Device != "cpu" || !strings.Contains(e.Error(), "cpu has no "+name+" for ") {
					t.Errorf("%s: panic with %v", name, e)
				}
			}()
			call()
		}()
	}
	if CPU.Supports("Add", Int32) || !CPU.Supports("Add", Float32) || !CPU.Supports("Where", Bool) {
		t.Error("Supports tells untrue things")
	}
}

// TestBroadcastRule compares with the rule written out, on all small shapes.
func TestBroadcastRule(t *testing.T) {
	var shapes [][]int
	for rank := range 4 {
		for code := range 1 << (2 * rank) { // sizes 0…3
			shape := make([]int, rank)
			for i := range shape {
				shape[i] = code >> (2 * i) & 3
			}
			shapes = append(shapes, shape)
		}
	}
	for _, a := range shapes {
		for _, b := range shapes {
			fits := true
			for i := 1; i <= min(len(a), len(b)); i++ {
				x, y := a[len(a)-i], b[len(b)-i]
				fits = fits && (x == y || x == 1 || y == 1)
			}
			var got []int
			func() {
				defer func() {
					if _, failed := recover().(*ShapeError); failed == fits {
						t.Errorf("%v and %v: error %v", a, b, failed)
					}
				}()
				got = Broadcast("test", f32(a...), f32(b...))
			}()
			if fits && !slices.Equal(got, broadcastShape(a, b)) {
				t.Errorf("%v and %v give %v, want %v", a, b, got, broadcastShape(a, b))
			}
		}
	}
}

// TestEmptyViews puts views without elements, wherever they begin, through what
// reads memory.
func TestEmptyViews(t *testing.T) {
	for name, x := range map[string]*Tensor{
		"past the end":     f32(5, 4).Narrow(0, 5, 0).Narrow(1, 2, 2),
		"of empty":         f32(0, 3).Narrow(1, 2, 1),
		"permuted":         f32(0, 3, 2).Permute(1, 0, 2).Index(0, 2),
		"expanded to 0":    f32(1, 3).Expand(0, 3),
		"slice of nothing": f32(4).Slice(0, 4, 4, 3),
	} {
		if x.Len() != 0 || len(Data[float32](x)) != 0 || len(Data[float32](x.Clone())) != 0 || len(Data[float32](x.Compact())) != 0 {
			t.Errorf("%s: there are elements", name)
		}
		other := testPool()
		if y := x.To(other); y.Len() != 0 || y.To(CPU).Len() != 0 {
			t.Errorf("%s: elements on the way", name)
		}
		if s := Sum(x, false).Item(); s != 0 {
			t.Errorf("%s: sum %v", name, s)
		}
		if !math.IsNaN(Mean(x, false).Item()) {
			t.Errorf("%s: the mean of nothing is a number", name)
		}
		Add(x, x)
		Exp(x)
		Cast(x, Float16)
		AddInto(x.Compact(), x)
		_ = x.String()
		Concat(0, x, x)
	}
	// A stack of k = 0 products, whose matrices begin past the storage.
	c := MatMul(f32(0, 3, 2).Permute(1, 2, 0), f32(0, 4))
	mustEqual(t, "matmul", c, zeros(3, 2, 4))
}

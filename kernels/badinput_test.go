package kernels

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// A goodCall is a call that must succeed. Every slice in it has the least length
// that will do, and no size or stride in it may be less than 0 or huge.
type goodCall struct {
	function string
	op       string // of the ShapeError
	f        any
	args     []any
	// optional are the arguments, by index, that may be nil; loose those whose
	// length, or content, does not matter.
	optional, loose []int
}

// goodCalls has one call at least of each function that takes slices.
func goodCalls() []goodCall {
	s := Reference[float32]()
	v := func(n int) []float32 { return make([]float32, n) }
	id := []int32{0, 2}
	a := &AttentionShape{B: 2, H: 2, Tq: 3, Tk: 4, Dh: 5, LdQ: 10, LdK: 10, LdV: 10, LdO: 10,
		BatchQ: 30, BatchK: 40, BatchV: 40, BatchO: 30, Scale: 1}
	packed := new(PackedB[float32])
	packed.Pack(s, false, 4, 2, v(8), 2)
	return []goodCall{
		{function: "Gemm", op: "gemm", f: Gemm[float32], args: []any{s, false, false, 3, 2, 4, v(2*5 + 4), 5, v(3*2 + 2), 2, v(2*3 + 2), 3, false}},
		{function: "Gemm", op: "gemm", f: Gemm[float32], args: []any{s, true, true, 3, 2, 4, v(3*4 + 3), 4, v(5 + 4), 5, v(2*2 + 2), 2, true}},
		{function: "GemmBatched", op: "gemm-batched", f: GemmBatched[float32], args: []any{s, false, true, 2, 3, 2, 4, v(20 + 2*5 + 4), 5, 20, v(9 + 4 + 5), 5, 9, v(8 + 2*3 + 2), 3, 8, true}},
		{function: "GemmMixed", op: "gemm-mixed", f: GemmMixed[BF16, float32], args: []any{s, false, true, 3, 2, 4, make([]BF16, 2*5+4), 5, v(4 + 5), 5, v(2*3 + 2), 3, true}},
		{function: "GemmBF16", op: "gemm-bf16", f: GemmBF16, args: []any{s, false, false, 3, 2, 4, make([]BF16, 2*5+4), 5, make([]BF16, 3*2+2), 2, v(2*3 + 2), 3, true}},
		{function: "PackMixed", op: "pack-b", f: PackMixed[BF16], args: []any{new(PackedB[float32]), s, true, 4, 2, make([]BF16, 4+5), 5}, loose: []int{0}},
		{function: "GemmInt8", op: "gemm-int8", f: GemmInt8, args: []any{s, 3, v(2*5 + 4), 5, &Int8Matrix{2, 4, 2, make([]int8, 8), v(4)}, v(2*3 + 2), 3, &Epilogue[float32]{Bias: v(2)}}},
		{function: "PackInt8", op: "pack-b", f: PackInt8, args: []any{new(PackedB[float32]), s, &Int8Matrix{2, 4, 4, make([]int8, 8), v(2)}}, loose: []int{0}},
		{function: "Dequantize", op: "dequantize", f: (*Int8Matrix).Dequantize, args: []any{&Int8Matrix{2, 4, 3, make([]int8, 8), v(4)}, s, v(5 + 4), 5}},
		{function: "Quantize", op: "quantize", f: Quantize, args: []any{v(5 + 4), 2, 4, 5, 3}},
		{function: "GemmFused", op: "gemm-fused", f: GemmFused[float32], args: []any{s, false, false, 3, 2, 4, v(2*5 + 4), 5, v(3*2 + 2), 2, v(2*3 + 2), 3, &Epilogue[float32]{Bias: v(2)}}},
		{function: "GemmPacked", op: "gemm-packed", f: GemmPacked[float32], args: []any{s, false, 3, v(2*5 + 4), 5, packed, v(2*3 + 2), 3, (*Epilogue[float32])(nil)}},
		{function: "Attention", op: "attention", f: Attention[float32], args: []any{s, v(60), v(12), v(60), v(80), v(80), a}, optional: []int{2}},
		{function: "AttentionGrad", op: "attention_grad", f: AttentionGrad[float32], args: []any{s, v(60), v(80), v(80), v(60), v(80), v(80), v(60), v(12), v(60), a}},
		{function: "RMSNorm", op: "rmsnorm", f: RMSNorm[float32], args: []any{s, v(6), v(2), v(6), v(3), 2, 3, 1e-5}},
		{function: "RMSNormGrad", op: "rmsnorm-grad", f: RMSNormGrad[float32], args: []any{s, v(6), v(3), v(6), v(3), v(6), v(2), 2, 3}},
		{function: "LayerNorm", op: "layernorm", f: LayerNorm[float32], args: []any{s, v(6), v(2), v(2), v(6), v(3), v(3), 2, 3, 1e-5}},
		{function: "LayerNormGrad", op: "layernorm-grad", f: LayerNormGrad[float32], args: []any{s, v(6), v(3), v(3), v(6), v(3), v(6), v(2), v(2), 2, 3}},
		{function: "Softmax", op: "softmax", f: Softmax[float32], args: []any{s, v(6), v(6), 2, 3}},
		{function: "SoftmaxGrad", op: "softmax-grad", f: SoftmaxGrad[float32], args: []any{s, v(6), v(6), v(6), 2, 3}},
		{function: "CrossEntropy", op: "crossentropy", f: CrossEntropy[float32], args: []any{s, v(2), v(2), v(6), id, 2, 3}},
		{function: "CrossEntropyGrad", op: "crossentropy-grad", f: CrossEntropyGrad[float32], args: []any{s, v(6), v(6), v(2), id, v(2), 2, 3}},
		{function: "LinearCrossEntropy", op: "linear-crossentropy", f: LinearCrossEntropy[float32], args: []any{s, v(2), v(8), v(12), v(8), v(12), id, v(2), 2, 4, 3}, optional: []int{2, 3}},
		{function: "GatherRows", op: "gather", f: GatherRows[float32], args: []any{v(6), v(9), id, 3, 3}, loose: []int{2}},
		{function: "ScatterAddRows", op: "scatter", f: ScatterAddRows[float32], args: []any{s, v(9), v(6), id, 3, 3}, loose: []int{3}},
		{function: "ReduceSum", op: "reduce-sum", f: ReduceSum[float32], args: []any{s, v(6), v(24), 2, 4, 3}},
		{function: "ReduceSum", op: "reduce-sum", f: ReduceSum[float32], args: []any{s, v(2), v(8), 2, 4, 1}},
		{function: "ReduceMax", op: "reduce-max", f: ReduceMax[float32], args: []any{s, v(6), v(24), 2, 4, 3}},
		{function: "ReduceMax", op: "reduce-max", f: ReduceMax[float32], args: []any{s, v(2), v(8), 2, 4, 1}},
		{function: "SumSquares", f: SumSquares[float32], args: []any{s, v(5)}, loose: []int{1}},
		{function: "AdamW", op: "adamw", f: AdamW[float32], args: []any{s, v(5), v(5), v(5), v(5), &stepModel}, loose: []int{1}},
	}
}

func (c goodCall) call(args []any) (err error) {
	defer func() {
		if v := recover(); v != nil {
			var ok bool
			if err, ok = v.(error); !ok {
				err = fmt.Errorf("%v", v)
			}
		}
	}()
	var in []reflect.Value
	for _, a := range args {
		in = append(in, reflect.ValueOf(a))
	}
	reflect.ValueOf(c.f).Call(in)
	return nil
}

// TestBadInput spoils each argument of each call: a slice nil, or one element
// short with room behind it, a size or stride negative, huge, or so that products
// overflow, a structure nil. Each is a *ShapeError, and no kernel has been called,
// for the Set has none.
func TestBadInput(t *testing.T) {
	names := sliceFunctions()
	for _, c := range goodCalls() {
		delete(names, c.function)
		if err := c.call(c.args); err != nil {
			t.Errorf("%s: the good call fails: %v", c.function, err)
		}
		for i, arg := range c.args {
			var bad []any
			switch arg := arg.(type) {
			case *Set[float32], bool, float64:
			case []float32:
				if !slices.Contains(c.optional, i) && !slices.Contains(c.loose, i) {
					bad = append(bad, []float32(nil))
				}
				if !slices.Contains(c.loose, i) {
					bad = append(bad, make([]float32, len(arg)-1, len(arg)+1000))
				}
			case []int32:
				bad = append(bad, []int32{0, 3}, []int32{math.MaxInt32, 0})
				if !slices.Contains(c.loose, i) {
					bad = append(bad, []int32(nil), make([]int32, len(arg)-1, 100))
				} else {
					bad = append(bad, []int32{-1, 0}, make([]int32, 3)) // more rows than the operands have
				}
			case int:
				for _, n := range []int{-1, math.MinInt, math.MaxInt, math.MaxInt/2 + 1, math.MaxInt / 3, math.MaxInt/4 + 2, math.MaxInt32} {
					bad = append(bad, n)
				}
			case *AttentionShape: // TestAttentionShapeErrors spoils its fields
			case *Epilogue[float32]: // TestPackedB spoils its fields
			case []BF16:
				bad = append(bad, []BF16(nil), make([]BF16, len(arg)-1, len(arg)+1000))
			case *Int8Matrix:
				bad = append(bad, (*Int8Matrix)(nil), &Int8Matrix{})
				for _, spoil := range []func(w *Int8Matrix){
					func(w *Int8Matrix) { w.N++ }, func(w *Int8Matrix) { w.N = -1 }, func(w *Int8Matrix) { w.N = math.MaxInt },
					func(w *Int8Matrix) { w.K++ }, func(w *Int8Matrix) { w.K = -1 }, func(w *Int8Matrix) { w.K = math.MaxInt/4 + 2 },
					func(w *Int8Matrix) { w.Group = 0 }, func(w *Int8Matrix) { w.Group = -4 }, func(w *Int8Matrix) { w.Group = 1 },
					func(w *Int8Matrix) { w.Data = w.Data[:len(w.Data)-1] }, func(w *Int8Matrix) { w.Scale = w.Scale[:len(w.Scale)-1] },
				} {
					w := *arg
					spoil(&w)
					bad = append(bad, &w)
				}
			case *PackedB[float32]:
				if !slices.Contains(c.loose, i) { // it is read
					bad = append(bad, (*PackedB[float32])(nil), &PackedB[float32]{})
				}
			case *AdamWStep[float32]:
				bad = append(bad, (*AdamWStep[float32])(nil))
			default:
				t.Fatalf("%s: argument %d is a %T: how is that spoilt?", c.function, i, arg)
			}
			for _, b := range bad {
				args := slices.Clone(c.args)
				args[i] = b
				for j := range args {
					if _, ok := args[j].(*Set[float32]); ok {
						args[j] = &Set[float32]{Tile: Tile[float32]{MR: 4, NR: 4}}
					}
				}
				var e *ShapeError
				if err := c.call(args); !errors.As(err, &e) || e.Op != c.op || e.Rule == "" {
					t.Errorf("%s: argument %d as %v: %v, want a *ShapeError of %s", c.function, i, brief(b), err, c.op)
				}
			}
		}
	}
	for name := range names {
		t.Errorf("%s takes slices, but has no row in goodCalls", name)
	}
}

func brief(x any) string {
	if v := reflect.ValueOf(x); v.Kind() == reflect.Slice {
		return fmt.Sprintf("a slice of %d", v.Len())
	}
	return fmt.Sprint(x)
}

// TestEmpty: no rows, and nil for all, is a call like any other.
func TestEmpty(t *testing.T) {
	for _, s := range usable() {
		RMSNorm(s, nil, nil, nil, make([]float32, 3), 0, 3, 1)
		LayerNorm(s, nil, nil, nil, nil, make([]float32, 3), make([]float32, 3), 0, 3, 1)
		Softmax(s, nil, nil, 0, 3)
		SoftmaxGrad(s, nil, nil, nil, 0, 3)
		CrossEntropy(s, nil, nil, nil, nil, 0, 3)
		CrossEntropyGrad(s, nil, nil, nil, nil, nil, 0, 3)
		LinearCrossEntropy(s, nil, nil, nil, nil, make([]float32, 12), nil, nil, 0, 4, 3)
		GatherRows[float32](nil, nil, nil, 0, 3)
		ReduceSum(s, nil, nil, 0, 3, 2)
		ReduceMax(s, nil, nil, 3, 3, 0)
		AdamW(s, nil, nil, nil, nil, &stepModel)
		Gemm(s, false, false, 0, 0, 0, nil, 0, nil, 0, nil, 0, false)
		if got := SumSquares(s, nil); got != 0 {
			t.Errorf("%s: the squares of nothing sum up to %g", s.Name, got)
		}
		gw := []float32{1, 2, 3}
		if RMSNormGrad(s, nil, gw, nil, gw, nil, nil, 0, 3); !slices.Equal(gw, make([]float32, 3)) {
			t.Errorf("%s: no rows have the gradient %v", s.Name, gw)
		}
		gw = []float32{1, 2, 3}
		if LinearCrossEntropy(s, nil, nil, gw, nil, gw, nil, nil, 0, 1, 3); !slices.Equal(gw, make([]float32, 3)) {
			t.Errorf("%s: no rows give w the gradient %v", s.Name, gw)
		}
		if ScatterAddRows(s, []float32{1, 2, 3}, nil, nil, 1, 3); t.Failed() {
			return
		}
		for n := range 3 {
			Chunks(-n, func(int, int) { t.Errorf("Chunks of %d elements calls", -n) })
			Rows(-n, 4, func(int, int) { t.Errorf("Rows of %d rows calls", -n) })
			Parallel(-n, func(int) { t.Errorf("Parallel of %d tasks calls", -n) })
		}
	}
}

// TestChoice: the strongest level that the CPU has, or the one asked for, or an
// *ISAError that names the level and what is wrong.
func TestChoice(t *testing.T) {
	levels := []*Set[float32]{{Name: "reference"}, {Name: "plain"}, {Name: "wide", Missing: "WIDE, WIDER"}}
	for _, c := range []struct{ ask, got, reason string }{
		{"", "plain", ""},
		{"reference", "reference", ""},
		{"plain", "plain", ""},
		{"wide", "", "this CPU lacks WIDE, WIDER"},
		{"Plain", "", "no such level in this build; there are reference, plain, wide"},
		{"avx", "", "no such level in this build"},
	} {
		s, err := choice(c.ask, levels)
		var e *ISAError
		switch {
		case c.reason == "" && (err != nil || s.Name != c.got):
			t.Errorf("%q: %v, %v, want %s", c.ask, s, err, c.got)
		case c.reason != "" && (!errors.As(err, &e) || s != nil || e.Level != c.ask || !strings.Contains(err.Error(), c.reason) || !strings.Contains(err.Error(), "FUERTE_ISA="+c.ask)):
			t.Errorf("%q: %v, %v, want an *ISAError with %q", c.ask, s, err, c.reason)
		}
	}
	for _, s := range Sets() { // this machine's own levels
		got, err := choice(s.Name, Sets())
		if s.Missing == "" && (err != nil || got.Name != s.Name) || s.Missing != "" && (err == nil || got != nil) {
			t.Errorf("%s, which lacks %q: %v, %v", s.Name, s.Missing, got, err)
		}
	}
}

// TestForcedLevel forces a level on another process, for the choice is made once:
// one that is not there fails by name, and no kernel runs.
func TestForcedLevel(t *testing.T) {
	if os.Getenv("FUERTE_TEST_FORCED") != "" {
		_, err := Choose()
		defer func() { fmt.Printf("Choose: %v\nF32: %v\n", err, recover()) }()
		F32()
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Skipf("no path to this program: %v", err)
	}
	levels := map[string]string{"reference": "<nil>", "avx9": "kernels: FUERTE_ISA=avx9: no such level in this build"}
	for _, s := range Sets() {
		if s.Missing != "" {
			levels[s.Name] = "kernels: FUERTE_ISA=" + s.Name + ": this CPU lacks "
		}
	}
	for _, level := range slices.Sorted(maps.Keys(levels)) {
		cmd := exec.Command(exe, "-test.run=^TestForcedLevel$")
		cmd.Env = append(os.Environ(), "FUERTE_TEST_FORCED=1", "FUERTE_ISA="+level)
		out, err := cmd.CombinedOutput()
		if err != nil && len(out) == 0 {
			t.Skipf("this program cannot be run again here: %v", err)
		}
		for _, who := range []string{"Choose: ", "F32: "} {
			if !strings.Contains(string(out), who+levels[level]) {
				t.Errorf("FUERTE_ISA=%s: got %s\nwant %s%s", level, out, who, levels[level])
			}
		}
	}
}

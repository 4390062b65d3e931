package nn

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"fuerte/tensor"
)

// odd values: what a round trip may lose.
var oddValues = []float32{0, float32(math.Copysign(0, -1)), 1, -1.5, 1e-45, -1.1754942e-38, 3.4028235e38, float32(math.Inf(-1)), math.Pi, 1 + 1.0/256, 1 + 3.0/256, 65520}

func checkpoint() []Named {
	n := len(oddValues)
	ps := []Named{{"a.weight", NewParam(tensor.CPU, n/4, 4)}, {"b", NewParam(tensor.CPU, n)}, {"scalar", NewParam(tensor.CPU)}, {"empty", NewParam(tensor.CPU, 0, 3)}}
	return ps
}

func bitsOf(ps []Named) (out []uint32) {
	for _, p := range ps {
		for _, v := range tensor.Data[float32](p.Value) {
			out = append(out, math.Float32bits(v))
		}
	}
	return out
}

func TestSaveLoad(t *testing.T) {
	ps := checkpoint()
	copy(tensor.Data[float32](ps[0].Value), oddValues)
	copy(tensor.Data[float32](ps[1].Value), oddValues)
	tensor.Fill(ps[2].Value, -7)
	round := map[string]func(x float32) float32{
		"F32":  func(x float32) float32 { return x },
		"BF16": func(x float32) float32 { return tensor.ToBF16(x).Float32() },
		"F16":  func(x float32) float32 { return tensor.ToF16(x).Float32() },
	}
	before := bitsOf(ps)
	for dtype, f := range round {
		path := t.TempDir() + "/m.safetensors"
		if err := Save(path, dtype, map[string]string{"format": "pt", "é": "x\n"}, ps); err != nil {
			t.Fatal(err)
		}
		qs := checkpoint()
		slices.Reverse(qs) // the order does not matter
		meta, err := Load(path, qs)
		if err != nil || meta["format"] != "pt" || meta["é"] != "x\n" {
			t.Fatal(meta, err)
		}
		slices.Reverse(qs)
		for i, b := range bitsOf(qs) {
			if want := math.Float32bits(f(math.Float32frombits(before[i]))); b != want {
				t.Errorf("%s: %g comes back as %g", dtype, math.Float32frombits(before[i]), math.Float32frombits(b))
			}
		}
	}
	if !slices.Equal(bitsOf(ps), before) {
		t.Error("Save changed the parameters")
	}
	// Ties go to even: 1 + 1/256 falls between 1 and 1 + 1/128.
	if lo, hi := tensor.ToBF16(1+1.0/256).Float32(), tensor.ToBF16(1+3.0/256).Float32(); lo != 1 || hi != 1+1.0/64 {
		t.Errorf("bfloat16 rounds to %v and %v", lo, hi)
	}
	if err := Save(t.TempDir()+"/m", "F8", nil, ps); err == nil {
		t.Error("dtype F8 is accepted")
	}
	if err := Save(t.TempDir()+"/no/such/m", "F32", nil, ps); err == nil {
		t.Error("a folder that is not there is accepted")
	}
}

// TestLoadStrict: the error names every tensor that is missing, unexpected or of
// another shape, and nothing is written.
func TestLoadStrict(t *testing.T) {
	path := t.TempDir() + "/m.safetensors"
	file := []Named{{"a", NewParam(tensor.CPU, 2, 3)}, {"turned", NewParam(tensor.CPU, 2, 3)}, {"flat", NewParam(tensor.CPU, 6)}, {"extra.1", NewParam(tensor.CPU, 1)}, {"extra.2", NewParam(tensor.CPU, 1)}}
	for _, p := range file {
		tensor.Fill(p.Value, 9)
	}
	if err := Save(path, "F32", nil, file); err != nil {
		t.Fatal(err)
	}
	want := []Named{{"a", NewParam(tensor.CPU, 2, 3)}, {"turned", NewParam(tensor.CPU, 3, 2)}, {"flat", NewParam(tensor.CPU, 2, 3)}, {"gone.1", NewParam(tensor.CPU, 1)}, {"gone.2", NewParam(tensor.CPU, 4)}}
	_, err := Load(path, want)
	if err == nil {
		t.Fatal("a file that does not fit is accepted")
	}
	for _, part := range []string{path, "missing gone.1 [1]", "missing gone.2 [4]", "unexpected extra.1", "unexpected extra.2", "turned has shape [2 3], not [3 2]", "flat has shape [6], not [2 3]"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q:\n%v", part, err)
		}
	}
	if strings.Contains(err.Error(), " a ") {
		t.Errorf("the error names a tensor that fits:\n%v", err)
	}
	for _, p := range want {
		if tensor.SumSquares(p.Value) != 0 {
			t.Errorf("%s was written to", p.Name)
		}
	}
	if _, err := Load(path+".not", want); !os.IsNotExist(err) {
		t.Errorf("a file that is not there: %v", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 7, 100, len(data) - 1} {
		if err := os.WriteFile(path, data[:cut], 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, file); err == nil {
			t.Errorf("a file cut after %d bytes is accepted", cut)
		}
	}
}

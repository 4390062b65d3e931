package safetensors

import (
	"encoding/binary"
	"math"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What testdata/python.py puts in its file: numbers exact in F16 and in BF16.
var (
	pythonMetadata = map[string]string{"format": "pt", "note": "olé"}
	pythonF16      = []float32{0, -1.5, 3.140625, 65504, -0x1p-15, 1}
	pythonBF16     = []float32{0, -1.5, 3.140625, 65536, -0x1p-15, 1}
)

// pythonTensors are the tensors of that file, as this package writes them.
func pythonTensors() []Tensor {
	i64 := binary.LittleEndian.AppendUint64(nil, math.MaxUint64) // -1
	i64 = binary.LittleEndian.AppendUint64(i64, 1<<40)
	return []Tensor{
		FromFloat32s("f64", "F64", []int{2, 3}, pythonF16),
		{Name: "i64", DType: "I64", Shape: []int{2}, Data: i64},
		FromFloat32s("empty", "F32", []int{0, 4}, nil),
		FromFloat32s("f32", "F32", []int{2, 3}, pythonF16),
		FromFloat32s("scalar", "F32", []int{}, []float32{2.5}),
		FromFloat32s("bf16", "BF16", []int{2, 3}, pythonBF16),
		FromFloat32s("f16", "F16", []int{2, 3}, pythonF16),
		{Name: "bool", DType: "BOOL", Shape: []int{2}, Data: []byte{1, 0}},
		{Name: "u8", DType: "U8", Shape: []int{3}, Data: []byte{1, 2, 255}},
	}
}

// TestReadsPython reads a file of the Python package (see testdata/python.py)
// and wants in it what our own writer makes of the same numbers.
func TestReadsPython(t *testing.T) {
	theirs := open(t, "testdata/python.safetensors")
	ours := open(t, save(t, pythonMetadata, pythonTensors()...))
	if diff := cmp.Diff(pythonMetadata, theirs.Metadata()); diff != "" {
		t.Error("metadata (-want +got):", diff)
	}
	if got, want := len(theirs.Names()), len(ours.Names()); got != want {
		t.Errorf("%d tensors, want %d", got, want)
	}
	for _, name := range ours.Names() {
		want, _ := ours.Info(name)
		got, _ := theirs.Info(name)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got): %s", name, diff)
		}
		wantBytes, _ := ours.Bytes(name)
		gotBytes, err := theirs.Bytes(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wantBytes, gotBytes); diff != "" {
			t.Errorf("%s (-want +got): %s", name, diff)
		}
	}
	for name, want := range map[string][]float32{"f64": pythonF16, "f32": pythonF16, "f16": pythonF16, "bf16": pythonBF16} {
		got := make([]float32, len(want))
		if err := theirs.Float32s(name, got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got): %s", name, diff)
		}
	}
}

// TestWriteForPython leaves our file where testdata/python.py can check it.
func TestWriteForPython(t *testing.T) {
	path := os.Getenv("FUERTE_SAFETENSORS_OUT")
	if path == "" {
		t.Skip("FUERTE_SAFETENSORS_OUT names no file; see testdata/python.py")
	}
	if err := Write(path, pythonMetadata, pythonTensors()); err != nil {
		t.Fatal(err)
	}
}

package safetensors

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// some returns n small tensors of several types.
func some(n int) []Tensor {
	var ts []Tensor
	for i := range n {
		t := Tensor{Name: fmt.Sprintf("t%d", i), DType: "F32", Shape: []int{i, 2}}
		if i%2 == 1 {
			t.DType, t.Shape = "U8", []int{8 * i}
		}
		t.Data = bytes.Repeat([]byte{byte(i)}, 8*i)
		ts = append(ts, t)
	}
	return ts
}

// TestSetRoundTrip writes one file or several, and reads the same tensors.
func TestSetRoundTrip(t *testing.T) {
	tensors := some(7) // of 0, 8, … 48 bytes
	for limit, files := range map[int]int{0: 1, 1000: 1, 168: 1, 167: 2, 49: 4, 1: 7} {
		dir := t.TempDir()
		written, err := WriteSet(dir, "m", map[string]string{"format": "pt"}, tensors, limit)
		if err != nil {
			t.Fatal(err)
		}
		want := files
		if files > 1 {
			want++ // the index
		}
		if len(written) != want {
			t.Errorf("limit %d: %d files, want %d: %q", limit, len(written), want, written)
		}
		s, err := OpenSet(written[len(written)-1])
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Files()) != files || len(s.Names()) != len(tensors) || s.Path() != written[len(written)-1] {
			t.Errorf("limit %d: %d files with %q", limit, len(s.Files()), s.Names())
		}
		for _, x := range tensors {
			info, ok := s.Info(x.Name)
			b, err := s.Bytes(x.Name)
			if !ok || err != nil || info.DType != x.DType || !slices.Equal(info.Shape, x.Shape) || !bytes.Equal(b, x.Data) {
				t.Errorf("limit %d: %s is %v with %d bytes, %v", limit, x.Name, info, len(b), err)
			}
		}
		if _, ok := s.Info("none"); ok || s.Float32s("none", nil) == nil {
			t.Error("there is a tensor none")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := WriteSet(t.TempDir(), "m", nil, append(some(3), some(3)...), 1); err == nil {
		t.Error("wrote a name twice, in two files")
	}
}

// TestSetIndex: an index must be true, and of its folder.
func TestSetIndex(t *testing.T) {
	dir := t.TempDir()
	written, err := WriteSet(dir, "m", nil, some(4), 20)
	if err != nil {
		t.Fatal(err)
	}
	path := written[len(written)-1]
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for change, want := range map[[2]string]string{
		{`"t3": "m-00003-of-00003.safetensors"`, `"t3": "m-00001-of-00003.safetensors"`}:     "m-00001-of-00003.safetensors lacks t3",
		{`"t0": "m-00001-of-00003.safetensors"`, `"t0": "m-00002-of-00003.safetensors"`}:     "m-00001-of-00003.safetensors holds t0, which the index has in m-00002-of-00003.safetensors",
		{`"t3": "m-00003-of-00003.safetensors"`, `"t3": "sub/m-00003-of-00003.safetensors"`}: "no .safetensors file of this folder",
		{`"t1"`, `"t9"`}: "lacks t9",
		{`"t3": "m-00003-of-00003.safetensors"`, `"t3": "../m-00003-of-00003.safetensors"`}: "no .safetensors file of this folder",
		{`"t3": "m-00003-of-00003.safetensors"`, `"t3": "m-00004-of-00003.safetensors"`}:    "m-00004-of-00003.safetensors",
		{`"t3": "m-00003-of-00003.safetensors"`, `"t3": "m.safetensors.index.json"`}:        "no .safetensors file",
		{`"weight_map"`, `"weights"`}: "no weight_map",
		{`{`, `[`}:                    "invalid character",
	} {
		bad := strings.Replace(string(good), change[0], change[1], 1)
		if bad == string(good) {
			t.Fatalf("%q is not in %s", change[0], good)
		}
		if err := os.WriteFile(path, []byte(bad), 0o666); err != nil {
			t.Fatal(err)
		}
		if s, err := OpenSet(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", change[1], err)
			if err == nil {
				s.Close()
			}
		}
	}
	if _, err := OpenSet(filepath.Join(dir, "none"+IndexSuffix)); !os.IsNotExist(err) {
		t.Errorf("a missing index: %v", err)
	}
}

// FuzzIndex: no index makes OpenSet panic or leave its folder.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata": {"total_size": 8}, "weight_map": {"t1": "m-00001-of-00002.safetensors"}}`))
	f.Add([]byte(`{"weight_map": {"t1": "/etc/m.safetensors", "t2": "..\\m.safetensors"}}`))
	dir := f.TempDir()
	path := filepath.Join(dir, "m"+IndexSuffix)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		if s, err := OpenSet(path); err == nil {
			t.Errorf("opened files that are not there: %q", s.Names())
		}
		if index, err := readIndex(path); err == nil {
			for _, file := range index {
				if strings.ContainsAny(file, `/`) || filepath.Dir(filepath.Join(dir, file)) != dir {
					t.Errorf("%q is elsewhere", file)
				}
			}
		}
	})
}

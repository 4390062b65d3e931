package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fuerte/kernels"
)

// save writes the tensors to a new file and returns its path.
func save(t *testing.T, metadata map[string]string, tensors ...Tensor) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := Write(path, metadata, tensors); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// TestRoundTripBytes writes and reads one tensor of every dtype.
func TestRoundTripBytes(t *testing.T) {
	var want []Tensor
	for dtype, size := range dtypeSizes {
		data := make([]byte, 3*5*size)
		for i := range data {
			data[i] = byte(37*i + size)
		}
		want = append(want, Tensor{Name: "t." + dtype, DType: dtype, Shape: []int{3, 5}, Data: data})
	}
	want = append(want,
		Tensor{Name: "scalar", DType: "I64", Shape: []int{}, Data: make([]byte, 8)},
		Tensor{Name: "empty", DType: "F32", Shape: []int{4, 0, 2}, Data: []byte{}},
		Tensor{Name: `quote " slash \ <html>   ñ 🥑`, DType: "U8", Shape: []int{1}, Data: []byte{7}},
	)
	metadata := map[string]string{"format": "pt", "step": "12", "": "empty key", "é": "line\nbreak"}
	f := open(t, save(t, metadata, want...))

	if diff := cmp.Diff(metadata, f.Metadata()); diff != "" {
		t.Error("metadata (-want +got):", diff)
	}
	if got := f.Names(); len(got) != len(want) {
		t.Fatalf("%d names, want %d", len(got), len(want))
	}
	for i, w := range want {
		if f.Names()[i] != w.Name && w.Name != "empty" { // its data begins where the next one's does
			t.Errorf("name %d is %q, want %q", i, f.Names()[i], w.Name)
		}
		info, ok := f.Info(w.Name)
		if diff := cmp.Diff(Info{w.Name, w.DType, w.Shape}, info); !ok || diff != "" {
			t.Errorf("info (-want +got): %s", diff)
		}
		got, err := f.Bytes(w.Name)
		if err != nil || !bytes.Equal(got, w.Data) {
			t.Errorf("%s: %d bytes, %v; not those written", w.Name, len(got), err)
		}
		if cap(got) != len(got) {
			t.Errorf("%s: an append would run into the next tensor", w.Name)
		}
	}
}

// TestRoundTripFloats converts to every float dtype and back. The length takes
// more than one block of FromFloat32s and leaves a rest.
func TestRoundTripFloats(t *testing.T) {
	const n = 40_003
	src := make([]float32, n)
	for i := range src {
		src[i] = float32(math.Sin(float64(i))) * 100
	}
	src[0], src[1], src[2] = float32(math.Inf(-1)), float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32
	for dtype, round := range map[string]func(float32) float32{
		"F32":  func(v float32) float32 { return v },
		"F64":  func(v float32) float32 { return v },
		"BF16": func(v float32) float32 { return kernels.ToBF16(v).Float32() },
		"F16":  func(v float32) float32 { return kernels.ToF16(v).Float32() },
	} {
		f := open(t, save(t, nil, FromFloat32s("w", dtype, []int{n}, src)))
		got := make([]float32, n)
		if err := f.Float32s("w", got); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if want := round(src[i]); math.Float32bits(got[i]) != math.Float32bits(want) {
				t.Fatalf("%s[%d]: %g, want %g", dtype, i, got[i], want)
			}
		}
	}
}

func TestFloat64IsRounded(t *testing.T) {
	var data []byte
	for _, v := range []float64{1 + 0x1p-24, 1 + 0x1.8p-23, 1e300} {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
	}
	f := open(t, save(t, nil, Tensor{Name: "w", DType: "F64", Shape: []int{3}, Data: data}))
	got := make([]float32, 3)
	if err := f.Float32s("w", got); err != nil {
		t.Fatal(err)
	}
	if want := []float32{1, 1 + 0x1p-22, float32(math.Inf(1))}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestReadErrors(t *testing.T) {
	f := open(t, save(t, nil, Tensor{Name: "ids", DType: "I64", Shape: []int{2}, Data: make([]byte, 16)}))
	_, missing := f.Bytes("nope")
	closed := open(t, save(t, nil))
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	_, afterClose := closed.Bytes("ids")
	for want, err := range map[string]error{
		`no tensor "nope"`:            missing,
		"file is closed":              afterClose,
		"has 2 elements":              f.Float32s("ids", make([]float32, 3)),
		"not one that reads as float": f.Float32s("ids", make([]float32, 2)),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, ok := f.Info("nope"); ok {
		t.Error("Info found a tensor that is not there")
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a folder was opened")
	}
}

// TestCallersCannotChangeFile hands out copies of what it indexes by.
func TestCallersCannotChangeFile(t *testing.T) {
	f := open(t, save(t, map[string]string{"k": "v"}, FromFloat32s("w", "F32", []int{2, 1}, []float32{1, 2})))
	info, _ := f.Info("w")
	info.Shape[0] = 99
	f.Metadata()["k"] = "changed"
	f.Names()[0] = "changed"
	if again, ok := f.Info("w"); !ok || again.Shape[0] != 2 || f.Metadata()["k"] != "v" || f.Names()[0] != "w" {
		t.Error("a caller changed the file's index")
	}
}

func TestWriteIsDeterministic(t *testing.T) {
	metadata := map[string]string{"b": "2", "a": "1", "d": "4", "c": "3"}
	tensors := []Tensor{
		FromFloat32s("z", "F32", []int{2}, []float32{1, 2}),
		FromFloat32s("a", "BF16", []int{1, 1}, []float32{3}),
	}
	const header = `{"__metadata__":{"a":"1","b":"2","c":"3","d":"4"},` +
		`"z":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"BF16","shape":[1,1],"data_offsets":[8,10]}}`
	want := file(header+strings.Repeat(" ", 7-(len(header)+7)%8), "\x00\x00\x80\x3f\x00\x00\x00\x40\x40\x40")
	for range 3 {
		got, err := os.ReadFile(save(t, metadata, tensors...))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
}

// TestDataIsAligned wants the data to begin at a multiple of 8 for every length
// of the header, so that a mapped tensor is aligned to its elements.
func TestDataIsAligned(t *testing.T) {
	for n := range 8 {
		b, err := encodeHeader(nil, []Tensor{{Name: strings.Repeat("x", n), DType: "U8"}}, []int{1})
		if err != nil || len(b)%8 != 0 || binary.LittleEndian.Uint64(b) != uint64(len(b)-8) {
			t.Errorf("name of %d letters: data begins at %d (%v)", n, len(b), err)
		}
	}
}

func TestWriteErrors(t *testing.T) {
	u8 := func(name string) Tensor { return Tensor{Name: name, DType: "U8", Shape: []int{1}, Data: []byte{1}} }
	stream := func(n int) Tensor {
		return Tensor{Name: "w", DType: "U8", Shape: []int{4}, Stream: func(w io.Writer) error {
			_, err := w.Write(make([]byte, n))
			return err
		}}
	}
	for _, c := range []struct {
		want     string
		metadata map[string]string
		tensors  []Tensor
	}{
		{"taken", nil, []Tensor{u8("a"), u8("a")}},
		{"taken", nil, []Tensor{u8("__metadata__")}},
		{"not UTF-8", nil, []Tensor{u8("\xff")}},
		{"not UTF-8", map[string]string{"k": "\xff"}, nil},
		{"unknown dtype", nil, []Tensor{{Name: "w", DType: "float32"}}},
		{"Data has 3", nil, []Tensor{{Name: "w", DType: "F32", Shape: []int{1}, Data: make([]byte, 3)}}},
		{"negative dimension", nil, []Tensor{{Name: "w", DType: "F32", Shape: []int{-1, -1}, Data: make([]byte, 4)}}},
		{"overflows", nil, []Tensor{{Name: "w", DType: "F32", Shape: []int{math.MaxInt, math.MaxInt}}}},
		{"both", nil, []Tensor{{Name: "w", DType: "U8", Shape: []int{0}, Data: []byte{}, Stream: stream(0).Stream}}},
		{"Stream wrote 3", nil, []Tensor{stream(3)}},
		{"at least 1 bytes more", nil, []Tensor{stream(5)}},
		{"cannot be written", nil, []Tensor{FromFloat32s("w", "I32", []int{1}, []float32{1})}},
	} {
		dir := t.TempDir()
		err := Write(filepath.Join(dir, "x"), c.metadata, c.tensors)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: left %v behind", c.want, left)
		}
	}
}

// file joins a header and data with the length of the header in front.
func file(header, data string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

// hostile lists files that must be refused, with a part of the message.
var hostile = []struct {
	want string
	file []byte
}{
	{"truncated: 0 bytes", nil},
	{"truncated: 7 bytes", make([]byte, 7)},
	{"does not begin", make([]byte, 8)},
	{"longer than", append(bytes.Repeat([]byte{0xff}, 8), '{', '}')},
	{"longer than", binary.LittleEndian.AppendUint64(nil, maxHeader+1)},
	{"truncated: header of 100000000 bytes", append(binary.LittleEndian.AppendUint64(nil, maxHeader), '{', '}')},
	{"does not begin", file(` {}`, "")},
	{"does not begin", file(`[]`, "")},
	{"unexpected EOF", file(`{`, "")},
	{"unexpected EOF", file(`{"a":{"dtype":"U8","shape":[1`, "")},
	{"after the closing", file(`{}{}`, "")},
	{"after the closing", file("{}\x00", "")},
	{"not UTF-8", file("{\"\xff\":{}}", "")},
	{"duplicate key \"a\"", file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, "")},
	{"duplicate key \"a\"", file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, "")},
	{"duplicate key \"__metadata__\"", file(`{"__metadata__":{},"__metadata__":{}}`, "")},
	{"duplicate key \"k\"", file(`{"__metadata__":{"k":"1","k":"2"}}`, "")},
	{"duplicate key \"dtype\"", tensor(`"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]`, 1)},
	{"string belongs", file(`{"__metadata__":{"k":1}}`, "")},
	{"belongs", file(`{"__metadata__":null}`, "")},
	{"belongs", file(`{"a":[]}`, "")},
	{"unknown key \"DType\"", tensor(`"DType":"U8","shape":[1],"data_offsets":[0,1]`, 1)},
	{"no dtype", tensor(`"shape":[1],"data_offsets":[0,1]`, 1)},
	{"no shape", tensor(`"dtype":"U8","data_offsets":[0,1]`, 1)},
	{"no data_offsets", tensor(`"dtype":"U8","shape":[1]`, 1)},
	{"unknown dtype \"F31\"", tensor(`"dtype":"F31","shape":[1],"data_offsets":[0,1]`, 1)},
	{"string belongs", tensor(`"dtype":8,"shape":[1],"data_offsets":[0,1]`, 1)},
	{"not an integer", tensor(`"dtype":"U8","shape":[-1],"data_offsets":[0,1]`, 1)},
	{"not an integer", tensor(`"dtype":"U8","shape":[1.0],"data_offsets":[0,1]`, 1)},
	{"not an integer", tensor(`"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]`, 1)},
	{"integer belongs", tensor(`"dtype":"U8","shape":["1"],"data_offsets":[0,1]`, 1)},
	{"integer belongs", tensor(`"dtype":"U8","shape":[[1]],"data_offsets":[0,1]`, 1)},
	{"belongs", tensor(`"dtype":"U8","shape":1,"data_offsets":[0,1]`, 1)},
	{"has 1 numbers", tensor(`"dtype":"U8","shape":[1],"data_offsets":[0]`, 1)},
	{"has 3 numbers", tensor(`"dtype":"U8","shape":[1],"data_offsets":[0,1,1]`, 1)},
	{"overflows", tensor(`"dtype":"F64","shape":[65536,65536,65536,8192],"data_offsets":[0,1]`, 1)},
	{"overflows", tensor(`"dtype":"U8","shape":[65536,65536,65536,65536],"data_offsets":[0,0]`, 0)},
	{"overflows", tensor(`"dtype":"U8","shape":[65536,65536,65536,65536,0],"data_offsets":[0,0]`, 0)},
	{"run backwards", tensor(`"dtype":"U8","shape":[1],"data_offsets":[2,1]`, 2)},
	{"takes 4 bytes", tensor(`"dtype":"F32","shape":[1],"data_offsets":[0,3]`, 3)},
	{"hole after byte 0", tensor(`"dtype":"U8","shape":[1],"data_offsets":[1,2]`, 2)},
	{"truncated: tensor \"a\" ends at byte 4", tensor(`"dtype":"F32","shape":[1],"data_offsets":[0,4]`, 3)},
	{"1 bytes follow", tensor(`"dtype":"F32","shape":[1],"data_offsets":[0,4]`, 5)},
	{"1 bytes follow", file(`{}`, "x")},
	{"overlap", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, "xyz")},
	{"overlap", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, "xy")},
	{"hole after byte 1", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, "xyz")},
}

// tensor is a file with the one tensor "a" of that description and n bytes.
func tensor(description string, n int) []byte {
	return file(`{"a":{`+description+`}}`, strings.Repeat("x", n))
}

func TestHostileFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hostile")
	for _, c := range hostile {
		if err := os.WriteFile(path, c.file, 0o666); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err == nil {
			f.Close()
			t.Errorf("%.100q was opened, want an error with %q", c.file, c.want)
			continue
		}
		_, parsed := Parse(path, c.file)
		for _, err := range []error{err, parsed} {
			var format *FormatError
			if !errors.As(err, &format) || format.Path != path || !strings.Contains(format.Cause, c.want) {
				t.Errorf("%.100q: %v, want %q", c.file, err, c.want)
			}
		}
	}
}

// TestOtherWriters reads what other writers may do and ours does not: keys in
// any order, blanks, escapes, no padding, data in another order than the header.
func TestOtherWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	b := file(`{ "late" : {"data_offsets":[1,2],"shape":[ ],"dtype":"U8"},
		"\u0065arly":{"shape":[1,1],"data_offsets":[0,1],"dtype":"BOOL"}} `, "xy")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	if got := f.Names(); !slices.Equal(got, []string{"early", "late"}) {
		t.Errorf("names %q are not in the order of the data", got)
	}
	if got, err := f.Bytes("late"); string(got) != "y" || err != nil {
		t.Errorf("late: %q, %v", got, err)
	}
}

// TestParse reads a file from memory, which must stay Go's.
func TestParse(t *testing.T) {
	f, err := Parse("x", tensor(`"dtype":"U8","shape":[2],"data_offsets":[0,2]`, 2))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Bytes("a"); string(got) != "xx" || err != nil || f.Path() != "x" {
		t.Errorf("%q, %v in %s", got, err, f.Path())
	}
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Error(err)
	}
	if _, err := f.Bytes("a"); err == nil {
		t.Error("read after Close")
	}
}

// TestMemoryIsBoundedByHeader opens a small file that promises much.
func TestMemoryIsBoundedByHeader(t *testing.T) {
	b := tensor(`"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]`, 0)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := parse("x", b); err == nil {
		t.Fatal("opened")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
		t.Errorf("refusing a file of %d bytes takes %d bytes", len(b), n)
	}
}

// FuzzOpen wants every file refused with a *FormatError, or accepted with
// tensors that cover the data and can be written and read again.
func FuzzOpen(f *testing.F) {
	for _, c := range hostile {
		if len(c.file) >= 8 {
			f.Add(c.file)
		}
	}
	f.Add(file(`{}      `, ""))
	f.Add(file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]},"b":{"dtype":"F16","shape":[],"data_offsets":[4,6]}}`, "abcdef"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 8 {
			return // Open has refused it by its size
		}
		x, err := parse("x", b)
		if err != nil {
			var format *FormatError
			if !errors.As(err, &format) {
				t.Fatalf("%v is not a FormatError", err)
			}
			return
		}
		var tensors []Tensor
		var sizes []int
		var data []byte
		for _, name := range x.Names() {
			info, _ := x.Info(name)
			raw, err := x.Bytes(name)
			if err != nil {
				t.Fatal(err)
			}
			_ = x.Float32s(name, make([]float32, len(raw)/dtypeSizes[info.DType])) // integers are refused
			tensors = append(tensors, Tensor{Name: name, DType: info.DType, Shape: info.Shape, Data: raw})
			sizes = append(sizes, len(raw))
			data = append(data, raw...)
		}
		if !bytes.Equal(data, x.data) {
			t.Fatal("the tensors do not cover the data")
		}
		if len(tensors) != len(x.index) {
			t.Fatal("a name is there twice")
		}
		header, err := encodeHeader(x.Metadata(), tensors, sizes)
		if err != nil {
			t.Fatal(err)
		}
		y, err := parse("y", append(header, data...))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fmt.Sprint(x.tensors, x.metadata), fmt.Sprint(y.tensors, y.metadata)); diff != "" {
			t.Fatal("written and read again (-before +after):", diff)
		}
	})
}

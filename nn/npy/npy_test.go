package npy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRoundTrip(t *testing.T) {
	var stream bytes.Buffer
	shapes := [][]int{{}, {1}, {3}, {0}, {2, 0, 3}, {2, 3}, {4, 3, 2, 1}, {3, 2*block/3 + 1}}
	var arrays [][]float32
	for _, shape := range shapes {
		n, err := count(shape)
		if err != nil {
			t.Fatal(err)
		}
		data := make([]float32, n)
		for i := range data {
			data[i] = float32(i) - 0.5
		}
		arrays = append(arrays, data)
		before := stream.Len()
		if err := Write(&stream, shape, data); err != nil {
			t.Fatal(err)
		}
		if header := stream.Len() - before - 4*n; header%alignment != 0 {
			t.Errorf("%v: data begins at %d, not a multiple of %d", shape, header, alignment)
		}
	}
	for i, want := range shapes { // all from one stream: Read must not take too much
		shape, data, err := Read(&stream)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, shape); diff != "" {
			t.Error("shape (-want +got):", diff)
		}
		if diff := cmp.Diff(arrays[i], data); diff != "" {
			t.Errorf("%v (-want +got): %s", want, diff)
		}
	}
	if _, _, err := Read(&stream); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
}

func TestBitsSurvive(t *testing.T) {
	bits := []uint32{0x80000000, 0x7f800000, 0xff800000, 0x7fc00001, 1, 0x7f7fffff}
	data := make([]float32, len(bits))
	for i, b := range bits {
		data[i] = math.Float32frombits(b)
	}
	var w bytes.Buffer
	if err := Write(&w, []int{len(data)}, data); err != nil {
		t.Fatal(err)
	}
	_, got, err := Read(&w)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range bits {
		if math.Float32bits(got[i]) != b {
			t.Errorf("%#08x came back as %#08x", b, math.Float32bits(got[i]))
		}
	}
}

// TestNumPyBytes holds the bytes that NumPy 2.4.6 writes, from
//
//	np.save(f, np.array([[1, 2, 3]], np.float32))
func TestNumPyBytes(t *testing.T) {
	header := "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }"
	want := "\x93NUMPY\x01\x00\x76\x00" + header + strings.Repeat(" ", 0x76-len(header)-1) + "\n" +
		"\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40"
	var w bytes.Buffer
	if err := Write(&w, []int{1, 3}, []float32{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, w.String()); diff != "" {
		t.Error("(-want +got):", diff)
	}
}

// file is a version 1.0 file of that header and n bytes of data.
func file(header string, n int) string {
	b := binary.LittleEndian.AppendUint16([]byte(prefix), uint16(len(header)))
	return string(b) + header + strings.Repeat("\x00", n)
}

func TestOtherWriters(t *testing.T) {
	for header, want := range map[string][]int{
		`{"shape":(2,1),"fortran_order":False,"descr":"<f4"}`:                        {2, 1},
		"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, ), }":              {1, 2},
		" { 'fortran_order' : False , 'descr' : '<f4' , 'shape' : ( 2 , ) } \t\r\n ": {2},
	} {
		shape, data, err := Read(strings.NewReader(file(header, 8)))
		if err != nil || len(data) != 2 {
			t.Errorf("%s: %v, %v", header, data, err)
		}
		if diff := cmp.Diff(want, shape); diff != "" {
			t.Errorf("%s (-want +got): %s", header, diff)
		}
	}
}

func TestReadErrors(t *testing.T) {
	shape := func(s string) string { return "{'descr': '<f4', 'fortran_order': False, 'shape': " + s + ", }" }
	for _, c := range []struct{ want, file string }{
		{"magic: unexpected EOF", prefix},
		{"not a .npy file", "PK\x03\x04 a zip archive"},
		{"version 2.0", "\x93NUMPY\x02\x00\x00\x00\x00\x00"},
		{"header: unexpected EOF", prefix + "\xff\xff{"},
		{"header: unexpected EOF", prefix + "\x01\x00"},
		{`where "{" belongs`, file("", 0)},
		{"want the keys", file("{}", 0)},
		{"want the keys", file("{'shape': (1,)}", 4)},
		{"duplicate key", file("{'shape': (1,), 'shape': (1,)}", 4)},
		{"unknown key", file("{'Shape': (1,)}", 4)},
		{`dtype "<f8"`, file("{'descr': '<f8'}", 8)},
		{`dtype ">f4"`, file("{'descr': '>f4'}", 4)},
		{"where a string belongs", file("{'descr': [('a', '<f4')]}", 4)},
		{"without an end", file("{'descr: 1}", 4)},
		{"Fortran", file("{'fortran_order': True}", 4)},
		{`where "False" belongs`, file("{'fortran_order': 0}", 4)},
		{`where "(" belongs`, file(shape("[1]"), 4)},
		{"not a tuple", file(shape("(1)"), 4)},
		{"where a dimension belongs", file(shape("(-1,)"), 4)},
		{"where a dimension belongs", file(shape("(,)"), 4)},
		{"where a dimension belongs", file(shape("(99999999999999999999,)"), 4)},
		{"where a dimension belongs", file("{'shape': (", 4)},
		{"where a dimension belongs", file("{'shape': (1", 4)},
		{`where "}" belongs`, file("{'shape': (1,) 'descr'", 4)},
		{"behind the dictionary", file(shape("(1,)")+"x", 4)},
		{"overflows", file(shape("(65536, 65536, 65536, 65536)"), 4)},
		{"overflows", file(shape("(2097152, 2097152, 1048576)"), 4)},
		{"data ends early: unexpected EOF", file(shape("(1,)"), 0)},
		{"data ends early: unexpected EOF", file(shape("(2, 2)"), 15)},
	} {
		_, _, err := Read(strings.NewReader(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.file, err, c.want)
		}
	}
}

// TestMemoryIsBounded reads a header that claims four terabytes.
func TestMemoryIsBounded(t *testing.T) {
	s := file("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }", 1000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, _, err := Read(strings.NewReader(s)); err == nil {
		t.Fatal("no error")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("refusing a file of %d bytes takes %d bytes", len(s), n)
	}
}

func TestWriteErrors(t *testing.T) {
	for _, c := range []struct {
		want  string
		shape []int
	}{
		{"has 3 elements, the data 2", []int{3}},
		{"negative", []int{-1, -2}},
		{"overflows", []int{math.MaxInt, 4}},
	} {
		var w bytes.Buffer
		if err := Write(&w, c.shape, make([]float32, 2)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.shape, err, c.want)
		}
		if w.Len() > 0 {
			t.Errorf("%v: %d bytes were written", c.shape, w.Len())
		}
	}
	long := make([]int, 1<<16)
	for i := range long {
		long[i] = 1
	}
	if err := Write(io.Discard, long, make([]float32, 1)); err == nil {
		t.Error("65,536 dimensions were written")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }\n", 8)))
	f.Add([]byte(file(`{"shape": (), "descr": "<f4", "fortran_order": False}`, 4)))
	f.Fuzz(func(t *testing.T, b []byte) {
		shape, data, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		var w bytes.Buffer
		if err := Write(&w, shape, data); err != nil {
			t.Fatal(err)
		}
		again, _, err := Read(&w)
		if err != nil || !cmp.Equal(shape, again) {
			t.Fatalf("shape %v came back as %v, %v", shape, again, err)
		}
	})
}

package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"unicode/utf8"
)

// File is an open safetensors file. Its methods may be called from several
// goroutines at once, except Close.
type File struct {
	path     string
	mapping  []byte  // the whole file; nil once closed
	mapped   bool    // mapping is the system's, not Go's
	data     []byte  // the part of mapping behind the header
	tensors  []entry // in the order of their data
	index    map[string]int
	metadata map[string]string
}

// entry is one tensor of the header: data[begin:end] holds its elements.
type entry struct {
	Info
	begin, end int
}

// Open maps path into memory and checks its header completely: nothing that is
// asked of the File later can run out of bounds.
//
// Memory: proportional to the header that is really in the file (at most
// 100 MB), whatever the header claims. The tensors stay on disk until touched;
// where the system has no mmap the whole file is read.
// Errors: those of the file system, and *FormatError naming the cause. Once
// open, the file must not be truncated by others: touching a page that is gone
// kills the process. Files replaced by renaming, as Write does, are safe.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read-only, and a mapping outlives its descriptor
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &FormatError{path, "not a regular file"}
	}
	if info.Size() > math.MaxInt {
		return nil, fmt.Errorf("safetensors: %s: %d bytes are more than this machine can address", path, info.Size())
	}
	if info.Size() < 8 {
		return nil, tooShort(path, int(info.Size()))
	}
	mapping, err := mapFile(f, int(info.Size()))
	if err != nil {
		return nil, fmt.Errorf("safetensors: %s: %w", path, err)
	}
	file, err := parse(path, mapping)
	if err != nil {
		return nil, errors.Join(err, unmapFile(mapping))
	}
	file.mapped = true
	return file, nil
}

// Parse is Open for a file that is in memory already, such as an embedded one.
// The File keeps data, which must not change; name stands for its path in errors.
//
// Errors: *FormatError naming the cause.
func Parse(name string, data []byte) (*File, error) {
	if len(data) < 8 {
		return nil, tooShort(name, len(data))
	}
	return parse(name, data)
}

// tooShort is the error of a file without room for the length of its header.
func tooShort(path string, size int) error {
	return &FormatError{path, fmt.Sprintf("truncated: %d bytes, and the header's length alone takes 8", size)}
}

// Path returns what Open or Parse was given to name the file.
func (f *File) Path() string { return f.path }

// Close unmaps the file. Slices that Bytes returned must not be touched after
// it: where the file was mapped, that kills the process. A second Close does
// nothing.
func (f *File) Close() error {
	if f.mapping == nil {
		return nil
	}
	mapping := f.mapping
	f.mapping, f.data = nil, nil
	if !f.mapped {
		return nil
	}
	return unmapFile(mapping)
}

// Names returns the names of all tensors in the order of their data.
func (f *File) Names() []string {
	names := make([]string, len(f.tensors))
	for i, t := range f.tensors {
		names[i] = t.Name
	}
	return names
}

// Info describes the tensor of that name; ok is false if there is none.
func (f *File) Info(name string) (info Info, ok bool) {
	i, ok := f.index[name]
	if !ok {
		return Info{}, false
	}
	info = f.tensors[i].Info
	info.Shape = slices.Clone(info.Shape)
	return info, true
}

// Metadata returns a copy of the free-form strings of the header, empty if
// there are none.
func (f *File) Metadata() map[string]string {
	m := make(map[string]string, len(f.metadata))
	maps.Copy(m, f.metadata)
	return m
}

// Bytes returns the elements of a tensor as the file holds them: little-endian,
// row-major, at any alignment. Nothing is copied; the slice is read-only (where
// the file was mapped, writing to it kills the process) and valid until Close.
// Errors: no tensor of that name; the file is closed.
func (f *File) Bytes(name string) ([]byte, error) {
	_, b, err := f.lookup(name)
	return b, err
}

// Float32s decodes a tensor of dtype F32, BF16, F16 or F64 into dst. All but
// F64 are exact; F64 is rounded to nearest, ties to even.
// Errors: as Bytes; another dtype; len(dst) is not the number of elements.
func (f *File) Float32s(name string, dst []float32) error {
	info, b, err := f.lookup(name)
	if err != nil {
		return err
	}
	if n := len(b) / dtypeSizes[info.DType]; n != len(dst) {
		return fmt.Errorf("safetensors: %s: tensor %q of shape %v has %d elements, the destination %d", f.path, name, info.Shape, n, len(dst))
	}
	if err := decodeFloat32s(dst, info.DType, b); err != nil {
		return fmt.Errorf("safetensors: %s: tensor %q: %w", f.path, name, err)
	}
	return nil
}

func (f *File) lookup(name string) (Info, []byte, error) {
	if f.mapping == nil {
		return Info{}, nil, fmt.Errorf("safetensors: %s: file is closed", f.path)
	}
	i, ok := f.index[name]
	if !ok {
		return Info{}, nil, fmt.Errorf("safetensors: %s: no tensor %q", f.path, name)
	}
	t := &f.tensors[i]
	// The capacity is cut, so that an append cannot run into the next tensor.
	return t.Info, f.data[t.begin:t.end:t.end], nil
}

// parse checks the bytes of a whole file, at least 8 of them, and indexes them.
// Errors are *FormatError.
func parse(path string, mapping []byte) (*File, error) {
	length, rest := binary.LittleEndian.Uint64(mapping), mapping[8:]
	if length > maxHeader {
		return nil, &FormatError{path, fmt.Sprintf("header of %d bytes is longer than the %d allowed", length, maxHeader)}
	}
	if length > uint64(len(rest)) {
		return nil, &FormatError{path, fmt.Sprintf("truncated: header of %d bytes, but only %d follow", length, len(rest))}
	}
	f := &File{path: path, mapping: mapping, data: rest[length:]}
	if err := f.parseHeader(rest[:length]); err != nil {
		return nil, &FormatError{path, "header: " + err.Error()}
	}
	if err := f.checkOffsets(); err != nil {
		return nil, &FormatError{path, err.Error()}
	}
	f.index = make(map[string]int, len(f.tensors))
	for i, t := range f.tensors {
		f.index[t.Name] = i
	}
	return f, nil
}

// checkOffsets sorts the tensors by their place in the data and wants them to
// cover it from the first byte to the last, each with the bytes of its shape.
func (f *File) checkOffsets() error {
	slices.SortStableFunc(f.tensors, func(a, b entry) int {
		// Empty tensors share their begin with the next one and go before it.
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	next := 0
	for _, t := range f.tensors {
		switch size, err := byteSize(t.DType, t.Shape); {
		case err != nil:
			return fmt.Errorf("tensor %q: %v", t.Name, err)
		case t.end < t.begin:
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] run backwards", t.Name, t.begin, t.end)
		case t.end-t.begin != size:
			return fmt.Errorf("tensor %q: %s%v takes %d bytes, data_offsets [%d, %d] hold %d", t.Name, t.DType, t.Shape, size, t.begin, t.end, t.end-t.begin)
		case t.begin < next:
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] overlap the tensor that ends at %d", t.Name, t.begin, t.end, next)
		case t.begin > next:
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] leave a hole after byte %d", t.Name, t.begin, t.end, next)
		case t.end > len(f.data):
			return fmt.Errorf("truncated: tensor %q ends at byte %d of the data, which has %d", t.Name, t.end, len(f.data))
		}
		next = t.end
	}
	if next != len(f.data) {
		return fmt.Errorf("%d bytes follow the last tensor", len(f.data)-next)
	}
	return nil
}

// parseHeader fills tensors and metadata, in the order of the header.
//
// It walks tokens: json.Unmarshal would take duplicate keys, keys that differ
// in case, and null for a number, each without a word.
func (f *File) parseHeader(header []byte) error {
	if len(header) == 0 || header[0] != '{' {
		return errors.New("does not begin with '{'")
	}
	if !utf8.Valid(header) {
		return errors.New("not UTF-8")
	}
	d := decoder{json.NewDecoder(bytes.NewReader(header))}
	d.UseNumber()
	seen := map[string]bool{}
	err := d.object(func(key string) error {
		if seen[key] {
			return fmt.Errorf("duplicate key %q", key)
		}
		seen[key] = true
		if key == metadataKey {
			f.metadata = map[string]string{}
			return d.metadata(f.metadata)
		}
		t, err := d.entry()
		if err != nil {
			return fmt.Errorf("tensor %q: %w", key, err)
		}
		t.Name = key
		f.tensors = append(f.tensors, t)
		return nil
	})
	if err != nil {
		return err
	}
	if rest := bytes.TrimLeft(header[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return errors.New("text after the closing '}'")
	}
	return nil
}

// decoder reads the few forms of JSON that a header is made of.
type decoder struct{ *json.Decoder }

// delim reads the delimiter want.
func (d decoder) delim(want json.Delim) error {
	token, err := d.token()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("%v where %q belongs", token, want.String())
	}
	return nil
}

// token is Decoder.Token, with a header that stops early named as that.
func (d decoder) token() (json.Token, error) {
	token, err := d.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return token, err
}

// object reads an object, calling value to read the value of each key.
func (d decoder) object(value func(key string) error) error {
	if err := d.delim('{'); err != nil {
		return err
	}
	for d.More() {
		token, err := d.token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return fmt.Errorf("%v where a key belongs", token)
		}
		if err := value(key); err != nil {
			return err
		}
	}
	return d.delim('}')
}

func (d decoder) string() (string, error) {
	token, err := d.token()
	if err != nil {
		return "", err
	}
	s, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("%v where a string belongs", token)
	}
	return s, nil
}

// sizes reads an array of non-negative integers.
func (d decoder) sizes() ([]int, error) {
	if err := d.delim('['); err != nil {
		return nil, err
	}
	list := []int{}
	for d.More() {
		token, err := d.token()
		if err != nil {
			return nil, err
		}
		number, ok := token.(json.Number)
		if !ok {
			return nil, fmt.Errorf("%v where an integer belongs", token)
		}
		n, err := strconv.ParseUint(string(number), 10, strconv.IntSize-1)
		if err != nil {
			return nil, fmt.Errorf("%s is not an integer from 0 to %d", number, math.MaxInt)
		}
		list = append(list, int(n))
	}
	return list, d.delim(']')
}

func (d decoder) metadata(into map[string]string) error {
	return d.object(func(key string) error {
		if _, ok := into[key]; ok {
			return fmt.Errorf("%s: duplicate key %q", metadataKey, key)
		}
		value, err := d.string()
		if err != nil {
			return fmt.Errorf("%s: %q: %w", metadataKey, key, err)
		}
		into[key] = value
		return nil
	})
}

// entry reads {"dtype": …, "shape": …, "data_offsets": …}, in any order.
func (d decoder) entry() (entry, error) {
	var t entry
	var offsets []int
	seen := map[string]bool{}
	err := d.object(func(key string) (err error) {
		if seen[key] {
			return fmt.Errorf("duplicate key %q", key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			t.DType, err = d.string()
		case "shape":
			t.Shape, err = d.sizes()
		case "data_offsets":
			offsets, err = d.sizes()
		default:
			err = fmt.Errorf("unknown key %q", key)
		}
		return err
	})
	if err != nil {
		return entry{}, err
	}
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[key] {
			return entry{}, fmt.Errorf("no %s", key)
		}
	}
	if len(offsets) != 2 {
		return entry{}, fmt.Errorf("data_offsets has %d numbers, not 2", len(offsets))
	}
	t.begin, t.end = offsets[0], offsets[1]
	return t, nil
}

package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"unicode/utf8"

	"fuerte/nn/atomicfile"
)

// Tensor is one tensor to be written. Its elements, little-endian and
// row-major, are either in Data or sent to the writer by Stream; the other one
// is nil.
type Tensor struct {
	Name   string
	DType  string
	Shape  []int
	Data   []byte
	Stream func(io.Writer) error
}

// FromFloat32s returns a Tensor that is converted to dtype "F32", "BF16", "F16"
// or "F64" while it is written, by the rules of AppendFloat32s, in blocks: the
// converted tensor is never in memory whole. It keeps data until then.
func FromFloat32s(name, dtype string, shape []int, data []float32) Tensor {
	const block = 16 << 10 // elements: 128 KB at most, inside any L2
	return Tensor{Name: name, DType: dtype, Shape: shape, Stream: func(w io.Writer) error {
		var buf []byte
		for part := range slices.Chunk(data, block) {
			var err error
			if buf, err = AppendFloat32s(buf[:0], dtype, part); err != nil {
				return err
			}
			if _, err := w.Write(buf); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Write makes a safetensors file of the tensors, their data in the order given.
//
// The bytes depend on the arguments alone: the header lists the metadata sorted
// by key (left out if empty), then the tensors in the order given, and is
// padded with spaces to a multiple of 8. Every tensor is aligned to its element
// if the order given puts larger elements first, as upstream's writer does.
//
// The file appears whole or not at all: see atomicfile.WriteFileAtomic.
// Errors: a name or text that is not UTF-8, a duplicate name, the name
// "__metadata__", an unknown dtype, a shape whose size is not that of the data,
// a header above 100 MB; those of Stream and of the file system.
func Write(path string, metadata map[string]string, tensors []Tensor) error {
	sizes := make([]int, len(tensors))
	for i, t := range tensors {
		size, err := byteSize(t.DType, t.Shape)
		if err == nil && t.Stream == nil && len(t.Data) != size {
			err = fmt.Errorf("%s%v takes %d bytes, Data has %d", t.DType, t.Shape, size, len(t.Data))
		}
		if err == nil && t.Stream != nil && t.Data != nil {
			err = fmt.Errorf("both Data and Stream are set")
		}
		if err != nil {
			return fmt.Errorf("safetensors: %s: tensor %q: %w", path, t.Name, err)
		}
		sizes[i] = size
	}
	header, err := encodeHeader(metadata, tensors, sizes)
	if err != nil {
		return fmt.Errorf("safetensors: %s: %w", path, err)
	}
	return atomicfile.WriteFileAtomic(path, func(w io.Writer) error {
		if _, err := w.Write(header); err != nil {
			return err
		}
		for i, t := range tensors {
			if err := writeData(w, t, sizes[i]); err != nil {
				return fmt.Errorf("safetensors: %s: tensor %q: %w", path, t.Name, err)
			}
		}
		return nil
	})
}

func writeData(w io.Writer, t Tensor, size int) error {
	if t.Stream == nil {
		_, err := w.Write(t.Data)
		return err
	}
	exact := exactWriter{w: w, left: size}
	if err := t.Stream(&exact); err != nil {
		return err
	}
	if exact.left > 0 {
		return fmt.Errorf("%s%v takes %d bytes, Stream wrote %d", t.DType, t.Shape, size, size-exact.left)
	}
	return nil
}

// exactWriter refuses what goes beyond left bytes: one tensor that streams too
// much would shift every tensor behind it.
type exactWriter struct {
	w    io.Writer
	left int
}

func (e *exactWriter) Write(p []byte) (int, error) {
	if len(p) > e.left {
		return 0, fmt.Errorf("Stream writes at least %d bytes more than the shape takes", len(p)-e.left)
	}
	n, err := e.w.Write(p)
	e.left -= n
	return n, err
}

// encodeHeader returns the 8 bytes of the length and the padded header.
func encodeHeader(metadata map[string]string, tensors []Tensor, sizes []int) ([]byte, error) {
	b := append(make([]byte, 8), '{')
	if len(metadata) > 0 {
		b = append(b, `"`+metadataKey+`":{`...)
		for i, key := range slices.Sorted(maps.Keys(metadata)) {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = appendString(b, key); err != nil {
				return nil, err
			}
			b = append(b, ':')
			if b, err = appendString(b, metadata[key]); err != nil {
				return nil, err
			}
		}
		b = append(b, '}')
	}
	seen := map[string]bool{metadataKey: true}
	begin := 0
	for i, t := range tensors {
		if seen[t.Name] {
			return nil, fmt.Errorf("tensor name %q is taken", t.Name)
		}
		seen[t.Name] = true
		if sizes[i] > math.MaxInt-begin {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, errTooLarge)
		}
		if len(b) > len(`00000000{`) {
			b = append(b, ',')
		}
		var err error
		if b, err = appendString(b, t.Name); err != nil {
			return nil, err
		}
		b = fmt.Appendf(b, `:{"dtype":%q,"shape":[`, t.DType) // a known dtype: plain ASCII
		for j, d := range t.Shape {
			if j > 0 {
				b = append(b, ',')
			}
			b = fmt.Append(b, d)
		}
		b = fmt.Appendf(b, `],"data_offsets":[%d,%d]}`, begin, begin+sizes[i])
		begin += sizes[i]
	}
	b = append(b, '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	if len(b)-8 > maxHeader {
		return nil, fmt.Errorf("header of %d bytes is longer than the %d allowed", len(b)-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)-8))
	return b, nil
}

// appendString appends s as JSON. What is not UTF-8 is an error, because
// encoding/json would replace it and so change a name.
func appendString(b []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("%q is not UTF-8", s)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // names like "a<b" stay readable
	if err := enc.Encode(s); err != nil {
		return nil, err
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...), nil
}

// Package safetensors reads and writes the checkpoint format of the Python
// world: a JSON header, then the raw bytes of every tensor, and no code.
//
//	offset 0    uint64, little-endian   length n of the header
//	offset 8    n bytes of UTF-8 JSON   {"__metadata__": {string: string, …},
//	                                     name: {"dtype": "F32", "shape": [2, 3],
//	                                            "data_offsets": [begin, end]}, …}
//	offset 8+n  the data, row-major, little-endian; offsets count from here
//
// The tensors cover the data without hole or overlap, up to the last byte of
// the file. Reading maps the file into memory, so that opening a checkpoint
// costs its header and a tensor costs the pages that are touched.
//
// Source: github.com/huggingface/safetensors, README "Format".
package safetensors

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// maxHeader is the largest header, in bytes, that is read or written. The limit
// is upstream's; a file beyond it could not be opened there either.
const maxHeader = 100_000_000

// metadataKey is the one key of the header that names no tensor.
const metadataKey = "__metadata__"

// dtypeSizes holds the bytes of one element for every dtype of the format that
// fills whole bytes. Its 4- and 6-bit floats are refused as unknown.
var dtypeSizes = map[string]int{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
	"U16": 2, "I16": 2, "F16": 2, "BF16": 2,
	"U32": 4, "I32": 4, "F32": 4,
	"U64": 8, "I64": 8, "F64": 8,
}

// Info says what a tensor of a file is, without its data.
type Info struct {
	Name  string
	DType string // "F32", "BF16", "F16", "F64", "I32", "I64", "U8", "BOOL", …
	Shape []int  // empty for a scalar
}

// Elements returns the number of elements; Open has checked that it fits an int.
func (i Info) Elements() int {
	n := 1
	for _, d := range i.Shape {
		n *= d
	}
	return n
}

// FormatError reports a file that is not well-formed safetensors.
type FormatError struct {
	Path  string
	Cause string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("safetensors: %s: %s", e.Path, e.Cause)
}

var errTooLarge = errors.New("its size in bytes overflows an int")

// byteSize returns the bytes of a tensor: the product of shape times the size
// of dtype. Errors: unknown dtype, negative dimension, overflow of int. An
// overflow counts even where another dimension is 0, as it does upstream.
func byteSize(dtype string, shape []int) (int, error) {
	size, ok := dtypeSizes[dtype]
	if !ok {
		return 0, fmt.Errorf("unknown dtype %q", dtype)
	}
	n := uint64(1)
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("negative dimension %d", d)
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 {
			return 0, errTooLarge
		}
		n = lo
	}
	hi, lo := bits.Mul64(n, uint64(size))
	if hi != 0 || lo > math.MaxInt {
		return 0, errTooLarge
	}
	return int(lo), nil
}

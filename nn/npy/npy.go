// Package npy reads and writes NumPy's .npy files, version 1.0, of float32 in C
// order: the simplest way to hand an array to Python or to take one from it.
//
//	"\x93NUMPY" 1 0                   magic and version
//	uint16, little-endian             length of the header
//	{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  spaces  "\n"
//	the elements, little-endian, row-major
//
// Source: numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
package npy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// prefix is magic and version. All that is before the data is a multiple of
// alignment bytes long, so that NumPy can map the file.
const (
	prefix    = "\x93NUMPY\x01\x00"
	alignment = 64
	block     = 16 << 10 // elements converted at a time
)

// Write sends an array to w. An empty shape is a scalar with one element.
// Errors: len(data) is not the product of shape, a shape of more dimensions
// than the header can hold, and those of w.
func Write(w io.Writer, shape []int, data []float32) error {
	n, err := count(shape)
	if err != nil {
		return fmt.Errorf("npy: shape %v: %w", shape, err)
	}
	if n != len(data) {
		return fmt.Errorf("npy: shape %v has %d elements, the data %d", shape, n, len(data))
	}
	b := append([]byte(prefix), 0, 0)
	b = append(b, "{'descr': '<f4', 'fortran_order': False, 'shape': ("...)
	for i, d := range shape {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, int64(d), 10)
		if i < len(shape)-1 || len(shape) == 1 {
			b = append(b, ',') // (3,) is a tuple, (3) a number
		}
	}
	b = append(b, "), }"...)
	for (len(b)+1)%alignment != 0 {
		b = append(b, ' ')
	}
	b = append(b, '\n')
	length := len(b) - len(prefix) - 2
	if length > math.MaxUint16 {
		return fmt.Errorf("npy: a header of %d bytes for %d dimensions is longer than version 1.0 allows", length, len(shape))
	}
	binary.LittleEndian.PutUint16(b[len(prefix):], uint16(length))
	if _, err := w.Write(b); err != nil {
		return err
	}
	for part := range slices.Chunk(data, block) {
		b = b[:0]
		for _, v := range part {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// Read takes one array from r and no byte more, so that several may follow each
// other. Memory grows with the data that really comes, not with what the header
// claims.
// Errors: another version, dtype or order, a malformed header, data that ends
// early, and those of r.
func Read(r io.Reader) (shape []int, data []float32, err error) {
	start := make([]byte, len(prefix)+2)
	if _, err := io.ReadFull(r, start); err != nil {
		return nil, nil, fmt.Errorf("npy: magic: %w", err)
	}
	if magic, version := prefix[:6], prefix[6:]; string(start[:6]) != magic {
		return nil, nil, errors.New("npy: not a .npy file")
	} else if string(start[6:8]) != version {
		return nil, nil, fmt.Errorf("npy: version %d.%d, want 1.0", start[6], start[7])
	}
	header := make([]byte, binary.LittleEndian.Uint16(start[len(prefix):]))
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, nil, fmt.Errorf("npy: header: %w", unexpected(err))
	}
	shape, err = parseHeader(string(header))
	if err != nil {
		return nil, nil, fmt.Errorf("npy: header: %w", err)
	}
	n, err := count(shape)
	if err != nil {
		return nil, nil, fmt.Errorf("npy: shape %v: %w", shape, err)
	}
	buf := make([]byte, 4*min(n, block))
	data = make([]float32, 0, min(n, block))
	for len(data) < n {
		part := buf[:4*min(n-len(data), block)]
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, nil, fmt.Errorf("npy: shape %v: data ends early: %w", shape, unexpected(err))
		}
		for i := 0; i < len(part); i += 4 {
			data = append(data, math.Float32frombits(binary.LittleEndian.Uint32(part[i:])))
		}
	}
	return shape, data, nil
}

// unexpected names an end of file for what it is behind the first byte.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// count returns the product of shape, refusing what 4·count bytes could not
// address.
func count(shape []int) (int, error) {
	n := uint64(1)
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("negative dimension %d", d)
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > math.MaxInt/4 {
			return 0, errors.New("its size in bytes overflows an int")
		}
		n = lo
	}
	return int(n), nil
}

// parseHeader reads the header, a Python dictionary of three entries in any
// order, and returns its shape.
func parseHeader(header string) ([]int, error) {
	s := scanner{rest: header}
	var shape []int
	seen := map[string]bool{}
	if err := s.expect("{"); err != nil {
		return nil, err
	}
	for !s.take("}") {
		key, err := s.quoted()
		if err != nil {
			return nil, err
		}
		if seen[key] {
			return nil, fmt.Errorf("duplicate key %q", key)
		}
		seen[key] = true
		if err := s.expect(":"); err != nil {
			return nil, err
		}
		switch key {
		case "descr":
			descr, err := s.quoted()
			if err != nil {
				return nil, err
			}
			if descr != "<f4" {
				return nil, fmt.Errorf("dtype %q, want \"<f4\"", descr)
			}
		case "fortran_order":
			if s.take("True") {
				return nil, errors.New("Fortran order, want C order")
			}
			if err := s.expect("False"); err != nil {
				return nil, err
			}
		case "shape":
			if shape, err = s.tuple(); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("unknown key %q", key)
		}
		if !s.take(",") {
			if err := s.expect("}"); err != nil {
				return nil, err
			}
			break
		}
	}
	if len(seen) != 3 {
		return nil, errors.New("want the keys descr, fortran_order and shape")
	}
	if rest := strings.TrimLeft(s.rest, blanks); rest != "" {
		return nil, fmt.Errorf("%.20q behind the dictionary", rest)
	}
	return shape, nil
}

const blanks = " \t\r\n"

// scanner reads the few forms of Python that a header is made of.
type scanner struct{ rest string }

// take skips blanks and then token, if it comes next.
func (s *scanner) take(token string) bool {
	s.rest = strings.TrimLeft(s.rest, blanks)
	rest, ok := strings.CutPrefix(s.rest, token)
	s.rest = rest
	return ok
}

func (s *scanner) expect(token string) error {
	if !s.take(token) {
		return fmt.Errorf("%.20q where %q belongs", s.rest, token)
	}
	return nil
}

// quoted reads a string without escapes; no header has any.
func (s *scanner) quoted() (string, error) {
	for _, quote := range []string{"'", `"`} {
		if s.take(quote) {
			text, rest, ok := strings.Cut(s.rest, quote)
			if !ok {
				return "", errors.New("a string without an end")
			}
			s.rest = rest
			return text, nil
		}
	}
	return "", fmt.Errorf("%.20q where a string belongs", s.rest)
}

// tuple reads (), (2,), (2, 3) or (2, 3,).
func (s *scanner) tuple() ([]int, error) {
	if err := s.expect("("); err != nil {
		return nil, err
	}
	list := []int{}
	for !s.take(")") {
		end := strings.IndexFunc(s.rest, func(r rune) bool { return r < '0' || r > '9' })
		n, err := strconv.Atoi(s.rest[:max(end, 0)])
		if err != nil {
			return nil, fmt.Errorf("%.20q where a dimension belongs", s.rest)
		}
		s.rest = s.rest[end:]
		list = append(list, n)
		if !s.take(",") {
			// (2) is a number in parentheses, which NumPy refuses too.
			if len(list) == 1 {
				return nil, errors.New("shape is a number, not a tuple")
			}
			return list, s.expect(")")
		}
	}
	return list, nil
}

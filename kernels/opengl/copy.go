//go:build opengl

package opengl

import (
	_ "embed"
	"fmt"
)

//go:embed copy.comp
var copySource string

var copyShader = newShader("copy", copySource, "")

// maxRank is how many axes a strided kernel walks, after axes that are
// contiguous among themselves in every operand were merged.
const maxRank = 8

// View is a strided view: element k₀…kᵣ stands at Σ k·Steps of Buf, in elements.
// A step of 0 repeats an axis.
type View struct {
	Buf   Buffer
	Steps []int

	bytes bool // elements are bytes, four in an element of Buf, …
	first int  // … and this is the first
}

// Bools is a view of bytes, 0 or not 0, in a buffer: element k stands at byte
// first + Σ k·steps.
func Bools(b Buffer, first int, steps []int) View { return View{b, steps, true, first} }

// Copy sets y to x, over shape, moving 4-byte elements as they are.
//
// Shapes: rank ≤ 8 after merging; y.Steps and x.Steps as long as shape.
// Memory: no step of y is 0 (unless its axis is 1); y may be x exactly.
func (c *Context) Copy(shape []int, y, x View) error {
	if y.bytes || x.bytes {
		return fmt.Errorf("opengl: copy: operands of bytes; use CopyBytes")
	}
	return c.strided(copyShader, shape, y, x)
}

//go:embed copy_bytes.comp
var copyBytesSource string

var copyBytesShader = newShader("copy-bytes", copyBytesSource, "")

// CopyBytes is Copy for views of bytes, by Bools.
func (c *Context) CopyBytes(shape []int, y, x View) error {
	if !y.bytes || !x.bytes {
		return fmt.Errorf("opengl: copy-bytes: an operand is not of bytes")
	}
	return c.strided(copyBytesShader, shape, y, x)
}

// strided dispatches a shader whose arguments are n, rank, shape, the steps of
// every operand, and the first byte of those that are bytes.
func (c *Context) strided(s *shader, shape []int, views ...View) error {
	m, n, err := merge(s.name, shape, views)
	if err != nil || n == 0 {
		return err
	}
	var bufs [maxViews]Buffer
	args := make([]word, 0, maxWords)
	args = integers(args, n, m.rank)
	args = integers(args, m.shape[:]...)
	for i, v := range views {
		bufs[i] = v.Buf
		args = integers(args, m.steps[i][:]...)
	}
	for _, v := range views {
		if v.bytes {
			args = append(args, integer(v.first))
		}
	}
	return c.dispatch(s, groups(n, 256), 1, 1, bufs[:len(views)], args...)
}

const maxViews = 4

type merged struct {
	rank  int
	shape [maxRank]int
	steps [maxViews][maxRank]int
}

// merge drops axes of size 1, joins axes that are contiguous in every operand,
// and checks that every element lies in its buffer.
func merge(op string, shape []int, views []View) (m merged, n int, err error) {
	n = 1
	for _, d := range shape {
		n *= d
	}
	for _, v := range views {
		if len(v.Steps) != len(shape) {
			return m, 0, fmt.Errorf("opengl: %s: %d steps for rank %d", op, len(v.Steps), len(shape))
		}
		last := 0
		for a, d := range shape {
			if d < 0 || v.Steps[a] < 0 {
				return m, 0, fmt.Errorf("opengl: %s: negative size or step: %v, %v", op, shape, v.Steps)
			}
			last += (d - 1) * v.Steps[a]
		}
		if v.bytes {
			last = (v.first + last) / 4
		}
		if n > 0 {
			if err := need(op, last+1, v.Buf); err != nil {
				return m, 0, err
			}
		}
	}
	if n == 0 {
		return m, 0, nil
	}
	for a, d := range shape {
		if d == 1 {
			continue
		}
		join := m.rank > 0
		for i, v := range views {
			join = join && m.steps[i][m.rank-1] == v.Steps[a]*d
		}
		if !join {
			if m.rank == maxRank {
				return m, 0, fmt.Errorf("opengl: %s: rank above %d: %v", op, maxRank, shape)
			}
			m.rank++
			m.shape[m.rank-1] = 1
		}
		m.shape[m.rank-1] *= d
		for i, v := range views {
			m.steps[i][m.rank-1] = v.Steps[a]
		}
	}
	return m, n, nil
}

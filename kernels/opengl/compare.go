//go:build opengl

package opengl

import (
	_ "embed"
	"fmt"
)

//go:embed compare.comp
var compareSource string

// Comparison is one of Less, LessEqual, Equal.
type Comparison int

// The comparisons; each is false where an operand is NaN.
const (
	Less Comparison = iota
	LessEqual
	Equal
)

const (
	ofFloat = "#define TYPE float\n"
	ofInt   = "#define TYPE int\n"
)

var compareShaders = [3][2]*shader{ // [Comparison][int32]
	{newShader("less", compareSource, ofFloat+"#define OP(a, b) ((a) < (b))"), newShader("less-int", compareSource, ofInt+"#define OP(a, b) ((a) < (b))")},
	{newShader("less-equal", compareSource, ofFloat+"#define OP(a, b) ((a) <= (b))"), newShader("less-equal-int", compareSource, ofInt+"#define OP(a, b) ((a) <= (b))")},
	{newShader("equal", compareSource, ofFloat+"#define OP(a, b) ((a) == (b))"), newShader("equal-int", compareSource, ofInt+"#define OP(a, b) ((a) == (b))")},
}

// Compare sets byte i of y to 1 where a op b, and to 0 elsewhere, i counting
// shape in row-major order; up to three bytes after the last are set to 0. a and
// b are views of float32, or of int32 if ints is set; their rank is at most 8
// after merging.
func (c *Context) Compare(op Comparison, ints bool, shape []int, y Buffer, a, b View) error {
	s := compareShaders[op][index(ints)]
	m, n, err := merge(s.name, shape, []View{a, b})
	if err != nil || n == 0 {
		return err
	}
	if a.bytes || b.bytes {
		return fmt.Errorf("opengl: %s: operands of bytes", s.name)
	}
	if err := need(s.name, (n+3)/4, y); err != nil {
		return err
	}
	args := integers(make([]word, 0, maxWords), n, m.rank)
	args = integers(args, m.shape[:]...)
	args = integers(args, m.steps[0][:]...)
	args = integers(args, m.steps[1][:]...)
	return c.dispatch(s, groups((n+3)/4, 256), 1, 1, []Buffer{y, a.Buf, b.Buf}, args...)
}

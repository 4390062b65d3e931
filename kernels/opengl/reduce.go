//go:build opengl

package opengl

import _ "embed"

//go:embed reduce.comp
var reduceSource string

// Two forms of each: rows of the last axis take a group, columns share one.
const (
	reduceLast   = "#define COLS 1\n#define ROWS 256\n"
	reduceMiddle = "#define COLS 32\n#define ROWS 8\n"
	sumOf        = "#define START 0.0\n#define OP(a, b) ((a) + (b))"
	maxOf        = "#define START (-INF)\n#define OP(a, b) larger(a, b)"
)

var (
	sumLastShader   = newShader("reduce-sum-last", reduceSource, reduceLast+sumOf)
	sumMiddleShader = newShader("reduce-sum", reduceSource, reduceMiddle+sumOf)
	maxLastShader   = newShader("reduce-max-last", reduceSource, reduceLast+maxOf)
	maxMiddleShader = newShader("reduce-max", reduceSource, reduceMiddle+maxOf)
)

// ReduceSum sets y[o,i] = Σ_j x[o,j,i]. Model: kernels.ReduceSum.
//
// Shapes: x [outer, n, inner], y [outer, inner], both contiguous; 0 for n = 0.
// Memory: y overlaps not x.
// Error: ≤ (n/8+16)·u·Σ|x|, in an order that the shape fixes.
func (c *Context) ReduceSum(y, x Buffer, outer, n, inner int) error {
	return c.reduce(sumLastShader, sumMiddleShader, y, x, outer, n, inner)
}

// ReduceMax sets y[o,i] = max_j x[o,j,i]; −Inf for n = 0, NaN where there is one
// and the driver keeps NaN. Model: kernels.ReduceMax. Shapes as ReduceSum.
func (c *Context) ReduceMax(y, x Buffer, outer, n, inner int) error {
	return c.reduce(maxLastShader, maxMiddleShader, y, x, outer, n, inner)
}

func (c *Context) reduce(last, middle *shader, y, x Buffer, outer, n, inner int) error {
	if outer*inner == 0 {
		return nil
	}
	if err := need(middle.name, outer*inner, y); err != nil {
		return err
	}
	if err := need(middle.name, outer*n*inner, x); err != nil {
		return err
	}
	s, cols := middle, 32
	if inner == 1 {
		s, cols = last, 1
	}
	return c.dispatch(s, groups(outer*inner, cols), 1, 1, []Buffer{y, x}, integer(outer), integer(n), integer(inner))
}

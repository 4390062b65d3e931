//go:build opengl

package opengl

import _ "embed"

//go:embed sumsq.comp
var sumsqSource string

var sumsqShader = newShader("sumsq", sumsqSource, "")

// sumsqParts bounds the number of partial sums.
const sumsqParts = 1024

// SumSquares sets y[0] = Σ x² over x.Len() elements. Model: kernels.SumSquares.
// y overlaps not x. Error: ≤ (n/2¹⁸+32)·u relative, in an order that n fixes.
func (c *Context) SumSquares(y, x Buffer) error {
	if err := need("sumsq", 1, y); err != nil {
		return err
	}
	if x.n == 0 {
		return c.Fill(y.Slice(0, 1), 0)
	}
	run := max(4096, (x.n+sumsqParts-1)/sumsqParts)
	parts := (x.n + run - 1) / run
	part, err := c.Alloc(parts)
	if err != nil {
		return err
	}
	defer c.Free(part)
	if err := c.dispatch(sumsqShader, parts, 1, 1, []Buffer{part, x}, integer(x.n), integer(run)); err != nil {
		return err
	}
	return c.ReduceSum(y, part, 1, parts, 1)
}

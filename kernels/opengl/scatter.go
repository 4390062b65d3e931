//go:build opengl

package opengl

import _ "embed"

//go:embed scatter.comp
var scatterSource string

var scatterShader = newShader("scatter", scatterSource, "")

// ScatterAddRows sets gw to zero and adds gy[i,:] to gw[id[i],:] in order of i:
// the VJP of GatherRows. Ids outside [0, rows) are passed over. Model:
// kernels.ScatterAddRows.
//
// Shapes: gw [rows, d], gy [n, d] contiguous; int32 id [n].
// Error: ≤ u·Σ|gy| for each addition. Cost: n reads for each element of gw.
func (c *Context) ScatterAddRows(gw, gy, id Buffer, n, rows, d int) error {
	if rows*d == 0 {
		return nil
	}
	if err := needAll("scatter", []int{rows * d, n * d, n}, gw, gy, id); err != nil {
		return err
	}
	return c.dispatch(scatterShader, groups(rows*d, 256), 1, 1, []Buffer{gw, gy, id}, integer(n), integer(rows), integer(d))
}

//go:build opengl

package opengl

import _ "embed"

//go:embed gather.comp
var gatherSource string

var gatherShader = newShader("gather", gatherSource, "")

// GatherRows sets y[i,:] = w[id[i],:] for i < n. Model: kernels.GatherRows; but
// an id outside [0, rows), which the host cannot see, gives a row of NaN.
//
// Shapes: w [rows, d], y [n, d] contiguous, of any 4-byte type; int32 id [n].
func (c *Context) GatherRows(y, w, id Buffer, n, rows, d int) error {
	if n*d == 0 {
		return nil
	}
	if err := needAll("gather", []int{n * d, rows * d, n}, y, w, id); err != nil {
		return err
	}
	return c.dispatch(gatherShader, groups(n*d, 256), 1, 1, []Buffer{y, w, id}, integer(n), integer(rows), integer(d))
}

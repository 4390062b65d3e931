//go:build opengl

package opengl

import _ "embed"

//go:embed where.comp
var whereSource string

var whereShader = newShader("where", whereSource, "")

// Where sets y to a where cond is not 0 and to b elsewhere, over shape; 4-byte
// elements are moved as they are. cond is a view by Bools. Shapes as Copy.
func (c *Context) Where(shape []int, y, cond, a, b View) error {
	return c.strided(whereShader, shape, y, cond, a, b)
}

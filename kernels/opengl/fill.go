//go:build opengl

package opengl

import (
	_ "embed"
	"math"
)

//go:embed fill.comp
var fillSource string

var fillShader = newShader("fill", fillSource, "")

// Fill sets every element of y to value.
func (c *Context) Fill(y Buffer, value float32) error {
	return c.FillInt32(y, int32(math.Float32bits(value)))
}

// FillInt32 is Fill for int32.
func (c *Context) FillInt32(y Buffer, value int32) error {
	if y.n == 0 {
		return nil
	}
	return c.dispatch(fillShader, groups(y.n, 256), 1, 1, []Buffer{y}, integer(y.n), word{bits: value})
}

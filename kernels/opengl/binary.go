//go:build opengl

package opengl

import _ "embed"

//go:embed binary.comp
var binarySource string

var (
	addShader = newShader("add", binarySource, "#define OP(a, b) ((a) + (b))")
	subShader = newShader("sub", binarySource, "#define OP(a, b) ((a) - (b))")
	mulShader = newShader("mul", binarySource, "#define OP(a, b) ((a) * (b))")
	divShader = newShader("div", binarySource, "#define OP(a, b) ((a) / (b))")
)

// Add sets y = a + b over shape. Model: kernels.refAdd.
//
// Shapes: strided views of rank ≤ 8 after merging; steps of 0 in a and b repeat.
// Memory: y may be a or b, exactly in place and with the same steps.
// Error: correctly rounded.
func (c *Context) Add(shape []int, y, a, b View) error { return c.strided(addShader, shape, y, a, b) }

// Sub sets y = a − b; else as Add.
func (c *Context) Sub(shape []int, y, a, b View) error { return c.strided(subShader, shape, y, a, b) }

// Mul sets y = a·b; else as Add.
func (c *Context) Mul(shape []int, y, a, b View) error { return c.strided(mulShader, shape, y, a, b) }

// Div sets y = a/b; else as Add. Error: ≤ 2.5 ULP, what GLSL promises.
func (c *Context) Div(shape []int, y, a, b View) error { return c.strided(divShader, shape, y, a, b) }

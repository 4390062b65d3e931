//go:build opengl

package opengl

import _ "embed"

//go:embed unary.comp
var unarySource string

func unaryShader(name, expression string) *shader {
	return newShader(name, unarySource, "#define OP(v) ("+expression+")")
}

var (
	scaleShader     = unaryShader("scale", "alpha * v")
	addScalarShader = unaryShader("add-scalar", "v + alpha")
	axpyShader      = unaryShader("axpy", "fused(alpha, v, y[y0 + i])")
	negShader       = unaryShader("neg", "-v")
	expShader       = unaryShader("exp", "expf(v)")
	logShader       = unaryShader("log", "logf(v)")
	sqrtShader      = unaryShader("sqrt", "sqrt(v)")
	tanhShader      = unaryShader("tanh", "tanhf(v)")
	erfShader       = unaryShader("erf", "erff(v)")
	sigmoidShader   = unaryShader("sigmoid", "sigmoid(v)")
	siluShader      = unaryShader("silu", "v * sigmoid(v)")
	geluShader      = unaryShader("gelu", "gelu(v)")
)

func (c *Context) unary(s *shader, y, x Buffer, alpha float32) error {
	if y.n == 0 {
		return nil
	}
	if err := need(s.name, y.n, y, x); err != nil {
		return err
	}
	return c.dispatch(s, groups(y.n, 256), 1, 1, []Buffer{y, x}, integer(y.n), real(alpha))
}

// The maps below are over y.Len() elements, x at least as long. y may be x,
// exactly in place.

// Scale sets y = alpha·x. Model: kernels.refScale. Error: correctly rounded.
func (c *Context) Scale(y, x Buffer, alpha float32) error { return c.unary(scaleShader, y, x, alpha) }

// AddScalar sets y = x + alpha. Error: correctly rounded.
func (c *Context) AddScalar(y, x Buffer, alpha float32) error {
	return c.unary(addScalarShader, y, x, alpha)
}

// Axpy sets y += alpha·x. Model: kernels.refAxpy. Error: correctly
// rounded but for 2⁻⁴⁷·|alpha·x|, for operands below 1e15; beyond, u·|alpha·x| more.
func (c *Context) Axpy(y, x Buffer, alpha float32) error { return c.unary(axpyShader, y, x, alpha) }

// Neg sets y = −x. Error: exact.
func (c *Context) Neg(y, x Buffer) error { return c.unary(negShader, y, x, 0) }

// Exp sets y = eˣ. Model: math.Exp. Error: ≤ 2 ULP; 0 below the smallest normal
// result; +Inf above overflow.
func (c *Context) Exp(y, x Buffer) error { return c.unary(expShader, y, x, 0) }

// Log sets y = ln x. Model: math.Log. Error: ≤ 3 ULP; −Inf at 0, NaN below.
func (c *Context) Log(y, x Buffer) error { return c.unary(logShader, y, x, 0) }

// Sqrt sets y = √x. Model: math.Sqrt. Error: ≤ 2 ULP.
func (c *Context) Sqrt(y, x Buffer) error { return c.unary(sqrtShader, y, x, 0) }

// Tanh sets y = tanh x. Model: math.Tanh. Error: ≤ 4 ULP.
func (c *Context) Tanh(y, x Buffer) error { return c.unary(tanhShader, y, x, 0) }

// Erf sets y = erf x. Model: math.Erf. Error: ≤ 4 ULP.
func (c *Context) Erf(y, x Buffer) error { return c.unary(erfShader, y, x, 0) }

// Sigmoid sets y = σ(x) = 1/(1+e^−x). Model: kernels.refSigmoid. Error: ≤ 5 ULP for
// x ≥ −87.3, and 0 below.
func (c *Context) Sigmoid(y, x Buffer) error { return c.unary(sigmoidShader, y, x, 0) }

// SiLU sets y = x·σ(x). Model: kernels.refSiLU. Error: ≤ 6 ULP for x ≥ −87, an
// absolute 1e-36 below.
func (c *Context) SiLU(y, x Buffer) error { return c.unary(siluShader, y, x, 0) }

// GELU sets y = ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))). Model:
// kernels.refGELU. Error: |err| ≤ 1e-6·|x|.
func (c *Context) GELU(y, x Buffer) error { return c.unary(geluShader, y, x, 0) }

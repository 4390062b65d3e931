//go:build opengl

package opengl

import _ "embed"

//go:embed swiglu.comp
var swigluSource string

//go:embed swiglu_grad.comp
var swigluGradSource string

var (
	swigluShader     = newShader("swiglu", swigluSource, "")
	swigluGradShader = newShader("swiglu-grad", swigluGradSource, "")
)

// SwiGLU sets y = silu(g)·u over y.Len() elements. y may be g or u. Model:
// kernels.refSwiGLU. Error: ≤ 7 ULP for g ≥ −87.
func (c *Context) SwiGLU(y, g, u Buffer) error {
	if y.n == 0 {
		return nil
	}
	if err := need("swiglu", y.n, y, g, u); err != nil {
		return err
	}
	return c.dispatch(swigluShader, groups(y.n, 256), 1, 1, []Buffer{y, g, u}, integer(y.n))
}

// SwiGLUGrad sets gg = gy·u·silu′(g) and gu = gy·silu(g) over gg.Len() elements.
// gg may be g and gu may be u or gy. Model: kernels.refSwiGLUGrad.
func (c *Context) SwiGLUGrad(gg, gu, g, u, gy Buffer) error {
	if gg.n == 0 {
		return nil
	}
	if err := need("swiglu-grad", gg.n, gg, gu, g, u, gy); err != nil {
		return err
	}
	return c.dispatch(swigluGradShader, groups(gg.n, 256), 1, 1, []Buffer{gg, gu, g, u, gy}, integer(gg.n))
}

//go:build opengl

package opengl

import _ "embed"

//go:embed activation_grad.comp
var activationGradSource string

var (
	siluGradShader = newShader("silu-grad", activationGradSource, "#define OP siluGrad")
	geluGradShader = newShader("gelu-grad", activationGradSource, "#define OP geluGrad")
)

// SiLUGrad sets gx = gy·σ(x)·(1 + x·(1−σ(x))) over gx.Len() elements. gx may be
// x or gy. Model: kernels.refSiLUGrad. Error: ≤ 10 ULP of |gy|·max(1, |dy/dx|).
func (c *Context) SiLUGrad(gx, x, gy Buffer) error {
	return c.activationGrad(siluGradShader, gx, x, gy)
}

// GELUGrad sets gx = gy·dGELU/dx over gx.Len() elements. gx may be x or gy.
// Model: kernels.refGELUGrad. Error: |err| ≤ 2e-6·|gy|·(1+|x|).
func (c *Context) GELUGrad(gx, x, gy Buffer) error {
	return c.activationGrad(geluGradShader, gx, x, gy)
}

func (c *Context) activationGrad(s *shader, gx, x, gy Buffer) error {
	if gx.n == 0 {
		return nil
	}
	if err := need(s.name, gx.n, gx, x, gy); err != nil {
		return err
	}
	return c.dispatch(s, groups(gx.n, 256), 1, 1, []Buffer{gx, x, gy}, integer(gx.n))
}

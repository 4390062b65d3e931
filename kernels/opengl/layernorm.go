//go:build opengl

package opengl

import _ "embed"

//go:embed layernorm.comp
var layerNormSource string

//go:embed layernorm_grad.comp
var layerNormGradSource string

var (
	layerNormShader      = newShader("layernorm", layerNormSource, "")
	layerNormGradShader  = newShader("layernorm-grad", layerNormGradSource, "")
	layerNormGradWShader = newShader("layernorm-grad-w", normGradWSource, "#define CENTER")
)

// LayerNorm sets y = (x−mean)·r·w + b, r = 1/√(var + eps). Model:
// kernels.LayerNorm.
//
// Shapes: x, y [n, d] contiguous, w, b [d]; mean, r [n] are kept for the VJP.
// Memory: y may be x. Error: ≤ (d/128+16)·u·(|x−mean|·r·|w| + |b| + max|x|·r·|w|).
func (c *Context) LayerNorm(y, mean, r, x, w, b Buffer, n, d int, eps float64) error {
	if n*d == 0 {
		return nil
	}
	if err := needAll("layernorm", []int{n * d, n, n, n * d, d, d}, y, mean, r, x, w, b); err != nil {
		return err
	}
	return c.dispatch(layerNormShader, groups(n, 1), 1, 1, []Buffer{y, mean, r, x, w, b}, integer(n), integer(d), real(float32(eps)))
}

// LayerNormGrad is the VJP of LayerNorm: gx [n, d], gw [d], gb [d] are set. gx
// may be gy. Model: kernels.LayerNormGrad.
func (c *Context) LayerNormGrad(gx, gw, gb, x, w, gy, mean, r Buffer, n, d int) error {
	if n == 0 && d > 0 {
		if err := c.Fill(gw, 0); err != nil {
			return err
		}
		return c.Fill(gb, 0)
	}
	if err := needAll("layernorm-grad", []int{n * d, d, d, n * d, d, n * d, n, n}, gx, gw, gb, x, w, gy, mean, r); err != nil || n*d == 0 {
		return err
	}
	// gw first: gx may overwrite gy.
	if err := c.dispatch(layerNormGradWShader, groups(d, 32), 1, 1, []Buffer{gw, x, gy, r, mean, gb}, integer(n), integer(d)); err != nil {
		return err
	}
	return c.dispatch(layerNormGradShader, groups(n, 1), 1, 1, []Buffer{gx, x, w, gy, mean, r}, integer(n), integer(d))
}

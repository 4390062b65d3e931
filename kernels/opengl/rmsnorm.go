//go:build opengl

package opengl

import _ "embed"

//go:embed rmsnorm.comp
var rmsNormSource string

//go:embed rmsnorm_grad.comp
var rmsNormGradSource string

//go:embed norm_grad_w.comp
var normGradWSource string

var (
	rmsNormShader      = newShader("rmsnorm", rmsNormSource, "")
	rmsNormGradShader  = newShader("rmsnorm-grad", rmsNormGradSource, "")
	rmsNormGradWShader = newShader("rmsnorm-grad-w", normGradWSource, "")
)

// RMSNorm sets y[i,j] = x[i,j]·w[j]·r[i], r[i] = 1/√(mean_j x[i,j]² + eps).
// Model: kernels.RMSNorm.
//
// Shapes: x, y [n, d] contiguous, w [d], r [n] (kept for the VJP).
// Memory: y may be x. Error: ≤ (d/256+16)·u relative.
func (c *Context) RMSNorm(y, r, x, w Buffer, n, d int, eps float64) error {
	if n*d == 0 {
		return nil
	}
	if err := needAll("rmsnorm", []int{n * d, n, n * d, d}, y, r, x, w); err != nil {
		return err
	}
	return c.dispatch(rmsNormShader, groups(n, 1), 1, 1, []Buffer{y, r, x, w}, integer(n), integer(d), real(float32(eps)))
}

// RMSNormGrad is the VJP of RMSNorm: gx [n, d] and gw [d] are set. gx may be gy.
// Model: kernels.RMSNormGrad. Error: gx ≤ (d/128+16)·u·r·(|gy·w| +
// |x̂|·mean|gy·w·x̂|); gw ≤ (n/8+16)·u·Σ|gy·x̂|.
func (c *Context) RMSNormGrad(gx, gw, x, w, gy, r Buffer, n, d int) error {
	if n == 0 && d > 0 {
		return c.Fill(gw, 0)
	}
	if err := needAll("rmsnorm-grad", []int{n * d, d, n * d, d, n * d, n}, gx, gw, x, w, gy, r); err != nil || n*d == 0 {
		return err
	}
	// gw first: gx may overwrite gy.
	if err := c.dispatch(rmsNormGradWShader, groups(d, 32), 1, 1, []Buffer{gw, x, gy, r}, integer(n), integer(d)); err != nil {
		return err
	}
	return c.dispatch(rmsNormGradShader, groups(n, 1), 1, 1, []Buffer{gx, x, w, gy, r}, integer(n), integer(d))
}

// needAll is need with a length for each buffer.
func needAll(op string, n []int, buffers ...Buffer) error {
	for i, b := range buffers {
		if err := need(op, n[i], b); err != nil {
			return err
		}
	}
	return nil
}

//go:build opengl

package opengl

import _ "embed"

//go:embed softmax.comp
var softmaxSource string

//go:embed softmax_grad.comp
var softmaxGradSource string

var (
	softmaxShader     = newShader("softmax", softmaxSource, "")
	softmaxGradShader = newShader("softmax-grad", softmaxGradSource, "")
)

// Softmax sets y[i,j] = e^(x[i,j]−m_i)/Σ_j e^(x[i,j]−m_i), m_i the row's maximum.
// Model: kernels.Softmax.
//
// Shapes: x, y [n, d] contiguous. Memory: y may be x.
// Error: ≤ (d/128+16)·u relative + u·|x−m|.
func (c *Context) Softmax(y, x Buffer, n, d int) error {
	if n*d == 0 {
		return nil
	}
	if err := need("softmax", n*d, y, x); err != nil {
		return err
	}
	return c.dispatch(softmaxShader, groups(n, 1), 1, 1, []Buffer{y, x}, integer(n), integer(d))
}

// SoftmaxGrad is the VJP of Softmax from its result: gx = y·(gy − Σ_j gy·y). gx
// may be gy or y. Model: kernels.SoftmaxGrad. Shapes: all [n, d] contiguous.
func (c *Context) SoftmaxGrad(gx, y, gy Buffer, n, d int) error {
	if n*d == 0 {
		return nil
	}
	if err := need("softmax-grad", n*d, gx, y, gy); err != nil {
		return err
	}
	return c.dispatch(softmaxGradShader, groups(n, 1), 1, 1, []Buffer{gx, y, gy}, integer(n), integer(d))
}

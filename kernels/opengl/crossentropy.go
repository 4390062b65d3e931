//go:build opengl

package opengl

import _ "embed"

//go:embed crossentropy.comp
var crossEntropySource string

//go:embed crossentropy_grad.comp
var crossEntropyGradSource string

var (
	crossEntropyShader     = newShader("crossentropy", crossEntropySource, "")
	crossEntropyGradShader = newShader("crossentropy-grad", crossEntropyGradSource, "")
)

// CrossEntropy sets lse[i] = ln Σ_j e^x[i,j] and loss[i] = lse[i] − x[i,target[i]],
// or 0 where target[i] is negative (an ignored row). Model: kernels.CrossEntropy;
// but a target of d or more, which the host cannot see, gives a loss of NaN.
//
// Shapes: x [n, d] contiguous; loss, lse, and int32 target [n].
// Error: ≤ (d/256+16)·u·(1 + |lse| + |x|).
func (c *Context) CrossEntropy(loss, lse, x, target Buffer, n, d int) error {
	if n*d == 0 {
		return nil
	}
	if err := needAll("crossentropy", []int{n, n, n * d, n}, loss, lse, x, target); err != nil {
		return err
	}
	return c.dispatch(crossEntropyShader, groups(n, 1), 1, 1, []Buffer{loss, lse, x, target}, integer(n), integer(d))
}

// CrossEntropyGrad is its VJP: gx[i,j] = gy[i]·(e^(x[i,j]−lse[i]) − [j = target[i]]),
// and 0 in ignored rows. gx may be x. Model: kernels.CrossEntropyGrad.
func (c *Context) CrossEntropyGrad(gx, x, lse, target, gy Buffer, n, d int) error {
	if n*d == 0 {
		return nil
	}
	if err := needAll("crossentropy-grad", []int{n * d, n * d, n, n, n}, gx, x, lse, target, gy); err != nil {
		return err
	}
	return c.dispatch(crossEntropyGradShader, groups(n, 1), 1, 1, []Buffer{gx, x, lse, target, gy}, integer(n), integer(d))
}

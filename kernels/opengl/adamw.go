//go:build opengl

package opengl

import _ "embed"

//go:embed adamw.comp
var adamwSource string

var adamwShader = newShader("adamw", adamwSource, "")

// AdamWStep holds the scalars of a step: kernels.AdamWStep[float32], field for
// field, so that one converts to the other. The formula stands there.
type AdamWStep struct {
	Clip, Beta1, Beta2, Keep, Rate, RSqrtC2, Eps float32
}

// AdamW advances p, m, v by the gradient g, over p.Len() elements. Model:
// kernels.AdamW. Error: ≤ 8 ULP of |p| + |update|.
func (c *Context) AdamW(p, m, v, g Buffer, s AdamWStep) error {
	if p.n == 0 {
		return nil
	}
	if err := need("adamw", p.n, p, m, v, g); err != nil {
		return err
	}
	rest1, rest2 := float32(1-float64(s.Beta1)), float32(1-float64(s.Beta2))
	return c.dispatch(adamwShader, groups(p.n, 256), 1, 1, []Buffer{p, m, v, g}, integer(p.n),
		real(s.Clip), real(s.Beta1), real(rest1), real(s.Beta2), real(rest2),
		real(s.Keep), real(s.Rate), real(s.RSqrtC2), real(s.Eps))
}

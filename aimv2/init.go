package aimv2

import (
	"math"
	"strings"

	"fuerte/nn"
)

// initialise draws every weight as the released recipe does; norms stay 1. The
// biases of the patch convolution and of the connector keep the uniform draw
// that the recipe leaves them with.
func (m *Model) initialise(seed uint64) {
	c := m.Config
	// The heads' variance shrinks with the depth of the decoder.
	headStd := math.Sqrt(1 / float64(1+c.Decoder.Depth) / float64(c.Decoder.Width))
	for _, p := range nn.Params(m) {
		r := nn.Rand(seed, p.Name)
		has := func(part string) bool { return strings.Contains(p.Name, part) }
		switch {
		case has("norm"):
		case has("pos_embed"), has("cls_token"), has("text_embedding"):
			nn.Normal(p.Var, r, 0.02)
		case has("positional_embedding"):
			nn.Normal(p.Var, r, 0.01)
		case has("patchifier.proj.bias"):
			nn.Uniform(p.Var, r, 1/math.Sqrt(float64(c.PatchLen())))
		case has("vision_preprocessor"): // weight and bias
			nn.Uniform(p.Var, r, 1/math.Sqrt(float64(c.Encoder.Width)))
		case has("head.blocks"):
			nn.TruncatedNormal(p.Var, r, headStd)
		case has("attn.qkv"):
			// Drawn as three square matrices: the recipe keeps q, k and v apart.
			nn.Uniform(p.Var, r, math.Sqrt(6/float64(2*p.Shape()[1])))
		default:
			nn.XavierUniform(p.Var, r)
		}
	}
}

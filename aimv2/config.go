package aimv2

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Config is the shape of a model. The JSON names are those of config.json in an
// output folder.
type Config struct {
	ImageSize int     `json:"image_size"` // pixels on a side
	PatchSize int     `json:"patch_size"`
	Encoder   Stack   `json:"encoder"`
	Decoder   Stack   `json:"decoder"`
	Vocab     int     `json:"vocab_size"`
	Context   int     `json:"context"` // token ids of a caption, its EOS included
	NormEps   float64 `json:"rms_norm_eps"`
}

// Stack is the shape of a run of transformer blocks.
type Stack struct {
	Width  int `json:"width"`
	Depth  int `json:"depth"`
	Heads  int `json:"heads"`
	Hidden int `json:"hidden"` // of the SwiGLU
}

// Presets are the sizes known by name. "large" to "3B" are the published
// encoders with the published decoder; the decoder of the smaller ones is scaled
// with them. Captions of the embedded set are short, so their context is, too.
var Presets = map[string]Config{
	"tiny":  preset(48, 12, Stack{128, 6, 2, 384}, Stack{128, 2, 2, 384}, 16),
	"emoji": preset(48, 12, Stack{192, 5, 3, 512}, Stack{192, 2, 3, 512}, 16),
	"small": preset(96, 8, Stack{384, 12, 6, 1024}, Stack{384, 6, 6, 1024}, 32),
	"base":  preset(224, 14, Stack{768, 12, 6, 2048}, publishedDecoder, 77),
	"large": preset(224, 14, Stack{1024, 24, 8, 2816}, publishedDecoder, 77),
	"huge":  preset(224, 14, Stack{1536, 24, 12, 4096}, publishedDecoder, 77),
	"1B":    preset(224, 14, Stack{2048, 24, 16, 5632}, publishedDecoder, 77),
	"3B":    preset(224, 14, Stack{3072, 24, 24, 8192}, publishedDecoder, 77),
}

var publishedDecoder = Stack{1024, 12, 8, 2816}

func preset(image, patch int, enc, dec Stack, context int) Config {
	return Config{ImageSize: image, PatchSize: patch, Encoder: enc, Decoder: dec, Vocab: 1024, Context: context, NormEps: 1e-5}
}

// Preset returns a preset by its name or, for the published sizes, by the letter
// that the paper uses: L and H.
//
// Errors: an unknown name; the message lists those that there are.
func Preset(name string) (Config, error) {
	switch name {
	case "L":
		name = "large"
	case "H":
		name = "huge"
	}
	c, ok := Presets[name]
	if !ok {
		return Config{}, fmt.Errorf("there is no preset %q; there are %s", name, strings.Join(PresetNames(), ", "))
	}
	return c, nil
}

// PresetNames lists the presets from the smallest to the largest.
func PresetNames() []string {
	return slices.SortedFunc(maps.Keys(Presets), func(a, b string) int {
		return Presets[a].Parameters() - Presets[b].Parameters()
	})
}

// Validate reports the first thing that no model could be built from.
func (c Config) Validate() error {
	check := func(name string, s Stack) error {
		if s.Width < 1 || s.Depth < 0 || s.Hidden < 1 || s.Heads < 1 || s.Width%s.Heads != 0 {
			return fmt.Errorf("aimv2: %s of width %d, depth %d, hidden %d cannot have %d heads", name, s.Width, s.Depth, s.Hidden, s.Heads)
		}
		const limit = 1 << 16 // far above any published size; keeps products inside an int
		if max(s.Width, s.Depth, s.Hidden) > limit {
			return fmt.Errorf("aimv2: %s is larger than %d", name, limit)
		}
		return nil
	}
	switch {
	case c.PatchSize < 1 || c.ImageSize < 2*c.PatchSize || c.ImageSize > 1<<14 || c.ImageSize%c.PatchSize != 0:
		return fmt.Errorf("aimv2: images of %d pixels do not divide into two or more patches of %d", c.ImageSize, c.PatchSize)
	case c.Vocab < 2 || c.Context < 1 || c.Vocab > 1<<24 || c.Context > 1<<16:
		return fmt.Errorf("aimv2: a vocabulary of %d and a context of %d make no captions", c.Vocab, c.Context)
	case !(c.NormEps > 0):
		return fmt.Errorf("aimv2: rms_norm_eps is %g, it must be positive", c.NormEps)
	}
	if err := check("an encoder", c.Encoder); err != nil {
		return err
	}
	return check("a decoder", c.Decoder)
}

// Tokens returns the number of patches of an image.
func (c Config) Tokens() int { return (c.ImageSize / c.PatchSize) * (c.ImageSize / c.PatchSize) }

// PatchLen returns the values of one patch, three channels.
func (c Config) PatchLen() int { return 3 * c.PatchSize * c.PatchSize }

// Parameters returns the number of parameters of encoder and decoder.
func (c Config) Parameters() int { return c.EncoderParameters() + c.decoderParameters() }

// EncoderParameters returns the parameters of the encoder alone, what the
// published sizes count.
func (c Config) EncoderParameters() int {
	d := c.Encoder.Width
	return c.PatchLen()*d + d + d + c.Tokens()*d + c.Encoder.parameters()
}

func (c Config) decoderParameters() int {
	d := c.Decoder.Width
	return c.Encoder.Width*d + d + (c.Context+1)*d + d + c.Vocab*d + c.Decoder.parameters() + c.Vocab*d + c.PatchLen()*d
}

// parameters counts the blocks and the norm after them.
func (s Stack) parameters() int {
	return s.Depth*(4*s.Width*s.Width+3*s.Width*s.Hidden+2*s.Width) + s.Width
}

// forwardFLOP counts the multiplications and additions of the matrix products
// for one sequence of t tokens, attention included, without a mask's saving.
func (s Stack) forwardFLOP(t int) float64 {
	weights := float64(4*s.Width*s.Width + 3*s.Width*s.Hidden)
	return float64(s.Depth) * (2*float64(t)*weights + 4*float64(t)*float64(t)*float64(s.Width))
}

// TrainFLOP returns the FLOP of one image's training step with a caption: three
// times the forward's matrix products (the usual model-FLOP count; elementwise
// work, optimiser and recomputation are not counted; the text head is, for every
// position, though those without a target are left out of it).
func (c Config) TrainFLOP() float64 { return c.trainFLOP(c.Context) }

// trainFLOP is TrainFLOP with so many positions of text.
func (c Config) trainFLOP(t int) float64 {
	n := c.Tokens()
	fwd := c.Encoder.forwardFLOP(n) + c.Decoder.forwardFLOP(n+t) +
		2*float64(n)*float64(c.Encoder.Width)*float64(c.PatchLen()+c.Decoder.Width) +
		2*float64(n)*float64(c.Decoder.Width)*float64(c.PatchLen()) +
		2*float64(t)*float64(c.Decoder.Width)*float64(c.Vocab)
	return 3 * fwd
}

package aimv2

import (
	"errors"
	"fmt"
	"strings"
)

// VisionConfig is the shape of an encoder.
type VisionConfig struct {
	ImageSize int // pixels on a side; of a native encoder 0
	PatchSize int
	Stack     Stack
	Native    bool // positions are computed for any size, not learned for one
	Head      bool // attention pooling, as in LiT
	NormEps   float64
}

// Vision returns the shape of the encoder of a model.
func (c Config) Vision() VisionConfig {
	return VisionConfig{ImageSize: c.ImageSize, PatchSize: c.PatchSize, Stack: c.Encoder, NormEps: c.NormEps}
}

// Tokens returns the number of patches of an image; of a native encoder 0.
func (c VisionConfig) Tokens() int { return (c.ImageSize / c.PatchSize) * (c.ImageSize / c.PatchSize) }

// TextConfig is the shape of what reads ids: a text tower, or a decoder.
type TextConfig struct {
	Vocab   int
	Context int // ids of a text, its EOS included
	Stack   Stack
	EOS     int32 // unused by a decoder
	NormEps float64
}

// Architecture is what a checkpoint holds: an encoder, a text tower, both with
// what joins them (LiT), or an encoder with the decoder of its pre-training.
type Architecture struct {
	Vision  *VisionConfig
	Text    *TextConfig
	Decoder *TextConfig

	Projection    int // width of the space of LiT's vectors
	MaxLogitScale float64
}

// Architecture returns the shape of a model in pre-training.
func (c Config) Architecture() Architecture {
	v := c.Vision()
	return Architecture{Vision: &v, Decoder: &TextConfig{Vocab: c.Vocab, Context: c.Context, Stack: c.Decoder, NormEps: c.NormEps}}
}

// lit reports whether encoder and text tower are joined.
func (a Architecture) lit() bool { return a.Vision != nil && a.Text != nil }

// Validate reports the first thing that no model could be built from.
func (a Architecture) Validate() error {
	if a.Vision == nil && a.Text == nil {
		return errors.New("aimv2: there is neither an encoder nor a text tower")
	}
	if a.Decoder != nil && (a.Vision == nil || a.Text != nil) {
		return errors.New("aimv2: a decoder needs an encoder, and stands beside no text tower")
	}
	if v := a.Vision; v != nil {
		// What Config says of an encoder holds for one alone; a native one has no
		// size of its own, and positions that 4 must divide.
		c := Config{ImageSize: v.ImageSize, PatchSize: v.PatchSize, Encoder: v.Stack, Decoder: Stack{1, 0, 1, 1}, Vocab: 2, Context: 1, NormEps: v.NormEps}
		if v.Native {
			c.ImageSize = 2 * v.PatchSize
		}
		if err := c.Validate(); err != nil {
			return err
		}
		if v.Native && v.Stack.Width%4 != 0 {
			return fmt.Errorf("aimv2: positions cannot be computed for a width of %d: 4 does not divide it", v.Stack.Width)
		}
	}
	for _, t := range []*TextConfig{a.Text, a.Decoder} {
		if t == nil {
			continue
		}
		c := Config{ImageSize: 2, PatchSize: 1, Encoder: Stack{1, 0, 1, 1}, Decoder: t.Stack, Vocab: t.Vocab, Context: t.Context, NormEps: t.NormEps}
		if err := c.Validate(); err != nil {
			return err
		}
		if t.EOS < 0 || int(t.EOS) >= t.Vocab {
			return fmt.Errorf("aimv2: the EOS is %d, of a vocabulary of %d", t.EOS, t.Vocab)
		}
	}
	switch {
	case a.lit() && !a.Vision.Head:
		return errors.New("aimv2: an encoder beside a text tower needs a head")
	case a.lit() && (a.Projection < 1 || a.Projection > 1<<16 || !(a.MaxLogitScale >= 1)):
		return fmt.Errorf("aimv2: a projection to %d and a logit scale up to %g make no LiT", a.Projection, a.MaxLogitScale)
	}
	return nil
}

// ParamShape is the name and the shape of a parameter.
type ParamShape struct {
	Name  string
	Shape []int
}

// ParamShapes lists the parameters of a model under the names of its tags,
// without making them.
func (a Architecture) ParamShapes() []ParamShape {
	var list shapeList
	if v := a.Vision; v != nil {
		d, p := v.Stack.Width, v.PatchSize
		list.add("image_encoder.preprocessor.patchifier.proj.weight", d, 3, p, p)
		list.add("image_encoder.preprocessor.patchifier.proj.bias", d)
		list.add("image_encoder.preprocessor.patchifier.norm.weight", d)
		if !v.Native {
			list.add("image_encoder.preprocessor.pos_embed", 1, v.Tokens(), d)
		}
		list.trunk("image_encoder.trunk.", v.Stack)
		if v.Head {
			list.add("image_encoder.head.cls_token", 1, 1, d)
			list.add("image_encoder.head.k.weight", d, d)
			list.add("image_encoder.head.v.weight", d, d)
			list.add("image_encoder.head.linear.weight", d, d)
			list.add("image_encoder.head.linear.bias", d)
		}
	}
	if t := a.Text; t != nil {
		list.add("text_encoder.preprocessor.text_embedding.weight", t.Vocab, t.Stack.Width)
		list.add("text_encoder.preprocessor.positional_embedding", t.Context, t.Stack.Width)
		list.trunk("text_encoder.trunk.", t.Stack)
	}
	if a.lit() {
		list.add("image_projector.weight", a.Projection, a.Vision.Stack.Width)
		list.add("text_projector.weight", a.Projection, a.Text.Stack.Width)
		list.add("log_logit_scale")
	}
	if t := a.Decoder; t != nil {
		d := t.Stack.Width
		list.add("text_decoder.preprocessor.vision_preprocessor.module.weight", d, a.Vision.Stack.Width)
		list.add("text_decoder.preprocessor.vision_preprocessor.module.bias", d)
		list.add("text_decoder.preprocessor.text_preprocessor.positional_embedding", t.Context+1, d)
		list.add("text_decoder.preprocessor.text_preprocessor.cls_token", 1, 1, d)
		list.add("text_decoder.preprocessor.text_preprocessor.text_embedding.weight", t.Vocab, d)
		list.trunk("text_decoder.trunk.", t.Stack)
		list.add("text_decoder.head.blocks.0.linear.weight", t.Vocab, d)
		list.add("text_decoder.head.blocks.1.linear.weight", 3*a.Vision.PatchSize*a.Vision.PatchSize, d)
	}
	return list
}

// Parameters returns the number of parameters.
func (a Architecture) Parameters() int {
	n := 0
	for _, p := range a.ParamShapes() {
		k := 1
		for _, d := range p.Shape {
			k *= d
		}
		n += k
	}
	return n
}

type shapeList []ParamShape

func (l *shapeList) add(name string, shape ...int) { *l = append(*l, ParamShape{name, shape}) }

func (l *shapeList) trunk(prefix string, s Stack) {
	d, f := s.Width, s.Hidden
	for i := range s.Depth {
		b := fmt.Sprintf("%sblocks.%d.", prefix, i)
		l.add(b+"norm_1.weight", d)
		l.add(b+"attn.qkv.weight", 3*d, d)
		l.add(b+"attn.proj.weight", d, d)
		l.add(b+"norm_2.weight", d)
		l.add(b+"mlp.fc1.weight", f, d)
		l.add(b+"mlp.fc2.weight", d, f)
		l.add(b+"mlp.fc3.weight", f, d)
	}
	l.add(prefix+"post_trunk_norm.weight", d)
}

// Release is a published checkpoint, apple/<Name> on the hub.
type Release struct {
	Name string
	// Revision is the last with the tensors under ml-aim's names, which ml-aim
	// itself loads; since mid-2025 main has those of transformers.
	Revision string
	Architecture
}

// Releases returns the published checkpoints.
func Releases() []Release {
	const head = 128 // width of a head, in all of them
	stacks := map[string]Stack{
		"large": Presets["large"].Encoder, "huge": Presets["huge"].Encoder,
		"1B": Presets["1B"].Encoder, "3B": Presets["3B"].Encoder,
	}
	list := make([]Release, len(releases))
	for i, r := range releases {
		v := VisionConfig{ImageSize: r.image, PatchSize: 14, Stack: stacks[r.size], Native: r.image == 0, NormEps: 1e-5}
		list[i] = Release{"aimv2-" + r.size + "-patch14-" + r.name, r.revision, Architecture{Vision: &v}}
		if r.name == "224-lit" {
			v.Head = true
			list[i].Text = &TextConfig{Vocab: 49408, Context: 77, Stack: Stack{768, 12, 768 / head, 2048}, EOS: 49407, NormEps: 1e-5}
			list[i].Projection, list[i].MaxLogitScale = 768, 100
		}
	}
	return list
}

// releases is the table behind Releases; an image of 0 pixels is any.
var releases = []struct {
	size, name string
	image      int
	revision   string
}{
	{"large", "224", 224, "ac764a25c832c7dc5e11871daa588e98e3cdbfb7"},
	{"large", "336", 336, "639423ae9f07319d24a7fc431b61908110d08d3a"},
	{"large", "448", 448, "cefb13f21003bdadba65bfbee956c82b976cd23d"},
	{"huge", "224", 224, "9e0bab0e0abb7b20796d2d0b37f39b7c3b1c1af1"},
	{"huge", "336", 336, "21528bd53a2438a84162e79f1f9a46453b88004c"},
	{"huge", "448", 448, "44e6440a24a8ea966ad0deadf5399a22d852bcc0"},
	{"1B", "224", 224, "4d24a422f71e87d327d476bc405030fe6593d8b1"},
	{"1B", "336", 336, "5a15f23f6757776fdd487283353a018677621939"},
	{"1B", "448", 448, "7f292735d3a07a911559c0fabb3ad3e9d141713f"},
	{"3B", "224", 224, "df1cbc288096c9742ec8bd6709ff82757972338c"},
	{"3B", "336", 336, "d1adb39ee92dfd7ecf3114b1ee3aa7e9027ce98f"},
	{"3B", "448", 448, "70810b618e4456b724bacc8ef4d2d038060ceda6"},
	{"large", "224-distilled", 224, "d6d09b071e8ba31735c5e05ccd4b2a393020ce90"},
	{"large", "336-distilled", 336, "8fe1704e5cc1c80cefc99c194afcefe21dff1faa"},
	{"large", "native", 0, "cfe7bdbbc924a5f65272d5e2c27fe5f61771a629"},
	{"large", "224-lit", 224, "c2cd59a786c4c06f39d199c50d08cc2eab9f8605"},
}

// ReleaseOf returns the published checkpoint of a name, with or without "apple/".
//
// Errors: an unknown name; the message lists those that there are.
func ReleaseOf(name string) (Release, error) {
	var names []string
	for _, r := range Releases() {
		if r.Name == strings.TrimPrefix(name, "apple/") {
			return r, nil
		}
		names = append(names, r.Name)
	}
	return Release{}, fmt.Errorf("there is no release %q; there are %s", name, strings.Join(names, ", "))
}

package aimv2

import (
	"fmt"
	"math"
	"slices"

	"fuerte/autograd"
	"fuerte/nn"
	"fuerte/tensor"
)

// LiT is an encoder with a text tower that was tuned to it, for zero-shot
// classification: pictures and texts become vectors of one space. The tags are
// ml-aim's names.
//
// Source: Zhai et al. 2022, arXiv:2111.07991; Fini et al., section 4.2.
type LiT struct {
	Image          *Encoder     `param:"image_encoder"` // with its Head
	Text           *TextEncoder `param:"text_encoder"`
	ImageProjector *nn.Linear   `param:"image_projector"` // [E, D_image]
	TextProjector  *nn.Linear   `param:"text_projector"`  // [E, D_text]
	LogScale       *Var         `param:"log_logit_scale"` // []
	MaxLogitScale  float64
}

func newLiT(dev *tensor.Device, a Architecture) *LiT {
	return &LiT{
		Image:          newEncoder(dev, *a.Vision),
		Text:           newTextEncoder(dev, *a.Text),
		ImageProjector: nn.NewLinear(dev, a.Vision.Stack.Width, a.Projection, false),
		TextProjector:  nn.NewLinear(dev, a.Text.Stack.Width, a.Projection, false),
		LogScale:       nn.NewParam(dev),
		MaxLogitScale:  a.MaxLogitScale,
	}
}

// Params lists the parameters under ml-aim's names.
func (m *LiT) Params() []nn.Named { return nn.Params(m) }

// ForwardImages returns the vectors [B, E] of images [B, 3, S, S], not normalised.
func (m *LiT) ForwardImages(images *Var) *Var {
	return m.ImageProjector.Forward(m.Image.Head.Forward(m.Image.Forward(images, nil)).Enter("projector")).Leave()
}

// ForwardTexts returns the vectors [B, E] of texts, not normalised. The texts
// stand on the tape of like; see TextEncoder.Forward.
func (m *LiT) ForwardTexts(like *Var, texts [][]int32) *Var {
	return m.TextProjector.Forward(m.Text.Forward(like, texts).Enter("projector")).Leave()
}

// Logits returns scale·unit(images)·unit(texts)ᵀ, [images, texts], of vectors
// [.., E]; scale = e^LogScale between 1 and MaxLogitScale. Its softmax over the
// texts is the zero-shot classification.
func (m *LiT) Logits(images, texts *Var) *Var {
	cos := autograd.MatMul(unit(images), autograd.Transpose(unit(texts), 0, 1))
	host := m.LogScale.Value.To(tensor.CPU)
	defer host.Release()
	switch log := float64(tensor.Data[float32](host)[0]); { // outside its bounds it has no gradient
	case log < 0:
		return cos
	case log > math.Log(m.MaxLogitScale):
		return autograd.Scale(cos, m.MaxLogitScale)
	}
	return autograd.Mul(cos, autograd.Exp(images.Watch(m.LogScale)))
}

// unit scales rows to length 1; one shorter than 1e-12 is divided by that.
func unit(x *Var) *Var {
	const floor = 1e-12
	return autograd.Div(x, autograd.AddScalar(autograd.Sqrt(autograd.Sum(autograd.Mul(x, x), true, -1)), floor))
}

// AttentionPool makes one vector of all tokens: a learned query attends to them,
//
//	y = Out(softmax(q·K(x)ᵀ/√dh)·V(x))
//
// Shapes: x [B, N, D]; Query [1, 1, D]; Key, Value [D, D]; Out [D, D], [D], or [C, D], [C]
// in a probe of C classes; y [B, D] or [B, C].
// Source: AttentionPoolingClassifier of apple/ml-aim. A probe is drawn as by the released
// trainer: query N(0, 0.02²), maps Xavier, bias 0; that trainer gives Out a bias, ml-aim's
// probe none.
type AttentionPool struct {
	Query *Var       `param:"cls_token"`
	Key   *nn.Linear `param:"k"`
	Value *nn.Linear `param:"v"`
	Out   *nn.Linear `param:"linear"` // with bias
	heads int
}

func newAttentionPool(dev *tensor.Device, d, heads int) *AttentionPool {
	return &AttentionPool{nn.NewParam(dev, 1, 1, d), nn.NewLinear(dev, d, d, false), nn.NewLinear(dev, d, d, false), nn.NewLinear(dev, d, d, true), heads}
}

// Forward pools the tokens of each image.
func (p *AttentionPool) Forward(x *Var) *Var {
	b, n, d := x.Shape()[0], x.Shape()[1], x.Shape()[2]
	split := func(v *Var, t int) *Var { return autograd.Reshape(v, b, t, p.heads, d/p.heads) }
	q := autograd.Expand(x.Enter("head").Watch(p.Query), b, 1, d)
	o := autograd.Attention(split(q, 1), split(p.Key.Forward(x), n), split(p.Value.Forward(x), n), tensor.NoMask, nil)
	return p.Out.Forward(autograd.Reshape(o, b, d)).Leave()
}

// TextEncoder is a causal transformer that reads token ids.
type TextEncoder struct {
	Preprocessor struct {
		Embedding *nn.Embedding `param:"text_embedding"`       // [V, D]
		PosEmbed  *Var          `param:"positional_embedding"` // [context, D]
	} `param:"preprocessor"`
	Trunk *Trunk `param:"trunk"`
	eos   int32
}

func newTextEncoder(dev *tensor.Device, c TextConfig) *TextEncoder {
	e := &TextEncoder{Trunk: newTrunk(dev, c.Stack, c.NormEps), eos: c.EOS}
	e.Preprocessor.Embedding = nn.NewEmbedding(dev, c.Vocab, c.Stack.Width)
	e.Preprocessor.PosEmbed = nn.NewParam(dev, c.Context, c.Stack.Width)
	return e
}

// Forward returns the feature [B, D] of each text at its first EOS, on the tape
// of like. A text ends there: one without an EOS gets it, and one longer than the
// context is cut so that the EOS stays the last id. (ml-aim reads the first token
// instead where the EOS is missing, and beyond the table where it was cut off.)
//
// Attention is causal whatever the padding; transformers builds the causal mask
// only where it is given an attention_mask.
// Panics: *tensor.ShapeError without texts; for ids outside the vocabulary, the
// panic of tensor.Gather.
func (e *TextEncoder) Forward(like *Var, texts [][]int32) *Var {
	if len(texts) == 0 {
		panic(&tensor.ShapeError{Op: "text encoder", Rule: "there is no text"})
	}
	context := e.Preprocessor.PosEmbed.Shape()[0]
	lengths, longest := make([]int, len(texts)), 0
	for i, ids := range texts {
		if lengths[i] = slices.Index(ids, e.eos); lengths[i] < 0 {
			lengths[i] = len(ids)
		}
		lengths[i] = min(lengths[i], context-1) // ids before the EOS
		longest = max(longest, lengths[i]+1)
	}
	ids := slices.Repeat([]int32{e.eos}, len(texts)*longest)
	last := make([]int32, len(texts))
	for i, n := range lengths {
		copy(ids[i*longest:], texts[i][:n])
		last[i] = int32(i*longest + n)
	}
	x := autograd.Reshape(e.forward(like, ids, longest), len(ids), -1)
	return autograd.Gather(x, onTape(like, last, len(last)))
}

// ForwardTokens returns the features [B, T, D] of every token of texts of one
// length, up to the context.
func (e *TextEncoder) ForwardTokens(like *Var, texts [][]int32) *Var {
	for _, ids := range texts {
		if len(ids) != len(texts[0]) || len(ids) > e.Preprocessor.PosEmbed.Shape()[0] {
			panic(&tensor.ShapeError{Op: "text encoder", Rule: fmt.Sprintf("%d and %d ids in one batch, of at most %d", len(texts[0]), len(ids), e.Preprocessor.PosEmbed.Shape()[0])})
		}
	}
	return e.forward(like, slices.Concat(texts...), len(texts[0]))
}

func (e *TextEncoder) forward(like *Var, ids []int32, t int) *Var {
	like.Enter("text").Enter("embed")
	x := e.Preprocessor.Embedding.Forward(onTape(like, ids, len(ids)/t, t))
	x = autograd.Add(x, autograd.Narrow(like.Watch(e.Preprocessor.PosEmbed), 0, 0, t)).Leave()
	return e.Trunk.Forward(x, nn.Mask{Causal: true}).Leave()
}

// onTape puts ids on the tape of like, which releases them: as a view, since a
// tape owns results only.
func onTape(like *Var, ids []int32, shape ...int) *Var {
	t := tensor.From(like.Value.Device(), ids, len(ids))
	defer t.Release()
	return autograd.Reshape(like.With(t), shape...)
}

// Package aimv2 is AIMV2: multimodal autoregressive pre-training of a vision
// encoder. An encoder with prefix attention reads image patches; a causal
// decoder reads the encoder's tokens and then a caption, and predicts the next
// element throughout: the next patch's pixels and the next text token.
//
// Source: Fini et al., CVPR 2025, arXiv:2411.14402, and the released recipe.
// Letters: B batch, N patches, T text positions, D width, P patch side.
package aimv2

import (
	"fmt"

	"fuerte/autograd"
	"fuerte/nn"
	"fuerte/tensor"
)

// Var is autograd.Var.
type Var = autograd.Var

// Model is an encoder and the decoder that it is pre-trained with. The tags are
// the checkpoint's names; below "image_encoder." they are those of the released
// encoders.
type Model struct {
	Config  Config
	Encoder *Encoder `param:"image_encoder"`
	Decoder *Decoder `param:"text_decoder"`
	// Observer, if not nil, is told what Features does.
	Observer autograd.Observer
}

// New returns a model with the released initialisation, drawn from seed.
// Errors: those of Config.Validate.
func New(dev *tensor.Device, c Config, seed uint64) (*Model, error) {
	m, err := newEmpty(dev, c)
	if err != nil {
		return nil, err
	}
	m.initialise(seed)
	return m, nil
}

// newEmpty returns a model whose weights are still to be set.
func newEmpty(dev *tensor.Device, c Config) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Model{Config: c, Encoder: newEncoder(dev, c.Vision()), Decoder: newDecoder(dev, c)}, nil
}

// Encoder turns pixels into tokens. It is what the released checkpoints hold.
type Encoder struct {
	Preprocessor struct {
		Patchifier struct {
			Proj nn.Linear   `param:"proj"` // weight [D, 3, P, P]: a convolution of stride P
			Norm *nn.RMSNorm `param:"norm"`
		} `param:"patchifier"`
		PosEmbed *Var `param:"pos_embed"` // [1, N, D]; nil where positions are computed
	} `param:"preprocessor"`
	Trunk *Trunk         `param:"trunk"`
	Head  *AttentionPool `param:"head"` // nil but in LiT
	patch int
	grid  [2]int // rows and columns of PosEmbed
}

func newEncoder(dev *tensor.Device, c VisionConfig) *Encoder {
	d, p := c.Stack.Width, c.PatchSize
	e := &Encoder{Trunk: newTrunk(dev, c.Stack, c.NormEps), patch: p}
	e.Preprocessor.Patchifier.Proj = nn.Linear{Weight: nn.NewParam(dev, d, 3, p, p), Bias: nn.NewParam(dev, d)}
	e.Preprocessor.Patchifier.Norm = nn.NewRMSNorm(dev, d, c.NormEps)
	if !c.Native {
		e.Preprocessor.PosEmbed = nn.NewParam(dev, 1, c.Tokens(), d)
		e.grid = [2]int{c.ImageSize / p, c.ImageSize / p}
	}
	if c.Head {
		e.Head = newAttentionPool(dev, d, c.Stack.Heads)
	}
	return e
}

// Forward returns the features of images after the last norm.
//
// Shapes: images [B, 3, S, S] normalised, result [B, N, D], N in raster order;
// prefix int32 [B]: token i sees j ≤ i and the first prefix[b] tokens. Without a
// prefix attention is bidirectional, as encoders are used after pre-training.
// An encoder that computes its positions takes any [B, 3, h, w] of at least one
// patch; what is beyond whole patches, to the right and below, is left out.
// Panics: *tensor.ShapeError for images of another size than the positions'.
func (e *Encoder) Forward(images *Var, prefix *tensor.Tensor) *Var {
	images.Enter("encoder")
	return e.Trunk.Forward(e.embed(images), nn.Mask{Causal: prefix != nil, Prefix: prefix}).Leave()
}

// Hidden is what each layer of an encoder makes of images, all [B, N, D].
type Hidden struct {
	Embedded *Var   // patches and positions: what enters the first block
	Blocks   []*Var // what leaves each block, before any further norm
	Last     *Var   // after the last norm: what Forward returns
}

// States returns Embedded and then Blocks, numbered as hidden_states of
// transformers: block i is state i+1. Blocks alone are numbered as the
// output_features of ml-aim.
func (h Hidden) States() []*Var { return append([]*Var{h.Embedded}, h.Blocks...) }

// ForwardHidden is Forward with every layer's result, under any mask.
func (e *Encoder) ForwardHidden(images *Var, m nn.Mask) (h Hidden) {
	images.Enter("encoder")
	h.Embedded = e.embed(images)
	x := h.Embedded
	for i, b := range e.Trunk.Blocks {
		x = b.Forward(x.EnterAt("blocks", i), m).Leave()
		h.Blocks = append(h.Blocks, x)
	}
	h.Last = e.Trunk.Norm.Forward(x.Enter("norm")).Leave().Leave()
	return h
}

// embed returns patches with their positions.
func (e *Encoder) embed(images *Var) *Var {
	h, w := images.Shape()[2]/e.patch, images.Shape()[3]/e.patch
	pos := e.Preprocessor.PosEmbed
	if h < 1 || w < 1 || pos != nil && e.grid != [2]int{h, w} {
		panic(&tensor.ShapeError{Op: "encoder", Shapes: [][]int{images.Shape()},
			Rule: fmt.Sprintf("%d×%d patches of %d pixels, where positions are for %v (0: any)", h, w, e.patch, e.grid)})
	}
	images = autograd.Narrow(autograd.Narrow(images.Enter("patchify"), 2, 0, h*e.patch), 3, 0, w*e.patch)
	proj := &e.Preprocessor.Patchifier.Proj
	flat := autograd.Reshape(images.Watch(proj.Weight), proj.Weight.Shape()[0], -1)
	x := autograd.Linear(patchify(images, e.patch), flat, proj.Bias)
	x = e.Preprocessor.Patchifier.Norm.Forward(x)
	if pos == nil {
		table := SinCosPositions(images.Value.Device(), h, w, x.Shape()[2])
		defer table.Release()
		return autograd.Add(x, images.With(table)).Leave()
	}
	return autograd.Add(x, pos).Leave()
}

// patchify cuts [B, 3, h·P, w·P] into [B, h·w, 3·P·P], each patch ordered
// channel, row, column like the convolution's weight.
func patchify(images *Var, p int) *Var {
	s := images.Shape()
	b, h, w := s[0], s[2]/p, s[3]/p
	x := autograd.Reshape(images, b, 3, h, p, w, p)
	return autograd.Reshape(autograd.Permute(x, 0, 2, 4, 1, 3, 5), b, h*w, 3*p*p)
}

// Trunk is a run of blocks and the norm after them.
type Trunk struct {
	Blocks []*Block    `param:"blocks"`
	Norm   *nn.RMSNorm `param:"post_trunk_norm"`
	// Recompute keeps only the input of each block for the backward pass.
	Recompute bool
}

func newTrunk(dev *tensor.Device, s Stack, eps float64) *Trunk {
	t := &Trunk{Norm: nn.NewRMSNorm(dev, s.Width, eps)}
	for range s.Depth {
		t.Blocks = append(t.Blocks, &Block{
			Attn:  nn.NewAttention(dev, s.Width, s.Heads),
			Norm1: nn.NewRMSNorm(dev, s.Width, eps),
			MLP:   nn.NewSwiGLU(dev, s.Width, s.Hidden),
			Norm2: nn.NewRMSNorm(dev, s.Width, eps),
		})
	}
	return t
}

// Forward runs all blocks and the norm.
func (t *Trunk) Forward(x *Var, m nn.Mask) *Var {
	for i, b := range t.Blocks {
		x.EnterAt("blocks", i)
		if t.Recompute {
			x = autograd.Checkpoint(x, func(x *Var) *Var { return b.Forward(x, m) }).Leave()
			continue
		}
		x = b.Forward(x, m).Leave()
	}
	return t.Norm.Forward(x.Enter("norm")).Leave()
}

// Block is one pre-norm transformer block.
type Block struct {
	Attn  *nn.Attention `param:"attn"`
	Norm1 *nn.RMSNorm   `param:"norm_1"`
	MLP   *nn.SwiGLU    `param:"mlp"`
	Norm2 *nn.RMSNorm   `param:"norm_2"`
}

// Forward returns x + Attn(Norm1 x), and to that its MLP(Norm2 ·).
func (b *Block) Forward(x *Var, m nn.Mask) *Var {
	x = autograd.Add(x, b.Attn.Forward(b.Norm1.Forward(x.Enter("attn")), m).Leave())
	return autograd.Add(x, b.MLP.Forward(b.Norm2.Forward(x.Enter("mlp"))).Leave())
}

// Decoder predicts pixels and text from the encoder's tokens.
type Decoder struct {
	Preprocessor struct {
		Vision struct {
			Module *nn.Linear `param:"module"` // D_enc → D, with bias
		} `param:"vision_preprocessor"`
		Text struct {
			PosEmbed  *Var          `param:"positional_embedding"` // [context+1, D]
			CLS       *Var          `param:"cls_token"`            // [1, 1, D]: starts every caption
			Embedding *nn.Embedding `param:"text_embedding"`       // [V, D]
		} `param:"text_preprocessor"`
	} `param:"preprocessor"`
	Trunk *Trunk `param:"trunk"`
	Head  struct {
		Blocks []struct {
			Linear *nn.Linear `param:"linear"`
		} `param:"blocks"` // 0 text [V, D], 1 pixels [3·P·P, D]
	} `param:"head"`
}

func newDecoder(dev *tensor.Device, c Config) *Decoder {
	w := c.Decoder.Width
	d := &Decoder{Trunk: newTrunk(dev, c.Decoder, c.NormEps)}
	d.Preprocessor.Vision.Module = nn.NewLinear(dev, c.Encoder.Width, w, true)
	// One row for CLS and one for every id. The last row has no target after it
	// and stays as drawn: the table keeps the released shape.
	d.Preprocessor.Text.PosEmbed = nn.NewParam(dev, c.Context+1, w)
	d.Preprocessor.Text.CLS = nn.NewParam(dev, 1, 1, w)
	d.Preprocessor.Text.Embedding = nn.NewEmbedding(dev, c.Vocab, w)
	d.Head.Blocks = make([]struct {
		Linear *nn.Linear `param:"linear"`
	}, 2)
	d.Head.Blocks[0].Linear = nn.NewLinear(dev, w, c.Vocab, false)
	d.Head.Blocks[1].Linear = nn.NewLinear(dev, w, c.PatchLen(), false)
	return d
}

// Forward returns the predicted pixels, and what the text is predicted from.
//
// Shapes: features [B, N, D_enc]; ids int32 [B, T−1], a caption without its last
// id, or nil for an image without text, whose text is nil; pixels [B, N, 3·P·P],
// where pixels[:, k] predicts patch k+1 (ordered row, column, channel); text
// [B, T, D], where Logits of text[:, j] predict id j.
func (d *Decoder) Forward(features, ids *Var) (pixels, text *Var) {
	features.Enter("decoder").Enter("embed")
	b, n := features.Shape()[0], features.Shape()[1]
	x := d.Preprocessor.Vision.Module.Forward(features)
	if ids != nil {
		x = autograd.Concat(1, x, d.startToken(features, b), d.embed(ids, 1))
	}
	x.Leave()
	x = d.Trunk.Forward(x, nn.Mask{Causal: true})
	pixels = d.Head.Blocks[1].Linear.Forward(autograd.Narrow(x.Enter("pixels"), 1, 0, n)).Leave()
	if ids != nil {
		text = autograd.Narrow(x, 1, n, x.Shape()[1]-n)
	}
	return pixels.Leave(), text
}

// Logits returns the text head's [.., V] of text [.., D]. Training does without
// them: TextLoss is fused with the head.
func (d *Decoder) Logits(text *Var) *Var { return d.Head.Blocks[0].Linear.Forward(text) }

// TextLoss returns Σ weight·loss, loss the cross-entropy of the text head's logits and
// the targets, which are never whole in memory.
//
// Shapes: text [B, T, D]; target int32 [B·T], negative where nothing is predicted;
// weight [B·T].
func (d *Decoder) TextLoss(text, target, weight *Var) *Var {
	head := d.Head.Blocks[0].Linear.Weight
	return autograd.LinearCrossEntropy(autograd.Reshape(text, -1, head.Shape()[1]), head, target, weight)
}

// startToken returns the CLS token at its position, [B, 1, D].
func (d *Decoder) startToken(like *Var, b int) *Var {
	w := d.Preprocessor.Text.CLS.Shape()[2]
	zero := tensor.Zeros(like.Value.Device(), like.Value.DType(), b, 1, w)
	x := autograd.Add(like.Adopt(zero), d.Preprocessor.Text.CLS)
	return autograd.Add(x, d.positions(like, 0, 1))
}

// embed returns the ids' rows at positions from start on.
func (d *Decoder) embed(ids *Var, start int) *Var {
	x := d.Preprocessor.Text.Embedding.Forward(ids)
	return autograd.Add(x, d.positions(ids, start, ids.Shape()[1]))
}

// positions returns n rows of the position table.
func (d *Decoder) positions(like *Var, start, n int) *Var {
	return autograd.Narrow(like.Watch(d.Preprocessor.Text.PosEmbed), 0, start, n)
}

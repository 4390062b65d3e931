package aimv2

import (
	"math"
	"slices"

	"fuerte/autograd"
	"fuerte/nn"
	"fuerte/tensor"
)

// PixelWeight is the published weight of the pixel loss beside a text loss of
// weight 1.
const PixelWeight = 0.4

// Objective names the losses of a run.
type Objective string

const (
	// Multimodal is AIMV2's: PixelWeight·pixel + text.
	Multimodal Objective = "multimodal"
	// ImageOnly is AIMv1's: the pixel loss alone. The decoder reads no text; it
	// stays AIMV2's causal one, not AIMv1's stack of MLPs.
	ImageOnly Objective = "image"
	// CaptionOnly is captioning: the text loss alone.
	CaptionOnly Objective = "caption"
)

// Weights are those of the losses in the total.
type Weights struct{ Pixel, Text float64 }

// weights returns what the objective makes of the losses.
func (r Recipe) weights() Weights {
	switch r.Objective {
	case ImageOnly:
		return Weights{Pixel: 1}
	case CaptionOnly:
		return Weights{Text: 1}
	}
	return Weights{Pixel: r.PixelWeight, Text: 1}
}

// Attention names what a token of the encoder sees in pre-training. The decoder
// is causal in any case.
type Attention string

const (
	// PrefixAttention: the tokens before it, and a prefix of random length.
	PrefixAttention Attention = "prefix"
	// CausalAttention: the tokens before it. It is a prefix of 1 for every
	// picture, so all patches but the first count in the pixel loss.
	CausalAttention Attention = "causal"
	// BidirectionalAttention: every token. The pixel loss then asks for patches
	// that the encoder has seen: a bound for comparisons, no objective to learn by.
	BidirectionalAttention Attention = "bidirectional"
)

// NoDecay names the parameters without weight decay, as released.
var NoDecay = []string{"*bias*", "*pos_embed*", "*norm*", "*logit_scale*", "*cls_token*", "*positional_embedding*"}

// Batch is one step's input on a device. Targets and weights are functions of
// images and captions; they are made with them, away from the tape.
type Batch struct {
	Images *tensor.Tensor // float32 [B, 3, S, S], normalised
	Prefix *tensor.Tensor // int32 [B], 1 … N−1; nil: attention is bidirectional
	IDs    *tensor.Tensor // int32 [B, T−1]: what the decoder reads; nil: no text
	Target *tensor.Tensor // int32 [B·T]: what it predicts; −1 after the EOS
	// PixelTarget holds patches 1 … N−1, standardised: float32 [B, N−1, 3·P·P].
	PixelTarget *tensor.Tensor
	// PixelWeight is 1/(counted patches · 3·P·P) where a patch counts, else 0:
	// float32 [B, N−1, 1]. TextWeight is 1/(counted tokens): float32 [B·T].
	PixelWeight, TextWeight *tensor.Tensor

	Weights Weights // a loss of weight 0 is not computed

	patches, tokens int // counted
}

// tensors returns the batch's tensors, those that are not there as nil.
func (b *Batch) tensors() []**tensor.Tensor {
	return []**tensor.Tensor{&b.Images, &b.Prefix, &b.IDs, &b.Target, &b.PixelTarget, &b.PixelWeight, &b.TextWeight}
}

// Release gives the batch's memory back. A nil batch has none.
func (b *Batch) Release() {
	if b == nil {
		return
	}
	for _, t := range b.tensors() {
		(*t).Release()
	}
}

// part returns micro-batch i of n as views, to be released by the caller. The
// weights are those of the whole batch, so the losses of the parts, and their
// gradients, add up to its own. n divides B.
func (b *Batch) part(i, n int) *Batch {
	p := *b
	for _, t := range p.tensors() {
		if *t != nil {
			rows := (*t).Dim(0) / n
			*t = (*t).Narrow(0, i*rows, rows)
		}
	}
	return &p
}

// NewBatch builds a batch of the published objective from normalised images
// [B·3·S·S], caption ids (without EOS; longer ones are cut so that the EOS fits)
// and a prefix length for each.
func NewBatch(dev *tensor.Device, c Config, images []float32, captions [][]int32, prefix []int32, eos int32) *Batch {
	r := defaults()
	r.Model = c
	return newBatch(dev, r, images, captions, prefix, eos)
}

// newBatch is NewBatch with the objective, the attention and the counting of a
// recipe.
func newBatch(dev *tensor.Device, r Recipe, images []float32, captions [][]int32, prefix []int32, eos int32) *Batch {
	c := r.Model
	b, n, t, l := len(captions), c.Tokens(), c.Context, c.PatchLen()
	if r.Attention == CausalAttention {
		prefix = slices.Repeat([]int32{1}, b)
	}
	ids, target := make([]int32, b*(t-1)), make([]int32, b*t)
	for i, cap := range captions {
		cap = cap[:min(len(cap), t-1)]
		row, want := ids[i*(t-1):(i+1)*(t-1)], target[i*t:(i+1)*t]
		copy(row, cap)
		copy(want, cap)
		want[len(cap)] = eos
		// Padding is told by position, so that the EOS itself is learnt; what the
		// decoder reads there cannot reach an earlier position.
		for j := len(cap); j < t-1; j++ {
			row[j] = eos
		}
		for j := len(cap) + 1; j < t; j++ {
			want[j] = -1
		}
		for j, id := range want {
			if r.Original && id == eos { // there padding is told by its id, the EOS's
				want[j] = -1
			}
		}
	}
	// What counts shares a weight of 1 in the whole batch; in the original each
	// micro-batch has the same share, however little counts in it (nothing at all
	// makes its loss NaN there, and 0 here).
	groups := 1
	if r.Original {
		groups = r.Accumulate
	}
	pw, tw := make([]float32, b*(n-1)), make([]float32, b*t)
	patches, tokens := 0, 0
	for g := range groups {
		low, high := g*b/groups, (g+1)*b/groups
		p, w := 0, 0
		for i := low; i < high; i++ {
			p += n - int(prefix[i])
		}
		for _, id := range target[low*t : high*t] {
			if id >= 0 {
				w++
			}
		}
		for i := low; i < high; i++ {
			for k := int(prefix[i]); k < n; k++ {
				pw[i*(n-1)+k-1] = float32(1 / (float64(p) * float64(l) * float64(groups)))
			}
		}
		for i := low * t; i < high*t; i++ {
			if target[i] >= 0 {
				tw[i] = float32(1 / (float64(w) * float64(groups)))
			}
		}
		patches, tokens = patches+p, tokens+w
	}
	host := tensor.New(tensor.CPU, tensor.Float32, b, n-1, l) // pooled: as large as the images
	defer host.Release()
	pixels := tensor.Data[float32](host)
	for i := range b {
		s := c.ImageSize
		standardisePatches(pixels[i*(n-1)*l:(i+1)*(n-1)*l], images[i*3*s*s:(i+1)*3*s*s], s, c.PatchSize)
	}
	out := &Batch{
		Images:      tensor.From(dev, images, b, 3, c.ImageSize, c.ImageSize),
		Target:      tensor.From(dev, target, b*t),
		PixelTarget: host.To(dev),
		PixelWeight: tensor.From(dev, pw, b, n-1, 1),
		TextWeight:  tensor.From(dev, tw, b*t),
		patches:     patches,
		tokens:      tokens,
		Weights:     r.weights(),
	}
	if r.Attention != BidirectionalAttention {
		out.Prefix = tensor.From(dev, prefix, b)
	}
	if out.Weights.Text > 0 {
		out.IDs = tensor.From(dev, ids, b, t-1)
	}
	return out
}

// patchEps keeps a flat patch, of variance 0, at a target of 0.
const patchEps = 1e-6

// standardisePatches writes patches 1 … N−1 of an image [3, S, S], each ordered
// row, column, channel and standardised over all its values:
// (x−mean)/√(var + 1e-6), var with divisor 3·P·P − 1.
func standardisePatches(dst, image []float32, s, p int) {
	l := 3 * p * p
	for k := 1; k < (s/p)*(s/p); k++ {
		y0, x0 := k/(s/p)*p, k%(s/p)*p
		out := dst[(k-1)*l : k*l]
		var sum, ss float64
		i := 0
		for y := y0; y < y0+p; y++ {
			for x := x0; x < x0+p; x++ {
				for ch := range 3 {
					out[i] = image[ch*s*s+y*s+x]
					sum += float64(out[i])
					i++
				}
			}
		}
		mean := sum / float64(l)
		for _, v := range out {
			ss += (float64(v) - mean) * (float64(v) - mean)
		}
		r := 1 / math.Sqrt(ss/float64(l-1)+patchEps)
		for j, v := range out {
			out[j] = float32((float64(v) - mean) * r)
		}
	}
}

// Losses are the scalars of a step, still on the tape; one of weight 0 is nil.
type Losses struct{ Pixel, Text, Total *Var }

// value returns a loss as a number, one that is not computed as 0.
func value(v *Var) float64 {
	if v == nil {
		return 0
	}
	return v.Value.Item()
}

// Loss runs the model on a batch:
//
//	total = b.Weights.Pixel·pixel + b.Weights.Text·text
//
// as published 0.4·pixel + 1.0·text. pixel is the mean squared error of the
// standardised patches from each prefix on, text the mean cross-entropy of the
// caption's ids and its EOS; both are means over everything counted in the
// batch. It also returns what Decoder.Forward does; text is nil where it has no
// weight.
func (m *Model) Loss(t *autograd.Tape, b *Batch) (l Losses, pixels, text *Var) {
	features := m.Encoder.Forward(t.Input(b.Images), b.Prefix)
	var ids *Var
	if b.Weights.Text > 0 {
		ids = t.Input(b.IDs)
	}
	pixels, text = m.Decoder.Forward(features, ids)

	pixels.Enter("loss")
	if b.Weights.Pixel > 0 {
		n := m.Config.Tokens()
		diff := autograd.Sub(autograd.Narrow(pixels, 1, 0, n-1), t.Input(b.PixelTarget))
		l.Pixel = autograd.Sum(autograd.Mul(autograd.Mul(diff, diff), t.Input(b.PixelWeight)), false)
		l.Total = autograd.Scale(l.Pixel, b.Weights.Pixel)
	}
	if b.Weights.Text > 0 {
		l.Text = m.Decoder.TextLoss(text, t.Input(b.Target), t.Input(b.TextWeight))
		weighted := autograd.Scale(l.Text, b.Weights.Text)
		if l.Total == nil {
			l.Total = weighted
		} else {
			l.Total = autograd.Add(l.Total, weighted)
		}
	}
	pixels.Leave()
	return l, pixels, text
}

// Params lists the model's parameters under their checkpoint names.
func (m *Model) Params() []nn.Named { return nn.Params(m) }

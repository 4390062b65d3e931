package aimv2

import (
	"math"

	"fuerte/autograd"
	"fuerte/nn"
	"fuerte/tensor"
)

// Weights of the two losses, as published.
const (
	PixelWeight = 0.4
	TextWeight  = 1.0
)

// NoDecay names the parameters without weight decay, as released.
var NoDecay = []string{"*bias*", "*pos_embed*", "*norm*", "*logit_scale*", "*cls_token*", "*positional_embedding*"}

// Batch is one step's input on a device. Targets and weights are functions of
// images and captions; they are made with them, away from the tape.
type Batch struct {
	Images *tensor.Tensor // float32 [B, 3, S, S], normalised
	Prefix *tensor.Tensor // int32 [B], 1 … N−1
	IDs    *tensor.Tensor // int32 [B, T−1]: what the decoder reads
	Target *tensor.Tensor // int32 [B·T]: what it predicts; −1 after the EOS
	// PixelTarget holds patches 1 … N−1, standardised: float32 [B, N−1, 3·P·P].
	PixelTarget *tensor.Tensor
	// PixelWeight is 1/(counted patches · 3·P·P) where a patch counts, else 0:
	// float32 [B, N−1, 1]. TextWeight is 1/(counted tokens): float32 [B·T].
	PixelWeight, TextWeight *tensor.Tensor
}

// Release gives the batch's memory back. A nil batch has none.
func (b *Batch) Release() {
	if b == nil {
		return
	}
	for _, t := range []*tensor.Tensor{b.Images, b.Prefix, b.IDs, b.Target, b.PixelTarget, b.PixelWeight, b.TextWeight} {
		t.Release()
	}
}

// NewBatch builds a batch from normalised images [B·3·S·S], caption ids (without
// EOS; longer ones are cut so that the EOS fits) and a prefix length for each.
func NewBatch(dev *tensor.Device, c Config, images []float32, captions [][]int32, prefix []int32, eos int32) *Batch {
	b, n, t, l := len(captions), c.Tokens(), c.Context, c.PatchLen()
	ids, target := make([]int32, b*(t-1)), make([]int32, b*t)
	tokens := 0
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
		tokens += len(cap) + 1
	}
	patches := 0
	for _, p := range prefix {
		patches += n - int(p)
	}
	pw, tw := make([]float32, b*(n-1)), make([]float32, b*t)
	for i, p := range prefix {
		for k := int(p); k < n; k++ {
			pw[i*(n-1)+k-1] = float32(1 / (float64(patches) * float64(l)))
		}
	}
	for i, id := range target {
		if id >= 0 {
			tw[i] = float32(1 / float64(tokens))
		}
	}
	host := tensor.New(tensor.CPU, tensor.Float32, b, n-1, l) // pooled: as large as the images
	defer host.Release()
	pixels := tensor.Data[float32](host)
	for i := range b {
		s := c.ImageSize
		standardisePatches(pixels[i*(n-1)*l:(i+1)*(n-1)*l], images[i*3*s*s:(i+1)*3*s*s], s, c.PatchSize)
	}
	return &Batch{
		Images:      tensor.From(dev, images, b, 3, c.ImageSize, c.ImageSize),
		Prefix:      tensor.From(dev, prefix, b),
		IDs:         tensor.From(dev, ids, b, t-1),
		Target:      tensor.From(dev, target, b*t),
		PixelTarget: host.To(dev),
		PixelWeight: tensor.From(dev, pw, b, n-1, 1),
		TextWeight:  tensor.From(dev, tw, b*t),
	}
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

// Losses are the scalars of a step, still on the tape.
type Losses struct{ Pixel, Text, Total *Var }

// Loss runs the model on a batch:
//
//	total = 0.4·pixel + 1.0·text
//
// pixel is the mean squared error of the standardised patches from each prefix
// on, text the mean cross-entropy of the caption's ids and its EOS; both are
// means over everything counted in the batch. It also returns the predictions
// [B, N, 3·P·P] and the logits [B, T, V].
func (m *Model) Loss(t *autograd.Tape, b *Batch) (l Losses, pixels, logits *Var) {
	features := m.Encoder.Forward(t.Input(b.Images), b.Prefix)
	pixels, logits = m.Decoder.Forward(features, t.Input(b.IDs))

	pixels.Enter("loss")
	n := m.Config.Tokens()
	diff := autograd.Sub(autograd.Narrow(pixels, 1, 0, n-1), t.Input(b.PixelTarget))
	l.Pixel = autograd.Sum(autograd.Mul(autograd.Mul(diff, diff), t.Input(b.PixelWeight)), false)

	rows := autograd.Reshape(logits, -1, m.Config.Vocab)
	l.Text = autograd.Sum(autograd.Mul(autograd.CrossEntropy(rows, t.Input(b.Target)), t.Input(b.TextWeight)), false)

	l.Total = autograd.Add(autograd.Scale(l.Pixel, PixelWeight), autograd.Scale(l.Text, TextWeight)).Leave()
	return l, pixels, logits
}

// Params lists the model's parameters under their checkpoint names.
func (m *Model) Params() []nn.Named { return nn.Params(m) }

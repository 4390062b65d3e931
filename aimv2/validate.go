package aimv2

import (
	"fmt"
	"image"
	"math/rand/v2"

	"fuerte/aimv2/dataset"
	"fuerte/autograd"
)

// Validation is the losses on held-out pictures, means over everything counted
// in all of them. One that is not defined or has no part in the objective is nil.
type Validation struct {
	Pixel *float64 `json:"val_pixel,omitempty"`
	Text  *float64 `json:"val_text,omitempty"`
	Total *float64 `json:"val_total,omitempty"`
}

// Validate computes the losses of the model as it is on pictures, prepared as
// for evaluation and with their captions as they stand. The prefixes follow from
// the picture's number alone: every validation asks for the same patches.
// Nothing of the run changes, so it can be left out or repeated at will.
//
// With Recipe.Original the encoder sees the whole image and Pixel is nil: as
// every patch is given, none counts.
//
// Errors: a picture that cannot be read; a loss that is not finite.
func (t *Trainer) Validate(src dataset.Source) (Validation, error) {
	r := t.Recipe
	r.Accumulate = 1 // without a gradient there is nothing to save
	c := r.Model
	if r.Original {
		r.Attention = BidirectionalAttention
	}
	tape := autograd.NewInferenceTape()
	var pixel, text float64
	var patches, tokens int
	size := max(1, t.Recipe.Batch/t.Recipe.Accumulate)
	for from := 0; from < src.Len(); from += size {
		n := min(size, src.Len()-from)
		images, err := EvalImages(c, n, func(i int) (image.Image, error) { return src.Image(from + i) })
		if err != nil {
			return Validation{}, err
		}
		captions, prefix := make([][]int32, n), make([]int32, n)
		for i := range n {
			captions[i] = t.Tok.Encode(src.Record(from + i).Caption)
			prefix[i] = 1 + int32(rand.New(rand.NewPCG(0, evalStream|uint64(from+i))).IntN(c.Tokens()-1))
		}
		b := newBatch(t.loader.dev, r, images, captions, prefix, t.Tok.EOS())
		l, _, _ := t.Model.Loss(tape, b)
		pixel += value(l.Pixel) * float64(b.patches)
		text += value(l.Text) * float64(b.tokens)
		patches, tokens = patches+b.patches, tokens+b.tokens
		tape.Reset()
		b.Release()
	}
	var v Validation
	var total float64
	weigh := func(at **float64, sum float64, counted int, weight float64) {
		if weight > 0 && counted > 0 {
			mean := sum / float64(counted)
			*at = &mean
			total += weight * mean
			v.Total = &total
		}
	}
	weights := r.weights()
	if !r.Original {
		weigh(&v.Pixel, pixel, patches, weights.Pixel)
	}
	weigh(&v.Text, text, tokens, weights.Text)
	if !finite(total) {
		return Validation{}, fmt.Errorf("aimv2: after step %d the loss on held-out pictures is not finite", t.Step)
	}
	return v, nil
}

package aimv2

import (
	"context"
	"fmt"
	"hash/fnv"
	"image"
	"math/rand/v2"
	"strings"
	"sync"

	"fuerte/aimv2/dataset"
	"fuerte/aimv2/preprocess"
	"fuerte/aimv2/tokenizer"
	"fuerte/kernels"
	"fuerte/tensor"
)

// Loader makes the batches of a run. Every batch is a function of the seed and
// its step alone: which pictures, how they are cut, on which background, with
// which words and which prefix. A run can go on at any step without a saved
// generator, and no two samples share a draw.
type Loader struct {
	dev    *tensor.Device
	recipe Recipe
	draw   *mixer
	tok    *tokenizer.Tokenizer
	aug    preprocess.Augment

	mu     sync.Mutex
	pixels []float32 // of the batch at hand
}

// Norm is the pixel normalisation of every model of this package: that of the
// released training code.
var Norm = preprocess.ImageNet

// Augment tells how training pictures differ from evaluated ones.
type Augment struct {
	CropMin    float64 `json:"crop_min"`   // least part of the area that a random crop keeps
	Flip       float64 `json:"flip"`       // probability of a mirror image, where the caption allows one
	Background float64 `json:"background"` // probability of a random colour behind transparent pixels, else white
	Border     float64 `json:"border"`     // greatest width of a border of the background colour, as a part of the shorter side
	Jitter     float64 `json:"jitter"`     // probability of changed colours (preprocess.DefaultJitter)
}

// NewLoader returns a loader of batches on a device.
func NewLoader(dev *tensor.Device, r Recipe, set dataset.Set, tok *tokenizer.Tokenizer) *Loader {
	aug := preprocess.DefaultAugment(r.Model.ImageSize, Norm)
	aug.Scale[0], aug.Flip = r.Augment.CropMin, r.Augment.Flip
	aug.Colour, aug.Jitter = r.Augment.Jitter, preprocess.DefaultJitter
	return &Loader{dev: dev, recipe: r, draw: newMixer(set, r.Seed), tok: tok, aug: aug}
}

// Batch returns the batch of a step, counted from 0.
//
// Errors: a picture that cannot be read; it names the file.
func (l *Loader) Batch(step int) (*Batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, n := l.recipe.Model, l.recipe.Batch
	size := 3 * c.ImageSize * c.ImageSize
	if l.pixels == nil {
		l.pixels = make([]float32, n*size)
	}
	captions, prefix := make([][]int32, n), make([]int32, n)
	var rgb, padded preprocess.RGB
	var scratch preprocess.Scratch
	for i := range n {
		number := step*n + i
		r := rand.New(rand.NewPCG(l.recipe.Seed, sampleStream|uint64(number)))
		rec, img, err := l.draw.sample(number)
		if err != nil {
			return nil, err
		}
		prefix[i] = 1 + int32(r.IntN(c.Tokens()-1)) // drawn in any case: what follows does not depend on its use
		if l.recipe.Original {
			prefix[i] = originalPrefix(c, step, i, n)
		}
		captions[i] = l.tok.Encode(dataset.Text(rec, r))
		background := l.background(r)
		preprocess.ToRGB(&rgb, img, background)
		whole := rgb
		if border := l.recipe.Augment.Border; border > 0 {
			preprocess.Pad(&padded, rgb, int(border*r.Float64()*float64(min(rgb.Width, rgb.Height))), background)
			whole = padded
		}
		caption := rec.Caption
		if l.recipe.Original {
			caption = "" // which every mirror image fits
		}
		l.aug.Apply(l.pixels[i*size:(i+1)*size], whole, caption, r, &scratch)
	}
	return newBatch(l.dev, l.recipe, l.pixels, captions, prefix, l.tok.EOS()), nil
}

// originalPrefix draws as the released code does: every loader process has a copy
// of one generator, whatever the seed of the run, and makes every fourth batch, so
// that four batches on end have the same prefixes. The numbers are this package's
// own, not NumPy's.
func originalPrefix(c Config, step, i, batch int) int32 {
	const processes = 4
	r := rand.New(rand.NewPCG(0, sampleStream|uint64(step/processes*batch+i)))
	return 1 + int32(r.IntN(c.Tokens()-1))
}

// background draws what shows through transparent pixels.
func (l *Loader) background(r *rand.Rand) preprocess.Color {
	c := preprocess.Color{uint8(r.IntN(256)), uint8(r.IntN(256)), uint8(r.IntN(256))}
	if r.Float64() >= l.recipe.Augment.Background {
		return preprocess.White
	}
	return c
}

// loaded is a batch or the reason that there is none.
type loaded struct {
	*Batch
	err error
}

// stream makes the batches from a step on, one ahead of its reader, until the
// context ends. The reader releases them.
func (l *Loader) stream(ctx context.Context, step int) <-chan loaded {
	out := make(chan loaded, 1)
	go func() {
		defer close(out)
		for ; ; step++ {
			b, err := l.Batch(step)
			select {
			case out <- loaded{b, err}:
			case <-ctx.Done():
				b.Release()
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}

// EvalImages prepares pictures for evaluation: on white, resized and cut from
// the centre, normalised, as float32 [n, 3, S, S]. It works on all cores.
//
// Errors: the first picture that get cannot give.
func EvalImages(c Config, n int, get func(i int) (image.Image, error)) ([]float32, error) {
	size := 3 * c.ImageSize * c.ImageSize
	out := make([]float32, n*size)
	errs := make([]error, n)
	eval := preprocess.Eval{Size: c.ImageSize, Norm: Norm}
	const group = 16
	kernels.Parallel((n+group-1)/group, func(t int) {
		var rgb preprocess.RGB
		var scratch preprocess.Scratch
		for i := t * group; i < min((t+1)*group, n); i++ {
			img, err := get(i)
			if err != nil {
				errs[i] = err
				continue
			}
			preprocess.ToRGB(&rgb, img, preprocess.White)
			eval.Apply(out[i*size:(i+1)*size], rgb, &scratch)
		}
	})
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Fingerprint tells what a run is trained on from other data. Of a Source it
// says the names and captions of its pictures, "8255 pictures, 0123456789abcdef",
// of Shards the names and sizes of the files, of a Mixture its weights and parts.
// Pixels are not read.
func Fingerprint(set dataset.Set) string {
	switch set := set.(type) {
	case *dataset.Shards:
		return set.Fingerprint()
	case *dataset.Mixture:
		var parts []string
		for _, p := range set.Parts() {
			parts = append(parts, fmt.Sprintf("%g of %s", p.Weight, Fingerprint(p.Set)))
		}
		return strings.Join(parts, "; ")
	}
	src := set.(dataset.Source)
	h := fnv.New64a()
	for i := range src.Len() {
		r := src.Record(i)
		fmt.Fprintf(h, "%q %q\n", r.Name, r.Caption)
	}
	return fmt.Sprintf("%d pictures, %016x", src.Len(), h.Sum64())
}

// tokenizerCaptions is how many captions of one set a vocabulary is learnt from.
const tokenizerCaptions = 200_000

// TrainTokenizer learns the byte-pair vocabulary of a set from its captions and
// one text drawn for each, as training draws them: from all captions of a
// Source, from the first 200,000 of Shards, from those of all parts of a
// Mixture, whatever their weights.
//
// Errors: a vocabulary too small for the bytes; shards that cannot be read.
func TrainTokenizer(set dataset.Set, vocab int) (*tokenizer.Tokenizer, error) {
	if vocab < tokenizer.MinVocab {
		return nil, fmt.Errorf("aimv2: a vocabulary of %d is below the %d of bytes and special tokens", vocab, tokenizer.MinVocab)
	}
	var texts []string
	r := rand.New(rand.NewPCG(0, 0))
	for _, p := range partsOf(set) {
		src, ok := p.Set.(dataset.Source)
		if !ok {
			var err error
			if src, err = dataset.Sample(p.Set, tokenizerCaptions); err != nil {
				return nil, err
			}
		}
		for i := range src.Len() {
			rec := src.Record(i)
			texts = append(texts, rec.Caption, dataset.Text(rec, r))
		}
	}
	return tokenizer.Train(texts, vocab), nil
}

package aimv2

import (
	"context"
	"fmt"
	"hash/fnv"
	"image"
	"math/rand/v2"
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
	config Config
	source dataset.Source
	tok    *tokenizer.Tokenizer
	batch  int
	seed   uint64
	aug    preprocess.Augment
	colour float64 // Augment.Background
	border float64 // Augment.Border

	mu     sync.Mutex
	order  []int // of one epoch
	epoch  int
	images map[int]image.Image // decoded pictures, as far as the budget goes
	room   int
	pixels []float32 // of the batch at hand
}

// Norm is the pixel normalisation of every model of this package: that of the
// released training code.
var Norm = preprocess.ImageNet

// imageCache bounds the decoded pictures kept in memory: the embedded set takes
// 25 MB of it.
const imageCache = 256 << 20

// Augment tells how training pictures differ from evaluated ones.
type Augment struct {
	CropMin    float64 `json:"crop_min"`   // least part of the area that a random crop keeps
	Flip       float64 `json:"flip"`       // probability of a mirror image, where the caption allows one
	Background float64 `json:"background"` // probability of a random colour behind transparent pixels, else white
	Border     float64 `json:"border"`     // greatest width of a border of the background colour, as a part of the shorter side
	Jitter     float64 `json:"jitter"`     // probability of changed colours (preprocess.DefaultJitter)
}

// NewLoader returns a loader of batches on a device.
func NewLoader(dev *tensor.Device, r Recipe, src dataset.Source, tok *tokenizer.Tokenizer) *Loader {
	aug := preprocess.DefaultAugment(r.Model.ImageSize, Norm)
	aug.Scale[0], aug.Flip = r.Augment.CropMin, r.Augment.Flip
	aug.Colour, aug.Jitter = r.Augment.Jitter, preprocess.DefaultJitter
	return &Loader{dev: dev, config: r.Model, source: src, tok: tok, batch: r.Batch, seed: r.Seed, aug: aug,
		colour: r.Augment.Background, border: r.Augment.Border, epoch: -1, images: map[int]image.Image{}, room: imageCache}
}

// Streams of random numbers, kept apart by the second half of a PCG seed.
const (
	orderStream  = 1 << 62
	sampleStream = 2 << 62
)

// indices returns the pictures of a step: every epoch is a fresh permutation,
// and batches run on across its end.
func (l *Loader) indices(step int) []int {
	n := l.source.Len()
	out := make([]int, l.batch)
	for i := range out {
		at := step*l.batch + i
		if e := at / n; e != l.epoch {
			l.order = rand.New(rand.NewPCG(l.seed, orderStream|uint64(e))).Perm(n)
			l.epoch = e
		}
		out[i] = l.order[at%n]
	}
	return out
}

// Batch returns the batch of a step, counted from 0.
//
// Errors: a picture that cannot be read; it names the file.
func (l *Loader) Batch(step int) (*Batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.config
	size := 3 * c.ImageSize * c.ImageSize
	if l.pixels == nil {
		l.pixels = make([]float32, l.batch*size)
	}
	captions, prefix := make([][]int32, l.batch), make([]int32, l.batch)
	var rgb, padded preprocess.RGB
	var scratch preprocess.Scratch
	for i, at := range l.indices(step) {
		r := rand.New(rand.NewPCG(l.seed, sampleStream|uint64(step*l.batch+i)))
		img, err := l.image(at)
		if err != nil {
			return nil, err
		}
		rec := l.source.Record(at)
		prefix[i] = 1 + int32(r.IntN(c.Tokens()-1))
		captions[i] = l.tok.Encode(dataset.Text(rec, r))
		background := l.background(r)
		preprocess.ToRGB(&rgb, img, background)
		whole := rgb
		if l.border > 0 {
			preprocess.Pad(&padded, rgb, int(l.border*r.Float64()*float64(min(rgb.Width, rgb.Height))), background)
			whole = padded
		}
		l.aug.Apply(l.pixels[i*size:(i+1)*size], whole, rec.Caption, r, &scratch)
	}
	return NewBatch(l.dev, c, l.pixels, captions, prefix, l.tok.EOS()), nil
}

// background draws what shows through transparent pixels.
func (l *Loader) background(r *rand.Rand) preprocess.Color {
	c := preprocess.Color{uint8(r.IntN(256)), uint8(r.IntN(256)), uint8(r.IntN(256))}
	if r.Float64() >= l.colour {
		return preprocess.White
	}
	return c
}

// image decodes a picture or finds it in the cache.
func (l *Loader) image(i int) (image.Image, error) {
	if img, ok := l.images[i]; ok {
		return img, nil
	}
	img, err := l.source.Image(i)
	if err != nil {
		return nil, err
	}
	b := img.Bounds()
	if size := 4 * b.Dx() * b.Dy(); size <= l.room { // four bytes a pixel at most, but for 16-bit pictures
		l.room -= size
		l.images[i] = img
	}
	return img, nil
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

// Fingerprint tells sources apart by the names and captions of their pictures:
// "8255 pictures, 0123456789abcdef". Pixels are not read.
func Fingerprint(src dataset.Source) string {
	h := fnv.New64a()
	for i := range src.Len() {
		r := src.Record(i)
		fmt.Fprintf(h, "%q %q\n", r.Name, r.Caption)
	}
	return fmt.Sprintf("%d pictures, %016x", src.Len(), h.Sum64())
}

// TrainTokenizer learns the byte-pair vocabulary of a source from every caption
// and one text drawn for each, as training draws them.
//
// Errors: a vocabulary too small for the bytes.
func TrainTokenizer(src dataset.Source, vocab int) (*tokenizer.Tokenizer, error) {
	if vocab < tokenizer.MinVocab {
		return nil, fmt.Errorf("aimv2: a vocabulary of %d is below the %d of bytes and special tokens", vocab, tokenizer.MinVocab)
	}
	texts := make([]string, 0, 2*src.Len())
	r := rand.New(rand.NewPCG(0, 0))
	for i := range src.Len() {
		rec := src.Record(i)
		texts = append(texts, rec.Caption, dataset.Text(rec, r))
	}
	return tokenizer.Train(texts, vocab), nil
}

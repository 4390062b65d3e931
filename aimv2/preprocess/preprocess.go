package preprocess

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Norm maps an 8-bit channel to (value/255 − Mean)/Std.
type Norm struct{ Mean, Std [3]float32 }

// CLIP is the normalisation of CLIP and of the released AIMv2 weights; ImageNet
// is torchvision's.
var (
	CLIP = Norm{
		Mean: [3]float32{0.48145466, 0.4578275, 0.40821073},
		Std:  [3]float32{0.26862954, 0.26130258, 0.27577711},
	}
	ImageNet = Norm{
		Mean: [3]float32{0.485, 0.456, 0.406},
		Std:  [3]float32{0.229, 0.224, 0.225},
	}
)

// Apply sets dst[c, y, x] = (src[y, x, c]/255 − Mean[c])/Std[c], with x counted
// from the right if flip is set.
//
// Shapes: dst [3, src.Height, src.Width].
// Panics: if dst has another length.
func (n Norm) Apply(dst []float32, src RGB, flip bool) {
	plane := src.Width * src.Height
	if len(dst) != 3*plane {
		panic(fmt.Sprintf("preprocess: normalise: dst has %d values, want 3·%d·%d", len(dst), src.Height, src.Width))
	}
	for c := range 3 {
		// 256 divisions for the table, instead of one for every pixel.
		var table [256]float32
		for v := range table {
			table[v] = (float32(v)/255 - n.Mean[c]) / n.Std[c]
		}
		for y := range src.Height {
			in := src.row(y)
			out := dst[c*plane+y*src.Width:][:src.Width]
			if flip {
				for x := range out {
					out[len(out)-1-x] = table[in[3*x+c]]
				}
			} else {
				for x := range out {
					out[x] = table[in[3*x+c]]
				}
			}
		}
	}
}

// Eval is the rule by which a model takes pictures, as its
// preprocessor_config.json tells it: resized, cut from the centre, normalised.
// See HubEval, ReadmeEval and NativeEval for the rules of the released weights.
type Eval struct {
	Shortest  int  // R: the shortest side after resizing; 0 means S. R ≥ S
	Size      int  // S: the output is S x S
	RoundCrop bool // the crop starts at half of the surplus rounded to even, and not down
	Native    bool // the picture keeps its size, but for what is no whole patch; R and S do not count
	Patch     int  // side of a patch, where Native
	Norm      Norm
}

// HubEval is the rule of the Hub's preprocessor_config.json, by which the released
// weights give their published features: CLIPImageProcessor with the shortest side
// S and CLIP's constants.
func HubEval(size int) Eval { return Eval{Size: size, Norm: CLIP} }

// ReadmeEval is the rule of ml-aim's README: torchvision's Resize to ⌈S/0.875⌉ and
// CenterCrop, ImageNet's constants.
func ReadmeEval(size int) Eval {
	return Eval{Shortest: (8*size + 6) / 7, Size: size, RoundCrop: true, Norm: ImageNet}
}

// NativeEval is the Hub's rule of the native checkpoint: whole patches of the
// picture as it is; columns and rows that are left over at the right and below go.
func NativeEval(patch int) Eval { return Eval{Native: true, Patch: patch, Norm: CLIP} }

// Validate checks the rule.
//
// Errors: sizes that are not positive, R < S, a divisor of zero.
func (e Eval) Validate() error {
	switch {
	case e.Native && e.Patch <= 0:
		return fmt.Errorf("preprocess: native pictures in patches of %d", e.Patch)
	case !e.Native && e.Size <= 0:
		return fmt.Errorf("preprocess: pictures of %dx%d", e.Size, e.Size)
	case !e.Native && e.Shortest != 0 && e.Shortest < e.Size:
		return fmt.Errorf("preprocess: a crop of %d from pictures whose shortest side is %d", e.Size, e.Shortest)
	}
	for c, std := range e.Norm.Std {
		if !(std > 0) || math.IsInf(float64(std), 0) {
			return fmt.Errorf("preprocess: standard deviation %g of channel %d", std, c)
		}
		if mean := float64(e.Norm.Mean[c]); math.IsNaN(mean) || math.IsInf(mean, 0) {
			return fmt.Errorf("preprocess: mean %g of channel %d", mean, c)
		}
	}
	return nil
}

// OutputSize returns the size that Apply gives a picture.
//
// Errors: where Native, a picture that is smaller than a patch.
func (e Eval) OutputSize(width, height int) (outWidth, outHeight int, err error) {
	if !e.Native {
		return e.Size, e.Size, nil
	}
	if width < e.Patch || height < e.Patch {
		return 0, 0, fmt.Errorf("preprocess: a picture of %dx%d is smaller than a patch of %d", width, height, e.Patch)
	}
	return width - width%e.Patch, height - height%e.Patch, nil
}

// longest bounds how many times its short side a picture is long. A file of some
// kilobytes may be a million: resized whole, it would be scaled up to gigabytes.
const longest = 256

// Apply scales src so that its shortest side is R, cuts S x S from the centre
// and normalises. The longer side becomes ⌊R·long/short⌋; the crop starts at
// half of the surplus. Of a picture more than 256 times as long as short only the
// middle is scaled: the crop then may begin a part of a pixel off. Where Native,
// only whole patches are normalised.
//
// Shapes: dst [3, H, W] of OutputSize.
// Panics: if OutputSize gives an error.
func (e Eval) Apply(dst []float32, src RGB, s *Scratch) {
	if e.Native {
		width, height, err := e.OutputSize(src.Width, src.Height)
		if err != nil {
			panic(err)
		}
		e.Norm.Apply(dst, src.Crop(0, 0, width, height), false)
		return
	}
	width, height := min(src.Width, longest*src.Height), min(src.Height, longest*src.Width)
	src = src.Crop((src.Width-width)/2, (src.Height-height)/2, width, height)
	shortest := e.Shortest
	if shortest == 0 {
		shortest = e.Size
	}
	width, height = shortest, shortest
	if src.Width < src.Height {
		height = shortest * src.Height / src.Width
	} else {
		width = shortest * src.Width / src.Height
	}
	s.resized.Reset(width, height)
	s.Resize(&s.resized, src, Box{0, 0, float32(src.Width), float32(src.Height)})
	e.Norm.Apply(dst, s.resized.Crop(e.start(width), e.start(height), e.Size, e.Size), false)
}

// start returns where the crop of one axis begins.
func (e Eval) start(length int) int {
	if e.RoundCrop {
		return int(math.RoundToEven(float64(length-e.Size) / 2))
	}
	return (length - e.Size) / 2
}

// Augment prepares pictures for training: torchvision's RandomResizedCrop and
// RandomHorizontalFlip, RandAugment and ColorJitter.
type Augment struct {
	Size   int        // S: the output is S x S
	Scale  [2]float64 // least and greatest part of the area that the crop keeps
	Ratio  [2]float64 // least and greatest width/height of the crop
	Flip   float64    // probability of a mirror image
	Rand   RandAugment
	Colour float64 // probability of other colours
	Jitter Jitter  // how far they may change
	Norm   Norm
}

// DefaultAugment is the transform that AIMv2 was pre-trained with: at least
// 40 % of the picture stays, width/height is 3/4 to 4/3, every second picture
// is mirrored. Its training code normalises with ImageNet, its released weights
// with CLIP; what counts is that Eval later gets the same.
func DefaultAugment(size int, norm Norm) Augment {
	return Augment{Size: size, Scale: [2]float64{0.4, 1}, Ratio: [2]float64{3.0 / 4, 4.0 / 3}, Flip: 0.5, Norm: norm}
}

// Apply cuts a random part of src, scales it to S x S, mirrors it perhaps,
// changes its colours perhaps, and normalises. A picture whose caption the mirror would make wrong is never
// mirrored (see MirrorChanges). The same r, src and caption give the same
// result, and every call draws from r alike whatever the caption.
//
// Shapes: dst [3, S, S].
func (a Augment) Apply(dst []float32, src RGB, caption string, r *rand.Rand, s *Scratch) {
	x, y, width, height := a.crop(src.Width, src.Height, r)
	flip := r.Float64() < a.Flip && !MirrorChanges(caption)
	s.out.Reset(a.Size, a.Size)
	// Cropped before it is resized: pixels outside must not shine in.
	s.Resize(&s.out, src.Crop(x, y, width, height), Box{0, 0, float32(width), float32(height)})
	a.Rand.Apply(&s.out, r, s)
	if a.Colour > 0 && r.Float64() < a.Colour {
		a.Jitter.Apply(s.out, r)
	}
	a.Norm.Apply(dst, s.out, flip)
}

// crop draws the part of a picture to keep.
//
// Source: torchvision, transforms.RandomResizedCrop.get_params.
func (a Augment) crop(width, height int, r *rand.Rand) (x, y, w, h int) {
	area := float64(width * height)
	low, high := math.Log(a.Ratio[0]), math.Log(a.Ratio[1])
	for range 10 {
		target := area * (a.Scale[0] + (a.Scale[1]-a.Scale[0])*r.Float64())
		ratio := math.Exp(low + (high-low)*r.Float64())
		w = int(math.RoundToEven(math.Sqrt(target * ratio)))
		h = int(math.RoundToEven(math.Sqrt(target / ratio)))
		if 0 < w && w <= width && 0 < h && h <= height {
			return r.IntN(width - w + 1), r.IntN(height - h + 1), w, h
		}
	}
	// A very long picture: the centre, within the ratios.
	w, h = width, height
	switch ratio := float64(width) / float64(height); {
	case ratio < a.Ratio[0]:
		h = int(math.RoundToEven(float64(w) / a.Ratio[0]))
	case ratio > a.Ratio[1]:
		w = int(math.RoundToEven(float64(h) * a.Ratio[1]))
	}
	return (width - w) / 2, (height - h) / 2, w, h
}

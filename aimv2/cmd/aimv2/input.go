package main

import (
	"errors"
	"fmt"
	"image"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v3"

	"fuerte/aimv2"
	"fuerte/aimv2/imagefile"
	"fuerte/aimv2/pretrained"
	"fuerte/aimv2/tokenizer"
	"fuerte/autograd"
	"fuerte/autograd/profile"
	"fuerte/tensor"
)

// modelFlag is the option -model of the verbs that use a model.
func modelFlag(name *string) cli.Flag {
	return &cli.StringFlag{Name: "model", Destination: name, Usage: "use the model in the folder `DIR`, or OWNER/NAME[@REVISION] of the Hugging Face hub", DefaultText: "the built-in one"}
}

// imageArguments takes the arguments of the verbs that read pictures.
func imageArguments(files *[]string) []cli.Argument {
	return []cli.Argument{&cli.StringArgs{Name: "IMAGE", UsageText: "IMAGE...", Max: -1, Destination: files}}
}

var errNoImage = errors.New("no IMAGE is given: PNG, JPEG, GIF, WebP, BMP or TIFF files, or - for standard input")

// loadModel reads the model of that name, or without one the built-in model.
func loadModel(name string) (*aimv2.Model, *tokenizer.Tokenizer, error) {
	if name == "" {
		m, tok, err := pretrained.Load(tensor.CPU)
		if errors.Is(err, pretrained.ErrNone) {
			err = fmt.Errorf("%w: train one by %s pretrain, then add -model runs/tiny", err, self())
		}
		return m, tok, err
	}
	dir, err := locate(name)
	if err != nil {
		return nil, nil, err
	}
	if c, err := aimv2.OpenCheckpoint(dir); err == nil {
		defer c.Close()
		if c.Decoder == nil {
			return nil, nil, fmt.Errorf("%s has no decoder, which writes captions: embed, info and convert take it", name)
		}
		if c.Family.Name != "fuerte" {
			return nil, nil, fmt.Errorf("%s has a decoder under the names of %s, but not the recipe of a run: embed, info and convert take it", name, c.Family.Name)
		}
	}
	m, tok, err := aimv2.Load(tensor.CPU, dir)
	return m, tok, unfinished(err, dir)
}

// unfinished explains a missing file in the folder of a run.
func unfinished(err error, dir string) error {
	if errors.Is(err, fs.ErrNotExist) {
		if _, none := os.Stat(filepath.Join(dir, aimv2.StateFile)); none == nil {
			return fmt.Errorf("the run in %s is not finished: go on with it by %s pretrain -resume %s", dir, self(), quote(dir))
		}
	}
	return err
}

// vision is an encoder with how its pictures are prepared.
type vision struct {
	*aimv2.Encoder
	aimv2.Processor
	patch  int
	native bool
	watch  *profile.Profiler // nil: nobody asked
}

// tape returns one for features, under the eyes of v.watch.
func (v vision) tape() *autograd.Tape {
	t := autograd.NewInferenceTape()
	if v.watch != nil {
		t.Observer = v.watch
	}
	return t
}

func visionOf(m *aimv2.Model) vision {
	size := m.Config.ImageSize
	return vision{Encoder: m.Encoder, Processor: aimv2.Processor{Shortest: size, Crop: size, Norm: aimv2.Norm}, patch: m.Config.PatchSize}
}

// loadVision reads the encoder of the model of that name, of any kind, or without
// one that of the built-in model.
func loadVision(name string) (vision, error) {
	if name == "" {
		m, _, err := loadModel("")
		if err != nil {
			return vision{}, err
		}
		return visionOf(m), nil
	}
	dir, err := locate(name)
	if err != nil {
		return vision{}, err
	}
	c, err := aimv2.OpenCheckpoint(dir)
	if err != nil {
		return vision{}, unfinished(err, dir)
	}
	defer c.Close()
	e, err := c.LoadEncoder(tensor.CPU)
	if err != nil {
		return vision{}, err
	}
	return vision{Encoder: e, Processor: c.Processor, patch: c.Vision.PatchSize, native: c.Vision.Native}, nil
}

// Patches that native encoders were trained with.
const leastNative, mostNative = 112, 4096

// features returns the encoder's features of a picture, float32 [1, N, D].
func (v vision) features(file string, img image.Image) (*tensor.Tensor, error) {
	v.watch.Enter("prepare", -1)
	in, err := v.Prepare(img, v.patch)
	v.watch.Leave()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	defer in.Release()
	tape := v.tape()
	defer tape.Reset()
	out := v.Forward(tape.Input(in), nil).Keep().Value
	if n := out.Dim(1); v.native && (n < leastNative || n > mostNative) {
		complain(fmt.Errorf("%s makes %d patches; the model was trained with %d to %d", file, n, leastNative, mostNative))
	}
	return out, nil
}

// eachImage calls f with every picture file as normalised image [3·S·S], "-" being
// standard input. A bad file is one line on standard error; the others go on, and
// the result is then failed.
func eachImage(c aimv2.Config, files []string, f func(file string, image []float32) error) error {
	return eachReadable(c, len(files), func(i int) (image.Image, error) { return openPicture(files[i]) },
		func(i int, image []float32) error { return f(files[i], image) })
}

// eachReadable is eachImage for n pictures from anywhere.
func eachReadable(c aimv2.Config, n int, open func(i int) (image.Image, error), f func(i int, image []float32) error) error {
	return each(n, func(i int) ([]float32, error) {
		return aimv2.EvalImages(c, 1, func(int) (image.Image, error) { return open(i) })
	}, f)
}

// eachPicture is eachImage with the features float32 [1, N, D] of every picture. To
// v.watch a step is what is done with a picture that was read.
func eachPicture(v vision, files []string, f func(file string, features *tensor.Tensor) error) error {
	return each(len(files), func(i int) (*tensor.Tensor, error) {
		img, err := openPicture(files[i])
		if err != nil {
			return nil, err
		}
		v.watch.BeginStep(i)
		return v.features(files[i], img)
	}, func(i int, features *tensor.Tensor) error {
		defer features.Release()
		defer v.watch.EndStep()
		return f(files[i], features)
	})
}

// each calls f with each of n things, but for those that get cannot give: their errors
// are written, and the result is then failed.
func each[T any](n int, get func(i int) (T, error), f func(i int, x T) error) error {
	bad := false
	for i := range n {
		x, err := get(i)
		if err != nil {
			complain(err)
			bad = true
			continue
		}
		if err := f(i, x); err != nil {
			return err
		}
	}
	if bad {
		return failed
	}
	return nil
}

func openPicture(file string) (image.Image, error) {
	if file != "-" {
		return imagefile.Open(file)
	}
	img, err := imagefile.Read(os.Stdin)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return img, nil
}

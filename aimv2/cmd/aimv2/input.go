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
	"fuerte/tensor"
)

// modelFlag is the option -model of the verbs that use a model.
func modelFlag(dir *string) cli.Flag {
	return &cli.StringFlag{Name: "model", Destination: dir, Usage: "use the model in the folder `DIR`", DefaultText: "the built-in one"}
}

// imageArguments takes the arguments of the verbs that read pictures.
func imageArguments(files *[]string) []cli.Argument {
	return []cli.Argument{&cli.StringArgs{Name: "IMAGE", UsageText: "IMAGE...", Max: -1, Destination: files}}
}

var errNoImage = errors.New("no IMAGE is given: PNG, JPEG, GIF, WebP, BMP or TIFF files, or - for standard input")

// loadModel reads the model in a folder, or without one the built-in model.
func loadModel(dir string) (*aimv2.Model, *tokenizer.Tokenizer, error) {
	if dir == "" {
		m, tok, err := pretrained.Load(tensor.CPU)
		if errors.Is(err, pretrained.ErrNone) {
			err = fmt.Errorf("%w: train one by %s pretrain, then add -model runs/tiny", err, self())
		}
		return m, tok, err
	}
	m, tok, err := aimv2.Load(tensor.CPU, dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, none := os.Stat(filepath.Join(dir, aimv2.StateFile)); none == nil {
			err = fmt.Errorf("the run in %s is not finished: go on with it by %s pretrain -resume %s", dir, self(), quote(dir))
		}
	}
	return m, tok, err
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
	bad := false
	for i := range n {
		image, err := aimv2.EvalImages(c, 1, func(int) (image.Image, error) { return open(i) })
		if err != nil {
			complain(err)
			bad = true
			continue
		}
		if err := f(i, image); err != nil {
			return err
		}
	}
	if bad {
		return failed
	}
	return nil
}

// eachPicture is eachImage with the features float32 [1, N, D].
func eachPicture(m *aimv2.Model, files []string, f func(file string, features *tensor.Tensor) error) error {
	return eachImage(m.Config, files, func(file string, image []float32) error {
		features := m.Features(image)
		defer features.Release()
		return f(file, features)
	})
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

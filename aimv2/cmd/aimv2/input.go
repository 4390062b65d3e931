package main

import (
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"fuerte/aimv2"
	"fuerte/aimv2/imagefile"
	"fuerte/aimv2/pretrained"
	"fuerte/aimv2/tokenizer"
	"fuerte/tensor"
)

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

// eachPicture calls f with the features float32 [1, N, D] of every picture file,
// "-" being standard input. A bad file is one line on standard error; the others
// go on, and the result is then failed.
func eachPicture(m *aimv2.Model, files []string, f func(file string, features *tensor.Tensor) error) error {
	bad := false
	for _, file := range files {
		images, err := aimv2.EvalImages(m.Config, 1, func(int) (image.Image, error) { return openPicture(file) })
		if err != nil {
			complain(err)
			bad = true
			continue
		}
		features := m.Features(images)
		err = f(file, features)
		features.Release()
		if err != nil {
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
	data, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	img, err := imagefile.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return img, nil
}

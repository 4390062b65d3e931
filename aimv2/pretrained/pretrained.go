// Package pretrained embeds a trained model, so that a program can caption and
// embed pictures as it is. It is a package of its own: only programs that import
// it carry the weights.
//
// The files in model are written by
//
//	go run ./aimv2/cmd/aimv2 export runs/emoji aimv2/pretrained/model
package pretrained

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"fuerte/aimv2"
	"fuerte/aimv2/tokenizer"
	"fuerte/tensor"
)

//go:embed model
var files embed.FS

// ErrNone is the error of Load in a build without a model.
var ErrNone = errors.New("no model is built in")

// Load returns the embedded model and its tokenizer.
//
// Errors: ErrNone.
func Load(dev *tensor.Device) (*aimv2.Model, *tokenizer.Tokenizer, error) {
	model, err := fs.Sub(files, "model")
	if err != nil {
		return nil, nil, err
	}
	if _, err := fs.Stat(model, aimv2.ModelFile); err != nil {
		return nil, nil, ErrNone
	}
	m, tok, err := aimv2.LoadFS(dev, model)
	if err != nil {
		return nil, nil, fmt.Errorf("the built-in model: %w", err)
	}
	return m, tok, nil
}

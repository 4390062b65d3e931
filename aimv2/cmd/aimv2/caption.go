package main

import (
	"errors"
	"fmt"

	"fuerte/aimv2"
	"fuerte/tensor"
)

type captionCommand struct {
	Images      []string `arg:"" name:"image" help:"Picture files: PNG, JPEG, GIF, WebP, BMP, TIFF; - is standard input."`
	Model       string   `placeholder:"DIR" help:"Folder with a model. Default: the built-in one."`
	TopP        float64  `name:"top-p" placeholder:"P" help:"Draw among the tokens that make up this probability. Default: always the most probable one."`
	Temperature float64  `placeholder:"T" default:"1" help:"Above 1 the draws vary more, below 1 less. Default: ${default}."`
	Seed        uint64   `placeholder:"S" default:"1" help:"Seed of the draws. Default: ${default}."`
	N           int      `short:"n" placeholder:"N" default:"1" help:"Captions of each picture. Default: ${default}."`
}

// Validate is called by kong; its errors are errors of usage.
func (c *captionCommand) Validate() error {
	switch {
	case c.N < 1:
		return fmt.Errorf("-n %d: at least 1 is needed", c.N)
	case c.TopP == 0 && c.N > 1:
		return errors.New("-n without -top-p would give the same caption again")
	case c.TopP == 0 && c.Temperature != 1:
		return errors.New("-temperature without -top-p changes nothing")
	case !(c.Temperature > 0):
		return fmt.Errorf("-temperature %g: it must be positive", c.Temperature)
	}
	return c.sampling().Validate()
}

func (c *captionCommand) sampling() aimv2.Sampling {
	return aimv2.Sampling{TopP: c.TopP, Temperature: c.Temperature, Seed: c.Seed}
}

// Run prints "file: caption" for every picture.
func (c *captionCommand) Run() error {
	m, tok, err := loadModel(c.Model)
	if err != nil {
		return err
	}
	return eachPicture(m, c.Images, func(file string, features *tensor.Tensor) error {
		// The draws of a caption depend on the seed and its number: copies of one
		// picture give different ones, and neighbours on the command line none.
		copies := features.Expand(c.N, features.Dim(1), features.Dim(2)).Compact()
		defer copies.Release()
		for _, ids := range m.Generate(copies, c.sampling(), tok.EOS()) {
			fmt.Printf("%s: %s\n", file, tok.Decode(ids))
		}
		return nil
	})
}

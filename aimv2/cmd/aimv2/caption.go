package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v3"

	"fuerte/aimv2"
	"fuerte/tensor"
)

type captionCommand struct {
	images      []string
	model       string
	topP        float64 // 0: greedy
	temperature float64
	seed        uint64
	n           int
	beams       int
}

func (c *captionCommand) describe() *cli.Command {
	return &cli.Command{
		Name:        "caption",
		Usage:       "Write a caption for each picture.",
		Description: "IMAGE is a PNG, JPEG, GIF, WebP, BMP or TIFF file, or - for standard input.",
		Arguments:   imageArguments(&c.images),
		Flags: []cli.Flag{
			modelFlag(&c.model),
			&cli.FloatFlag{Name: "top-p", Destination: &c.topP, Usage: "draw among the tokens that make up the probability `P`", DefaultText: "always the most probable one"},
			&cli.FloatFlag{Name: "temperature", Destination: &c.temperature, Value: 1, Usage: "`T` above 1 makes the draws vary more, below 1 less"},
			&cli.Uint64Flag{Name: "seed", Destination: &c.seed, Value: 1, Usage: "seed `S` of the draws"},
			&cli.IntFlag{Name: "beams", Destination: &c.beams, Value: 1, Usage: "search for the most probable caption with `B` beginnings at a time"},
			&cli.IntFlag{Name: "n", Destination: &c.n, Value: 1, Usage: "write `N` captions of each picture"},
		},
	}
}

func (c *captionCommand) check(*cli.Command) error {
	switch {
	case len(c.images) == 0:
		return errNoImage
	case c.n < 1:
		return fmt.Errorf("-n %d: at least 1 is needed", c.n)
	case c.topP == 0 && c.n > 1:
		return errors.New("-n without -top-p would give the same caption again")
	case c.topP == 0 && c.temperature != 1:
		return errors.New("-temperature without -top-p changes nothing")
	case c.beams < 1:
		return fmt.Errorf("-beams %d: at least 1 is needed", c.beams)
	case !(c.temperature > 0):
		return fmt.Errorf("-temperature %g: it must be positive", c.temperature)
	}
	return c.sampling().Validate()
}

func (c *captionCommand) sampling() aimv2.Sampling {
	return aimv2.Sampling{TopP: c.topP, Temperature: c.temperature, Seed: c.seed, Beams: c.beams}
}

// run prints "file: caption" for every picture.
func (c *captionCommand) run() error {
	m, tok, err := loadModel(c.model)
	if err != nil {
		return err
	}
	return eachPicture(visionOf(m), c.images, func(file string, features *tensor.Tensor) error {
		// The draws of a caption depend on the seed and its number: copies of one
		// picture give different ones, and neighbours on the command line none.
		copies := features.Expand(c.n, features.Dim(1), features.Dim(2)).Compact()
		defer copies.Release()
		for _, ids := range m.Generate(copies, c.sampling(), tok.EOS()) {
			fmt.Printf("%s: %s\n", file, tok.Decode(ids))
		}
		return nil
	})
}

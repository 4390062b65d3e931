package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v3"

	"fuerte/aimv2"
	"fuerte/aimv2/metric"
	"fuerte/aimv2/tokenizer"
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
	data        evalData
	json        string
}

func (c *captionCommand) describe() *cli.Command {
	return &cli.Command{
		Name:        "caption",
		Usage:       "Write a caption for each picture, or with -data measure captions.",
		Description: "IMAGE is a PNG, JPEG, GIF, WebP, BMP or TIFF file, or - for standard input.",
		Arguments:   imageArguments(&c.images),
		Flags: append([]cli.Flag{
			modelFlag(&c.model),
			&cli.FloatFlag{Name: "top-p", Destination: &c.topP, Usage: "draw among the tokens that make up the probability `P`", DefaultText: "always the most probable one"},
			&cli.FloatFlag{Name: "temperature", Destination: &c.temperature, Value: 1, Usage: "`T` above 1 makes the draws vary more, below 1 less"},
			&cli.Uint64Flag{Name: "seed", Destination: &c.seed, Value: 1, Usage: "seed `S` of the draws"},
			&cli.IntFlag{Name: "beams", Destination: &c.beams, Value: 1, Usage: "search for the most probable caption with `B` beginnings at a time"},
			&cli.IntFlag{Name: "n", Destination: &c.n, Value: 1, Usage: "write `N` captions of each picture"},
			jsonFlag(&c.json),
		}, c.data.flags("", 0)...),
	}
}

func (c *captionCommand) check(*cli.Command) error {
	switch {
	case c.data.name == "" && len(c.images) == 0:
		return errNoImage
	case c.data.name == "" && (c.json != "" || c.data.n != 0):
		return errors.New("-json and -pictures need -data")
	case c.data.name != "" && (len(c.images) > 0 || c.n > 1):
		return errors.New("-data goes without IMAGE and -n")
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
	return errors.Join(c.sampling().Validate(), c.data.check())
}

func (c *captionCommand) sampling() aimv2.Sampling {
	return aimv2.Sampling{TopP: c.topP, Temperature: c.temperature, Seed: c.seed, Beams: c.beams}
}

// run prints "file: caption" for every picture, or the numbers of the data.
func (c *captionCommand) run() error {
	m, tok, err := loadModel(c.model)
	if err != nil {
		return err
	}
	if c.data.name != "" {
		return c.measure(m, tok)
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

// measure writes a caption for each picture of the data and prints how well they
// agree with the true ones.
func (c *captionCommand) measure(m *aimv2.Model, tok *tokenizer.Tokenizer) error {
	src, data, split, err := c.data.open()
	if err != nil {
		return err
	}
	at := c.data.at(src)
	var got, want []string
	sampling := c.sampling()
	bad := c.data.each(m.Config, src, at, func(i int, image []float32) error {
		features := m.Features(image)
		defer features.Release()
		sampling.Seed = c.seed + uint64(at[i]) // every picture draws anew
		got = append(got, tok.Decode(m.Generate(features, sampling, tok.EOS())[0]))
		// As a tokenizer gives it back: in lower case, without spaces around a dash.
		want = append(want, tok.Decode(tok.Encode(src.Record(at[i]).Caption)))
		return nil
	})
	if bad != nil && !errors.Is(bad, failed) {
		return bad
	}
	if len(got) == 0 {
		return bad
	}
	report := newEvaluation("caption", c.model, m.Config, c.seed, struct {
		TopP        float64 `json:"top_p"`
		Temperature float64 `json:"temperature"`
		Beams       int     `json:"beams"`
		Pictures    int     `json:"pictures"`
	}{c.topP, c.temperature, c.beams, len(got)})
	report.on(data, split, src)
	exact, f1, cider := captionMetrics(got, want, c.seed)
	for _, row := range []struct {
		name, unit string
		metric.Estimate
	}{{"exact", " %", exact}, {"word F1", " %", f1}, {"CIDEr-D", "", cider}} {
		fmt.Printf("%-8s  %.1f%s (%.1f–%.1f)\n", row.name, 100*row.Value, row.unit, 100*row.Low, 100*row.High)
		report.add(measurement{"caption", "generated", row.name, split, row.Estimate})
	}
	if err := report.write(c.json); err != nil {
		return err
	}
	return bad
}

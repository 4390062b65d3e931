package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"fuerte/aimv2/dataset/emoji48"
	"fuerte/aimv2/metric"
)

type retrieveCommand struct {
	model    string
	json     string
	data     evalData
	perToken bool
	seed     uint64
}

func (c *retrieveCommand) describe() *cli.Command {
	return &cli.Command{
		Name:        "retrieve",
		Usage:       "Measure how well captions find their pictures, and pictures their captions.",
		Description: "Every caption is scored behind every picture by its likelihood.",
		Flags: append([]cli.Flag{
			modelFlag(&c.model),
			&cli.BoolFlag{Name: "per-token", Destination: &c.perToken, Usage: "divide the log-likelihood of a caption by its number of tokens"},
			seedFlag(&c.seed, "the interval of the median"),
			jsonFlag(&c.json),
		}, c.data.flags(emoji48.TestStyle, 200)...),
	}
}

func (c *retrieveCommand) check(*cli.Command) error {
	return c.data.check()
}

// direction is one of the two questions of retrieval.
type direction struct {
	name  string
	ranks []int
}

// run prints R@1, R@5, R@10 and the median rank, both ways. Pictures with the same
// caption are all right for it.
func (c *retrieveCommand) run() error {
	scorer, config, err := loadScorer(c.model, c.perToken)
	if err != nil {
		return err
	}
	src, data, split, err := c.data.open()
	if err != nil {
		return err
	}
	at := c.data.at(src)
	number := map[string]int{} // of a caption
	var captions [][]string
	text := make([]int, len(at)) // each picture's
	for i, p := range at {
		caption := src.Record(p).Caption
		if _, ok := number[caption]; !ok {
			number[caption] = len(captions)
			captions = append(captions, []string{caption})
		}
		text[i] = number[caption]
	}
	score, err := scorer.Prepare(captions)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d pictures, %d captions\n", len(at), len(captions))
	var similarity [][]float64
	var rows []int // the caption of each row: bad pictures have none
	bad := c.data.each(config, src, at, func(i int, image []float32) error {
		similarity, rows = append(similarity, score(image)[0]), append(rows, text[i])
		return nil
	})
	if bad != nil && !errors.Is(bad, failed) {
		return bad
	}
	if len(rows) == 0 {
		return bad
	}
	found := metric.Ranks(metric.Transpose(similarity), func(caption, picture int) bool { return rows[picture] == caption })
	directions := []direction{
		{"caption of a picture", metric.Ranks(similarity, func(picture, caption int) bool { return rows[picture] == caption })},
		{"picture of a caption", slices.DeleteFunc(found, func(rank int) bool { return rank == 0 })}, // whose pictures are all bad
	}
	report := newEvaluation("retrieve", c.model, config, c.seed, struct {
		PerToken bool `json:"per_token"`
		Pictures int  `json:"pictures"`
		Captions int  `json:"captions"`
	}{c.perToken, len(rows), len(captions)})
	report.on(data, split, src)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tR@1\tR@5\tR@10\tmedian rank\tof\t")
	for i, d := range directions {
		fmt.Fprintf(table, "%s\t", d.name)
		for _, k := range []int{1, 5, 10} {
			e := metric.Recall(d.ranks, k)
			fmt.Fprintf(table, "%.1f %%\t", 100*e.Value)
			report.add(measurement{"retrieval", d.name, fmt.Sprintf("R@%d", k), split, e})
		}
		e := metric.MedianRank(d.ranks, c.seed)
		fmt.Fprintf(table, "%g\t%d\t\n", e.Value, []int{len(captions), len(rows)}[i])
		report.add(measurement{"retrieval", d.name, "median rank", split, e})
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if err := report.write(c.json); err != nil {
		return err
	}
	return bad
}

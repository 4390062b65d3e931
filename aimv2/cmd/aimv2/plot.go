package main

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v3"

	"fuerte/aimv2"
	"fuerte/aimv2/report"
)

type plotCommand struct {
	runs []string
	loss string
	out  string
}

var lossNames = []string{"total", "text", "pixel", "validation"}

func (c *plotCommand) describe() *cli.Command {
	return &cli.Command{
		Name:  "plot",
		Usage: "Lay the loss of several runs over each other, as a picture.",
		Arguments: []cli.Argument{
			&cli.StringArgs{Name: "RUN", Min: 1, Max: -1, Destination: &c.runs},
		},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "loss", Destination: &c.loss, Value: "total", Usage: "draw the `NAME` loss: total, text, pixel or validation"},
			&cli.StringFlag{Name: "out", Destination: &c.out, Value: "losses.png", Usage: "write the picture to `FILE`"},
		},
	}
}

func (c *plotCommand) check(*cli.Command) error {
	if !slices.Contains(lossNames, c.loss) {
		return fmt.Errorf("-loss %s: it must be total, text, pixel or validation", c.loss)
	}
	return nil
}

func (c *plotCommand) run() error {
	var runs []report.Run
	for _, dir := range c.runs {
		points, err := report.ReadMetrics[report.Point](filepath.Join(dir, aimv2.MetricsFile))
		if err != nil {
			return err
		}
		runs = append(runs, report.Run{Name: filepath.Base(filepath.Clean(dir)), Points: points})
	}
	return report.CompareRuns(c.out, c.loss, runs)
}

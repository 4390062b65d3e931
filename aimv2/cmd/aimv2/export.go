package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v3"

	"fuerte/aimv2"
	"fuerte/nn"
	"fuerte/nn/atomicfile"
)

type exportCommand struct {
	from, to string
	dtype    string
}

func (c *exportCommand) describe() *cli.Command {
	return &cli.Command{
		Name:  "export",
		Usage: "Write the model of a run to a folder of its own, in any precision.",
		Arguments: []cli.Argument{
			&cli.StringArg{Name: "RUN", Required: true, Destination: &c.from},
			&cli.StringArg{Name: "DEST", Required: true, Destination: &c.to},
		},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dtype", Destination: &c.dtype, Value: "BF16", Usage: "write the weights as `TYPE` F32, BF16 or F16"},
		},
	}
}

func (c *exportCommand) check(*cli.Command) error {
	if !slices.Contains([]string{"F32", "BF16", "F16"}, c.dtype) {
		return fmt.Errorf("-dtype %s: it must be F32, BF16 or F16", c.dtype)
	}
	return nil
}

// run writes a model without the state of its training.
func (c *exportCommand) run() error {
	m, tok, err := loadModel(c.from)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(c.to, aimv2.StateFile)); err == nil {
		return fmt.Errorf("%s holds a run, whose model would be lost: choose another folder", c.to)
	}
	config, err := os.ReadFile(filepath.Join(c.from, aimv2.ConfigFile))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.to, 0o777); err != nil {
		return err
	}
	model := filepath.Join(c.to, aimv2.ModelFile)
	err = errors.Join(
		atomicfile.WriteFileAtomic(filepath.Join(c.to, aimv2.ConfigFile), func(w io.Writer) error {
			_, err := w.Write(config)
			return err
		}),
		tok.Save(filepath.Join(c.to, aimv2.TokenizerFile)),
		nn.Save(model, c.dtype, map[string]string{"format": "pt"}, m.Params()))
	if err != nil {
		return err
	}
	info, err := os.Stat(model)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s, %s\n", model, c.dtype, amount(info.Size()))
	return nil
}

// amount counts memory: "3.2 MB".
func amount(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.2f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d bytes", n)
}

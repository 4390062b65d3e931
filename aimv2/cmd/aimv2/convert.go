package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v3"

	"fuerte/aimv2"
)

type convertCommand struct {
	from, to string
	format   string
	dtype    string
	shard    string
}

// formats are the families of names that convert writes. The fourth is what
// pretrain writes, and has more to it than weights.
var formats = []string{"ml-aim", "transformers", "ml-l3m"}

func (c *convertCommand) describe() *cli.Command {
	return &cli.Command{
		Name:  "convert",
		Usage: "Write a checkpoint under the names of another program.",
		Description: "SRC is a model's folder, a .safetensors file, or OWNER/NAME[@REVISION] of the Hugging Face hub.\n" +
			"Configuration, preprocessing and tokenizer are written beside the weights.",
		Arguments: []cli.Argument{
			&cli.StringArg{Name: "SRC", Required: true, Destination: &c.from},
			&cli.StringArg{Name: "DEST", Required: true, Destination: &c.to},
		},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Destination: &c.format, Required: true, Usage: "names of `FORMAT` " + strings.Join(formats, ", ")},
			&cli.StringFlag{Name: "dtype", Destination: &c.dtype, Usage: "write the weights as `TYPE` F32, BF16 or F16", DefaultText: "as they are"},
			&cli.StringFlag{Name: "shard", Destination: &c.shard, Usage: "write files of up to `SIZE`, such as 500MB or 5GB", DefaultText: "one file"},
		},
	}
}

func (c *convertCommand) check(*cli.Command) error {
	if !slices.Contains(formats, c.format) {
		return fmt.Errorf("-format %s: it must be one of %s", c.format, strings.Join(formats, ", "))
	}
	if !slices.Contains([]string{"", "F32", "BF16", "F16"}, c.dtype) {
		return fmt.Errorf("-dtype %s: it must be F32, BF16 or F16", c.dtype)
	}
	if _, err := parseSize(c.shard); err != nil {
		return fmt.Errorf("-shard %w", err)
	}
	return nil
}

// parseSize reads "5GB", "500MB", "20kB" or a number of bytes; nothing is 0.
func parseSize(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	number, unit := s, 1
	for _, u := range []struct {
		suffix string
		bytes  int
	}{{"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}} {
		if len(s) > 2 && strings.EqualFold(s[len(s)-2:], u.suffix) {
			number, unit = s[:len(s)-2], u.bytes
		}
	}
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil || n < 1 || n > 1<<40 {
		return 0, fmt.Errorf("%s: it must be a size such as 500MB or 5GB", s)
	}
	return n * unit, nil
}

// run converts without holding more than a block of the weights in memory.
func (c *convertCommand) run() error {
	family, err := aimv2.FamilyOf(c.format)
	if err != nil {
		return err
	}
	limit, err := parseSize(c.shard)
	if err != nil {
		return err
	}
	src, err := locate(c.from)
	if err != nil {
		return err
	}
	ckpt, err := aimv2.OpenCheckpoint(src)
	if err != nil {
		return unfinished(err, src)
	}
	defer ckpt.Close()
	written, left, err := ckpt.Convert(c.to, family, c.dtype, limit)
	if err != nil {
		return err
	}
	for _, path := range written {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		fmt.Printf("%s: %s\n", path, amount(info.Size()))
	}
	if len(left) > 0 {
		complain(fmt.Errorf("%d tensors of the decoder are left out: %s has no names for it", len(left), c.format))
	}
	return nil
}

package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v3"

	"fuerte/aimv2"
	"fuerte/nn"
	"fuerte/nn/atomicfile"
	"fuerte/nn/npy"
	"fuerte/nn/safetensors"
	"fuerte/tensor"
)

type embedCommand struct {
	images  []string
	model   string
	out     string
	pool    string
	profile profileOptions
}

func (c *embedCommand) describe() *cli.Command {
	return &cli.Command{
		Name:        "embed",
		Usage:       "Write the features of pictures to a file.",
		Description: "A .safetensors file gets one tensor for each picture under its name, a .npy file one array.",
		Arguments:   imageArguments(&c.images),
		Flags: append([]cli.Flag{
			modelFlag(&c.model),
			&cli.StringFlag{Name: "out", Destination: &c.out, Value: "features.safetensors", Usage: "write `FILE`, a .safetensors or .npy file"},
			&cli.StringFlag{Name: "pool", Destination: &c.pool, Value: "mean", Usage: "`HOW` to pool: mean gives one vector for a picture, head that of a LiT model's attention, none one for each patch"},
		}, c.profile.flags()...),
	}
}

func (c *embedCommand) check(*cli.Command) error {
	if len(c.images) == 0 {
		return errNoImage
	}
	if ext := filepath.Ext(c.out); ext != ".npy" && ext != ".safetensors" {
		return fmt.Errorf("-out %s: the name must end in .npy or .safetensors", c.out)
	}
	if !slices.Contains([]string{"mean", "head", "none"}, c.pool) {
		return fmt.Errorf("-pool %s: it must be mean, head or none", c.pool)
	}
	return nil
}

// pooled returns what is written of the features [1, N, D] of a picture.
func (c *embedCommand) pooled(v vision, features *tensor.Tensor) *tensor.Tensor {
	switch c.pool {
	case "mean":
		pooled := aimv2.MeanPool(features)
		defer pooled.Release()
		return pooled.Index(0, 0)
	case "head":
		tape := v.tape()
		defer tape.Reset()
		return v.Head.Forward(tape.Input(features)).Value.Index(0, 0)
	}
	return features.Index(0, 0)
}

// run writes the features of all readable pictures to one file, whole or not at
// all, and prints the pictures in their order there.
func (c *embedCommand) run() error {
	v, err := loadVision(c.model)
	if err != nil {
		return err
	}
	if c.pool == "head" && v.Head == nil {
		return fmt.Errorf("-pool head: the model has no attention head, which LiT checkpoints have")
	}
	if v.watch, err = c.profile.start(); err != nil {
		return err
	}
	if v.watch != nil {
		for _, p := range nn.Params(v.Encoder) {
			v.watch.Name(p.Var, p.Name)
		}
	}
	err = c.embed(v)
	if failure := c.profile.finish(""); failure != nil {
		complain(failure)
		return failed
	}
	return err
}

// embed is run with a model, under the eyes of v.watch or nobody's.
func (c *embedCommand) embed(v vision) error {
	var err error
	byName := filepath.Ext(c.out) == ".safetensors"
	var names []string
	var tensors []safetensors.Tensor
	var shape []int // of one picture
	sizes := ""
	var all []float32
	bad := eachPicture(v, c.images, func(file string, features *tensor.Tensor) error {
		if byName {
			switch {
			case slices.Contains(names, file):
				return nil // named twice, written once
			case !utf8.ValidString(file) || file == "__metadata__":
				return fmt.Errorf("%q cannot be the name of a tensor", file)
			}
		}
		v.watch.Enter("pool", -1)
		x := c.pooled(v, features)
		v.watch.Leave()
		defer x.Release()
		if err := v.watch.Err(); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		data := slices.Clone(tensor.Data[float32](x))
		if !byName && shape != nil && !slices.Equal(shape, x.Shape()) {
			return fmt.Errorf("%s has %v features, the pictures before it %v: an array has room for one size, a .safetensors file for all", file, x.Shape(), shape)
		}
		shape = slices.Clone(x.Shape())
		if s := strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", "×"), "[]"); sizes == "" || sizes == s {
			sizes = s
		} else {
			sizes = "various" // of a native encoder
		}
		names = append(names, file)
		if byName {
			tensors = append(tensors, safetensors.FromFloat32s(file, "F32", shape, data))
		} else {
			all = append(all, data...)
		}
		return nil
	})
	if bad != nil && !errors.Is(bad, failed) {
		return bad
	}
	if len(names) == 0 {
		return bad
	}
	if byName {
		err = safetensors.Write(c.out, map[string]string{"pool": c.pool}, tensors)
	} else {
		err = atomicfile.WriteFileAtomic(c.out, func(w io.Writer) error {
			return npy.Write(w, append([]int{len(names)}, shape...), all)
		})
	}
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d × %s float32\n", c.out, len(names), sizes)
	for i, name := range names {
		fmt.Printf("%d\t%s\n", i, name)
	}
	return bad
}

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
	"fuerte/autograd/profile"
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
			&cli.StringFlag{Name: "pool", Destination: &c.pool, Value: "mean", Usage: "`HOW` to pool: mean gives one vector for a picture, none one for each patch"},
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
	if c.pool != "mean" && c.pool != "none" {
		return fmt.Errorf("-pool %s: it must be mean or none", c.pool)
	}
	return nil
}

// run writes the features of all readable pictures to one file, whole or not at
// all, and prints the pictures in their order there.
func (c *embedCommand) run() error {
	m, _, err := loadModel(c.model)
	if err != nil {
		return err
	}
	watch, err := c.profile.start()
	if err != nil {
		return err
	}
	if watch != nil {
		m.Observer = watch
		for _, v := range m.Params() {
			watch.Name(v.Var, v.Name)
		}
	}
	err = c.embed(m, watch)
	if failure := c.profile.finish(""); failure != nil {
		complain(failure)
		return failed
	}
	return err
}

// embed is run with a model, under the eyes of watch or nobody's.
func (c *embedCommand) embed(m *aimv2.Model, watch *profile.Profiler) error {
	var err error
	byName := filepath.Ext(c.out) == ".safetensors"
	var names []string
	var tensors []safetensors.Tensor
	var shape []int // of one picture
	var all []float32
	bad := eachImage(m.Config, c.images, func(file string, image []float32) error {
		watch.BeginStep(len(names))
		features := m.Features(image)
		watch.EndStep()
		defer features.Release()
		if err := watch.Err(); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if byName {
			switch {
			case slices.Contains(names, file):
				return nil // named twice, written once
			case !utf8.ValidString(file) || file == "__metadata__":
				return fmt.Errorf("%q cannot be the name of a tensor", file)
			}
		}
		x := features.Index(0, 0)
		if c.pool == "mean" {
			x.Release()
			pooled := aimv2.MeanPool(features)
			x = pooled.Index(0, 0)
			pooled.Release()
		}
		data := slices.Clone(tensor.Data[float32](x))
		shape = slices.Clone(x.Shape())
		x.Release()
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
	sizes := strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", "×"), "[]")
	fmt.Printf("%s: %d × %s float32\n", c.out, len(names), sizes)
	for i, name := range names {
		fmt.Printf("%d\t%s\n", i, name)
	}
	return bad
}

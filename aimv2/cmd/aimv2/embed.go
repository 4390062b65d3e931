package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"fuerte/aimv2"
	"fuerte/nn/atomicfile"
	"fuerte/nn/npy"
	"fuerte/nn/safetensors"
	"fuerte/tensor"
)

type embedCommand struct {
	Images []string `arg:"" name:"image" help:"Picture files: PNG, JPEG, GIF, WebP, BMP, TIFF; - is standard input."`
	Model  string   `placeholder:"DIR" help:"Folder with a model. Default: the built-in one."`
	Out    string   `placeholder:"FILE" default:"features.safetensors" help:"A .safetensors file, one tensor for each picture under its name, or a .npy file, one array with the pictures in order. Default: ${default}."`
	Pool   string   `enum:"mean,none" default:"mean" help:"mean: one vector for a picture; none: one for each patch. Default: ${default}."`
}

// Validate is called by kong; its errors are errors of usage.
func (c *embedCommand) Validate() error {
	if ext := filepath.Ext(c.Out); ext != ".npy" && ext != ".safetensors" {
		return fmt.Errorf("-out %s: the name must end in .npy or .safetensors", c.Out)
	}
	return nil
}

// Run writes the features of all readable pictures to one file, whole or not at
// all, and prints the pictures in their order there.
func (c *embedCommand) Run() error {
	m, _, err := loadModel(c.Model)
	if err != nil {
		return err
	}
	byName := filepath.Ext(c.Out) == ".safetensors"
	var names []string
	var tensors []safetensors.Tensor
	var shape []int // of one picture
	var all []float32
	bad := eachPicture(m, c.Images, func(file string, features *tensor.Tensor) error {
		if byName {
			switch {
			case slices.Contains(names, file):
				return nil // named twice, written once
			case !utf8.ValidString(file) || file == "__metadata__":
				return fmt.Errorf("%q cannot be the name of a tensor", file)
			}
		}
		x := features.Index(0, 0)
		if c.Pool == "mean" {
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
		err = safetensors.Write(c.Out, map[string]string{"pool": c.Pool}, tensors)
	} else {
		err = atomicfile.WriteFileAtomic(c.Out, func(w io.Writer) error {
			return npy.Write(w, append([]int{len(names)}, shape...), all)
		})
	}
	if err != nil {
		return err
	}
	sizes := strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", "×"), "[]")
	fmt.Printf("%s: %d × %s float32\n", c.Out, len(names), sizes)
	for i, name := range names {
		fmt.Printf("%d\t%s\n", i, name)
	}
	return bad
}

package nn

import (
	"errors"
	"fmt"
	"slices"

	"fuerte/nn/safetensors"
	"fuerte/tensor"
)

// Save writes parameters as a safetensors file, in dtype "F32", "BF16" or "F16"
// (rounded to nearest even). The file appears whole or not at all.
func Save(path, dtype string, metadata map[string]string, ps []Named) error {
	var hosts []*tensor.Tensor
	defer func() {
		for _, h := range hosts {
			h.Release()
		}
	}()
	ts := make([]safetensors.Tensor, len(ps))
	for i, p := range ps {
		h := p.Value.To(tensor.CPU)
		hosts = append(hosts, h)
		ts[i] = safetensors.FromFloat32s(p.Name, dtype, slices.Clone(p.Shape()), tensor.Data[float32](h))
	}
	return safetensors.Write(path, metadata, ts)
}

// Load fills parameters from a safetensors file of any floating dtype and
// returns its metadata. It is strict: every parameter must be there with its
// shape, and nothing else.
//
// Errors: one that names every missing, unexpected and misshapen tensor; the
// parameters are then as they were.
func Load(path string, ps []Named) (map[string]string, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return LoadFrom(f, ps)
}

// LoadFrom is Load from an open file, which stays open.
func LoadFrom(f *safetensors.File, ps []Named) (map[string]string, error) {
	var wrong []error
	known := map[string]bool{}
	for _, p := range ps {
		known[p.Name] = true
		switch info, ok := f.Info(p.Name); {
		case !ok:
			wrong = append(wrong, fmt.Errorf("missing %s %v", p.Name, p.Shape()))
		case !slices.Equal(info.Shape, p.Shape()):
			wrong = append(wrong, fmt.Errorf("%s has shape %v, not %v", p.Name, info.Shape, p.Shape()))
		}
	}
	for _, name := range f.Names() {
		if !known[name] {
			wrong = append(wrong, fmt.Errorf("unexpected %s", name))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, fmt.Errorf("%s does not fit the model:\n%w", f.Path(), err)
	}
	staged := make([]*tensor.Tensor, len(ps))
	for i, p := range ps {
		h := tensor.New(tensor.CPU, tensor.Float32, p.Shape()...)
		if err := f.Float32s(p.Name, tensor.Data[float32](h)); err != nil {
			return nil, err
		}
		staged[i] = h
	}
	for i, p := range ps {
		d := staged[i].To(p.Value.Device())
		tensor.Copy(p.Value, d)
		d.Release()
		staged[i].Release()
	}
	return f.Metadata(), nil
}

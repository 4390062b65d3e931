package aimv2

import (
	"fmt"
	"math"
	"slices"

	"fuerte/tensor"
)

// InterpolatePositions returns a position table [1, h2·w2, D] for another grid,
// made from one [1, h·w, D] by bicubic interpolation: the grids cover the same
// square, a position stands at the middle of its cell, and rows outside are those
// of the edge. A table of the same grid is copied.
//
// It is an extension: neither the paper nor the released code says how a table
// becomes that of another resolution. The weights are those of
// torch.nn.functional.interpolate(mode="bicubic", align_corners=False), which
// vision transformers are usually resized by: a cubic convolution of a = −3/4,
// without antialiasing.
//
// Errors: to 1e-6 of the largest value of the table.
// Panics: *tensor.ShapeError if the table is not [1, h·w, D] float32.
func InterpolatePositions(table *tensor.Tensor, h, w, h2, w2 int) *tensor.Tensor {
	shape := table.Shape()
	if len(shape) != 3 || shape[0] != 1 || shape[1] != h*w || table.DType() != tensor.Float32 || min(h, w, h2, w2) < 1 {
		panic(&tensor.ShapeError{Op: "interpolate positions", Shapes: [][]int{shape, {h, w}, {h2, w2}}, Rule: fmt.Sprintf("a float32 table is [1, %d, D]", h*w)})
	}
	d := shape[2]
	host := table.To(tensor.CPU)
	defer host.Release()
	compact := host.Compact()
	defer compact.Release()
	in := tensor.Data[float32](compact)
	out := make([]float32, h2*w2*d)
	rows, columns := cubicTaps(h, h2), cubicTaps(w, w2)
	sum := make([]float64, d)
	for y, row := range rows {
		for x, column := range columns {
			clear(sum)
			for _, a := range row {
				for _, b := range column {
					weight := a.weight * b.weight
					for j, v := range in[(a.at*w+b.at)*d:][:d] {
						sum[j] += weight * float64(v)
					}
				}
			}
			for j, v := range sum {
				out[(y*w2+x)*d+j] = float32(v)
			}
		}
	}
	return tensor.From(table.Device(), out, 1, h2*w2, d)
}

// tap is an input of an interpolated value.
type tap struct {
	at     int
	weight float64
}

// cubicTaps returns the four inputs of each of m outputs along n inputs. Output i
// stands at (i + ½)·n/m − ½.
//
// Source: Keys 1981, "Cubic convolution interpolation for digital image
// processing", eq. 15 for a general a.
func cubicTaps(n, m int) [][4]tap {
	const a = -0.75
	kernel := func(x float64) float64 {
		switch x = math.Abs(x); {
		case x <= 1:
			return ((a+2)*x-(a+3))*x*x + 1
		case x < 2:
			return ((a*x-5*a)*x+8*a)*x - 4*a
		}
		return 0
	}
	taps := make([][4]tap, m)
	for i := range taps {
		at := (float64(i)+0.5)*float64(n)/float64(m) - 0.5
		first := int(math.Floor(at)) - 1
		for j := range 4 {
			taps[i][j] = tap{min(max(first+j, 0), n-1), kernel(at - float64(first+j))}
		}
	}
	return taps
}

// StartFrom sets the weights of a fresh run to those of a model, whose grid of
// patches may be another: the position table is then interpolated.
//
// Errors: a parameter that the model lacks or has in another shape.
func (t *Trainer) StartFrom(m *Model) error {
	if t.Step > 0 {
		return fmt.Errorf("aimv2: the run is at step %d, its weights are its own", t.Step)
	}
	from := map[string]*Var{}
	for _, p := range m.Params() {
		from[p.Name] = p.Var
	}
	grid := func(c Config) int { return c.ImageSize / c.PatchSize }
	before, after := grid(m.Config), grid(t.Recipe.Model)
	for _, p := range t.Model.Params() {
		v, ok := from[p.Name]
		if !ok {
			return fmt.Errorf("aimv2: the model to start from has no %s", p.Name)
		}
		value := v.Value.Retain()
		if v == m.Encoder.Preprocessor.PosEmbed && before != after {
			value.Release()
			value = InterpolatePositions(v.Value, before, before, after, after)
		}
		if !slices.Equal(value.Shape(), p.Shape()) {
			return fmt.Errorf("aimv2: the model to start from has %s as %v, this run as %v", p.Name, value.Shape(), p.Shape())
		}
		tensor.Copy(p.Value, value)
		value.Release()
	}
	return nil
}

package aimv2

import (
	"math"

	"fuerte/tensor"
)

// InterpolatePositions resamples the positions of a square grid of patches to a
// grid of h×w by bicubic interpolation, so that the encoder takes images of that
// size: the grids cover the same picture, a position stands at the middle of its
// patch, and positions outside are those of the edge.
//
// It is an extension: neither the paper nor the released code says how a table
// becomes that of another resolution. The weights are those of
// torch.nn.functional.interpolate(mode="bicubic", align_corners=False), which
// vision transformers are usually resized by: a cubic convolution of a = −3/4,
// without antialiasing.
//
// Error: to 1e-6 of the largest value of the table.
// Panics: *tensor.ShapeError if the table is no square or the grid has no patch.
func (e *Encoder) InterpolatePositions(h, w int) {
	table := e.Preprocessor.PosEmbed
	n, d := table.Shape()[1], table.Shape()[2]
	side := int(math.Sqrt(float64(n)))
	if side*side != n || h < 1 || w < 1 {
		panic(&tensor.ShapeError{Op: "interpolate positions", Shapes: [][]int{table.Shape(), {h, w}}, Rule: "a square table and at least one patch are needed"})
	}
	host := table.Value.To(tensor.CPU)
	in := tensor.Data[float32](host)
	out := make([]float32, h*w*d)
	rows, columns := cubicTaps(side, h), cubicTaps(side, w)
	sum := make([]float64, d)
	for y, row := range rows {
		for x, column := range columns {
			clear(sum)
			for _, a := range row {
				for _, b := range column {
					weight := a.weight * b.weight
					for j, v := range in[(a.at*side+b.at)*d:][:d] {
						sum[j] += weight * float64(v)
					}
				}
			}
			for j, v := range sum {
				out[(y*w+x)*d+j] = float32(v)
			}
		}
	}
	host.Release()
	old := table.Value
	table.Value = tensor.From(old.Device(), out, 1, h*w, d)
	old.Release()
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

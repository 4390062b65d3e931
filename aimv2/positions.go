package aimv2

import (
	"math"

	"fuerte/tensor"
)

// SinCosPositions returns the positions that native-resolution encoders compute
// for a grid of h×w patches, float32 [1, h·w, d]. With ω_k = 10000^(−4k/d),
// k < d/4, the patch in row r and column c gets
//
//	[ sin(c·ω) | cos(c·ω) | sin(r·ω) | cos(r·ω) ]
//
// The column stands first: ml-aim's names say otherwise, its weights do not.
//
// Panics: *tensor.ShapeError if 4 does not divide d.
func SinCosPositions(dev *tensor.Device, h, w, d int) *tensor.Tensor {
	if d%4 != 0 {
		panic(&tensor.ShapeError{Op: "positions", Shapes: [][]int{{h, w, d}}, Rule: "4 does not divide the width"})
	}
	// Half a row for every place along one axis; each is used for many patches.
	half := make([]float32, max(h, w)*d/2)
	for i := range max(h, w) {
		for k := range d / 4 {
			sin, cos := math.Sincos(float64(i) * math.Pow(10000, -4*float64(k)/float64(d)))
			half[i*d/2+k], half[i*d/2+d/4+k] = float32(sin), float32(cos)
		}
	}
	out := make([]float32, 0, h*w*d)
	for r := range h {
		for c := range w {
			out = append(out, half[c*d/2:(c+1)*d/2]...)
			out = append(out, half[r*d/2:(r+1)*d/2]...)
		}
	}
	return tensor.From(dev, out, 1, h*w, d)
}

// InterpolatePositions resamples the learned positions to a grid of h×w patches,
// so that the encoder takes images of that size. It is an extension: neither
// ml-aim nor transformers has it, and no published number was made with it. The
// cubic convolution is that of PyTorch's interpolate(mode="bicubic",
// align_corners=False), a = −3/4, edges repeated, no filter before shrinking.
//
// Panics: *tensor.ShapeError for an encoder that computes its positions, and for
// an empty grid.
// Source: Keys 1981, "Cubic convolution interpolation for digital image processing".
func (e *Encoder) InterpolatePositions(h, w int) {
	pos := e.Preprocessor.PosEmbed
	if pos == nil || h < 1 || w < 1 {
		panic(&tensor.ShapeError{Op: "interpolate positions", Shapes: [][]int{{h, w}}, Rule: "a learned table and at least one patch are needed"})
	}
	if e.grid == [2]int{h, w} {
		return
	}
	d := pos.Shape()[2]
	host := pos.Value.To(tensor.CPU)
	in := tensor.Data[float32](host)
	out := make([]float32, h*w*d)
	rows, cols := cubicTaps(e.grid[0], h), cubicTaps(e.grid[1], w)
	for r, tr := range rows {
		for c, tc := range cols {
			dst := out[(r*w+c)*d:][:d]
			for _, y := range tr {
				for _, x := range tc {
					weight := float32(y.weight * x.weight)
					for k, v := range in[(y.at*e.grid[1]+x.at)*d:][:d] {
						dst[k] += weight * v
					}
				}
			}
		}
	}
	host.Release()
	old := pos.Value
	pos.Value = tensor.From(old.Device(), out, 1, h*w, d)
	pos.ZeroGrad()
	old.Release()
	e.grid = [2]int{h, w}
}

// tap is a source index and its share in a resampled value.
type tap struct {
	at     int
	weight float64
}

// cubicTaps returns for each of m places along an axis of n values the four that
// it is made of.
func cubicTaps(n, m int) [][4]tap {
	const a = -0.75
	taps := make([][4]tap, m)
	for i := range taps {
		x := (float64(i)+0.5)*float64(n)/float64(m) - 0.5
		first := math.Floor(x)
		f := x - first
		near := func(t float64) float64 { return ((a+2)*t-(a+3))*t*t + 1 }  // t ≤ 1
		far := func(t float64) float64 { return ((a*t-5*a)*t+8*a)*t - 4*a } // 1 ≤ t ≤ 2
		for j, weight := range [4]float64{far(1 + f), near(f), near(1 - f), far(2 - f)} {
			taps[i][j] = tap{min(max(int(first)-1+j, 0), n-1), weight}
		}
	}
	return taps
}

package aimv2

import (
	"fmt"
	"image"
	"math"

	"fuerte/aimv2/dataset"
	"fuerte/tensor"
)

// featureBatch is how many images the encoder takes at a time.
const featureBatch = 64

// ExtractFeatures returns the encoder's features of every picture of a source,
// float32 [n, N, D] on the CPU.
//
// Errors: a picture that cannot be read.
func (m *Model) ExtractFeatures(src dataset.Source) (*tensor.Tensor, error) {
	c := m.Config
	out := tensor.New(tensor.CPU, tensor.Float32, src.Len(), c.Tokens(), c.Encoder.Width)
	for lo := 0; lo < src.Len(); lo += featureBatch {
		n := min(featureBatch, src.Len()-lo)
		images, err := EvalImages(c, n, func(i int) (image.Image, error) { return src.Image(lo + i) })
		if err != nil {
			return nil, err
		}
		f := m.Features(images)
		host := f.To(tensor.CPU)
		part := out.Narrow(0, lo, n)
		tensor.Copy(part, host)
		for _, t := range []*tensor.Tensor{f, host, part} {
			t.Release()
		}
	}
	return out, nil
}

// RawPixels returns every picture of a source on white, resized to side×side, as
// float32 [n, 3·side·side] in [0, 1]: the features of the pixel baseline.
func RawPixels(src dataset.Source, side int) (*tensor.Tensor, error) {
	c := Config{ImageSize: side}
	images, err := EvalImages(c, src.Len(), src.Image)
	if err != nil {
		return nil, err
	}
	plane := side * side
	for i := range images { // undo the normalisation
		ch := i / plane % 3
		images[i] = images[i]*Norm.Std[ch] + Norm.Mean[ch]
	}
	return tensor.From(tensor.CPU, images, src.Len(), 3*plane), nil
}

// MeanPool averages features [n, N, D] over the patches: [n, D].
func MeanPool(features *tensor.Tensor) *tensor.Tensor { return tensor.Mean(features, false, 1) }

// normEps is added to a variance before its root, as by the released probes.
const normEps = 1e-6

// moments returns mean and variance (of divisor n) of every channel of x, the
// last axis, over its rows: [D] each.
func moments(x *tensor.Tensor) (mean, variance *tensor.Tensor) {
	rows := x.Reshape(-1, x.Dim(-1))
	defer rows.Release()
	mean = tensor.Mean(rows, false, 0)
	centred := tensor.Sub(rows, mean)
	defer centred.Release()
	square := tensor.Mul(centred, centred)
	defer square.Release()
	return mean, tensor.Mean(square, false, 0)
}

// normalise returns (x − mean)/√(variance + 1e-6), channel by channel.
func normalise(x, mean, variance *tensor.Tensor) *tensor.Tensor {
	shifted, above := tensor.Sub(x, mean), tensor.AddScalar(variance, normEps)
	defer shifted.Release()
	defer above.Release()
	deviation := tensor.Sqrt(above)
	defer deviation.Release()
	return tensor.Div(shifted, deviation)
}

// Standardise shifts and scales every channel (the last axis) of xs, in place, to
// mean 0 and variance 1 over the rows of train: a batch norm without parameters
// that has seen the whole training set.
func Standardise(train *tensor.Tensor, xs ...*tensor.Tensor) {
	mean, variance := moments(train)
	defer mean.Release()
	defer variance.Release()
	for _, x := range xs {
		y := normalise(x, mean, variance)
		tensor.Copy(x, y)
		y.Release()
	}
}

// Neighbours tells how KNN compares.
type Neighbours struct {
	K           int
	Cosine      bool    // else Euclidean distance
	Temperature float64 // votes weigh e^(similarity/temperature); 0: all the same
}

// KNN labels every query [m, D] by the votes of its K nearest training vectors
// [n, D]; ties go to the nearest neighbour's class.
func KNN(train *tensor.Tensor, labels []int32, classes int, query *tensor.Tensor, how Neighbours) []int32 {
	a, b := train, query
	if how.Cosine {
		a, b = unitRows(train), unitRows(query)
		defer a.Release()
		defer b.Release()
	}
	norms := make([]float32, a.Dim(0))
	if !how.Cosine {
		for i := range norms {
			row := a.Index(0, i)
			norms[i] = float32(tensor.SumSquares(row))
			row.Release()
		}
	}
	out := make([]int32, b.Dim(0))
	at := a.Transpose(0, 1)
	defer at.Release()
	for lo := 0; lo < b.Dim(0); lo += featureBatch {
		part := b.Narrow(0, lo, min(featureBatch, b.Dim(0)-lo))
		dots := tensor.MatMul(part, at)
		scores := tensor.Data[float32](dots)
		n := a.Dim(0)
		for i := range part.Dim(0) {
			row := scores[i*n : (i+1)*n]
			for j := range row { // −‖q−t‖² up to ‖q‖², or the cosine itself
				if !how.Cosine {
					row[j] = 2*row[j] - norms[j]
				}
			}
			out[lo+i] = vote(row, labels, classes, how)
		}
		part.Release()
		dots.Release()
	}
	return out
}

func vote(scores []float32, labels []int32, classes int, how Neighbours) int32 {
	type hit struct {
		score float32
		label int32
	}
	best := make([]hit, 0, how.K+1)
	for j, s := range scores {
		if len(best) == how.K && s <= best[how.K-1].score {
			continue
		}
		i := len(best)
		best = append(best, hit{})
		for ; i > 0 && best[i-1].score < s; i-- {
			best[i] = best[i-1]
		}
		best[i] = hit{s, labels[j]}
		best = best[:min(len(best), how.K)]
	}
	votes := make([]float64, classes)
	for _, h := range best {
		w := 1.0
		if how.Temperature > 0 {
			w = math.Exp(float64(h.score-best[0].score) / how.Temperature)
		}
		votes[h.label] += w
	}
	winner := best[0].label
	for c, v := range votes {
		if v > votes[winner] {
			winner = int32(c)
		}
	}
	return winner
}

// unitRows returns the rows of x [n, D] at length 1.
func unitRows(x *tensor.Tensor) *tensor.Tensor {
	square := tensor.Mul(x, x)
	defer square.Release()
	sum := tensor.Sum(square, true, -1)
	defer sum.Release()
	above := tensor.AddScalar(sum, 1e-12)
	defer above.Release()
	length := tensor.Sqrt(above)
	defer length.Release()
	return tensor.Div(x, length)
}

// Labels numbers the values of a field over a source, in order of appearance;
// known carries the numbering from the training split to the others. Errors: a
// value that known lacks, unless known is empty.
func Labels(src dataset.Source, field func(dataset.Record) string, known map[string]int32) ([]int32, error) {
	grow := len(known) == 0
	out := make([]int32, src.Len())
	for i := range out {
		v := field(src.Record(i))
		id, ok := known[v]
		if !ok {
			if !grow {
				return nil, fmt.Errorf("aimv2: picture %s has the class %q, which the training split lacks", src.Record(i).Name, v)
			}
			id = int32(len(known))
			known[v] = id
		}
		out[i] = id
	}
	return out, nil
}

package aimv2

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"

	"fuerte/aimv2/dataset"
	"fuerte/autograd"
	"fuerte/nn"
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

// Standardise shifts and scales every channel (the last axis) of x, in place, to
// mean 0 and variance 1 over the rows of train: a batch norm without parameters
// that has seen the whole training set.
func Standardise(train *tensor.Tensor, xs ...*tensor.Tensor) {
	d := train.Dim(-1)
	rows := train.Reshape(-1, d)
	mean := tensor.Mean(rows, false, 0)
	centred := tensor.Sub(rows, mean)
	square := tensor.Mul(centred, centred)
	variance := tensor.Mean(square, false, 0)
	rstd := tensor.New(tensor.CPU, tensor.Float32, d)
	for i, v := range tensor.Data[float32](variance) {
		tensor.Data[float32](rstd)[i] = float32(1 / math.Sqrt(float64(v)+1e-6))
	}
	for _, t := range []*tensor.Tensor{rows, centred, square, variance} {
		t.Release()
	}
	for _, x := range xs {
		shifted := tensor.Sub(x, mean)
		scaled := tensor.Mul(shifted, rstd)
		tensor.Copy(x, scaled)
		shifted.Release()
		scaled.Release()
	}
	mean.Release()
	rstd.Release()
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

func unitRows(x *tensor.Tensor) *tensor.Tensor {
	sq := tensor.Mul(x, x)
	n := tensor.Sqrt(tensor.AddScalar(tensor.Sum(sq, true, -1), 1e-12))
	return tensor.Div(x, n)
}

// AttentiveProbe classifies frozen features through one learned query:
// Linear(softmax(q·K(x)ᵀ/√dh)·V(x)).
//
// Shapes: features [B, N, D]; Query [1, 1, D]; Key, Value [D, D]; Head [C, D].
// Source: the released AIM probe (CoCa's attention pooling), whose batch norm
// without parameters Standardise stands for.
type AttentiveProbe struct {
	Query *Var       `param:"cls_token"`
	Key   *nn.Linear `param:"k"`
	Value *nn.Linear `param:"v"`
	Head  *nn.Linear `param:"linear"`
	heads int
}

// ProbeRecipe is how a probe is trained.
type ProbeRecipe struct {
	Epochs, Batch int
	Peak, Decay   float64 // decay as in torch's AdamW: times the learning rate
	Seed          uint64
}

// DefaultProbe is the published optimiser (AdamW 0.9/0.999, cosine to 1e-5,
// clip 3) at a size that fits some thousand pictures.
var DefaultProbe = ProbeRecipe{Epochs: 20, Batch: 256, Peak: 1e-3, Decay: 0.1, Seed: 1}

// TrainProbe fits a probe to features [n, N, D] with labels in [0, classes).
func TrainProbe(features *tensor.Tensor, labels []int32, classes, heads int, r ProbeRecipe) *AttentiveProbe {
	d := features.Dim(2)
	p := &AttentiveProbe{
		Query: nn.NewParam(tensor.CPU, 1, 1, d), Key: nn.NewLinear(tensor.CPU, d, d, false),
		Value: nn.NewLinear(tensor.CPU, d, d, false), Head: nn.NewLinear(tensor.CPU, d, classes, true), heads: heads,
	}
	nn.Normal(p.Query, nn.Rand(r.Seed, "cls_token"), 0.02)
	for _, l := range []struct {
		name string
		*nn.Linear
	}{{"k", p.Key}, {"v", p.Value}, {"linear", p.Head}} {
		nn.XavierUniform(l.Weight, nn.Rand(r.Seed, l.name))
	}
	n := features.Dim(0)
	batch := min(r.Batch, n)
	steps := r.Epochs * (n / batch)
	opt := nn.NewAdamW(nn.Params(p), r.Peak, 0.9, 0.999, 1e-8, r.Decay*r.Peak, []string{"*bias*", "*cls_token*"})
	schedule := nn.WarmupCosine{Peak: r.Peak, Floor: 1e-5, Total: steps}
	tape := autograd.NewTape()
	var order []int
	for step := range steps {
		if step%(n/batch) == 0 {
			order = rand.New(rand.NewPCG(r.Seed, uint64(step))).Perm(n)
		}
		at := step % (n / batch) * batch
		id, target := make([]int32, batch), make([]int32, batch)
		for i := range batch {
			id[i], target[i] = int32(order[at+i]), labels[order[at+i]]
		}
		ids := tensor.From(tensor.CPU, id, batch)
		x := tensor.Gather(features, ids)
		y := tensor.From(tensor.CPU, target, batch)
		loss := autograd.Mean(autograd.CrossEntropy(p.forward(tape.Input(x)), tape.Input(y)), false)
		tape.Backward(loss)
		loss.Value.Release()
		opt.Step(schedule.At(step), 3)
		for _, t := range []*tensor.Tensor{ids, x, y} {
			t.Release()
		}
	}
	return p
}

// forward returns the logits [B, C].
func (p *AttentiveProbe) forward(x *Var) *Var {
	b, n, d := x.Shape()[0], x.Shape()[1], x.Shape()[2]
	split := func(v *Var, t int) *Var { return autograd.Reshape(v, b, t, p.heads, d/p.heads) }
	q := autograd.Expand(x.Watch(p.Query), b, 1, d)
	o := autograd.Attention(split(q, 1), split(p.Key.Forward(x), n), split(p.Value.Forward(x), n), tensor.NoMask, nil)
	return p.Head.Forward(autograd.Reshape(o, b, d))
}

// Predict returns the most probable class of every feature map [n, N, D].
func (p *AttentiveProbe) Predict(features *tensor.Tensor) []int32 {
	out := make([]int32, features.Dim(0))
	for lo := 0; lo < len(out); lo += featureBatch {
		part := features.Narrow(0, lo, min(featureBatch, len(out)-lo))
		tape := autograd.NewInferenceTape()
		best := tensor.ArgMax(p.forward(tape.Input(part)).Value, 1)
		copy(out[lo:], tensor.Data[int32](best))
		best.Release()
		tape.Reset()
		part.Release()
	}
	return out
}

// Accuracy returns the share of equal labels.
func Accuracy(got, want []int32) float64 {
	if len(want) == 0 {
		return math.NaN()
	}
	n := 0
	for i := range want {
		if got[i] == want[i] {
			n++
		}
	}
	return float64(n) / float64(len(want))
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

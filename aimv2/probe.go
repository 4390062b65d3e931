package aimv2

import (
	"math/rand/v2"
	"slices"

	"fuerte/aimv2/dataset"
	"fuerte/aimv2/preprocess"
	"fuerte/autograd"
	"fuerte/kernels"
	"fuerte/nn"
	"fuerte/tensor"
)

// ProbeKind is a way to classify frozen features.
type ProbeKind int

const (
	// Attentive pools the patches by attention and classifies the result:
	// AttentionPool.
	Attentive ProbeKind = iota
	// Linear classifies the mean of the patches: LinearHead.
	Linear
)

// input returns what a kind sees of features [B, N, D], to be released.
func (k ProbeKind) input(features *tensor.Tensor) *tensor.Tensor {
	if k == Linear {
		return MeanPool(features)
	}
	return features.Narrow(0, 0, features.Dim(0))
}

// LinearHead classifies pooled features [B, D] by a map and a bias.
type LinearHead struct {
	Head *nn.Linear `param:"linear"`
}

// Forward returns the logits.
func (p *LinearHead) Forward(x *Var) *Var { return p.Head.Forward(x) }

// batchNorm is a batch norm without parameters over the channels of its input:
// by the moments of the batch in training, by their running means after it.
//
// Source: Ioffe & Szegedy 2015, arXiv:1502.03167; the momentum of 0.1 and the
// unbiased running variance are torch's.
type batchNorm struct {
	mean, variance *tensor.Tensor // running, [D]
}

func newBatchNorm(width int) *batchNorm {
	return &batchNorm{tensor.Zeros(tensor.CPU, tensor.Float32, width), tensor.Full(tensor.CPU, tensor.Float32, 1, width)}
}

// train normalises a batch by its own moments and learns them.
func (n *batchNorm) train(x *tensor.Tensor) *tensor.Tensor {
	const momentum = 0.1
	mean, variance := moments(x)
	defer mean.Release()
	defer variance.Release()
	rows := x.Len() / x.Dim(-1)
	unbiased := float32(rows) / float32(max(1, rows-1))
	running, runningVariance := tensor.Data[float32](n.mean), tensor.Data[float32](n.variance)
	for i, v := range tensor.Data[float32](mean) {
		running[i] += momentum * (v - running[i])
	}
	for i, v := range tensor.Data[float32](variance) {
		runningVariance[i] += momentum * (v*unbiased - runningVariance[i])
	}
	return normalise(x, mean, variance)
}

// Probe is a classifier of frozen features, one point of a sweep.
type Probe struct {
	Kind        ProbeKind
	Peak, Decay float64 // of its training
	head        interface{ Forward(x *Var) *Var }
	norm        *batchNorm // nil: without
	opt         *nn.AdamW
	tape        *autograd.Tape
}

// newProbe draws a probe; all of one seed, kind and shape begin alike.
func newProbe(t ProbeTask, width, heads int, norm *batchNorm, peak, decay float64, seed uint64) *Probe {
	linear := func(name string, out int, bias bool) *nn.Linear {
		l := nn.NewLinear(tensor.CPU, width, out, bias)
		nn.XavierUniform(l.Weight, nn.Rand(seed, name))
		return l
	}
	p := &Probe{Kind: t.Kind, Peak: peak, Decay: decay, norm: norm, tape: autograd.NewTape()}
	if head := linear("linear", t.Classes, true); t.Kind == Linear {
		p.head = &LinearHead{head}
	} else {
		pool := &AttentionPool{Query: nn.NewParam(tensor.CPU, 1, 1, width), Key: linear("k", width, false), Value: linear("v", width, false), Out: head, heads: heads}
		nn.Normal(pool.Query, nn.Rand(seed, "cls_token"), 0.02)
		p.head = pool
	}
	// Torch's AdamW decays by the learning rate times the decay. (The grid of ml-l3m
	// decays the query and the bias, too, whatever it is told.)
	p.opt = nn.NewAdamW(nn.Params(p.head), peak, 0.9, 0.999, 1e-8, decay*peak, []string{"*bias*", "*cls_token*"})
	return p
}

// probeClip bounds the norm of a probe's gradient, as published. Each probe of a
// sweep is clipped by itself, so that it trains as it would alone.
const probeClip = 3

// step trains on a batch of normalised inputs at a learning rate and returns the
// loss.
func (p *Probe) step(x, labels *tensor.Tensor, rate float64) float64 {
	loss := autograd.Mean(autograd.CrossEntropy(p.head.Forward(p.tape.Input(x)), p.tape.Input(labels)), false)
	p.tape.Backward(loss)
	value := loss.Value.Item()
	loss.Value.Release()
	p.opt.Step(rate, probeClip)
	return value
}

// Predict returns the k most probable classes of every feature map [n, N, D],
// the most probable first; all of them, if there are fewer.
func (p *Probe) Predict(features *tensor.Tensor, k int) [][]int32 {
	out := make([][]int32, 0, features.Dim(0))
	for lo := 0; lo < features.Dim(0); lo += featureBatch {
		part := features.Narrow(0, lo, min(featureBatch, features.Dim(0)-lo))
		x := p.Kind.input(part)
		part.Release()
		if p.norm != nil {
			raw := x
			x = normalise(raw, p.norm.mean, p.norm.variance)
			raw.Release()
		}
		tape := autograd.NewInferenceTape()
		logits := p.head.Forward(tape.Input(x)).Value
		k := min(k, logits.Dim(1))
		values, best := tensor.TopK(logits, k)
		for row := range slices.Chunk(tensor.Data[int32](best), k) {
			out = append(out, slices.Clone(row))
		}
		values.Release()
		best.Release()
		tape.Reset()
		x.Release()
	}
	return out
}

// ProbeTask is what the probes of a sweep are to tell: the class of every
// training picture, in [0, Classes).
type ProbeTask struct {
	Kind    ProbeKind
	Labels  []int32
	Classes int
}

// ProbeRecipe is how the probes of a sweep are trained: AdamW of betas 0.9 and
// 0.999, a cosine down to 1e-5 and clipping at 3 as published, for each peak and
// each decay of the grid.
type ProbeRecipe struct {
	Epochs    int       `json:"epochs"`
	Warmup    int       `json:"warmup_epochs"` // from 1e-6 up
	Batch     int       `json:"batch"`
	Peaks     []float64 `json:"peak_lr"`
	Decays    []float64 `json:"weight_decay"` // as in torch's AdamW: times the learning rate
	BatchNorm bool      `json:"batch_norm"`   // on the features, without parameters
	Augment   bool      `json:"augment"`      // train on ProbeAugment of the pictures, not on their features as they are
	Seed      uint64    `json:"seed"`
}

// DefaultProbe fits some thousand pictures in a minute: the published optimiser
// at one point of its grid, on stored features.
var DefaultProbe = ProbeRecipe{Epochs: 20, Batch: 256, Peaks: []float64{1e-3}, Decays: []float64{0.1}, BatchNorm: true, Seed: 1}

// PublishedProbe is that of the paper for data sets smaller than ImageNet, which
// alone had batches of 1024 and 5 epochs of warm-up. Whether AIMv2's probe kept
// the batch norm of AIM's is not stated.
var PublishedProbe = ProbeRecipe{Epochs: 100, Batch: 512, Peaks: []float64{5e-5, 1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3},
	Decays: []float64{0.05, 0.1}, BatchNorm: true, Augment: true, Seed: 1}

// ProbeAugment is the published augmentation for probes: at least 8 % of the
// picture, mirrored half the time, RandAugment rand-m9-mstd0.5-inc1, then
// brightness, contrast and saturation changed by up to 0.3. (The library that the
// names are from, timm, leaves the last out beside RandAugment; the paper lists
// both.)
func ProbeAugment(size int) preprocess.Augment {
	a := preprocess.DefaultAugment(size, Norm)
	a.Scale[0] = 0.08
	a.Rand = preprocess.RandAugment{Layers: 2, Magnitude: 9, Std: 0.5}
	a.Colour, a.Jitter = 1, preprocess.Jitter{Brightness: 0.3, Contrast: 0.3, Saturation: 0.3}
	return a
}

// FeatureSource gives the features that probes train on.
type FeatureSource interface {
	Len() int
	Width() int
	// Batch returns the features [len(ids), N, D] of pictures as an epoch shows
	// them, to be released. Errors: a picture that cannot be read.
	Batch(epoch int, ids []int32) (*tensor.Tensor, error)
}

// StoredFeatures are the same in every epoch: [n, N, D] on the CPU.
type StoredFeatures struct{ Features *tensor.Tensor }

// Len is the number of pictures.
func (s StoredFeatures) Len() int { return s.Features.Dim(0) }

// Width is D.
func (s StoredFeatures) Width() int { return s.Features.Dim(2) }

// Batch gathers the features; it has no errors.
func (s StoredFeatures) Batch(_ int, ids []int32) (*tensor.Tensor, error) {
	at := tensor.From(tensor.CPU, ids, len(ids))
	defer at.Release()
	return tensor.Gather(s.Features, at), nil
}

// AugmentedFeatures runs the encoder on every picture of every epoch anew,
// changed as the seed, the epoch and the picture's number say.
type AugmentedFeatures struct {
	Model   *Model
	Source  dataset.Source
	Augment preprocess.Augment
	Seed    uint64
}

// Len is the number of pictures.
func (a AugmentedFeatures) Len() int { return a.Source.Len() }

// Width is D.
func (a AugmentedFeatures) Width() int { return a.Model.Config.Encoder.Width }

// Batch reads, changes and encodes the pictures. Errors: the first picture that
// cannot be read.
func (a AugmentedFeatures) Batch(epoch int, ids []int32) (*tensor.Tensor, error) {
	c := a.Model.Config
	size := 3 * c.ImageSize * c.ImageSize
	images, errs := make([]float32, len(ids)*size), make([]error, len(ids))
	const group = 16
	kernels.Parallel((len(ids)+group-1)/group, func(t int) {
		var rgb preprocess.RGB
		var scratch preprocess.Scratch
		for i := t * group; i < min((t+1)*group, len(ids)); i++ {
			img, err := a.Source.Image(int(ids[i]))
			if err != nil {
				errs[i] = err
				continue
			}
			preprocess.ToRGB(&rgb, img, preprocess.White)
			r := rand.New(rand.NewPCG(a.Seed, sampleStream|uint64(epoch*a.Len()+int(ids[i]))))
			a.Augment.Apply(images[i*size:(i+1)*size], rgb, "", r, &scratch) // a class is no caption that a mirror makes wrong
		}
	})
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	features := a.Model.Features(images)
	defer features.Release()
	return features.To(tensor.CPU), nil
}

// Sweep trains a probe for every task and every point of the recipe's grid, all of
// them at once over the same batches, and returns them by task, decays within
// peaks. Every epoch is a fresh permutation; what does not fill a batch is left
// out of it. each, which may be nil, is called after every epoch.
//
// Errors: those of the source, and of each.
// Source: ml-l3m's ProbeHparamSearchWrapper.
func Sweep(src FeatureSource, tasks []ProbeTask, heads int, r ProbeRecipe, each func(epoch int) error) ([][]*Probe, error) {
	n := src.Len()
	batch := min(r.Batch, n)
	perEpoch := n / batch
	norms := map[ProbeKind]*batchNorm{} // probes of one kind see the same inputs, and share their norm
	var kinds []ProbeKind
	out := make([][]*Probe, len(tasks))
	for i, task := range tasks {
		if !slices.Contains(kinds, task.Kind) {
			kinds = append(kinds, task.Kind)
			if r.BatchNorm {
				norms[task.Kind] = newBatchNorm(src.Width())
			}
		}
		for _, peak := range r.Peaks {
			for _, decay := range r.Decays {
				out[i] = append(out[i], newProbe(task, src.Width(), heads, norms[task.Kind], peak, decay, r.Seed))
			}
		}
	}
	for epoch := range r.Epochs {
		order := rand.New(rand.NewPCG(r.Seed, orderStream|uint64(epoch))).Perm(n)
		for b := range perEpoch {
			ids := make([]int32, batch)
			for i := range ids {
				ids[i] = int32(order[b*batch+i])
			}
			features, err := src.Batch(epoch, ids)
			if err != nil {
				return nil, err
			}
			inputs := map[ProbeKind]*tensor.Tensor{}
			for _, kind := range kinds {
				inputs[kind] = kind.input(features)
				if norm := norms[kind]; norm != nil {
					raw := inputs[kind]
					inputs[kind] = norm.train(raw)
					raw.Release()
				}
			}
			features.Release()
			for i, task := range tasks {
				target := make([]int32, batch)
				for j, id := range ids {
					target[j] = task.Labels[id]
				}
				labels := tensor.From(tensor.CPU, target, batch)
				for _, p := range out[i] {
					s := nn.WarmupCosine{Start: 1e-6, Peak: p.Peak, Floor: 1e-5, Warmup: r.Warmup * perEpoch, Total: r.Epochs * perEpoch}
					p.step(inputs[task.Kind], labels, s.At(epoch*perEpoch+b))
				}
				labels.Release()
			}
			for _, x := range inputs {
				x.Release()
			}
		}
		if each != nil {
			if err := each(epoch); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

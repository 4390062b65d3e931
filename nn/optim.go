package nn

import (
	"math"
	"path"

	"fuerte/kernels"
	"fuerte/tensor"
)

// AdamW is Adam with fully decoupled weight decay: with η = lr/peak the decay of
// a step is Decay·η, not multiplied by the learning rate. The step is that of
// kernels.AdamWStep.
//
// Source: Loshchilov & Hutter 2017, arXiv:1711.05101; the decay as in the
// released AIMV2 recipe.
type AdamW struct {
	Beta1, Beta2, Eps float64
	Decay             float64 // per step at the peak of the schedule
	Peak              float64 // learning rate at which the decay is Decay
	Steps             int     // taken so far
	slots             []slot
	step              kernels.AdamWStep[float64] // of Step; here it is no allocation
}

type slot struct {
	Named
	m, v  *tensor.Tensor
	decay bool
}

// NewAdamW returns an optimiser with zero moments over the parameters. Those
// whose name matches one of the noDecay patterns (path.Match, where * spans
// dots) are not decayed. Panics on a malformed pattern.
func NewAdamW(ps []Named, peak, beta1, beta2, eps, decay float64, noDecay []string) *AdamW {
	o := &AdamW{Beta1: beta1, Beta2: beta2, Eps: eps, Decay: decay, Peak: peak}
	for _, p := range ps {
		s := slot{Named: p, decay: true,
			m: tensor.Zeros(p.Value.Device(), p.Value.DType(), p.Shape()...),
			v: tensor.Zeros(p.Value.Device(), p.Value.DType(), p.Shape()...)}
		for _, pattern := range noDecay {
			match, err := path.Match(pattern, p.Name)
			if err != nil {
				panic("nn: bad pattern " + pattern)
			}
			s.decay = s.decay && !match
		}
		o.slots = append(o.slots, s)
	}
	return o
}

// GradNorm returns the Euclidean norm of all gradients together. Parameters
// without a gradient count as zero.
func (o *AdamW) GradNorm() float64 {
	var sum float64
	for _, s := range o.slots {
		if s.Grad != nil {
			sum += tensor.SumSquares(s.Grad)
		}
	}
	return math.Sqrt(sum)
}

// Step takes one step at the learning rate lr, with the gradients scaled so that
// their common norm is at most limit, drops the gradients, and returns the norm
// before clipping. A parameter without gradient is left alone. If the norm is not
// finite, no step is taken: only the gradients go.
func (o *AdamW) Step(lr, limit float64) (norm float64) {
	norm = o.GradNorm()
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		for _, s := range o.slots {
			s.ZeroGrad()
		}
		return norm
	}
	o.Steps++
	t := float64(o.Steps)
	o.step = kernels.AdamWStep[float64]{
		Clip:  min(1, limit/(norm+1e-6)), // the margin is torch's
		Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps,
		Rate:    lr / (1 - math.Pow(o.Beta1, t)),
		RSqrtC2: 1 / math.Sqrt(1-math.Pow(o.Beta2, t)),
	}
	for _, s := range o.slots {
		if s.Grad == nil {
			continue
		}
		o.step.Keep = 1
		if s.decay {
			o.step.Keep = 1 - o.Decay*lr/o.Peak
		}
		tensor.AdamW(s.Value, s.m, s.v, s.Grad, &o.step)
		s.ZeroGrad()
	}
	return norm
}

// State returns the moments under the names of their parameters, prefixed "m."
// and "v.", for a checkpoint; loading into the tensors restores the optimiser.
func (o *AdamW) State() []Named {
	var out []Named
	for _, s := range o.slots {
		out = append(out, Named{"m." + s.Name, &Var{Value: s.m}}, Named{"v." + s.Name, &Var{Value: s.v}})
	}
	return out
}

// Decayed reports how many elements carry weight decay.
func (o *AdamW) Decayed() int {
	n := 0
	for _, s := range o.slots {
		if s.decay {
			n += s.Value.Len()
		}
	}
	return n
}

// WarmupCosine is a learning-rate schedule: linear from Start to Peak over the
// first Warmup steps, then half a cosine from Peak to Floor at step Total.
type WarmupCosine struct {
	Start, Peak, Floor float64
	Warmup, Total      int
}

// At returns the rate of step it, counted from 0.
func (s WarmupCosine) At(it int) float64 {
	if it < s.Warmup {
		w := float64(it) / float64(s.Warmup)
		return s.Peak*w + s.Start*(1-w)
	}
	u := min(1, float64(it-s.Warmup)/float64(max(s.Total-s.Warmup, 1)))
	return s.Floor + 0.5*(s.Peak-s.Floor)*(1+math.Cos(math.Pi*u))
}

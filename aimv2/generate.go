package aimv2

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"fuerte/autograd"
	"fuerte/nn"
	"fuerte/tensor"
)

// Extend runs n new tokens through the trunk against the keys and values of
// those before them: Forward with the causal mask, piece by piece.
func (t *Trunk) Extend(x *Var, caches []*nn.KVCache) *Var {
	for i, b := range t.Blocks {
		x = autograd.Add(x, b.Attn.Extend(b.Norm1.Forward(x), caches[i]))
		x = autograd.Add(x, b.MLP.Forward(b.Norm2.Forward(x)))
	}
	return t.Norm.Forward(x)
}

// NewCaches returns empty caches for a batch of sequences.
func (t *Trunk) NewCaches(batch, capacity int) []*nn.KVCache {
	out := make([]*nn.KVCache, len(t.Blocks))
	for i, b := range t.Blocks {
		out[i] = b.Attn.NewCache(batch, capacity)
	}
	return out
}

// Sampling tells how the next token is chosen from its probabilities.
type Sampling struct {
	// TopP keeps the fewest tokens whose probabilities reach it, and draws among
	// them; 0 takes the most probable (greedy). Source: Holtzman et al. 2020,
	// arXiv:1904.09751.
	TopP float64
	// Temperature divides the logits before that; 0 means 1.
	Temperature float64
	Seed        uint64
}

// Validate reports a setting outside its range.
func (s Sampling) Validate() error {
	if !(s.TopP >= 0 && s.TopP <= 1) || !(s.Temperature >= 0) || math.IsInf(s.Temperature, 0) {
		return fmt.Errorf("aimv2: top-p %g must be in [0, 1] and temperature %g not negative", s.TopP, s.Temperature)
	}
	return nil
}

// Features returns the encoder's features of normalised images [B·3·S·S], with
// bidirectional attention: float32 [B, N, D], to be released by the caller.
func (m *Model) Features(images []float32) *tensor.Tensor {
	c := m.Config
	dev := m.Encoder.Preprocessor.PosEmbed.Value.Device()
	in := tensor.From(dev, images, len(images)/(3*c.ImageSize*c.ImageSize), 3, c.ImageSize, c.ImageSize)
	defer in.Release()
	tape := autograd.NewInferenceTape()
	defer tape.Reset()
	return m.Encoder.Forward(tape.Input(in), nil).Keep().Value
}

// Generate writes a caption for each feature map [B, N, D]: ids up to, not with,
// eos, at most context − 1 of them. Entry i of the batch draws from the seed and
// i, so a caption does not depend on its neighbours.
func (m *Model) Generate(features *tensor.Tensor, s Sampling, eos int32) [][]int32 {
	b, n := features.Dim(0), features.Dim(1)
	d := m.Decoder
	caches := d.Trunk.NewCaches(b, n+m.Config.Context)
	defer func() {
		for _, c := range caches {
			c.K.Release()
			c.V.Release()
		}
	}()
	draws := make([]*rand.Rand, b)
	for i := range draws {
		draws[i] = rand.New(rand.NewPCG(s.Seed, uint64(i)))
	}
	out, done := make([][]int32, b), make([]bool, b)
	next := make([]int32, b)
	for step := range m.Config.Context - 1 {
		tape := autograd.NewInferenceTape()
		var x *Var
		if step == 0 {
			f := tape.Input(features)
			x = autograd.Concat(1, d.Preprocessor.Vision.Module.Forward(f), d.startToken(f, b))
		} else {
			ids := tensor.From(features.Device(), next, b, 1)
			x = d.embed(tape.Input(ids), step)
			ids.Release()
		}
		x = d.Trunk.Extend(x, caches)
		last := autograd.Narrow(x, 1, x.Shape()[1]-1, 1)
		host := d.Head.Blocks[0].Linear.Forward(last).Value.To(tensor.CPU)
		logits := tensor.Data[float32](host)
		for i := range b {
			next[i] = choose(logits[i*m.Config.Vocab:(i+1)*m.Config.Vocab], s, draws[i])
			done[i] = done[i] || next[i] == eos
			if !done[i] {
				out[i] = append(out[i], next[i])
			}
		}
		host.Release()
		tape.Reset()
		if !slices.Contains(done, false) {
			break
		}
	}
	return out
}

// choose picks a token by the sampling rule.
func choose(logits []float32, s Sampling, r *rand.Rand) int32 {
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	if s.TopP == 0 {
		return int32(best)
	}
	temperature := s.Temperature
	if temperature == 0 {
		temperature = 1
	}
	type token struct {
		id int32
		p  float64
	}
	tokens, sum := make([]token, len(logits)), 0.0
	for i, v := range logits {
		p := math.Exp(float64(v-logits[best]) / temperature)
		tokens[i], sum = token{int32(i), p}, sum+p
	}
	slices.SortStableFunc(tokens, func(a, b token) int {
		switch {
		case a.p > b.p:
			return -1
		case a.p < b.p:
			return 1
		}
		return 0
	})
	kept := 0.0
	for i, t := range tokens {
		if kept += t.p; kept >= s.TopP*sum {
			tokens = tokens[:i+1]
			break
		}
	}
	u := r.Float64() * kept
	for _, t := range tokens {
		if u -= t.p; u < 0 {
			return t.id
		}
	}
	return tokens[len(tokens)-1].id // u fell on the rounding of the last sum
}

package aimv2

import (
	"cmp"
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

// Sampling tells how the next token is chosen from its probabilities. Its zero
// value is greedy decoding: always the most probable token.
type Sampling struct {
	// TopP keeps the fewest tokens whose probabilities reach it, and draws among
	// them. Source: Holtzman et al. 2020, arXiv:1904.09751.
	TopP float64
	// Temperature divides the logits before that; 0 means 1.
	Temperature float64
	Seed        uint64
	// Beams above 1 keeps that many most probable beginnings and returns the most
	// probable whole caption found (beam search); TopP is then 0.
	Beams int
}

// Validate reports a setting outside its range.
func (s Sampling) Validate() error {
	if !(s.TopP >= 0 && s.TopP <= 1) || !(s.Temperature >= 0) || math.IsInf(s.Temperature, 0) {
		return fmt.Errorf("aimv2: top-p %g must be in [0, 1] and temperature %g not negative", s.TopP, s.Temperature)
	}
	if s.Beams < 0 || s.Beams > 1 && s.TopP > 0 {
		return fmt.Errorf("aimv2: %d beams: they must not be negative, and go without top-p", s.Beams)
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
	tape.Observer = m.Observer
	defer tape.Reset()
	return m.Encoder.Forward(tape.Input(in), nil).Keep().Value
}

// Generate writes a caption for each feature map [B, N, D]: ids up to, not with,
// eos, at most context − 1 of them. Entry i of the batch draws from the seed and
// i, so a caption does not depend on its neighbours.
func (m *Model) Generate(features *tensor.Tensor, s Sampling, eos int32) [][]int32 {
	if s.Beams > 1 {
		return m.beamSearch(features, s.Beams, eos)
	}
	d := m.newDecoding(features)
	defer d.release()
	draws := make([]*rand.Rand, d.rows)
	for i := range draws {
		draws[i] = rand.New(rand.NewPCG(s.Seed, uint64(i)))
	}
	out, done := make([][]int32, d.rows), make([]bool, d.rows)
	next := make([]int32, d.rows)
	logits := d.begin(features)
	for {
		for i := range next {
			next[i] = choose(logits[i*m.Config.Vocab:(i+1)*m.Config.Vocab], s, draws[i])
			done[i] = done[i] || next[i] == eos
			if !done[i] {
				out[i] = append(out[i], next[i])
			}
		}
		if !slices.Contains(done, false) || d.text == m.Config.Context-1 {
			return out
		}
		logits = d.step(next)
	}
}

// decoding is a batch of captions under way: the keys and values of the image
// and of the tokens so far.
type decoding struct {
	m      *Model
	dev    *tensor.Device
	rows   int
	text   int // positions of text decoded, the start token included
	caches []*nn.KVCache
	logits []float32 // [rows, V] of the last position
}

func (m *Model) newDecoding(features *tensor.Tensor) *decoding {
	b := features.Dim(0)
	return &decoding{m: m, dev: features.Device(), rows: b, caches: m.Decoder.Trunk.NewCaches(b, features.Dim(1)+m.Config.Context)}
}

// begin decodes the image and the start token and returns the first logits.
func (d *decoding) begin(features *tensor.Tensor) []float32 {
	tape := autograd.NewInferenceTape()
	f := tape.Input(features)
	dec := d.m.Decoder
	return d.run(tape, autograd.Concat(1, dec.Preprocessor.Vision.Module.Forward(f), dec.startToken(f, d.rows)))
}

// step decodes one token of each row and returns the logits of the next.
func (d *decoding) step(next []int32) []float32 {
	tape := autograd.NewInferenceTape()
	ids := tensor.From(d.dev, next, d.rows, 1)
	defer ids.Release()
	return d.run(tape, d.m.Decoder.embed(tape.Input(ids), d.text))
}

func (d *decoding) run(tape *autograd.Tape, x *Var) []float32 {
	defer tape.Reset()
	d.text++
	x = d.m.Decoder.Trunk.Extend(x, d.caches)
	last := autograd.Narrow(x, 1, x.Shape()[1]-1, 1)
	host := d.m.Decoder.Logits(last).Value.To(tensor.CPU)
	defer host.Release()
	d.logits = append(d.logits[:0], tensor.Data[float32](host)...)
	return d.logits
}

// reorder makes row i the continuation of what row from[i] was.
func (d *decoding) reorder(from []int32) {
	ids := tensor.From(d.dev, from, len(from))
	defer ids.Release()
	for _, c := range d.caches {
		k, v := tensor.Gather(c.K, ids), tensor.Gather(c.V, ids)
		c.K.Release()
		c.V.Release()
		c.K, c.V = k, v
	}
	d.rows = len(from)
}

func (d *decoding) release() {
	for _, c := range d.caches {
		c.K.Release()
		c.V.Release()
	}
}

// beam is a caption begun, or ended by its EOS.
type beam struct {
	ids   []int32
	score float64 // log-probability
	row   int32   // of the decoding that it continues
}

// candidate is a beam and one token more.
type candidate struct {
	score  float64
	parent int // among the beams of its image
	id     int32
}

// beamSearch keeps the width most probable beginnings of each caption. Since a
// longer caption is never more probable than its beginning, an image is done
// when no beginning beats its best whole caption.
func (m *Model) beamSearch(features *tensor.Tensor, width int, eos int32) [][]int32 {
	d := m.newDecoding(features)
	defer d.release()
	logits := d.begin(features)
	images := d.rows
	live := make([][]beam, images)
	best := make([]beam, images)
	for i := range live {
		live[i] = []beam{{row: int32(i)}}
		best[i].score = math.Inf(-1)
	}
	for {
		last := d.text == m.Config.Context-1
		var rows, next []int32
		for i := range live {
			var grown []candidate
			for j, b := range live[i] {
				for id, lp := range logSoftmax(logits[int(b.row)*m.Config.Vocab:][:m.Config.Vocab]) {
					grown = append(grown, candidate{b.score + lp, j, int32(id)})
				}
			}
			slices.SortStableFunc(grown, func(a, b candidate) int { return cmp.Compare(b.score, a.score) })
			var kept []beam
			for _, c := range grown {
				if len(kept) == width || c.score <= best[i].score {
					break
				}
				from := live[i][c.parent]
				ids := append(slices.Clip(from.ids), c.id)
				switch {
				case c.id == eos:
					best[i] = beam{ids: from.ids, score: c.score}
				case last: // no room for an EOS
					best[i] = beam{ids: ids, score: c.score}
				default:
					next, rows = append(next, c.id), append(rows, from.row)
					kept = append(kept, beam{ids, c.score, int32(len(rows) - 1)})
				}
			}
			live[i] = kept
		}
		if len(rows) == 0 {
			break
		}
		d.reorder(rows)
		logits = d.step(next)
	}
	out := make([][]int32, images)
	for i := range out {
		out[i] = best[i].ids
	}
	return out
}

// logSoftmax returns ln softmax(x).
func logSoftmax(x []float32) []float64 {
	m := float64(slices.Max(x))
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v) - m)
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v) - m - math.Log(sum)
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

package aimv2

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"fuerte/autograd"
	"fuerte/tensor"
)

// writerConfig writes captions of up to 11 ids.
var writerConfig = Config{ImageSize: 6, PatchSize: 2, Encoder: Stack{12, 2, 2, 7}, Decoder: Stack{24, 2, 3, 17}, Vocab: 37, Context: 12, NormEps: 1e-5}

func writer(t *testing.T, batch int) (*Model, *tensor.Tensor) {
	t.Helper()
	r := rand.New(rand.NewPCG(21, 22))
	m := wideModel(t, writerConfig, r)
	return m, m.Features(randomImages(writerConfig, batch, r))
}

// full returns the last logits of the whole decoder run on ids [b][k], as [b·V].
func full(m *Model, features *tensor.Tensor, ids [][]int32) []float32 {
	tape := autograd.NewInferenceTape()
	defer tape.Reset()
	k := len(ids[0])
	_, text := m.Decoder.Forward(tape.Input(features), tape.Input(tensor.From(features.Device(), slices.Concat(ids...), len(ids), k)))
	last := m.Decoder.Logits(autograd.Narrow(text, 1, k, 1))
	return slices.Clone(tensor.Data[float32](last.Value.Clone()))
}

// TestCachedDecoding feeds random ids one by one through the caches; the logits
// after each are those of the whole decoder run anew.
func TestCachedDecoding(t *testing.T) {
	const batch = 3
	m, features := writer(t, batch)
	c, d := m.Config, m.Decoder
	r := rand.New(rand.NewPCG(1, 1))
	caches := d.Trunk.NewCaches(batch, c.Tokens()+c.Context)
	ids := make([][]int32, batch)
	for step := range c.Context {
		tape := autograd.NewInferenceTape()
		var x *Var
		if step == 0 {
			f := tape.Input(features)
			x = autograd.Concat(1, d.Preprocessor.Vision.Module.Forward(f), d.startToken(f, batch))
		} else {
			next := make([]int32, batch)
			for i := range next {
				next[i] = r.Int32N(int32(c.Vocab))
				ids[i] = append(ids[i], next[i])
			}
			x = d.embed(tape.Input(tensor.From(tensor.CPU, next, batch, 1)), step)
		}
		x = d.Trunk.Extend(x, caches)
		last := autograd.Narrow(x, 1, x.Shape()[1]-1, 1)
		got := tensor.Data[float32](d.Head.Blocks[0].Linear.Forward(last).Value)
		for i, want := range full(m, features, ids) {
			if math.Abs(float64(got[i]-want)) > 1e-5*(1+math.Abs(float64(want))) {
				t.Fatalf("step %d: logit %d is %g, without the cache %g", step, i, got[i], want)
			}
		}
		tape.Reset()
	}
}

// TestGreedy: Generate writes what the whole decoder finds most probable, stops
// before the EOS and at the end of the context, gives the same twice, and the same
// for a picture alone.
func TestGreedy(t *testing.T) {
	const batch = 5
	m, features := writer(t, batch)
	c := m.Config
	want := make([][]int32, batch)
	for i := range want {
		one := features.Narrow(0, i, 1)
		for len(want[i]) < c.Context {
			logits := full(m, one, [][]int32{want[i]})
			want[i] = append(want[i], int32(slices.Index(logits, slices.Max(logits))))
		}
	}
	lengths := map[int]bool{}
	for eos := int32(-1); eos < int32(c.Vocab); eos++ {
		before := tensor.Live()
		got := m.Generate(features, Sampling{Seed: uint64(eos + 1)}, eos)
		if n := tensor.Live() - before; n != 0 {
			t.Fatalf("%d blocks were not released", n)
		}
		for i, ids := range got {
			cut := want[i][:c.Context-1]
			if at := slices.Index(cut, eos); at >= 0 {
				cut = cut[:at]
			}
			lengths[len(cut)] = true
			if !slices.Equal(ids, cut) {
				t.Errorf("eos %d, picture %d: %v, the whole decoder says %v", eos, i, ids, cut)
			}
		}
	}
	if !lengths[c.Context-1] || len(lengths) < 3 {
		t.Errorf("the captions' lengths %v prove little", lengths)
	}
	all := m.Generate(features, Sampling{}, -1)
	for i := range batch {
		one := features.Narrow(0, i, 1)
		if got := m.Generate(one, Sampling{}, -1)[0]; !slices.Equal(got, all[i]) {
			t.Errorf("picture %d alone: %v, in the batch %v", i, got, all[i])
		}
	}
}

// TestSamplingApart: a drawn caption depends on the seed, its picture and its
// place, not on its neighbours or on when they end.
func TestSamplingApart(t *testing.T) {
	m, features := writer(t, 4)
	s := Sampling{TopP: 0.95, Seed: 3}
	all := m.Generate(features, s, 2)
	if again := m.Generate(features, s, 2); fmt.Sprint(all) != fmt.Sprint(again) {
		t.Errorf("the same seed writes %v and %v", all, again)
	}
	s.Seed = 4
	if other := m.Generate(features, s, 2); fmt.Sprint(all) == fmt.Sprint(other) {
		t.Error("another seed writes the same")
	}
	s.Seed = 3
	changed := features.Clone()
	tensor.Fill(changed.Narrow(0, 3, 1), 0.5)
	got := m.Generate(changed, s, 2)
	for i := range 3 {
		if !slices.Equal(got[i], all[i]) {
			t.Errorf("picture %d: %v, beside another neighbour %v", i, all[i], got[i])
		}
	}
	if fewer := m.Generate(features.Narrow(0, 0, 2), s, 2); !slices.Equal(fewer[0], all[0]) || !slices.Equal(fewer[1], all[1]) {
		t.Error("a smaller batch writes other captions")
	}
}

// TestChoose draws 20,000 tokens and compares the counts with the probabilities:
// χ² over the tokens kept, none of the others.
func TestChoose(t *testing.T) {
	logits := []float32{0.5, 2, -1, 1.2, 1.2, -30, 0}
	const draws = 20_000
	for _, s := range []Sampling{{TopP: 1}, {TopP: 1, Temperature: 2}, {TopP: 1, Temperature: 0.3}, {TopP: 0.7}, {TopP: 0.45}, {TopP: 0.46}, {TopP: 0.95, Temperature: 3}} {
		temperature := s.Temperature
		if temperature == 0 {
			temperature = 1
		}
		p, order, sum := make([]float64, len(logits)), make([]int, len(logits)), 0.0
		for i, v := range logits {
			p[i], order[i] = math.Exp(float64(v)/temperature), i
			sum += p[i]
		}
		slices.SortStableFunc(order, func(a, b int) int { return int(math.Copysign(1, p[b]-p[a])) * bit(p[a] != p[b]) })
		kept, nucleus := 0.0, map[int]bool{}
		for _, i := range order {
			if kept < s.TopP*sum {
				nucleus[i] = true
				kept += p[i]
			}
		}
		counts := make([]int, len(logits))
		r := rand.New(rand.NewPCG(1, 1))
		for range draws {
			counts[choose(logits, s, r)]++
		}
		chi, freedom := 0.0, -1
		for i, n := range counts {
			if !nucleus[i] {
				if n > 0 {
					t.Errorf("%+v: token %d, outside of the nucleus, was drawn", s, i)
				}
				continue
			}
			if want := p[i] / kept * draws; want > 1 {
				chi += (float64(n) - want) * (float64(n) - want) / want
				freedom++
			}
		}
		if chi > float64(freedom)+5*math.Sqrt(2*float64(max(freedom, 1))) {
			t.Errorf("%+v: counts %v, χ² = %.1f with %d degrees of freedom", s, counts, chi, freedom)
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		for _, s := range []Sampling{{}, {TopP: 1e-9}, {TopP: 0.3}, {TopP: 1e-300, Temperature: 5}, {TopP: 1, Temperature: 1e-3}} {
			if got := choose(logits, s, r); got != 1 {
				t.Fatalf("%+v: %d, the most probable is 1", s, got)
			}
		}
	}
	if got := choose([]float32{3, 5, 5}, Sampling{}, r); got != 1 {
		t.Errorf("of equals %d was taken, not the first", got)
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestSamplingValidate(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, s := range []Sampling{{}, {TopP: 1}, {TopP: 0.5, Temperature: 2}, {Temperature: 1e9}} {
		if err := s.Validate(); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
	for _, s := range []Sampling{{TopP: -0.1}, {TopP: 1.1}, {TopP: nan}, {TopP: inf}, {Temperature: -1}, {Temperature: nan}, {Temperature: inf}} {
		if s.Validate() == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
}

// TestBeamSearch: with as many beams as there are beginnings the search is
// exhaustive, so its caption is the most probable of all; and
// neighbours change nothing.
func TestBeamSearch(t *testing.T) {
	c := oddConfig
	c.Vocab, c.Context = 4, 4 // 3 ids and an EOS: 1 + 3 + 9 + 27 captions
	const eos = 3
	m, err := New(tensor.CPU, c, 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Params() { // heads start small: make the choice a matter of the picture
		if strings.Contains(p.Name, "head.blocks.0") {
			tensor.Copy(p.Value, tensor.Scale(p.Value, 8))
		}
	}
	r := rand.New(rand.NewPCG(1, 9))
	images := make([]float32, 5*3*c.ImageSize*c.ImageSize)
	for i := range images {
		images[i] = float32(r.NormFloat64())
	}
	features := m.Features(images)
	all := [][]int32{{}}
	for n := 0; n < len(all); n++ {
		if len(all[n]) < c.Context-1 {
			for id := range int32(eos) {
				all = append(all, append(slices.Clip(all[n]), id))
			}
		}
	}
	got := m.Generate(features, Sampling{Beams: 40}, eos)
	for i := range got {
		one := features.Narrow(0, i, 1)
		if alone := m.Generate(one, Sampling{Beams: 40}, eos); !slices.Equal(alone[0], got[i]) {
			t.Errorf("picture %d: %v among others, %v alone", i, got[i], alone[0])
		}
		var best []int32
		top := math.Inf(-1)
		for _, ids := range all {
			if score := captionScore(m, one, ids, eos); score > top {
				best, top = ids, score
			}
		}
		if score := captionScore(m, one, got[i], eos); score < top-1e-5 {
			t.Errorf("picture %d: found %v of log-probability %g, but %v has %g", i, got[i], score, best, top)
		}
	}
}

// captionScore is the log-probability of a caption and, if there is room, its
// EOS, from one pass over the whole of it.
func captionScore(m *Model, features *tensor.Tensor, ids []int32, eos int32) float64 {
	padded := append(slices.Clone(ids), slices.Repeat([]int32{eos}, m.Config.Context-1-len(ids))...)
	tape := autograd.NewInferenceTape()
	defer tape.Reset()
	_, text := m.Decoder.Forward(tape.Input(features), tape.Input(tensor.From(tensor.CPU, padded, 1, len(padded))))
	x := tensor.Data[float32](m.Decoder.Logits(text).Value)
	score := 0.0
	for j := range min(len(ids)+1, m.Config.Context-1) {
		want := eos
		if j < len(ids) {
			want = ids[j]
		}
		score += logSoftmax(x[j*m.Config.Vocab : (j+1)*m.Config.Vocab])[want]
	}
	return score
}

package aimv2

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"fuerte/aimv2/tokenizer"
	"fuerte/autograd"
	"fuerte/tensor"
)

// likelihood is ln p(ids, EOS) by one pass of the whole decoder.
func likelihood(m *Model, features *tensor.Tensor, ids []int32, eos int32) float64 {
	t := m.Config.Context
	ids = ids[:min(len(ids), t-1)]
	padded := append(slices.Clone(ids), slices.Repeat([]int32{eos}, t-1-len(ids))...)
	tape := autograd.NewInferenceTape()
	defer tape.Reset()
	in := tensor.From(tensor.CPU, padded, 1, t-1)
	defer in.Release()
	_, text := m.Decoder.Forward(tape.Input(features), tape.Input(in))
	x := tensor.Data[float32](m.Decoder.Logits(text).Value)
	score := 0.0
	for j, id := range append(slices.Clone(ids), eos) {
		score += logSoftmax(x[j*m.Config.Vocab : (j+1)*m.Config.Vocab])[id]
	}
	return score
}

// TestLogLikelihood compares with the whole decoder run anew for every pair, on
// texts of every length, the empty and the cut one among them.
func TestLogLikelihood(t *testing.T) {
	const batch, eos = 3, 2
	m, features := writer(t, batch)
	r := rand.New(rand.NewPCG(3, 4))
	var texts [][]int32
	for _, n := range []int{4, 0, 11, 1, 15, 7, 11, 2, 4} {
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = r.Int32N(int32(m.Config.Vocab))
		}
		texts = append(texts, ids)
	}
	before := tensor.Live()
	got := m.LogLikelihood(features, texts, eos)
	if n := tensor.Live() - before; n != 0 {
		t.Errorf("%d blocks were not released", n)
	}
	for b := range got {
		one := features.Narrow(0, b, 1)
		for i, ids := range texts {
			if want := likelihood(m, one, ids, eos); math.Abs(got[b][i]-want) > 1e-4*(1+math.Abs(want)) {
				t.Errorf("picture %d, text %v: %g, the whole decoder says %g", b, ids, got[b][i], want)
			}
		}
	}
	// The groups of which the texts are scored change nothing: many more of them.
	many := slices.Repeat(texts, 4000)
	again := m.LogLikelihood(features.Narrow(0, 1, 1), many, eos)[0]
	for i, v := range again {
		if want := got[1][i%len(texts)]; math.Abs(v-want) > 1e-5*(1+math.Abs(want)) {
			t.Fatalf("text %d among many: %g, among few %g", i, v, want)
		}
	}
}

// TestCaptionScorer: the scores are the likelihoods, put together as documented;
// and nothing stays in memory.
func TestCaptionScorer(t *testing.T) {
	tok := tokenizer.Train([]string{"red fox", "blue fox", "a red cat"}, 530)
	c := writerConfig
	c.Vocab = tok.Vocab()
	r := rand.New(rand.NewPCG(5, 6))
	m := wideModel(t, c, r)
	images := randomImages(c, 2, r)
	features := m.Features(images)
	classes := [][]string{{"red fox"}, {"blue fox", "a red cat", "fox"}}
	for _, perToken := range []bool{false, true} {
		score, err := CaptionScorer{m, tok, perToken}.Prepare(classes)
		if err != nil {
			t.Fatal(err)
		}
		before := tensor.Live()
		got := score(images)
		if n := tensor.Live() - before; n != 0 {
			t.Errorf("%d blocks were not released", n)
		}
		for b := range got {
			one := features.Narrow(0, b, 1)
			for i, class := range classes {
				sum := 0.0
				for _, text := range class {
					ids := tok.Encode(text)
					l := likelihood(m, one, ids, tok.EOS())
					if perToken {
						l /= float64(len(ids) + 1)
					}
					sum += math.Exp(l) / float64(len(class))
				}
				if want := math.Log(sum); math.Abs(got[b][i]-want) > 1e-4*(1+math.Abs(want)) {
					t.Errorf("per token %v, picture %d, class %v: %g, want %g", perToken, b, class, got[b][i], want)
				}
			}
		}
	}
	for _, bad := range [][][]string{nil, {{"fox"}, {}}, {{"fox"}, {" "}}} {
		if _, err := (CaptionScorer{m, tok, false}).Prepare(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// planeTowers embed a text by its length and its first letter, and a picture of
// two numbers by them.
type planeTowers struct{}

func (planeTowers) EncodeImages(images []float32) *tensor.Tensor {
	return tensor.From(tensor.CPU, images, len(images)/2, 2)
}

func (planeTowers) EncodeTexts(texts []string) (*tensor.Tensor, error) {
	var out []float32
	for _, t := range texts {
		if t == "" {
			return nil, errors.New("nothing to read")
		}
		out = append(out, float32(len(t)), float32(t[0]-'a'))
	}
	return tensor.From(tensor.CPU, out, len(texts), 2), nil
}

func (planeTowers) LogitScale() float64 { return 10 }

// TestCosineScorer computes the angles by hand.
func TestCosineScorer(t *testing.T) {
	// (3, 0); and (1, 1) with (4, 0), of which the mean direction is 22.5°.
	score, err := CosineScorer{planeTowers{}}.Prepare([][]string{{"abc"}, {"b", "aaaa"}})
	if err != nil {
		t.Fatal(err)
	}
	before := tensor.Live()
	got := score([]float32{0, 7, 5, 5, -2, 0})
	if n := tensor.Live() - before; n != 0 {
		t.Errorf("%d blocks were not released", n)
	}
	for i, angle := range []float64{90, 45, 180} {
		for j, class := range []float64{0, 22.5} {
			if want := 10 * math.Cos((angle-class)*math.Pi/180); math.Abs(got[i][j]-want) > 1e-5 {
				t.Errorf("picture %d, class %d: %g, want %g", i, j, got[i][j], want)
			}
		}
	}
	for _, bad := range [][][]string{nil, {{"a"}, {}}, {{"a"}, {""}}} {
		if _, err := (CosineScorer{planeTowers{}}).Prepare(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestClassPrompts(t *testing.T) {
	got, err := ClassPrompts("clip-7", []string{"fox", "cat"})
	if err != nil || len(got) != 2 || len(got[0]) != 7 || got[1][4] != "a cat in a video game." {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := ClassPrompts("the {} and {}", []string{"fox"}); err != nil || !slices.Equal(got[0], []string{"the fox and fox"}) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := ClassPrompts("a photo", []string{"fox"}); err == nil || !strings.Contains(err.Error(), "clip-7") {
		t.Errorf("a template without a name: %v", err)
	}
}

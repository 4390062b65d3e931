package aimv2

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"fuerte/aimv2/tokenizer"
	"fuerte/autograd"
	"fuerte/nn"
	"fuerte/tensor"
)

// A Scorer says how well classes, told by texts, fit pictures: all that retrieval
// and zero-shot classification ask of a model. CaptionScorer does it by the
// likelihood of the texts; two towers do it by the scaled cosine of embeddings.
type Scorer interface {
	// Prepare reads the classes, each of one text or more, once for any number of
	// pictures. The softmax of a picture's scores over the classes is the
	// probability that the model gives to each.
	//
	// Errors: a class that has no text, or one that the model cannot read.
	Prepare(classes [][]string) (Score, error)
}

// Score returns the scores [B][classes] of normalised images [B·3·S·S].
type Score func(images []float32) [][]float64

// CaptionScorer scores by the likelihood that the decoder gives to a text behind
// a picture. For a class of several texts it is the mean of their likelihoods:
//
//	score = ln (1/n Σ_i p(text_i, EOS | picture))
//
// PerToken replaces the likelihood by its geometric mean over the tokens, EOS
// included, so that long names are not worse for being long.
type CaptionScorer struct {
	Model    *Model
	Tok      *tokenizer.Tokenizer
	PerToken bool
}

var _ Scorer = CaptionScorer{}

// Prepare encodes the texts; Errors: a class without text, a text of no token.
func (s CaptionScorer) Prepare(classes [][]string) (Score, error) {
	if len(classes) == 0 {
		return nil, errors.New("aimv2: there are no classes to score")
	}
	var texts [][]int32
	for i, class := range classes {
		if len(class) == 0 {
			return nil, fmt.Errorf("aimv2: class %d has no text", i+1)
		}
		for _, text := range class {
			ids := s.Tok.Encode(text)
			if len(ids) == 0 {
				return nil, fmt.Errorf("aimv2: the text %q of class %d has no token", text, i+1)
			}
			texts = append(texts, ids)
		}
	}
	return func(images []float32) [][]float64 {
		features := s.Model.Features(images)
		defer features.Release()
		out := s.Model.LogLikelihood(features, texts, s.Tok.EOS())
		for b, row := range out {
			scores := make([]float64, len(classes))
			at := 0
			for i, class := range classes {
				part := row[at : at+len(class)]
				if s.PerToken {
					for j := range part {
						part[j] /= float64(min(len(texts[at+j]), s.Model.Config.Context-1) + 1)
					}
				}
				scores[i] = logMeanExp(part)
				at += len(class)
			}
			out[b] = scores
		}
		return out
	}, nil
}

// logMeanExp returns ln (1/n Σ e^x).
func logMeanExp(x []float64) float64 {
	m := slices.Max(x)
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(v - m)
	}
	return m + math.Log(sum/float64(len(x)))
}

// scoredLogits bounds the logits that LogLikelihood has in memory at a time:
// 16 MB of them.
const scoredLogits = 1 << 22

// LogLikelihood returns ln p(text, EOS | picture) of every text for every feature
// map [B, N, D], as [B][texts]. Texts are cut to context − 1 ids, as for
// training. A picture is decoded once, and each text continues from its keys and
// values.
func (m *Model) LogLikelihood(features *tensor.Tensor, texts [][]int32, eos int32) [][]float64 {
	cut := make([][]int32, len(texts))
	order := make([]int, len(texts)) // texts of about one length go together
	for i, ids := range texts {
		cut[i], order[i] = ids[:min(len(ids), m.Config.Context-1)], i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(cut[a]), len(cut[b])) })
	out := make([][]float64, features.Dim(0))
	for b := range out {
		one := features.Narrow(0, b, 1)
		out[b] = m.likelihoodOfOne(one, cut, order, eos)
		one.Release()
	}
	return out
}

// likelihoodOfOne scores the texts behind one picture, in groups along order.
func (m *Model) likelihoodOfOne(features *tensor.Tensor, texts [][]int32, order []int, eos int32) []float64 {
	d := m.newDecoding(features)
	defer d.release()
	first := logSoftmax(d.begin(features)) // of the first token: the same for all
	out := make([]float64, len(texts))
	next := func(text []int32, j int) int32 {
		if j < len(text) {
			return text[j]
		}
		return eos
	}
	for i, text := range texts {
		out[i] = first[next(text, 0)]
	}
	for lo := 0; lo < len(order); {
		hi, length := lo, 0
		for hi < len(order) {
			grown := len(texts[order[hi]]) // not shorter than those before it
			if hi > lo && (hi+1-lo)*grown*m.Config.Vocab > scoredLogits {
				break
			}
			hi, length = hi+1, grown
		}
		group := order[lo:hi]
		lo = hi
		if length == 0 {
			continue // EOS alone
		}
		ids, target := make([]int32, len(group)*length), make([]int32, len(group)*length)
		for row, i := range group {
			for j := range length {
				ids[row*length+j], target[row*length+j] = next(texts[i], j), -1
				if j < len(texts[i]) {
					target[row*length+j] = next(texts[i], j+1)
				}
			}
		}
		for n, loss := range d.losses(ids, target, length) {
			out[group[n/length]] -= loss
		}
	}
	return out
}

// losses runs rows of length ids each behind the one picture of d, and returns
// the cross-entropy of every target, 0 for a target of −1.
func (d *decoding) losses(ids, target []int32, length int) []float64 {
	rows := len(ids) / length
	same := tensor.Zeros(d.dev, tensor.Int32, rows)
	defer same.Release()
	caches := make([]*nn.KVCache, len(d.caches))
	for i, c := range d.caches {
		caches[i] = &nn.KVCache{K: tensor.Gather(c.K, same), V: tensor.Gather(c.V, same), Len: c.Len}
	}
	behind := &decoding{caches: caches}
	defer behind.release()
	in := tensor.From(d.dev, ids, rows, length)
	defer in.Release()
	want := tensor.From(d.dev, target, rows*length)
	defer want.Release()
	tape := autograd.NewInferenceTape()
	defer tape.Reset()
	x := d.m.Decoder.Trunk.Extend(d.m.Decoder.embed(tape.Input(in), 1), caches)
	logits := autograd.Reshape(d.m.Decoder.Logits(x), rows*length, -1)
	host := autograd.CrossEntropy(logits, tape.Input(want)).Value.To(tensor.CPU)
	defer host.Release()
	out := make([]float64, rows*length)
	for i, v := range tensor.Data[float32](host) {
		out[i] = float64(v)
	}
	return out
}

// Towers embed pictures and texts into one space, as CLIP and LiT do.
type Towers interface {
	// EncodeImages returns the embeddings [B, D] of normalised images [B·3·S·S].
	EncodeImages(images []float32) *tensor.Tensor
	// EncodeTexts returns the embeddings [n, D] of texts. Errors: a text that the
	// tower cannot read.
	EncodeTexts(texts []string) (*tensor.Tensor, error)
	// LogitScale is the factor of the cosines that the towers were trained with.
	LogitScale() float64
}

// CosineScorer scores by the scaled cosine of embeddings. A class of several texts
// has the mean of their embeddings at length 1, at length 1 again.
//
// Source: Radford et al. 2021, arXiv:2103.00020, section 3.1.4.
type CosineScorer struct{ Towers Towers }

var _ Scorer = CosineScorer{}

// Prepare embeds the texts. Errors: no classes, a class without text, those of
// EncodeTexts.
func (s CosineScorer) Prepare(classes [][]string) (Score, error) {
	if len(classes) == 0 {
		return nil, errors.New("aimv2: there are no classes to score")
	}
	var means []float32
	d := 0
	for i, texts := range classes {
		if len(texts) == 0 {
			return nil, fmt.Errorf("aimv2: class %d has no text", i+1)
		}
		embeddings, err := s.Towers.EncodeTexts(texts)
		if err != nil {
			return nil, fmt.Errorf("aimv2: class %d: %w", i+1, err)
		}
		unit := unitRows(embeddings)
		mean := tensor.Mean(unit, false, 0)
		host := mean.To(tensor.CPU)
		means, d = append(means, tensor.Data[float32](host)...), mean.Len()
		for _, t := range []*tensor.Tensor{embeddings, unit, mean, host} {
			t.Release()
		}
	}
	all := tensor.From(tensor.CPU, means, len(classes), d)
	defer all.Release()
	directions := unitRows(all) // lives as long as the Score
	return func(images []float32) [][]float64 {
		embeddings := s.Towers.EncodeImages(images)
		host := embeddings.To(tensor.CPU)
		unit := unitRows(host)
		turned := directions.Transpose(0, 1)
		cosines := tensor.MatMul(unit, turned)
		var out [][]float64
		for row := range slices.Chunk(tensor.Data[float32](cosines), len(classes)) {
			scores := make([]float64, len(row))
			for i, v := range row {
				scores[i] = s.Towers.LogitScale() * float64(v)
			}
			out = append(out, scores)
		}
		for _, t := range []*tensor.Tensor{embeddings, host, unit, turned, cosines} {
			t.Release()
		}
		return out
	}, nil
}

// Prompts are sets of templates for the names of classes, {} being the name.
// "clip-7" is the short list that CLIP's authors found to do nearly as well on
// ImageNet as their 80, and that AIMV2's training code evaluates with;
// "plain" suits models whose captions are names, as those trained on emoji48.
var Prompts = map[string][]string{
	"plain": {"{}"},
	"photo": {"a photo of a {}."},
	"clip-7": {
		"itap of a {}.", // "I took a picture": that of photographers on the web
		"a bad photo of the {}.",
		"a origami {}.",
		"a photo of the large {}.",
		"a {} in a video game.",
		"art of the {}.",
		"a photo of the small {}.",
	},
}

// ClassPrompts returns the texts of every class: each template with its name.
// Templates are a name in Prompts or a single template that holds {}.
//
// Errors: neither.
func ClassPrompts(templates string, names []string) ([][]string, error) {
	list, ok := Prompts[templates]
	if !ok {
		if !strings.Contains(templates, "{}") {
			return nil, fmt.Errorf("aimv2: there are no prompts %q; there are %s, or a text with {} for the name", templates, strings.Join(slices.Sorted(maps.Keys(Prompts)), ", "))
		}
		list = []string{templates}
	}
	out := make([][]string, len(names))
	for i, name := range names {
		for _, t := range list {
			out[i] = append(out[i], strings.ReplaceAll(t, "{}", name))
		}
	}
	return out, nil
}

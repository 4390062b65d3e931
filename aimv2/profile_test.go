package aimv2

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"fuerte/autograd/profile"
	"fuerte/tensor"
)

// productFLOP sums the products' FLOP over the rows of a report, without the sums
// with biases, by op and pass.
func productFLOP(r *profile.Report) map[string]float64 {
	out := map[string]float64{}
	for _, w := range r.Rows {
		if w.Product {
			out[w.Op+" "+w.Pass] += w.Count.FLOP
		}
	}
	return out
}

// TestProfileCounts: what the profiler counts of a model's products is what Config
// counts. For features that is all of Config's forward; in training masks save pairs, the
// gradient of the pixels is not wanted, and attention computes its scores again.
func TestProfileCounts(t *testing.T) {
	r := smallRecipe(2)
	c, batch := r.Model, float64(r.Batch)
	tr := smallTrainer(t, r, drawings(23))

	p := profile.New(profile.Options{})
	tr.Model.Observer = p
	p.BeginStep(0)
	tr.Model.Features(make([]float32, 3*3*c.ImageSize*c.ImageSize)).Release()
	p.EndStep()
	n, d, de := float64(c.Tokens()), float64(c.Encoder.Width), float64(c.Decoder.Width)
	counted := productFLOP(p.Report(profile.Ceilings{}))
	bias := 3 * n * d
	if got, want := counted["linear forward"]+counted["attentionQKV forward"]-bias, 3*(c.Encoder.forwardFLOP(c.Tokens())+2*n*d*float64(c.PatchLen())); got != want {
		t.Errorf("the features of 3 images are %g FLOP, Config counts %g", got, want)
	}

	p = profile.New(profile.Options{})
	tr.Profile(p)
	steps(t, tr, 2)
	report := p.Report(profile.Ceilings{})
	counted = productFLOP(report)
	all := c.TrainFLOP() / 3 // forward, an image
	scores := func(t, width float64, depth int) float64 { return 4 * t * t * width * float64(depth) }
	m := n + float64(c.Context)
	head := 2 * de * float64(c.Vocab) // a position of text
	linear := all - scores(n, d, c.Encoder.Depth) - scores(m, de, c.Decoder.Depth) - head*float64(c.Context)
	perStep := func(what string) float64 { return counted[what] / 2 / batch }
	if got, want := perStep("linear forward")-n*(d+de), linear; math.Abs(got-want) > 1e-9*want { // biases of two maps
		t.Errorf("linear maps are %g FLOP an image, Config counts %g", got, want)
	}
	// The biases' gradients are as many sums again.
	if got, want := perStep("linear backward")-n*(d+de), 2*linear-2*n*d*float64(c.PatchLen()); math.Abs(got-want) > 1e-9*want {
		t.Errorf("their VJPs are %g FLOP an image, Config counts %g", got, want)
	}
	// The head computes its gradients in the forward pass, for positions with a target.
	positions := counted["linear-crossentropy forward"] / (3 * head)
	if positions != math.Trunc(positions) || positions < 4*batch || positions > 2*batch*float64(c.Context) {
		t.Errorf("the text head is of %g positions, Config counts up to %g", positions, 2*batch*float64(c.Context))
	}
	// A causal mask leaves t(t+1)/2 pairs of t², a prefix of p gives p(p−1)/2 of them back.
	least := 2*(n+1)*n*d*float64(c.Encoder.Depth) + 2*(m+1)*m*de*float64(c.Decoder.Depth)
	most := scores(n, d, c.Encoder.Depth) + 2*(m+1)*m*de*float64(c.Decoder.Depth)
	if got := perStep("attentionQKV forward"); got < least || got > most || perStep("attentionQKV backward") != 2.5*got {
		t.Errorf("attention is %g FLOP an image and %g backward; %g to %g are possible", got, perStep("attentionQKV backward"), least, most)
	}

	calls := map[string]int{}
	for _, w := range report.Collapsed().Rows {
		calls[w.Layer+" "+w.Op+" "+w.Pass] += w.Calls
	}
	for what, want := range map[string]int{
		"encoder.blocks.*.attn attentionQKV forward":  c.Encoder.Depth,
		"encoder.blocks.*.attn attentionQKV backward": c.Encoder.Depth,
		"decoder.blocks.*.mlp linear forward":         3 * c.Decoder.Depth,
		"decoder.blocks.*.mlp linear backward":        3 * c.Decoder.Depth,
		"encoder.norm rmsnorm backward":               1,
		"decoder.pixels linear forward":               1,
		"loss linear-crossentropy forward":            1,
		"loss linear-crossentropy backward":           1,
		"optimiser  forward":                          1,
		"data  forward":                               1,
	} {
		if calls[what] != 2*want {
			t.Errorf("%s: %d calls in 2 steps, want %d; there are %v", what, calls[what], 2*want, calls)
		}
	}
}

// TestProfileBits: a run that is watched by everything takes the steps of one that is
// not, with recomputation and micro-batches and without.
func TestProfileBits(t *testing.T) {
	for _, recompute := range []bool{false, true} {
		r := smallRecipe(4)
		if r.Recompute = recompute; recompute {
			r.Accumulate = 2
		}
		plain, watched := smallTrainer(t, r, drawings(23)), smallTrainer(t, r, drawings(23))
		p := profile.New(profile.Options{Trace: 100, Labels: true, Memory: true, NonFinite: true})
		watched.Profile(p)
		sameMetrics(t, 1, steps(t, watched, 4), steps(t, plain, 4))
		p.Close()
		if err := p.Err(); err != nil {
			t.Error(err)
		}
	}
}

// TestProfileNaN: a NaN in a weight ends the run before the step that reads it changes
// anything, and the error has the weight's name.
func TestProfileNaN(t *testing.T) {
	tr := smallTrainer(t, smallRecipe(9), drawings(23))
	tr.Profile(profile.New(profile.Options{NonFinite: true}))
	steps(t, tr, 2)
	gate := tr.Model.Encoder.Trunk.Blocks[1].MLP.Gate.Weight
	tensor.Data[float32](gate.Value)[5] = float32(math.NaN())
	head := tensor.Data[float32](tr.Model.Decoder.Head.Blocks[0].Linear.Weight.Value)
	before := slices.Clone(head)
	err := tr.Run(t.Context(), func(Metrics) error { return nil })
	var e *profile.NonFiniteError
	if !errors.As(err, &e) || e.Step != 2 || e.Op != "linear" || e.Layer != "encoder.blocks.1.mlp" || e.Pass != "forward" {
		t.Fatalf("the run ends with %v", err)
	}
	if !strings.Contains(err.Error(), "image_encoder.trunk.blocks.1.mlp.fc1.weight") {
		t.Errorf("the message does not name the weight: %v", err)
	}
	if !slices.Equal(head, before) {
		t.Error("a weight has changed")
	}
	if tr.Step != 2 {
		t.Errorf("the trainer is at step %d", tr.Step)
	}
}

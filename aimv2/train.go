package aimv2

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"fuerte/aimv2/dataset"
	"fuerte/aimv2/tokenizer"
	"fuerte/autograd"
	"fuerte/autograd/profile"
	"fuerte/nn"
	"fuerte/nn/safetensors"
	"fuerte/tensor"
)

// Recipe is everything that a run depends on; of its data, the Fingerprint.
type Recipe struct {
	Model     Config  `json:"model"`
	Data      string  `json:"data"`
	Steps     int     `json:"steps"`
	Batch     int     `json:"batch"`
	Seed      uint64  `json:"seed"`
	Peak      float64 `json:"peak_lr"`
	Start     float64 `json:"start_lr"`
	Floor     float64 `json:"floor_lr"`
	Warmup    int     `json:"warmup_steps"`
	Beta1     float64 `json:"beta1"`
	Beta2     float64 `json:"beta2"`
	AdamEps   float64 `json:"adam_eps"`
	Decay     float64 `json:"weight_decay"` // fully decoupled: at the peak, per step
	Clip      float64 `json:"clip_norm"`
	Augment   Augment `json:"augment"`
	Recompute bool    `json:"recompute"` // keep one activation a block, run blocks twice
	// BF16 rounds what the linear maps multiply to bfloat16; weights, sums, gradients,
	// moments and everything between the maps stay float32.
	BF16 bool `json:"bf16,omitempty"`

	// Accumulate is the micro-batches of a step: the gradient is that of the whole
	// batch, the activations are those of its Accumulate-th part, at a time.
	Accumulate  int       `json:"accumulate"`
	Objective   Objective `json:"objective"`
	Attention   Attention `json:"attention"`
	PixelWeight float64   `json:"pixel_weight"` // of the multimodal objective; the text's is 1

	// Original does as the released code does where that is a fault:
	//   - the EOS is not learnt: padding is told by its id, which is the EOS's;
	//   - the loader's processes share one generator of prefixes, so that these
	//     repeat over four batches on end and do not depend on the seed;
	//   - pictures are mirrored whatever their caption says of left and right;
	//   - the losses of micro-batches are averaged, each with its own mean;
	//   - validation shows the encoder the whole image, which leaves no patch to
	//     predict: there is no pixel loss (the released code reports NaN).
	// A resumed run goes on with its data in any case; the released one begins
	// them anew.
	Original bool `json:"original"`

	EvalEvery int    `json:"eval_every"` // steps between validations; 0: none
	EvalData  string `json:"eval_data"`  // Fingerprint of the held-out set
}

// defaults returns the settings that a recipe had before it could name them, and
// that the released recipe has.
func defaults() Recipe {
	return Recipe{Accumulate: 1, Objective: Multimodal, Attention: PrefixAttention, PixelWeight: PixelWeight}
}

// Published returns the released recipe for a model: AdamW with betas 0.9 and
// 0.95, decoupled decay 1e-4, warm-up from 1e-6 over 1 % of the steps, cosine to
// 1e-5, clipping at 1. The peak is that of the published size nearest in width;
// models below those take the largest.
func Published(c Config, steps, batch int, seed uint64) Recipe {
	peak := 1e-3
	switch {
	case c.Encoder.Width >= 3072:
		peak = 4e-4
	case c.Encoder.Width >= 1536:
		peak = 8e-4
	}
	r := defaults()
	r.Model, r.Steps, r.Batch, r.Seed = c, steps, batch, seed
	r.Peak, r.Start, r.Floor, r.Warmup = peak, 1e-6, 1e-5, max(1, steps/100)
	r.Beta1, r.Beta2, r.AdamEps, r.Decay, r.Clip = 0.9, 0.95, 1e-8, 1e-4, 1
	r.Augment = Augment{CropMin: 0.4, Flip: 0.5, Background: 0.25}
	return r
}

// Validate reports the first setting that no run can have.
func (r Recipe) Validate() error {
	positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 0) }
	probability := func(x float64) bool { return x >= 0 && x <= 1 }
	switch {
	case r.Steps < 1 || r.Batch < 1 || r.Warmup < 0:
		return fmt.Errorf("aimv2: %d steps of %d images with %d of warm-up make no run", r.Steps, r.Batch, r.Warmup)
	case !positive(r.Peak) || r.Start < 0 || r.Floor < 0 || !positive(r.Clip) || !positive(r.AdamEps) || r.Decay < 0 || r.Decay >= 1:
		return errors.New("aimv2: learning rates, clip and epsilon must be positive, and the decay in [0, 1)")
	case !(r.Augment.CropMin > 0 && r.Augment.CropMin <= 1 && r.Augment.Border >= 0 && r.Augment.Border <= 1):
		return errors.New("aimv2: crop_min must be in (0, 1], border in [0, 1]")
	case !(probability(r.Augment.Flip) && probability(r.Augment.Background) && probability(r.Augment.Jitter)):
		return errors.New("aimv2: the probabilities of flip, background and jitter must be in [0, 1]")
	case !(r.Beta1 >= 0 && r.Beta1 < 1 && r.Beta2 >= 0 && r.Beta2 < 1):
		return fmt.Errorf("aimv2: betas %g and %g must be in [0, 1)", r.Beta1, r.Beta2)
	case r.Accumulate < 1 || r.Batch%r.Accumulate != 0:
		return fmt.Errorf("aimv2: a batch of %d does not divide into %d micro-batches", r.Batch, r.Accumulate)
	case !slices.Contains([]Objective{Multimodal, ImageOnly, CaptionOnly}, r.Objective):
		return fmt.Errorf("aimv2: there is no objective %q; there are %s, %s and %s", r.Objective, Multimodal, ImageOnly, CaptionOnly)
	case !slices.Contains([]Attention{PrefixAttention, CausalAttention, BidirectionalAttention}, r.Attention):
		return fmt.Errorf("aimv2: there is no attention %q; there are %s, %s and %s", r.Attention, PrefixAttention, CausalAttention, BidirectionalAttention)
	case !positive(r.PixelWeight):
		return fmt.Errorf("aimv2: the pixel loss has weight %g, it must be positive (the objective %q leaves it out)", r.PixelWeight, CaptionOnly)
	case r.EvalEvery < 0:
		return fmt.Errorf("aimv2: validation every %d steps", r.EvalEvery)
	}
	return r.Model.Validate()
}

// TrainFLOP returns the FLOP of one image's training step as Config.TrainFLOP
// counts them; without text the decoder reads the image alone.
func (r Recipe) TrainFLOP() float64 {
	if r.Objective == ImageOnly {
		return r.Model.trainFLOP(0)
	}
	return r.Model.TrainFLOP()
}

// Names of the files in an output folder.
const (
	ModelFile     = "model.safetensors"
	StateFile     = "state.safetensors" // weights, moments and step: what -resume reads
	ConfigFile    = "config.json"
	TokenizerFile = "tokenizer.json"
	MetricsFile   = "metrics.jsonl"
)

// Trainer runs a recipe.
type Trainer struct {
	Recipe Recipe
	Model  *Model
	Tok    *tokenizer.Tokenizer
	Step   int // steps taken
	opt    *nn.AdamW
	loader *Loader
	tape   *autograd.Tape
	prof   *profile.Profiler // nil: nobody asked
}

// Profile has p measure the steps to come, from the wait for their batch to the end
// of the optimiser's part. If p looks for NaN and Inf, a step that makes one ends the
// run before the weights change, with p's *profile.NonFiniteError.
func (t *Trainer) Profile(p *profile.Profiler) {
	t.prof, t.tape.Observer = p, p
	for _, v := range t.Model.Params() {
		p.Name(v.Var, v.Name)
	}
}

// NewTrainer prepares a fresh run. Errors: those of Recipe.Validate; an empty
// set.
func NewTrainer(dev *tensor.Device, r Recipe, set dataset.Set, tok *tokenizer.Tokenizer) (*Trainer, error) {
	if set.Len() == 0 {
		return nil, errors.New("aimv2: there is nothing to train on")
	}
	if tok.Vocab() > r.Model.Vocab {
		return nil, fmt.Errorf("aimv2: the tokenizer has %d tokens, the model room for %d", tok.Vocab(), r.Model.Vocab)
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	r.Data = Fingerprint(set)
	m, err := New(dev, r.Model, r.Seed)
	if err != nil {
		return nil, err
	}
	m.Encoder.Trunk.Recompute, m.Decoder.Trunk.Recompute = r.Recompute, r.Recompute
	tape := autograd.NewTape()
	tape.BF16 = r.BF16
	return &Trainer{Recipe: r, Model: m, Tok: tok, tape: tape,
		opt:    nn.NewAdamW(m.Params(), r.Peak, r.Beta1, r.Beta2, r.AdamEps, r.Decay, NoDecay),
		loader: NewLoader(dev, r, set, tok)}, nil
}

// Metrics is what one step reports; its JSON form is a line of metrics.jsonl.
type Metrics struct {
	Step     int     `json:"step"`
	Pixel    float64 `json:"pixel"`
	Text     float64 `json:"text"`
	Total    float64 `json:"total"`
	Rate     float64 `json:"lr"`
	GradNorm float64 `json:"grad_norm"` // before clipping
}

// DivergedError reports a loss or a gradient that is not finite. The weights are
// those before the step.
type DivergedError struct{ Metrics }

func (e *DivergedError) Error() string {
	if finite(e.Total) {
		return fmt.Sprintf("aimv2: step %d: the gradient is not finite (pixel loss %.4g, text loss %.4g)", e.Step, e.Pixel, e.Text)
	}
	return fmt.Sprintf("aimv2: step %d: the loss is not finite (pixel %.4g, text %.4g)", e.Step, e.Pixel, e.Text)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// Run takes steps until the recipe's last or until the context ends, and calls
// each after every step; an error from it ends the run. A step that has begun is
// finished, so the trainer can be saved in whatever way Run returns.
//
// Errors: that of each; a picture that cannot be read; *DivergedError; that of
// Profile. The end of the context is none.
func (t *Trainer) Run(ctx context.Context, each func(Metrics) error) error {
	ctx, cancel := context.WithCancel(ctx)
	batches := t.loader.stream(ctx, t.Step)
	defer func() {
		cancel()
		for b := range batches { // let the loader go
			b.Release()
		}
	}()
	for t.Step < t.Recipe.Steps && ctx.Err() == nil {
		t.prof.BeginStep(t.Step)
		t.prof.Enter("data", -1)
		b, ok := <-batches
		t.prof.Leave()
		if !ok {
			break // the context ended while the batch was made
		}
		if b.err != nil {
			return b.err
		}
		m, err := t.take(b.Batch)
		b.Release()
		if err != nil {
			return err
		}
		t.prof.EndStep()
		if err := each(m); err != nil {
			return err
		}
	}
	return nil
}

// take does a step. The losses of micro-batches add up, and so do their
// gradients, in the order of the micro-batches.
//
// Error: sums taken in other parts round otherwise, by at most 2e-6 of the
// largest value of a parameter's gradient over one pass of the whole batch.
func (t *Trainer) take(b *Batch) (Metrics, error) {
	r := t.Recipe
	m := Metrics{Step: t.Step}
	for i := range r.Accumulate {
		part := b
		if r.Accumulate > 1 {
			part = b.part(i, r.Accumulate)
		}
		l, _, _ := t.Model.Loss(t.tape, part)
		m.Pixel, m.Text, m.Total = m.Pixel+value(l.Pixel), m.Text+value(l.Text), m.Total+value(l.Total)
		err := t.prof.Err()
		if err == nil && !finite(m.Total) {
			err = &DivergedError{m}
		}
		if err == nil {
			t.tape.Backward(l.Total)
			l.Total.Value.Release()
			err = t.prof.Err()
		} else {
			t.tape.Reset()
		}
		if part != b {
			part.Release()
		}
		if err != nil {
			for _, p := range t.Model.Params() {
				p.ZeroGrad()
			}
			return m, err
		}
	}
	s := nn.WarmupCosine{Start: r.Start, Peak: r.Peak, Floor: r.Floor, Warmup: r.Warmup, Total: r.Steps}
	m.Rate = s.At(t.Step)
	t.prof.Enter("optimiser", -1)
	m.GradNorm = t.opt.Step(m.Rate, r.Clip)
	t.prof.Leave()
	if !finite(m.GradNorm) {
		return m, &DivergedError{m}
	}
	t.Step++
	return m, nil
}

// SaveState writes what Resume needs into dir: one file, whole or not at all,
// so that a run killed at any moment goes on from the last one.
func (t *Trainer) SaveState(dir string) error {
	recipe, err := json.Marshal(t.Recipe)
	if err != nil {
		return err
	}
	meta := map[string]string{"format": "pt", "step": strconv.Itoa(t.Step), "recipe": string(recipe)}
	return nn.Save(filepath.Join(dir, StateFile), "F32", meta, append(t.Model.Params(), t.opt.State()...))
}

// Resume continues the run saved in dir. A positive steps replaces the recipe's
// number of steps; then the schedule, too, is that of the new number.
//
// Errors: a state that is missing, damaged, of another model or of a run on
// other data; steps that the run is past.
func Resume(dev *tensor.Device, dir string, steps int, set dataset.Set) (*Trainer, error) {
	path := filepath.Join(dir, StateFile)
	state, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer state.Close()
	recipe, step, err := readState(state)
	if err != nil {
		return nil, err
	}
	if steps > 0 {
		recipe.Steps = steps
	}
	if step > recipe.Steps {
		return nil, fmt.Errorf("%s: the run is at step %d, past %d", path, step, recipe.Steps)
	}
	if data := Fingerprint(set); recipe.Data != "" && data != recipe.Data {
		return nil, fmt.Errorf("%s: the run was trained on %s, this is %s", path, recipe.Data, data)
	}
	tok, err := tokenizer.Load(filepath.Join(dir, TokenizerFile))
	if err != nil {
		return nil, err
	}
	if err := recipe.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := checkElements(state, 3*recipe.Model.Parameters()); err != nil { // weights and two moments
		return nil, err
	}
	t, err := NewTrainer(dev, recipe, set, tok)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := nn.LoadFrom(state, append(t.Model.Params(), t.opt.State()...)); err != nil {
		return nil, err
	}
	t.Step, t.opt.Steps = step, step
	return t, nil
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"fuerte/aimv2"
	"fuerte/aimv2/dataset"
	"fuerte/aimv2/dataset/emoji48"
	"fuerte/aimv2/report"
	"fuerte/aimv2/tokenizer"
	"fuerte/autograd/profile"
	"fuerte/kernels"
	"fuerte/tensor"
)

// schedule is a run that is asked for by its preset alone; a peak of 0 is the
// published one. Border and jitter are those of aimv2.Augment.
type schedule struct {
	steps, batch   int
	peak           float64
	border, jitter float64
}

// Small models on some thousand pictures learn most from many small steps, at
// twice the published rate.
var schedules = map[string]schedule{
	"tiny":  {6_000, 16, 2e-3, 0, 0},
	"emoji": {60_000, 32, 2e-3, 0.25, 0.8},
	"small": {40_000, 32, 1e-3, 0.25, 0.8},
}

// published is for the other presets, those of the paper: they need pictures of
// the user's own, and whoever has them knows better.
var published = schedule{steps: 100_000, batch: 64}

// Names of the files of a run, besides those of package aimv2.
const (
	lossFile     = "loss.png"
	targetsFile  = "targets.png"
	captionsFile = "captions.txt"
	profileFile  = "profile.md" // with -profile
)

type pretrainCommand struct {
	preset      string
	steps       int // 0: by preset, or as before
	batch       int // 0: by preset
	accumulate  int
	seed        uint64
	peakLR      float64 // 0: by preset
	weightDecay float64 // where it is given
	recompute   bool
	bf16        bool
	objective   string
	attention   string
	pixelWeight float64
	original    bool
	imageSize   int      // 0: by preset, or that of the run to start from
	from        string   // "": fresh weights
	data        []string // none: the embedded drawings
	evalData    []string // none: the embedded drawings' val-style, if those are trained on
	evalEvery   int      // where it is given
	tokenizer   string   // "": learned from the captions
	out         string   // "": by preset
	resume      string   // "": a new run
	every       int      // 0: once a minute
	profile     profileOptions

	given func(flag string) bool
}

func (c *pretrainCommand) describe() *cli.Command {
	return &cli.Command{
		Name:        "pretrain",
		Usage:       "Train a model: on the embedded drawings, or on pictures of your own.",
		Description: dataHelp,
		// A comma may stand in the braces of a pattern.
		DisableSliceFlagSeparator: true,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "preset", Destination: &c.preset, Value: "tiny", Usage: "size of the model, `NAME` one of " + strings.Join(aimv2.PresetNames(), ", ")},
			&cli.IntFlag{Name: "steps", Destination: &c.steps, Usage: "take `N` steps", DefaultText: "by preset; with --resume, as before"},
			&cli.IntFlag{Name: "batch", Destination: &c.batch, Usage: "take `N` pictures in a step", DefaultText: "by preset"},
			&cli.IntFlag{Name: "accumulate", Destination: &c.accumulate, Value: 1, Usage: "take the pictures of a step in `N` parts: less memory, the same gradient"},
			&cli.Uint64Flag{Name: "seed", Destination: &c.seed, Value: 1, Usage: "seed `S` of weights, order and augmentation"},
			&cli.FloatFlag{Name: "peak-lr", Destination: &c.peakLR, Usage: "highest learning `RATE`", DefaultText: "by preset"},
			&cli.BoolFlag{Name: "recompute", Destination: &c.recompute, Usage: "keep one activation of each block, compute the others twice: less memory, more time"},
			&cli.BoolFlag{Name: "bf16", Destination: &c.bf16, Usage: "multiply in bfloat16: faster where the CPU has products of it, and half the memory of what is kept for them"},
			&cli.FloatFlag{Name: "weight-decay", Destination: &c.weightDecay, Usage: "decay weights by the part `W` in a step at the peak", DefaultText: "1e-4; 0 with -init, as published for a second stage"},
			&cli.StringFlag{Name: "objective", Destination: &c.objective, Value: string(aimv2.Multimodal), Usage: "learn by the losses of `NAME`: multimodal (AIMV2), image (AIMv1) or caption"},
			&cli.StringFlag{Name: "attention", Destination: &c.attention, Value: string(aimv2.PrefixAttention), Usage: "encoder's attention in training, `NAME`: prefix, causal or bidirectional"},
			&cli.FloatFlag{Name: "pixel-weight", Destination: &c.pixelWeight, Value: aimv2.PixelWeight, Usage: "weight `A` of the pixel loss beside the text's of 1"},
			&cli.BoolFlag{Name: "original", Destination: &c.original, Usage: "do as the released code where that is a fault: EOS not learnt, prefixes repeated, mirrored against the caption, means of micro-batches averaged, no pixel loss in validation"},
			&cli.StringFlag{Name: "tokenizer", Destination: &c.tokenizer, Usage: "take the vocabulary in `PATH`: tokenizer.json, vocab.json, spiece.model or a folder with one", DefaultText: "learned from the captions"},
			&cli.IntFlag{Name: "image-size", Destination: &c.imageSize, Usage: "train on pictures of `S`×S pixels", DefaultText: "by preset"},
			&cli.StringFlag{Name: "init", Destination: &c.from, Usage: "start from the weights of the finished run in the folder `DIR`, with its model, tokenizer and recipe; at another -image-size its positions are interpolated"},
			&cli.StringSliceFlag{Name: "data", Destination: &c.data, Usage: "train on the pictures of `PATH`; given more often, as PATH=WEIGHT, on a mixture", DefaultText: "the embedded drawings"},
			&cli.StringSliceFlag{Name: "eval-data", Destination: &c.evalData, Usage: "validate on the pictures of `PATH`", DefaultText: "held-out embedded drawings, with the embedded ones"},
			&cli.IntFlag{Name: "eval-every", Destination: &c.evalEvery, Usage: "validate every `N` steps; 0: never", DefaultText: "20 times a run"},
			&cli.StringFlag{Name: "out", Destination: &c.out, Usage: "write the run to the folder `DIR`", DefaultText: "runs/NAME"},
			&cli.StringFlag{Name: "resume", Destination: &c.resume, Usage: "go on with the run in the folder `DIR`"},
			&cli.IntFlag{Name: "every", Destination: &c.every, Usage: "save the state every `N` steps", DefaultText: "once a minute"},
		}, c.profile.flags()...),
	}
}

// dataHelp says what -data takes.
const dataHelp = `A PATH with pictures is one of
  DIR          a folder of pictures, each with its caption beside it: cat.jpg, cat.txt
  FILE.jsonl   a list, {"image": "cats/1.jpg", "caption": "two cats"} in each line
  TAR          WebDataset shards: a folder of .tar files, one, or a pattern of them
               like 'shard-{0000..0099}.tar'; pairs of 1.jpg and 1.txt or 1.json
  MIX.json     a mixture, a list of {"data": "PATH", "weight": 0.3}
  emoji48      the embedded drawings; emoji48:SPLIT another split of them
With -objective image, pictures need no captions.`

func (c *pretrainCommand) check(given *cli.Command) error {
	c.given = given.IsSet
	switch {
	case given.IsSet("accumulate") && c.accumulate < 1:
		return fmt.Errorf("-accumulate %d: at least 1 is needed", c.accumulate)
	case given.IsSet("image-size") && c.imageSize < 1:
		return fmt.Errorf("-image-size %d: it must be positive", c.imageSize)
	case given.IsSet("eval-every") && c.evalEvery < 0:
		return fmt.Errorf("-eval-every %d: it must not be negative", c.evalEvery)
	case c.from != "" && given.IsSet("preset"):
		return errors.New("-preset cannot be given with -init: the run has its own model")
	case given.IsSet("steps") && c.steps < 1:
		return fmt.Errorf("-steps %d: at least 1 is needed", c.steps)
	case given.IsSet("batch") && c.batch < 1:
		return fmt.Errorf("-batch %d: at least 1 is needed", c.batch)
	case given.IsSet("peak-lr") && !(c.peakLR > 0):
		return fmt.Errorf("-peak-lr %g: it must be positive", c.peakLR)
	case c.every < 0:
		return fmt.Errorf("-every %d: it must not be negative", c.every)
	}
	if _, err := aimv2.Preset(c.preset); err != nil {
		return fmt.Errorf("-preset: %w", err)
	}
	if c.resume != "" {
		for _, name := range []string{"preset", "batch", "accumulate", "seed", "peak-lr", "weight-decay", "recompute", "bf16", "objective", "attention",
			"pixel-weight", "original", "tokenizer", "image-size", "init", "eval-every", "out"} {
			if given.IsSet(name) {
				return fmt.Errorf("-%s cannot be given with -resume: the run has its own", name)
			}
		}
	}
	if c.from != "" && c.tokenizer != "" {
		return errors.New("-tokenizer cannot be given with -init: the run has its own")
	}
	return nil
}

// run trains, and writes the folder of the run.
func (c *pretrainCommand) run() error {
	p := &progress{out: os.Stderr}
	ctx := interruptible(func() { p.say("interrupted: finishing the step (again: stop at once)") })
	var options []dataset.Option
	if captionless, err := c.captionless(); err != nil {
		return err
	} else if captionless {
		options = append(options, dataset.CaptionsOptional)
	}
	set, err := openData(c.data, emoji48.Train, options)
	if err != nil {
		return err
	}
	heldOut, err := c.heldOut(options)
	if err != nil {
		return err
	}
	var t *aimv2.Trainer
	dir := c.resume
	if dir != "" {
		t, err = resume(dir, c.steps, set, heldOut)
	} else {
		t, dir, err = c.begin(set, heldOut)
	}
	if err != nil {
		return err
	}
	metrics, err := report.OpenMetrics(filepath.Join(dir, aimv2.MetricsFile), t.Step)
	if err != nil {
		return err
	}
	// Appended lines are in the system's hands; closing adds only the sync.
	defer metrics.Close()

	level, _ := kernels.Choose() // main has checked it
	peak := 0.0
	for range 3 { // other programs may be in the way of one
		peak = max(peak, kernels.Peak(level, 0))
	}
	r := t.Recipe
	m, from := r.Model, ""
	if t.Step > 0 {
		from = fmt.Sprintf("from step %d to ", t.Step)
	}
	fmt.Fprintf(os.Stderr, "run      %s: %s%d steps of %d from %s, seed %d\n", dir, from, r.Steps, r.Batch, describe(set), r.Seed)
	fmt.Fprintf(os.Stderr, "model    %s parameters, %s of them the encoder's; %d×%d pixels in %d patches\n",
		count(m.Parameters()), count(m.EncoderParameters()), m.ImageSize, m.ImageSize, m.Tokens())
	fmt.Fprintf(os.Stderr, "machine  %s on %d threads, peak %.1f GFLOP/s measured; an image costs %.2f GFLOP\n",
		level.Name, runtime.GOMAXPROCS(0), peak/1e9, r.TrainFLOP()/1e9)

	watch, err := c.profile.start()
	if err != nil {
		return err
	}
	if watch != nil {
		t.Profile(watch)
	}
	p.begin(t, peak)
	saved := t.Step
	err = c.train(ctx, t, dir, metrics, p, heldOut, &saved)
	p.end()
	unwritten := c.profile.finish(filepath.Join(dir, profileFile))
	if unwritten != nil {
		complain(unwritten) // the run goes on to its end
	}

	goOn := self() + " pretrain -resume " + quote(dir)
	for _, d := range c.data {
		goOn += " -data " + quote(d)
	}
	for _, d := range c.evalData {
		goOn += " -eval-data " + quote(d)
	}
	var diverged *aimv2.DivergedError
	var nonFinite *profile.NonFiniteError
	switch {
	case errors.As(err, &nonFinite):
		return fmt.Errorf("%w; the state of step %d is kept in %s", err, saved, dir)
	case errors.As(err, &diverged):
		// The weights that led here are not saved over those before.
		return fmt.Errorf("%w; the state of step %d is kept in %s; a lower -peak-lr may help", err, saved, dir)
	case err != nil:
		if failure := t.SaveState(dir); failure != nil {
			return errors.Join(err, failure)
		}
		fmt.Fprintf(os.Stderr, "state saved at step %d; when the cause is mended:\n  %s\n", t.Step, goOn)
		return err
	case t.Step < t.Recipe.Steps:
		if err := t.SaveState(dir); err != nil {
			return err
		}
		fmt.Printf("stopped at step %d of %d; go on with\n  %s\n", t.Step, t.Recipe.Steps, goOn)
		return interrupted
	}
	if err := c.finish(t, dir, set, heldOut); err != nil {
		return err
	}
	files, next := lossFile, ""
	if t.Recipe.Objective != aimv2.CaptionOnly {
		files += ", " + targetsFile
	}
	if t.Recipe.Objective != aimv2.ImageOnly {
		files += ", " + captionsFile
		next = fmt.Sprintf("  %s caption -model %s PICTURE.png\n", self(), quote(dir))
	}
	fmt.Printf("finished: %s holds the model of step %d; see %s there\nnext:\n%s  %s probe -model %s\n", dir, t.Step, files, next, self(), quote(dir))
	if unwritten != nil {
		return failed
	}
	return nil
}

// train takes the steps, saves the state at times and validates at others.
func (c *pretrainCommand) train(ctx context.Context, t *aimv2.Trainer, dir string, metrics *report.Metrics, p *progress, heldOut dataset.Source, saved *int) error {
	lastSave, lastStep := time.Now(), time.Now()
	return t.Run(ctx, func(m aimv2.Metrics) error {
		now := time.Now()
		line := struct {
			aimv2.Metrics
			Seconds          float64 `json:"seconds"` // from the end of the step before
			aimv2.Validation         // of the weights after the step
		}{Metrics: m, Seconds: now.Sub(lastStep).Seconds()}
		if every := t.Recipe.EvalEvery; every > 0 && (t.Step%every == 0 || t.Step == t.Recipe.Steps) {
			var err error
			if line.Validation, err = t.Validate(heldOut); err != nil {
				return err
			}
			p.say("step %d: validation%s", t.Step, losses(line.Validation))
		}
		lastStep = time.Now()
		if err := metrics.Append(line); err != nil {
			return err
		}
		p.step(m)
		if c.every > 0 && t.Step%c.every == 0 || c.every == 0 && time.Since(lastSave) >= time.Minute {
			if err := t.SaveState(dir); err != nil {
				return err
			}
			lastSave, *saved = time.Now(), t.Step
		}
		return nil
	})
}

// losses writes a validation for reading: " pixel 0.8123 text 2.1230".
func losses(v aimv2.Validation) string {
	out := ""
	if v.Pixel != nil {
		out += fmt.Sprintf(" pixel %.4f", *v.Pixel)
	}
	if v.Text != nil {
		out += fmt.Sprintf(" text %.4f", *v.Text)
	}
	return out
}

// evalMost is the most pictures that are validated on; of more, as many are
// taken evenly or, of shards, the first.
const evalMost = 1000

// captionless tells whether the run reads no captions.
func (c *pretrainCommand) captionless() (bool, error) {
	objective := aimv2.Objective(c.objective)
	from := cmp.Or(c.resume, c.from)
	if from != "" && !c.given("objective") {
		r, err := aimv2.LoadRecipe(from)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil // which is reported by what reads the run
		}
		if err != nil {
			return false, err
		}
		objective = r.Objective
	}
	return objective == aimv2.ImageOnly, nil
}

// heldOut opens what is validated on: nil for nothing.
func (c *pretrainCommand) heldOut(options []dataset.Option) (dataset.Source, error) {
	if len(c.evalData) == 0 && len(c.data) > 0 {
		if c.given("eval-every") && c.evalEvery > 0 {
			return nil, errors.New("-eval-every needs -eval-data: pictures that are not trained on")
		}
		return nil, nil
	}
	set, err := openData(c.evalData, emoji48.ValStyle, options)
	if err != nil {
		return nil, err
	}
	src, err := dataset.Sample(set, evalMost)
	if err == nil && src.Len() == 0 {
		err = errors.New("-eval-data: there are no pictures")
	}
	return src, err
}

// openData opens the paths of -data or -eval-data; without one, a split of the
// embedded drawings.
func openData(paths []string, split string, options []dataset.Option) (dataset.Set, error) {
	switch len(paths) {
	case 0:
		return emoji48.Open(split)
	case 1:
		path, _ := cutWeight(paths[0])
		return openSet(path, split, options)
	}
	parts := make([]dataset.Part, len(paths))
	for i, p := range paths {
		path, weight := cutWeight(p)
		set, err := openSet(path, split, options)
		if err != nil {
			return nil, err
		}
		parts[i] = dataset.Part{Set: set, Weight: weight}
	}
	return dataset.Mix(parts...)
}

// openSet opens one path.
func openSet(path, split string, options []dataset.Option) (dataset.Set, error) {
	if name, chosen, found := strings.Cut(path, ":"); name == "emoji48" {
		if found {
			split = chosen
		}
		return emoji48.Open(split)
	}
	return dataset.Open(path, options...)
}

// cutWeight parts "PATH=0.3". What is there under the whole name is a path, and
// one without a number has a weight of 1.
func cutWeight(arg string) (path string, weight float64) {
	at := strings.LastIndexByte(arg, '=')
	if at < 0 {
		return arg, 1
	}
	if _, err := os.Stat(arg); err == nil {
		return arg, 1
	}
	weight, err := strconv.ParseFloat(arg[at+1:], 64)
	if err != nil {
		return arg, 1
	}
	return arg[:at], weight
}

// describe says what a set holds.
func describe(set dataset.Set) string {
	switch set := set.(type) {
	case *dataset.Shards:
		return fmt.Sprintf("%d shards", set.Files())
	case *dataset.Mixture:
		var parts []string
		for _, p := range set.Parts() {
			parts = append(parts, fmt.Sprintf("%g of %s", p.Weight, describe(p.Set)))
		}
		return strings.Join(parts, " and ")
	}
	return fmt.Sprintf("%d pictures", set.Len())
}

// begin starts a run in a folder that holds none.
func (c *pretrainCommand) begin(set dataset.Set, heldOut dataset.Source) (*aimv2.Trainer, string, error) {
	dir := cmp.Or(c.out, filepath.Join("runs", c.preset))
	for _, name := range []string{aimv2.StateFile, aimv2.ModelFile, aimv2.MetricsFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return nil, "", fmt.Errorf("%s holds a run (%s): go on with it by -resume %s, or choose another folder by -out", dir, name, quote(dir))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, "", err
		}
	}
	var t *aimv2.Trainer
	var err error
	if c.from != "" {
		t, err = c.secondStage(set, heldOut)
	} else {
		t, err = c.fresh(set, heldOut)
	}
	if err != nil {
		return nil, "", err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, "", err
	}
	// The state of step 0 makes the folder one to resume from at any moment, and
	// shows a full disk before the first step.
	if err := errors.Join(t.SaveSetup(dir), t.SaveState(dir)); err != nil {
		return nil, "", err
	}
	return t, dir, nil
}

// fresh prepares a run of a preset, with weights and a vocabulary of its own.
func (c *pretrainCommand) fresh(set dataset.Set, heldOut dataset.Source) (*aimv2.Trainer, error) {
	model, err := aimv2.Preset(c.preset)
	if err != nil {
		return nil, err
	}
	length, ok := schedules[c.preset]
	if !ok {
		length = published
	}
	recipe := aimv2.Published(model, cmp.Or(c.steps, length.steps), cmp.Or(c.batch, length.batch), c.seed)
	recipe.Peak = cmp.Or(length.peak, recipe.Peak)
	recipe.Augment.Border, recipe.Augment.Jitter = length.border, length.jitter
	c.options(&recipe, heldOut, true)
	var tok *tokenizer.Tokenizer
	if c.tokenizer != "" {
		if tok, err = tokenizer.Load(c.tokenizer); err != nil {
			return nil, fmt.Errorf("-tokenizer: %w", err)
		}
		recipe.Model.Vocab = tok.Vocab()
	}
	if err := errors.Join(recipe.Validate(), fits(recipe.Model.Parameters())); err != nil {
		return nil, err
	}
	if tok == nil {
		if tok, err = aimv2.TrainTokenizer(set, model.Vocab); err != nil {
			return nil, err
		}
	}
	return aimv2.NewTrainer(tensor.CPU, recipe, set, tok)
}

// secondStage prepares a run that starts from the weights of another one. What
// the command line does not say is as in that run, but for the weight decay:
// with pictures of higher resolution the published one is 0.
func (c *pretrainCommand) secondStage(set dataset.Set, heldOut dataset.Source) (*aimv2.Trainer, error) {
	first, tok, err := loadModel(c.from)
	if err != nil {
		return nil, err
	}
	recipe, err := aimv2.LoadRecipe(c.from)
	if err != nil {
		return nil, err
	}
	recipe.Steps, recipe.Batch = cmp.Or(c.steps, recipe.Steps), cmp.Or(c.batch, recipe.Batch)
	recipe.Warmup = max(1, recipe.Steps/100)
	recipe.Decay = 0
	c.options(&recipe, heldOut, false)
	if err := errors.Join(recipe.Validate(), fits(recipe.Model.Parameters())); err != nil {
		return nil, err
	}
	t, err := aimv2.NewTrainer(tensor.CPU, recipe, set, tok)
	if err != nil {
		return nil, err
	}
	return t, t.StartFrom(first)
}

// options sets what the command line says of a recipe; all is set where the
// values that it does not give count, too.
func (c *pretrainCommand) options(r *aimv2.Recipe, heldOut dataset.Source, all bool) {
	set := func(flag string, to func()) {
		if all || c.given(flag) {
			to()
		}
	}
	set("seed", func() { r.Seed = c.seed })
	set("accumulate", func() { r.Accumulate = c.accumulate })
	set("recompute", func() { r.Recompute = c.recompute })
	set("bf16", func() { r.BF16 = c.bf16 })
	set("objective", func() { r.Objective = aimv2.Objective(c.objective) })
	set("attention", func() { r.Attention = aimv2.Attention(c.attention) })
	set("pixel-weight", func() { r.PixelWeight = c.pixelWeight })
	set("original", func() { r.Original = c.original })
	r.Peak = cmp.Or(c.peakLR, r.Peak)
	r.Model.ImageSize = cmp.Or(c.imageSize, r.Model.ImageSize)
	if c.given("weight-decay") {
		r.Decay = c.weightDecay
	}
	r.EvalEvery, r.EvalData = 0, ""
	if heldOut == nil || c.given("eval-every") && c.evalEvery == 0 {
		return
	}
	const evals = 20
	r.EvalEvery, r.EvalData = cmp.Or(c.evalEvery, max(1, r.Steps/evals)), aimv2.Fingerprint(heldOut)
}

// resume goes on with the run in dir, to as many steps as before where steps is 0.
func resume(dir string, steps int, set dataset.Set, heldOut dataset.Source) (*aimv2.Trainer, error) {
	state, err := os.Stat(filepath.Join(dir, aimv2.StateFile))
	if err != nil {
		return nil, fmt.Errorf("%s holds no run to resume: %w", dir, err)
	}
	if err := fits(int(state.Size() / 12)); err != nil { // float32 weights and two moments
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	// A run killed in the middle of a save leaves the hidden half of it.
	halves, err := filepath.Glob(filepath.Join(dir, "."+aimv2.StateFile+".*.tmp"))
	if err != nil {
		return nil, err
	}
	for _, h := range halves {
		if err := os.Remove(h); err != nil {
			return nil, err
		}
	}
	t, err := aimv2.Resume(tensor.CPU, dir, steps, set)
	if err != nil {
		return nil, err
	}
	if r := t.Recipe; r.EvalEvery > 0 {
		if heldOut == nil {
			return nil, fmt.Errorf("%s is validated on %s: give it by -eval-data", dir, r.EvalData)
		}
		if data := aimv2.Fingerprint(heldOut); data != r.EvalData {
			return nil, fmt.Errorf("%s is validated on %s, -eval-data is %s", dir, r.EvalData, data)
		}
	}
	if steps == 0 {
		return t, nil
	}
	// A state with the new number first: from here on the run is the new one.
	return t, errors.Join(t.SaveState(dir), t.SaveSetup(dir))
}

// finish writes what a finished run leaves.
func (c *pretrainCommand) finish(t *aimv2.Trainer, dir string, set dataset.Set, heldOut dataset.Source) error {
	if err := errors.Join(t.SaveState(dir), t.SaveModel(dir, "F32")); err != nil {
		return err
	}
	points, err := report.ReadMetrics[report.Point](filepath.Join(dir, aimv2.MetricsFile))
	if err != nil {
		return err
	}
	if len(points) > 0 { // the file may have been taken away before a resume
		if err := report.LossCurve(filepath.Join(dir, lossFile), points); err != nil {
			return err
		}
	}
	examples := heldOut
	if examples == nil {
		if examples, err = dataset.Sample(set, evalMost); err != nil {
			return err
		}
	}
	var targets, captions error
	if t.Recipe.Objective != aimv2.CaptionOnly {
		targets = drawTargets(filepath.Join(dir, targetsFile), t.Model, t.Tok, examples)
	}
	if t.Recipe.Objective != aimv2.ImageOnly {
		captions = writeCaptions(filepath.Join(dir, captionsFile), t.Model, t.Tok, examples)
	}
	return errors.Join(targets, captions)
}

// count writes a large number for reading: "1.62 M".
func count(n int) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f G", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.2f M", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.0f k", float64(n)/1e3)
	}
	return fmt.Sprint(n)
}

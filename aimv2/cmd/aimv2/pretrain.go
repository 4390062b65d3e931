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
	preset    string
	steps     int // 0: by preset, or as before
	batch     int // 0: by preset
	seed      uint64
	peakLR    float64 // 0: by preset
	recompute bool
	bf16      bool
	data      string // "": the embedded drawings
	tokenizer string // "": learned from the captions
	out       string // "": by preset
	resume    string // "": a new run
	every     int    // 0: once a minute
	profile   profileOptions
}

func (c *pretrainCommand) describe() *cli.Command {
	return &cli.Command{
		Name:        "pretrain",
		Usage:       "Train a model: on the embedded drawings, or on a folder of pictures.",
		Description: "A picture of a folder has its caption in a text file beside it: cat.jpg, cat.txt.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "preset", Destination: &c.preset, Value: "tiny", Usage: "size of the model, `NAME` one of " + strings.Join(aimv2.PresetNames(), ", ")},
			&cli.IntFlag{Name: "steps", Destination: &c.steps, Usage: "take `N` steps", DefaultText: "by preset; with --resume, as before"},
			&cli.IntFlag{Name: "batch", Destination: &c.batch, Usage: "take `N` pictures in a step", DefaultText: "by preset"},
			&cli.Uint64Flag{Name: "seed", Destination: &c.seed, Value: 1, Usage: "seed `S` of weights, order and augmentation"},
			&cli.FloatFlag{Name: "peak-lr", Destination: &c.peakLR, Usage: "highest learning `RATE`", DefaultText: "by preset"},
			&cli.BoolFlag{Name: "recompute", Destination: &c.recompute, Usage: "keep one activation of each block, compute the others twice: less memory, more time"},
			&cli.BoolFlag{Name: "bf16", Destination: &c.bf16, Usage: "multiply in bfloat16: faster where the CPU has products of it, and half the memory of what is kept for them"},
			&cli.StringFlag{Name: "data", Destination: &c.data, Usage: "train on the pictures in the folder `DIR`", DefaultText: "the embedded drawings"},
			&cli.StringFlag{Name: "tokenizer", Destination: &c.tokenizer, Usage: "take the vocabulary in `PATH`: tokenizer.json, vocab.json, spiece.model or a folder with one", DefaultText: "learned from the captions"},
			&cli.StringFlag{Name: "out", Destination: &c.out, Usage: "write the run to the folder `DIR`", DefaultText: "runs/NAME"},
			&cli.StringFlag{Name: "resume", Destination: &c.resume, Usage: "go on with the run in the folder `DIR`"},
			&cli.IntFlag{Name: "every", Destination: &c.every, Usage: "save the state every `N` steps", DefaultText: "once a minute"},
		}, c.profile.flags()...),
	}
}

func (c *pretrainCommand) check(given *cli.Command) error {
	switch {
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
		for _, name := range []string{"preset", "batch", "seed", "peak-lr", "recompute", "bf16", "tokenizer", "out"} {
			if given.IsSet(name) {
				return fmt.Errorf("-%s cannot be given with -resume: the run has its own", name)
			}
		}
	}
	return nil
}

// run trains, and writes the folder of the run.
func (c *pretrainCommand) run() error {
	p := &progress{out: os.Stderr}
	ctx := interruptible(func() { p.say("interrupted: finishing the step (again: stop at once)") })
	src, err := c.source()
	if err != nil {
		return err
	}
	var t *aimv2.Trainer
	dir := c.resume
	if dir != "" {
		t, err = resume(dir, c.steps, src)
	} else {
		t, dir, err = c.begin(src)
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

	set, _ := kernels.Choose() // main has checked it
	peak := 0.0
	for range 3 { // other programs may be in the way of one
		peak = max(peak, kernels.Peak(set, 0))
	}
	r := t.Recipe
	m, from := r.Model, ""
	if t.Step > 0 {
		from = fmt.Sprintf("from step %d to ", t.Step)
	}
	fmt.Fprintf(os.Stderr, "run      %s: %s%d steps of %d from %d pictures, seed %d\n", dir, from, r.Steps, r.Batch, src.Len(), r.Seed)
	fmt.Fprintf(os.Stderr, "model    %s parameters, %s of them the encoder's; %d×%d pixels in %d patches\n",
		count(m.Parameters()), count(m.EncoderParameters()), m.ImageSize, m.ImageSize, m.Tokens())
	fmt.Fprintf(os.Stderr, "machine  %s on %d threads, peak %.1f GFLOP/s measured; an image costs %.2f GFLOP\n",
		set.Name, runtime.GOMAXPROCS(0), peak/1e9, m.TrainFLOP()/1e9)

	watch, err := c.profile.start()
	if err != nil {
		return err
	}
	if watch != nil {
		t.Profile(watch)
	}
	p.begin(t, peak)
	saved := t.Step
	err = c.train(ctx, t, dir, metrics, p, &saved)
	p.end()
	unwritten := c.profile.finish(filepath.Join(dir, profileFile))
	if unwritten != nil {
		complain(unwritten) // the run goes on to its end
	}

	goOn := self() + " pretrain -resume " + quote(dir)
	if c.data != "" {
		goOn += " -data " + quote(c.data)
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
	if err := c.finish(t, dir, src); err != nil {
		return err
	}
	fmt.Printf(`finished: %s holds the model of step %d; see %s, %s and %s there
next:
  %s caption -model %s PICTURE.png
  %s probe -model %s
`, dir, t.Step, lossFile, targetsFile, captionsFile, self(), quote(dir), self(), quote(dir))
	if unwritten != nil {
		return failed
	}
	return nil
}

// train takes the steps and saves the state at times.
func (c *pretrainCommand) train(ctx context.Context, t *aimv2.Trainer, dir string, metrics *report.Metrics, p *progress, saved *int) error {
	lastSave, lastStep := time.Now(), time.Now()
	return t.Run(ctx, func(m aimv2.Metrics) error {
		now := time.Now()
		line := struct {
			aimv2.Metrics
			Seconds float64 `json:"seconds"` // from the end of the step before
		}{m, now.Sub(lastStep).Seconds()}
		lastStep = now
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

// source opens what is trained on.
func (c *pretrainCommand) source() (dataset.Source, error) {
	if c.data != "" {
		return dataset.Folder(c.data)
	}
	return emoji48.Open(emoji48.Train)
}

// begin starts a run in a folder that holds none.
func (c *pretrainCommand) begin(src dataset.Source) (*aimv2.Trainer, string, error) {
	dir := cmp.Or(c.out, filepath.Join("runs", c.preset))
	for _, name := range []string{aimv2.StateFile, aimv2.ModelFile, aimv2.MetricsFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return nil, "", fmt.Errorf("%s holds a run (%s): go on with it by -resume %s, or choose another folder by -out", dir, name, quote(dir))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, "", err
		}
	}
	model, err := aimv2.Preset(c.preset)
	if err != nil {
		return nil, "", err
	}
	var tok *tokenizer.Tokenizer
	if c.tokenizer != "" {
		if tok, err = tokenizer.Load(c.tokenizer); err != nil {
			return nil, "", fmt.Errorf("-tokenizer: %w", err)
		}
		model.Vocab = tok.Vocab()
	}
	if err := fits(model.Parameters()); err != nil {
		return nil, "", fmt.Errorf("-preset %s: %w", c.preset, err)
	}
	length, ok := schedules[c.preset]
	if !ok {
		length = published
	}
	recipe := aimv2.Published(model, cmp.Or(c.steps, length.steps), cmp.Or(c.batch, length.batch), c.seed)
	recipe.Recompute, recipe.BF16 = c.recompute, c.bf16
	recipe.Peak = cmp.Or(c.peakLR, length.peak, recipe.Peak)
	recipe.Augment.Border, recipe.Augment.Jitter = length.border, length.jitter
	if tok == nil {
		if tok, err = aimv2.TrainTokenizer(src, model.Vocab); err != nil {
			return nil, "", err
		}
	}
	t, err := aimv2.NewTrainer(tensor.CPU, recipe, src, tok)
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

// resume goes on with the run in dir, to as many steps as before where steps is 0.
func resume(dir string, steps int, src dataset.Source) (*aimv2.Trainer, error) {
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
	t, err := aimv2.Resume(tensor.CPU, dir, steps, src)
	if err != nil || steps == 0 {
		return t, err
	}
	// A state with the new number first: from here on the run is the new one.
	return t, errors.Join(t.SaveState(dir), t.SaveSetup(dir))
}

// finish writes what a finished run leaves.
func (c *pretrainCommand) finish(t *aimv2.Trainer, dir string, src dataset.Source) error {
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
	examples := src
	if c.data == "" {
		if examples, err = emoji48.Open(emoji48.ValStyle); err != nil {
			return err
		}
	}
	return errors.Join(
		drawTargets(filepath.Join(dir, targetsFile), t.Model, t.Tok, examples),
		writeCaptions(filepath.Join(dir, captionsFile), t.Model, t.Tok, examples))
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

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"fuerte/aimv2"
	"fuerte/aimv2/dataset"
	"fuerte/aimv2/dataset/emoji48"
	"fuerte/aimv2/report"
	"fuerte/kernels"
	"fuerte/tensor"
)

// schedule is a run that is asked for by its preset alone; a peak of 0 is the
// published one.
type schedule struct {
	steps, batch int
	peak         float64
}

// Small models on some thousand pictures learn most from many small steps, at
// twice the published rate.
var schedules = map[string]schedule{
	"tiny":  {6_000, 16, 2e-3},
	"emoji": {28_000, 32, 2e-3},
	"small": {40_000, 32, 1e-3},
}

// published is for the other presets, those of the paper: they need pictures of
// the user's own, and whoever has them knows better.
var published = schedule{100_000, 64, 0}

// Names of the files of a run, besides those of package aimv2.
const (
	lossFile     = "loss.png"
	targetsFile  = "targets.png"
	captionsFile = "captions.txt"
)

type pretrainCommand struct {
	Preset    string   `placeholder:"NAME" help:"Size of the model: ${presets}. Default: tiny."`
	Steps     *int     `placeholder:"N" help:"Steps to take. Default: by preset; with -resume, as before."`
	Batch     *int     `placeholder:"N" help:"Pictures in a step. Default: by preset."`
	Seed      *uint64  `placeholder:"S" help:"Seed of weights, order and augmentation. Default: 1."`
	PeakLR    *float64 `name:"peak-lr" placeholder:"RATE" help:"Highest learning rate. Default: by preset."`
	Recompute bool     `help:"Keep one activation of each block and compute the others twice: less memory, more time."`
	Data      string   `placeholder:"DIR" help:"Pictures to train on, each with its caption in a text file beside it: cat.jpg, cat.txt. Default: the embedded drawings."`
	Out       string   `placeholder:"DIR" help:"Folder of the run. Default: runs/PRESET."`
	Resume    string   `placeholder:"DIR" help:"Go on with the run in this folder."`
	Every     int      `placeholder:"N" help:"Save the state every N steps. Default: once a minute."`
}

// Validate is called by kong; its errors are errors of usage.
func (c *pretrainCommand) Validate() error {
	given := func(p *int) bool { return p != nil }
	switch {
	case given(c.Steps) && *c.Steps < 1:
		return fmt.Errorf("-steps %d: at least 1 is needed", *c.Steps)
	case given(c.Batch) && *c.Batch < 1:
		return fmt.Errorf("-batch %d: at least 1 is needed", *c.Batch)
	case c.PeakLR != nil && !(*c.PeakLR > 0):
		return fmt.Errorf("-peak-lr %g: it must be positive", *c.PeakLR)
	case c.Every < 0:
		return fmt.Errorf("-every %d: it must not be negative", c.Every)
	}
	if c.Preset != "" {
		if _, err := aimv2.Preset(c.Preset); err != nil {
			return fmt.Errorf("-preset: %w", err)
		}
	}
	if c.Resume != "" {
		for _, o := range []struct {
			name  string
			given bool
		}{
			{"preset", c.Preset != ""}, {"batch", given(c.Batch)}, {"seed", c.Seed != nil},
			{"peak-lr", c.PeakLR != nil}, {"recompute", c.Recompute}, {"out", c.Out != ""},
		} {
			if o.given {
				return fmt.Errorf("-%s cannot be given with -resume: the run has its own", o.name)
			}
		}
	}
	return nil
}

// Run trains, and writes the folder of the run.
func (c *pretrainCommand) Run() error {
	p := &progress{out: os.Stderr}
	ctx := interruptible(func() { p.say("interrupted: finishing the step (again: stop at once)") })
	src, err := c.source()
	if err != nil {
		return err
	}
	var t *aimv2.Trainer
	dir := c.Resume
	if dir != "" {
		t, err = resume(dir, c.Steps, src)
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

	p.begin(t, peak)
	saved := t.Step
	err = c.train(ctx, t, dir, metrics, p, &saved)
	p.end()

	goOn := self() + " pretrain -resume " + quote(dir)
	if c.Data != "" {
		goOn += " -data " + quote(c.Data)
	}
	var diverged *aimv2.DivergedError
	switch {
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
		if c.Every > 0 && t.Step%c.Every == 0 || c.Every == 0 && time.Since(lastSave) >= time.Minute {
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
	if c.Data != "" {
		return dataset.Folder(c.Data)
	}
	return emoji48.Open(emoji48.Train)
}

// begin starts a run in a folder that holds none.
func (c *pretrainCommand) begin(src dataset.Source) (*aimv2.Trainer, string, error) {
	preset := c.Preset
	if preset == "" {
		preset = "tiny"
	}
	dir := c.Out
	if dir == "" {
		dir = filepath.Join("runs", preset)
	}
	for _, name := range []string{aimv2.StateFile, aimv2.ModelFile, aimv2.MetricsFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return nil, "", fmt.Errorf("%s holds a run (%s): go on with it by -resume %s, or choose another folder by -out", dir, name, quote(dir))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, "", err
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, "", err
	}
	model, err := aimv2.Preset(preset)
	if err != nil {
		return nil, "", err
	}
	length, ok := schedules[preset]
	if !ok {
		length = published
	}
	or := func(given *int, otherwise int) int {
		if given != nil {
			return *given
		}
		return otherwise
	}
	seed := uint64(1)
	if c.Seed != nil {
		seed = *c.Seed
	}
	recipe := aimv2.Published(model, or(c.Steps, length.steps), or(c.Batch, length.batch), seed)
	recipe.Recompute = c.Recompute
	if length.peak > 0 {
		recipe.Peak = length.peak
	}
	if c.PeakLR != nil {
		recipe.Peak = *c.PeakLR
	}
	tok, err := aimv2.TrainTokenizer(src, model.Vocab)
	if err != nil {
		return nil, "", err
	}
	t, err := aimv2.NewTrainer(tensor.CPU, recipe, src, tok)
	if err != nil {
		return nil, "", err
	}
	// The state of step 0 makes the folder one to resume from at any moment, and
	// shows a full disk before the first step.
	if err := errors.Join(t.SaveSetup(dir), t.SaveState(dir)); err != nil {
		return nil, "", err
	}
	return t, dir, nil
}

// resume goes on with the run in dir.
func resume(dir string, steps *int, src dataset.Source) (*aimv2.Trainer, error) {
	if _, err := os.Stat(filepath.Join(dir, aimv2.StateFile)); err != nil {
		return nil, fmt.Errorf("%s holds no run to resume: %w", dir, err)
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
	if steps == nil {
		return aimv2.Resume(tensor.CPU, dir, 0, src)
	}
	t, err := aimv2.Resume(tensor.CPU, dir, *steps, src)
	if err != nil {
		return nil, err
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
	if c.Data == "" {
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

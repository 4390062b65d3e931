package aimv2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"fuerte/aimv2/dataset"
	"fuerte/tensor"
)

// drawings is a source in memory: coloured boxes on transparent ground.
type drawings int

func (d drawings) Len() int { return int(d) }

func (d drawings) Record(i int) dataset.Record {
	return dataset.Record{Name: fmt.Sprint(i), Caption: fmt.Sprintf("box %d", i%7), Keywords: []string{"shape", fmt.Sprint("row ", i%3)}}
}

func (d drawings) Encoded(int) ([]byte, error) { return nil, errors.ErrUnsupported }

func (d drawings) Image(i int) (image.Image, error) {
	if i >= int(d) {
		panic("no such picture")
	}
	img := image.NewNRGBA(image.Rect(0, 0, 20+i%5, 20))
	for y := 3; y < 14; y++ {
		for x := i % 7; x < 9+i%7; x++ {
			img.SetNRGBA(x, y, color.NRGBA{uint8(30 * i), uint8(200 - 9*i), uint8(11 * x * y), 255})
		}
	}
	return img, nil
}

// damaged is a source with one picture that cannot be read.
type damaged struct{ drawings }

func (d damaged) Image(i int) (image.Image, error) {
	if i == 5 {
		return nil, errors.New("five.png: damaged")
	}
	return d.drawings.Image(i)
}

// smallRecipe trains in a blink, yet its matrices fall into several tasks.
func smallRecipe(steps int) Recipe {
	c := Config{ImageSize: 16, PatchSize: 4, Encoder: Stack{48, 2, 2, 112}, Decoder: Stack{48, 1, 2, 112}, Vocab: 560, Context: 8, NormEps: 1e-5}
	r := Published(c, steps, 10, 3)
	r.Warmup = 3
	return r
}

func smallTrainer(t *testing.T, r Recipe, set dataset.Set) *Trainer {
	t.Helper()
	tok, err := TrainTokenizer(drawings(23), r.Model.Vocab)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := NewTrainer(tensor.CPU, r, set, tok)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// steps runs until the trainer has taken n steps and returns what they reported.
func steps(t *testing.T, tr *Trainer, n int) (all []Metrics) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := tr.Run(ctx, func(m Metrics) error {
		all = append(all, m)
		if tr.Step == n {
			cancel()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if tr.Step != n {
		t.Fatalf("stopped at step %d, want %d", tr.Step, n)
	}
	return all
}

// state returns the bytes that SaveState writes.
func state(t *testing.T, tr *Trainer) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := tr.SaveState(dir); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, StateFile))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestResumeBits stops at every kind of step, also twice, and wants the bits of
// the run that was not stopped.
func TestResumeBits(t *testing.T) {
	const n = 12
	src := drawings(23) // an epoch ends inside the third batch
	straight := smallTrainer(t, smallRecipe(n), src)
	all := steps(t, straight, n)
	want := state(t, straight)
	for _, stops := range [][]int{{0}, {1}, {5}, {n - 1}, {n}, {2, 7}} {
		dir := t.TempDir()
		tr := smallTrainer(t, smallRecipe(n), src)
		if err := tr.SaveSetup(dir); err != nil {
			t.Fatal(err)
		}
		for _, stop := range stops {
			if stop > 0 {
				steps(t, tr, stop)
			}
			if err := tr.SaveState(dir); err != nil {
				t.Fatal(err)
			}
			var err error
			if tr, err = Resume(tensor.CPU, dir, 0, src); err != nil {
				t.Fatal(err)
			}
			if tr.Step != stop {
				t.Fatalf("resumed at step %d, want %d", tr.Step, stop)
			}
		}
		at := tr.Step
		for i, m := range steps(t, tr, n) {
			if m != all[at+i] {
				t.Errorf("stopped at %v: step %d reports %+v, want %+v", stops, at+i, m, all[at+i])
				break
			}
		}
		if !bytes.Equal(state(t, tr), want) {
			t.Errorf("stopped at %v: other bits than the straight run", stops)
		}
	}
}

// TestResumeRefuses holds the errors of Resume.
func TestResumeRefuses(t *testing.T) {
	src := drawings(23)
	dir := t.TempDir()
	tr := smallTrainer(t, smallRecipe(9), src)
	steps(t, tr, 4)
	if err := errors.Join(tr.SaveSetup(dir), tr.SaveState(dir), tr.SaveModel(dir, "F32")); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(tensor.CPU, dir, 3, src); err == nil {
		t.Error("resumed to a step that is past")
	}
	if _, err := Resume(tensor.CPU, dir, 0, drawings(22)); err == nil {
		t.Error("resumed on other data")
	}
	if _, err := Resume(tensor.CPU, t.TempDir(), 0, src); err == nil {
		t.Error("resumed from an empty folder")
	}
	longer, err := Resume(tensor.CPU, dir, 30, src)
	if err != nil || longer.Recipe.Steps != 30 || longer.Step != 4 {
		t.Errorf("a longer run: %v", err)
	}
	model, err := os.ReadFile(filepath.Join(dir, ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, StateFile), model, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(tensor.CPU, dir, 0, src); err == nil {
		t.Error("resumed from a model without a state")
	}
}

// TestLoadRefusesLargeConfig wants an error, and not the memory, for a
// configuration that the weights beside it do not bear out.
func TestLoadRefusesLargeConfig(t *testing.T) {
	dir := t.TempDir()
	tr := smallTrainer(t, smallRecipe(1), drawings(23))
	if err := tr.SaveModel(dir, "F32"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(tensor.CPU, dir); err != nil {
		t.Fatal(err)
	}
	tr.Recipe.Model.Encoder = Stack{1 << 16, 1 << 16, 2, 1 << 16}
	if err := tr.SaveSetup(dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(tensor.CPU, dir); err == nil {
		t.Error("loaded a model of 2^50 parameters")
	}
}

// TestRunEnds runs into a damaged picture, an error of the caller and a loss that
// is not finite: each ends the run, with the trainer as after the last whole step.
func TestRunEnds(t *testing.T) {
	tr := smallTrainer(t, smallRecipe(9), damaged{23})
	taken := 0
	err := tr.Run(t.Context(), func(Metrics) error { taken++; return nil })
	if err == nil || tr.Step != taken {
		t.Errorf("a damaged picture: error %v at step %d after %d steps", err, tr.Step, taken)
	}

	tr = smallTrainer(t, smallRecipe(9), drawings(23))
	full := errors.New("disk full")
	if err := tr.Run(t.Context(), func(Metrics) error { return full }); err != full || tr.Step != 1 {
		t.Errorf("got %v at step %d, want the caller's error at step 1", err, tr.Step)
	}

	for _, rate := range []float64{1e8, 1e10, 1e15} { // at some, the gradient overflows before the loss
		r := smallRecipe(9)
		r.Peak, r.Warmup = rate, 0
		tr = smallTrainer(t, r, drawings(23))
		var diverged *DivergedError
		if err := tr.Run(t.Context(), func(Metrics) error { return nil }); !errors.As(err, &diverged) || diverged.Step != tr.Step {
			t.Errorf("rate %g: got %v at step %d, want a DivergedError", rate, err, tr.Step)
		}
		for _, p := range tr.Model.Params() {
			if sum := tensor.SumSquares(p.Value); math.IsNaN(sum) {
				t.Errorf("rate %g: %s is left with NaN", rate, p.Name)
			}
			if p.Grad != nil {
				t.Errorf("rate %g: %s is left with a gradient", rate, p.Name)
			}
		}
	}

	// A run whose context has ended takes no step, however the loader is scheduled.
	for range 50 {
		tr = smallTrainer(t, smallRecipe(9), drawings(23))
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		if err := tr.Run(ctx, func(Metrics) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTakeAllocations: a steady step, losses, schedule and optimiser included, makes
// no heap allocation; where blocks are run twice, one a block, its closure.
func TestTakeAllocations(t *testing.T) {
	if raced {
		t.Skip("the race detector makes pools leak")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection empties pools
	for _, recompute := range []bool{false, true} {
		r := smallRecipe(1000)
		r.Recompute = recompute
		tr := smallTrainer(t, r, drawings(8))
		images := make([]float32, 2*3*r.Model.ImageSize*r.Model.ImageSize)
		for i := range images {
			images[i] = float32(i % 7)
		}
		b := NewBatch(tensor.CPU, r.Model, images, [][]int32{{1, 2}, {3}}, []int32{1, 5}, 4)
		step := func() {
			if _, err := tr.take(b); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			step()
		}
		want := 0
		if recompute {
			want = r.Model.Encoder.Depth + r.Model.Decoder.Depth
		}
		if n := testing.AllocsPerRun(20, step); int(n) != want {
			t.Errorf("recompute %t: a step makes %g allocations, want %d", recompute, n, want)
		}
	}
}

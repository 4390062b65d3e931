package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fuerte/bench/internal/shapes"
	"fuerte/kernels"
	"fuerte/nn/tuning"
)

// simulated is a tuner on a machine whose speed is known: factor for a Tuning, noise of a
// few per cent, and a clock that only its products advance.
func simulated(factor func(t kernels.Tuning) float64) *tuner {
	r := rand.New(rand.NewPCG(1, 1))
	clock := time.Unix(0, 0)
	return &tuner{products: 3, shuffle: r.Shuffle, now: func() time.Time { return clock }, time: func(product int, t kernels.Tuning) (float64, error) {
		seconds := 1e-3 * float64(product+1) * factor(t) * (1 + 0.05*r.Float64())
		clock = clock.Add(time.Duration(seconds * 1e9))
		return seconds, t.Check()
	}}
}

func tuneFor(t *testing.T, s *tuner) (chosen kernels.Tuning, better bool, report string) {
	t.Helper()
	var w bytes.Buffer
	begin := s.now()
	chosen, better, err := s.tune(t.Context(), begin.Add(15*time.Second), begin.Add(30*time.Second), &w)
	if err != nil {
		t.Fatal(err)
	}
	return chosen, better, w.String()
}

// TestChoice: on a machine that is faster with more tasks and lower blocks, both are
// found, and nothing else.
func TestChoice(t *testing.T) {
	d := kernels.DefaultTuning()
	want := d
	want.BlockRows, want.Tasks = d.BlockRows/2, 2*d.Tasks
	if want.Check() != nil {
		want.BlockRows = d.BlockRows * 2
	}
	chosen, better, report := tuneFor(t, simulated(func(t kernels.Tuning) float64 {
		f := 1.0
		if t.BlockRows == want.BlockRows {
			f *= 0.8
		}
		switch t.Tasks {
		case want.Tasks:
			f *= 0.7
		case 2 * want.Tasks:
			f *= 0.9
		}
		if t.TaskFLOP != d.TaskFLOP || t.ThinElements != d.ThinElements {
			f *= 1.2
		}
		return f
	}))
	if !better || chosen != want {
		t.Errorf("chose %+v, better %v, want %+v\n%s", chosen, better, want, report)
	}
}

// TestNoChoice: where every Tuning is as fast, or only seems faster where it stands
// alone, none beats the default.
func TestNoChoice(t *testing.T) {
	if chosen, better, report := tuneFor(t, simulated(func(kernels.Tuning) float64 { return 1 })); better {
		t.Errorf("chose %+v\n%s", chosen, report)
	}
	d := kernels.DefaultTuning()
	chosen, better, report := tuneFor(t, simulated(func(t kernels.Tuning) float64 {
		if t.Tasks != d.Tasks && t.TaskFLOP != d.TaskFLOP {
			return 1.3
		}
		if t.Tasks != d.Tasks || t.TaskFLOP != d.TaskFLOP {
			return 0.8
		}
		return 1
	}))
	if better || chosen == d || !strings.Contains(report, "measured anew") {
		t.Errorf("chose %+v, better %v\n%s", chosen, better, report)
	}
}

func TestBeats(t *testing.T) {
	still := gain{1, 0.99, 1.01, 0.96}
	for _, c := range []struct {
		choice, itself gain
		want           bool
	}{
		{gain{1.1, 1.05, 1.2, 0.96}, still, true},
		{gain{1.1, 1.05, 1.2, 0.94}, still, false},                    // too few rounds
		{gain{1.1, 1.005, 1.2, 0.96}, still, false},                   // within the noise
		{gain{1.1, 1.05, 1.2, 0.96}, gain{1, 0.9, 1, 0.96}, false},    // the same, below 1
		{gain{1.1, 1.05, 1.2, 0.96}, gain{1, 1.0, 1.06, 0.96}, false}, // and above
		{gain{0.9, 0.8, 0.95, 0.96}, gain{0.9, 0.8, 0.7, 0.96}, false},
	} {
		if got := beats(c.choice, c.itself); got != c.want {
			t.Errorf("%v against %v: %v", c.choice, c.itself, got)
		}
	}
}

func TestCandidates(t *testing.T) {
	for _, d := range []kernels.Tuning{kernels.DefaultTuning(), {BlockRows: 2048, Tasks: 64, TaskFLOP: 1 << 28, ThinElements: 1 << 10}} {
		list := candidates(d)
		if len(list) < 5 {
			t.Errorf("only %d candidates for %+v", len(list), d)
		}
		for _, c := range list {
			back := c.tuning
			*c.field.of(&back) = *c.field.of(&d)
			if err := c.tuning.Check(); err != nil || c.tuning == d || back != d {
				t.Errorf("candidate %+v of %+v, %v: not one field varied", c.tuning, d, err)
			}
		}
	}
}

// TestErrors: no time, an error of the measurement, Ctrl-C.
func TestErrors(t *testing.T) {
	s := simulated(func(kernels.Tuning) float64 { return 1 })
	now := s.now()
	if _, better, err := s.tune(t.Context(), now, now, &bytes.Buffer{}); better || err == nil || !strings.Contains(err.Error(), "-time") {
		t.Errorf("no time: %v, %v", better, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.tune(ctx, now.Add(time.Hour), now.Add(time.Hour), &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	broken := errors.New("broken")
	s.time = func(int, kernels.Tuning) (float64, error) { return 0, broken }
	if _, _, err := s.tune(t.Context(), now.Add(time.Hour), now.Add(time.Hour), &bytes.Buffer{}); !errors.Is(err, broken) {
		t.Errorf("broken: %v", err)
	}
}

// TestMultiplier measures real products, and leaves the Tuning as it was.
func TestMultiplier(t *testing.T) {
	set, err := kernels.Choose()
	if err != nil {
		t.Fatal(err)
	}
	before := kernels.CurrentTuning()
	m, err := newMultiplier(set, []shapes.Gemm{{Layout: "NN", M: 40, N: 40, K: 40, Batch: 1}, {Layout: "TT", M: 3, N: 50, K: 20, Batch: 2}})
	if err != nil {
		t.Fatal(err)
	}
	s := tuner{products: len(m.products), time: m.time, shuffle: rand.Shuffle, now: time.Now}
	var report bytes.Buffer
	now := time.Now()
	_, _, err = s.tune(t.Context(), now.Add(150*time.Millisecond), now.Add(300*time.Millisecond), &report)
	m.restore()
	if err != nil || !strings.Contains(report.String(), "default |") {
		t.Errorf("%v\n%s", err, &report)
	}
	if got := kernels.CurrentTuning(); got != before {
		t.Errorf("the Tuning became %+v", got)
	}
}

// TestStore: only what is better is stored, and not by -dry-run.
func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "tuning.json")
	t.Setenv("FUERTE_TUNING", path)
	chosen := kernels.DefaultTuning()
	chosen.Tasks++
	for _, c := range []struct {
		better, dry, stored bool
		want                string
	}{{false, false, false, "more than the noise"}, {true, true, false, "-dry-run"}, {true, false, true, path}} {
		var w bytes.Buffer
		if err := store("avx2", chosen, c.better, c.dry, &w); err != nil || !strings.Contains(w.String(), c.want) {
			t.Errorf("better %v, dry %v: %v, %q", c.better, c.dry, err, &w)
		}
		if got, err := tuning.Load("avx2"); (err == nil) != c.stored || c.stored && got != chosen {
			t.Errorf("better %v, dry %v: loaded %+v, %v", c.better, c.dry, got, err)
		}
	}
}

// TestCommand runs command lines: wrong ones, and one without the time for a round.
func TestCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tuning.json")
	t.Setenv("FUERTE_TUNING", path)
	for _, c := range []struct {
		args   string
		status int
		want   string // on standard error
	}{
		{"-nonsense", 2, "nonsense"},
		{"-time 0s", 2, "-time"},
		{"-time -1s", 2, "-time"},
		{"-threads 0", 2, "-threads is 1…"},
		{"-threads 1000000", 2, "-threads is 1…"},
		{"file", 2, `unexpected argument "file"`},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(strings.Fields(c.args), &stdout, &stderr); status != c.status || !strings.Contains(stderr.String(), c.want) || stdout.Len() > 0 {
			t.Errorf("tune %s: status %d, %q, %q", c.args, status, &stdout, &stderr)
		}
	}
	if testing.Short() {
		t.Skip("takes seconds")
	}
	set, err := kernels.Choose()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	status := run([]string{"-dry-run", "-threads", "1", "-time", "1ms"}, &stdout, &stderr)
	if status != 1 || !strings.Contains(stderr.String(), "-time is too short") || !strings.HasPrefix(stdout.String(), tuning.Key(set.Name)+", threads: 1\n") {
		t.Errorf("no time: status %d, %q, %q", status, &stdout, &stderr)
	}
	t.Setenv("FUERTE_TUNING", "off")
	if status := run([]string{"-time", "1ms"}, &stdout, &stderr); status != 1 || !strings.Contains(stderr.String(), "FUERTE_TUNING=off") {
		t.Errorf("off: status %d, %q", status, &stderr)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something is stored: %v", err)
	}
}

package aimv2

import (
	"bytes"
	"errors"
	"math"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"fuerte/kernels"
	"fuerte/tensor"
)

// TestTrainingBits wants the same bits of weights and moments from any number of
// threads, from another run, and with recomputed activations.
func TestTrainingBits(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	n := 50
	if testing.Short() {
		n = 10
	}
	var want []byte
	var first []Metrics
	for _, threads := range []int{1, 2, 3} {
		runtime.GOMAXPROCS(threads)
		tr := smallTrainer(t, smallRecipe(n), drawings(23))
		m := steps(t, tr, n)
		got := state(t, tr)
		if want == nil {
			want, first = got, m
			if last := m[n-1]; !(last.Total < m[0].Total) {
				t.Errorf("the loss went from %g to %g", m[0].Total, last.Total)
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d threads end with other bits than 1", threads)
		}
		sameMetrics(t, threads, m, first)
	}
	r := smallRecipe(n)
	r.Recompute = true
	part := min(n, 20)
	m := steps(t, smallTrainer(t, r, drawings(23)), part)
	sameMetrics(t, runtime.GOMAXPROCS(0), m, first[:part])
}

// TestTrainingBF16: with products of bfloat16 the losses stay near those of float32 and
// the bits are the same from any number of threads, with recomputed activations and after
// a resume.
func TestTrainingBF16(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	const n = 12
	exact := steps(t, smallTrainer(t, smallRecipe(n), drawings(23)), n)
	r := smallRecipe(n)
	r.BF16 = true
	runtime.GOMAXPROCS(1)
	tr := smallTrainer(t, r, drawings(23))
	first := steps(t, tr, n)
	same := true
	for i, m := range first {
		same = same && m.Total == exact[i].Total
		if d := math.Abs(m.Total-exact[i].Total) / exact[i].Total; !(d < 0.01) {
			t.Errorf("step %d: the loss is %g in bfloat16, %g in float32", i, m.Total, exact[i].Total)
		}
	}
	if same {
		t.Error("nothing was rounded")
	}
	runtime.GOMAXPROCS(3)
	r.Recompute = true
	sameMetrics(t, 3, steps(t, smallTrainer(t, r, drawings(23)), n), first)
	r.Recompute = false

	half := smallTrainer(t, r, drawings(23))
	steps(t, half, n/2)
	dir := t.TempDir()
	if err := errors.Join(half.SaveSetup(dir), half.SaveState(dir)); err != nil {
		t.Fatal(err)
	}
	resumed, err := Resume(tensor.CPU, dir, 0, drawings(23))
	if err != nil {
		t.Fatal(err)
	}
	sameMetrics(t, 3, steps(t, resumed, n), first[n/2:])
	if !bytes.Equal(state(t, resumed), state(t, tr)) {
		t.Error("a resumed run ends with other bits")
	}
}

// sameMetrics wants what every step of a run reports to be what it was at first,
// with one thread.
func sameMetrics(t *testing.T, threads int, m, first []Metrics) {
	t.Helper()
	for i := range first {
		if m[i] != first[i] {
			t.Errorf("%d threads: step %d reports %+v, 1 thread %+v", threads, i, m[i], first[i])
			return
		}
	}
}

// TestTrainingBitsLevels runs TestTrainingBits on every other level that this
// machine has. A process chooses its level once, so each has one of its own.
func TestTrainingBitsLevels(t *testing.T) {
	if level := os.Getenv("FUERTE_ISA"); level != "" {
		t.Skip("FUERTE_ISA forces one level, which TestTrainingBits has run: ", level)
	}
	for _, s := range kernels.Sets() {
		if s.Missing != "" {
			t.Logf("%s: not run, this CPU lacks %s", s.Name, s.Missing)
			continue
		}
		if s.Name == kernels.F32().Name {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			args := []string{"-test.run=^TestTrainingBits$", "-test.v"}
			if testing.Short() {
				args = append(args, "-test.short")
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
			cmd.Env = append(os.Environ(), "FUERTE_ISA="+s.Name)
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("--- PASS: TestTrainingBits ")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

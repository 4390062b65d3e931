package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fuerte/aimv2"
	"fuerte/nn/npy"
	"fuerte/nn/safetensors"
	"fuerte/tensor"
)

// stubVenv is an environment whose Python answers right about PyTorch, runs out
// of luck in torch.compile, answers wrong for AdamW, and lacks everything else.
func stubVenv(t *testing.T) string {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
case "$1 $2" in
*torch_peer.py\ eager) COMPARE_FAKE="good 1" exec %[1]s ;;
*torch_peer.py\ foreach) COMPARE_FAKE="wrong" exec %[1]s ;;
*torch_peer.py\ compile) COMPARE_FAKE="refuses" exec %[1]s ;;
esac
echo "ModuleNotFoundError: No module named 'it'" >&2
exit 1
`, self)
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "python"), []byte(script), 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPython runs the whole command with peers in Python, all of which stand in
// the report: with numbers, or with the reason why not.
func TestPython(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	venv, file, coded := stubVenv(t), filepath.Join(dir, "shapes"), filepath.Join(dir, "run.json")
	for op, c := range map[string]struct {
		line string
		want []string // of the report
	}{
		"attention": {"backward prefix 2 2 40 16", []string{
			"GFLOP/s of the median of 2 rounds", "- peak, threads = 1: ", "| torch | fake good |", "| jax | did not start |", "No module named 'it'",
			"- torch-compile, backward prefix 2×2×40×16: this size is not supported", "| % of peak |",
		}},
		"adamw": {"16 2 32", []string{"GB/s of the median", "- streaming bandwidth, threads = 1: ", "- torch-foreach, 2 blocks of 16, 0.0 M: wrong: the move[", "| % of streaming bandwidth |"}},
		"infer": {"24 12 16 2 2 24 3", []string{"images/s of the median", "| onnxruntime | did not start |", "Peak of the resident memory"}},
		"step":  {"24 12 16 2 2 24 16 1 2 24 40 5 3", []string{"| torch | fake good |", "| asked for |", "Peak of the resident memory"}},
	} {
		if err := os.WriteFile(file, []byte(c.line+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		args := []string{"-op", op, "-shapes", file, "-rounds", "2", "-least", "10us", "-threads", "1", "-venv", venv, "-json", coded, "-require", "torch"}
		if status := run(args, strings.NewReader(""), &stdout, &stderr); status != 0 {
			t.Errorf("%s: status %d, %s", op, status, stderr.String())
		}
		for _, want := range c.want {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("%s: no %q in\n%s", op, want, stdout.String())
			}
		}
		text, err := os.ReadFile(coded)
		if err != nil {
			t.Fatal(err)
		}
		var r report
		if err := json.Unmarshal(text, &r); err != nil || len(r.Rows) != 1 {
			t.Fatalf("%v, %s", err, text)
		}
		m := r.Rows[0]
		if peer := m.Timings["torch"]; m.Best != "torch" || math.Abs(peer.Median-1e-6) > 1e-12 || peer.Rate <= 0 || m.Percent <= 0 || m.Low > m.Ratio || m.High < m.Ratio {
			t.Errorf("%s: %s", op, text)
		}
	}
}

// TestFind: what there is no interpreter for has a reason, and every script that
// a peer names is there.
func TestFind(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	f, err := newFinder("")
	if err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for _, p := range peers {
		if p.script == nil {
			continue
		}
		if _, err := f.find(context.Background(), p); !errors.Is(err, errNoVenv) {
			t.Errorf("%s without -venv: %v", p.name, err)
		}
		f.venv = empty
		if _, err := f.find(context.Background(), p); err == nil || !strings.Contains(err.Error(), "no bin/python") {
			t.Errorf("%s in an empty folder: %v", p.name, err)
		}
		f.venv = stubVenv(t)
		prog, err := f.find(context.Background(), p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(prog.line[1]); err != nil || !slices.Equal(prog.line[2:], p.script[1:]) {
			t.Errorf("%s: %v, %v", p.name, prog.line, err)
		}
		f.venv = ""
	}
}

// TestChoosePeers: every op has peers, gemm those of before, and a peer is not
// asked for what it does not do.
func TestChoosePeers(t *testing.T) {
	for _, op := range operations {
		all, err := choosePeers("all", op)
		if err != nil || len(all) == 0 {
			t.Errorf("%s: %v, %v", op.name, all, err)
		}
		for _, p := range all {
			if (p.script == nil) != (op.name == "gemm") {
				t.Errorf("%s is a peer for %s", p.name, op.name)
			}
		}
	}
	if _, err := choosePeers("torch, onnxruntime", attentionOp); err == nil || err.Error() != "onnxruntime does no attention" {
		t.Error(err)
	}
	if got, err := choosePeers("torch", attentionOp); err != nil || len(got) != 1 || got[0].name != "torch" {
		t.Errorf("%v, %v", got, err)
	}
}

// TestAlone: programs that do not fit side by side are measured one after the
// other, and what does not fit at all is lost with a reason.
func TestAlone(t *testing.T) {
	rows := someRows(t, "NN 5 6 7", "NT 9 8 7", "TN 3 4 5")
	rows[0].memory, rows[1].memory = 30, 60
	c := fakeComparison(fakeProgram(t, ours, "good 2"), fakeProgram(t, "peer", "good 3"), fakeProgram(t, "slow", "good 300"))
	c.available = func() float64 { return 50 }
	res, err := c.run(context.Background(), 1, rows)
	if err != nil {
		t.Fatal(err)
	}
	for name, rounds := range map[string]int{ours: 8, "peer": 8, "slow": 8} {
		if got := res.rows[0].Timings[name]; len(got.Seconds) != rounds || got.Once || got.Lost != "" {
			t.Errorf("%s has %d rounds, once %v, lost %q", name, len(got.Seconds), got.Once, got.Lost)
		}
		if got := res.rows[1].Timings[name].Lost; !strings.Contains(got, "needs 0.0 GB of memory") {
			t.Errorf("%s, too large: lost %q", name, got)
		}
	}
	if m := res.rows[0]; !m.Alone || m.Best != "peer" || math.Abs(m.Ratio-1.5) > 1e-9 {
		t.Errorf("alone %v, %.2f × %s", m.Alone, m.Ratio, m.Best)
	}
	if m := res.rows[2]; m.Alone || m.Timings["slow"].Repetitions == 0 || len(m.Timings["slow"].Seconds) != 1 {
		t.Errorf("by turns again: %+v", m.Timings["slow"])
	}
	if len(res.gone) != 0 || len(res.versions) != 3 {
		t.Errorf("gone %v, versions %v", res.gone, res.versions)
	}

	p := &pass{comparison: c, threads: 1, processes: make([]*process, 3), versions: make([]string, 3), failed: make([]int, 3), gone: make([]string, 3)}
	if _, err := p.row(context.Background(), rows[0]); err != nil {
		t.Fatal(err)
	}
	for i, q := range p.processes {
		if q != nil {
			t.Errorf("%s still runs", c.programs[i].name)
		}
	}
}

// TestMemory: the report has the memory of each program where the system tells.
func TestMemory(t *testing.T) {
	if math.IsInf(availableMemory(), 1) {
		t.Log("this system does not tell")
		return
	}
	res, err := fakeComparison(fakeProgram(t, ours, "good")).run(context.Background(), 1, someRows(t, "NN 5 6 7"))
	if err != nil {
		t.Fatal(err)
	}
	if got := res.rows[0].Timings[ours].Memory; got < 1<<20 || got > 1<<30 {
		t.Errorf("a Go program took %g bytes", got)
	}
}

// TestExport: what aimv2_torch.py --check reads is complete, and its values are
// those of the op.
func TestExport(t *testing.T) {
	const args = "24 12 16 2 2 24 16 1 2 24 40 5 3"
	r, err := stepOp.parse(args)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	if err := exportStep(r, dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "check.json"))
	if err != nil {
		t.Fatal(err)
	}
	var check struct {
		Model  aimv2.Config
		Values []float64
	}
	if err := json.Unmarshal(text, &check); err != nil {
		t.Fatal(err)
	}
	p, err := stepOp.serve(args)
	if err != nil {
		t.Fatal(err)
	}
	if want := p.check(); !slices.Equal(check.Values, want) {
		t.Errorf("values %v, want %v", check.Values, want)
	}
	f, err := safetensors.Open(filepath.Join(dir, aimv2.ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	elements := 0
	for _, name := range f.Names() {
		info, _ := f.Info(name)
		elements += info.Elements()
	}
	if elements != check.Model.Parameters() {
		t.Errorf("%d weights, want %d", elements, check.Model.Parameters())
	}
	for name, want := range map[string][]int{"images": {3, 3, 24, 24}, "prefix": {3}, "captions": {3, 5}} {
		data, err := os.Open(filepath.Join(dir, name+".npy"))
		if err != nil {
			t.Fatal(err)
		}
		shape, _, err := npy.Read(data)
		data.Close()
		if err != nil || !slices.Equal(shape, want) {
			t.Errorf("%s is %v, want %v, %v", name, shape, want, err)
		}
	}
	// The weights are those before the steps.
	m, err := parseStep(args)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newStep(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.model.Params() {
		got := make([]float32, p.Value.Len())
		if err := f.Float32s(p.Name, got); err != nil || !slices.Equal(got, tensor.Data[float32](p.Value)) {
			t.Errorf("%s differs: %v", p.Name, err)
		}
	}
	var stdout, stderr bytes.Buffer
	if status := run([]string{"-op", "gemm", "-export", dir}, strings.NewReader(""), &stdout, &stderr); status != 2 || !strings.Contains(stderr.String(), "-export is for -op step") {
		t.Errorf("status %d, %s", status, stderr.String())
	}
}

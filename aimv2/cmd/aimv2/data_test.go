package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fuerte/aimv2"
	"fuerte/aimv2/report"
)

// shards packs the pictures of a folder that pictures filled into two tar files.
func shards(t *testing.T, from, to string) {
	t.Helper()
	files := names(t, from)
	for i, part := range [][]string{files[:8], files[8:]} { // picture and caption are neighbours
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, name := range part {
			data := read(t, filepath.Join(from, name))
			err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))})
			if _, err2 := w.Write(data); errors.Join(err, err2) != nil {
				t.Fatal(err, err2)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(to, fmt.Sprintf("s-%d.tar", i)), b.Bytes())
	}
}

// validated counts the lines of metrics that have a validation.
func validated(t *testing.T, dir string) (n int) {
	t.Helper()
	points, err := report.ReadMetrics[report.Point](filepath.Join(dir, aimv2.MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range points {
		if p.Validation != nil {
			n++
		}
	}
	return n
}

// TestMixtureRun trains on a mixture of shards, a list and embedded drawings, in
// micro-batches and with validations: straight; killed in the middle and resumed;
// and with a shard that vanishes and comes back.
func TestMixtureRun(t *testing.T) {
	dir := t.TempDir()
	pictures(t, filepath.Join(dir, "data"))
	shards(t, filepath.Join(dir, "data"), filepath.Join(dir, "tars"))
	write(t, filepath.Join(dir, "list.jsonl"), []byte("{\"image\":\"data/p1.png\",\"caption\":\"one\"}\n{\"image\":\"data/p2.png\",\"text\":\"two\"}\n"))
	const steps = 40
	data := []string{"-data", "tars/s-{0,1}.tar=0.5", "-data", "list.jsonl=0.2", "-data", "emoji48=0.3", "-eval-data", "data"}
	pretrain := func(out string) []string {
		return append([]string{"pretrain", "-steps", fmt.Sprint(steps), "-batch", "4", "-accumulate", "2", "-eval-every", "10", "-every", "3", "-out", out}, data...)
	}
	resume := func(out string) []string { return append([]string{"pretrain", "-resume", out}, data...) }
	r := must(t, dir, pretrain("straight")...)
	model := read(t, filepath.Join(dir, "straight", aimv2.ModelFile))
	checkMetrics(t, filepath.Join(dir, "straight"), steps)
	if n := validated(t, filepath.Join(dir, "straight")); n != 4 || strings.Count(r.stderr, "validation pixel ") != 4 {
		t.Errorf("%d validations: %q", n, r.stderr)
	}
	if !strings.Contains(r.stderr, "0.5 of 2 shards and 0.2 of 2 pictures and 0.3 of 8255 pictures") {
		t.Errorf("the data are not named: %q", r.stderr)
	}

	c, wait := start(t, dir, pretrain("killed")...)
	waitForSteps(t, filepath.Join(dir, "killed"), 8)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	wait()
	for _, args := range [][]string{{"-data", "tars"}, data[:6], append(slices.Clone(data[:6]), "-eval-data", "list.jsonl")} {
		if r := do(t, dir, append([]string{"pretrain", "-resume", "killed"}, args...)...); r.status != 1 || !strings.Contains(r.stderr, "shards") && !strings.Contains(r.stderr, "-eval-data") {
			t.Errorf("resumed by %q: status %d, %q", args, r.status, r.stderr)
		}
	}
	must(t, dir, resume("killed")...)
	if !bytes.Equal(read(t, filepath.Join(dir, "killed", aimv2.ModelFile)), model) {
		t.Error("the resumed run ends with other weights than the straight one")
	}
	checkMetrics(t, filepath.Join(dir, "killed"), steps)
	if n := validated(t, filepath.Join(dir, "killed")); n != 4 {
		t.Errorf("the resumed run has %d validations", n)
	}

	_, wait = start(t, dir, pretrain("vanished")...)
	waitForSteps(t, filepath.Join(dir, "vanished"), 4)
	gone := filepath.Join(dir, "tars", "s-1.tar")
	if err := os.Rename(gone, gone+".away"); err != nil {
		t.Fatal(err)
	}
	r = wait()
	if err := os.Rename(gone+".away", gone); err != nil {
		t.Fatal(err)
	}
	if r.status != 1 || !strings.Contains(r.stderr, "tars/s-1.tar: no such file") || !strings.Contains(r.stderr, "pretrain -resume vanished -data 'tars/s-{0,1}.tar=0.5' -data list.jsonl=0.2") {
		t.Fatalf("status %d, %q", r.status, r.stderr)
	}
	must(t, dir, resume("vanished")...)
	if !bytes.Equal(read(t, filepath.Join(dir, "vanished", aimv2.ModelFile)), model) {
		t.Error("the mended run ends with other weights than the straight one")
	}
}

// TestStages walks the switches of a run: the embedded drawings are validated on
// by themselves, each objective leaves what it can, and a second stage goes on at
// another resolution.
func TestStages(t *testing.T) {
	dir := t.TempDir()
	pictures(t, filepath.Join(dir, "data"))
	must(t, dir, "pretrain", "-steps", "2", "-batch", "2", "-eval-every", "2", "-out", "first")
	if n := validated(t, filepath.Join(dir, "first")); n != 1 {
		t.Errorf("%d validations on the embedded drawings", n)
	}
	first, err := aimv2.LoadRecipe(filepath.Join(dir, "first"))
	if err != nil {
		t.Fatal(err)
	}

	must(t, dir, "pretrain", "-init", "first", "-image-size", "72", "-steps", "3", "-peak-lr", "1e-5", "-data", "data", "-out", "second")
	second, err := aimv2.LoadRecipe(filepath.Join(dir, "second"))
	if err != nil {
		t.Fatal(err)
	}
	if second.Model.ImageSize != 72 || second.Decay != 0 || first.Decay != 1e-4 || second.Peak != 1e-5 || second.Batch != first.Batch || second.EvalEvery != 0 {
		t.Errorf("the second stage has recipe %+v", second)
	}
	must(t, dir, "caption", "-model", "second", "data/p0.png")
	if r := do(t, dir, "pretrain", "-init", "first", "-image-size", "50", "-data", "data", "-out", "x"); r.status != 1 || !strings.Contains(r.stderr, "50 pixels") {
		t.Errorf("at an odd size: status %d, %q", r.status, r.stderr)
	}

	for objective, lacks := range map[string]string{"image": captionsFile, "caption": targetsFile} {
		must(t, dir, "pretrain", "-steps", "2", "-batch", "2", "-data", "data", "-objective", objective, "-attention", "causal", "-original", "-weight-decay", "0.01", "-out", objective)
		left := names(t, filepath.Join(dir, objective))
		if slices.Contains(left, lacks) || len(left) != 7 {
			t.Errorf("%s leaves %q", objective, left)
		}
		r, err := aimv2.LoadRecipe(filepath.Join(dir, objective))
		if err != nil || string(r.Objective) != objective || r.Attention != aimv2.CausalAttention || !r.Original || r.Decay != 0.01 {
			t.Errorf("%s has recipe %+v, %v", objective, r, err)
		}
	}
	write(t, filepath.Join(dir, "bare", "a.png"), read(t, filepath.Join(dir, "data", "p0.png")))
	write(t, filepath.Join(dir, "bare", "b.png"), read(t, filepath.Join(dir, "data", "p1.png")))
	must(t, dir, "pretrain", "-steps", "2", "-batch", "2", "-data", "bare", "-eval-data", "bare", "-objective", "image", "-out", "captionless")
	must(t, dir, "pretrain", "-resume", "captionless", "-steps", "3", "-data", "bare", "-eval-data", "bare")
	must(t, dir, "embed", "-model", "image", "data/p0.png", "-out", "f.npy")
}

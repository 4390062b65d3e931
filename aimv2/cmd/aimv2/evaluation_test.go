package main

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fuerte/aimv2"
)

// readEvaluation reads what -json wrote, and wants it whole: who, on what, how
// and when, and every number inside its interval.
func readEvaluation(t *testing.T, path string) *evaluation {
	t.Helper()
	var e evaluation
	if err := json.Unmarshal(read(t, path), &e); err != nil {
		t.Fatal(err)
	}
	if e.Task == "" || e.Model == "" || e.Data == "" || len(e.Splits) == 0 || e.Settings == nil || e.Config.ImageSize == 0 || !strings.HasPrefix(e.Command, "aimv2 "+e.Task) {
		t.Errorf("%s lacks something: %+v", path, e)
	}
	if date, err := time.Parse(time.RFC3339, e.Date); err != nil || time.Since(date) > time.Hour {
		t.Errorf("%s has the date %q", path, e.Date)
	}
	seen := map[string]bool{}
	for _, m := range e.Metrics {
		if !(m.Low <= m.Value && m.Value <= m.High) || m.N < 1 || m.How == "" {
			t.Errorf("%s: %+v", path, m)
		}
		key := fmt.Sprint(m.Task, "/", m.Method, "/", m.Metric, "/", m.Split)
		if seen[key] {
			t.Errorf("%s: %s twice", path, key)
		}
		seen[key] = true
	}
	return &e
}

// value finds a number.
func (e *evaluation) value(t *testing.T, task, method, metric, split string) float64 {
	t.Helper()
	for _, m := range e.Metrics {
		if m.Task == task && m.Method == method && m.Metric == metric && m.Split == split {
			return m.Value
		}
	}
	t.Errorf("there is no %s of %s for %s on %s", metric, method, task, split)
	return math.NaN()
}

// checkSweep wants the whole grid, and the better rate, by val-style, as the
// probe's number.
func checkSweep(t *testing.T, e *evaluation, table string) {
	t.Helper()
	for _, task := range []string{"group", "subgroup"} {
		for _, method := range []string{"attentive probe", "linear probe"} {
			slow, quick := method+", lr 1e-05, wd 0.1", method+", lr 0.002, wd 0.1"
			if !strings.Contains(table, slow) || !strings.Contains(table, quick) {
				t.Errorf("the table lacks %q or %q", slow, quick)
			}
			best := quick
			if e.value(t, task, slow, "top-1", "val-style") >= e.value(t, task, quick, "top-1", "val-style") {
				best = slow
			}
			for _, split := range []string{"val-style", "test-style", "test-concept"} {
				if got, want := e.value(t, task, method, "top-1", split), e.value(t, task, best, "top-1", split); got != want {
					t.Errorf("%s, %s: %s says %g, its best, %s, %g", task, split, method, got, best, want)
				}
			}
		}
	}
	if a, b := e.value(t, "group", "attentive probe", "top-1", "val-style"), e.value(t, "group", "most frequent class", "top-1", "val-style"); a < b+0.1 {
		t.Errorf("the attentive probe tells %.3f of the groups, the most frequent class %.3f", a, b)
	}
}

// TestRetrieve: the built-in model finds the captions of drawings that it was not
// trained on; the numbers on the table are those in the file, and the same again.
func TestRetrieve(t *testing.T) {
	dir := t.TempDir()
	r := must(t, dir, "retrieve", "-pictures", "30", "-json", "r.json")
	e := readEvaluation(t, filepath.Join(dir, "r.json"))
	for _, method := range []string{"caption of a picture", "picture of a caption"} {
		one, ten := e.value(t, "retrieval", method, "R@1", "test-style"), e.value(t, "retrieval", method, "R@10", "test-style")
		if one < 0.5 || ten < one || e.value(t, "retrieval", method, "median rank", "test-style") > 2 {
			t.Errorf("%s: R@1 %.3f, R@10 %.3f", method, one, ten)
		}
		if !strings.Contains(r.stdout, fmt.Sprintf("%.1f %%", 100*one)) {
			t.Errorf("no %.1f %% in %q", 100*one, r.stdout)
		}
	}
	if again := must(t, dir, "retrieve", "-pictures", "30"); again.stdout != r.stdout {
		t.Errorf("first %q, then %q", r.stdout, again.stdout)
	}

	// A folder with a damaged picture: its name, and the numbers of the rest.
	pictures(t, filepath.Join(dir, "data"))
	path := filepath.Join(dir, "data", "p4.png")
	whole := read(t, path)
	write(t, path, whole[:len(whole)-30])
	r = do(t, dir, "retrieve", "-data", "data", "-per-token", "-json", "d.json")
	if r.status != 1 || !strings.Contains(r.stderr, filepath.Join("data", "p4.png")) || !strings.Contains(r.stdout, "R@10") {
		t.Errorf("status %d, %q, %q", r.status, r.stdout, r.stderr)
	}
	e = readEvaluation(t, filepath.Join(dir, "d.json"))
	for _, m := range e.Metrics {
		if m.N != 6 || m.Split != "all" {
			t.Errorf("%+v: six pictures are whole", m)
		}
	}
	if r := do(t, dir, "retrieve", "-data", "data", "-json", "no/folder.json"); r.status != 1 || !strings.Contains(r.stderr, "folder.json") {
		t.Errorf("a report that cannot be written: status %d, %q", r.status, r.stderr)
	}
}

// TestCaptionMetrics measures the built-in model's captions, and compares captions
// by hand.
func TestCaptionMetrics(t *testing.T) {
	dir := t.TempDir()
	r := must(t, dir, "caption", "-data", "test-style", "-pictures", "40", "-json", "c.json")
	e := readEvaluation(t, filepath.Join(dir, "c.json"))
	exact, f1 := e.value(t, "caption", "generated", "exact", "test-style"), e.value(t, "caption", "generated", "word F1", "test-style")
	if exact < 0.25 || f1 < exact || e.value(t, "caption", "generated", "CIDEr-D", "test-style") < 1 {
		t.Errorf("exact %.3f, F1 %.3f: %s", exact, f1, r.stdout)
	}
	pictures(t, filepath.Join(dir, "data"))
	path := filepath.Join(dir, "data", "p2.png")
	write(t, path, read(t, path)[:60])
	if r := do(t, dir, "caption", "-data", "data"); r.status != 1 || !strings.Contains(r.stderr, "p2.png") || !strings.Contains(r.stdout, "CIDEr-D") {
		t.Errorf("status %d, %q, %q", r.status, r.stdout, r.stderr)
	}
	a, b, c := captionMetrics([]string{"red fox", "cat"}, []string{"fox", "cat"}, 1)
	// Caption 1: one of two words, pairs none, lengths 1 and 0: the cosine is 1/√2.
	want := (10.0/4/math.Sqrt2*math.Exp(-1.0/72) + 10.0/4) / 2
	if a.Value != 0.5 || math.Abs(b.Value-(2.0/3+1)/2) > 1e-12 || math.Abs(c.Value-want) > 1e-12 {
		t.Errorf("%g, %g, %g; want 0.5, 0.833, %g", a.Value, b.Value, c.Value, want)
	}
}

// TestZeroshot tells pictures and labelled data apart by names.
func TestZeroshot(t *testing.T) {
	dir := t.TempDir()
	e := emojiPicture(t, dir, "sunflower.png", "sunflower")
	write(t, filepath.Join(dir, "classes.txt"), []byte("sunflower\n\n  red heart \nbuilding\thouse\toffice building\n"))
	write(t, filepath.Join(dir, "text.png"), []byte("hello"))
	r := do(t, dir, "zeroshot", "-classes", "classes.txt", "-top", "2", "text.png", e)
	if r.status != 1 || !strings.HasPrefix(r.stdout, "sunflower.png: sunflower ") || strings.Count(r.stdout, ", ") != 1 || !strings.Contains(r.stderr, "text.png") {
		t.Errorf("status %d, %q, %q", r.status, r.stdout, r.stderr)
	}
	r = must(t, dir, "zeroshot", "-data", "test-style", "-pictures", "25", "-field", "caption", "-json", "z.json")
	got := readEvaluation(t, filepath.Join(dir, "z.json"))
	if top := got.value(t, "caption", "zero-shot", "top-1", "test-style"); top < 0.5 || !strings.Contains(r.stdout, fmt.Sprintf("top-1  %.1f %%", 100*top)) {
		t.Errorf("top-1 %.3f, %q", top, r.stdout)
	}
	must(t, dir, "zeroshot", "-data", "test-style", "-pictures", "8", "-members", "-json", "m.json")
	members := readEvaluation(t, filepath.Join(dir, "m.json")).value(t, "group", "zero-shot", "top-1", "test-style")
	must(t, dir, "zeroshot", "-data", "test-style", "-pictures", "8", "-prompts", "clip-7", "-json", "g.json")
	names := readEvaluation(t, filepath.Join(dir, "g.json")).value(t, "group", "zero-shot", "top-1", "test-style")
	if members < 0.6 || members <= names {
		t.Errorf("by their members %.3f of the groups are told, by their names %.3f", members, names)
	}
	pictures(t, filepath.Join(dir, "data"))
	if r := do(t, dir, "zeroshot", "-data", "data"); r.status != 1 || !strings.Contains(r.stderr, "p0.png has no group") {
		t.Errorf("a folder, which has no groups: status %d, %q", r.status, r.stderr)
	}
	must(t, dir, "zeroshot", "-data", "data", "-field", "caption")
	write(t, filepath.Join(dir, "few.txt"), []byte("flags\n"))
	if r := do(t, dir, "zeroshot", "-data", "test-style", "-classes", "few.txt"); r.status != 1 || !strings.Contains(r.stderr, "few.txt has no class ") {
		t.Errorf("classes that lack some: status %d, %q", r.status, r.stderr)
	}
}

// emojiPicture writes a drawing of the test split and returns its name.
func emojiPicture(t *testing.T, dir, name, caption string) string {
	t.Helper()
	src, _, _, err := (&evalData{name: "test-style"}).open()
	if err != nil {
		t.Fatal(err)
	}
	for i := range src.Len() {
		if src.Record(i).Caption == caption {
			data, err := src.Encoded(i)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, name), data)
			return name
		}
	}
	t.Fatalf("there is no %s", caption)
	return ""
}

// TestBadEvaluation wants one clear line that names the culprit, and the status.
func TestBadEvaluation(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "empty.txt"), []byte("\n \n"))
	write(t, filepath.Join(dir, "twice.txt"), []byte("fox\ncat\nfox\n"))
	write(t, filepath.Join(dir, "long.txt"), []byte(strings.Repeat("x", longestLine+1)))
	write(t, filepath.Join(dir, "latin.txt"), []byte("fox\ncaf\xe9\n"))
	write(t, filepath.Join(dir, "good.txt"), []byte("fox\ncat\n"))
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"zeroshot -classes none.txt x.png", 1, "none.txt: no such file"},
		{"zeroshot -classes empty.txt x.png", 1, "empty.txt: there are no classes"},
		{"zeroshot -classes twice.txt x.png", 1, `twice.txt: the class "fox" is named twice`},
		{"zeroshot -classes long.txt x.png", 1, "long.txt: bufio.Scanner: token too long"},
		{"zeroshot -classes latin.txt x.png", 1, "latin.txt: line 2 is not UTF-8"},
		{"zeroshot -classes good.txt none.png", 1, "none.png: no such file"},
		{"zeroshot -data none", 1, "none: no such file"},
		{"retrieve -data none", 1, "none: no such file"},
		{"retrieve -model none", 1, "none/config.json"},
		{"zeroshot", 2, "IMAGE"},
		{"zeroshot x.png", 2, "-classes"},
		{"zeroshot -data test-style x.png", 2, "-data"},
		{"zeroshot -classes good.txt -pictures 3 x.png", 2, "need -data"},
		{"zeroshot -classes good.txt -prompts photos x.png", 2, `no prompts "photos"`},
		{"zeroshot -classes good.txt -top 0 x.png", 2, "-top 0"},
		{"zeroshot -data test-style -field style", 2, "-field style"},
		{"zeroshot -data test-style -pictures -1", 2, "-pictures -1"},
		{"zeroshot -data test-style -members -field caption", 2, "-members"},
		{"zeroshot -data folder -members", 2, "-members"},
		{"retrieve -pictures -1", 2, "-pictures -1"},
		{"retrieve x.png", 2, "x.png"},
		{"caption -data none", 1, "none: no such file"},
		{"caption -json x.json x.png", 2, "need -data"},
		{"caption -data test-style x.png", 2, "-data goes without"},
		{"caption -data test-style -pictures -1", 2, "-pictures -1"},
		{"probe -lr 0", 2, "-lr [0]"},
		{"probe -lr 1e-3,x", 2, "-lr"},
		{"probe -wd -1", 2, "-wd [-1]"},
		{"probe -batch 1", 2, "-batch 1"},
		{"probe -warmup 20", 2, "-warmup 20"},
		{"probe -k 0", 2, "-k 0"},
		{"probe -temperature 0", 2, "-temperature"},
		{"probe -published -epochs 0", 2, "-epochs 0"},
	} {
		before := names(t, dir)
		r := do(t, dir, strings.Fields(c.args)...)
		if r.status != c.status || !strings.Contains(r.stderr, c.want) || r.stdout != "" {
			t.Errorf("aimv2 %s: status %d, %q on standard output, %q on standard error; want status %d and %q", c.args, r.status, r.stdout, r.stderr, c.status, c.want)
		}
		if lines := strings.Count(r.stderr, "\n"); lines != c.status {
			t.Errorf("aimv2 %s: %d lines of errors: %q", c.args, lines, r.stderr)
		}
		if after := names(t, dir); !slices.Equal(before, after) {
			t.Errorf("aimv2 %s leaves %q", c.args, after)
		}
	}
}

// TestProbeOptions: -published gives the published recipe, but for what else is
// asked.
func TestProbeOptions(t *testing.T) {
	more := aimv2.PublishedProbe
	more.Epochs, more.Peaks, more.Augment = 3, []float64{1e-3, 2e-3}, false
	short := aimv2.DefaultProbe
	short.BatchNorm, short.Decays = false, []float64{0, 0.5}
	for args, want := range map[string]aimv2.ProbeRecipe{
		"probe":            aimv2.DefaultProbe,
		"probe -published": aimv2.PublishedProbe,
		"probe -published -epochs 3 -lr 1e-3,2e-3 -augment=false": more,
		"probe -batch-norm=false -wd 0 -wd 0.5":                   short,
	} {
		v, err := parse(strings.Fields(args))
		if err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		if diff := cmp.Diff(want, v.(*probeCommand).recipe); diff != "" {
			t.Errorf("%s (-want +got): %s", args, diff)
		}
	}
}

func TestReadClasses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "classes.txt")
	write(t, path, []byte("fox\t \r\n\nbuilding\thouse\t\t office building\n"))
	got, err := readClasses(path)
	want := []class{{"fox", []string{"fox"}}, {"building", []string{"house", "office building"}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(class{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got): %s", err, diff)
	}
}

func FuzzParseClasses(f *testing.F) {
	for _, s := range []string{"fox\ncat\thouse\n", "\t\t\n", "\xff", "a\r\n\ta", "a\u2028b\t\u00a0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		classes, err := parseClasses(strings.NewReader(text))
		if (err == nil) != (len(classes) > 0) {
			t.Fatalf("%d classes and %v", len(classes), err)
		}
		seen := map[string]bool{}
		for _, c := range classes {
			if c.name == "" || seen[c.name] || len(c.calls) == 0 || slices.Contains(c.calls, "") || strings.ContainsAny(c.name, "\t\n") {
				t.Fatalf("%q gives %q", text, c)
			}
			seen[c.name] = true
		}
	})
}

package report

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rest opens the metrics in content at step, closes them and returns the file.
func rest(t *testing.T, content string, step int) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := OpenMetrics(path, step)
	if err == nil {
		err = m.Close()
	}
	b, readErr := os.ReadFile(path)
	if readErr != nil {
		t.Fatal(readErr)
	}
	return string(b), err
}

func TestResume(t *testing.T) {
	const head, one, two, three = `{"run":"a"}` + "\n", `{"step":1,"x":"}"}` + "\n", `{"x":2,"step":2}` + "\n", `{"step":3}` + "\n"
	for _, c := range []struct {
		name, content string
		step          int
		want          string
	}{
		{"no file content", "", 5, ""},
		{"afresh", one + two, 0, ""},
		{"everything is older", one + two + three, 4, one + two + three},
		{"middle", one + two + three, 2, one},
		{"record without step", head + one + head + two, 2, head + one + head},
		{"torn last line", one + two + `{"step":3,"loss":0.`, 9, one + two},
		{"torn before the newline", one + `{"step":2}`, 9, one},
		{"zeros of a power cut", one + "\x00\x00\x00", 9, one},
		{"only a torn line", `{"st`, 9, ""},
		{"a gap in the steps", one + three, 2, one},
	} {
		got, err := rest(t, c.content, c.step)
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

// TestResumeKeepsStrangeFiles does not cut a file that is no metrics file.
func TestResumeKeepsStrangeFiles(t *testing.T) {
	for content, want := range map[string]string{
		"my only copy\n":                      "line 1 is no JSON object",
		"{\"step\":1}\n{\"step\":\n{}\n":      "line 2",
		"{\"step\":1}\n\n{}\n":                "line 2 is no JSON object",
		"{\"step\":\"one\"}\n{\"step\": 2}\n": "line 1",
	} {
		got, err := rest(t, content, 9)
		if got != content {
			t.Errorf("%q was changed to %q", content, got)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
}

// TestInterruptedRun goes through a run, a kill in the middle of a line, and the
// resumed run: the file must look as if nothing had happened.
func TestInterruptedRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	write := func(from, to int) *Metrics {
		t.Helper()
		m, err := OpenMetrics(path, from)
		if err != nil {
			t.Fatal(err)
		}
		for step := from; step < to; step++ {
			if err := m.Append(Point{Step: step, Pixel: 1 / float64(step+1), Text: 2, Total: 3}); err != nil {
				t.Fatal(err)
			}
		}
		return m
	}
	m := write(0, 7)
	if _, err := m.file.WriteString(`{"step":7,"pix`); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadMetrics[Point](path); err != nil || len(got) != 7 {
		t.Errorf("while the run goes on: %d records, %v; want 7", len(got), err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := write(5, 10).Close(); err != nil { // the checkpoint was at step 5
		t.Fatal(err)
	}
	got, err := ReadMetrics[Point](path)
	if err != nil {
		t.Fatal(err)
	}
	var want []Point
	for step := range 10 {
		want = append(want, Point{Step: step, Pixel: 1 / float64(step+1), Text: 2, Total: 3})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("(-want +got):", diff)
	}
}

func TestAppendRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	m, err := OpenMetrics(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{Point{Total: math.NaN()}, 3, []int{1}, nil, "text", func() {}} {
		if err := m.Append(v); err == nil {
			t.Errorf("%v was appended", v)
		}
	}
	// Indented JSON must not become several lines.
	if err := m.Append(json.RawMessage("{\n \"step\": 1\n}")); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := ReadMetrics[map[string]any](path)
	if diff := cmp.Diff([]map[string]any{{"step": 1.0}}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got): %s", err, diff)
	}
}

func TestReadMetricsErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	if _, err := ReadMetrics[Point](path); !os.IsNotExist(err) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("{}\n{\"step\":\"x\"}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadMetrics[Point](path); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a step that is text: %v, want its line", err)
	}
}

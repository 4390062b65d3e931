package main

import (
	"bytes"
	"encoding/xml"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the files of testdata")

// TestGolden reads a recorded output and compares table and picture.
func TestGolden(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "roofline.svg")
	var table, log bytes.Buffer
	if status := run([]string{"-svg", svg, filepath.Join("testdata", "input.txt")}, nil, &table, &log); status != 0 {
		t.Fatalf("status %d: %s", status, &log)
	}
	if want := "left out 1 lines of benchmarks"; !strings.Contains(log.String(), want) {
		t.Errorf("standard error is %q, want %q", &log, want)
	}
	picture, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"table.md": table.String(), "roofline.svg": string(picture)} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s, -want +got (-update rewrites it):\n%s", name, d)
		}
	}
}

// TestMedian: of three repetitions the middle one, of two their mean.
func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{80, 90, 20}, 80}, {[]float64{3, 1}, 2}, {[]float64{7}, 7}} {
		b := &benchmark{values: map[string][]float64{"GB/s": c.values}}
		if got, ok := b.metric("GB/s"); !ok || got != c.want {
			t.Errorf("median of %v is %g, want %g", c.values, got, c.want)
		}
	}
}

// TestPlaces: a point on a roof stands on its line, whatever the axes; and a
// slope through two points is a straight line.
func TestPlaces(t *testing.T) {
	a := axis{lo: 0.1, hi: 1000, from: 64, to: 544}
	if a.at(0.1) != 64 || a.at(1000) != 544 {
		t.Errorf("the ends are at %g and %g", a.at(0.1), a.at(1000))
	}
	if got, want := a.at(10)-a.at(1), a.at(100)-a.at(10); got-want > 1e-9 || want-got > 1e-9 {
		t.Errorf("a decade is %g, another %g", got, want)
	}
}

// TestSVG: well-formed, a title for every point, nothing that is not a number.
func TestSVG(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "roofline.svg"))
	if err != nil {
		t.Fatal(err)
	}
	titles := 0
	for d := xml.NewDecoder(bytes.NewReader(text)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "title" {
			titles++
		}
	}
	const points, slopes, peaks = 5, 6, 3
	if titles != points+slopes+peaks {
		t.Errorf("%d titles, want %d", titles, points+slopes+peaks)
	}
	for _, bad := range []string{"NaN", "Inf"} {
		if strings.Contains(string(text), bad) {
			t.Errorf("the picture has %s", bad)
		}
	}
}

// TestErrors names file and line of what it cannot read, and the ceiling that is
// missing.
func TestErrors(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join("testdata", "input.txt"))
	if err != nil {
		t.Fatal(err)
	}
	without := func(part string) string {
		var b strings.Builder
		for line := range strings.Lines(string(whole)) {
			if !strings.Contains(line, part) {
				b.WriteString(line)
			}
		}
		return b.String()
	}
	const name = "BenchmarkGemm/isa=avx2/dtype=f32/m=1/threads=1-2"
	for _, c := range []struct{ input, want string }{
		{without("Peak/isa=avx2/dtype=f32/threads=2"), "lacks ceilings: BenchmarkPeak/isa=avx2/threads=2;"},
		{without("op=update/place=L3/threads=1"), "lacks ceilings: BenchmarkStream/op=update/place=L3/threads=1;"},
		{"x\n" + name + " 10 5 ns/op 7\n", "standard input:2: " + name + ": not a name, a count and pairs"},
		{name + " ten 5 ns/op\n", `standard input:1: ` + name + `: "ten" is no count`},
		{name + " 0 5 ns/op\n", `"0" is no count`},
		{name + " 10 5,1 ns/op\n", `"5,1" is no number of ns/op`},
		{name + " 10 NaN GFLOP/s\n", `"NaN" is no number of GFLOP/s`},
		{"BenchmarkGemm/isa=avx2/threads=two 10 5 ns/op\n", "threads=two is no number of threads"},
		{name + " 10 5 ns/op\n--- FAIL: BenchmarkSum\n", "standard input:2: the run failed"},
		{"FAIL\tfuerte/bench\t1s\n", "standard input:1: the run failed"},
		{"cpu: A\ncpu: A\ncpu: B\n", `standard input:3: this is of the CPU "B"`},
		{"", "no benchmark of package bench"},
	} {
		var out, log bytes.Buffer
		if status := run(nil, strings.NewReader(c.input), &out, &log); status != 1 || !strings.Contains(log.String(), c.want) || out.Len() > 0 {
			t.Errorf("status %d, %q, want %q", status, &log, c.want)
		}
	}
	svg := filepath.Join(t.TempDir(), "x.svg")
	var log bytes.Buffer
	if status := run([]string{"-svg", svg}, strings.NewReader(without("flop/B")), io.Discard, &log); status != 1 || !strings.Contains(log.String(), "nothing to draw") {
		t.Errorf("status %d, %q", status, &log)
	}
	for _, args := range [][]string{{"-nothing"}, {"-run", "Gemm", "file"}} {
		if status := run(args, nil, io.Discard, io.Discard); status != 2 {
			t.Errorf("%q: status %d, want 2", args, status)
		}
	}
}

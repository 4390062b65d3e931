package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fuerte/kernels"
)

func TestChoice(t *testing.T) {
	all := levels("")
	names := func(ls []*level) (s []string) {
		for _, l := range ls {
			s = append(s, l.name)
		}
		return s
	}
	everything := names(all)
	for _, c := range []struct {
		only, require string
		want, must    []string
		err           string
	}{
		{"all", "", everything, nil, ""},
		{"all", "all", everything, everything, ""},
		{"avx512,neon", "", []string{"avx512", "neon-max", "neon-neoverse-n1", "neon-cortex-a72"}, nil, ""},
		{"neon, avx2", "neon-max", []string{"avx2", "neon-max", "neon-neoverse-n1", "neon-cortex-a72"}, []string{"neon-max"}, ""},
		{"avx512", "all", []string{"avx512"}, []string{"avx512"}, ""}, // the emulator alone
		{"sse", "", nil, nil, `-levels: no level is called "sse"`},
		{"avx", "", nil, nil, `no level is called "avx"`},
		{"", "", nil, nil, `no level is called ""`},
		{"avx2", "neo", nil, nil, `-require: no level is called "neo"`},
		{"avx2", "neon", nil, nil, "-require names neon-max, which -levels leaves out"},
	} {
		chosen, required, err := choice(all, c.only, c.require)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("-levels %q -require %q: error %v, want %q", c.only, c.require, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("-levels %q -require %q: %v", c.only, c.require, err)
		}
		if d := cmp.Diff(c.want, names(chosen)) + cmp.Diff(c.must, names(required)); d != "" {
			t.Errorf("-levels %q -require %q: %s", c.only, c.require, d)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		pattern, test string
		want          bool
	}{
		{"TestGemm*", "TestGemm", true},
		{"TestGemm*", "TestGemmNaN/avx2", true},
		{"TestGemm", "TestGemmNaN", false},
		{"TestSets/*/Exp", "TestSets/avx2/Exp", true},
		{"TestSets/*/Exp", "TestSets/avx2/Exp/n=3", true},
		{"TestSets/*/Exp", "TestSets/avx2/ExpSub", false},
		{"TestSets/*/Exp", "TestSets/avx2", false},
		{"opengl.TestUnary/exp_*", "opengl.TestUnary/exp_0_in_place", true},
		{"opengl.TestUnary/exp_*", "TestUnary/exp_0", false},
		{"opengl.TestBinary/add*", "opengl.TestBinary/add[33_5]", true},
	} {
		if got := covers(c.pattern, c.test); got != c.want {
			t.Errorf("covers(%q, %q) = %v", c.pattern, c.test, got)
		}
	}
}

func TestRunFlag(t *testing.T) {
	got := runFlag([]string{"TestSets/*/Exp", "opengl.TestUnary", ""})
	if want := "^TestSets$/^.*$/^Exp$|^TestUnary$"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestPatternsNameTests holds the tables to the tests that there are, and every
// package of kernels that has tests to a level.
func TestPatternsNameTests(t *testing.T) {
	root := filepath.Join("..", "..", "..", "kernels")
	files, err := filepath.Glob(filepath.Join(root, "*_test.go"))
	below, err2 := filepath.Glob(filepath.Join(root, "*", "*_test.go"))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	var tests []string
	packages := map[string]bool{}
	for _, file := range append(files, below...) {
		pkg, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		prefix := pkg + "."
		if pkg == "." {
			pkg, prefix = "", ""
		}
		packages[pkg] = true
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && (strings.HasPrefix(d.Name.Name, "Test") || strings.HasPrefix(d.Name.Name, "Fuzz")) {
				tests = append(tests, prefix+d.Name.Name)
			}
		}
	}
	patterns := []string{setWitness, openglWitness}
	for _, o := range ops() {
		patterns = append(patterns, o.tests...)
	}
	for _, p := range patterns {
		if len(expand(p, tests)) == 0 {
			t.Errorf("%s names no test", p)
		}
	}
	for _, l := range levels("") {
		for _, pkg := range l.packages {
			delete(packages, pkg)
		}
		for _, g := range slices.Concat(slices.Collect(maps.Keys(l.without)), slices.Concat(l.split...)) {
			if len(expand(g, tests)) == 0 {
				t.Errorf("%s: %s names no test", l.name, g)
			}
		}
	}
	if len(packages) > 0 {
		t.Errorf("no level runs the tests of %v below kernels", slices.Collect(maps.Keys(packages)))
	}
}

// TestSetsKnown: the names that -test.skip leaves out are those of the sets.
func TestSetsKnown(t *testing.T) {
	for _, s := range kernels.Sets() {
		if !slices.Contains(sets, s.Name) {
			t.Errorf("prove does not know the set %s", s.Name)
		}
	}
}

// run2json plays a process of tests: lines of events, and its end.
func run2json(t *testing.T, l *level, run []string, end error, lines ...string) *job {
	t.Helper()
	j := &job{level: l, run: run, witness: l.witness}
	var stream bytes.Buffer
	for _, line := range lines {
		action, test, _ := strings.Cut(line, " ")
		e := event{Action: action, Test: test}
		if action == "output" {
			e.Test, e.Output, _ = strings.Cut(test, ": ")
			e.Output += "\n"
		}
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		stream.Write(append(b, '\n'))
	}
	if err := j.read(&stream); err != nil {
		t.Fatal(err)
	}
	j.judge(end, time.Minute)
	return j
}

// TestReport plays every way in which a process of tests can end.
func TestReport(t *testing.T) {
	witnessed := []string{"run TestSets", "run TestSets/avx512", "run TestSets/avx512/FMALoopFLOP", "pass TestSets/avx512/FMALoopFLOP"}
	ended := []string{"pass TestSets/avx512", "pass TestSets"}
	failure := errors.New("exit status 1")
	listed := []string{"TestSets", "TestGemm"}
	rows := []op{{"Exp", []string{"TestSets/*/Exp"}}, {"FMALoopFLOP", []string{"TestSets/*/FMALoopFLOP"}},
		{"Gemm", []string{"TestGemm"}}, {"shader", []string{"opengl.TestShader"}}, {"gone", []string{"TestGone"}}}
	for _, c := range []struct {
		name     string
		why      string // the level does not run
		broken   string
		end      error
		lines    []string
		want     map[string]state // of the rows that are not ran; shader never is there
		contains []string
		good     bool // without -require
	}{
		{name: "all pass", lines: slices.Concat(witnessed, []string{"run TestSets/avx512/Exp", "pass TestSets/avx512/Exp"}, ended,
			[]string{"run TestGemm", "pass TestGemm"}), want: map[string]state{}, good: true,
			contains: []string{"not run: gone: there is no such test"}},
		{name: "a test fails", end: failure,
			lines: slices.Concat(witnessed, []string{"run TestSets/avx512/Exp", "output TestSets/avx512/Exp: lane 3", "fail TestSets/avx512/Exp",
				"fail TestSets/avx512", "fail TestSets", "run TestGemm", "pass TestGemm"}),
			want: map[string]state{"Exp": failing}, contains: []string{"avx512: TestSets/avx512/Exp FAILED\n    lane 3"}},
		{name: "a test is skipped", lines: slices.Concat(witnessed, []string{"run TestSets/avx512/Exp", "pass TestSets/avx512/Exp"}, ended,
			[]string{"run TestGemm", "output TestGemm:     gemm_test.go:3: no room", "skip TestGemm"}), good: true,
			want: map[string]state{"Gemm": notRun}, contains: []string{"Gemm: TestGemm was skipped: gemm_test.go:3: no room"}},
		{name: "a fault", end: errors.New("exit status 2"),
			lines: slices.Concat(witnessed, []string{"run TestSets/avx512/Exp", "output TestSets/avx512/Exp: SIGSEGV"}),
			want:  map[string]state{itself: failing, "Exp": failing, "Gemm": notRun}, contains: []string{"died in TestSets/avx512/Exp", "    SIGSEGV"}},
		{name: "a time-out", end: context.DeadlineExceeded,
			lines: slices.Concat(witnessed, []string{"run TestSets/avx512/Exp", "pass TestSets/avx512/Exp"}, ended, []string{"run TestGemm"}),
			want:  map[string]state{itself: failing, "Gemm": failing}, contains: []string{"stopped after 1m0s in TestGemm"}},
		{name: "os.Exit(0) within a test",
			lines: slices.Concat(witnessed, []string{"run TestSets/avx512/Exp", "pass TestSets/avx512/Exp"}, ended, []string{"run TestGemm"}),
			want:  map[string]state{itself: failing, "Gemm": failing}},
		{name: "the CPU lacks the set", end: failure,
			lines:    []string{"run TestSets", "output TestSets: this CPU lacks AVX512F", "fail TestSets", "run TestGemm", "pass TestGemm"},
			want:     map[string]state{itself: failing, "Exp": notRun, "FMALoopFLOP": notRun, "Gemm": notRun, "TestSets": failing},
			contains: []string{"nothing shows that avx512 was in use", "this CPU lacks AVX512F"}},
		{name: "the CPU lacks the set and nothing says so", lines: []string{"run TestSets", "pass TestSets", "run TestGemm", "pass TestGemm"},
			want: map[string]state{itself: failing, "Exp": notRun, "FMALoopFLOP": notRun, "Gemm": notRun, "TestSets": notRun}},
		{name: "the emulator ends", end: errors.New("exit status 125"), lines: []string{"output : bochs: no kernel"},
			want:     map[string]state{itself: failing, "Exp": notRun, "FMALoopFLOP": notRun, "Gemm": notRun},
			contains: []string{"the process failed though no test did (exit status 125)\n    bochs: no kernel"}},
		{name: "a leak after the tests", end: failure,
			lines: slices.Concat(witnessed, []string{"run TestSets/avx512/Exp", "pass TestSets/avx512/Exp"}, ended, []string{"run TestGemm", "pass TestGemm"}),
			want:  map[string]state{itself: failing}},
		{name: "a status of 0 though a test failed",
			lines: slices.Concat(witnessed, []string{"run TestSets/avx512/Exp", "pass TestSets/avx512/Exp"}, ended, []string{"run TestGemm", "fail TestGemm"}),
			want:  map[string]state{itself: failing, "Gemm": failing}},
		{name: "a subtest that no row claims", lines: slices.Concat(witnessed, []string{"run TestSets/avx512/Exp", "pass TestSets/avx512/Exp",
			"run TestSets/avx512/Sinc", "pass TestSets/avx512/Sinc"}, ended, []string{"run TestGemm", "pass TestGemm"}), good: true,
			want: map[string]state{"TestSets/avx512/Sinc": ran}},
		{name: "no such machine", why: "this CPU lacks AVX512F", good: true,
			want:     map[string]state{itself: notRun, "Exp": notRun, "FMALoopFLOP": notRun, "Gemm": notRun},
			contains: []string{"5 ops: this CPU lacks AVX512F"}},
		{name: "a broken build", broken: "syntax error", contains: []string{"avx512: syntax error"},
			want: map[string]state{itself: failing, "Exp": notRun, "FMALoopFLOP": notRun, "Gemm": notRun}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &level{name: "avx512", witness: setWitness, packages: []string{""}}
			col := &column{level: l, why: c.why, broken: c.broken, listed: listed}
			if c.why == "" && c.broken == "" {
				col.jobs = []*job{run2json(t, l, listed, c.end, c.lines...)}
			}
			want := tally{}
			for _, name := range []string{itself, "Exp", "FMALoopFLOP", "Gemm"} {
				if _, ok := c.want[name]; !ok {
					want.add(ran)
				}
			}
			for _, s := range c.want {
				want.add(s)
			}
			want.add(notRun) // gone
			var out bytes.Buffer
			good := report(&out, []*column{col}, rows, false, nil)
			text := out.String()
			if good != c.good {
				t.Errorf("good: %v", good)
			}
			if report(&bytes.Buffer{}, []*column{col}, rows, false, []*level{l}) {
				t.Error("good though something required was not run")
			}
			for name, s := range c.want {
				if line := strings.TrimSpace(name) + " "; !strings.Contains(text, line) || !strings.Contains(after(text, line), s.String()) {
					t.Errorf("%s is not %v", name, s)
				}
			}
			for _, s := range append(c.contains, want.String()) {
				if !strings.Contains(text, s) {
					t.Errorf("no %q", s)
				}
			}
			if lines := strings.Split(strings.TrimSpace(text), "\n"); lines[len(lines)-1] != want.String() {
				t.Errorf("the last line is %q", lines[len(lines)-1])
			}
			if t.Failed() {
				t.Log("\n" + text)
			}
		})
	}
}

// after returns the rest of the line behind the first s.
func after(text, s string) string {
	_, rest, _ := strings.Cut(text, s)
	rest, _, _ = strings.Cut(strings.TrimSpace(rest), "\n")
	return rest
}

// TestTableFits: all levels within 120 columns.
func TestTableFits(t *testing.T) {
	var columns []*column
	for _, l := range levels("") {
		columns = append(columns, &column{level: l, why: "none"})
	}
	var out bytes.Buffer
	report(&out, columns, ops(), false, nil)
	table, _, _ := strings.Cut(out.String(), "\n\n")
	for line := range strings.Lines(table) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 120 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// TestProcess runs a shell as the test binary of a level: the wire through
// test2json, the time limit, and the end of all that was started.
func TestProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("needs go tool test2json")
	}
	script := filepath.Join(t.TempDir(), "fake.test")
	play := func(body string, timeout time.Duration) *job {
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"+body), 0o777); err != nil {
			t.Fatal(err)
		}
		j := &job{level: &level{name: "fake"}, binary: script, run: []string{"TestA"}}
		j.start(t.Context(), &prover{root: filepath.Join("..", "..", ".."), tmp: t.TempDir(), timeout: timeout})
		return j
	}
	const sync = `printf '\026'; `
	j := play(sync+"echo '=== RUN   TestA'; echo wrong; "+sync+"echo '--- FAIL: TestA (0.00s)'; "+sync+"echo FAIL; exit 1", time.Minute)
	if r := j.results["TestA"]; r == nil || r.status != failed || !slices.Contains(r.output.lines(), "wrong") || j.trouble != "" {
		t.Errorf("a failure: %+v", j)
	}
	j = play(sync+"echo '=== RUN   TestA'; sleep 100 & wait", 2*time.Second)
	if j.trouble != "stopped after 2s in TestA" || j.took > 30*time.Second {
		t.Errorf("a time-out: %q after %v", j.trouble, j.took)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-levels", "sse"}, {"more"}, {"-run", "("}, {"-nothing"}} {
		var out, err bytes.Buffer
		if status := run(args, &out, &err); status != 2 || err.Len() == 0 {
			t.Errorf("%q: status %d, %s", args, status, &err)
		}
	}
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"fuerte/bench/internal/shapes"
	"fuerte/kernels"
)

// TestMain lets the test binary be a program that is measured, good or bad.
func TestMain(m *testing.M) {
	if mode := os.Getenv("COMPARE_FAKE"); mode != "" {
		fake(mode)
		os.Exit(0)
	}
	if len(os.Args) == 2 && os.Args[1] == "-serve" { // as compare starts itself
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// fake answers right products, in times that it says alone: "slower 2" takes 2 µs
// for a call.
func fake(mode string) {
	mode, rest, _ := strings.Cut(mode, " ")
	call := 1.0
	if v, err := strconv.ParseFloat(rest, 64); err == nil {
		call = v
	}
	s := &server{}
	times := 0
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		r, err := parseRequest(lines.Text())
		if err != nil {
			fmt.Println("error", err)
			continue
		}
		if r.verb == "version" {
			fmt.Println("ok fake", mode)
			continue
		}
		if r.verb == "check" {
			answer, err := s.answer(lines.Text())
			if err != nil {
				fmt.Println("error", err)
				continue
			}
			if mode == "wrong" {
				f := strings.Fields(answer)
				f[7] = "0.5"
				answer = strings.Join(f, " ")
			}
			fmt.Println("ok", answer)
			continue
		}
		times++
		switch {
		case mode == "refuses":
			fmt.Println("error this size is not supported")
			continue
		case mode == "hangs":
			time.Sleep(time.Hour)
		case mode == "crashes" && times == 4:
			fmt.Fprintln(os.Stderr, "out of luck")
			os.Exit(3)
		case mode == "babbles":
			fmt.Println("hello")
			continue
		}
		fmt.Println("ok", call*1e-6*float64(r.repetitions))
	}
}

func fakeProgram(t *testing.T, name, mode string) program {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return program{name: name, line: []string{self}, env: []string{"COMPARE_FAKE=" + mode}}
}

func someRows(t *testing.T, lines ...string) (rows []row) {
	for _, l := range lines {
		r, err := gemmOp.parse(l)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	return rows
}

func fakeComparison(programs ...program) *comparison {
	return &comparison{
		op: gemmOp, programs: programs, rounds: 8, least: 10 * time.Microsecond, limit: 20 * time.Second,
		peak: func(int) float64 { return 1e9 }, available: func() float64 { return 1e12 }, log: func(string, ...any) {},
	}
}

// TestRun: the best peer is the fastest that is right, and a peer that fails
// loses its rows while the run goes on.
func TestRun(t *testing.T) {
	c := fakeComparison(
		fakeProgram(t, ours, "good 2"), fakeProgram(t, "fast", "good 3"), fakeProgram(t, "middle", "good 5"),
		fakeProgram(t, "slow", "good 20"), fakeProgram(t, "hopeless", "good 100"), fakeProgram(t, "wrong", "wrong 0.1"), fakeProgram(t, "refuses", "refuses"),
		fakeProgram(t, "crashes", "crashes 3"), fakeProgram(t, "babbles", "babbles"),
		program{name: "absent", line: []string{filepath.Join(t.TempDir(), "nothing")}},
	)
	rows := someRows(t, "NN 5 6 7", "NT 9 8 7 2", "TN 3 4 5", "NN 1 1 1")
	res, err := c.run(context.Background(), 1, rows)
	if err != nil || len(res.rows) != len(rows) {
		t.Fatalf("%d rows, %v", len(res.rows), err)
	}
	for _, m := range res.rows {
		if m.Best != "fast" || math.Abs(m.Ratio-1.5) > 1e-9 || m.Low > m.Ratio || m.High < m.Ratio || m.Coverage < 0.95 {
			t.Errorf("%s: best %q, ratio %g in [%g, %g], coverage %g", m.Shape, m.Best, m.Ratio, m.Low, m.High, m.Coverage)
		}
		if want := 100 * m.FLOP / 2e-6 / 1e9; math.Abs(m.Percent-want) > 1e-6 {
			t.Errorf("%s: %g %% of peak, want %g", m.Shape, m.Percent, want)
		}
		for name, rounds := range map[string]int{ours: 8, "fast": 8, "middle": 8, "slow": 1, "hopeless": 1} {
			if got := m.Timings[name]; len(got.Seconds) != rounds || got.Lost != "" || got.Once != (rounds == 1) {
				t.Errorf("%s: %s has %d rounds, once %v, lost %q", m.Shape, name, len(got.Seconds), got.Once, got.Lost)
			}
		}
		for name, why := range map[string]string{
			"wrong": "wrong: C[", "refuses": "not supported", "crashes": "out of luck", "babbles": "hello", "absent": "no such file",
		} {
			if got := m.Timings[name].Lost; !strings.Contains(got, why) {
				t.Errorf("%s: %s lost %q, want %q", m.Shape, name, got, why)
			}
		}
		if !m.Timings["wrong"].Wrong || m.Timings["crashes"].Wrong {
			t.Errorf("%s: wrong answers are not told from crashes", m.Shape)
		}
	}
	for _, name := range []string{"crashes", "babbles", "absent"} {
		if res.gone[name] == "" {
			t.Errorf("%s still takes part after %d rows", name, len(rows))
		}
	}
	if res.versions["fast"] != "fake good" || res.versions["absent"] != "" || len(res.gone) != 3 {
		t.Errorf("versions %v, gone %v", res.versions, res.gone)
	}
}

// TestOnceIsNotBest: a single time, however short, is no ratio.
func TestOnceIsNotBest(t *testing.T) {
	programs := []program{{name: ours}, {name: "a"}, {name: "b"}}
	m := &measurement{FLOP: 1, Timings: map[string]*timing{
		ours: {Seconds: []float64{2, 2}}, "a": {Seconds: []float64{3, 3}}, "b": {Seconds: []float64{1}, Once: true},
	}}
	if m.summarize(gemmOp, programs, 1); m.Best != "a" || m.Ratio != 1.5 {
		t.Errorf("best %q, ratio %g", m.Best, m.Ratio)
	}
}

// TestHang: a peer that does not answer is ended and loses the row.
func TestHang(t *testing.T) {
	c := fakeComparison(fakeProgram(t, ours, "good"), fakeProgram(t, "hangs", "hangs"))
	c.limit = 3 * time.Second // a busy machine starts a process late
	res, err := c.run(context.Background(), 1, someRows(t, "NN 5 6 7"))
	if err != nil {
		t.Fatal(err)
	}
	m := res.rows[0]
	if got := m.Timings["hangs"].Lost; got != "no answer within 3s" || m.Ratio != 0 || len(m.Timings[ours].Seconds) != c.rounds {
		t.Errorf("lost %q, ratio %g, ours %d rounds", got, m.Ratio, len(m.Timings[ours].Seconds))
	}
}

// TestOursWrong: that our answer is wrong is a failure of the run.
func TestOursWrong(t *testing.T) {
	c := fakeComparison(fakeProgram(t, ours, "wrong"), fakeProgram(t, "peer", "good"))
	res, err := c.run(context.Background(), 1, someRows(t, "NN 5 6 7"))
	if err != nil {
		t.Fatal(err)
	}
	r := &report{Programs: []programInfo{{Name: ours}, {Name: "peer"}}}
	r.add(1, res)
	if why := r.failed(); len(why) != 1 || !strings.Contains(why[0], "wrong: C[") || len(r.Summary) != 0 {
		t.Errorf("failed: %v, summary %v", why, r.Summary)
	}
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := fakeComparison(fakeProgram(t, ours, "good"))
	if res, err := c.run(ctx, 1, someRows(t, "NN 5 6 7")); err == nil || len(res.rows) != 0 {
		t.Errorf("%d rows, %v", len(res.rows), err)
	}
}

// TestServe: our own program answers what the verifier accepts, in every layout,
// and refuses what it does not understand.
func TestServe(t *testing.T) {
	var in, out strings.Builder
	sizes := []string{"NN 17 33 65 1", "NT 40 7 300 3", "TN 9 64 5 2"}
	for _, s := range sizes {
		fmt.Fprintf(&in, "check 1 gemm %s\ntime 1 3 gemm %s\n", s, s)
	}
	bad := []string{"", "hello", "time 1 gemm", "time 0 1 gemm NN 1 1 1", "time 1 1 conv NN 1 1 1", "check 1 gemm TT 1 1 1", "check x gemm NN 1 1 1", "check 1 gemm NN 1 1"}
	in.WriteString(strings.Join(bad, "\n") + "\nversion\n")
	if err := serve(strings.NewReader(in.String()), &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2*len(sizes)+len(bad)+1 {
		t.Fatalf("answers:\n%s", out.String())
	}
	for i, s := range sizes {
		g, err := parseGemm(s)
		if err != nil {
			t.Fatal(err)
		}
		values, err := parseValues(strings.TrimPrefix(lines[2*i], "ok "))
		if err == nil {
			err = verifyGemm(g)(values)
		}
		if err != nil {
			t.Errorf("%s: %v", s, err)
		}
		if v, err := parseValues(strings.TrimPrefix(lines[2*i+1], "ok ")); err != nil || len(v) != 1 || v[0] <= 0 {
			t.Errorf("%s: time %q", s, lines[2*i+1])
		}
	}
	for i, b := range bad {
		if l := lines[2*len(sizes)+i]; !strings.HasPrefix(l, "error ") {
			t.Errorf("%q is answered with %q", b, l)
		}
	}
	if l := lines[len(lines)-1]; !strings.HasPrefix(l, "ok level ") {
		t.Errorf("version is answered with %q", l)
	}
}

// TestVerifyGemm: a product with one wrong element, tile or layout is caught.
func TestVerifyGemm(t *testing.T) {
	g := shapes.Gemm{Layout: "NT", M: 96, N: 80, K: 200, Batch: 2}
	verify := verifyGemm(g)
	s := kernels.F32()
	right := gemmProblem(s, g).check()
	if err := verify(right); err != nil {
		t.Error(err)
	}
	for i := range right {
		wrong := append([]float64(nil), right...)
		wrong[i] += 0.01 * (1 + 100*math.Max(0, float64(1-i)))
		if verify(wrong) == nil {
			t.Errorf("value %d may be off by %g", i, wrong[i]-right[i])
		}
	}
	wrong := append([]float64(nil), right...)
	if wrong[0] = math.NaN(); verify(wrong) == nil {
		t.Error("NaN is right")
	}
	if verify(right[1:]) == nil {
		t.Error("an answer may be short")
	}
	other := g
	other.Layout = "NN"
	if verify(gemmProblem(s, other).check()) == nil {
		t.Error("the layout does not matter")
	}
	// A tile of 8×8 left at zero moves the sum beyond its bound.
	c := make([]float32, g.Batch*g.M*g.N)
	for t := range g.Batch {
		for i := range g.M {
			for j := range g.N {
				for p := range g.K {
					c[(t*g.M+i)*g.N+j] += pattern(1, (t*g.M+i)*g.K+p) * pattern(2, (t*g.N+j)*g.K+p)
				}
			}
		}
	}
	if err := verify(gemmAnswer(g, c)); err != nil {
		t.Error(err)
	}
	for i := 40; i < 48; i++ {
		clear(c[i*g.N+40 : i*g.N+48])
	}
	if sum := gemmAnswer(g, c)[0]; verify(append([]float64{sum}, right[1:]...)) == nil {
		t.Error("a missing tile does not show in the sum")
	}
}

func TestReadRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shapes")
	for text, want := range map[string]string{
		"":                        " has no sizes",
		"NN 1 2\n":                `:1: "NN 1 2" is not LAYOUT M N K [BATCH]`,
		"# x\nNN 1 2 3\nTT 1 2 3": `:3: layout "TT" is not NN, NT or TN`,
		"NN 1 2 3x":               `:1: size "3x" is not a number from 1 to 1048576`,
		"NN 0 2 3":                `:1: size "0" is not`,
		"NN 1048576 1048576 1":    ":1: ",
	} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := readRows(path, gemmOp); err == nil || !strings.Contains(err.Error(), path+want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if err := os.WriteFile(path, []byte("NN 1 2 3 # small\n\nNT 4 5 6 7\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	rows, err := readRows(path, gemmOp)
	if err != nil || len(rows) != 2 || rows[0].args != "NN 1 2 3 1" || rows[1].args != "NT 4 5 6 7" || rows[1].flop != 2*4*5*6*7 {
		t.Errorf("%+v, %v", rows, err)
	}
}

func TestCommandLine(t *testing.T) {
	for line, want := range map[string]string{
		"-op conv": `no op is called "conv"`, "-peers atlas": `no peer is called "atlas"`, "-require atlas": `no peer is called "atlas"`,
		"-threads 0": `"0" is not a number of threads`, "-threads 1,1": "1 stands twice", "-threads 9999": "9999 threads",
		"-rounds -1": "above 0", "extra": `unexpected argument "extra"`, "-shapes /nonexistent": "no such file", "-nope": "not defined",
		"-most 1e-9": "no row has at most 1e-09 GFLOP",
	} {
		var stdout, stderr bytes.Buffer
		if status := run(strings.Fields(line), strings.NewReader(""), &stdout, &stderr); status != 2 || !strings.Contains(stderr.String(), want) || stdout.Len() > 0 {
			t.Errorf("%s: status %d, %q", line, status, stderr.String())
		}
	}
	if rows := atMost(someRows(t, "NN 100 100 100", "NN 100 100 101"), 0.002); len(rows) != 1 || rows[0].flop != 2e6 {
		t.Errorf("at most 2 MFLOP: %+v", rows)
	}
	if got, err := parseThreads("", 1); err != nil || len(got) != 1 {
		t.Errorf("one CPU: %v, %v", got, err)
	}
	if got, err := parseThreads("2, 1", 4); err != nil || len(got) != 2 || got[0] != 2 {
		t.Errorf("2, 1: %v, %v", got, err)
	}
}

// TestReport renders a report by hand and reads the JSON back.
func TestReport(t *testing.T) {
	programs := []program{{name: ours}, {name: "a"}, {name: "b"}, {name: "c"}}
	m := &measurement{Op: "gemm", Role: "square", Shape: "NN 2×2×2", Threads: 1, FLOP: 16e9, Timings: map[string]*timing{
		ours: {Seconds: []float64{1, 1, 1, 1, 1, 1}}, "a": {Seconds: []float64{0.9, 0.9, 0.9, 0.9, 0.9, 0.9}},
		"b": {Seconds: []float64{8}, Once: true}, "c": {Lost: "died | so"},
	}}
	m.summarize(gemmOp, programs, 32e9)
	r := &report{
		Command: "compare", Date: "2026-01-02", Op: "gemm", Unit: gemmOp.unit.name, Ceiling: gemmOp.unit.ceiling, Rounds: 6, Busy: true, Machine: []fact{{"CPU", "abacus"}},
		Programs: []programInfo{{Name: ours}, {Name: "a"}, {Name: "b"}, {Name: "c"}}, Missing: []programInfo{{Name: "d", Reason: "not installed"}},
	}
	r.add(1, passResult{rows: []*measurement{m}, peak: 32e9, versions: map[string]string{ours: "1", "a": "2"}, gone: map[string]string{"c": "died"}, left: 3})
	var text, coded bytes.Buffer
	r.markdown(&text)
	for _, want := range []string{
		"The machine was not idle", "- CPU: abacus", "threads = 1: 32.0 GFLOP/s", "| a | 2 |", "| c | did not start |", "| d | missing: not installed |",
		"c takes no part", "3 rows were left out",
		"| 1 | 1 | **0.900 ✗** | **0.900 ✗** at NN 2×2×2 | 1 | 50.0 |",
		"| NN 2×2×2 | square | 16.0 | **17.8** | ~2.00 | – | 0.900 | 0.900–0.900 | 50.0 |",
		"at least 96.9 %", "- c, NN 2×2×2: died \\| so",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if err := r.writeJSON(&coded); err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(coded.Bytes(), &back); err != nil || len(back.Rows) != 1 || len(back.Rows[0].Timings["a"].Seconds) != 6 || back.Summary[0].Below != 1 {
		t.Errorf("%v, %s", err, coded.String())
	}
	if why := r.absent("d"); why != "not installed" {
		t.Errorf("absent: %q", why)
	}
	for name, want := range map[string]string{"a": "", "b": "did not start", "e": "-peers leaves it out"} {
		if why := r.absent(name); why != want {
			t.Errorf("absent(%s): %q, want %q", name, why, want)
		}
	}
}

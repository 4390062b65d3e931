package bench

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fuerte/kernels"
)

// TestRuns: a benchmark runs with a candidate where it reaches its field.
func TestRuns(t *testing.T) {
	tile := func(s *kernels.Set[float32]) func() {
		x, c := filled(4), filled(4)
		return func() { kernels.Gemm(s, false, false, 2, 2, 2, x, 2, x, 2, c, 2, false) }
	}
	vector := func(s *kernels.Set[float32]) func() {
		x, y := filled(8), filled(8)
		return func() { s.SiLU(y, x) }
	}
	for _, c := range []struct {
		field string
		call  func(s *kernels.Set[float32]) func()
		want  bool
	}{{"Tile", tile, true}, {"Tile", vector, false}, {"SiLU", vector, true}, {"SiLU", tile, false}, {"Exp", vector, false}} {
		got := runs(kernels.Candidate{Set: kernels.Reference[float32](), Level: "reference", Field: c.field}, c.call)
		if got != c.want {
			t.Errorf("runs %s: %t, want %t", c.field, got, c.want)
		}
	}
}

// TestCandidatesLinkedOut: a program has no experimental kernel in it.
func TestCandidatesLinkedOut(t *testing.T) {
	list := kernels.Candidates()
	if testing.Short() || len(list) == 0 {
		t.Skip("links a program")
	}
	exe := filepath.Join(t.TempDir(), "aimv2")
	if out, err := exec.Command("go", "build", "-o", exe, "../aimv2/cmd/aimv2").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	symbols, err := exec.Command("go", "tool", "nm", exe).CombinedOutput()
	if err != nil {
		t.Fatalf("go tool nm: %v\n%s", err, symbols)
	}
	if !strings.Contains(string(symbols), "amd64.SiLUAVX2") {
		t.Fatal("no kernel at all among the symbols: is the pattern right?")
	}
	for _, c := range list {
		if _, name, _ := strings.Cut(c.Set.Name, "+"); strings.Contains(string(symbols), name) {
			t.Errorf("the program holds %s", name)
		}
	}
}

package shapes

import (
	"testing"
)

// TestGemmTable holds the table to what is compared: every layout of every
// linear map at every number of tokens, without a row twice.
func TestGemmTable(t *testing.T) {
	seen := map[Gemm]bool{}
	for _, g := range GemmTable() {
		if g.M < 1 || g.N < 1 || g.K < 1 || g.Batch < 1 || g.Role == "" {
			t.Errorf("row %+v", g)
		}
		if g.Role = ""; seen[g] {
			t.Errorf("%v stands twice", g)
		}
		seen[g] = true
	}
	for _, want := range []Gemm{
		{"NN", 16, 16, 16, 1, ""}, {"TN", 4096, 4096, 4096, 1, ""},
		{"NT", 4096, 3 * 2048, 2048, 1, ""}, // qkv of 1B
		{"NN", 1, 1536, 4096, 1, ""},        // gx of gate and up of H
		{"TN", 1024, 588, 196, 1, ""},       // gW of the patch embedding of L
		{"NT", 36, 49408, 1024, 1, ""},
		{"NT", 256, 256, 64, 8, ""}, {"NN", 196, 128, 196, 8, ""},
	} {
		if !seen[want] {
			t.Errorf("%v is missing", want)
		}
	}
	if n := len(seen); n < 700 || n > 1200 {
		t.Errorf("%d rows", n)
	}
}

// TestGemmQuick: the rows are of the table, of every layout, and small.
func TestGemmQuick(t *testing.T) {
	layouts := map[string]bool{}
	for _, g := range GemmQuick() {
		if layouts[g.Layout] = true; g.FLOP() > 2.2e9 {
			t.Errorf("%v is %.1f GFLOP", g, g.FLOP()/1e9)
		}
	}
	if len(layouts) != len(Layouts) {
		t.Errorf("layouts %v", layouts)
	}
}

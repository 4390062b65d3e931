package shapes

import (
	"testing"
)

// TestAttentionFLOP counts the pairs one by one.
func TestAttentionFLOP(t *testing.T) {
	for _, a := range []Attention{{"forward", "none", 2, 3, 7, 5}, {"backward", "causal", 1, 2, 6, 4}, {"forward", "prefix", 3, 1, 9, 2}} {
		pairs := 0
		for i := range a.T {
			for j := range a.T {
				if a.Mask == "none" || j <= i || a.Mask == "prefix" && j < a.T/2 {
					pairs++
				}
			}
		}
		each := map[string]int{"forward": 4, "backward": 10}[a.Pass]
		if want := float64(each * a.D * a.B * a.H * pairs); a.FLOP() != want {
			t.Errorf("%v: %g FLOP, want %g", a, a.FLOP(), want)
		}
	}
}

// TestBounded: no call of the tables of attention has more pairs than its bound,
// but all have a good part of it unless the batch is bounded first.
func TestBounded(t *testing.T) {
	for _, a := range AttentionTable(false) {
		pairs := a.B * a.H * a.T * a.T
		if pairs > attentionPairs || a.B < 1 || a.H < 1 || pairs < attentionPairs/2 && a.B < 64 {
			t.Errorf("%v has %d pairs", a, pairs)
		}
	}
}

// TestAdamWParameters: the sizes of all blocks add up.
func TestAdamWParameters(t *testing.T) {
	for _, a := range AdamWTable(false) {
		n := 0
		for _, s := range a.Sizes() {
			n += s
		}
		if n*a.Depth != a.Parameters() {
			t.Errorf("%v: %d parameters in %d blocks, not %d", a, n*a.Depth, a.Depth, a.Parameters())
		}
	}
}

// TestNormBytes: out of the caches of most machines, and known.
func TestNormBytes(t *testing.T) {
	for _, n := range NormTable(false) {
		if n.Bytes() < 100<<20 {
			t.Errorf("%v moves %g bytes", n, n.Bytes())
		}
	}
	if b := (Norm{"add", "backward", 8, 8}).Bytes(); b != 0 {
		t.Errorf("the sum has no backward pass, but it moves %g bytes", b)
	}
}

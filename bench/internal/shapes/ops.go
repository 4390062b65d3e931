package shapes

import (
	"fmt"

	"fuerte/aimv2"
)

// Attention is a row of the table of attention: heads of batch entries, self-attention.
type Attention struct {
	Pass       string // forward or backward
	Mask       string // none, causal, or prefix: every query sees the first T/2 keys too
	B, H, T, D int    // D is the size of a head
}

// Seen is how many keys the query i sees.
func (a Attention) Seen(i int) int {
	switch a.Mask {
	case "causal":
		return i + 1
	case "prefix":
		return max(i+1, a.T/2)
	}
	return a.T
}

// FLOP counts, for each pair of a query and a key that it sees, 4·D forward and
// 10·D backward: what is computed on masked pairs is no work done.
func (a Attention) FLOP() float64 {
	pairs := 0
	for i := range a.T {
		pairs += a.Seen(i)
	}
	each := 4.0
	if a.Pass == "backward" {
		each = 10
	}
	return each * float64(a.D) * float64(a.B) * float64(a.H) * float64(pairs)
}

func (a Attention) String() string {
	return fmt.Sprintf("%s %s %d×%d×%d×%d", a.Pass, a.Mask, a.B, a.H, a.T, a.D)
}

// attentionLengths are those of tiny's encoder and decoder, of AIMV2 at 224 and
// 448 pixels, and of long sequences.
var attentionLengths = []int{36, 60, 256, 1024, 4096}

// attentionPairs bounds the pairs of a query and a key in a call: 5 GFLOP forward
// with heads of 64.
const attentionPairs = 1 << 24

// Passes and Masks of attention.
var (
	Passes = []string{"forward", "backward"}
	Masks  = []string{"none", "causal", "prefix"}
)

// AttentionTable is the whole table; -quick takes a part of small calls.
func AttentionTable(quick bool) []Attention {
	if quick {
		return []Attention{
			{"forward", "none", 4, 8, 256, 64},
			{"backward", "none", 4, 8, 256, 64},
			{"forward", "prefix", 4, 8, 256, 128},
			{"backward", "causal", 1, 2, 1024, 64},
		}
	}
	var out []Attention
	for _, d := range headSizes {
		for _, t := range attentionLengths {
			b, h := attentionPairs/t/t, heads
			if b < heads {
				h = b // a few long heads
			}
			for _, mask := range Masks {
				for _, pass := range Passes {
					out = append(out, Attention{pass, mask, min(64, b/h), h, t, d})
				}
			}
		}
	}
	return out
}

// Norm is a row of the table of what memory bounds: an op on [N, D].
type Norm struct {
	Op, Pass string
	N, D     int
}

// normBytes are the matrices of float32 that an element of each op reads and
// writes, each once. Backward reads what the formula needs: the gradient of a sum
// is the sum's cotangent itself, so it has none.
var normBytes = []struct {
	op, pass string
	moved    float64
}{
	{"rmsnorm", "forward", 2}, {"rmsnorm", "backward", 3},
	{"layernorm", "forward", 2}, {"layernorm", "backward", 3},
	{"softmax", "forward", 2}, {"softmax", "backward", 3},
	{"swiglu", "forward", 3}, {"swiglu", "backward", 5},
	{"gelu", "forward", 2}, {"gelu", "backward", 3},
	{"add", "forward", 3},
}

// Bytes is what a call reads and writes; 0 for an op that there is not.
func (n Norm) Bytes() float64 {
	for _, b := range normBytes {
		if b.op == n.Op && b.pass == n.Pass {
			return 4 * b.moved * float64(n.N) * float64(n.D)
		}
	}
	return 0
}

func (n Norm) String() string { return fmt.Sprintf("%s %s %d×%d", n.Op, n.Pass, n.N, n.D) }

// normElements makes an operand of 64 MiB, above the caches of most machines.
const normElements = 1 << 24

// NormTable is the whole table, of the widths of ViT-Ti and AIMV2-L and of the
// latter's hidden activations; -quick takes fewer and smaller ones.
func NormTable(quick bool) []Norm {
	if quick {
		return []Norm{
			{"rmsnorm", "forward", 8192, 1024}, {"rmsnorm", "backward", 8192, 1024}, {"softmax", "forward", 8192, 1024},
			{"swiglu", "forward", 8192, 1024}, {"swiglu", "backward", 8192, 1024}, {"add", "forward", 8192, 1024},
		}
	}
	var out []Norm
	for _, b := range normBytes {
		for _, d := range []int{192, 1024, 2816} {
			out = append(out, Norm{b.op, b.pass, normElements / d, d})
		}
	}
	return out
}

// Loss is a row of the table of the text loss: the vocabulary's head on rows of a
// width, and the mean cross-entropy of its logits, forward and backward.
type Loss struct{ Rows, Width, Vocab int }

// FLOP is that of the head's three products.
func (l Loss) FLOP() float64 { return 6 * float64(l.Rows) * float64(l.Width) * float64(l.Vocab) }

func (l Loss) String() string { return fmt.Sprintf("%d×%d→%d", l.Rows, l.Width, l.Vocab) }

// LossTable has the vocabularies of SentencePiece and of CLIP, which is AIMV2's,
// and captions of 77 ids.
func LossTable(quick bool) []Loss {
	if quick {
		return []Loss{{77, 1024, 32000}}
	}
	var out []Loss
	for _, rows := range []int{77, 8 * 77, 2048} {
		for _, v := range []int{32000, 49408} {
			out = append(out, Loss{rows, 1024, v})
		}
	}
	return out
}

// AdamW is a row of the table of the optimiser's step: the matrices and norms of
// blocks of a transformer.
type AdamW struct{ Width, Depth, Hidden int }

// Sizes are the parameters of a block, in their order: five matrices, which are
// decayed, and two vectors, which are not.
func (a AdamW) Sizes() []int {
	w, f := a.Width, a.Hidden
	return []int{3 * w * w, w * w, f * w, f * w, w * f, w, w}
}

// Matrices is how many of Sizes are matrices.
const Matrices = 5

// Parameters is the number of elements of all blocks.
func (a AdamW) Parameters() int {
	return a.Depth * (4*a.Width*a.Width + 3*a.Width*a.Hidden + 2*a.Width)
}

func (a AdamW) String() string {
	return fmt.Sprintf("%d blocks of %d, %.1f M", a.Depth, a.Width, float64(a.Parameters())/1e6)
}

// AdamWTable has the blocks of ViT-Ti, ViT-B and, as far as every program can
// hold four times their size, AIMV2-L.
func AdamWTable(quick bool) []AdamW {
	if quick {
		return []AdamW{{192, 12, 512}, {384, 12, 1024}}
	}
	return []AdamW{{192, 12, 512}, {384, 12, 1024}, {768, 12, 2048}, {1024, 8, 2816}}
}

// Model is a row of the tables of whole models.
type Model struct {
	Name   string
	Config aimv2.Config
	Batch  int
}

func (m Model) String() string { return fmt.Sprintf("%s, batch %d", m.Name, m.Batch) }

// vit is a model of AIMV2's form at ViT's size, with a decoder of half the depth.
func vit(width, heads, hidden int) aimv2.Config {
	c := aimv2.Presets["large"]
	c.Encoder = aimv2.Stack{Width: width, Depth: 12, Heads: heads, Hidden: hidden}
	c.Decoder = aimv2.Stack{Width: width, Depth: 6, Heads: heads, Hidden: hidden}
	return c
}

// StepTable has the training steps: as many images as keep the cores busy and,
// of the larger models, as few as their state leaves room for.
func StepTable(quick bool) []Model {
	if quick {
		return []Model{{"tiny", aimv2.Presets["tiny"], 8}}
	}
	return []Model{
		{"tiny", aimv2.Presets["tiny"], 16},
		{"ViT-Ti", vit(192, 3, 512), 16},
		{"ViT-S", vit(384, 6, 1024), 8},
		{"ViT-B", aimv2.Presets["base"], 4},
		{"AIMV2-L", aimv2.Presets["large"], 2},
	}
}

// InferTable has the encoders.
func InferTable(quick bool) []Model {
	if quick {
		return []Model{{"tiny", aimv2.Presets["tiny"], 8}, {"ViT-Ti/14", vit(192, 3, 512), 1}}
	}
	return []Model{
		{"ViT-Ti/14", vit(192, 3, 512), 1}, {"ViT-Ti/14", vit(192, 3, 512), 8},
		{"ViT-B/14", aimv2.Presets["base"], 1}, {"ViT-B/14", aimv2.Presets["base"], 8},
		{"AIMV2-L/14", aimv2.Presets["large"], 1}, {"AIMV2-L/14", aimv2.Presets["large"], 8},
	}
}

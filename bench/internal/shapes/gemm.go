// Package shapes is the table of sizes at which Fuerte is compared with others.
package shapes

import (
	"fmt"
	"slices"
)

// Gemm is a row of the table: batch products C = op(A)·op(B) of one size.
type Gemm struct {
	Layout  string // NN, NT or TN: which operand is stored transposed
	M, N, K int    // C [M, N], inner size K
	Batch   int    // products in a call: heads of attention; else 1
	Role    string // where the product comes from
}

// FLOP is the work of a call: 2·M·N·K for each product.
func (g Gemm) FLOP() float64 {
	return 2 * float64(g.M) * float64(g.N) * float64(g.K) * float64(g.Batch)
}

// Stored tells how A and B are stored: whether transposed, and their row strides, which
// leave no gaps.
func (g Gemm) Stored() (transA, transB bool, lda, ldb int) {
	transA, transB, lda, ldb = g.Layout[0] == 'T', g.Layout[1] == 'T', g.K, g.N
	if transA {
		lda = g.M
	}
	if transB {
		ldb = g.K
	}
	return transA, transB, lda, ldb
}

func (g Gemm) String() string {
	s := fmt.Sprintf("%s %d×%d×%d", g.Layout, g.M, g.N, g.K)
	if g.Batch > 1 {
		s = fmt.Sprintf("%d× %s", g.Batch, s)
	}
	return s
}

// Layouts are those of a linear map y = x·Wᵀ: NN gx = gy·W, NT y, TN gW = gyᵀ·x.
var Layouts = []string{"NN", "NT", "TN"}

// squares are the sides of square products.
var squares = []int{16, 32, 64, 128, 256, 512, 1024, 2048, 4096}

// tokens are the rows of x: one, a caption's, the patches of tiny (36), of ViT at
// 224 pixels (196) and of AIMV2 at 224 pixels (256), and batches of these.
var tokens = []int{1, 8, 36, 64, 196, 256, 1024, 4096}

// patchLen is 14·14·3, the length of a patch of AIMV2.
const patchLen = 588

// encoders have a SwiGLU of hidden size 8/3·width, rounded up to a multiple of
// 256, as AIMV2 has. The widths of ViT: Touvron et al. 2021, arXiv:2012.12877;
// those of AIMV2: Fini et al. 2024, arXiv:2411.14402.
var encoders = []struct {
	name          string
	width, hidden int
}{
	{"ViT-Ti", 192, 512},
	{"ViT-S", 384, 1024},
	{"ViT-B", 768, 2048},
	{"AIMV2-L", 1024, 2816},
	{"AIMV2-H", 1536, 4096},
	{"AIMV2-1B", 2048, 5632},
}

// vocabularies are the heads of decoders that predict text: [Vocab, width].
var vocabularies = []struct {
	name         string
	vocab, width int
}{{"tiny", 1024, 128}, {"AIMV2", 49408, 1024}}

// vocabTokens bounds the rows of logits: of 4096 every program would hold 0.8 GB.
const vocabTokens = 1024

// odd sizes leave a tail in every dimension of every tile and block.
var odd = [][3]int{{7, 5, 3}, {17, 31, 13}, {33, 65, 129}, {97, 101, 103}, {127, 255, 63}, {257, 257, 257}, {511, 513, 509}, {1023, 1025, 1027}, {1, 1000, 999}, {999, 1, 1000}}

// heads, lengths and headSizes are those of attention.
const heads = 8

var (
	lengths   = []int{36, 64, 196, 256, 1024}
	headSizes = []int{64, 128}
)

// GemmTable is the whole table; a size stands once, under its first role.
func GemmTable() []Gemm {
	var out []Gemm
	seen := map[Gemm]bool{}
	add := func(layout string, m, n, k, batch int, role string) {
		g := Gemm{Layout: layout, M: m, N: n, K: k, Batch: batch}
		if !seen[g] {
			seen[g] = true
			g.Role = role
			out = append(out, g)
		}
	}
	linear := func(role string, t, n, k int) {
		add("NT", t, n, k, 1, role)
		add("NN", t, k, n, 1, role+" gx")
		add("TN", n, k, t, 1, role+" gW")
	}
	for _, n := range squares {
		for _, l := range Layouts {
			add(l, n, n, n, 1, "square")
		}
	}
	for _, e := range encoders {
		for _, t := range tokens {
			linear(e.name+" qkv", t, 3*e.width, e.width)
			linear(e.name+" proj", t, e.width, e.width)
			linear(e.name+" gate, up", t, e.hidden, e.width)
			linear(e.name+" down", t, e.width, e.hidden)
			linear(e.name+" patch", t, e.width, patchLen)
		}
	}
	for _, v := range vocabularies {
		for _, t := range tokens {
			if t <= vocabTokens {
				linear(v.name+" vocabulary", t, v.vocab, v.width)
			}
		}
	}
	for _, s := range odd {
		for _, l := range Layouts {
			add(l, s[0], s[1], s[2], 1, "odd")
		}
	}
	for _, d := range headSizes {
		for _, t := range lengths {
			add("NT", t, t, d, heads, "attention scores")
			add("NN", t, d, t, heads, "attention values")
			add("TN", t, d, t, heads, "attention gv")
		}
	}
	return out
}

// quick are the rows of GemmQuick: every layout and every kind, none above
// 2 GFLOP.
var quick = []Gemm{
	{"NN", 64, 64, 64, 1, ""},
	{"NN", 256, 256, 256, 1, ""},
	{"NT", 512, 512, 512, 1, ""},
	{"NN", 1024, 1024, 1024, 1, ""},
	{"NT", 1, 3072, 1024, 1, ""},
	{"NT", 8, 1024, 1024, 1, ""},
	{"NT", 36, 576, 192, 1, ""},
	{"NT", 64, 384, 1024, 1, ""},
	{"NT", 196, 2304, 768, 1, ""},
	{"NN", 196, 768, 2304, 1, ""},
	{"TN", 2304, 768, 196, 1, ""},
	{"NT", 256, 2816, 1024, 1, ""},
	{"NT", 256, 1024, 588, 1, ""},
	{"TN", 1024, 1024, 256, 1, ""},
	{"NN", 97, 101, 103, 1, ""},
	{"NT", 196, 196, 64, heads, ""},
	{"NN", 256, 128, 256, heads, ""},
}

// GemmQuick is a part of the table, for a look of less than a minute.
func GemmQuick() []Gemm {
	table := GemmTable()
	var out []Gemm
	for _, q := range quick {
		i := slices.IndexFunc(table, func(g Gemm) bool {
			g.Role = ""
			return g == q
		})
		if i < 0 {
			panic("shapes: " + q.String() + " is not in the table")
		}
		out = append(out, table[i])
	}
	return out
}

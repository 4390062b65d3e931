package bench

import "fuerte/aimv2"

// Every size that is benchmarked stands in this file.

// trainBatch is the number of images of a training step, that of a run of tiny by
// default, and publishedBatch that for the published sizes, whose matrices are
// large enough with one.
const (
	trainBatch     = 16
	publishedBatch = 1
)

// squares are the sides of square products.
var squares = []int{64, 128, 256, 512, 1024, 2048}

// models are the presets whose products are benchmarked.
var models = []struct {
	preset string
	batch  int
}{{"tiny", trainBatch}, {"emoji", trainBatch}, {"large", publishedBatch}}

// trained are the presets whose training step is benchmarked.
var trained = []struct {
	preset string
	batch  int
}{{"tiny", trainBatch}, {"emoji", trainBatch}, {"small", 4}}

// linear is a map y = x·Wᵀ of a model: x [tokens, in], W [out, in]. There are
// count of this shape in the model.
type linear struct {
	name                   string
	tokens, in, out, count int
}

// encoderLinears lists the linear maps of an encoder.
func encoderLinears(c aimv2.Config, batch int) []linear {
	m := batch * c.Tokens()
	return append([]linear{{"patch", m, c.PatchLen(), c.Encoder.Width, 1}}, blockLinears(c.Encoder, m)...)
}

// decoderLinears lists those of a decoder, which reads the patches and then the
// caption.
func decoderLinears(c aimv2.Config, batch int) []linear {
	d, patches, text := c.Decoder.Width, batch*c.Tokens(), batch*c.Context
	return append(headLinears(c, batch),
		append(blockLinears(c.Decoder, patches+text), linear{"connector", patches, c.Encoder.Width, d, 1})...)
}

func headLinears(c aimv2.Config, batch int) []linear {
	d := c.Decoder.Width
	return []linear{{"text", batch * c.Context, d, c.Vocab, 1}, {"pixels", batch * c.Tokens(), d, c.PatchLen(), 1}}
}

// blockLinears lists those of all blocks of a stack; fc1 stands for gate and up.
func blockLinears(s aimv2.Stack, m int) []linear {
	return []linear{
		{"qkv", m, s.Width, 3 * s.Width, s.Depth},
		{"proj", m, s.Width, s.Width, s.Depth},
		{"fc1", m, s.Width, s.Hidden, 2 * s.Depth},
		{"fc2", m, s.Hidden, s.Width, s.Depth},
	}
}

// EncoderFLOP is the matrix products of the encoder's forward pass for a batch,
// attention included: 2 FLOP for each weight and token, 4·N²·D for attention.
func EncoderFLOP(c aimv2.Config, batch int) float64 {
	return linearFLOP(encoderLinears(c, batch)) + attentionFLOP(c.Encoder, c.Tokens(), batch)
}

// decoderFLOP is that of the decoder, without the saving of its causal mask.
func decoderFLOP(c aimv2.Config, batch int) float64 {
	return linearFLOP(decoderLinears(c, batch)) + attentionFLOP(c.Decoder, c.Tokens()+c.Context, batch)
}

func linearFLOP(ls []linear) float64 {
	flop := 0.0
	for _, l := range ls {
		flop += 2 * float64(l.tokens) * float64(l.in) * float64(l.out) * float64(l.count)
	}
	return flop
}

func attentionFLOP(s aimv2.Stack, t, batch int) float64 {
	return 4 * float64(s.Depth) * float64(batch) * float64(t) * float64(t) * float64(s.Width)
}

// product is one call of Gemm: C [m, n] = op(A)·op(B), k the inner size.
type product struct {
	layout  string // NN, NT or TN: which operand is stored transposed
	m, n, k int
}

// strides are the row strides of A and B as they are stored.
func (p product) strides() (lda, ldb int) {
	lda, ldb = p.k, p.n
	if p.layout[0] == 'T' {
		lda = p.m
	}
	if p.layout[1] == 'T' {
		ldb = p.k
	}
	return lda, ldb
}

// products lists the matrix products once each: squares in every layout, forward
// pass and VJPs of the models' linear maps, and one row of A, whose products read B
// once, from L2, L3 and memory.
func products() []product {
	var out []product
	seen := map[product]bool{}
	add := func(ps ...product) {
		for _, p := range ps {
			if !seen[p] {
				seen[p] = true
				out = append(out, p)
			}
		}
	}
	for _, n := range squares {
		add(product{"NN", n, n, n}, product{"NT", n, n, n}, product{"TN", n, n, n})
	}
	for _, m := range models {
		c := aimv2.Presets[m.preset]
		ls := encoderLinears(c, m.batch)
		if m.preset != "large" { // its decoder's heads are as wide as its blocks
			ls = append(ls, headLinears(c, m.batch)...)
		}
		for _, l := range ls {
			add(
				product{"NT", l.tokens, l.out, l.in}, // y = x·Wᵀ
				product{"NN", l.tokens, l.in, l.out}, // gx = gy·W
				product{"TN", l.out, l.in, l.tokens}, // gW = gyᵀ·x
			)
		}
	}
	for _, n := range []int{256, 1024, 4096} {
		add(product{"NN", 1, n, n}, product{"NT", 1, n, n})
	}
	return out
}

// attentions are the sizes of attention: the encoder and the decoder of the
// small presets, and a published encoder.
var attentions = []struct{ b, h, t int }{{64, 2, 36}, {64, 2, 60}, {1, 8, 256}}

var headSizes = []int{64, 128}

// decoded are lengths of a key/value cache.
var decoded = []int{64, 256, 2048}

// matrix is n rows of d elements.
type matrix struct{ n, d int }

var (
	// normed are the tokens of tiny, of an image of AIMV2-L, and of 64 of these.
	normed = []matrix{{64 * 36, 128}, {256, 1024}, {64 * 256, 1024}}
	// softmaxed are scores of 256 keys and logits of the presets' vocabulary.
	softmaxed = []matrix{{2048, 256}, {64 * 24, 1024}}
	// logits are those of tiny, and one image's of the published vocabulary.
	logits = []matrix{{64 * 24, 1024}, {77, 49408}}
	// gated are the hidden activations of tiny and of AIMV2-L.
	gated = []matrix{{64 * 36, 384}, {256, 2816}, {32 * 256, 2816}}
	// summed are the cotangents of tiny and of AIMV2-L, for the gradient of a bias.
	summed = []matrix{{64 * 36, 128}, {64 * 256, 1024}}
)

// vectors are lengths of elementwise ops: operands of 64 KB, 1 MB and 64 MB.
var vectors = []int{1 << 14, 1 << 18, 1 << 24}

// parameters are lengths of an optimiser's step: the model tiny, and 16 million.
var parameters = []int{aimv2.Presets["tiny"].Parameters(), 1 << 24}

package aimv2

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"fuerte/autograd"
	"fuerte/tensor"
)

// gradients runs a batch in n parts and returns the sums of the losses and the
// gradients, which are nil where there is none.
func gradients(t *testing.T, m *Model, b *Batch, n int) (pixel, text, total float64, grads [][]float32) {
	t.Helper()
	tape := autograd.NewTape()
	for i := range n {
		part := b.part(i, n)
		l, _, _ := m.Loss(tape, part)
		pixel, text, total = pixel+value(l.Pixel), text+value(l.Text), total+value(l.Total)
		tape.Backward(l.Total)
		part.Release()
	}
	for _, p := range m.Params() {
		var g []float32
		if p.Grad != nil {
			g = slices.Clone(tensor.Data[float32](p.Grad))
		}
		grads = append(grads, g)
		p.ZeroGrad()
	}
	return pixel, text, total, grads
}

// distance returns the largest difference of two gradients, as a part of the
// largest value of the tensor; what is nil counts as zero.
func distance(a, b [][]float32) (worst float64) {
	at := func(x []float32, i int) float64 {
		if x == nil {
			return 0
		}
		return float64(x[i])
	}
	for p := range a {
		var d, top float64
		for i := range max(len(a[p]), len(b[p])) {
			x, y := at(a[p], i), at(b[p], i)
			d, top = max(d, math.Abs(x-y)), max(top, math.Abs(x), math.Abs(y))
		}
		if top > 0 {
			worst = max(worst, d/top)
		}
	}
	return worst
}

// unevenBatch has captions and prefixes whose counts differ from part to part.
func unevenBatch(r Recipe, rng *rand.Rand) *Batch {
	const n = 6
	captions, prefix := make([][]int32, n), []int32{1, 8, 3, 7, 8, 2}
	for i := range n {
		for range i % 4 {
			captions[i] = append(captions[i], rng.Int32N(10))
		}
	}
	return newBatch(tensor.CPU, r, randomImages(r.Model, n, rng), captions, prefix, 10)
}

// TestAccumulate: the parts of a batch have its losses and its gradient, to the
// rounding of sums; with Original they have the mean of their own, which is
// another one.
func TestAccumulate(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	m := wideModel(t, recipeConfig, rng)
	r := defaults()
	r.Model = recipeConfig
	b := unevenBatch(r, rng)
	pixel, text, total, whole := gradients(t, m, b, 1)
	for _, n := range []int{2, 3, 6} {
		p, x, s, parts := gradients(t, m, b, n)
		if d := max(math.Abs(p-pixel), math.Abs(x-text), math.Abs(s-total)); d > 1e-6*total {
			t.Errorf("%d parts: the losses are off by %g", n, d)
		}
		if d := distance(whole, parts); d > 2e-6 {
			t.Errorf("%d parts: the gradient is off by %g", n, d)
		}
	}

	const n = 3
	r.Original, r.Accumulate = true, n
	rng = rand.New(rand.NewPCG(5, 6))
	wideModel(t, recipeConfig, rng) // as far in the draws
	means := unevenBatch(r, rng)
	_, _, got, parts := gradients(t, m, means, n)
	if d := distance(whole, parts); d < 1e-3 {
		t.Errorf("the original's gradient is that of the whole batch, but for %g", d)
	}
	// The mean of the parts, each as a batch of its own.
	r.Accumulate = 1
	want, each := 0.0, make([][]float32, len(parts))
	images, ids := tensor.Data[float32](means.Images), tensor.Data[int32](means.IDs)
	prefix := tensor.Data[int32](means.Prefix)
	size, context := len(images)/6, r.Model.Context-1
	for i := range n {
		var captions [][]int32
		for j := 2 * i; j < 2*i+2; j++ {
			caption := ids[j*context : (j+1)*context]
			captions = append(captions, caption[:j%4])
		}
		own := newBatch(tensor.CPU, r, images[2*i*size:(2*i+2)*size], captions, prefix[2*i:2*i+2], 10)
		_, _, total, grads := gradients(t, m, own, 1)
		want += total / n
		for p, g := range grads {
			if each[p] == nil {
				each[p] = make([]float32, len(g))
			}
			for k, v := range g {
				each[p][k] += v / n
			}
		}
	}
	if math.Abs(got-want) > 1e-6*want || distance(each, parts) > 2e-6 {
		t.Errorf("the original's loss is %g and its gradient off by %g; the mean of the parts is %g", got, distance(each, parts), want)
	}
}

// TestAccumulatedRun: a run in micro-batches reports and learns what the run in
// whole ones does.
func TestAccumulatedRun(t *testing.T) {
	run := func(n int) (*Trainer, []Metrics) {
		r := smallRecipe(5)
		r.Accumulate = n
		tr := smallTrainer(t, r, drawings(23))
		return tr, steps(t, tr, 5)
	}
	whole, want := run(1)
	parts, got := run(5)
	for i := range want {
		if d := math.Abs(got[i].Total - want[i].Total); d > 1e-4 || got[i].Total == 0 || math.Abs(got[i].GradNorm-want[i].GradNorm) > 1e-3*want[i].GradNorm {
			t.Errorf("step %d: %+v, in whole batches %+v", i, got[i], want[i])
		}
	}
	// Adam's steps do not shrink with the gradient, so only the bulk of the weights
	// can be held to the other run's.
	var off, moved float64
	fresh := smallTrainer(t, smallRecipe(5), drawings(23))
	for i, p := range parts.Model.Params() {
		a, b, start := tensor.Data[float32](p.Value), tensor.Data[float32](whole.Model.Params()[i].Value), tensor.Data[float32](fresh.Model.Params()[i].Value)
		for j := range a {
			off += math.Abs(float64(a[j] - b[j]))
			moved += math.Abs(float64(b[j] - start[j]))
		}
	}
	if !(off < 0.01*moved) {
		t.Errorf("the weights moved by %g in all and are off by %g", moved, off)
	}
}

// TestObjectives: each term alone is the term of the sum, to the bit where
// nothing else has entered it, and the gradient of the sum is the sum of theirs.
func TestObjectives(t *testing.T) {
	const alpha = 0.7
	run := func(o Objective) (pixel, text, total float64, grads [][]float32) {
		rng := rand.New(rand.NewPCG(7, 8))
		m := wideModel(t, recipeConfig, rng)
		r := defaults()
		r.Model, r.Objective, r.PixelWeight = recipeConfig, o, alpha
		b := unevenBatch(r, rng)
		defer b.Release()
		return gradients(t, m, b, 1)
	}
	pixel, text, total, both := run(Multimodal)
	p, none, pTotal, image := run(ImageOnly)
	if math.Abs(p-pixel) > 1e-6*pixel || none != 0 || pTotal != p {
		t.Errorf("image: losses %g, %g, %g; together with text %g", p, none, pTotal, pixel)
	}
	none, x, xTotal, caption := run(CaptionOnly)
	if x != text || none != 0 || xTotal != x {
		t.Errorf("caption: losses %g, %g, %g; together with pixels %g", none, x, xTotal, text)
	}
	if math.Abs(total-alpha*pixel-text) > 1e-6*total {
		t.Errorf("%g is not %g·%g + %g", total, alpha, pixel, text)
	}
	sum := make([][]float32, len(both))
	for i := range both {
		sum[i] = make([]float32, len(both[i]))
		for j := range sum[i] {
			if image[i] != nil {
				sum[i][j] += alpha * image[i][j]
			}
			if caption[i] != nil {
				sum[i][j] += caption[i][j]
			}
		}
	}
	if d := distance(both, sum); d > 5e-6 {
		t.Errorf("the gradients of the terms add up to that of the whole but for %g", d)
	}
	for i, p := range oracleNames(t) {
		textOnly := p == "text_decoder.head.blocks.0.linear.weight" || p == "text_decoder.preprocessor.text_preprocessor.text_embedding.weight" ||
			p == "text_decoder.preprocessor.text_preprocessor.cls_token" || p == "text_decoder.preprocessor.text_preprocessor.positional_embedding"
		if (image[i] == nil) != textOnly {
			t.Errorf("image: %s has a gradient: %t", p, image[i] != nil)
		}
		if (caption[i] == nil) != (p == "text_decoder.head.blocks.1.linear.weight") {
			t.Errorf("caption: %s has a gradient: %t", p, caption[i] != nil)
		}
	}
}

// TestObjectiveFLOP: without text the decoder's share shrinks to the image's tokens.
func TestObjectiveFLOP(t *testing.T) {
	r := defaults()
	r.Model = recipeConfig
	both := r.TrainFLOP()
	r.Objective = ImageOnly
	c := recipeConfig
	n, text := c.Tokens(), c.Context
	// What the text costs: its products with the decoder's weights and the head's,
	// and the attention of (n+t)² − n² pairs.
	d := c.Decoder
	weights := 4*d.Width*d.Width + 3*d.Width*d.Hidden
	want := 3 * (d.Depth*(2*text*weights+4*d.Width*((n+text)*(n+text)-n*n)) + 2*text*d.Width*c.Vocab)
	if got := both - r.TrainFLOP(); math.Abs(got-float64(want)) > 0.5 {
		t.Errorf("text costs %g FLOP, want %d", got, want)
	}
}

// oracleNames lists the parameters of recipeConfig.
func oracleNames(t *testing.T) (names []string) {
	m, err := newEmpty(tensor.CPU, recipeConfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Params() {
		names = append(names, p.Name)
	}
	return names
}

// TestAttentions changes a patch and looks which of the encoder's tokens move.
func TestAttentions(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	m := wideModel(t, recipeConfig, rng)
	n, side := recipeConfig.Tokens(), recipeConfig.ImageSize
	const prefix = 4
	images := randomImages(recipeConfig, 1, rng)
	for attention, sees := range map[Attention]func(i, k int) bool{
		PrefixAttention:        func(i, k int) bool { return k <= i || k < prefix },
		CausalAttention:        func(i, k int) bool { return k <= i },
		BidirectionalAttention: func(i, k int) bool { return true },
	} {
		r := defaults()
		r.Model, r.Attention = recipeConfig, attention
		features := func(x []float32) *tensor.Tensor {
			b := newBatch(tensor.CPU, r, x, [][]int32{{1}}, []int32{prefix}, 10)
			if counted := map[Attention]int{CausalAttention: n - 1}[attention]; counted > 0 && b.patches != counted || counted == 0 && b.patches != n-prefix {
				t.Errorf("%s: %d patches count", attention, b.patches)
			}
			return m.Encoder.Forward(autograd.NewInferenceTape().Input(b.Images), b.Prefix).Value
		}
		before := features(images)
		for k := range n {
			moved := slices.Clone(images)
			moved[k/3*2*side+k%3*2] += 2
			for i, same := range rowsEqual(before, features(moved)) {
				if same == sees(i, k) {
					t.Errorf("%s: patch %d reaches token %d: %t", attention, k, i, !same)
				}
			}
		}
	}
}

// TestPrefixRows is the mask of the released code's example: 5 tokens, a prefix of 3.
func TestPrefixRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 9))
	const n, d = 5, 3 * 4 // query, key and value of 4 each
	x := make([]float32, n*d)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	run := func(x []float32, prefix int32) *tensor.Tensor {
		qkv := autograd.NewInferenceTape().Input(tensor.From(tensor.CPU, x, 1, n, d))
		return autograd.AttentionQKV(qkv, 1, tensor.Causal, tensor.From(tensor.CPU, []int32{prefix}, 1)).Value
	}
	for prefix, rows := range map[int32][]string{3: {"11100", "11100", "11100", "11110", "11111"}, 1: {"10000", "11000", "11100", "11110", "11111"}, 5: {"11111", "11111", "11111", "11111", "11111"}} {
		before := run(x, prefix)
		for j := range n {
			moved := slices.Clone(x)
			moved[j*d+d-1] += 1 // a value
			for i, same := range rowsEqual(before, run(moved, prefix)) {
				if same != (rows[i][j] == '0') {
					t.Errorf("prefix %d: token %d sees token %d: %t", prefix, i, j, !same)
				}
			}
		}
	}
}

// TestOriginalEOS: the end of a caption is no target there, and what follows is
// padding as before.
func TestOriginalEOS(t *testing.T) {
	r := defaults()
	r.Model, r.Original = recipeConfig, true
	b := newBatch(tensor.CPU, r, make([]float32, 3*3*36), [][]int32{{1, 2}, {}, {3, 10, 4, 5, 6}}, []int32{1, 2, 3}, 10)
	want := []int32{1, 2, -1, -1, -1, -1, -1, -1, -1, -1, 3, -1, 4, 5, -1}
	if got := tensor.Data[int32](b.Target); !slices.Equal(got, want) {
		t.Errorf("the targets are %v, want %v", got, want)
	}
	sum := float32(0)
	for i, w := range tensor.Data[float32](b.TextWeight) {
		if sum += w; (w > 0) != (want[i] >= 0) {
			t.Errorf("position %d has weight %g", i, w)
		}
	}
	if b.tokens != 5 || math.Abs(float64(sum)-1) > 1e-6 {
		t.Errorf("%d tokens count %g in all", b.tokens, sum)
	}
}

// TestValidate: the losses are the means over all that counts, whatever the
// batches are; and nothing of the run moves.
func TestValidate(t *testing.T) {
	validate := func(batch int, change func(*Recipe)) Validation {
		r := smallRecipe(9)
		r.Batch = batch
		change(&r)
		tr := smallTrainer(t, r, drawings(23))
		before := state(t, tr)
		v, err := tr.Validate(drawings(11))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(before, state(t, tr)) {
			t.Error("a validation changes the run")
		}
		return v
	}
	plain := func(*Recipe) {}
	want := validate(11, plain)
	if *want.Pixel < 0.5 || *want.Text < 2 || math.Abs(*want.Total-0.4**want.Pixel-*want.Text) > 1e-9 {
		t.Errorf("the losses are %g, %g and %g", *want.Pixel, *want.Text, *want.Total)
	}
	for _, batch := range []int{1, 4, 30} {
		got := validate(batch, plain)
		if math.Abs(*got.Pixel-*want.Pixel) > 1e-5 || math.Abs(*got.Text-*want.Text) > 1e-5 {
			t.Errorf("in batches of %d they are %g and %g, in one %g and %g", batch, *got.Pixel, *got.Text, *want.Pixel, *want.Text)
		}
	}
	// The mean that training would have of the same batch.
	if got := validate(12, func(r *Recipe) { r.Accumulate = 4 }); math.Abs(*got.Total-*want.Total) > 1e-5 {
		t.Errorf("with micro-batches the loss is %g, want %g", *got.Total, *want.Total)
	}
	if v := validate(4, func(r *Recipe) { r.Original = true }); v.Pixel != nil || v.Text == nil || *v.Total != *v.Text {
		t.Errorf("original: %+v", v)
	}
	if v := validate(4, func(r *Recipe) { r.Objective = ImageOnly }); v.Text != nil || math.Abs(*v.Total-*want.Pixel) > 1e-5 {
		t.Errorf("image: %+v", v)
	}
	if v := validate(4, func(r *Recipe) { r.Objective = CaptionOnly }); v.Pixel != nil || math.Abs(*v.Total-*want.Text) > 1e-5 {
		t.Errorf("caption: %+v", v)
	}
	tr := smallTrainer(t, smallRecipe(9), drawings(23))
	if _, err := tr.Validate(damaged{23}); err == nil {
		t.Error("a damaged picture is passed over")
	}
	tensor.Data[float32](tr.Model.Encoder.Preprocessor.PosEmbed.Value)[0] = float32(math.NaN())
	if v, err := tr.Validate(drawings(3)); err == nil {
		t.Errorf("a broken model has losses %+v", v)
	}
	if v, err := tr.Validate(drawings(0)); err != nil || v != (Validation{}) {
		t.Errorf("nothing: %+v, %v", v, err)
	}
}

// TestSquarePositions compares with torch (testdata/positions.py).
func TestSquarePositions(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "positions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		N, H, W, D int
		In, Out    []float32
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) < 5 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		m, err := newEmpty(tensor.CPU, Config{ImageSize: c.N, PatchSize: 1, Encoder: Stack{c.D, 0, 1, 1}, Decoder: Stack{1, 0, 1, 1}, Vocab: 2, Context: 1, NormEps: 1})
		if err != nil {
			t.Fatal(err)
		}
		e := m.Encoder
		copy(tensor.Data[float32](e.Preprocessor.PosEmbed.Value), c.In)
		e.InterpolatePositions(c.H, c.W)
		got := tensor.Data[float32](e.Preprocessor.PosEmbed.Value)
		if len(got) != len(c.Out) {
			t.Fatalf("%d×%d to %d×%d: %d values, want %d", c.N, c.N, c.H, c.W, len(got), len(c.Out))
		}
		for i, v := range got {
			if math.Abs(float64(v-c.Out[i])) > 1e-6 {
				t.Fatalf("%d×%d to %d×%d: value %d is %g, torch has %g", c.N, c.N, c.H, c.W, i, v, c.Out[i])
			}
		}
	}
}

// TestStartFrom: a second stage has the weights of the first, its positions on
// the new grid, and trains.
func TestStartFrom(t *testing.T) {
	first := smallTrainer(t, smallRecipe(4), drawings(23))
	steps(t, first, 2)
	r := smallRecipe(3)
	r.Model.ImageSize, r.Decay, r.Seed = 24, 0, 77
	second := smallTrainer(t, r, drawings(23))
	if err := second.StartFrom(first.Model); err != nil {
		t.Fatal(err)
	}
	before := smallTrainer(t, smallRecipe(4), drawings(23))
	steps(t, before, 2) // the first stage again
	before.Model.Encoder.InterpolatePositions(6, 6)
	for i, p := range second.Model.Params() {
		want := before.Model.Params()[i].Value
		if !slices.Equal(p.Shape(), want.Shape()) || !slices.Equal(tensor.Data[float32](p.Value), tensor.Data[float32](want)) {
			t.Errorf("%s is not that of the first stage", p.Name)
		}
	}
	steps(t, second, 3)
	if err := second.StartFrom(first.Model); err == nil {
		t.Error("a run takes other weights in its middle")
	}
	r.Model.Encoder.Depth++
	if err := smallTrainer(t, r, drawings(23)).StartFrom(first.Model); err == nil {
		t.Error("a deeper model starts from a shallow one")
	}
	r = smallRecipe(3)
	r.Model.PatchSize = 2
	if err := smallTrainer(t, r, drawings(23)).StartFrom(first.Model); err == nil {
		t.Error("other patches start from these")
	}
}

// TestRecipeOfBefore: a recipe written before it could name its objective is the
// published one.
func TestRecipeOfBefore(t *testing.T) {
	dir := t.TempDir()
	var fields map[string]any
	config, err := json.Marshal(smallRecipe(9))
	if err == nil {
		err = json.Unmarshal(config, &fields)
	}
	for _, name := range []string{"accumulate", "objective", "attention", "pixel_weight", "original", "eval_every", "eval_data"} {
		if _, ok := fields[name]; !ok {
			t.Errorf("a recipe has no %q", name)
		}
		delete(fields, name)
	}
	if err == nil {
		config, err = json.Marshal(fields)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, ConfigFile), config, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := LoadRecipe(dir)
	if err != nil || r.Validate() != nil || r.Accumulate != 1 || r.Objective != Multimodal || r.Attention != PrefixAttention || r.PixelWeight != 0.4 || r.Original {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRecipeIsChecked(t *testing.T) {
	for what, change := range map[string]func(*Recipe){
		"no micro-batch":      func(r *Recipe) { r.Accumulate = 0 },
		"uneven parts":        func(r *Recipe) { r.Accumulate = 3 },
		"unknown objective":   func(r *Recipe) { r.Objective = "contrast" },
		"unknown attention":   func(r *Recipe) { r.Attention = "sparse" },
		"no weight":           func(r *Recipe) { r.PixelWeight = 0 },
		"weight NaN":          func(r *Recipe) { r.PixelWeight = math.NaN() },
		"negative validation": func(r *Recipe) { r.EvalEvery = -1 },
	} {
		r := smallRecipe(9)
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		if change(&r); r.Validate() == nil {
			t.Errorf("%s was let through", what)
		}
	}
	none, err := NewTrainer(tensor.CPU, smallRecipe(9), drawings(0), nil)
	if err == nil {
		t.Errorf("a run on nothing: %+v", none.Recipe)
	}
}

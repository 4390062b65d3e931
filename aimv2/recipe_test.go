package aimv2

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"

	"fuerte/autograd"
	"fuerte/nn"
	"fuerte/tensor"
)

// recipeConfig has 9 patches and captions of up to 4 ids and an EOS.
var recipeConfig = Config{ImageSize: 6, PatchSize: 2, Encoder: Stack{12, 2, 2, 7}, Decoder: Stack{8, 2, 2, 5}, Vocab: 11, Context: 5, NormEps: 1e-5}

// wideModel returns a model whose every path is strong enough to be seen: the
// oracle's draws, not the recipe's.
func wideModel(t *testing.T, c Config, r *rand.Rand) *Model {
	t.Helper()
	params := oracleParams(oracleOf(c), r)
	m, err := newEmpty(tensor.CPU, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Params() {
		setFloat64(p, params[p.Name])
	}
	return m
}

func oracleOf(c Config) oracleConfig {
	return oracleConfig{c.ImageSize, c.PatchSize, c.Encoder.Width, c.Encoder.Depth, c.Encoder.Heads, c.Encoder.Hidden,
		c.Decoder.Width, c.Decoder.Depth, c.Decoder.Heads, c.Decoder.Hidden, c.Vocab, c.Context, c.NormEps}
}

func randomImages(c Config, n int, r *rand.Rand) []float32 {
	x := make([]float32, n*3*c.ImageSize*c.ImageSize)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// rowsEqual tells for every row of the axis before the last whether its bits are
// the same.
func rowsEqual(a, b *tensor.Tensor) (same []bool) {
	d := a.Dim(-1)
	x, y := tensor.Data[float32](a), tensor.Data[float32](b)
	for i := 0; i < len(x); i += d {
		same = append(same, slices.Equal(x[i:i+d], y[i:i+d]))
	}
	return same
}

// TestDependence changes one input at a time and looks which outputs move. With a
// prefix of P, patch k reaches encoder token i if k < P or k ≤ i, and prediction i
// (of patch i+1) likewise; id j reaches the logits after j and no pixel. Nothing
// else moves by a single bit.
func TestDependence(t *testing.T) {
	c := recipeConfig
	n := c.Tokens()
	r := rand.New(rand.NewPCG(11, 12))
	m := wideModel(t, c, r)
	image := randomImages(c, 1, r)
	ids := []int32{3, 1, 4, 1}
	run := func(image []float32, ids []int32, prefix int32) (features, pixels, logits *tensor.Tensor) {
		tape := autograd.NewInferenceTape()
		f := m.Encoder.Forward(tape.Input(tensor.From(tensor.CPU, image, 1, 3, c.ImageSize, c.ImageSize)), tensor.From(tensor.CPU, []int32{prefix}, 1))
		p, text := m.Decoder.Forward(f, tape.Input(tensor.From(tensor.CPU, ids, 1, c.Context-1)))
		return f.Value, p.Value, m.Decoder.Logits(text).Value
	}
	for _, prefix := range []int{1, 3, n - 1} {
		f0, p0, l0 := run(image, ids, int32(prefix))
		for k := range n {
			moved := slices.Clone(image)
			y, x := k/3*c.PatchSize, k%3*c.PatchSize
			moved[c.ImageSize*c.ImageSize+y*c.ImageSize+x] += 2 // one pixel of green
			f, p, l := run(moved, ids, int32(prefix))
			for what, pair := range map[string][2]*tensor.Tensor{"encoder token": {f0, f}, "prediction": {p0, p}} {
				for i, same := range rowsEqual(pair[0], pair[1]) {
					if reached := k < prefix || k <= i; same == reached {
						t.Errorf("prefix %d: patch %d reaches %s %d: %v", prefix, k, what, i, !same)
					}
				}
			}
			if slices.Contains(rowsEqual(l0, l), true) {
				t.Errorf("prefix %d: patch %d does not reach every logit", prefix, k)
			}
		}
		for j := range ids {
			moved := slices.Clone(ids)
			moved[j] = 9
			f, p, l := run(image, moved, int32(prefix))
			if slices.Contains(rowsEqual(f0, f), false) || slices.Contains(rowsEqual(p0, p), false) {
				t.Errorf("id %d reaches the image", j)
			}
			for i, same := range rowsEqual(l0, l) {
				if same == (i > j) {
					t.Errorf("id %d reaches the prediction of id %d: %v", j, i, !same)
				}
			}
		}
	}
	// The decoder alone is causal whatever the prefix was: it sees features only.
	tape := autograd.NewInferenceTape()
	f0, p0, _ := run(image, ids, 3)
	for k := range n {
		moved := f0.Clone()
		tensor.Data[float32](moved)[k*c.Encoder.Width] += 1
		p, _ := m.Decoder.Forward(tape.Input(moved), tape.Input(tensor.From(tensor.CPU, ids, 1, 4)))
		for i, same := range rowsEqual(p0, p.Value) {
			if same == (k <= i) {
				t.Errorf("feature %d reaches prediction %d: %v", k, i, !same)
			}
		}
	}
}

// TestCountedPatches: with a prefix of P the targets are patches P … N−1, each
// predicted from the position before it, and they share a weight of 1.
func TestCountedPatches(t *testing.T) {
	large := Presets["large"]
	large.Vocab = 32000
	for _, c := range []struct {
		Config
		prefix []int32
	}{{recipeConfig, []int32{1}}, {recipeConfig, []int32{3}}, {recipeConfig, []int32{8}}, {recipeConfig, []int32{8, 1, 5}}, {large, []int32{1}}, {large, []int32{255}}} {
		n, l := c.Tokens(), c.PatchLen()
		b := NewBatch(tensor.CPU, c.Config, make([]float32, len(c.prefix)*3*c.ImageSize*c.ImageSize), make([][]int32, len(c.prefix)), c.prefix, 1)
		count, sum := 0, 0.0
		for i, w := range tensor.Data[float32](b.PixelWeight) {
			counted := i%(n-1)+1 >= int(c.prefix[i/(n-1)])
			if counted != (w > 0) {
				t.Errorf("prefix %v: patch %d of image %d has weight %g", c.prefix, i%(n-1)+1, i/(n-1), w)
			}
			if w > 0 {
				count++
			}
			sum += float64(w) * float64(l)
		}
		want := 0
		for _, p := range c.prefix {
			want += n - int(p)
		}
		if count != want || math.Abs(sum-1) > 1e-5 {
			t.Errorf("prefix %v: %d patches with a weight of %g in all, want %d and 1", c.prefix, count, sum, want)
		}
		b.Release()
	}
}

// TestPixelTarget: each target patch has mean 0 and Σ² near L−1; a flat one is 0.
func TestPixelTarget(t *testing.T) {
	for _, c := range []Config{recipeConfig, Presets["large"]} {
		l, s := c.PatchLen(), c.ImageSize
		image := randomImages(c, 1, rand.New(rand.NewPCG(1, 1)))
		side := s / c.PatchSize
		flat := side + 1 // second row, second patch
		for ch := range 3 {
			for y := range c.PatchSize {
				for x := range c.PatchSize {
					image[ch*s*s+(flat/side*c.PatchSize+y)*s+flat%side*c.PatchSize+x] = 0.3
				}
			}
		}
		b := NewBatch(tensor.CPU, c, image, [][]int32{nil}, []int32{1}, 1)
		target := tensor.Data[float32](b.PixelTarget)
		for k := 1; k < c.Tokens(); k++ {
			var sum, ss float64
			for _, v := range target[(k-1)*l : k*l] {
				sum, ss = sum+float64(v), ss+float64(v)*float64(v)
			}
			switch {
			case k == flat && ss > 1e-18:
				t.Errorf("the flat patch has Σ² = %g", ss)
			case k != flat && (math.Abs(sum) > 1e-4 || math.Abs(ss-float64(l-1)) > 1e-4*float64(l)):
				t.Errorf("patch %d of %d values has Σ = %g and Σ² = %g", k, l, sum, ss)
			}
		}
		b.Release()
	}
}

// TestCaptions: the EOS is a target, padding is not, and long captions are cut so
// that it still fits.
func TestCaptions(t *testing.T) {
	const eos = 10
	c := recipeConfig
	captions := [][]int32{{}, {7}, {1, 2, 3, 4}, {1, 2, 3, 4, 5}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 9}, {eos, 2}}
	want := []int32{
		eos, -1, -1, -1, -1,
		7, eos, -1, -1, -1,
		1, 2, 3, 4, eos,
		1, 2, 3, 4, eos,
		1, 2, 3, 4, eos,
		eos, 2, eos, -1, -1,
	}
	r := rand.New(rand.NewPCG(1, 1))
	images, prefix := randomImages(c, len(captions), r), []int32{1, 2, 3, 4, 5, 8}
	b := NewBatch(tensor.CPU, c, images, captions, prefix, eos)
	if got := tensor.Data[int32](b.Target); !slices.Equal(got, want) {
		t.Errorf("the targets are %v, want %v", got, want)
	}
	ids := tensor.Data[int32](b.IDs)
	if !slices.Equal(ids[4:5], []int32{7}) || !slices.Equal(ids[12:16], []int32{1, 2, 3, 4}) {
		t.Errorf("the decoder reads %v", ids)
	}
	sum := 0.0
	for i, w := range tensor.Data[float32](b.TextWeight) {
		if (w > 0) != (want[i] >= 0) {
			t.Errorf("position %d has weight %g", i, w)
		}
		sum += float64(w)
	}
	if math.Abs(sum-1) > 1e-6 {
		t.Errorf("the weights add up to %g", sum)
	}

	// The text's cotangent is where the targets are, the EOS among them, and a step
	// against it makes the target of a position more probable.
	m := wideModel(t, c, r)
	tape := autograd.NewTape()
	l, _, text := m.Loss(tape, b)
	logits := m.Decoder.Logits(text).Keep().Value
	x := text.Value.Clone()
	text.Hook(func(g *tensor.Tensor) {
		width := g.Dim(2)
		for i, row := 0, tensor.Data[float32](g); i < len(want); i++ {
			learns := slices.ContainsFunc(row[i*width:(i+1)*width], func(v float32) bool { return v != 0 })
			if learns != (want[i] >= 0) {
				t.Errorf("position %d, target %d, is trained: %v", i, want[i], learns)
			}
		}
		tensor.Axpy(x, g, -0.01)
	})
	tape.Backward(l.Total)
	before, after := tensor.Data[float32](logits), tensor.Data[float32](m.Decoder.Logits(autograd.NewInferenceTape().Input(x)).Value)
	for i, id := range want {
		row := func(x []float32) float64 { return logSoftmax(x[i*c.Vocab : (i+1)*c.Vocab])[max(id, 0)] }
		if p, q := row(before), row(after); id >= 0 && !(q > p) {
			t.Errorf("position %d is not drawn to its target: ln p goes from %g to %g", i, p, q)
		}
	}

	// What stands in the padding changes nothing.
	loss := func() float64 {
		tape := autograd.NewInferenceTape()
		defer tape.Reset()
		l, _, _ := m.Loss(tape, b)
		return l.Total.Value.Item()
	}
	clean := loss()
	copy(ids[1:], []int32{4, 5, 6}) // of the empty caption
	ids[7] = 3
	if loss() != clean {
		t.Error("padding reaches the loss")
	}
}

// TestLogitsNeverWhole: a training step with a large vocabulary takes less memory than
// the logits of its batch would, of which most have no target.
func TestLogitsNeverWhole(t *testing.T) {
	c := Config{ImageSize: 24, PatchSize: 8, Encoder: Stack{8, 1, 2, 8}, Decoder: Stack{8, 1, 2, 8}, Vocab: 30000, Context: 16, NormEps: 1e-5}
	r := rand.New(rand.NewPCG(1, 1))
	m := wideModel(t, c, r)
	const batch = 16
	b := NewBatch(tensor.CPU, c, randomImages(c, batch, r), make([][]int32, batch), slices.Repeat([]int32{1}, batch), 1)
	allocated := func(f func()) int {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return int(after.TotalAlloc - before.TotalAlloc)
	}
	logits := 4 * batch * c.Context * c.Vocab
	tape := autograd.NewTape()
	var text *Var
	if got := allocated(func() {
		var l Losses
		l, _, text = m.Loss(tape, b)
		text.Keep()
		tape.Backward(l.Total)
	}); got > logits/2 {
		t.Errorf("a step allocates %d bytes, the logits have %d", got, logits)
	}
	if got := allocated(func() { m.Decoder.Logits(autograd.NewInferenceTape().Input(text.Value)) }); got < logits {
		t.Errorf("the logits have %d bytes, but only %d were allocated for them", logits, got)
	}
}

// TestFirstLosses: with the released initialisation the logits have a variance of
// 1/(1+depth), so the text loss starts near ln V + ½/(1+depth) and the pixel loss
// near 1 + 1/(1+depth); with the published decoder of depth 12 and 32000 ids that
// is 10.41 and 1.08.
func TestFirstLosses(t *testing.T) {
	c := Config{ImageSize: 24, PatchSize: 4, Encoder: Stack{32, 2, 2, 64}, Decoder: Stack{48, 12, 4, 96}, Vocab: 500, Context: 12, NormEps: 1e-5}
	r := rand.New(rand.NewPCG(1, 1))
	m, err := New(tensor.CPU, c, 1)
	if err != nil {
		t.Fatal(err)
	}
	const batch = 8
	captions, prefix := make([][]int32, batch), make([]int32, batch)
	for _, last := range []bool{false, true} {
		for i := range captions {
			captions[i] = nil
			for range r.IntN(c.Context) {
				captions[i] = append(captions[i], r.Int32N(int32(c.Vocab)))
			}
			if prefix[i] = 1 + r.Int32N(int32(c.Tokens()-1)); last {
				prefix[i] = int32(c.Tokens() - 1)
			}
		}
		b := NewBatch(tensor.CPU, c, randomImages(c, batch, r), captions, prefix, 1)
		before := tensor.Live()
		tape := autograd.NewTape()
		l, _, _ := m.Loss(tape, b)
		pixel, text, total := l.Pixel.Value.Item(), l.Text.Value.Item(), l.Total.Value.Item()
		spread := 1 / float64(1+c.Decoder.Depth)
		if math.Abs(text-math.Log(float64(c.Vocab))-spread/2) > 0.1 || math.Abs(pixel-1-spread) > 0.05 {
			t.Errorf("the losses start at %.3f and %.3f; expected are about %.3f and %.3f", text, pixel, math.Log(float64(c.Vocab))+spread/2, 1+spread)
		}
		if math.Abs(total-0.4*pixel-text) > 1e-5 {
			t.Errorf("%g is not 0.4·%g + %g", total, pixel, text)
		}
		tape.Backward(l.Total)
		l.Total.Value.Release()
		for _, p := range m.Params() {
			if ss := tensor.SumSquares(p.Grad); !(ss > 0) || math.IsInf(ss, 0) {
				t.Errorf("the gradient of %s has Σ² = %g", p.Name, ss)
			}
			p.ZeroGrad()
		}
		if n := tensor.Live() - before; n != 0 {
			t.Errorf("a step left %d blocks", n)
		}
		b.Release()
	}
}

// TestPoisoned runs the comparison with the oracle while released memory is
// overwritten: nothing is read after its release or before it is written.
func TestPoisoned(t *testing.T) {
	tensor.PoisonFreed(true)
	defer tensor.PoisonFreed(false)
	for _, recompute := range []bool{false, true} {
		for range 2 { // the second time on the memory of the first
			compareWithOracle(t, tensor.CPU, recompute)
		}
	}
}

// TestNames holds every name, shape and the order of the parameters: what a
// checkpoint of another program must provide.
func TestNames(t *testing.T) {
	const want = `
image_encoder.preprocessor.patchifier.proj.weight [12 3 2 2]
image_encoder.preprocessor.patchifier.proj.bias [12]
image_encoder.preprocessor.patchifier.norm.weight [12]
image_encoder.preprocessor.pos_embed [1 9 12]
image_encoder.trunk.blocks.0.attn.qkv.weight [36 12]
image_encoder.trunk.blocks.0.attn.proj.weight [12 12]
image_encoder.trunk.blocks.0.norm_1.weight [12]
image_encoder.trunk.blocks.0.mlp.fc1.weight [7 12]
image_encoder.trunk.blocks.0.mlp.fc2.weight [12 7]
image_encoder.trunk.blocks.0.mlp.fc3.weight [7 12]
image_encoder.trunk.blocks.0.norm_2.weight [12]
image_encoder.trunk.post_trunk_norm.weight [12]
text_decoder.preprocessor.vision_preprocessor.module.weight [8 12]
text_decoder.preprocessor.vision_preprocessor.module.bias [8]
text_decoder.preprocessor.text_preprocessor.positional_embedding [6 8]
text_decoder.preprocessor.text_preprocessor.cls_token [1 1 8]
text_decoder.preprocessor.text_preprocessor.text_embedding.weight [11 8]
text_decoder.trunk.blocks.0.attn.qkv.weight [24 8]
text_decoder.trunk.blocks.0.attn.proj.weight [8 8]
text_decoder.trunk.blocks.0.norm_1.weight [8]
text_decoder.trunk.blocks.0.mlp.fc1.weight [5 8]
text_decoder.trunk.blocks.0.mlp.fc2.weight [8 5]
text_decoder.trunk.blocks.0.mlp.fc3.weight [5 8]
text_decoder.trunk.blocks.0.norm_2.weight [8]
text_decoder.trunk.post_trunk_norm.weight [8]
text_decoder.head.blocks.0.linear.weight [11 8]
text_decoder.head.blocks.1.linear.weight [12 8]
`
	c := recipeConfig
	c.Encoder.Depth, c.Decoder.Depth = 1, 1
	m, err := newEmpty(tensor.CPU, c)
	if err != nil {
		t.Fatal(err)
	}
	got := "\n"
	for _, p := range m.Params() {
		got += fmt.Sprintln(p.Name, p.Shape())
	}
	if got != want {
		t.Errorf("the parameters are\n%s\nwant\n%s", got, want)
	}
}

// TestDecayed counts what the released recipe decays. The large model is counted
// by the oracle's table of names and shapes, which TestModelAgainstOracle holds to
// those of the model; on a small model the optimiser itself is asked.
func TestDecayed(t *testing.T) {
	count := func(c Config) (all, bare, tensors int) {
		for name, shape := range oracleShapes(oracleOf(c)) {
			n := oracleCount(shape)
			if all += n; slices.ContainsFunc(NoDecay, func(p string) bool { ok, _ := path.Match(p, name); return ok }) {
				bare += n
			}
			if tensors++; strings.Contains(name, "qkv") {
				tensors += 2 // released apart
			}
		}
		return all, bare, tensors
	}
	large := Presets["large"]
	large.Vocab = 32000
	if all, bare, tensors := count(large); all != 530_632_704 || bare != 421_888 || tensors != 337 {
		t.Errorf("%d parameters in %d tensors, %d of them not decayed; released are 530632704, 337 and 421888", all, tensors, bare)
	}
	for _, c := range []Config{recipeConfig, Presets["tiny"]} {
		m, err := newEmpty(tensor.CPU, c)
		if err != nil {
			t.Fatal(err)
		}
		all, bare, _ := count(c)
		if got := nn.NewAdamW(m.Params(), 1, 0, 0, 1, 0, NoDecay).Decayed(); got != all-bare {
			t.Errorf("%d parameters are decayed, %d by the table", got, all-bare)
		}
	}
	for width, hidden := range map[int]int{768: 2048, 1024: 2816, 1536: 4096, 2048: 5632, 3072: 8192} {
		for _, name := range []string{"base", "large", "huge", "1B", "3B"} {
			if s := Presets[name].Encoder; s.Width == width && (s.Hidden != hidden || s.Width != 128*s.Heads) {
				t.Errorf("%s: width %d has hidden %d and %d heads", name, width, s.Hidden, s.Heads)
			}
		}
	}
}

// TestPublishedRecipe holds the numbers of the released run.
func TestPublishedRecipe(t *testing.T) {
	r := Published(Presets["large"], 1_250_000, 128, 0)
	want := Recipe{Model: Presets["large"], Steps: 1_250_000, Batch: 128, Peak: 1e-3, Start: 1e-6, Floor: 1e-5,
		Warmup: 12_500, Beta1: 0.9, Beta2: 0.95, AdamEps: 1e-8, Decay: 1e-4, Clip: 1,
		Accumulate: 1, Objective: "multimodal", Attention: "prefix", PixelWeight: 0.4}
	want.Augment, want.Data = r.Augment, r.Data // not of the optimiser
	if r != want {
		t.Errorf("the recipe is %+v, want %+v", r, want)
	}
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
}

// TestInitialise holds the deviation and the largest value of every kind of
// parameter to the released initialisation.
func TestInitialise(t *testing.T) {
	c := Config{ImageSize: 32, PatchSize: 8, Encoder: Stack{64, 1, 2, 160}, Decoder: Stack{48, 3, 2, 112}, Vocab: 300, Context: 40, NormEps: 1e-5}
	m, err := New(tensor.CPU, c, 5)
	if err != nil {
		t.Fatal(err)
	}
	type law struct{ std, bound float64 }
	uniform := func(b float64) law { return law{b / math.Sqrt(3), b} }
	xavier := func(in, out int) law { return uniform(math.Sqrt(6 / float64(in+out))) }
	normal := func(s float64) law { return law{s, 6 * s} }
	head := law{math.Sqrt(1.0 / 4 / 48), math.Sqrt(1.0/4/48) * 2 / 0.87962566}
	laws := map[string]law{
		"pos_embed": normal(0.02), "cls_token": normal(0.02), "text_embedding.weight": normal(0.02), "positional_embedding": normal(0.01),
		"patchifier.proj.weight": xavier(192, 64), "patchifier.proj.bias": uniform(1 / math.Sqrt(192)),
		"module.weight": uniform(1.0 / 8), "module.bias": uniform(1.0 / 8), "head.blocks.0.linear.weight": head, "head.blocks.1.linear.weight": head,
	}
	for part, s := range map[string]Stack{"image_encoder.trunk.blocks.0.": c.Encoder, "text_decoder.trunk.blocks.2.": c.Decoder} {
		laws[part+"attn.qkv.weight"], laws[part+"attn.proj.weight"] = xavier(s.Width, s.Width), xavier(s.Width, s.Width)
		for _, fc := range []string{"fc1", "fc2", "fc3"} {
			laws[part+"mlp."+fc+".weight"] = xavier(s.Width, s.Hidden)
		}
	}
	seen := map[string]bool{}
	draws := map[float32]string{}
	for _, p := range m.Params() {
		x := tensor.Data[float32](p.Value)
		if strings.Contains(p.Name, "norm") {
			if slices.Min(x) != 1 || slices.Max(x) != 1 {
				t.Errorf("%s is not 1", p.Name)
			}
			continue
		}
		if other, ok := draws[x[0]]; ok {
			t.Errorf("%s and %s begin with the same draw", p.Name, other)
		}
		draws[x[0]] = p.Name
		for _, key := range slices.Sorted(maps.Keys(laws)) {
			if !strings.HasSuffix(p.Name, key) {
				continue
			}
			seen[key] = true
			var ss, top float64
			for _, v := range x {
				ss, top = ss+float64(v)*float64(v), max(top, math.Abs(float64(v)))
			}
			std := math.Sqrt(ss / float64(len(x)))
			if l := laws[key]; math.Abs(std/l.std-1) > 4/math.Sqrt(2*float64(len(x))) || top > l.bound*(1+1e-6) {
				t.Errorf("%s: deviation %.4g and largest %.4g, want %.4g and at most %.4g", p.Name, std, top, l.std, l.bound)
			}
		}
	}
	for key := range laws {
		if !seen[key] {
			t.Errorf("no parameter is named …%s", key)
		}
	}
	again, _ := New(tensor.CPU, c, 5)
	other, _ := New(tensor.CPU, c, 6)
	for i, p := range again.Params() {
		a, b, c := tensor.Data[float32](p.Value), tensor.Data[float32](m.Params()[i].Value), tensor.Data[float32](other.Params()[i].Value)
		if !slices.Equal(a, b) || slices.Equal(a, c) && !strings.Contains(p.Name, "norm") {
			t.Errorf("%s is not a function of the seed", p.Name)
		}
	}
}

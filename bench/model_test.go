package bench

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"fuerte/aimv2"
	"fuerte/aimv2/dataset/emoji48"
	"fuerte/autograd"
	"fuerte/kernels"
	"fuerte/nn"
	"fuerte/tensor"
)

// trainer is a training step on one batch that stays: the loop of aimv2.Trainer
// without its loader.
type trainer struct {
	recipe aimv2.Recipe
	model  *aimv2.Model
	opt    *nn.AdamW
	tape   *autograd.Tape
	batch  *aimv2.Batch
}

func newTrainer(tb testing.TB, c aimv2.Config, batch int, bf16 bool) *trainer {
	tb.Helper()
	m, err := aimv2.New(tensor.CPU, c, 1)
	if err != nil {
		tb.Fatal(err)
	}
	r := aimv2.Published(c, 1000, batch, 1)
	captions, prefix := make([][]int32, batch), make([]int32, batch)
	for i := range captions {
		prefix[i] = 1 + int32(i%(c.Tokens()-1))
		for j := range i % c.Context {
			captions[i] = append(captions[i], int32((i+j)%(c.Vocab-1)))
		}
	}
	images := filled(batch * 3 * c.ImageSize * c.ImageSize)
	tape := autograd.NewTape()
	tape.BF16 = bf16
	return &trainer{recipe: r, model: m, tape: tape,
		opt:   nn.NewAdamW(m.Params(), r.Peak, r.Beta1, r.Beta2, r.AdamEps, r.Decay, aimv2.NoDecay),
		batch: aimv2.NewBatch(tensor.CPU, c, images, captions, prefix, int32(c.Vocab-1))}
}

func (t *trainer) step() {
	l, _, _ := t.model.Loss(t.tape, t.batch)
	_ = l.Total.Value.Item()
	t.tape.Backward(l.Total)
	l.Total.Value.Release()
	t.opt.Step(t.recipe.Peak, t.recipe.Clip)
}

// reportImages adds images a second and the rates of the model's products.
func reportImages(b *testing.B, images int, flop float64, threads int) {
	work{flop: flop}.report(b, kernels.F32(), threads)
	b.ReportMetric(float64(images)*float64(b.N)/b.Elapsed().Seconds(), "images/s")
}

// BenchmarkTrainStep is one optimiser step at the chosen level: forward, backward,
// clipping and AdamW. With input=fixed the batch stays, dtype=bf16 with the linear maps'
// products in bfloat16; with input=loader it is drawn, cut and encoded as aimv2 trains,
// one ahead.
//
// Counts: Config.TrainFLOP for each image.
func BenchmarkTrainStep(b *testing.B) {
	for _, size := range trained {
		c := aimv2.Presets[size.preset]
		for _, variant := range []struct{ dtype, input string }{{"f32", "fixed"}, {"bf16", "fixed"}, {"f32", "loader"}} {
			if variant.input == "loader" && size.preset != "tiny" {
				continue
			}
			for _, threads := range threadCounts() {
				name := work{dtype: variant.dtype}.name(kernels.F32().Name, fmt.Sprintf("preset=%s/batch=%d/input=%s", size.preset, size.batch, variant.input), threads)
				b.Run(name, func(b *testing.B) {
					setThreads(b, threads)
					b.ReportAllocs()
					if variant.input == "loader" {
						train(b, c, size.batch)
					} else {
						t := newTrainer(b, c, size.batch, variant.dtype == "bf16")
						t.step()
						for b.Loop() {
							t.step()
						}
					}
					reportImages(b, size.batch, float64(size.batch)*c.TrainFLOP(), threads)
				})
			}
		}
	}
}

// train times the steps of an aimv2.Trainer on the embedded pictures, after two
// that fill caches.
func train(b *testing.B, c aimv2.Config, batch int) {
	src, err := emoji48.Open(emoji48.Train)
	if err != nil {
		b.Fatal(err)
	}
	tok, err := aimv2.TrainTokenizer(src, c.Vocab)
	if err != nil {
		b.Fatal(err)
	}
	const forever = 1 << 30
	t, err := aimv2.NewTrainer(tensor.CPU, aimv2.Published(c, forever, batch, 1), src, tok)
	if err != nil {
		b.Fatal(err)
	}
	stop := errors.New("measured")
	err = t.Run(context.Background(), func(m aimv2.Metrics) error {
		if m.Step >= 1 && !b.Loop() {
			return stop
		}
		return nil
	})
	if err != stop {
		b.Fatal(err)
	}
}

// BenchmarkEncoder is the encoder's inference at the chosen level, images in
// memory, without a mask.
//
// Counts: EncoderFLOP.
func BenchmarkEncoder(b *testing.B) {
	for _, m := range models {
		for _, threads := range threadCounts() {
			name := benchName(kernels.F32().Name, fmt.Sprintf("preset=%s/batch=%d", m.preset, m.batch), threads)
			b.Run(name, func(b *testing.B) {
				if m.preset == "large" && testing.Short() {
					b.Skip("1.2 GB of weights")
				}
				setThreads(b, threads)
				b.ReportAllocs()
				c := aimv2.Presets[m.preset]
				c.Decoder = aimv2.Stack{Width: 1, Depth: 0, Heads: 1, Hidden: 1} // not run
				model, err := aimv2.New(tensor.CPU, c, 1)
				if err != nil {
					b.Fatal(err)
				}
				images := tensor.From(tensor.CPU, filled(m.batch*3*c.ImageSize*c.ImageSize), m.batch, 3, c.ImageSize, c.ImageSize)
				tape := autograd.NewInferenceTape()
				run := func() {
					model.Encoder.Forward(tape.Input(images), nil)
					tape.Reset()
				}
				run()
				for b.Loop() {
					run()
				}
				reportImages(b, m.batch, EncoderFLOP(c, m.batch), threads)
			})
		}
	}
}

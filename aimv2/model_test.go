package aimv2

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"fuerte/autograd"
	"fuerte/nn"
	"fuerte/tensor"
)

// oddConfig has no size that a vector width divides.
var oddConfig = Config{ImageSize: 6, PatchSize: 2, Encoder: Stack{12, 2, 2, 7}, Decoder: Stack{8, 2, 2, 5}, Vocab: 11, Context: 4, NormEps: 1e-5}

// TestModelAgainstOracle compares features, losses and the gradient of every
// parameter with the plain float64 loops of oracle_test.go, on every device.
func TestModelAgainstOracle(t *testing.T) {
	for _, dev := range testDevices(t) {
		for _, recompute := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/recompute=%v", dev.Name, recompute), func(t *testing.T) { compareWithOracle(t, dev, recompute) })
		}
	}
}

func compareWithOracle(t *testing.T, dev *tensor.Device, recompute bool) {
	c := oddConfig
	r := rand.New(rand.NewPCG(3, 4))
	oc := oracleConfig{c.ImageSize, c.PatchSize, c.Encoder.Width, c.Encoder.Depth, c.Encoder.Heads, c.Encoder.Hidden,
		c.Decoder.Width, c.Decoder.Depth, c.Decoder.Heads, c.Decoder.Hidden, c.Vocab, c.Context, c.NormEps}
	params := oracleParams(oc, r)
	m, err := newEmpty(dev, c)
	if err != nil {
		t.Fatal(err)
	}
	m.Encoder.Trunk.Recompute, m.Decoder.Trunk.Recompute = recompute, recompute
	named := m.Params()
	if len(named) != len(params) {
		t.Fatalf("the model has %d parameters, the oracle %d", len(named), len(params))
	}
	for _, p := range named {
		want, ok := params[p.Name]
		if !ok || !slices.Equal(p.Shape(), oracleShapes(oc)[p.Name]) {
			t.Fatalf("parameter %s %v is not the oracle's %v", p.Name, p.Shape(), oracleShapes(oc)[p.Name])
		}
		setFloat64(p, want)
	}

	const batch, eos = 3, 10
	images := make([]float32, batch*3*c.ImageSize*c.ImageSize)
	for i := range images {
		images[i] = float32(r.NormFloat64())
	}
	captions := [][]int32{{1, 2}, {}, {3, 4, 5, 6, 7}} // shorter than, empty, and cut to the context
	prefix := []int32{1, 4, 8}
	ids := [][]int32{{1, 2, eos, eos}, {eos, eos, eos, eos}, {3, 4, 5, eos}}
	targets := [][]int32{{1, 2, eos, -1}, {eos, -1, -1, -1}, {3, 4, 5, eos}}
	wide := make([]float64, len(images))
	for i, v := range images {
		wide[i] = float64(v)
	}
	want := oracle(oc, params, wide, ids, targets, []int{1, 4, 8})

	b := NewBatch(dev, c, images, captions, prefix, eos)
	tape := autograd.NewTape()
	l, pixels, text := m.Loss(tape, b)
	near(t, "pixel loss", l.Pixel.Keep().Value, []float64{want.pixelLoss}, 1e-5)
	near(t, "text loss", l.Text.Keep().Value, []float64{want.textLoss}, 1e-5)
	near(t, "loss", l.Total.Value, []float64{want.loss}, 1e-5)
	near(t, "pixels", pixels.Value, want.pixels, 1e-4)
	near(t, "logits", m.Decoder.Logits(text).Value, want.logits, 1e-4)
	tape.Backward(l.Total)
	for _, p := range named {
		if p.Grad == nil {
			t.Errorf("%s has no gradient", p.Name)
			continue
		}
		near(t, "gradient of "+p.Name, p.Grad, want.grads[p.Name], 1e-4)
	}
	features := m.Encoder.Forward(autograd.NewInferenceTape().Input(b.Images), b.Prefix)
	near(t, "features", features.Value, want.features, 1e-5)
}

func setFloat64(p nn.Named, x []float64) {
	host := tensor.Cast(tensor.From(tensor.CPU, x, p.Shape()...), tensor.Float32)
	tensor.Copy(p.Value, host.To(p.Value.Device()))
}

// near requires |got − want| ≤ bound·max|want| everywhere: single-precision
// sums of some dozens of terms leave about 1e-6.
func near(t *testing.T, what string, got *tensor.Tensor, want []float64, bound float64) {
	t.Helper()
	g := tensor.Data[float64](tensor.Cast(got.To(tensor.CPU), tensor.Float64))
	if len(g) != len(want) {
		t.Errorf("%s: %d values, the oracle has %d", what, len(g), len(want))
		return
	}
	var scale, worst float64
	for i := range want {
		scale = max(scale, math.Abs(want[i]))
		if d := math.Abs(g[i] - want[i]); !(d <= worst) {
			worst = d
		}
	}
	if !(worst <= bound*scale) {
		t.Errorf("%s: off by %.3g of %.3g", what, worst, scale)
	}
}

// extraDevices is set by files with a build tag.
var extraDevices func(t *testing.T) []*tensor.Device

func testDevices(t *testing.T) []*tensor.Device {
	devs := []*tensor.Device{tensor.CPU}
	if extraDevices != nil {
		devs = append(devs, extraDevices(t)...)
	}
	return devs
}

// TestPublishedSizes holds the parameter counts of the published models and the
// released recipe's decoder.
func TestPublishedSizes(t *testing.T) {
	for name, want := range map[string]int{"base": 85_603_584, "large": 309_197_824, "huge": 680_851_968, "1B": 1_234_958_336, "3B": 2_720_658_432} {
		if got := Presets[name].EncoderParameters(); got != want {
			t.Errorf("%s: the encoder has %d parameters, published are %d", name, got, want)
		}
	}
	c := Presets["large"]
	c.Vocab = 32000
	if got := c.Parameters(); got != 530_632_704 {
		t.Errorf("the released pre-training model has 530632704 parameters, not %d", got)
	}
	m, err := newEmpty(tensor.CPU, Presets["tiny"])
	if err != nil {
		t.Fatal(err)
	}
	if got := nn.Count(m.Params()); got != Presets["tiny"].Parameters() {
		t.Errorf("tiny has %d parameters, the formula says %d", got, Presets["tiny"].Parameters())
	}
}

// TestStepOnEveryDevice takes one optimiser step of a small model on each device
// and compares every weight with the CPU's: forward, backward, clipping, AdamW.
func TestStepOnEveryDevice(t *testing.T) {
	step := func(dev *tensor.Device) []nn.Named {
		m, err := New(dev, oddConfig, 7)
		if err != nil {
			t.Fatal(err)
		}
		opt := nn.NewAdamW(m.Params(), 1e-2, 0.9, 0.95, 1e-8, 1e-2, NoDecay)
		r := rand.New(rand.NewPCG(5, 6))
		images := make([]float32, 2*3*6*6)
		for i := range images {
			images[i] = float32(r.NormFloat64())
		}
		b := NewBatch(dev, oddConfig, images, [][]int32{{1, 2}, {3}}, []int32{2, 5}, 10)
		tape := autograd.NewTape()
		l, _, _ := m.Loss(tape, b)
		tape.Backward(l.Total)
		opt.Step(1e-2, 1)
		return m.Params()
	}
	want := step(tensor.CPU)
	for _, dev := range testDevices(t)[1:] {
		for i, p := range step(dev) {
			// Adam's first step moves every weight by the rate times g/(|g|+ε), so
			// single precision shows where a gradient is near ε; 1e-2 is one step.
			near(t, dev.Name+" "+p.Name, p.Value, tensor.Data[float64](tensor.Cast(want[i].Value, tensor.Float64)), 2e-3)
		}
	}
}

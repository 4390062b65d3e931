package main

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"strings"

	"fuerte/aimv2"
	"fuerte/autograd"
	"fuerte/bench"
	"fuerte/bench/internal/shapes"
	"fuerte/nn"
	"fuerte/nn/npy"
	"fuerte/tensor"
)

// stepOp is a training step of AIMV2, encoder and decoder: forward, backward,
// clipping and AdamW.
var stepOp = define(operation{name: "step", unit: imageRate, limit: compiling, whole: true},
	shapes.StepTable, parseStep, stepRow, stepProblem)

// inferOp is AIMV2's encoder without a mask, as encoders are used.
var inferOp = define(operation{name: "infer", unit: imageRate, limit: compiling, whole: true},
	shapes.InferTable, parseInfer, inferRow, inferProblem)

// stepRow's memory is that of weights, gradients and two moments and, for each
// token and block, of eight activations as wide as the stream and four hidden
// ones; a quarter more for what libraries take besides.
func stepRow(m shapes.Model) row {
	c, e, d := m.Config, m.Config.Encoder, m.Config.Decoder
	kept := func(s aimv2.Stack, tokens int) float64 {
		return float64(m.Batch*tokens) * float64(s.Depth) * float64(8*s.Width+4*s.Hidden)
	}
	memory := 1.25 * (16*float64(c.Parameters()) + 4*(kept(e, c.Tokens())+kept(d, c.Tokens()+c.Context)))
	return row{
		role: "training step", shape: m.String(), images: float64(m.Batch),
		flop: float64(m.Batch) * c.TrainFLOP(), memory: memory,
		args: fmt.Sprintf("%d %d %d %d %d %d %d %d %d %d %d %d %d", c.ImageSize, c.PatchSize,
			e.Width, e.Depth, e.Heads, e.Hidden, d.Width, d.Depth, d.Heads, d.Hidden, c.Vocab, c.Context, m.Batch),
		verifier: func() func([]float64) error { return agree(stepValues, stepBounds) },
	}
}

// parseStep reads IMAGE PATCH, WIDTH DEPTH HEADS HIDDEN of encoder and decoder,
// VOCAB CONTEXT BATCH.
func parseStep(line string) (m shapes.Model, err error) {
	n, err := numbers(line, "IMAGE PATCH WIDTH DEPTH HEADS HIDDEN WIDTH DEPTH HEADS HIDDEN VOCAB CONTEXT BATCH", 1<<20)
	if err != nil {
		return m, err
	}
	m = shapes.Model{Name: fmt.Sprintf("%d×%d, %d×%d", n[3], n[2], n[7], n[6]), Batch: n[12], Config: aimv2.Config{
		ImageSize: n[0], PatchSize: n[1], Encoder: aimv2.Stack{Width: n[2], Depth: n[3], Heads: n[4], Hidden: n[5]},
		Decoder: aimv2.Stack{Width: n[6], Depth: n[7], Heads: n[8], Hidden: n[9]}, Vocab: n[10], Context: n[11], NormEps: normEps,
	}}
	if err := m.Config.Validate(); err != nil {
		return m, err
	}
	return m, bounded(line, m.Batch, 3*m.Config.ImageSize*m.Config.ImageSize)
}

// inferRow is a forward pass of the encoder. Its memory is twice the weights: some
// peers lay them out anew.
func inferRow(m shapes.Model) row {
	c := encoderOnly(m.Config)
	e := c.Encoder
	return row{
		role: "encoder", shape: m.String(), images: float64(m.Batch),
		flop: bench.EncoderFLOP(c, m.Batch), memory: 8 * float64(c.EncoderParameters()),
		args: fmt.Sprintf("%d %d %d %d %d %d %d", c.ImageSize, c.PatchSize, e.Width, e.Depth, e.Heads, e.Hidden, m.Batch),
		verifier: func() func([]float64) error {
			return agree(inferValues(), func(first []float64) []float64 { return inferBounds(first, m.Batch*c.Tokens()*e.Width) })
		},
	}
}

// encoderOnly makes the decoder of a configuration as small as it can be.
func encoderOnly(c aimv2.Config) aimv2.Config {
	c.Decoder, c.Vocab, c.Context = aimv2.Stack{Width: 1, Depth: 0, Heads: 1, Hidden: 1}, 2, 1
	return c
}

// parseInfer reads IMAGE PATCH WIDTH DEPTH HEADS HIDDEN BATCH.
func parseInfer(line string) (m shapes.Model, err error) {
	n, err := numbers(line, "IMAGE PATCH WIDTH DEPTH HEADS HIDDEN BATCH", 1<<20)
	if err != nil {
		return m, err
	}
	m = shapes.Model{Name: fmt.Sprintf("%d×%d", n[3], n[2]), Batch: n[6], Config: encoderOnly(aimv2.Config{
		ImageSize: n[0], PatchSize: n[1], Encoder: aimv2.Stack{Width: n[2], Depth: n[3], Heads: n[4], Hidden: n[5]}, NormEps: normEps,
	})}
	if err := m.Config.Validate(); err != nil {
		return m, err
	}
	return m, bounded(line, m.Batch, 3*m.Config.ImageSize*m.Config.ImageSize)
}

// setWeights gives every parameter the contents that all programs give it, by its
// name: norms 1 + pattern/10, biases pattern/50, everything else pattern·√(3/n),
// n the elements of a row, so that activations neither vanish nor explode.
func setWeights(params []nn.Named) {
	for _, p := range params {
		n, plus, times := p.Value.Len(), float32(0), float32(0)
		switch shape := p.Shape(); {
		case strings.Contains(p.Name, "norm"):
			plus, times = 1, 0.1
		case len(shape) == 1:
			times = 0.02
		default:
			times = float32(math.Sqrt(3 / float64(n/shape[0])))
		}
		copy(tensor.Data[float32](p.Value), filled(n, crc32.ChecksumIEEE([]byte(p.Name)), plus, times))
	}
}

// step is a model with a batch that stays.
type step struct {
	model    *aimv2.Model
	opt      *nn.AdamW
	tape     *autograd.Tape
	images   []float32
	captions [][]int32
	prefix   []int32
	batch    *aimv2.Batch
}

// stepRate is the learning rate of measured steps: low enough that any number of
// them on one batch goes well.
const stepRate = 1e-4

func newStep(m shapes.Model) (*step, error) {
	c := m.Config
	model, err := aimv2.New(tensor.CPU, c, 1)
	if err != nil {
		return nil, err
	}
	s := &step{model: model, tape: autograd.NewTape(), images: filled(m.Batch*3*c.ImageSize*c.ImageSize, seedX, 0, 2)}
	for b := range m.Batch {
		s.prefix = append(s.prefix, 1+int32(hash(7, b)%uint32(c.Tokens()-1)))
		caption := make([]int32, hash(8, b)%uint32(c.Context))
		for j := range caption {
			caption[j] = int32(hash(9, b*c.Context+j) % uint32(c.Vocab-1))
		}
		s.captions = append(s.captions, caption)
	}
	s.batch = aimv2.NewBatch(tensor.CPU, c, s.images, s.captions, s.prefix, int32(c.Vocab-1))
	s.reset()
	return s, nil
}

// reset sets weights and optimiser to what they were at the beginning.
func (s *step) reset() {
	setWeights(s.model.Params())
	s.opt = nil // its moments first: a large model has no room for them twice
	s.opt = nn.NewAdamW(s.model.Params(), stepRate, beta1, beta2, adamEps, decay, aimv2.NoDecay)
}

// run takes a step and returns its losses and the norm of its gradient.
func (s *step) run() (pixel, text, total, norm float64) {
	l, _, _ := s.model.Loss(s.tape, s.batch)
	l.Pixel.Keep()
	l.Text.Keep()
	total = l.Total.Value.Item()
	s.tape.Backward(l.Total)
	pixel, text = l.Pixel.Value.Item(), l.Text.Value.Item()
	l.Pixel.Value.Release()
	l.Text.Value.Release()
	l.Total.Value.Release()
	return pixel, text, total, s.opt.Step(stepRate, clipNorm)
}

// stepValues is an answer about a step: of the first one its losses, its gradient
// and what AdamW keeps of it, which shows that it was clipped; and of the third,
// after two updates, its losses.
var stepValues = []string{"the pixel loss", "the text loss", "the loss", "the gradient's norm", "the sum of second moments", "the third step's pixel loss", "the third step's text loss"}

// stepBounds are relative: the sums of a deep model in another order.
func stepBounds(first []float64) []float64 {
	bound := make([]float64, len(first))
	for i, v := range first {
		bound[i] = 1e-4 * math.Abs(v)
	}
	return bound
}

func stepProblem(m shapes.Model) (problem, error) {
	s, err := newStep(m)
	if err != nil {
		return problem{}, err
	}
	return problem{run: func() { s.run() }, check: s.check}, nil
}

// check takes the first three steps.
func (s *step) check() []float64 {
	s.reset()
	pixel, text, total, norm := s.run()
	squares := 0.0
	for _, moment := range s.opt.State() {
		if strings.HasPrefix(moment.Name, "v.") {
			squares += tensor.Sum(moment.Value, false).Item()
		}
	}
	s.run()
	pixel3, text3, _, _ := s.run()
	return []float64{pixel, text, total, norm, squares, pixel3, text3}
}

// export writes what bench/peers/aimv2_torch.py --check reads: the weights in the
// format of checkpoints, the batch as arrays, and what our first steps give.
func (s *step) export(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	c := s.model.Config
	if err := nn.Save(filepath.Join(dir, aimv2.ModelFile), "F32", nil, s.model.Params()); err != nil {
		return err
	}
	prefix, ids := make([]float32, len(s.prefix)), []float32{}
	for i, p := range s.prefix {
		prefix[i] = float32(p)
	}
	for _, caption := range s.captions { // −1 after the end
		row := make([]float32, c.Context)
		for j := range row {
			if row[j] = -1; j < len(caption) {
				row[j] = float32(caption[j])
			}
		}
		ids = append(ids, row...)
	}
	b := len(s.prefix)
	for _, a := range []struct {
		name  string
		shape []int
		data  []float32
	}{
		{"images", []int{b, 3, c.ImageSize, c.ImageSize}, s.images},
		{"prefix", []int{b}, prefix},
		{"captions", []int{b, c.Context}, ids},
	} {
		f, err := os.Create(filepath.Join(dir, a.name+".npy"))
		if err != nil {
			return err
		}
		err = npy.Write(f, a.shape, a.data)
		if closing := f.Close(); err == nil {
			err = closing
		}
		if err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(struct {
		Model  aimv2.Config `json:"model"`
		Values []float64    `json:"values"`
	}{c, s.check()}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "check.json"), append(text, '\n'), 0o666)
}

// exportStep exports the model of a row.
func exportStep(r row, dir string) error {
	m, err := parseStep(r.args)
	if err != nil {
		return err
	}
	s, err := newStep(m)
	if err != nil {
		return err
	}
	return s.export(dir)
}

// inferProblem holds our forward pass.
func inferProblem(m shapes.Model) (problem, error) {
	c := encoderOnly(m.Config)
	model, err := aimv2.New(tensor.CPU, c, 1)
	if err != nil {
		return problem{}, err
	}
	setWeights(nn.Params(model))
	s := c.ImageSize
	images := tensor.From(tensor.CPU, filled(m.Batch*3*s*s, seedX, 0, 2), m.Batch, 3, s, s)
	tape := autograd.NewInferenceTape()
	return problem{
		run: func() {
			model.Encoder.Forward(tape.Input(images), nil)
			tape.Reset()
		},
		check: func() []float64 {
			values := combine(tensor.Data[float32](model.Encoder.Forward(tape.Input(images), nil).Value))
			tape.Reset()
			return values
		},
	}, nil
}

// inferValues is an answer about features: their weighted sum, and some.
func inferValues() []string {
	what := []string{"the weighted sum of the features"}
	for e := range elements {
		what = append(what, fmt.Sprintf("feature %d of the answer", e))
	}
	return what
}

// inferBounds are those of expect, with the root mean square of the elements that
// the answer has.
func inferBounds(first []float64, n int) []float64 {
	const tolerance = 2e-4
	squares := 0.0
	for _, v := range first[1:] {
		squares += v * v / float64(len(first)-1)
	}
	rms := math.Sqrt(squares)
	bound := []float64{4 * tolerance * rms * math.Sqrt(float64(n))}
	for _, v := range first[1:] {
		bound = append(bound, tolerance*(math.Abs(v)+rms))
	}
	return bound
}

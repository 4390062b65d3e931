package aimv2

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"fuerte/autograd"
	"fuerte/nn"
	"fuerte/nn/safetensors"
	"fuerte/tensor"
)

// parityDir holds what transformers saved and computed; its make.py wrote it.
var parityDir = filepath.Join("testdata", "parity")

// golden is an open file of expected values.
type golden struct {
	*safetensors.File
	t *testing.T
}

func openGolden(t *testing.T, folder string) golden {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(parityDir, folder, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return golden{f, t}
}

// tensor returns a float32 tensor of the file.
func (g golden) tensor(dev *tensor.Device, name string) *tensor.Tensor {
	g.t.Helper()
	info, _ := g.Info(name)
	data := make([]float32, info.Elements())
	if err := g.Float32s(name, data); err != nil {
		g.t.Fatal(err)
	}
	return tensor.From(dev, data, info.Shape...)
}

// want compares with a tensor of the file: 1e-5 of its largest element.
func (g golden) want(got *Var, name string) {
	g.t.Helper()
	want := g.tensor(tensor.CPU, name)
	if n := len(tensor.Data[float32](want)); got.Value.Len() != n || n == 0 {
		g.t.Fatalf("%s has shape %v, want %v", name, got.Shape(), want.Shape())
	}
	near(g.t, name, got.Value, tensor.Data[float64](tensor.Cast(want, tensor.Float64)), 1e-5)
}

func openParity(t *testing.T, path ...string) *Checkpoint {
	t.Helper()
	c, err := OpenCheckpoint(filepath.Join(append([]string{parityDir}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestParityEncoder compares every layer of an encoder with transformers: learned
// positions, and computed ones on a grid that is not square. The same weights in
// ml-aim's names give the same.
func TestParityEncoder(t *testing.T) {
	for _, dev := range testDevices(t) {
		for _, c := range []struct {
			golden string
			path   []string
			family string
		}{
			{"fixed", []string{"fixed"}, "transformers"},
			{"fixed", []string{"fixed", "ml-aim.safetensors"}, "ml-aim"},
			{"native", []string{"native"}, "transformers"},
		} {
			t.Run(dev.Name+"/"+filepath.Join(c.path...), func(t *testing.T) {
				ckpt := openParity(t, c.path...)
				if ckpt.Family.Name != c.family || ckpt.Vision.Native != (c.golden == "native") || ckpt.Vision.Head {
					t.Errorf("taken for %s, %+v", ckpt.Family.Name, ckpt.Vision)
				}
				e, err := ckpt.LoadEncoder(dev)
				if err != nil {
					t.Fatal(err)
				}
				g := openGolden(t, c.golden)
				tape := autograd.NewInferenceTape()
				defer tape.Reset()
				images := tape.Input(g.tensor(dev, "images"))
				h := e.ForwardHidden(images, nn.Mask{})
				for i, state := range h.States() {
					g.want(state, fmt.Sprintf("state.%d", i))
				}
				if _, more := g.Info(fmt.Sprintf("state.%d", len(h.States()))); more || len(h.Blocks) != 3 {
					t.Errorf("%d states; transformers has other ones", len(h.States()))
				}
				g.want(h.Last, "last")
				g.want(e.Forward(images, nil), "last")
			})
		}
	}
}

// TestParityLiT compares both towers and what joins them with transformers.
func TestParityLiT(t *testing.T) {
	for _, dev := range testDevices(t) {
		for _, path := range [][]string{{"lit"}, {"lit", "ml-aim.safetensors"}} {
			t.Run(dev.Name+"/"+filepath.Join(path...), func(t *testing.T) {
				m, err := openParity(t, path...).LoadLiT(dev)
				if err != nil {
					t.Fatal(err)
				}
				g := openGolden(t, "lit")
				tape := autograd.NewInferenceTape()
				defer tape.Reset()
				images := tape.Input(g.tensor(dev, "images"))
				texts := [][]int32{{28, 3, 4, 29, 29, 29, 29}, {28, 29, 29, 29, 29, 29, 29}, {28, 9, 8, 7, 6, 5, 29}}
				g.want(m.Text.ForwardTokens(images, texts), "text.last")
				g.want(m.Image.Head.Forward(m.Image.Forward(images, nil)), "image.pooled")
				// Without the padding, without an EOS at the end, and too long by two.
				for _, texts := range [][][]int32{texts, {{28, 3, 4}, {28}, {28, 9, 8, 7, 6, 5, 1, 2}}} {
					g.want(m.Text.Forward(images, texts), "text.pooled")
					i, x := m.ForwardImages(images), m.ForwardTexts(images, texts)
					g.want(unit(i), "image.unit")
					g.want(unit(x), "text.unit")
					g.want(m.Logits(i, x), "logits_per_image")
				}
			})
		}
	}
}

// TestInterpolatePositions compares resampled positions with PyTorch's, and wants
// images of the new size to be taken, and of the old one no more.
func TestInterpolatePositions(t *testing.T) {
	g := openGolden(t, "fixed")
	for _, grid := range [][2]int{{5, 4}, {2, 3}} {
		e, err := openParity(t, "fixed").LoadEncoder(tensor.CPU)
		if err != nil {
			t.Fatal(err)
		}
		run := func(h, w int) (err any) {
			defer func() { err = recover() }()
			tape := autograd.NewInferenceTape()
			defer tape.Reset()
			x := e.Forward(tape.Input(tensor.Zeros(tensor.CPU, tensor.Float32, 1, 3, 3*h, 3*w)), nil)
			if x.Shape()[1] != h*w {
				t.Errorf("%d tokens of %d×%d patches", x.Shape()[1], h, w)
			}
			return nil
		}
		before := e.Preprocessor.PosEmbed.Value
		e.InterpolatePositions(3, 3)
		if e.Preprocessor.PosEmbed.Value != before {
			t.Error("the same grid is resampled")
		}
		if err := run(grid[0], grid[1]); err == nil {
			t.Errorf("the positions of 3×3 patches are used for %v", grid)
		} else if _, ok := err.(*tensor.ShapeError); !ok {
			t.Errorf("%v is no *tensor.ShapeError", err)
		}
		e.InterpolatePositions(grid[0], grid[1])
		g.want(e.Preprocessor.PosEmbed, fmt.Sprintf("positions.%dx%d", grid[0], grid[1]))
		if err := run(grid[0], grid[1]); err != nil {
			t.Error(err)
		}
		if run(3, 3) == nil {
			t.Error("images of the old size are still taken")
		}
	}
}

// TestLogitScale: the scale stays between 1 and its maximum, and learns in between.
func TestLogitScale(t *testing.T) {
	m, err := openParity(t, "lit").LoadLiT(tensor.CPU)
	if err != nil {
		t.Fatal(err)
	}
	m.MaxLogitScale = 50
	for log, want := range map[float32]float64{-1: 1, 2: math.Exp(2), 9: 50} {
		tensor.Data[float32](m.LogScale.Value)[0] = log
		tape := autograd.NewTape()
		x := tape.Variable(tensor.From(tensor.CPU, []float32{3, 4}, 1, 2))
		y := m.Logits(x, x) // the cosine of a vector with itself is 1
		if got := float64(tensor.Data[float32](y.Value)[0]); math.Abs(got-want) > 1e-4*want {
			t.Errorf("e^%g scales by %g, want %g", log, got, want)
		}
		tape.Backward(autograd.Sum(y, false))
		switch g := m.LogScale.Grad; {
		case (g == nil) != (log != 2):
			t.Errorf("gradient at %g: %v", log, g)
		case g != nil && math.Abs(float64(tensor.Data[float32](g)[0])-want) > 1e-4*want:
			t.Errorf("gradient at %g: %g, want %g", log, tensor.Data[float32](g)[0], want)
		}
		m.LogScale.ZeroGrad()
	}
}

// TestForwardHiddenMask: under a mask of the first token alone every row attends to
// it, whatever the other patches are.
func TestForwardHiddenMask(t *testing.T) {
	e, err := openParity(t, "fixed").LoadEncoder(tensor.CPU)
	if err != nil {
		t.Fatal(err)
	}
	const n = 9
	first, none := make([]bool, n*n), make([]bool, n*n)
	for i := range n {
		first[i*n], none[i*n+i] = true, true
	}
	g := openGolden(t, "fixed")
	images := g.tensor(tensor.CPU, "images")
	tape := autograd.NewInferenceTape()
	run := func(mask []bool) []float32 {
		h := e.ForwardHidden(tape.Input(images), nn.Mask{Dense: tensor.From(tensor.CPU, mask, n, n)})
		return slices.Clone(tensor.Data[float32](h.Last.Value))
	}
	// Token 0 sees itself in both; the others see it, or only themselves.
	a, b := run(first), run(none)
	d := e.Preprocessor.PosEmbed.Shape()[2]
	if !slices.Equal(a[:d], b[:d]) || slices.Equal(a[d:2*d], b[d:2*d]) {
		t.Error("the mask does not say who sees whom")
	}
	tensor.Data[float32](images)[8] += 1 // in patch 2, the last of the first row
	if c := run(first); !slices.Equal(a[:2*d], c[:2*d]) || slices.Equal(a[2*d:3*d], c[2*d:3*d]) {
		t.Error("patch 2 reaches others than itself")
	}
}

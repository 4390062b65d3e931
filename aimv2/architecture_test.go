package aimv2

import (
	"math"
	"slices"
	"testing"

	"fuerte/nn"
	"fuerte/tensor"
)

// TestReleases counts the parameters of every published checkpoint, from shapes,
// and wants its configuration back from each form of config.json.
func TestReleases(t *testing.T) {
	sizes := map[string]int{
		"aimv2-large-patch14-224": 309_197_824, "aimv2-large-patch14-336": 309_525_504, "aimv2-large-patch14-448": 309_984_256,
		"aimv2-huge-patch14-224": 680_851_968, "aimv2-huge-patch14-336": 681_343_488, "aimv2-huge-patch14-448": 682_031_616,
		"aimv2-1B-patch14-224": 1_234_958_336, "aimv2-1B-patch14-336": 1_235_613_696, "aimv2-1B-patch14-448": 1_236_531_200,
		"aimv2-3B-patch14-224": 2_720_658_432, "aimv2-3B-patch14-336": 2_721_641_472, "aimv2-3B-patch14-448": 2_723_017_728,
		"aimv2-large-patch14-224-distilled": 309_197_824, "aimv2-large-patch14-336-distilled": 309_525_504,
		"aimv2-large-patch14-native": 308_935_680, "aimv2-large-patch14-224-lit": 436_680_193,
	}
	all := Releases()
	if len(all) != len(sizes) {
		t.Errorf("%d releases, there are %d", len(all), len(sizes))
	}
	for _, r := range all {
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
		if got := r.Parameters(); got != sizes[r.Name] {
			t.Errorf("%s has %d parameters, published are %d", r.Name, got, sizes[r.Name])
		}
		tensors := 7*24 + 5
		switch {
		case r.Vision.Native:
			tensors--
		case r.lit():
			tensors += 5 + 7*12 + 3 + 3
		}
		if got := len(r.ParamShapes()); got != tensors {
			t.Errorf("%s has %d tensors, ml-aim's file %d", r.Name, got, tensors)
		}
		for _, transformers := range []bool{false, true} {
			data, err := r.hubConfig(transformers, "float32")
			if err != nil {
				t.Fatal(err)
			}
			back, err := parseHubConfig(data)
			if err != nil {
				t.Fatalf("%s: %v\n%s", r.Name, err, data)
			}
			// What either form leaves to the tensors.
			back.Vision.Native, back.Vision.Head = r.Vision.Native, r.Vision.Head
			if r.Vision.Native {
				back.Vision.ImageSize = 0
			}
			if *back.Vision != *r.Vision || (back.Text == nil) != (r.Text == nil) || back.Text != nil && *back.Text != *r.Text ||
				back.Projection != r.Projection || back.MaxLogitScale != r.MaxLogitScale {
				t.Errorf("%s: read back as %+v %+v", r.Name, back, back.Vision)
			}
		}
	}
	for _, name := range []string{"aimv2-3B-patch14-448", "apple/aimv2-3B-patch14-448"} {
		if r, err := ReleaseOf(name); err != nil || r.Vision.Stack.Width != 3072 || r.Vision.Tokens() != 1024 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if _, err := ReleaseOf("aimv2-4B"); err == nil {
		t.Error("there is a 4B")
	}
}

// TestParamShapes holds the list of shapes to the parameters of the models.
func TestParamShapes(t *testing.T) {
	c := oddConfig
	vision := c.Vision()
	native, head := vision, vision
	native.Native, native.ImageSize, head.Head = true, 0, true
	text := TextConfig{Vocab: 11, Context: 4, Stack: Stack{8, 2, 2, 5}, EOS: 10, NormEps: 1e-5}
	lit := Architecture{Vision: &head, Text: &text, Projection: 3, MaxLogitScale: 100}
	model, err := newEmpty(tensor.CPU, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, prefix string
		Architecture
		module any
	}{
		{"model", "", c.Architecture(), model},
		{"native encoder", "image_encoder.", Architecture{Vision: &native}, newEncoder(tensor.CPU, native)},
		{"text tower", "text_encoder.", Architecture{Text: &text}, newTextEncoder(tensor.CPU, text)},
		{"LiT", "", lit, newLiT(tensor.CPU, lit)},
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		want := map[string][]int{}
		for _, p := range nn.Params(c.module) {
			want[c.prefix+p.Name] = p.Shape()
		}
		for _, p := range c.ParamShapes() {
			if shape, ok := want[p.Name]; !ok || !slices.Equal(shape, p.Shape) {
				t.Errorf("%s: %s %v, the model has %v", c.name, p.Name, p.Shape, shape)
			}
			delete(want, p.Name)
		}
		for name := range want {
			t.Errorf("%s: %s is not in the list", c.name, name)
		}
		if got := c.Parameters(); got != nn.Count(nn.Params(c.module)) {
			t.Errorf("%s: %d parameters, the model has %d", c.name, got, nn.Count(nn.Params(c.module)))
		}
	}
}

// TestArchitectureValidate: a word about each thing that no model can be built from.
func TestArchitectureValidate(t *testing.T) {
	good := func() Architecture {
		v := VisionConfig{ImageSize: 6, PatchSize: 2, Stack: Stack{12, 2, 2, 7}, Head: true, NormEps: 1e-5}
		return Architecture{Vision: &v, Text: &TextConfig{Vocab: 11, Context: 4, Stack: Stack{8, 2, 2, 5}, EOS: 10, NormEps: 1e-5}, Projection: 3, MaxLogitScale: 100}
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(a *Architecture){
		"nothing":      func(a *Architecture) { a.Vision, a.Text = nil, nil },
		"no head":      func(a *Architecture) { a.Vision.Head = false },
		"heads":        func(a *Architecture) { a.Vision.Stack.Heads = 5 },
		"odd image":    func(a *Architecture) { a.Vision.ImageSize = 7 },
		"native width": func(a *Architecture) { a.Vision.Native, a.Vision.Stack = true, Stack{6, 1, 2, 5} },
		"patch of 0":   func(a *Architecture) { a.Vision.Native, a.Vision.PatchSize = true, 0 },
		"EOS":          func(a *Architecture) { a.Text.EOS = 11 },
		"vocabulary":   func(a *Architecture) { a.Text.Vocab = 1 << 30 },
		"text hidden":  func(a *Architecture) { a.Text.Stack.Hidden = 0 },
		"projection":   func(a *Architecture) { a.Projection = 0 },
		"scale":        func(a *Architecture) { a.MaxLogitScale = math.NaN() },
		"decoder":      func(a *Architecture) { a.Decoder = a.Text },
	} {
		a := good()
		spoil(&a)
		if err := a.Validate(); err == nil {
			t.Errorf("%s: valid", what)
		}
	}
}

// TestSinCosPositions compares with the formula, element by element, on a grid
// that is not square: columns before rows.
func TestSinCosPositions(t *testing.T) {
	const h, w, d = 3, 5, 12
	x := SinCosPositions(tensor.CPU, h, w, d)
	if !slices.Equal(x.Shape(), []int{1, h * w, d}) {
		t.Fatalf("shape %v", x.Shape())
	}
	for i, got := range tensor.Data[float32](x) {
		patch, k := i/d, i%d
		place := patch % w // column
		if k >= d/2 {
			place = patch / w // row
		}
		angle := float64(place) / math.Pow(10000, float64(k%(d/4))/(d/4))
		want := math.Sin(angle)
		if k/(d/4)%2 == 1 {
			want = math.Cos(angle)
		}
		if math.Abs(float64(got)-want) > 1e-7 {
			t.Errorf("patch %d, channel %d: %g, want %g", patch, k, got, want)
		}
	}
}

package aimv2

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fuerte/autograd"
	"fuerte/nn"
	"fuerte/nn/safetensors"
	"fuerte/tensor"
)

// contents returns dtype, shape and bytes of every tensor of a checkpoint.
func contents(t *testing.T, path string) map[string]string {
	t.Helper()
	set, err := safetensors.OpenSet(path)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	out := map[string]string{}
	for _, name := range set.Names() {
		info, _ := set.Info(name)
		b, err := set.Bytes(name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = fmt.Sprintf("%s %v %x", info.DType, info.Shape, b)
	}
	return out
}

func sameContents(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s: %s is %.60s…, want %.60s…", what, name, got[name], want[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %s is new", what, name)
		}
	}
}

func convert(t *testing.T, src, family, dtype string, limit int) (dir string, written, left []string) {
	t.Helper()
	c, err := OpenCheckpoint(src)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := FamilyOf(family)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if written, left, err = c.Convert(dir, f, dtype, limit); err != nil {
		t.Fatal(err)
	}
	return dir, written, left
}

// TestConvertRoundTrip takes checkpoints from family to family and back, in one
// file and in many: every tensor returns with the same bytes. What transformers
// saved becomes what Python renamed it to.
func TestConvertRoundTrip(t *testing.T) {
	for _, folder := range []string{"fixed", "native", "lit"} {
		src := filepath.Join(parityDir, folder)
		original := contents(t, filepath.Join(src, ModelFile))
		at := src
		steps := []string{"ml-aim", "transformers", "ml-aim", "ml-l3m", "ml-l3m", "transformers", "transformers"}
		if folder == "lit" { // ml-l3m has no names for it
			steps = []string{"ml-aim", "ml-aim", "transformers"}
		}
		for i, family := range steps {
			limit := 0
			if i%2 == 1 {
				limit = 5000
			}
			dir, written, left := convert(t, at, family, "", limit)
			if len(left) > 0 {
				t.Errorf("%s to %s leaves out %q", folder, family, left)
			}
			if many := strings.HasSuffix(written[len(written)-1], safetensors.IndexSuffix); many != (limit > 0) || many && len(written) < 4 {
				t.Errorf("%s in parts of %d bytes: %q", folder, limit, written)
			}
			got := contents(t, written[len(written)-1])
			switch {
			case family == "transformers":
				sameContents(t, folder+" in transformers' names", got, original)
			case family == "ml-aim" && folder != "native":
				sameContents(t, folder+" in ml-aim's names", got, contents(t, filepath.Join(src, "ml-aim.safetensors")))
			case family == "ml-l3m":
				for _, name := range []string{"models.image_encoder.preprocessor.blocks.0.patchifier.proj.bias", "models.image_encoder.trunk.blocks.2.attn.v_proj.weight", "models.image_encoder.trunk.post_trunk_norm.weight"} {
					if _, ok := got[name]; !ok {
						t.Errorf("ml-l3m lacks %s", name)
					}
				}
			}
			at = dir
			reopened, err := OpenCheckpoint(at)
			if err != nil {
				t.Fatal(err)
			}
			if reopened.Family.Name != family {
				t.Errorf("%s in %s is taken for %s", folder, family, reopened.Family.Name)
			}
			if err := reopened.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestConvertRun takes a model in pre-training to ml-l3m, with its decoder, and
// to the families that have none, where its encoder computes the same.
func TestConvertRun(t *testing.T) {
	run := t.TempDir()
	tr := smallTrainer(t, smallRecipe(1), drawings(23))
	if err := tr.SaveModel(run, "F32"); err != nil {
		t.Fatal(err)
	}
	images := tensor.From(tensor.CPU, randomImages(tr.Model.Config, 1, rand.New(rand.NewPCG(1, 2))), 1, 3, tr.Model.Config.ImageSize, tr.Model.Config.ImageSize)
	tape := autograd.NewInferenceTape()
	want := tensor.Data[float64](tensor.Cast(tr.Model.Encoder.Forward(tape.Input(images), nil).Value, tensor.Float64))
	for _, family := range []string{"ml-l3m", "ml-aim", "transformers"} {
		dir, _, left := convert(t, run, family, "", 0)
		decoder := 0
		for _, p := range tr.Model.Params() {
			if strings.HasPrefix(p.Name, "text_decoder.") {
				decoder++
			}
		}
		if family == "ml-l3m" {
			decoder = 0
		}
		if len(left) != decoder {
			t.Errorf("%s leaves out %d tensors, not %d", family, len(left), decoder)
		}
		c, err := OpenCheckpoint(dir)
		if err != nil {
			t.Fatal(err)
		}
		if (c.Decoder != nil) != (family == "ml-l3m") {
			t.Errorf("%s has the decoder %+v", family, c.Decoder)
		}
		if c.Processor.Norm != Norm || c.Processor.Shortest != tr.Model.Config.ImageSize {
			t.Errorf("%s prepares pictures by %+v", family, c.Processor)
		}
		e, err := c.LoadEncoder(tensor.CPU)
		if err != nil {
			t.Fatal(err)
		}
		near(t, family, e.Forward(tape.Input(images), nil).Value, want, 0)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestConvertDType: F32 to BF16 and F16 rounds as nn.Save does, and both widen back
// exactly.
func TestConvertDType(t *testing.T) {
	src := filepath.Join(parityDir, "fixed")
	e, err := openParity(t, "fixed").LoadEncoder(tensor.CPU)
	if err != nil {
		t.Fatal(err)
	}
	for _, dtype := range []string{"BF16", "F16", "F32"} {
		dir, _, _ := convert(t, src, "ml-aim", dtype, 0)
		saved := filepath.Join(t.TempDir(), "saved.safetensors")
		if err := nn.Save(saved, dtype, nil, nn.Params(e)); err != nil {
			t.Fatal(err)
		}
		want := contents(t, saved)
		sameContents(t, dtype, contents(t, filepath.Join(dir, ModelFile)), want)
		var config struct {
			Type string `json:"torch_dtype"`
		}
		data, err := os.ReadFile(filepath.Join(dir, ConfigFile))
		if err == nil {
			err = json.Unmarshal(data, &config)
		}
		if name := map[string]string{"BF16": "bfloat16", "F16": "float16", "F32": "float32"}[dtype]; err != nil || config.Type != name {
			t.Errorf("config.json says %q of %s, %v", config.Type, dtype, err)
		}
		wide, _, _ := convert(t, dir, "transformers", "F32", 0)
		narrow, _, _ := convert(t, wide, "ml-aim", dtype, 0)
		sameContents(t, dtype+" and back", contents(t, filepath.Join(narrow, ModelFile)), want)
	}
}

// TestConvertRefuses: a folder with weights, and names that a family lacks.
func TestConvertRefuses(t *testing.T) {
	dir, _, _ := convert(t, filepath.Join(parityDir, "fixed"), "ml-aim", "", 0)
	before := contents(t, filepath.Join(dir, ModelFile))
	for _, c := range []struct{ src, family, dir, want string }{
		{"fixed", "transformers", dir, "holds weights already"},
		{"lit", "ml-l3m", t.TempDir(), "no name for text_encoder.preprocessor.text_embedding.weight"},
	} {
		f, err := FamilyOf(c.family)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := openParity(t, c.src).Convert(c.dir, f, "", 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s to %s: %v", c.src, c.family, err)
		}
	}
	sameContents(t, "the refused folder", contents(t, filepath.Join(dir, ModelFile)), before)
	if _, err := FamilyOf("timm"); err == nil {
		t.Error("there is a family timm")
	}
}

// edited copies a parity checkpoint with other tensors and another config.json.
func edited(t *testing.T, folder string, tensors func(ts []safetensors.Tensor) []safetensors.Tensor, config func(c map[string]any)) string {
	t.Helper()
	set, err := safetensors.OpenSet(filepath.Join(parityDir, folder, ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	var ts []safetensors.Tensor
	for _, name := range set.Names() {
		info, _ := set.Info(name)
		b, _ := set.Bytes(name)
		ts = append(ts, safetensors.Tensor{Name: name, DType: info.DType, Shape: info.Shape, Data: bytes.Clone(b)})
	}
	dir := t.TempDir()
	if tensors != nil {
		ts = tensors(ts)
	}
	if err := safetensors.Write(filepath.Join(dir, ModelFile), nil, ts); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(parityDir, folder, ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	c := map[string]any{}
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	if config != nil {
		config(c)
	}
	if data, err = json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ConfigFile), data, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestOpenCheckpointNamesAll: one error names every tensor that is missing,
// unexpected or misshapen, under its name in the file.
func TestOpenCheckpointNamesAll(t *testing.T) {
	dir := edited(t, "fixed", func(ts []safetensors.Tensor) []safetensors.Tensor {
		ts = slices.DeleteFunc(ts, func(s safetensors.Tensor) bool {
			return s.Name == "rms_norm.weight" || s.Name == "encoder.layers.1.attention.k_proj.weight"
		})
		for i, s := range ts {
			if s.Name == "encoder.layers.2.ffn.up_proj.weight" {
				ts[i].Shape = []int{s.Shape[1], s.Shape[0]}
			}
		}
		return append(ts, safetensors.Tensor{Name: "encoder.layers.0.attention.q_proj.bias", DType: "F32", Shape: []int{0}},
			safetensors.Tensor{Name: "trunk.blocks.0.attn.qkv.weight", DType: "F32", Shape: []int{0}})
	}, nil)
	_, err := OpenCheckpoint(dir)
	if err == nil {
		t.Fatal("opened")
	}
	for _, want := range []string{
		"missing rms_norm.weight [16]", "missing encoder.layers.1.attention.k_proj.weight [16 16]",
		"encoder.layers.2.ffn.up_proj.weight has shape [16 21], not [21 16]",
		"unexpected encoder.layers.0.attention.q_proj.bias", "unexpected trunk.blocks.0.attn.qkv.weight",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n"); n != 5 {
		t.Errorf("%d lines of complaint, not 5:\n%v", n, err)
	}
}

// TestOpenCheckpointRefuses: configurations that are not the weights', or not ours.
func TestOpenCheckpointRefuses(t *testing.T) {
	for want, config := range map[string]func(c map[string]any){
		"qkv_bias":               func(c map[string]any) { c["qkv_bias"] = true },
		"hidden_act":             func(c map[string]any) { c["hidden_act"] = "gelu" },
		"num_channels":           func(c map[string]any) { c["num_channels"] = 4 },
		"model_type \"bert\"":    func(c map[string]any) { c["model_type"] = "bert" },
		"5 heads":                func(c map[string]any) { c["num_attention_heads"] = 5 },
		"larger than":            func(c map[string]any) { c["intermediate_size"] = 1 << 40 },
		"embeddings.rms_norm":    func(c map[string]any) { c["hidden_size"] = 1 << 12 },
		"position_embedding":     func(c map[string]any) { c["image_size"] = 3 * 2730 },
		"missing encoder.layers": func(c map[string]any) { c["num_hidden_layers"] = 4000 },
		"config.json":            func(c map[string]any) { c["hidden_size"] = "wide" },
	} {
		if _, err := OpenCheckpoint(edited(t, "fixed", nil, config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	foreign := edited(t, "fixed", func([]safetensors.Tensor) []safetensors.Tensor {
		return []safetensors.Tensor{{Name: "model.embed_tokens.weight", DType: "F32", Shape: []int{0}}}
	}, nil)
	if _, err := OpenCheckpoint(foreign); err == nil || !strings.Contains(err.Error(), "none of fuerte, ml-aim, transformers, ml-l3m") {
		t.Errorf("another model: %v", err)
	}
	if _, err := OpenCheckpoint(t.TempDir()); err == nil || !strings.Contains(err.Error(), ModelFile) {
		t.Errorf("an empty folder: %v", err)
	}
}

// TestOpenCheckpointWithoutConfig reads the sizes off the tensors where heads are
// the published 128 wide, and says so where they cannot be.
func TestOpenCheckpointWithoutConfig(t *testing.T) {
	dir := edited(t, "lit", nil, nil)
	if err := os.Remove(filepath.Join(dir, ConfigFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCheckpoint(dir); err == nil || !strings.Contains(err.Error(), "heads of 128") {
		t.Errorf("a width of 16: %v", err)
	}
	v := VisionConfig{ImageSize: 6, PatchSize: 2, Stack: Stack{128, 2, 1, 7}, Head: true, NormEps: 1e-5}
	want := Architecture{Vision: &v, Text: &TextConfig{Vocab: 11, Context: 4, Stack: Stack{256, 3, 2, 5}, EOS: 10, NormEps: 1e-5}, Projection: 3, MaxLogitScale: 100}
	for _, family := range Families[1:3] {
		path := filepath.Join(t.TempDir(), "any.safetensors")
		var ts []safetensors.Tensor
		for _, p := range want.ParamShapes() {
			keys, shape := family.place(p, false)
			for _, key := range keys {
				n := 4
				for _, d := range shape {
					n *= d
				}
				ts = append(ts, safetensors.Tensor{Name: key, DType: "F32", Shape: shape, Data: make([]byte, n)})
			}
		}
		if err := safetensors.Write(path, nil, ts); err != nil {
			t.Fatal(err)
		}
		c, err := OpenCheckpoint(path)
		if err != nil {
			t.Fatal(err)
		}
		if *c.Vision != *want.Vision || *c.Text != *want.Text || c.Projection != 3 || c.MaxLogitScale != 100 {
			t.Errorf("%s: %+v %+v %+v", family.Name, c.Architecture, c.Vision, c.Text)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTowersAlone: a checkpoint of one tower, with the configuration of both or its
// own, opens as that; the other tower is an error.
func TestTowersAlone(t *testing.T) {
	text := edited(t, "lit", func(ts []safetensors.Tensor) []safetensors.Tensor {
		var out []safetensors.Tensor
		for _, s := range ts {
			if name, ok := strings.CutPrefix(s.Name, "text_model."); ok {
				s.Name = name
				out = append(out, s)
			}
		}
		return out
	}, func(c map[string]any) {
		own := c["text_config"].(map[string]any)
		clear(c)
		maps.Copy(c, own)
	})
	c, err := OpenCheckpoint(text)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	e, err := c.LoadText(tensor.CPU)
	if err != nil {
		t.Fatal(err)
	}
	g := openGolden(t, "lit")
	tape := autograd.NewInferenceTape()
	g.want(e.Forward(tape.Input(g.tensor(tensor.CPU, "images")), [][]int32{{28, 3, 4}, {28}, {28, 9, 8, 7, 6, 5}}), "text.pooled")
	if _, err := c.LoadEncoder(tensor.CPU); err == nil {
		t.Error("a text tower has an encoder")
	}
	if _, err := c.LoadLiT(tensor.CPU); err == nil {
		t.Error("a text tower is a LiT")
	}
	if _, err := openParity(t, "fixed").LoadText(tensor.CPU); err == nil {
		t.Error("an encoder has a text tower")
	}
	dir, _, _ := convert(t, text, "transformers", "", 0)
	sameContents(t, "a text tower", contents(t, filepath.Join(dir, ModelFile)), contents(t, filepath.Join(text, ModelFile)))
}

// TestProcessor reads and writes preprocessor_config.json as published, and refuses
// what would prepare other pictures than it says.
func TestProcessor(t *testing.T) {
	const published = `{"crop_size": {"height": 336, "width": 336}, "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true,
		"do_rescale": true, "do_resize": true, "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_processor_type": "CLIPImageProcessor",
		"image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 336}}`
	native := strings.NewReplacer(`"do_resize": true`, `"do_resize": false`, `"do_center_crop": true`, `"do_center_crop": false`).Replace(published)
	for text, want := range map[string]Processor{published: HubProcessor(336), native: HubProcessor(0), `{"size": 224, "crop_size": 224}`: HubProcessor(224), `{}`: HubProcessor(224)} {
		got, err := ParseProcessor([]byte(text))
		if err != nil || got != want {
			t.Errorf("%s is read as %+v, %v", text, got, err)
		}
		data, err := got.Config()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseProcessor(data); err != nil || back != want {
			t.Errorf("%s is read as %+v, %v", data, back, err)
		}
	}
	for _, change := range [][2]string{
		{`"resample": 3`, `"resample": 2`}, {`"shortest_edge": 336`, `"shortest_edge": 100`}, {`"shortest_edge": 336`, `"shortest_edge": 1000000`},
		{`"size": {"shortest_edge": 336}`, `"size": {"height": 336, "width": 336}`}, {`"height": 336`, `"height": 224`},
		{`"do_resize": true`, `"do_resize": false`}, {`"do_normalize": true`, `"do_normalize": false`}, {`0.00392156862745098`, `1`},
		{`0.26862954`, `0`}, {`[0.48145466, `, `[`}, {`336}`, `-1}`}, {`{"crop`, `[{"crop`},
	} {
		text := strings.Replace(published, change[0], change[1], 1)
		if got, err := ParseProcessor([]byte(text)); err == nil || text == published {
			t.Errorf("%s instead of %s is read as %+v", change[1], change[0], got)
		}
	}
}

// FuzzConfigs: neither reader panics, and what it takes it writes and takes again.
func FuzzConfigs(f *testing.F) {
	for _, folder := range []string{"fixed", "native", "lit"} {
		data, err := os.ReadFile(filepath.Join(parityDir, folder, ConfigFile))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	processor, err := HubProcessor(224).Config()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(processor)
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := parseHubConfig(data); err == nil && a.Validate() == nil {
			again, err := a.hubConfig(true, "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parseHubConfig(again); err != nil {
				t.Errorf("%s: %v", again, err)
			}
		}
		if p, err := ParseProcessor(data); err == nil {
			again, err := p.Config()
			if err != nil {
				t.Fatal(err)
			}
			if back, err := ParseProcessor(again); err != nil || back != p {
				t.Errorf("%s is read as %+v, %v", again, back, err)
			}
		}
	})
}

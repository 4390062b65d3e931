package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fuerte/aimv2"
	"fuerte/autograd"
	"fuerte/nn/npy"
	"fuerte/nn/safetensors"
	"fuerte/tensor"
)

// parity returns the folder of a small checkpoint as transformers saved it.
func parity(t *testing.T, name string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", "testdata", "parity", name))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func stripes(width, height int) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetNRGBA(x, y, color.NRGBA{uint8(9 * x), uint8(200 - 7*y), uint8(x * y), 255})
		}
	}
	return img
}

// TestEmbedCheckpoints embeds with published forms of checkpoints, prepared as they
// say, and compares with the library.
func TestEmbedCheckpoints(t *testing.T) {
	dir := t.TempDir()
	pictures := map[string]image.Image{"wide.png": stripes(20, 11), "high.png": stripes(13, 16)}
	for name, img := range pictures {
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), b.Bytes())
	}
	for _, name := range []string{"fixed", "native", "lit", filepath.Join("fixed", "ml-aim.safetensors")} {
		model := parity(t, name)
		r := must(t, dir, "embed", "-model", model, "wide.png", "high.png", "-pool", "none")
		if native := name == "native"; native != strings.Contains(r.stderr, "trained with 112 to 4096") || native != strings.Contains(r.stdout, "various") {
			t.Errorf("%s: %q %q", name, r.stdout, r.stderr)
		}
		c, err := aimv2.OpenCheckpoint(model)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		e, err := c.LoadEncoder(tensor.CPU)
		if err != nil {
			t.Fatal(err)
		}
		sf, err := safetensors.Open(filepath.Join(dir, "features.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer sf.Close()
		for file, img := range pictures {
			in, err := c.Processor.Prepare(img, 3)
			if err != nil {
				t.Fatal(err)
			}
			want := e.Forward(autograd.NewInferenceTape().Input(in), nil).Value
			got := make([]float32, want.Len())
			if err := sf.Float32s(file, got); err != nil || !slices.Equal(got, tensor.Data[float32](want)) {
				t.Errorf("%s: %s has other features than the library's, %v", name, file, err)
			}
		}
	}

	must(t, dir, "embed", "-model", parity(t, "lit"), "wide.png", "-pool", "head", "-out", "v.npy")
	if shape, _, err := npy.Read(bytes.NewReader(read(t, filepath.Join(dir, "v.npy")))); err != nil || !slices.Equal(shape, []int{1, 16}) {
		t.Errorf("-pool head gives %v, %v", shape, err)
	}
	for want, args := range map[string][]string{
		"no attention head": {"embed", "-model", parity(t, "fixed"), "wide.png", "-pool", "head"},
		"room for one size": {"embed", "-model", parity(t, "native"), "wide.png", "high.png", "-pool", "none", "-out", "n.npy"},
		"has no decoder":    {"caption", "-model", parity(t, "lit"), "wide.png"},
		"no such file":      {"embed", "-model", "./none", "wide.png"},
	} {
		if r := do(t, dir, args...); r.status != 1 || !strings.Contains(r.stderr, want) {
			t.Errorf("%q: status %d, %q", args, r.status, r.stderr)
		}
	}
}

// TestConvert converts back and forth, in parts too, and wants the same bytes.
func TestConvert(t *testing.T) {
	dir := t.TempDir()
	weights := func(folder string) (out []string) {
		set, err := safetensors.OpenSet(filepath.Join(folder, aimv2.ModelFile))
		if err != nil {
			t.Fatal(err)
		}
		defer set.Close()
		for _, name := range set.Names() {
			b, _ := set.Bytes(name)
			info, _ := set.Info(name)
			out = append(out, fmt.Sprintf("%s %s %v %x", name, info.DType, info.Shape, b))
		}
		slices.Sort(out)
		return out
	}
	r := must(t, dir, "convert", parity(t, "lit"), "aim", "-format", "ml-aim", "-shard", "20kB")
	if lines := strings.Count(r.stdout, "\n"); lines != 4 {
		t.Errorf("files of 20 kB: %s", r.stdout)
	}
	must(t, dir, "convert", "aim", "back", "-format", "transformers")
	if !slices.Equal(weights(filepath.Join(dir, "back")), weights(parity(t, "lit"))) {
		t.Error("there and back the weights are others")
	}
	for _, where := range []string{"aim", "aim/model.safetensors.index.json"} {
		if r := must(t, dir, "info", where); !strings.Contains(r.stdout, "of ml-aim") || !strings.Contains(r.stdout, "text_encoder.trunk.blocks.1.attn.qkv.weight") || !strings.Contains(r.stdout, "10789 parameters in all") {
			t.Errorf("info %s: %s", where, r.stdout)
		}
	}
	half := must(t, dir, "convert", "aim", "half", "-format", "transformers", "-dtype", "BF16")
	if info, err := os.Stat(filepath.Join(dir, "half", aimv2.ModelFile)); err != nil || info.Size() > 33_000 {
		t.Errorf("in BF16: %s", half.stdout)
	}
	for _, args := range [][]string{
		{"convert", "aim", "x", "-format", "timm"}, {"convert", "aim", "x"}, {"convert", "aim", "-format", "ml-aim"},
		{"convert", "aim", "x", "-format", "ml-aim", "-dtype", "I8"}, {"convert", "aim", "x", "-format", "ml-aim", "-shard", "0"},
		{"convert", "aim", "x", "-format", "ml-aim", "-shard", "5TB"},
	} {
		if r := do(t, dir, args...); r.status != 2 {
			t.Errorf("%q: status %d, %q", args, r.status, r.stderr)
		}
	}
	if r := do(t, dir, "convert", "aim", "back", "-format", "transformers"); r.status != 1 || !strings.Contains(r.stderr, "holds weights already") {
		t.Errorf("over weights: status %d, %q", r.status, r.stderr)
	}
	if r := do(t, dir, "convert", parity(t, "lit"), "l3m", "-format", "ml-l3m"); r.status != 1 {
		t.Errorf("LiT to ml-l3m: status %d", r.status)
	}
}

// TestModelOfHub embeds with a model that it fetches, and again without the hub.
func TestModelOfHub(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	files := map[string][]byte{}
	for _, name := range []string{"config.json", "model.safetensors"} {
		files[name] = read(t, filepath.Join(parity(t, "fixed"), name))
	}
	files["mlx_model.safetensors"] = []byte("of no use here")
	var asked []string
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		if r.URL.Path == "/api/models/apple/tiny/revision/main" {
			var siblings []map[string]string
			for name := range files {
				siblings = append(siblings, map[string]string{"rfilename": name})
			}
			json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": siblings})
			return
		}
		data, ok := files[strings.TrimPrefix(r.URL.Path, "/apple/tiny/resolve/"+commit+"/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("X-Repo-Commit", commit)
		w.Header().Set("X-Linked-Etag", fmt.Sprintf(`"%x"`, sha256.Sum256(data)))
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
		w.Write(data)
	}))
	defer hub.Close()
	dir := t.TempDir()
	t.Setenv("HF_HOME", filepath.Join(dir, "hf"))
	t.Setenv("HF_ENDPOINT", hub.URL)
	for _, v := range []string{"HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"} {
		t.Setenv(v, "")
	}
	var b bytes.Buffer
	if err := png.Encode(&b, stripes(20, 11)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "p.png"), b.Bytes())

	must(t, dir, "embed", "-model", parity(t, "fixed"), "p.png", "-out", "want.npy")
	if r := must(t, dir, "embed", "-model", "apple/tiny", "p.png", "-out", "got.npy"); !strings.Contains(r.stderr, "model.safetensors: 30.4 kB of 30.4 kB") {
		t.Errorf("fetched: %q", r.stderr)
	}
	if slices.ContainsFunc(asked, func(s string) bool { return strings.Contains(s, "mlx") }) {
		t.Errorf("asked for %q", asked)
	}
	if r := must(t, dir, "info", "apple/tiny"); !strings.HasPrefix(r.stdout, "apple/tiny\n") || !strings.Contains(r.stdout, "9×9 pixels") {
		t.Errorf("info: %q", r.stdout)
	}
	if r := do(t, dir, "embed", "-model", "apple/other", "p.png"); r.status != 1 || !strings.Contains(r.stderr, "there is no folder apple/other, and hub: ") || !strings.Contains(r.stderr, "404") {
		t.Errorf("another model: %q", r.stderr)
	}
	hub.Close()
	must(t, dir, "embed", "-model", "apple/tiny", "p.png", "-out", "again.npy")
	for _, name := range []string{"got.npy", "again.npy"} {
		if !bytes.Equal(read(t, filepath.Join(dir, name)), read(t, filepath.Join(dir, "want.npy"))) {
			t.Errorf("%s has other features than the folder's", name)
		}
	}
	if r := do(t, dir, "embed", "-model", "apple/other", "p.png"); r.status != 1 || !strings.Contains(r.stderr, "cannot be reached") {
		t.Errorf("without a network: %q", r.stderr)
	}
}

package pretrained

import (
	"io/fs"
	"testing"

	"fuerte/aimv2"
	"fuerte/tensor"
)

// Every clone and every program that imports the package carries the files.
const most = 8 << 20

func TestLoad(t *testing.T) {
	size := int64(0)
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		size += info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if size > most {
		t.Errorf("the built-in model takes %d bytes, more than %d", size, most)
	}
	m, tok, err := Load(tensor.CPU)
	if err != nil {
		t.Fatal(err)
	}
	c := m.Config
	features := m.Features(make([]float32, 3*c.ImageSize*c.ImageSize))
	defer features.Release()
	for _, ids := range m.Generate(features, aimv2.Sampling{}, tok.EOS()) {
		t.Logf("a plain picture: %q", tok.Decode(ids))
	}
}

package pretrained

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

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

// TestDamage wants an error that names the file which is missing or cut.
func TestDamage(t *testing.T) {
	for _, name := range []string{aimv2.ConfigFile, aimv2.TokenizerFile, aimv2.ModelFile} {
		for _, cut := range []bool{false, true} {
			fsys := fstest.MapFS{}
			for _, n := range []string{aimv2.ConfigFile, aimv2.TokenizerFile, aimv2.ModelFile} {
				data, err := files.ReadFile("model/" + n)
				if err != nil {
					t.Fatal(err)
				}
				fsys[n] = &fstest.MapFile{Data: data}
			}
			if cut {
				fsys[name].Data = fsys[name].Data[:len(fsys[name].Data)/2]
			} else {
				delete(fsys, name)
			}
			if _, _, err := aimv2.LoadFS(tensor.CPU, fsys); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s cut: %v, missing: %v: %v", name, cut, !cut, err)
			}
		}
	}
}

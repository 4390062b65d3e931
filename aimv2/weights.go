package aimv2

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"fuerte/aimv2/tokenizer"
	"fuerte/nn"
	"fuerte/nn/atomicfile"
	"fuerte/nn/safetensors"
	"fuerte/tensor"
)

// readState reads the recipe and the step out of a state file's metadata.
func readState(f *safetensors.File) (r Recipe, step int, err error) {
	meta := f.Metadata()
	r = defaults()
	if step, err = strconv.Atoi(meta["step"]); err != nil || step < 0 {
		return r, 0, fmt.Errorf("%s: its metadata has no step, so this is no state of a run", f.Path())
	}
	if err := json.Unmarshal([]byte(meta["recipe"]), &r); err != nil {
		return r, 0, fmt.Errorf("%s: the recipe in its metadata: %w", f.Path(), err)
	}
	return r, step, nil
}

// checkElements refuses a file of fewer elements than a configuration asks for,
// before memory is taken for them: a configuration of a few bytes can ask for
// any amount. What else does not fit, nn.LoadFrom names.
func checkElements(f *safetensors.File, elements int) error {
	have := 0
	for _, name := range f.Names() {
		info, _ := f.Info(name)
		have += info.Elements()
	}
	if have < elements {
		return fmt.Errorf("%s: has %d elements, the configuration asks for %d", f.Path(), have, elements)
	}
	return nil
}

// SaveModel writes a folder that Load reads: weights in dtype "F32" or "BF16",
// configuration and tokenizer.
func (t *Trainer) SaveModel(dir, dtype string) error {
	if err := t.SaveSetup(dir); err != nil {
		return err
	}
	return nn.Save(filepath.Join(dir, ModelFile), dtype, map[string]string{"format": "pt"}, t.Model.Params())
}

// SaveSetup writes what does not change in a run: configuration and tokenizer.
func (t *Trainer) SaveSetup(dir string) error {
	if err := t.Tok.Save(filepath.Join(dir, TokenizerFile)); err != nil {
		return err
	}
	data, err := json.MarshalIndent(t.Recipe, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFileAtomic(filepath.Join(dir, ConfigFile), func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
}

// LoadRecipe reads the recipe of the run that SaveModel or SaveSetup wrote to a
// folder.
//
// Errors: a file that is missing or damaged, or whose model cannot be built.
func LoadRecipe(dir string) (Recipe, error) {
	return loadRecipe(filepath.Join(dir, ConfigFile), os.ReadFile)
}

// loadRecipe is LoadRecipe by way of read.
func loadRecipe(path string, read func(path string) ([]byte, error)) (Recipe, error) {
	data, err := read(path)
	if err != nil {
		return Recipe{}, err
	}
	r := defaults()
	if err := json.Unmarshal(data, &r); err != nil {
		return Recipe{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := r.Model.Validate(); err != nil {
		return Recipe{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Load reads a model and its tokenizer from a folder that SaveModel wrote.
//
// Errors name the file and the cause: one that is missing or damaged, weights
// that do not fit the configuration.
func Load(dev *tensor.Device, dir string) (*Model, *tokenizer.Tokenizer, error) {
	return load(dev, dir, os.ReadFile, safetensors.Open)
}

// LoadFS is Load from the top folder of a file system, such as an embedded one.
// It holds the weights in memory twice for a while; Load maps their file.
func LoadFS(dev *tensor.Device, fsys fs.FS) (*Model, *tokenizer.Tokenizer, error) {
	read := func(path string) ([]byte, error) { return fs.ReadFile(fsys, path) }
	return load(dev, "", read, func(path string) (*safetensors.File, error) {
		data, err := read(path)
		if err != nil {
			return nil, err
		}
		return safetensors.Parse(path, data)
	})
}

// load is Load by way of these two.
func load(dev *tensor.Device, dir string, read func(path string) ([]byte, error), open func(path string) (*safetensors.File, error)) (*Model, *tokenizer.Tokenizer, error) {
	path := filepath.Join(dir, ConfigFile)
	r, err := loadRecipe(path, read)
	if err != nil {
		return nil, nil, err
	}
	tokPath := filepath.Join(dir, TokenizerFile)
	data, err := read(tokPath)
	if err != nil {
		return nil, nil, err
	}
	tok, err := tokenizer.Parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", tokPath, err)
	}
	if tok.Vocab() > r.Model.Vocab {
		return nil, nil, fmt.Errorf("%s: %d tokens, but the model has room for %d", tokPath, tok.Vocab(), r.Model.Vocab)
	}
	weights, err := open(filepath.Join(dir, ModelFile))
	if err != nil {
		return nil, nil, err
	}
	defer weights.Close()
	if err := checkElements(weights, r.Model.Parameters()); err != nil {
		return nil, nil, err
	}
	m, err := newEmpty(dev, r.Model)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := nn.LoadFrom(weights, m.Params()); err != nil {
		return nil, nil, err
	}
	return m, tok, nil
}

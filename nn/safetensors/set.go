package safetensors

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fuerte/nn/atomicfile"
)

// IndexSuffix ends the name of the index of a checkpoint in several files
// (shards): "model.safetensors.index.json" beside "model-00001-of-00002.safetensors".
const IndexSuffix = ".safetensors.index.json"

// maxIndex is the largest index, in bytes, that is read: that of a checkpoint
// with the header of the largest File.
const maxIndex = maxHeader

// maxShards is the most files of one checkpoint.
const maxShards = 10_000

// Set is a checkpoint in one file or in several, as one.
type Set struct {
	path  string
	files []*File
	names []string
	where map[string]*File
}

// OpenSet opens a safetensors file, or all files of an index.
//
// Errors: those of Open; an index that is no JSON object of the form
//
//	{"metadata": {…}, "weight_map": {name: file, …}}
//
// that names a file elsewhere, or that differs from the files: every name that is
// missing, or is in another file than it says, or in none of its lines.
func OpenSet(path string) (*Set, error) {
	if !strings.HasSuffix(path, IndexSuffix) {
		f, err := Open(path)
		if err != nil {
			return nil, err
		}
		return NewSet(f), nil
	}
	index, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	s := &Set{path: path, where: map[string]*File{}}
	opened := map[string]*File{}
	for _, name := range slices.Sorted(values(index)) {
		f, err := Open(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		opened[name] = f
		s.files = append(s.files, f)
	}
	var wrong []error
	for _, f := range s.files {
		for _, name := range f.Names() {
			switch said, ok := index[name]; {
			case !ok:
				wrong = append(wrong, fmt.Errorf("%s holds %s, which the index lacks", filepath.Base(f.Path()), name))
			case opened[said] != f:
				wrong = append(wrong, fmt.Errorf("%s holds %s, which the index has in %s", filepath.Base(f.Path()), name, said))
			default:
				s.where[name] = f
				s.names = append(s.names, name)
			}
		}
	}
	for name, file := range index {
		if _, ok := opened[file].Info(name); !ok {
			wrong = append(wrong, fmt.Errorf("%s lacks %s, which the index has there", file, name))
		}
	}
	if len(wrong) > 0 {
		slices.SortFunc(wrong, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
		return nil, errors.Join(&FormatError{path, errors.Join(wrong...).Error()}, s.Close())
	}
	return s, nil
}

// NewSet makes a set of one open file, which it takes over.
func NewSet(f *File) *Set {
	s := &Set{path: f.Path(), files: []*File{f}, names: f.Names(), where: map[string]*File{}}
	for _, name := range s.names {
		s.where[name] = f
	}
	return s
}

// values yields each value of a map once.
func values(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		seen := map[string]bool{}
		for _, v := range m {
			if !seen[v] && !yield(v) {
				return
			}
			seen[v] = true
		}
	}
}

// readIndex returns the weight map of an index.
func readIndex(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxIndex+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxIndex {
		return nil, &FormatError{path, fmt.Sprintf("more than the %d bytes allowed", maxIndex)}
	}
	var index struct {
		Weights map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, &FormatError{path, err.Error()}
	}
	if len(index.Weights) == 0 {
		return nil, &FormatError{path, "no weight_map"}
	}
	files := map[string]bool{}
	for name, file := range index.Weights {
		if file == "" || file != filepath.Base(file) || !filepath.IsLocal(file) || !strings.HasSuffix(file, ".safetensors") {
			return nil, &FormatError{path, fmt.Sprintf("%s is in %q, which is no .safetensors file of this folder", name, file)}
		}
		if files[file] = true; len(files) > maxShards {
			return nil, &FormatError{path, fmt.Sprintf("more than %d files", maxShards)}
		}
	}
	return index.Weights, nil
}

// Path returns what OpenSet was given, or the path of the one file.
func (s *Set) Path() string { return s.path }

// Files returns the files of the set, which stay its own.
func (s *Set) Files() []*File { return s.files }

// Close closes the files; see File.Close.
func (s *Set) Close() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Names returns the names of all tensors, file by file in the order of their data.
func (s *Set) Names() []string { return slices.Clone(s.names) }

// Info describes the tensor of that name; ok is false if there is none.
func (s *Set) Info(name string) (info Info, ok bool) {
	if f := s.where[name]; f != nil {
		return f.Info(name)
	}
	return Info{}, false
}

// Bytes is File.Bytes of the file that holds the tensor.
func (s *Set) Bytes(name string) ([]byte, error) {
	if f := s.where[name]; f != nil {
		return f.Bytes(name)
	}
	return nil, fmt.Errorf("safetensors: %s: no tensor %q", s.path, name)
}

// Float32s is File.Float32s of the file that holds the tensor.
func (s *Set) Float32s(name string, dst []float32) error {
	if f := s.where[name]; f != nil {
		return f.Float32s(name, dst)
	}
	return fmt.Errorf("safetensors: %s: no tensor %q", s.path, name)
}

// WriteSet writes tensors into a folder: as stem.safetensors, or where their data
// takes more than limit bytes as stem-00001-of-0000N.safetensors and so on, each
// with as many of the next tensors as fit (at least one), and the index. A limit
// of 0 is none. It returns the paths of what it wrote, the one to open last.
//
// Errors: those of Write; more than 10,000 files. The index comes last: without
// it the other files are no checkpoint.
func WriteSet(dir, stem string, metadata map[string]string, tensors []Tensor, limit int) ([]string, error) {
	var shards [][]Tensor
	total, room := 0, 0
	for _, t := range tensors {
		size, err := byteSize(t.DType, t.Shape)
		if err != nil {
			return nil, fmt.Errorf("safetensors: %s: tensor %q: %w", dir, t.Name, err)
		}
		if len(shards) == 0 || limit > 0 && size > room {
			shards, room = append(shards, nil), limit
		}
		last := len(shards) - 1
		shards[last] = append(shards[last], t)
		total, room = total+size, room-size
	}
	if len(shards) <= 1 {
		path := filepath.Join(dir, stem+".safetensors")
		return []string{path}, Write(path, metadata, tensors)
	}
	if len(shards) > maxShards {
		return nil, fmt.Errorf("safetensors: %s: %d files, more than %d", dir, len(shards), maxShards)
	}
	var written []string
	weights := map[string]string{}
	for i, shard := range shards {
		name := fmt.Sprintf("%s-%05d-of-%05d.safetensors", stem, i+1, len(shards))
		for _, t := range shard {
			if at, ok := weights[t.Name]; ok {
				return nil, fmt.Errorf("safetensors: %s: tensor name %q is taken in %s", dir, t.Name, at)
			}
			weights[t.Name] = name
		}
		path := filepath.Join(dir, name)
		if err := Write(path, metadata, shard); err != nil {
			return nil, err
		}
		written = append(written, path)
	}
	index := struct {
		Metadata struct {
			Total int `json:"total_size"`
		} `json:"metadata"`
		Weights map[string]string `json:"weight_map"`
	}{Weights: weights}
	index.Metadata.Total = total
	data, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, stem+IndexSuffix)
	return append(written, path), atomicfile.WriteFileAtomic(path, func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
}

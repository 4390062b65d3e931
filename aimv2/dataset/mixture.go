package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// Part is a member of a mixture.
type Part struct {
	Set    Set     // a Source or a *Shards
	Weight float64 // its share of the samples, relative to the other parts
}

// Mixture is several sets; each sample comes from one of them, drawn by weight.
type Mixture struct{ parts []Part }

// Mix returns a mixture.
//
// Errors: no parts; a part that is itself a mixture; a weight that is not positive.
func Mix(parts ...Part) (*Mixture, error) {
	if len(parts) == 0 {
		return nil, errors.New("dataset: a mixture of nothing")
	}
	for _, p := range parts {
		if _, mixed := p.Set.(*Mixture); mixed {
			return nil, errors.New("dataset: a mixture of mixtures")
		}
		if !(p.Weight > 0) || math.IsInf(p.Weight, 0) {
			return nil, fmt.Errorf("dataset: a weight of %g: it must be positive", p.Weight)
		}
	}
	return &Mixture{parts}, nil
}

// Parts returns the members; they must not be changed.
func (m *Mixture) Parts() []Part { return m.parts }

// Len returns the pictures of all parts, or -1 where one of them does not know.
func (m *Mixture) Len() int {
	n := 0
	for _, p := range m.parts {
		l := p.Set.Len()
		if l < 0 {
			return -1
		}
		n += l
	}
	return n
}

// Open opens what a path names:
//
//   - a directory of *.tar files, one .tar file or a pattern of them: OpenShards
//   - another directory: Folder
//   - a .jsonl file: JSONL
//   - a .json file: a mixture, a list of {"data": path, "weight": number} with
//     paths relative to the file
//
// Errors: those of the kind; a file of none of them.
func Open(path string, options ...Option) (Set, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		if tars, _ := filepath.Glob(filepath.Join(globQuote(path), "*.tar")); len(tars) > 0 {
			return OpenShards(path, options...)
		}
		return Folder(path, options...)
	case err != nil && strings.ContainsAny(path, "{*?["):
		return OpenShards(path, options...)
	case err != nil:
		return nil, fmt.Errorf("dataset: %w", err)
	}
	switch filepath.Ext(path) {
	case ".jsonl":
		return JSONL(path, options...)
	case ".json":
		return openMixture(path, options)
	case ".tar":
		return OpenShards(path, options...)
	}
	return nil, fmt.Errorf("dataset: %s: not a directory, .tar, .jsonl or .json file", path)
}

// openMixture reads the list of a mixture.
func openMixture(path string, options []Option) (Set, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	parts, err := parseMixture(data)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", path, err)
	}
	opened := make([]Part, len(parts))
	for i, p := range parts {
		name := filepath.FromSlash(p.Data)
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		if filepath.Ext(name) == ".json" { // which might name itself
			return nil, fmt.Errorf("dataset: %s: entry %d is a mixture", path, i+1)
		}
		set, err := Open(name, options...)
		if err != nil {
			return nil, err
		}
		opened[i] = Part{set, p.Weight}
	}
	mixed, err := Mix(opened...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return mixed, nil
}

// mixed is an entry in the list of a mixture.
type mixed struct {
	Data   string  `json:"data"`
	Weight float64 `json:"weight"`
}

func parseMixture(data []byte) ([]mixed, error) {
	var parts []mixed
	if err := json.Unmarshal(data, &parts); err != nil {
		return nil, fmt.Errorf(`not a list of {"data": path, "weight": number}: %w`, err)
	}
	for i, p := range parts {
		if p.Data == "" || !(p.Weight > 0) {
			return nil, fmt.Errorf(`entry %d needs "data" and a positive "weight"`, i+1)
		}
	}
	return parts, nil
}

// Sample returns up to n pictures of a set as a Source: of a Source evenly over
// it, of Shards the first, of a Mixture the same number of each part.
//
// Errors: those of Shards.First.
func Sample(set Set, n int) (Source, error) {
	switch set := set.(type) {
	case Source:
		s := &selection{}
		s.add(set, n)
		return s, nil
	case *Shards:
		return set.First(n)
	case *Mixture:
		s := &selection{}
		for i, p := range set.parts {
			share := n*(i+1)/len(set.parts) - n*i/len(set.parts)
			part, err := Sample(p.Set, share)
			if err != nil {
				return nil, err
			}
			s.add(part, share)
		}
		return s, nil
	}
	panic(fmt.Sprintf("dataset: %T is no Set that can be read", set))
}

// selection is chosen pictures of some sources.
type selection struct {
	sources []Source
	at      []int
}

// add takes up to n pictures of a source, evenly over it.
func (s *selection) add(src Source, n int) {
	n = min(n, src.Len())
	for i := range n {
		s.sources, s.at = append(s.sources, src), append(s.at, (2*i+1)*src.Len()/(2*n))
	}
}

func (s *selection) Len() int                         { return len(s.at) }
func (s *selection) Record(i int) Record              { return s.sources[i].Record(s.at[i]) }
func (s *selection) Encoded(i int) ([]byte, error)    { return s.sources[i].Encoded(s.at[i]) }
func (s *selection) Image(i int) (image.Image, error) { return s.sources[i].Image(s.at[i]) }

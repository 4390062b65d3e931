// Package emoji48 embeds the data set on which Fuerte trains out of the box:
// 9,829 emoji of 48x48 pixels in 7 drawing styles, each with its Unicode name.
//
// It is a package of its own so that only programs that import it carry its
// 8.6 MB. Licences and credits of the artwork are in NOTICE.md; the licence of
// the repository does not cover it.
//
// Pictures keep their alpha, and the colour under transparent pixels is black:
// composite them over a background, never drop the alpha.
package emoji48

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"slices"
	"sync"

	"fuerte/aimv2/dataset"
)

// Size is the width and the height of every picture, in pixels.
const Size = 48

// The splits. A concept is a sequence of code points; a family is a group of
// styles by one hand, so that near-twins never straddle train and test.
const (
	Train       = "train"        // 8,255 pictures
	ValStyle    = "val-style"    // 417: concept seen in train, this family's drawing not; for tuning
	TestStyle   = "test-style"   // 611: the same, for the final number
	TestConcept = "test-concept" // 546: concept never seen in train
)

// Splits lists every split.
var Splits = []string{Train, ValStyle, TestStyle, TestConcept}

// images is PNG files end to end; the index holds their offsets.
//
//go:embed images.bin
var images []byte

//go:embed index.jsonl.gz
var indexGZ []byte

// entry is one line of the index, as aimv2/cmd/mkdata writes it.
type entry struct {
	Caption    string   `json:"c"`
	Codepoints string   `json:"cp"`
	Family     string   `json:"f"` // absent in an index written before mkdata had it
	Group      string   `json:"g"`
	Keywords   []string `json:"k"`
	Length     int      `json:"n"`
	Offset     int      `json:"o"`
	Subgroup   string   `json:"s"`
	Split      string   `json:"sp"`
	Style      string   `json:"st"`
}

// readIndex parses the embedded index, once for the program.
var readIndex = sync.OnceValues(func() ([]entry, error) {
	gz, err := gzip.NewReader(bytes.NewReader(indexGZ))
	if err != nil {
		return nil, fmt.Errorf("emoji48: index: %w", err)
	}
	var entries []entry
	for dec := json.NewDecoder(gz); ; {
		var e entry
		if err := dec.Decode(&e); err == io.EOF {
			return entries, nil
		} else if err != nil {
			return nil, fmt.Errorf("emoji48: index, line %d: %w", len(entries)+1, err)
		}
		if e.Offset < 0 || e.Length < 0 || e.Offset+e.Length > len(images) {
			return nil, fmt.Errorf("emoji48: index, line %d: bytes %d+%d lie outside images.bin (%d bytes)",
				len(entries)+1, e.Offset, e.Length, len(images))
		}
		if e.Family == "" {
			e.Family = familyOf(e.Style)
		}
		entries = append(entries, e)
	}
})

// familyOf names the family of a style: itself, but for the two pairs of
// styles that one vendor drew.
func familyOf(style string) string {
	switch style {
	case "noto-v1":
		return "noto"
	case "fluent-flat":
		return "fluent"
	}
	return style
}

// Set is one split of the data set, or all of it. It implements
// dataset.Source and is safe for concurrent use.
type Set struct{ entries []entry }

var _ dataset.Source = (*Set)(nil)

// Open returns the pictures of the named splits, in the order of the index; with no
// name, all of them.
//
// Errors: an unknown split.
func Open(splits ...string) (*Set, error) {
	for _, s := range splits {
		if !slices.Contains(Splits, s) {
			return nil, fmt.Errorf("emoji48: no split %q; there are %q", s, Splits)
		}
	}
	all, err := readIndex()
	if err != nil {
		return nil, err
	}
	if len(splits) == 0 {
		return &Set{all}, nil
	}
	var chosen []entry
	for _, e := range all {
		if slices.Contains(splits, e.Split) {
			chosen = append(chosen, e)
		}
	}
	return &Set{chosen}, nil
}

// Len returns the number of pictures.
func (s *Set) Len() int { return len(s.entries) }

// Record describes picture i. Its Keywords are shared and must not be changed.
func (s *Set) Record(i int) dataset.Record {
	e := &s.entries[i]
	return dataset.Record{
		Name:       e.Style + "/" + e.Codepoints,
		Caption:    e.Caption,
		Keywords:   e.Keywords,
		Style:      e.Style,
		Family:     e.Family,
		Group:      e.Group,
		Subgroup:   e.Subgroup,
		Codepoints: e.Codepoints,
		Split:      e.Split,
	}
}

// Encoded returns picture i as a PNG file. The bytes are shared and must not
// be changed.
func (s *Set) Encoded(i int) ([]byte, error) {
	e := &s.entries[i]
	return images[e.Offset : e.Offset+e.Length : e.Offset+e.Length], nil
}

// Image decodes picture i: Size x Size, with alpha.
func (s *Set) Image(i int) (image.Image, error) {
	data, err := s.Encoded(i)
	if err != nil {
		return nil, err
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("emoji48: %s: %w", s.Record(i).Name, err)
	}
	return img, nil
}

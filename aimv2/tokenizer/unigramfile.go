package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// unigramModel is the model of a tokenizer.json that comes from a SentencePiece
// file.
type unigramModel struct {
	Type         string        `json:"type"`
	UnkID        *int          `json:"unk_id"`
	ByteFallback bool          `json:"byte_fallback"`
	Vocab        []scoredPiece `json:"vocab"`
}

// scoredPiece is written ["▁fox", -7.5].
type scoredPiece struct {
	text  string
	score float64
}

func (p scoredPiece) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // <pad> stays readable
	err := e.Encode([]any{p.text, p.score})
	return b.Bytes(), err
}

func (p *scoredPiece) UnmarshalJSON(data []byte) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	if len(raw) != 2 {
		return fmt.Errorf("%.60q is not a piece and its score", data)
	}
	return errors.Join(json.Unmarshal(raw[0], &p.text), json.Unmarshal(raw[1], &p.score))
}

// The normalizers of a unigram file, which this package implements in this order:
// those of SigLIP, the table, and those that take extra spaces away.
var (
	punctuation = component{Type: "Replace", Pattern: &pattern{Regex: "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]"}, Content: &nothing}
	oneSpace    = component{Type: "Replace", Pattern: &pattern{Regex: `\s+`}, Content: &oneBlank}
	manySpaces  = component{Type: "Replace", Pattern: &pattern{Regex: " {2,}"}, Content: &oneBlank}
	strip       = component{Type: "Strip", StripLeft: &yes, StripRight: &yes}
	siglipSteps = []component{{Type: "Lowercase"}, punctuation, oneSpace, strip}
)

// metaspace is the pre-tokenizer that writes ▁ for a space, and, if prefix, one
// before the text.
func metaspace(prefix bool) *component {
	scheme := "never"
	if prefix {
		scheme = "always"
	}
	return &component{Type: "Metaspace", Replacement: space, PrependScheme: scheme}
}

func (m *sentencePiece) writeUnigram(w io.Writer) error {
	unk := int(m.unknown)
	f := file[unigramModel]{
		Version:      "1.0",
		Normalizer:   &component{Type: "Sequence"},
		PreTokenizer: metaspace(m.prefix),
		PostProcessor: map[string]any{
			"type": "TemplateProcessing", "pair": []any{},
			"single":         []any{map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}}, map[string]any{"SpecialToken": map[string]any{"id": m.t.tokens[m.t.end], "type_id": 0}}},
			"special_tokens": map[string]any{m.t.tokens[m.t.end]: map[string]any{"id": m.t.tokens[m.t.end], "ids": []int32{m.t.end}, "tokens": []string{m.t.tokens[m.t.end]}}},
		},
		Decoder: map[string]any{"type": "Metaspace", "replacement": space, "prepend_scheme": "always"},
		Model:   unigramModel{Type: "Unigram", UnkID: &unk, ByteFallback: m.bytes != nil},
	}
	steps := &f.Normalizer.Normalizers
	if m.siglip {
		*steps = append(*steps, siglipSteps...)
	}
	if m.chars != nil {
		*steps = append(*steps, component{Type: "Precompiled", Charsmap: m.chars.blob})
	}
	if m.removeSpaces {
		*steps = append(*steps, manySpaces, strip)
	}
	for id, p := range m.pieces {
		f.Model.Vocab = append(f.Model.Vocab, scoredPiece{p.text, float64(p.score)})
		switch p.kind {
		case control, unknown, userDefined:
			f.AddedTokens = append(f.AddedTokens, addedToken{ID: id, Content: p.text, Special: p.kind != userDefined})
		case unused:
			return fmt.Errorf("piece %q is unused, which a tokenizer.json cannot say; keep the .model file", p.text)
		}
	}
	return f.write(w)
}

// parseUnigram reads a tokenizer.json of a unigram model. A text goes the way that
// it goes from the .model file, and so has the same ids. Hugging Face's own reading
// of the file differs for a few texts: it always looks for special tokens in them,
// asks the table for whole graphemes, and sums scores in float64, which breaks ties.
func parseUnigram(data []byte) (*Tokenizer, error) {
	var f file[unigramModel]
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("not a tokenizer.json: %w", err)
	}
	m := &sentencePiece{unkSurface: " \u2047 "}
	if err := m.readNormalizer(f.Normalizer); err != nil {
		return nil, err
	}
	if err := m.readPreTokenizer(f.PreTokenizer); err != nil {
		return nil, err
	}
	pieces := make([]piece, len(f.Model.Vocab))
	for i, p := range f.Model.Vocab {
		if math.Abs(p.score) > math.MaxFloat32 {
			return nil, fmt.Errorf("piece %q has the score %g", p.text, p.score)
		}
		pieces[i] = piece{p.text, float32(p.score), normal}
		if _, ok := byteOfPiece(p.text); ok && f.Model.ByteFallback {
			pieces[i].kind = byteOf
		}
	}
	for _, a := range f.AddedTokens {
		if a.ID < 0 || a.ID >= len(pieces) || pieces[a.ID].text != a.Content {
			return nil, fmt.Errorf("added token %q is not piece %d", a.Content, a.ID)
		}
		pieces[a.ID].kind = userDefined
		if a.Special {
			pieces[a.ID].kind = control
		}
	}
	if f.Model.UnkID == nil || *f.Model.UnkID < 0 || *f.Model.UnkID >= len(pieces) {
		return nil, errors.New("no piece is for unknown text")
	}
	pieces[*f.Model.UnkID].kind = unknown
	return m.assemblePieces(pieces, f.Model.ByteFallback, sentenceEnd, "<pad>")
}

// readNormalizer takes the steps that writeUnigram writes, and a table alone.
func (m *sentencePiece) readNormalizer(c *component) error {
	var steps []component
	if c != nil && c.Type == "Sequence" {
		steps = c.Normalizers
	} else if c != nil {
		steps = []component{*c}
	}
	take := func(want ...component) bool {
		if len(steps) < len(want) || !slices.EqualFunc(steps[:len(want)], want, func(a, b component) bool { return a.equal(&b) }) {
			return false
		}
		steps = steps[len(want):]
		return true
	}
	m.siglip = take(siglipSteps...)
	if len(steps) > 0 && steps[0].Type == "Precompiled" {
		var err error
		if m.chars, err = parseCharsmap(steps[0].Charsmap); err != nil {
			return err
		}
		steps = steps[1:]
	}
	m.removeSpaces = take(manySpaces, strip)
	if len(steps) > 0 {
		return fmt.Errorf("the normalizer has a step %q that is not known there", steps[0].Type)
	}
	return nil
}

// readPreTokenizer takes Metaspace, and T5's: WhitespaceSplit, then Metaspace.
func (m *sentencePiece) readPreTokenizer(c *component) error {
	if c != nil && c.Type == "Sequence" && len(c.PreTokenizers) == 2 && c.PreTokenizers[0].Type == "WhitespaceSplit" {
		m.removeSpaces = true
		c = &c.PreTokenizers[1]
	}
	if c == nil || c.Type != "Metaspace" || c.Replacement != space {
		return errors.New("the pre-tokenizer is not Metaspace with ▁")
	}
	switch c.PrependScheme {
	case "": // as older files say it
		m.prefix = isTrue(c.AddPrefixSpace)
	case "always", "never":
		m.prefix = c.PrependScheme == "always"
	default:
		return fmt.Errorf("Metaspace prepends %q, not always or never", c.PrependScheme)
	}
	return nil
}

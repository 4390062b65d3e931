package tokenizer

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"fuerte/nn/atomicfile"
)

// file is the part of Hugging Face's tokenizer.json that CLIP's uses.
type file struct {
	Version       string         `json:"version"`
	Truncation    any            `json:"truncation"`
	Padding       any            `json:"padding"`
	AddedTokens   []addedToken   `json:"added_tokens"`
	Normalizer    *component     `json:"normalizer"`
	PreTokenizer  *component     `json:"pre_tokenizer"`
	PostProcessor map[string]any `json:"post_processor"`
	Decoder       map[string]any `json:"decoder"`
	Model         model          `json:"model"`
}

type addedToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// component is a normalizer or pre-tokenizer; each kind uses some of the fields.
type component struct {
	Type           string      `json:"type"`
	Normalizers    []component `json:"normalizers,omitempty"`
	PreTokenizers  []component `json:"pretokenizers,omitempty"`
	Pattern        *pattern    `json:"pattern,omitempty"`
	Content        string      `json:"content,omitempty"`
	Behavior       string      `json:"behavior,omitempty"`
	Invert         *bool       `json:"invert,omitempty"`
	AddPrefixSpace *bool       `json:"add_prefix_space,omitempty"`
	TrimOffsets    *bool       `json:"trim_offsets,omitempty"`
}

type pattern struct {
	Regex string `json:"Regex"`
}

type model struct {
	Type                    string         `json:"type"`
	Dropout                 *float64       `json:"dropout"`
	UnkToken                string         `json:"unk_token"`
	ContinuingSubwordPrefix string         `json:"continuing_subword_prefix"`
	EndOfWordSuffix         string         `json:"end_of_word_suffix"`
	FuseUnk                 bool           `json:"fuse_unk"`
	Vocab                   map[string]int `json:"vocab"`
	Merges                  mergeLines     `json:"merges"`
}

// mergeLines is the merges in order, written "left right"; newer files have
// ["left", "right"] instead.
type mergeLines [][2]string

func (m mergeLines) MarshalJSON() ([]byte, error) {
	lines := make([]string, len(m))
	for i, pair := range m {
		lines[i] = pair[0] + " " + pair[1]
	}
	return json.Marshal(lines)
}

func (m *mergeLines) UnmarshalJSON(data []byte) error {
	var lines []string
	if json.Unmarshal(data, &lines) != nil {
		return json.Unmarshal(data, (*[][2]string)(m))
	}
	*m = make(mergeLines, len(lines))
	for i, line := range lines {
		left, right, ok := strings.Cut(line, " ")
		if !ok {
			return fmt.Errorf("merge %d, %q, is not two tokens", i, line)
		}
		(*m)[i] = [2]string{left, right}
	}
	return nil
}

// The normalizer and pre-tokenizer of CLIP, which this package implements.
var (
	yes, no = true, false

	clipNormalizer = component{Type: "Sequence", Normalizers: []component{
		{Type: "NFC"},
		{Type: "Replace", Pattern: &pattern{`\s+`}, Content: " "},
		{Type: "Lowercase"},
	}}
	clipPreTokenizer = component{Type: "Sequence", PreTokenizers: []component{
		{Type: "Split", Pattern: &pattern{wordPattern}, Behavior: "Removed", Invert: &yes},
		{Type: "ByteLevel", AddPrefixSpace: &no, TrimOffsets: &yes},
	}}
)

// Write writes the tokenizer as a tokenizer.json, which Hugging Face's
// libraries read. The same tokenizer gives the same bytes.
func (t *Tokenizer) Write(w io.Writer) error {
	f := file{
		Version:      "1.0",
		Normalizer:   &clipNormalizer,
		PreTokenizer: &clipPreTokenizer,
		Decoder:      map[string]any{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true},
		Model: model{
			Type:            "BPE",
			UnkToken:        EndToken,
			EndOfWordSuffix: wordEnd,
			Vocab:           make(map[string]int, len(t.tokens)),
			Merges:          t.mergeLines(),
		},
	}
	for id, token := range t.tokens {
		f.Model.Vocab[token] = id
		if t.special[int32(id)] {
			f.AddedTokens = append(f.AddedTokens, addedToken{ID: id, Content: token, Special: true})
		}
	}
	if bos, ok := t.BOS(); ok {
		f.PostProcessor = map[string]any{
			"type": "RobertaProcessing", "trim_offsets": false, "add_prefix_space": false,
			"cls": []any{StartToken, bos}, "sep": []any{EndToken, t.EOS()},
		}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // </w> stays readable
	e.SetIndent("", " ")
	return e.Encode(f)
}

// mergeLines returns the merges by rank.
func (t *Tokenizer) mergeLines() mergeLines {
	pairs := make([]pair, 0, len(t.merges))
	for p := range t.merges {
		pairs = append(pairs, p)
	}
	slices.SortFunc(pairs, func(a, b pair) int { return int(t.merges[a].rank - t.merges[b].rank) })
	lines := make(mergeLines, len(pairs))
	for i, p := range pairs {
		lines[i] = [2]string{t.tokens[p.left], t.tokens[p.right]}
	}
	return lines
}

// Save writes the tokenizer to a tokenizer.json, whole or not at all.
func (t *Tokenizer) Save(path string) error {
	if err := atomicfile.WriteFileAtomic(path, t.Write); err != nil {
		return fmt.Errorf("tokenizer: %s: %w", path, err)
	}
	return nil
}

// Load reads a tokenizer.json of CLIP's shape: one that Save wrote, or CLIP's.
//
// Errors: name the file and what in it is missing or of another shape.
func Load(path string) (*Tokenizer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", path, err)
	}
	return t, nil
}

// Parse reads the text of a tokenizer.json; see Load.
func Parse(data []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("not a tokenizer.json: %w", err)
	}
	if err := f.checkShape(); err != nil {
		return nil, err
	}
	var special []string
	for _, a := range f.AddedTokens {
		if id, ok := f.Model.Vocab[a.Content]; ok && id != a.ID {
			return nil, fmt.Errorf("token %q has two ids, %d and %d", a.Content, id, a.ID)
		}
		if !a.Special || a.Content == "" {
			return nil, fmt.Errorf("added token %q is not special; only special ones are known", a.Content)
		}
		f.Model.Vocab[a.Content] = a.ID
		special = append(special, a.Content)
	}
	tokens := make([]string, len(f.Model.Vocab))
	taken := make([]bool, len(tokens))
	for token, id := range f.Model.Vocab {
		if id < 0 || id >= len(tokens) {
			return nil, fmt.Errorf("token %q has id %d, but there are %d tokens", token, id, len(tokens))
		}
		if taken[id] {
			return nil, fmt.Errorf("tokens %q and %q share id %d", token, tokens[id], id)
		}
		tokens[id], taken[id] = token, true
		if !slices.Contains(special, token) && !inAlphabet(strings.TrimSuffix(token, wordEnd)) {
			return nil, fmt.Errorf("token %q is not written in the byte alphabet", token)
		}
	}
	return assemble(tokens, f.Model.Merges, special)
}

// checkShape refuses files of another kind of tokenizer: they would load, and
// give wrong ids.
func (f *file) checkShape() error {
	m := f.Model
	switch {
	case m.Type != "BPE":
		return fmt.Errorf("the model is %q, not BPE", m.Type)
	case m.EndOfWordSuffix != wordEnd:
		return fmt.Errorf("the end of a word is %q, not %q as in CLIP", m.EndOfWordSuffix, wordEnd)
	case m.ContinuingSubwordPrefix != "":
		return fmt.Errorf("words go on with %q; CLIP has no such prefix", m.ContinuingSubwordPrefix)
	case len(m.Vocab) == 0:
		return fmt.Errorf("there is no vocabulary")
	case !f.Normalizer.equal(&clipNormalizer):
		return fmt.Errorf("the normalizer is not CLIP's (NFC, white space, lower case)")
	case !f.PreTokenizer.equal(&clipPreTokenizer):
		return fmt.Errorf("the pre-tokenizer is not CLIP's (split %s, byte level)", wordPattern)
	}
	return nil
}

// equal compares what decides the ids: not the offsets, which are not kept here.
func (c *component) equal(d *component) bool {
	if c == nil || c.Type != d.Type || c.Content != d.Content || c.Behavior != d.Behavior ||
		(c.Pattern == nil) != (d.Pattern == nil) || c.Pattern != nil && *c.Pattern != *d.Pattern ||
		isTrue(c.Invert) != isTrue(d.Invert) || isTrue(c.AddPrefixSpace) != isTrue(d.AddPrefixSpace) {
		return false
	}
	same := func(a, b component) bool { return a.equal(&b) }
	return slices.EqualFunc(c.Normalizers, d.Normalizers, same) && slices.EqualFunc(c.PreTokenizers, d.PreTokenizers, same)
}

func isTrue(b *bool) bool { return b != nil && *b }

func inAlphabet(token string) bool {
	for _, r := range token {
		if _, ok := runeByte[r]; !ok {
			return false
		}
	}
	return true
}

package tokenizer

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// file is Hugging Face's tokenizer.json; M is the part that differs between
// algorithms.
type file[M any] struct {
	Version       string         `json:"version"`
	Truncation    any            `json:"truncation"`
	Padding       any            `json:"padding"`
	AddedTokens   []addedToken   `json:"added_tokens"`
	Normalizer    *component     `json:"normalizer"`
	PreTokenizer  *component     `json:"pre_tokenizer"`
	PostProcessor map[string]any `json:"post_processor"`
	Decoder       map[string]any `json:"decoder"`
	Model         M              `json:"model"`
}

// write writes the file, indented.
func (f *file[M]) write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // </w> stays readable
	e.SetIndent("", " ")
	return e.Encode(f)
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
	Content        *string     `json:"content,omitempty"`
	Behavior       string      `json:"behavior,omitempty"`
	Invert         *bool       `json:"invert,omitempty"`
	UseRegex       *bool       `json:"use_regex,omitempty"`
	AddPrefixSpace *bool       `json:"add_prefix_space,omitempty"`
	TrimOffsets    *bool       `json:"trim_offsets,omitempty"`
	StripLeft      *bool       `json:"strip_left,omitempty"`
	StripRight     *bool       `json:"strip_right,omitempty"`
	Charsmap       []byte      `json:"precompiled_charsmap,omitempty"`
	Replacement    string      `json:"replacement,omitempty"`
	PrependScheme  string      `json:"prepend_scheme,omitempty"`
}

type pattern struct {
	Regex string `json:"Regex"`
}

// bpeModel is the model of CLIP's file.
type bpeModel struct {
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
	yes, no           = true, false
	nothing, oneBlank = "", " "

	clipNormalizer = component{Type: "Sequence", Normalizers: []component{
		{Type: "NFC"},
		{Type: "Replace", Pattern: &pattern{`\s+`}, Content: &oneBlank},
		{Type: "Lowercase"},
	}}
)

// clipPreTokenizer splits by wordPattern or splitPattern.
func clipPreTokenizer(words string) *component {
	return &component{Type: "Sequence", PreTokenizers: []component{
		{Type: "Split", Pattern: &pattern{words}, Behavior: "Removed", Invert: &yes},
		{Type: "ByteLevel", AddPrefixSpace: &no, TrimOffsets: &yes},
	}}
}

func (m *byteBPE) write(w io.Writer) error {
	t := m.t
	pattern := wordPattern
	if m.splitSpecial {
		pattern = splitPattern
	}
	f := file[bpeModel]{
		Version:      "1.0",
		Normalizer:   &clipNormalizer,
		PreTokenizer: clipPreTokenizer(pattern),
		Decoder:      map[string]any{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true},
		Model: bpeModel{
			Type:            "BPE",
			UnkToken:        EndToken,
			EndOfWordSuffix: wordEnd,
			Vocab:           make(map[string]int, len(t.tokens)),
			Merges:          m.mergeLines(),
		},
	}
	for id, token := range t.tokens {
		f.Model.Vocab[token] = id
		if t.special[int32(id)] {
			later := slices.Contains(m.addedLater, normalize(token))
			f.AddedTokens = append(f.AddedTokens, addedToken{ID: id, Content: token, Normalized: later, Special: true})
		}
	}
	if bos, ok := t.BOS(); ok {
		f.PostProcessor = map[string]any{
			"type": "RobertaProcessing", "trim_offsets": false, "add_prefix_space": false,
			"cls": []any{StartToken, bos}, "sep": []any{EndToken, t.EOS()},
		}
	}
	return f.write(w)
}

// mergeLines returns the merges by rank.
func (m *byteBPE) mergeLines() mergeLines {
	pairs := make([]pair, 0, len(m.merges))
	for p := range m.merges {
		pairs = append(pairs, p)
	}
	slices.SortFunc(pairs, func(a, b pair) int { return int(m.merges[a].rank - m.merges[b].rank) })
	lines := make(mergeLines, len(pairs))
	for i, p := range pairs {
		lines[i] = [2]string{m.t.tokens[p.left], m.t.tokens[p.right]}
	}
	return lines
}

// parseBPE reads the tokenizer.json of CLIP's kind.
func parseBPE(data []byte) (*Tokenizer, error) {
	var f file[bpeModel]
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("not a tokenizer.json: %w", err)
	}
	if err := checkCLIP(&f); err != nil {
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
		if a.SingleWord {
			return nil, fmt.Errorf("added token %q asks to stand alone; CLIP's do not", a.Content)
		}
		f.Model.Vocab[a.Content] = a.ID
		special = append(special, a.Content)
	}
	tokens, err := byID(f.Model.Vocab)
	if err != nil {
		return nil, err
	}
	for _, token := range tokens {
		if !slices.Contains(special, token) && !inAlphabet(strings.TrimSuffix(token, wordEnd)) {
			return nil, fmt.Errorf("token %q is not written in the byte alphabet", token)
		}
	}
	t, err := assemble(tokens, f.Model.Merges, special)
	if err != nil {
		return nil, err
	}
	m := t.model.(*byteBPE)
	m.splitSpecial = *f.PreTokenizer.PreTokenizers[0].Pattern == pattern{splitPattern}
	for _, a := range f.AddedTokens {
		if a.Normalized { // such a one is looked for after the text, and it, are normalised
			m.added = slices.DeleteFunc(m.added, func(s string) bool { return s == a.Content })
			m.addedLater = append(m.addedLater, normalize(a.Content))
		}
	}
	longestFirst(m.addedLater)
	return t, nil
}

// byID lists the tokens of a vocabulary by their ids, which are 0, 1, 2 …
func byID(vocab map[string]int) ([]string, error) {
	tokens := make([]string, len(vocab))
	taken := make([]bool, len(tokens))
	for token, id := range vocab {
		if id < 0 || id >= len(tokens) {
			return nil, fmt.Errorf("token %q has id %d, but there are %d tokens", token, id, len(tokens))
		}
		if taken[id] {
			return nil, fmt.Errorf("tokens %q and %q share id %d", token, tokens[id], id)
		}
		tokens[id], taken[id] = token, true
	}
	return tokens, nil
}

// checkCLIP refuses files of another kind of tokenizer: they would load, and
// give wrong ids.
func checkCLIP(f *file[bpeModel]) error {
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
	case !f.PreTokenizer.equal(clipPreTokenizer(wordPattern)) && !f.PreTokenizer.equal(clipPreTokenizer(splitPattern)):
		return fmt.Errorf("the pre-tokenizer is not CLIP's (split %s, byte level)", wordPattern)
	}
	return nil
}

// equal compares what decides the ids: not the offsets, which are not kept here.
func (c *component) equal(d *component) bool {
	if c == nil || c.Type != d.Type || deref(c.Content) != deref(d.Content) || c.Behavior != d.Behavior ||
		(c.Pattern == nil) != (d.Pattern == nil) || c.Pattern != nil && *c.Pattern != *d.Pattern ||
		isTrue(c.Invert) != isTrue(d.Invert) || isTrue(c.AddPrefixSpace) != isTrue(d.AddPrefixSpace) ||
		isTrue(c.StripLeft) != isTrue(d.StripLeft) || isTrue(c.StripRight) != isTrue(d.StripRight) ||
		c.UseRegex != nil && !*c.UseRegex { // GPT-2's split, which words does too
		return false
	}
	same := func(a, b component) bool { return a.equal(&b) }
	return slices.EqualFunc(c.Normalizers, d.Normalizers, same) && slices.EqualFunc(c.PreTokenizers, d.PreTokenizers, same)
}

func isTrue(b *bool) bool { return b != nil && *b }

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func inAlphabet(token string) bool {
	for _, r := range token {
		if _, ok := runeByte[r]; !ok {
			return false
		}
	}
	return true
}

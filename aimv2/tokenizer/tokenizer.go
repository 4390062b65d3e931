// Package tokenizer turns captions into ids and back. One Tokenizer type reads
// every kind of vocabulary that AIMv2 is used with:
//
//   - CLIP's byte-level BPE, for the LiT text tower: tokenizer.json, or vocab.json
//     with merges.txt
//   - SentencePiece, unigram or BPE, for SigLIP's vocabulary, which AIMv2 was
//     pre-trained with: spiece.model, or a tokenizer.json
//   - what Train learns from captions, in the shape of CLIP's
//
// The ids are those of Hugging Face's tokenizers, of sentencepiece and of
// transformers' SiglipTokenizer; testdata holds them for odd texts.
//
// It is written by hand, as no Go library seen would do. sugarme/tokenizer
// v0.3.0 leaves out CLIP's </w> (its issue 65) and reads no .model file;
// eliben/go-sentencepiece v0.6.0, which gomlx/go-huggingface v0.3.1 uses,
// refuses unigram models and every one with a dummy prefix, SigLIP's is both;
// daulet/tokenizers needs cgo and a Rust library; tiktoken-go encodes OpenAI's
// chat vocabularies.
package tokenizer

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"fuerte/nn/atomicfile"
)

// A Tokenizer is immutable and safe for concurrent use.
type Tokenizer struct {
	tokens  []string         // by id, as the file spells them
	ids     map[string]int32 // the reverse
	special map[int32]bool   // ids that Decode leaves out
	start   int32            // id that begins a sequence, or −1
	end     int32
	pad     int32
	model   model
}

// model is one of the algorithms behind a Tokenizer.
type model interface {
	// encode returns the ids of a text, which is valid UTF-8.
	encode(text string) []int32

	// decode returns the text of ids that are in the vocabulary and not special.
	decode(ids []int32) string

	// write writes a tokenizer.json.
	write(w io.Writer) error
}

// newTokenizer gives ids to the tokens.
//
// Errors: a token with two ids.
func newTokenizer(tokens []string) (*Tokenizer, error) {
	t := &Tokenizer{tokens: tokens, ids: make(map[string]int32, len(tokens)), special: map[int32]bool{}, start: -1}
	for id, token := range tokens {
		if other, ok := t.ids[token]; ok {
			return nil, fmt.Errorf("token %q has two ids, %d and %d", token, other, id)
		}
		t.ids[token] = int32(id)
	}
	return t, nil
}

// Vocab returns the number of ids; they are 0 to Vocab()-1.
func (t *Tokenizer) Vocab() int { return len(t.tokens) }

// EOS returns the id that ends a text.
func (t *Tokenizer) EOS() int32 { return t.end }

// PAD returns the id that fills up a batch, which is EOS in CLIP's vocabulary
// and SigLIP's.
func (t *Tokenizer) PAD() int32 { return t.pad }

// BOS returns the id that starts a text, where texts of this vocabulary start
// with one: CLIP's do, SigLIP's do not.
func (t *Tokenizer) BOS() (id int32, ok bool) { return t.start, t.start >= 0 }

// Token returns the token of an id as its file spells it: "fox</w>", "▁fox".
//
// Panics: if the id is not in the vocabulary.
func (t *Tokenizer) Token(id int32) string { return t.tokens[id] }

// Encode returns the ids of a text, without BOS and EOS. Invalid UTF-8 counts
// as U+FFFD. A text that spells a special token gets its id, where the public
// tokenizer does so: in CLIP's and SigLIP's, not in plain SentencePiece.
func (t *Tokenizer) Encode(text string) []int32 {
	return t.model.encode(strings.ToValidUTF8(text, string(utf8.RuneError)))
}

// Sequence returns exactly length ids, as a text tower takes them: BOS where
// there is one, the text, EOS, then PAD. A text that is too long is cut, so that
// EOS still is the last id.
//
// Panics: if there is no room for BOS and EOS.
func (t *Tokenizer) Sequence(text string, length int) []int32 {
	out := make([]int32, 0, length+1)
	if t.start >= 0 {
		out = append(out, t.start)
	}
	room := length - len(out) - 1
	if room < 0 {
		panic(fmt.Sprintf("tokenizer: a sequence of %d ids has no room for the special ones", length))
	}
	ids := t.Encode(text)
	out = append(append(out, ids[:min(len(ids), room)]...), t.end)
	for len(out) < length {
		out = append(out, t.pad)
	}
	return out
}

// Decode returns the text of ids: special tokens are left out, and invalid
// UTF-8 becomes U+FFFD. Ids outside the vocabulary are left out too; a model
// may have more rows than tokens.
//
// CLIP's words carry no trace of the space between them, so Decode puts it
// where English does (see spaced): "heart-eyes", "u.s. virgin islands". For
// every caption of emoji48, Decode(Encode(x)) is x in lower case.
func (t *Tokenizer) Decode(ids []int32) string {
	kept := make([]int32, 0, len(ids))
	for _, id := range ids {
		if id >= 0 && int(id) < len(t.tokens) && !t.special[id] {
			kept = append(kept, id)
		}
	}
	return strings.ToValidUTF8(t.model.decode(kept), string(utf8.RuneError))
}

// Write writes the tokenizer as a tokenizer.json, which Hugging Face's
// libraries read. The same tokenizer gives the same bytes.
//
// Errors: those of w; a SentencePiece model of pairs, which has no such form.
func (t *Tokenizer) Write(w io.Writer) error { return t.model.write(w) }

// Save writes the tokenizer to a tokenizer.json, whole or not at all.
func (t *Tokenizer) Save(path string) error {
	if err := atomicfile.WriteFileAtomic(path, t.Write); err != nil {
		return fmt.Errorf("tokenizer: %s: %w", path, err)
	}
	return nil
}

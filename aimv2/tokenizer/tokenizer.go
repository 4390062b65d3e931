// Package tokenizer turns captions into ids and back: byte-level BPE in the
// shape of CLIP's tokenizer, so that it reads CLIP's own tokenizer.json and
// other libraries read what is trained here.
//
//	text → NFC, white space to " ", lower case
//	     → words: 's 't 're 've 'm 'll 'd, letters, one digit, other signs
//	     → bytes of the word, the last one marked </w>
//	     → merges, lowest rank first
//
// Every text has ids: what is unknown falls apart into bytes.
//
// It is written by hand, as no Go library seen would do. sugarme/tokenizer
// v0.3.0 trains and encodes, but leaves out </w> (its issue 65), and so cannot
// read CLIP's file; daulet/tokenizers needs cgo and a Rust library; tiktoken-go
// encodes OpenAI's chat vocabularies and does not train.
package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The special tokens. A text that spells one gets its id.
const (
	StartToken = "<|startoftext|>"
	EndToken   = "<|endoftext|>"
	PadToken   = "<|pad|>"
)

// DefaultVocab is the vocabulary that suits the 1,900 captions of emoji48: 5
// tokens for a name on average, at most 17.
const DefaultVocab = 1024

// wordEnd marks a token that ends a word.
const wordEnd = "</w>"

// A Tokenizer is immutable and safe for concurrent use.
type Tokenizer struct {
	tokens  []string         // by id, in the byte alphabet
	ids     map[string]int32 // the reverse
	merges  map[pair]merge   // by the two tokens that become one
	bytes   [2][256]int32    // id of each byte inside a word, and at its end
	special map[int32]bool   // ids that Decode leaves out
	added   []string         // the special tokens, longest first
}

// pair is two neighbouring tokens.
type pair struct{ left, right int32 }

// merge makes one token of a pair; the lowest rank goes first.
type merge struct{ rank, token int32 }

// byteRune and runeByte are GPT-2's byte alphabet: each byte as one printable
// rune, so that tokens can be written in a JSON file. Printable Latin-1 bytes
// stand for themselves, the others for the runes from 256 on.
var byteRune, runeByte = func() (forth [256]rune, back map[rune]byte) {
	back = map[rune]byte{}
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if !(b >= '!' && b <= '~' || b >= '¡' && b <= '¬' || b >= '®' && b <= 'ÿ') {
			r = next
			next++
		}
		forth[b], back[r] = r, byte(b)
	}
	return forth, back
}()

// alphabet lists the 256 byte runes in CLIP's order: those that stand for
// themselves first.
func alphabet() []string {
	runes := byteRune[:]
	sorted := slices.Sorted(slices.Values(runes))
	out := make([]string, len(sorted))
	for i, r := range sorted {
		out[i] = string(r)
	}
	return out
}

// assemble builds a Tokenizer from its tokens by id, its merges in order and
// its special tokens.
//
// Errors: a byte without a token, a merge of or into an unknown token.
func assemble(tokens []string, merges [][2]string, special []string) (*Tokenizer, error) {
	t := &Tokenizer{
		tokens:  tokens,
		ids:     make(map[string]int32, len(tokens)),
		merges:  make(map[pair]merge, len(merges)),
		special: map[int32]bool{},
	}
	for id, token := range tokens {
		if other, ok := t.ids[token]; ok {
			return nil, fmt.Errorf("token %q has two ids, %d and %d", token, other, id)
		}
		t.ids[token] = int32(id)
	}
	for b, r := range byteRune {
		for end, suffix := range []string{"", wordEnd} {
			id, ok := t.ids[string(r)+suffix]
			if !ok {
				return nil, fmt.Errorf("no token %q for byte %#02x", string(r)+suffix, b)
			}
			t.bytes[end][b] = id
		}
	}
	for rank, m := range merges {
		left, okLeft := t.ids[m[0]]
		right, okRight := t.ids[m[1]]
		token, ok := t.ids[m[0]+m[1]]
		if !ok || !okLeft || !okRight {
			return nil, fmt.Errorf("merge %d of %q and %q uses a token that the vocabulary lacks", rank, m[0], m[1])
		}
		if _, ok := t.merges[pair{left, right}]; !ok { // a repeated line is never reached
			t.merges[pair{left, right}] = merge{int32(rank), token}
		}
	}
	for _, s := range special {
		id, ok := t.ids[s]
		if !ok {
			return nil, fmt.Errorf("special token %q is not in the vocabulary", s)
		}
		t.special[id] = true
		t.added = append(t.added, s)
	}
	if _, ok := t.ids[EndToken]; !ok {
		return nil, fmt.Errorf("no token %q", EndToken)
	}
	slices.SortFunc(t.added, func(a, b string) int { return len(b) - len(a) })
	return t, nil
}

// Vocab returns the number of ids; they are 0 to Vocab()-1.
func (t *Tokenizer) Vocab() int { return len(t.tokens) }

// EOS returns the id that ends a text.
func (t *Tokenizer) EOS() int32 { return t.ids[EndToken] }

// PAD returns the id that fills up a batch: <|pad|>, or EOS in a vocabulary
// without it, such as CLIP's.
func (t *Tokenizer) PAD() int32 {
	if id, ok := t.ids[PadToken]; ok {
		return id
	}
	return t.EOS()
}

// BOS returns the id that starts a text, where the vocabulary has one.
func (t *Tokenizer) BOS() (id int32, ok bool) {
	id, ok = t.ids[StartToken]
	return id, ok
}

// Token returns the token of an id as a file spells it: "fox</w>".
func (t *Tokenizer) Token(id int32) string { return t.tokens[id] }

// Encode returns the ids of a text, without BOS and EOS. Invalid UTF-8 counts
// as U+FFFD. Equal to what Hugging Face's tokenizers give for the saved file.
func (t *Tokenizer) Encode(text string) []int32 {
	ids := []int32{}
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	for text != "" {
		plain, special := t.cutSpecial(text)
		text = text[len(plain)+len(special):]
		for word := range words(normalize(plain)) {
			ids = t.appendWord(ids, word)
		}
		if special != "" {
			ids = append(ids, t.ids[special])
		}
	}
	return ids
}

// cutSpecial returns the text before the first special token, and that token.
func (t *Tokenizer) cutSpecial(text string) (plain, special string) {
	plain = text
	for _, s := range t.added {
		if i := strings.Index(text, s); i >= 0 && i < len(plain) {
			plain, special = text[:i], s
		}
	}
	return plain, special
}

// appendWord appends the ids of one word.
func (t *Tokenizer) appendWord(ids []int32, word string) []int32 {
	symbols := make([]int32, len(word))
	for i := range len(word) {
		end := 0
		if i == len(word)-1 {
			end = 1
		}
		symbols[i] = t.bytes[end][word[i]]
	}
	return append(ids, t.mergeWord(symbols)...)
}

// Decode returns the text of ids: special tokens are left out, and invalid
// UTF-8 becomes U+FFFD. Ids outside the vocabulary are left out too; a model
// may have more rows than tokens.
//
// CLIP's words carry no trace of the space between them, so Decode puts it
// where English does (see spaced): "heart-eyes", "u.s. virgin islands". For
// every caption of emoji48, Decode(Encode(x)) is x in lower case.
func (t *Tokenizer) Decode(ids []int32) string {
	var words []string
	var word []byte
	for _, id := range ids {
		if id < 0 || int(id) >= len(t.tokens) || t.special[id] {
			continue
		}
		token, ends := strings.CutSuffix(t.tokens[id], wordEnd)
		for _, r := range token {
			word = append(word, runeByte[r])
		}
		if ends {
			words, word = append(words, string(word)), word[:0]
		}
	}
	if len(word) > 0 {
		words = append(words, string(word))
	}
	return strings.ToValidUTF8(spaced(words), string(utf8.RuneError))
}

// normalize is NFC, then every run of white space to one space, then lower
// case, as the file's normalizer says.
func normalize(text string) string {
	return lower(strings.Join(strings.FieldsFunc(norm.NFC.String(text), isSpace), " "))
}

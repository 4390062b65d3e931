package tokenizer

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// The special tokens. A text that spells one gets its id.
const (
	StartToken = "<|startoftext|>"
	EndToken   = "<|endoftext|>"
	PadToken   = "<|pad|>"
)

// wordEnd marks a token that ends a word.
const wordEnd = "</w>"

// byteBPE is CLIP's algorithm:
//
//	text → special tokens
//	     → NFC, white space to " ", lower case
//	     → words: 's 't 're 've 'm 'll 'd, letters, one digit, other signs
//	     → bytes of the word, the last one marked </w>
//	     → merges, lowest rank first
//
// Every text has ids: what is unknown falls apart into bytes.
type byteBPE struct {
	t            *Tokenizer
	merges       map[pair]merge // by the two tokens that become one
	bytes        [2][256]int32  // id of each byte inside a word, and at its end
	added        []string       // special tokens in the text as it comes, longest first
	addedLater   []string       // and in the normalised text
	splitSpecial bool           // words are those of splitPattern
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
	t, err := newTokenizer(tokens)
	if err != nil {
		return nil, err
	}
	m := &byteBPE{t: t, merges: make(map[pair]merge, len(merges))}
	t.model = m
	for b, r := range byteRune {
		for end, suffix := range []string{"", wordEnd} {
			id, ok := t.ids[string(r)+suffix]
			if !ok {
				return nil, fmt.Errorf("no token %q for byte %#02x", string(r)+suffix, b)
			}
			m.bytes[end][b] = id
		}
	}
	for rank, tokens := range merges {
		left, okLeft := t.ids[tokens[0]]
		right, okRight := t.ids[tokens[1]]
		token, ok := t.ids[tokens[0]+tokens[1]]
		if !ok || !okLeft || !okRight {
			return nil, fmt.Errorf("merge %d of %q and %q uses a token that the vocabulary lacks", rank, tokens[0], tokens[1])
		}
		if _, ok := m.merges[pair{left, right}]; !ok { // a repeated line is never reached
			m.merges[pair{left, right}] = merge{int32(rank), token}
		}
	}
	for _, s := range special {
		id, ok := t.ids[s]
		if !ok {
			return nil, fmt.Errorf("special token %q is not in the vocabulary", s)
		}
		t.special[id] = true
		m.added = append(m.added, s)
	}
	end, ok := t.ids[EndToken]
	if !ok {
		return nil, fmt.Errorf("no token %q", EndToken)
	}
	t.end, t.pad = end, end
	if id, ok := t.ids[PadToken]; ok {
		t.pad = id
	}
	if id, ok := t.ids[StartToken]; ok {
		t.start = id
	}
	longestFirst(m.added)
	return t, nil
}

func longestFirst(tokens []string) {
	slices.SortFunc(tokens, func(a, b string) int { return len(b) - len(a) })
}

func (m *byteBPE) encode(text string) []int32 {
	ids := []int32{}
	for plain, special := range cut(text, m.added) {
		for plain, special := range cut(normalize(plain), m.addedLater) {
			for word := range words(plain, m.splitSpecial) {
				ids = m.appendWord(ids, word)
			}
			if special != "" {
				ids = append(ids, m.t.ids[special])
			}
		}
		if special != "" {
			ids = append(ids, m.t.ids[special])
		}
	}
	return ids
}

// cut yields the parts of a text between tokens, which are sorted longest first,
// each with the token after it, or "" at the end.
func cut(text string, tokens []string) func(yield func(plain, token string) bool) {
	return func(yield func(plain, token string) bool) {
		for text != "" {
			plain, token := text, ""
			for _, s := range tokens {
				if i := strings.Index(text, s); i >= 0 && i < len(plain) {
					plain, token = text[:i], s
				}
			}
			text = text[len(plain)+len(token):]
			if !yield(plain, token) {
				return
			}
		}
	}
}

// appendWord appends the ids of one word.
func (m *byteBPE) appendWord(ids []int32, word string) []int32 {
	symbols := make([]int32, len(word))
	for i := range len(word) {
		end := 0
		if i == len(word)-1 {
			end = 1
		}
		symbols[i] = m.bytes[end][word[i]]
	}
	symbols = mergeSymbols(symbols, func(left, right int32) (merge, bool) {
		found, ok := m.merges[pair{left, right}]
		return found, ok
	})
	return append(ids, symbols...)
}

func (m *byteBPE) decode(ids []int32) string {
	var words []string
	var word []byte
	for _, id := range ids {
		token, ends := strings.CutSuffix(m.t.tokens[id], wordEnd)
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
	return spaced(words)
}

// normalize is NFC, then every run of white space to one space, then lower
// case, as the file's normalizer says.
func normalize(text string) string {
	return lower(strings.Join(strings.FieldsFunc(norm.NFC.String(text), isSpace), " "))
}

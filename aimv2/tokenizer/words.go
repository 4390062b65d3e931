package tokenizer

import (
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// wordPattern is what words implements, as tokenizer.json spells it; splitPattern
// that of transformers since version 5, which sees a special token as a word of
// its own. That matters where only lower case makes one: "<|ENDOFTEXT|>".
const (
	wordPattern  = `'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`
	splitPattern = `<\|startoftext\|>|<\|endoftext\|>|` + wordPattern
)

var contractions = []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}

// words splits a text by wordPattern, or splitPattern; what does not match, white
// space, is left out. A scanner, because Go's regexp takes many times as long.
func words(text string, splitSpecial bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		for text != "" {
			r, size := utf8.DecodeRuneInString(text)
			n := 0
			switch {
			case isSpace(r):
				text = text[size:]
				continue
			case splitSpecial && (strings.HasPrefix(text, StartToken) || strings.HasPrefix(text, EndToken)):
				// The pre-tokenizer that turns bytes to runes splits once more, as
				// GPT-2 does: <| startoftext |>.
				end := strings.Index(text, "|>")
				if !yield(text[:2]) || !yield(text[2:end]) {
					return
				}
				text, n = text[end:], 2
			case contraction(text) > 0:
				n = contraction(text)
			case unicode.IsLetter(r):
				n = span(text, unicode.IsLetter)
			case unicode.IsNumber(r):
				n = size
			default:
				n = span(text, isSign)
			}
			if !yield(text[:n]) {
				return
			}
			text = text[n:]
		}
	}
}

func isSpace(r rune) bool { return unicode.IsSpace(r) }

func isSign(r rune) bool { return !isSpace(r) && !unicode.IsLetter(r) && !unicode.IsNumber(r) }

// contraction returns the length of the contraction at the start of a text.
func contraction(text string) int {
	if text[0] == '\'' {
		for _, c := range contractions {
			if strings.HasPrefix(text, c) {
				return len(c)
			}
		}
	}
	return 0
}

// span returns the length of the longest start of a text whose runes are all in.
func span(text string, in func(rune) bool) int {
	if i := strings.IndexFunc(text, func(r rune) bool { return !in(r) }); i >= 0 {
		return i
	}
	return len(text)
}

// lower is rune by rune, as the tokenizers library in Rust does it: unlike
// Unicode's rule for whole words it has no final sigma. İ alone becomes two
// runes, which Go's simple mapping does not do.
func lower(text string) string {
	return strings.ReplaceAll(strings.Map(func(r rune) rune {
		if r == 'İ' {
			return r
		}
		return unicode.ToLower(r)
	}, text), "İ", "i\u0307")
}

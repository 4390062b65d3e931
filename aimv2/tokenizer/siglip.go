package tokenizer

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// unknownToken and sentenceEnd are special to SigLIP: a text that spells one has
// its id.
const (
	unknownToken = "<unk>"
	sentenceEnd  = "</s>"
)

// canonicalize is lower case, without ASCII punctuation, runs of white space as
// one space, none at the ends.
//
// Source: transformers, SiglipTokenizer; big_vision, prompt_engineering.py.
func canonicalize(text string) string {
	text = cases.Lower(language.Und).String(text) // with the final sigma, as Python's lower
	text = strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsPunct(r) || unicode.IsSymbol(r)) {
			return -1
		}
		return r
	}, text)
	return strings.Join(strings.FieldsFunc(text, isPythonSpace), " ")
}

// isPythonSpace is Python's str.isspace, which has four control characters more
// than Unicode's White_Space.
func isPythonSpace(r rune) bool { return isSpace(r) || r >= 0x1c && r <= 0x1f }

// encodeSigLIP is SiglipTokenizer: the text with ▁ before it, cut at special
// tokens, each part canonicalised. A part is encoded behind "<unk>", whose pieces
// are then dropped, so that SentencePiece leaves the space before it alone.
func (m *sentencePiece) encodeSigLIP(text string) []int32 {
	var all []textPiece
	ahead := len(m.spans(unknownToken))
	for plain, special := range cut(space+strings.ReplaceAll(text, space, " "), []string{unknownToken, sentenceEnd}) {
		if plain != "" {
			spans := m.spans(unknownToken + canonicalize(plain))
			all = append(all, spans[min(ahead, len(spans)):]...)
		}
		switch special {
		case unknownToken:
			all = append(all, textPiece{special, m.unknown})
		case sentenceEnd:
			all = append(all, textPiece{special, m.t.end})
		}
	}
	if len(all) > 1 && all[0].text == space && (all[1].text == unknownToken || all[1].text == sentenceEnd) {
		all = all[1:]
	}
	ids := make([]int32, len(all))
	for i, s := range all {
		ids[i] = s.id
	}
	return ids
}

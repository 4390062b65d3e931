package metric

import (
	"strings"
	"unicode"
)

// endings are parts of English contractions that the Penn Treebank has as words
// of their own.
var endings = []string{"n't", "'s", "'re", "'ve", "'ll", "'d", "'m"}

// Words cuts a caption for CIDEr and for the F1 of words, close to what the
// COCO evaluation does with Stanford's PTBTokenizer:
//
//   - lower case;
//   - letters and digits hold together, also across - ' . , between two of them:
//     "heart-eyes", "o'clock", "u.s", "1,000.5";
//   - contractions fall apart: "don't" → "do n't", "fox's" → "fox 's";
//   - the signs that the COCO evaluation drops, drop: . , : ; ? ! - -- ... ' " `
//     and all brackets, in every script's form;
//   - every other sign is a word: "&", "%", "#".
//
// It is no copy of PTBTokenizer, which is 3,000 lines of lexer for newspapers:
// abbreviations lose their last dot ("u.s." → "u.s") and what it spells otherwise
// stays ("cannot", "½").
func Words(text string) []string {
	runes := []rune(strings.ToLower(strings.ReplaceAll(text, "’", "'")))
	var out []string
	for i := 0; i < len(runes); {
		switch c := runes[i]; {
		case inWord(c):
			end := i + 1
			for end < len(runes) && (inWord(runes[end]) || joins(runes[end]) && end+1 < len(runes) && inWord(runes[end+1])) {
				end++
			}
			out = append(out, contraction(string(runes[i:end]))...)
			i = end
		default:
			if !unicode.IsSpace(c) && !unicode.IsControl(c) && !dropped(c) {
				out = append(out, string(c))
			}
			i++
		}
	}
	return out
}

func inWord(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) || unicode.IsMark(c) }

func joins(c rune) bool { return strings.ContainsRune("-'.,", c) }

func dropped(c rune) bool {
	return strings.ContainsRune(".,:;?!'\"`…", c) || unicode.In(c, unicode.Pd, unicode.Ps, unicode.Pe, unicode.Pi, unicode.Pf)
}

// contraction parts a word from its ending, if it has one.
func contraction(word string) []string {
	for _, end := range endings {
		if stem, ok := strings.CutSuffix(word, end); ok && stem != "" {
			return []string{stem, end}
		}
	}
	return []string{word}
}

// WordF1 is the harmonic mean of precision and recall of the words of got, each
// word of want counting once: 2·hits/(len(got) + len(want)), and 0 of nothing.
func WordF1(got, want []string) float64 {
	left := map[string]int{}
	for _, word := range want {
		left[word]++
	}
	hits := 0
	for _, word := range got {
		if left[word] > 0 {
			left[word]--
			hits++
		}
	}
	return 2 * float64(hits) / float64(max(1, len(got)+len(want)))
}

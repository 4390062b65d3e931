package tokenizer

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Signs that stand without a space on one side, or on both.
const (
	tightBefore = ",.:;!?)]}”%’'-/_"
	tightAfter  = "([{“’'-/_#$@"
)

// spaced joins words with the spaces that English writes:
//
//   - none before , . : ) ” and their like, none after ( “ and theirs
//   - none around - and ’: "heart-eyes", "o’clock"
//   - none inside a number, nor before its ending: "10", "3.5", "1st"
//   - none in an abbreviation of single letters: "u.s."
//
// A dash with spaces ("congo - kinshasa") has the same ids as one without, and
// comes back without.
func spaced(words []string) string {
	var out strings.Builder
	for i, word := range words {
		if i > 0 && !tight(words[:i], word) {
			out.WriteByte(' ')
		}
		out.WriteString(word)
	}
	return out.String()
}

// tight reports whether a word follows those before it without a space.
func tight(before []string, word string) bool {
	last := before[len(before)-1]
	first, _ := utf8.DecodeRuneInString(word)
	final, _ := utf8.DecodeLastRuneInString(last)
	if strings.ContainsRune(tightBefore, first) || strings.ContainsRune(tightAfter, final) {
		return true
	}
	if isDigit(last) && (isDigit(word) || slices.Contains([]string{"st", "nd", "rd", "th"}, word)) {
		return true
	}
	if len(before) < 2 {
		return false
	}
	first2 := before[len(before)-2]
	switch last {
	case ".":
		return isDigit(first2) && isDigit(word) || isOneLetter(first2) && isOneLetter(word)
	case ",", ":":
		return isDigit(first2) && isDigit(word)
	}
	return false
}

func isDigit(word string) bool { return len(word) == 1 && '0' <= word[0] && word[0] <= '9' }

func isOneLetter(word string) bool {
	r, size := utf8.DecodeRuneInString(word)
	return size == len(word) && unicode.IsLetter(r)
}

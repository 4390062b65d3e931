package preprocess

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// mirrorWords are the words of a caption that a mirror image would make wrong:
// directions, and things that are told apart by their sides.
var mirrorWords = []string{
	"left", "leftward", "leftwards", "right", "rightward", "rightwards",
	"clockwise", "counterclockwise", "anticlockwise", "east", "west",
	"clock", "thirty", // "three o’clock" mirrored is nine o'clock
	"waxing", "waning", "quarter", // phases of the moon
	"arrow", "arrows", "arrival", "departure",
	"flag",                      // Ireland and Côte d’Ivoire are mirror images
	"button", "keycap", "input", // letters and digits; play and reverse
	"letter", "letters", "word", "words", "text", "sign",
}

// MirrorChanges reports whether the caption has a word that may be wrong for
// the mirror image: a direction (left, clockwise), a time, a phase of the moon,
// a flag, letters. A word too many costs an augmentation, a word too few
// teaches a lie, so the list is broad. It does not allocate.
func MirrorChanges(caption string) bool {
	for caption != "" {
		start := strings.IndexFunc(caption, unicode.IsLetter)
		if start < 0 {
			return false
		}
		caption = caption[start:]
		end := 0
		for end < len(caption) {
			r, size := utf8.DecodeRuneInString(caption[end:])
			if !unicode.IsLetter(r) {
				break
			}
			end += size
		}
		for _, word := range mirrorWords {
			if strings.EqualFold(word, caption[:end]) {
				return true
			}
		}
		caption = caption[end:]
	}
	return false
}

package dataset

import (
	"math/rand/v2"
	"strings"
	"unicode"
	"unicode/utf8"
)

// templates are the sentences that may wrap a name in training.
var templates = []string{"a picture of ", "a drawing of ", "an image of ", "an emoji of ", "this is "}

// Text draws a text to train on for a record; the same record and state of r
// give the same text:
//
//   - half of the time the caption:                       "fox"
//   - a quarter, with 1 to 3 of its keywords, shuffled:   "fox: animal, face"
//   - a quarter, in a template:                           "a picture of a fox"
//
// The caption alone leads, so that the most probable text for a picture is its
// plain name.
// Captions alone are two words long on average, too little for a decoder to
// learn from. A record without keywords is not the name of a thing but a text
// of its own, and is used as it stands. Evaluate with the plain caption.
func Text(rec Record, r *rand.Rand) string {
	if len(rec.Keywords) == 0 {
		return rec.Caption
	}
	switch r.IntN(4) {
	case 0, 1:
		return rec.Caption
	case 2:
		return withKeywords(rec, r)
	default:
		return templates[r.IntN(len(templates))] + withArticle(rec.Caption)
	}
}

// withKeywords appends 1 to 3 keywords, drawn without repetition. A keyword
// that only repeats the caption is not drawn.
func withKeywords(rec Record, r *rand.Rand) string {
	var chosen []string
	count := 1 + r.IntN(3)
	for _, k := range r.Perm(len(rec.Keywords)) {
		if word := rec.Keywords[k]; len(chosen) < count && !strings.EqualFold(word, rec.Caption) {
			chosen = append(chosen, word)
		}
	}
	if len(chosen) == 0 {
		return rec.Caption
	}
	return rec.Caption + ": " + strings.Join(chosen, ", ")
}

// withArticle puts "a" or "an" before a name, by its first letter. Proper names
// and signs ("Santa Claus", "1st place medal"), lists ("flag: Chad") and plurals
// ("grapes") go without.
func withArticle(name string) string {
	first, _ := utf8.DecodeRuneInString(name)
	plural := strings.HasSuffix(name, "s") && !strings.HasSuffix(name, "ss") && !strings.HasSuffix(name, "us")
	switch {
	case !unicode.IsLower(first) || plural || strings.Contains(name, ":"):
		return name
	case strings.ContainsRune("aeiou", first):
		return "an " + name
	default:
		return "a " + name
	}
}

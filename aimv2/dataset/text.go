package dataset

import (
	"math/rand/v2"
	"strings"
)

// Text draws a text to train on for a record; the same record and state of r
// give the same text:
//
//   - 3 times of 5 the caption:                        "fox"
//   - else the caption and 1 to 3 shuffled keywords:   "fox: animal, face"
//
// Captions are two words long on average; keywords tell the decoder, and so the
// encoder, what pictures have in common. The caption leads and mostly stands
// alone, so that the most probable text for a picture is its plain name.
// Sentences around it ("a picture of …") were tried and dropped: whenever the
// picture was in doubt they drew greedy decoding to their common first word.
// A record without keywords is a text of its own and is used as it stands.
func Text(rec Record, r *rand.Rand) string {
	if len(rec.Keywords) == 0 || r.IntN(5) < 3 {
		return rec.Caption
	}
	return withKeywords(rec, r)
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

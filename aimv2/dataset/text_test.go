package dataset

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var fox = Record{Caption: "fox", Keywords: []string{"animal", "face", "Fox"}}

// Every text keeps the caption, and both kinds occur in their share.
func TestText(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var plain int
	for range 600 {
		text := Text(fox, r)
		switch {
		case text == "fox":
			plain++
		case strings.HasPrefix(text, "fox: "):
			words := strings.Split(strings.TrimPrefix(text, "fox: "), ", ")
			slices.Sort(words)
			if len(words) > 2 || slices.Contains(words, "Fox") || len(slices.Compact(words)) != len(words) {
				t.Errorf("keywords of %q repeat a word", text)
			}
		default:
			t.Errorf("text %q is of no known kind", text)
		}
	}
	if plain < 310 || plain > 410 {
		t.Errorf("the plain caption was drawn %d times of 600, want about 360", plain)
	}
}

func TestTextIsAFunctionOfTheGenerator(t *testing.T) {
	a, b := rand.New(rand.NewPCG(7, 7)), rand.New(rand.NewPCG(7, 7))
	for range 50 {
		if x, y := Text(fox, a), Text(fox, b); x != y {
			t.Fatalf("equal generators gave %q and %q", x, y)
		}
	}
}

// A user's sentence is used as it stands.
func TestTextLeavesSentencesAlone(t *testing.T) {
	rec := Record{Caption: "The dog runs."}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		if got := Text(rec, r); got != rec.Caption {
			t.Fatalf("Text = %q, want %q", got, rec.Caption)
		}
	}
}

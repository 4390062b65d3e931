package dataset

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var fox = Record{Caption: "fox", Keywords: []string{"animal", "face", "Fox"}}

// Every text keeps the caption, and the three kinds all occur.
func TestText(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var plain, keywords, template int
	for range 600 {
		text := Text(fox, r)
		switch {
		case text == "fox":
			plain++
		case strings.HasPrefix(text, "fox: "):
			keywords++
			words := strings.Split(strings.TrimPrefix(text, "fox: "), ", ")
			slices.Sort(words)
			if len(words) > 2 || slices.Contains(words, "Fox") || len(slices.Compact(words)) != len(words) {
				t.Errorf("keywords of %q repeat a word", text)
			}
		case strings.HasSuffix(text, " a fox"):
			template++
		default:
			t.Errorf("text %q is of no known kind", text)
		}
	}
	for _, c := range []struct {
		kind      string
		got, want int
	}{{"plain", plain, 300}, {"keywords", keywords, 150}, {"template", template, 150}} {
		if c.got < c.want-50 || c.got > c.want+50 {
			t.Errorf("%s drawn %d times of 600, want about %d", c.kind, c.got, c.want)
		}
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

// A user's sentence is no name of a thing: "a picture of a The dog runs." is
// not English.
func TestTextLeavesSentencesAlone(t *testing.T) {
	rec := Record{Caption: "The dog runs."}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		if got := Text(rec, r); got != rec.Caption {
			t.Fatalf("Text = %q, want %q", got, rec.Caption)
		}
	}
}

func TestWithArticle(t *testing.T) {
	for name, want := range map[string]string{
		"fox": "a fox", "apple": "an apple", "grapes": "grapes", "compass": "a compass", "cactus": "a cactus",
		"flag: Chad": "flag: Chad", "1st place medal": "1st place medal", "T-Rex": "T-Rex",
	} {
		if got := withArticle(name); got != want {
			t.Errorf("withArticle(%q) = %q, want %q", name, got, want)
		}
	}
}

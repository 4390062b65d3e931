package emoji48

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"
)

func open(t *testing.T, splits ...string) *Set {
	t.Helper()
	s, err := Open(splits...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Results are only comparable while data and splits stay as they are.
func TestDataIsPinned(t *testing.T) {
	const want = "6aa90f3e6e3af22ca3a8ac2e2bc7f8ec0218340b08faca72c03c2e95d772d30d"
	sum := sha256.Sum256(images)
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("sha256 of images.bin is %s, want %s", got, want)
	}
	for split, want := range map[string]int{Train: 8255, ValStyle: 417, TestStyle: 611, TestConcept: 546} {
		if got := open(t, split).Len(); got != want {
			t.Errorf("%s has %d pictures, want %d", split, got, want)
		}
	}
	if got := open(t).Len(); got != 9829 {
		t.Errorf("the whole set has %d pictures, want 9829", got)
	}
}

func TestEveryPictureDecodes(t *testing.T) {
	s := open(t)
	names := map[string]bool{}
	for i := range s.Len() {
		img, err := s.Image(i)
		if err != nil {
			t.Fatal(err)
		}
		if b := img.Bounds(); b.Dx() != Size || b.Dy() != Size {
			t.Errorf("%s is %dx%d, want %dx%d", s.Record(i).Name, b.Dx(), b.Dy(), Size, Size)
		}
		names[s.Record(i).Name] = true
	}
	if len(names) != s.Len() {
		t.Errorf("%d pictures share %d names", s.Len(), len(names))
	}
}

func TestEveryRecordIsComplete(t *testing.T) {
	families := []string{"noto", "fluent", "twemoji", "emojione", "fxemoji"}
	s := open(t)
	for i := range s.Len() {
		r := s.Record(i)
		if r.Caption == "" || len(r.Keywords) == 0 || r.Style == "" || r.Group == "" || r.Subgroup == "" || r.Codepoints == "" {
			t.Errorf("record %d lacks a field: %+v", i, r)
		}
		if !slices.Contains(families, r.Family) {
			t.Errorf("%s has family %q", r.Name, r.Family)
		}
	}
}

// A test-concept must have no drawing in train, and a test-style none by the
// same family: otherwise the evaluation measures memory.
func TestSplitsDoNotLeak(t *testing.T) {
	concepts, drawings := map[string]bool{}, map[string]bool{}
	train := open(t, Train)
	for i := range train.Len() {
		r := train.Record(i)
		concepts[r.Codepoints] = true
		drawings[r.Codepoints+"/"+r.Family] = true
	}
	unseen := open(t, TestConcept)
	for i := range unseen.Len() {
		if r := unseen.Record(i); concepts[r.Codepoints] {
			t.Errorf("test-concept %s is in train", r.Name)
		}
	}
	held := open(t, ValStyle, TestStyle)
	for i := range held.Len() {
		if r := held.Record(i); drawings[r.Codepoints+"/"+r.Family] {
			t.Errorf("%s of %s has a twin in train", r.Name, r.Split)
		}
	}
}

func TestUnknownSplit(t *testing.T) {
	if _, err := Open("test"); err == nil {
		t.Error("Open(test) gave no error")
	}
}

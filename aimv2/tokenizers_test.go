package aimv2

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"fuerte/aimv2/tokenizer"
	"fuerte/tensor"
)

// A run takes any kind of vocabulary, and its folder gives it back: SigLIP's from
// a SentencePiece model, and CLIP's.
func TestRunOfAnyTokenizer(t *testing.T) {
	f, err := os.Open("tokenizer/testdata/sentencepiece/unigram.model.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	siglip, err := tokenizer.ParseSigLIP(data)
	if err != nil {
		t.Fatal(err)
	}
	clip, err := tokenizer.Load("tokenizer/testdata/clip")
	if err != nil {
		t.Fatal(err)
	}
	for name, tok := range map[string]*tokenizer.Tokenizer{"siglip": siglip, "clip": clip} {
		r := smallRecipe(1)
		r.Model.Vocab = tok.Vocab()
		tr, err := NewTrainer(tensor.CPU, r, drawings(20), tok)
		if err != nil {
			t.Fatal(err)
		}
		steps(t, tr, 1)
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := tr.SaveModel(dir, "F32"); err != nil {
			t.Fatal(err)
		}
		_, back, err := Load(tensor.CPU, dir)
		if err != nil {
			t.Fatal(err)
		}
		const text = "A photo of a FOX, it's 3 o\u2019clock! \U0001f98a"
		if got, want := back.Encode(text), tok.Encode(text); !slices.Equal(got, want) || len(got) < 5 || back.EOS() != tok.EOS() {
			t.Errorf("%s: ids %v after loading, want %v", name, got, want)
		}
	}
}

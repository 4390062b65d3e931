package tokenizer

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

// golden is what a public tokenizer makes of the texts: their ids, with special
// ones where it adds any, cut and padded, and the text again. See testdata/*.py.
type golden struct {
	IDs    []json.RawMessage `json:"ids"`
	Padded [][]int32         `json:"padded"`
	Text   []string          `json:"text"`
}

// readGoldens reads an ids.json.
func readGoldens(t testing.TB, path string) (texts []string, goldens map[string]golden) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		t.Fatal(err)
	}
	goldens = map[string]golden{}
	for name, value := range raw {
		var g golden
		if name == "texts" {
			err = json.Unmarshal(value, &texts)
		} else if err = json.Unmarshal(value, &g); err == nil {
			goldens[name] = g
		}
		if err != nil {
			t.Fatalf("%s: %s: %v", path, name, err)
		}
	}
	for name, g := range goldens {
		if len(texts) == 0 || len(g.IDs) != len(texts) {
			t.Fatalf("%s: %s has ids of %d texts, of %d", path, name, len(g.IDs), len(texts))
		}
	}
	return texts, goldens
}

// goldenIDs writes ids as ids.json does: many as their number and SHA-256.
func goldenIDs(ids []int32) string {
	if len(ids) <= 400 {
		data, _ := json.Marshal(ids)
		return string(data)
	}
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = fmt.Sprint(id)
	}
	return fmt.Sprintf(`"%d %x"`, len(ids), sha256.Sum256([]byte(strings.Join(words, " "))))
}

// mustEqualGolden compares every text; whole adds the special ids that the public
// tokenizer adds.
func mustEqualGolden(t *testing.T, tok *Tokenizer, texts []string, g golden, whole func(ids []int32) []int32) {
	t.Helper()
	for i, text := range texts {
		if got, want := goldenIDs(whole(tok.Encode(text))), string(g.IDs[i]); got != want {
			t.Errorf("%.60q gives %.300s, want %.300s", text, got, want)
		}
		if g.Padded != nil {
			if got := tok.Sequence(text, len(g.Padded[i])); !slices.Equal(got, g.Padded[i]) {
				t.Errorf("%.60q cut and padded gives %v, want %v", text, got, g.Padded[i])
			}
		}
	}
}

// withSpecial is how CLIP's tokenizer frames every text.
func withSpecial(tok *Tokenizer) func(ids []int32) []int32 {
	bos, _ := tok.BOS()
	return func(ids []int32) []int32 { return append(append([]int32{bos}, ids...), tok.EOS()) }
}

// The same ids from each form of the files, and again from what Write wrote.
func TestCLIPEqualsTransformers(t *testing.T) {
	texts, goldens := readGoldens(t, "testdata/clip/ids.json")
	for _, path := range []string{"testdata/clip/tokenizer.json", "testdata/clip/vocab.json", "testdata/clip"} {
		tok, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		mustEqualGolden(t, tok, texts, goldens["excerpt"], withSpecial(tok))
		mustEqualGolden(t, again(t, tok), texts, goldens["excerpt"], withSpecial(tok))
	}
}

// again writes a tokenizer and reads it.
func again(t testing.TB, tok *Tokenizer) *Tokenizer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokenizer.json")
	if err := tok.Save(path); err != nil {
		t.Fatal(err)
	}
	back, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

// TestWholeCLIP takes CLIP's whole vocabulary, where a machine has it: 1.3 MB that
// are not in this repository.
func TestWholeCLIP(t *testing.T) {
	path := os.Getenv("FUERTE_CLIP_VOCAB")
	if path == "" {
		t.Skip("FUERTE_CLIP_VOCAB names no bpe_simple_vocab_16e6.txt.gz")
	}
	text := string(gunzip(t, path))
	merges := strings.Split(text, "\n")[1 : 49152-256-2+1]
	tokens := alphabet()
	for _, c := range alphabet() {
		tokens = append(tokens, c+wordEnd)
	}
	for _, m := range merges {
		tokens = append(tokens, strings.ReplaceAll(m, " ", ""))
	}
	vocab := map[string]int{}
	for id, token := range append(tokens, StartToken, EndToken) {
		vocab[token] = id
	}
	data, err := json.Marshal(vocab)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := ParseCLIP(data, []byte(strings.Join(merges, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Sequence("Hi there", 5), []int32{49406, 1883, 997, 49407, 49407}; !slices.Equal(got, want) {
		t.Errorf("Hi there has the ids %v, want %v", got, want)
	}
	texts, goldens := readGoldens(t, "testdata/clip/ids.json")
	mustEqualGolden(t, tok, texts, goldens["whole"], withSpecial(tok))
}

func gunzip(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
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
	return data
}

// sentencePieceFile returns a .model of testdata.
func sentencePieceFile(t testing.TB, name string) []byte {
	return gunzip(t, filepath.Join("testdata/sentencepiece", name+".model.gz"))
}

func plainIDs(ids []int32) []int32 { return ids }

func TestSentencePieceEqualsSentencePiece(t *testing.T) {
	texts, goldens := readGoldens(t, "testdata/sentencepiece/ids.json")
	for _, name := range []string{"unigram", "bytes", "bpe"} {
		tok, err := ParseSentencePiece(sentencePieceFile(t, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			mustEqualGolden(t, tok, texts, goldens[name], plainIDs)
			for i, text := range texts {
				got := []rune(tok.Decode(tok.Encode(text)))
				if got = got[:min(len(got), 400)]; string(got) != goldens[name].Text[i] {
					t.Errorf("%.60q comes back as %.80q, want %.80q", text, string(got), goldens[name].Text[i])
				}
			}
			if name != "bpe" {
				mustEqualGolden(t, again(t, tok), texts, goldens[name], plainIDs)
			} else if err := tok.Write(io.Discard); err != errPairs {
				t.Errorf("a model of pairs was written: %v", err)
			}
		})
	}
}

func TestSigLIPEqualsTransformers(t *testing.T) {
	texts, goldens := readGoldens(t, "testdata/sentencepiece/ids.json")
	for _, name := range []string{"unigram", "bytes"} {
		dir := t.TempDir()
		for file, data := range map[string][]byte{
			"spiece.model":          sentencePieceFile(t, name),
			"tokenizer_config.json": []byte(`{"tokenizer_class": "SiglipTokenizer"}`),
		} {
			if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		tok, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if tok.EOS() != 1 || tok.PAD() != 1 {
			t.Errorf("%s: EOS %d and PAD %d, want 1", name, tok.EOS(), tok.PAD())
		}
		ended := func(ids []int32) []int32 { // SiglipTokenizer adds EOS where the text does not spell it
			if len(ids) > 0 && ids[len(ids)-1] == tok.EOS() {
				return ids
			}
			return append(ids, tok.EOS())
		}
		t.Run(name, func(t *testing.T) {
			mustEqualGolden(t, tok, texts, goldens["siglip "+name], ended)
			mustEqualGolden(t, again(t, tok), texts, goldens["siglip "+name], ended)
		})
	}
}

// The table of nmt_nfkc is NFKC but for spaces and control characters; the longest
// prefix counts: s, dot below, dot above is one letter.
func TestCharsmapIsNFKC(t *testing.T) {
	tok, err := ParseSentencePiece(sentencePieceFile(t, "unigram"))
	if err != nil {
		t.Fatal(err)
	}
	m := tok.model.(*sentencePiece)
	for _, text := range []string{"s\u0323\u0307", "\uff76\uff9e\uff8a\uff9f", "\u1100\u1161\u11a8", "e\u0301\ufb01\u2460\u33a1", "\ufdfa", "fox"} {
		want := strings.ReplaceAll(" "+norm.NFKC.String(text), " ", space)
		if got := m.normalize(text); got != want {
			t.Errorf("%+q becomes %+q, want %+q", text, got, want)
		}
	}
}

// TestWholeSigLIP takes SigLIP's own vocabulary, where a machine has it.
func TestWholeSigLIP(t *testing.T) {
	dir := os.Getenv("FUERTE_SIGLIP")
	if dir == "" {
		t.Skip("FUERTE_SIGLIP names no folder of a SigLIP model with spiece.model")
	}
	tok, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if tok.Vocab() != 32000 || tok.EOS() != 1 || tok.PAD() != 1 {
		t.Errorf("%d pieces, EOS %d, PAD %d; want 32000, 1 and 1", tok.Vocab(), tok.EOS(), tok.PAD())
	}
	if got, want := tok.Decode(tok.Encode("A photo of 2 cats!")), "a photo of 2 cats"; got != want {
		t.Errorf("comes back as %q, want %q", got, want)
	}
}

package tokenizer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// message writes protobuf: fields of bytes, numbers or float32, by number.
func message(fields ...any) []byte {
	var out []byte
	for i := 0; i < len(fields); i += 2 {
		n := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			out = protowire.AppendVarint(protowire.AppendTag(out, n, protowire.VarintType), uint64(v))
		case float64:
			out = protowire.AppendFixed32(protowire.AppendTag(out, n, protowire.Fixed32Type), math.Float32bits(float32(v)))
		case string:
			out = protowire.AppendString(protowire.AppendTag(out, n, protowire.BytesType), v)
		case []byte:
			out = protowire.AppendBytes(protowire.AppendTag(out, n, protowire.BytesType), v)
		default:
			panic(fmt.Sprintf("%T", v))
		}
	}
	return out
}

// smallModel is the least SentencePiece model that loads, and more fields.
func smallModel(more ...any) []byte {
	return message(append([]any{
		modelPieces, message(pieceText, "<unk>", pieceKind, int(unknown)),
		modelPieces, message(pieceText, "</s>", pieceKind, int(control)),
		modelPieces, message(pieceText, "a", pieceScore, -1.0),
		modelPieces, message(pieceText, space+"b", pieceScore, -2.0),
	}, more...)...)
}

// charsTable is a table of one unit per entry, and values.
func charsTable(values string, units ...uint32) []byte {
	out := binary.LittleEndian.AppendUint32(nil, uint32(4*len(units)))
	for _, u := range units {
		out = binary.LittleEndian.AppendUint32(out, u)
	}
	return append(out, values...)
}

func TestSmallModel(t *testing.T) {
	tok, err := ParseSentencePiece(smallModel())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Encode(" b a  ba"), []int32{3, 0, 2, 3, 2}; !slices.Equal(got, want) {
		t.Errorf("ids %v, want %v", got, want)
	}
}

func TestModelErrors(t *testing.T) {
	whole := sentencePieceFile(t, "bpe")
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "no pieces"},
		{"text", []byte("hello, this is no model"), "not a SentencePiece model"},
		{"cut", whole[:len(whole)/2], "not a SentencePiece model"},
		{"endless number", bytes.Repeat([]byte{0xff}, 1000), "not a SentencePiece model"},
		{"a length of 2^62", append([]byte{0x0a}, protowire.AppendVarint(nil, 1<<62)...), "not a SentencePiece model"},
		{"groups in groups", bytes.Repeat([]byte{0x1b}, 100_000), "not a SentencePiece model"},
		{"empty pieces", bytes.Repeat([]byte{0x0a, 0}, 100_000), "piece 0 is empty"},
		{"long piece", smallModel(modelPieces, message(pieceText, strings.Repeat("x", maxPiece+1))), "bytes, more than"},
		{"piece twice", smallModel(modelPieces, message(pieceText, "a")), "two ids"},
		{"two unknown", smallModel(modelPieces, message(pieceText, "?", pieceKind, int(unknown))), "both for unknown"},
		{"no unknown", message(modelPieces, message(pieceText, "</s>", pieceKind, int(control))), "unknown text"},
		{"kind 2^31", smallModel(modelPieces, message(pieceText, "z", pieceKind, 1<<31)), "unknown kind"},
		{"not a number", smallModel(modelPieces, message(pieceText, "z", pieceScore, math.NaN())), "score NaN"},
		{"no UTF-8", smallModel(modelPieces, message(pieceText, "\xff")), "not UTF-8"},
		{"no byte", smallModel(modelPieces, message(pieceText, "<0xgg>", pieceKind, int(byteOf))), "is no byte"},
		{"one byte", smallModel(modelPieces, message(pieceText, "<0x41>", pieceKind, int(byteOf)), modelTrainer, message(trainerByteFallback, 1)), "1 of 256"},
		{"byte without fallback", smallModel(modelPieces, message(pieceText, "<0x41>", pieceKind, int(byteOf))), "does not fall apart"},
		{"unused pair", smallModel(modelPieces, message(pieceText, "z", pieceKind, int(unused)), modelTrainer, message(trainerType, typePairs)), "unused"},
		{"words", smallModel(modelTrainer, message(trainerType, 3)), "type 3"},
		{"spaces after", smallModel(modelTrainer, message(trainerSpaceSuffix, 1)), "after words"},
		{"spaces kept", smallModel(modelNormalizer, message(normalizerEscape, 0)), "as they are"},
		{"other end", smallModel(modelTrainer, message(trainerEOS, "<eos>")), "<eos>"},
		{"short table", smallModel(modelNormalizer, message(normalizerCharsmap, "abc")), "table"},
		{"table beyond the file", smallModel(modelNormalizer, message(normalizerCharsmap, "\xff\xff\xff\x7fabcd")), "table"},
		{"table of no unit", smallModel(modelNormalizer, message(normalizerCharsmap, charsTable("x"))), "table"},
		{"long replacement", smallModel(modelNormalizer, message(normalizerCharsmap, charsTable(strings.Repeat("x", maxReplacement+1), 0))), "becomes"},
	} {
		tok, err := ParseSentencePiece(c.data)
		if err == nil || tok != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v lacks %q", c.name, err, c.want)
		}
	}
}

// Units that lead out of the table, or nowhere, end the search.
func TestCharsmapStaysInside(t *testing.T) {
	for _, unit := range []uint32{0, 1, 0xffffffff, 0x7fffffff, 'a', 1 << 8, 1<<8 | 'a', 1<<9 | 0xff<<10, 1 << 31} {
		units := slices.Repeat([]uint32{unit}, 300)
		for _, n := range []int{1, 2, 100, 300} {
			tok, err := ParseSentencePiece(smallModel(modelNormalizer, message(normalizerCharsmap, charsTable("x\x00", units[:n]...))))
			if err != nil {
				t.Fatal(err)
			}
			tok.Encode("a b \u00e9 \U0001f98a") // must not panic
		}
	}
}

// Files that ask for more than they have give an error before memory is taken.
func TestHostileFilesAreBounded(t *testing.T) {
	vocab, err := os.ReadFile("testdata/clip/vocab.json")
	if err != nil {
		t.Fatal(err)
	}
	merges, err := os.ReadFile("testdata/clip/merges.txt")
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) []byte {
		if !bytes.Contains(vocab, []byte(old)) {
			t.Fatalf("the vocabulary lacks %s", old)
		}
		return bytes.Replace(vocab, []byte(old), []byte(new), 1)
	}
	for _, c := range []struct {
		name          string
		vocab, merges []byte
		want          string
	}{
		{"not json", []byte("hello"), merges, "not a vocab.json"},
		{"id 2^31", edit(`"!":0`, `"!":2147483648`), merges, "2147483648"},
		{"id 2^63", edit(`"!":0`, `"!":9223372036854775808`), merges, "not a vocab.json"},
		{"negative id", edit(`"!":0`, `"!":-1`), merges, "-1"},
		{"no end", edit(`"<|endoftext|>"`, `"endoftext"`), merges, "no token"},
		{"letters beyond the alphabet", edit(`"<|endoftext|>":1513`, `"<|endoftext|>":1513,"日":1514`), merges, "byte alphabet"},
		{"merge of one", vocab, []byte("#version: 0.2\nab\n"), "not two tokens"},
		{"merge of unknown tokens", vocab, []byte("zzz zzz\n"), "lacks"},
		{"merge into an unknown token", vocab, []byte("! !!!!!!!!!!!!\n"), "lacks"},
		{"binary merges", vocab, []byte("\x00\xff \xfe\n"), "lacks"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ParseCLIP(c.vocab, c.merges)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v lacks %q", c.name, err, c.want)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
			t.Errorf("%s: %d MB for files of %d kB", c.name, n>>20, (len(c.vocab)+len(c.merges))>>10)
		}
	}
}

// An empty token makes merges that go in circles: ("", a) becomes a. No text has
// such a symbol, so none is merged.
func TestCycleOfMerges(t *testing.T) {
	vocab, err := os.ReadFile("testdata/clip/vocab.json")
	if err != nil {
		t.Fatal(err)
	}
	vocab = bytes.Replace(vocab, []byte(`"<|endoftext|>":1513`), []byte(`"<|endoftext|>":1513,"":1514`), 1)
	tok, err := ParseCLIP(vocab, []byte(" a\na \n a</w>\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(tok.Encode(strings.Repeat("a", 100))); got != 100 {
		t.Errorf("100 letters have %d ids", got)
	}
}

func TestUnigramFileErrors(t *testing.T) {
	tok, err := ParseSigLIP(sentencePieceFile(t, "bytes"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := tok.Write(&b); err != nil {
		t.Fatal(err)
	}
	good := b.String()
	for _, c := range []struct{ name, old, new, want string }{
		{"other algorithm", `"type": "Unigram"`, `"type": "WordPiece"`, "WordPiece"},
		{"other step", `"type": "Lowercase"`, `"type": "NFD"`, "NFD"},
		{"other space", `"replacement": "▁"`, `"replacement": "_"`, "Metaspace"},
		{"other scheme", `"prepend_scheme": "always"`, `"prepend_scheme": "first"`, "first"},
		{"unknown beyond the pieces", `"unk_id": 2`, `"unk_id": 2147483647`, "unknown text"},
		{"no unknown", `"unk_id": 2`, `"unk_id": null`, "unknown text"},
		{"added beyond the pieces", `"id": 0`, `"id": 2147483647`, "is not piece"},
		{"added negative", `"id": 0`, `"id": -1`, "is not piece"},
		{"a score too large", "\"<pad>\",\n    0", "\"<pad>\",\n    1e300", "score"},
		{"a piece without a score", "\"<pad>\",\n    0", `"<pad>"`, "its score"},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		if text == good {
			t.Errorf("%s: nothing was replaced", c.name)
		}
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v lacks %q", c.name, err, c.want)
		}
	}
}

func TestLoadFolders(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "spiece.model") {
		t.Errorf("an empty folder gave %v", err)
	}
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("vocab.json", []byte("{}"))
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "merges.txt") {
		t.Errorf("a vocab.json alone gave %v", err)
	}
	write("spiece.model", sentencePieceFile(t, "unigram"))
	write("tokenizer_config.json", []byte(`{"tokenizer_class": "SiglipTokenizer"}`))
	tok, err := Load(dir) // which takes precedence, being SigLIP's
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Encode("A FOX!"), tok.Encode("a fox"); !slices.Equal(got, want) {
		t.Errorf("SigLIP's rules are not followed: %v, want %v", got, want)
	}
	write("tokenizer_config.json", []byte(`{`))
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "tokenizer_config.json") {
		t.Errorf("a damaged tokenizer_config.json gave %v", err)
	}
	big := filepath.Join(dir, "tokenizer.json")
	write("tokenizer.json", nil)
	if err := os.Truncate(big, maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a file too large gave %v", err)
	}
}

// FuzzModel reads a small SentencePiece model with length bytes from at on
// replaced. What loads gives ids inside the vocabulary and valid text.
func FuzzModel(f *testing.F) {
	good := smallModel(modelTrainer, message(trainerType, typeUnigram), modelNormalizer,
		message(normalizerCharsmap, charsTable("x\x00yz\x00", 1<<10, 1<<8|'a', 0, 1<<31|3), normalizerPrefix, 1, normalizerRemoveSpaces, 0))
	f.Add(uint16(0), uint16(0), []byte(""), false)
	f.Add(uint16(len(good)/2), uint16(len(good)), []byte(""), true)
	f.Add(uint16(len(good)-20), uint16(4), []byte{0xff, 0xff, 0xff, 0x7f}, true)
	f.Add(uint16(bytes.Index(good, message(trainerType, typeUnigram))), uint16(2), message(trainerType, typePairs), false)
	f.Fuzz(func(t *testing.T, at, length uint16, text []byte, siglip bool) {
		from := min(int(at), len(good))
		to := min(from+int(length), len(good))
		parse := ParseSentencePiece
		if siglip {
			parse = ParseSigLIP
		}
		tok, err := parse(bytes.Join([][]byte{good[:from], text, good[to:]}, nil))
		if err != nil {
			return
		}
		for _, s := range []string{"aab b", "</s> <unk>a", string(text)} {
			ids := tok.Encode(s)
			for _, id := range ids {
				if id < 0 || int(id) >= tok.Vocab() {
					t.Fatalf("%q: id %d of %d", s, id, tok.Vocab())
				}
			}
			tok.Decode(ids)
			if n := len(tok.Sequence(s, 7)); n != 7 {
				t.Fatalf("%q: a sequence of %d ids, want 7", s, n)
			}
		}
	})
}

// FuzzCLIPFiles reads merges.txt and one entry of vocab.json as they come.
func FuzzCLIPFiles(f *testing.F) {
	vocab, err := os.ReadFile("testdata/clip/vocab.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`"!":0`), []byte("i n\nt h\n"))
	f.Add([]byte(`"":0`), []byte("#version\n ! !\n"))
	f.Fuzz(func(t *testing.T, entry, merges []byte) {
		tok, err := ParseCLIP(bytes.Replace(vocab, []byte(`"!":0`), entry, 1), merges)
		if err != nil {
			return
		}
		for _, id := range tok.Encode("a thin line " + string(merges)) {
			if id < 0 || int(id) >= tok.Vocab() {
				t.Fatalf("id %d of %d", id, tok.Vocab())
			}
		}
	})
}

// FuzzUnigramFile is FuzzModel for the tokenizer.json of such a model; what it reads
// it writes so that the same is read again.
func FuzzUnigramFile(f *testing.F) {
	tok, err := ParseSigLIP(smallModel(modelNormalizer, message(normalizerCharsmap, charsTable("x\x00", 1<<10, 0))))
	if err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	if err := tok.Write(&b); err != nil {
		f.Fatal(err)
	}
	good := b.Bytes()
	f.Add(uint16(0), uint16(0), []byte(""))
	for _, edit := range [][2]string{{`"Unigram"`, `"BPE"`}, {`"unk_id": 0`, `"unk_id": 1`}, {`"always"`, `"never"`}, {`-1`, `-1e38`}, {`"special": true`, `"special": false`}} {
		at := bytes.Index(good, []byte(edit[0]))
		if at < 0 {
			f.Fatalf("the file holds no %s", edit[0])
		}
		f.Add(uint16(at), uint16(len(edit[0])), []byte(edit[1]))
	}
	f.Fuzz(func(t *testing.T, at, length uint16, text []byte) {
		from := min(int(at), len(good))
		to := min(from+int(length), len(good))
		tok, err := Parse(bytes.Join([][]byte{good[:from], text, good[to:]}, nil))
		if err != nil {
			return
		}
		var once bytes.Buffer
		if err := tok.Write(&once); err != nil {
			t.Fatal(err)
		}
		back, err := Parse(once.Bytes())
		if err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
		for _, s := range []string{"aab b", "</s> <unk>a", string(text)} {
			ids := tok.Encode(s)
			for _, id := range ids {
				if id < 0 || int(id) >= tok.Vocab() {
					t.Fatalf("%q: id %d of %d", s, id, tok.Vocab())
				}
			}
			if !slices.Equal(ids, back.Encode(s)) {
				t.Fatalf("%q has ids %v, and %v when read again", s, ids, back.Encode(s))
			}
			tok.Decode(ids)
		}
	})
}

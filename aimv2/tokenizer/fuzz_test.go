package tokenizer

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse reads a small tokenizer.json with length bytes from at on replaced; all
// of them, and the text stands alone. What Parse accepts is whole: written and read
// again it is the same bytes, gives the same ids, all inside the vocabulary, and
// decodes any of them to valid UTF-8.
func FuzzParse(f *testing.F) {
	var b bytes.Buffer
	if err := Train([]string{"aab aab", "aac aab"}, MinVocab+3).Write(&b); err != nil {
		f.Fatal(err)
	}
	good := b.Bytes()
	f.Add(uint16(0), uint16(0), []byte(""))
	for _, edit := range [][2]string{ // read, or refused, each for a reason of its own
		{`"a a"`, `["a", "a"]`}, {`"a a"`, `"a  a"`}, {`"id": 51`, `"id": 9951`}, {`"aa": 512`, `"aa": -1`}, {`"aa": 512`, `"aa": 511`},
		{`"</w>"`, `"!"`}, {`"BPE"`, `null`}, {`"special": true`, `"special": false`}, {`"merges"`, `"vocab"`},
	} {
		at := bytes.Index(good, []byte(edit[0]))
		if at < 0 {
			f.Fatalf("the file holds no %s", edit[0])
		}
		f.Add(uint16(at), uint16(len(edit[0])), []byte(edit[1]))
	}
	f.Fuzz(func(t *testing.T, at, length uint16, text []byte) {
		from := min(int(at), len(good))
		to := min(from+int(length), len(good))
		data := bytes.Join([][]byte{good[:from], text, good[to:]}, nil)
		tok, err := Parse(data)
		if err != nil {
			if tok != nil || err.Error() == "" {
				t.Fatalf("%v, and a tokenizer %v", err, tok)
			}
			return
		}
		var once, twice bytes.Buffer
		if err := tok.Write(&once); err != nil {
			t.Fatal(err)
		}
		back, err := Parse(once.Bytes())
		if err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
		if err := back.Write(&twice); err != nil || !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Fatalf("written twice, the files differ (%v):\n%s\n%s", err, &once, &twice)
		}
		for _, s := range []string{"aab aac", "a</w>b <|pad|>", string(text), strings.Repeat("ab", 50)} {
			ids, again := tok.Encode(s), back.Encode(s)
			if len(ids) != len(again) {
				t.Fatalf("%q has %d ids, and %d when read again", s, len(ids), len(again))
			}
			for i, id := range ids {
				if id < 0 || int(id) >= tok.Vocab() || id != again[i] {
					t.Fatalf("%q: id %d is %d of %d, and %d when read again", s, i, id, tok.Vocab(), again[i])
				}
			}
			if !utf8.ValidString(tok.Decode(ids)) {
				t.Fatalf("%q decodes to %q", s, tok.Decode(ids))
			}
		}
		for id := range tok.Vocab() {
			if !utf8.ValidString(tok.Decode([]int32{int32(id)})) {
				t.Fatalf("id %d decodes to invalid UTF-8", id)
			}
		}
	})
}

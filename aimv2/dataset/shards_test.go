package dataset

import (
	"archive/tar"
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func pngBytes(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 3, 2))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// member is one entry of a test's tar file; without data its header is written as
// it stands.
type member struct {
	header tar.Header
	data   []byte
}

func file(name string, data []byte) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}, data}
}

func tarBytes(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if err := w.WriteHeader(&m.header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// someShard is two pairs in the two forms of captions, with what else may be in a shard.
func someShard(t testing.TB) []byte {
	picture := pngBytes(t)
	return tarBytes(t,
		member{header: tar.Header{Typeflag: tar.TypeDir, Name: "a/", Mode: 0o755}},
		file("a/01.png", picture), file("a/01.txt", []byte(" a red\nfox ")), file("a/01.json", []byte(`{"caption":"not this"}`)),
		file("a/02.json", []byte(`{"text":"a bird","width":3}`)), file("a/02.PNG", picture), file("a/02.cls", []byte("7")),
		file("a/.hidden.txt", []byte("no caption")), file("README", []byte("words")))
}

func TestShards(t *testing.T) {
	dir := t.TempDir()
	writeText(t, dir, "x-00.tar", string(someShard(t)))
	writeText(t, dir, "x-01.tar", string(tarBytes(t, file("9.txt", []byte("a cat")), file("9.png", pngBytes(t)))))
	for _, pattern := range []string{dir, filepath.Join(dir, "x-{00..01}.tar"), filepath.Join(dir, "x-*.tar"), filepath.Join(dir, "{x-00,x-01}.tar")} {
		set, err := Open(pattern)
		if err != nil {
			t.Fatal(err)
		}
		s := set.(*Shards)
		if s.Files() != 2 || s.Len() != -1 {
			t.Fatalf("%s: %d shards, length %d", pattern, s.Files(), s.Len())
		}
		var got []string
		for i := range s.Files() {
			pairs, err := s.Scan(i)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range pairs {
				rec, img, err := s.Read(p)
				if err != nil {
					t.Fatal(err)
				}
				if img.Bounds() != image.Rect(0, 0, 3, 2) {
					t.Errorf("%s has bounds %v", rec.Name, img.Bounds())
				}
				got = append(got, rec.Name+": "+rec.Caption)
			}
		}
		want := []string{"a/01.png: a red fox", "a/02.PNG: a bird", "9.png: a cat"}
		if !slices.Equal(got, want) {
			t.Errorf("%s holds %q, want %q", pattern, got, want)
		}
		first, err := s.First(2)
		if err != nil || first.Len() != 2 || first.Record(1).Caption != "a bird" {
			t.Errorf("the first two: %v, %v", first, err)
		}
		if data, err := first.Encoded(0); err != nil || !bytes.Equal(data, pngBytes(t)) {
			t.Errorf("the file of the first: %d bytes, %v", len(data), err)
		}
	}
}

// TestShardErrors: every fault of a shard is named with the shard, and with the
// member where there is one.
func TestShardErrors(t *testing.T) {
	picture, words := pngBytes(t), []byte("fox")
	pair := []member{file("1.png", picture), file("1.txt", words)}
	long := tarBytes(t, pair...)
	zeros := tarBytes(t, append(pair, file("1.npy", make([]byte, 512)))...)
	// A header that claims 2^40 bytes.
	huge := slices.Clone(long)
	copy(huge[124:136], "777777777777")
	checksum(huge[:512])
	for _, c := range []struct {
		name string
		data []byte
		want []string
	}{
		{"no tar", bytes.Repeat([]byte("hello "), 500), []string{"at byte 0", "no tar file"}},
		{"compressed", append([]byte{0x1f, 0x8b, 8}, make([]byte, 600)...), []string{"no tar file"}},
		{"nothing in it", tarBytes(t), []string{"no pictures"}},
		{"no end", long[:len(long)-1024], []string{"at byte 2048", "cut short"}},
		{"no end behind zeros", zeros[:len(zeros)-1024], []string{"cut short"}},
		{"huge", huge, []string{"1.png", "more than"}},
		{"no caption", tarBytes(t, file("1.png", picture)), []string{"1.png", "no caption"}},
		{"no picture", tarBytes(t, file("1.txt", words)), []string{"1", "no picture"}},
		{"two pictures", tarBytes(t, file("1.png", picture), file("1.jpg", picture), file("1.txt", words)), []string{"1.jpg", "same stem"}},
		{"two captions", tarBytes(t, append(pair, file("1.txt", words))...), []string{"1.txt", "second caption"}},
		{"two objects", tarBytes(t, file("1.json", words), file("1.png", picture), file("1.json", words)), []string{"1.json", "second caption"}},
		{"empty caption", tarBytes(t, file("1.png", picture), file("1.txt", nil)), []string{"1.txt", "empty"}},
		{"blank caption", tarBytes(t, file("1.png", picture), file("1.txt", []byte(" \n"))), []string{"1.png", "caption is empty"}},
		{"not UTF-8", tarBytes(t, file("1.png", picture), file("1.txt", []byte("f\xff"))), []string{"1.png", "not UTF-8"}},
		{"not UTF-8 in JSON", tarBytes(t, file("1.png", picture), file("1.json", []byte("{\"text\":\"f\xff\"}"))), []string{"1.png", "not UTF-8"}},
		{"JSON without caption", tarBytes(t, file("1.png", picture), file("1.json", []byte(`{"a":1}`))), []string{"1.png", "caption"}},
		{"no JSON", tarBytes(t, file("1.png", picture), file("1.json", []byte(`["fox"]`))), []string{"1.png", "json"}},
		{"long caption", tarBytes(t, file("1.png", picture), file("1.txt", bytes.Repeat([]byte("a"), maxCaption+1))), []string{"1.txt", "more than"}},
		{"no picture inside", tarBytes(t, file("1.png", words), file("1.txt", words)), []string{"1.png", "not a PNG"}},
		{"cut picture", tarBytes(t, file("1.png", picture[:len(picture)-20]), file("1.txt", words)), []string{"1.png", "damaged"}},
		{"outside", tarBytes(t, file("../1.png", picture), file("../1.txt", words)), []string{"../1.png", "leads outside"}},
		{"from the root", tarBytes(t, file("/etc/1.png", picture), file("/etc/1.txt", words)), []string{"/etc/1.png", "leads outside"}},
		{"link", tarBytes(t, member{header: tar.Header{Typeflag: tar.TypeSymlink, Name: "1.png", Linkname: "/etc/passwd"}}, file("1.txt", words)), []string{"1.png", "no regular file"}},
		{"behind others", tarBytes(t, append(pair, member{header: tar.Header{Typeflag: tar.TypeSymlink, Name: "2.png"}})...), []string{"at byte 2048", "2.png", "no regular file"}},
		{"sparse", tarOf(meta('x', paxRecord("GNU.sparse.name", "1.png")), block("GNUSparseFile.0/1.png", '0', 3, nil), padded("fox")), []string{"1.png", "it is sparse"}},
		{"sparse of GNU tar", tarOf(block("1.png", 'S', 3, magicOfGNU), padded("fox")), []string{"1.png", "no regular file but of type 'S'"}},
		{"hard link", tarBytes(t, member{header: tar.Header{Typeflag: tar.TypeLink, Name: "1.png", Linkname: "1.txt"}}, file("1.txt", words)), []string{"1.png", "no regular file"}},
		{"long name", tarBytes(t, file(strings.Repeat("a/", 600)+"1.png", picture)), []string{"name is longer"}},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "s.tar")
		writeText(t, dir, "s.tar", string(c.data))
		s, err := OpenShards(path)
		if err != nil {
			t.Fatal(err)
		}
		pairs, err := s.Scan(0)
		if err == nil {
			_, _, err = s.Read(pairs[0])
		}
		for _, want := range append(c.want, path) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v does not say %q", c.name, err, want)
			}
		}
	}
	for pattern, want := range map[string]string{
		"none.tar": "none.tar: no such file", "none-{0..3}.tar": "none-0.tar", "none-*.tar": "no file matches", t.TempDir() + "/x[.tar": "x[.tar",
	} {
		if _, err := OpenShards(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", pattern, err, want)
		}
	}
	dir := t.TempDir()
	writeText(t, dir, "s.tar", string(long))
	writeText(t, dir, "empty.tar", "")
	for name, want := range map[string]string{"{s,s}.tar": "named twice", "empty.tar": "is empty", "{s.tar,.}": "no regular file"} {
		if _, err := OpenShards(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// checksum mends the checksum of a tar header.
func checksum(header []byte) {
	copy(header[148:156], "        ")
	sum := 0
	for _, b := range header[:512] {
		sum += int(b)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// TestShardCut cuts a shard at every length: none is taken for a whole one.
func TestShardCut(t *testing.T) {
	whole := someShard(t)
	end := len(whole) - 1024 // the two blocks of zeros
	for n := range end + 512 {
		if pairs, err := scan(bytes.NewReader(whole[:n]), int64(n), false); err == nil {
			t.Fatalf("the first %d of %d bytes pass for a shard of %d pairs", n, len(whole), len(pairs))
		}
	}
	if _, err := scan(bytes.NewReader(whole), int64(len(whole)), false); err != nil {
		t.Fatal(err)
	}
}

// TestShardVanishes: a shard that goes or changes while it is in use is named.
func TestShardVanishes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.tar")
	writeText(t, dir, "s.tar", string(someShard(t)))
	s, err := OpenShards(path)
	if err != nil {
		t.Fatal(err)
	}
	pairs, err := s.Scan(0)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func() error{
		"no such file": func() error { return os.Remove(path) },
		"has changed":  func() error { return os.WriteFile(path, someShard(t)[:2048], 0o666) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		_, scanned := s.Scan(0)
		_, _, read := s.Read(pairs[0])
		for _, err := range []error{scanned, read} {
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), what) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

func TestExpand(t *testing.T) {
	for pattern, want := range map[string]string{
		"a.tar": "a.tar", "a{0..2}": "a0 a1 a2", "a{08..11}b": "a08b a09b a10b a11b", "{9..10}": "9 10", "{009..10}": "009 010", "{a,b}{1..2}": "a1 a2 b1 b2", "{a,}x": "ax x",
	} {
		if got, err := expandBraces(pattern); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v, want %q", pattern, got, err, want)
		}
	}
	for _, bad := range []string{"{", "}", "a}b", "{1}", "{}", "{2..1}", "{a..b}", "{-1..2}", "{1..}", "{{a,b},c}", "{0..4294967295}", "{0..9999}{0..9999}", "{" + strings.Repeat("0", 300) + "..1}", "{1..99999999999}"} {
		if got, err := expandBraces(bad); err == nil {
			t.Errorf("%.20s stands for %d names", bad, len(got))
		}
	}
}

func FuzzExpandBraces(f *testing.F) {
	for _, s := range []string{"a", "{0..9}", "x-{00..12}{a,b}.tar", "{", "{1..2", "}{"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		names, err := expandBraces(pattern)
		if err == nil && (len(names) == 0 || len(names) > maxFiles) {
			t.Errorf("%d names", len(names))
		}
	})
}

// FuzzScan wants of any bytes an error or pairs whose bytes are all there.
func FuzzScan(f *testing.F) {
	whole := someShard(f)
	f.Add(whole)
	f.Add(whole[:3000])
	f.Add(tarBytes(f, file("1.png", []byte("x")), file("1.json", []byte(`{"caption":"a"}`))))
	f.Add(tarBytes(f, file(strings.Repeat("long/", 40)+"1.png", []byte("x"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		pairs, err := scan(r, int64(len(data)), false)
		if (err == nil) != (len(pairs) > 0) {
			t.Fatalf("%d pairs and %v", len(pairs), err)
		}
		for _, p := range pairs {
			if _, err := p.picture.read(r); err != nil || p.Name == "" {
				t.Errorf("%+v: %v", p, err)
			}
			record(r, p, false) // whose error is about the words
		}
	})
}

package dataset

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestJSONL(t *testing.T) {
	dir := t.TempDir()
	writePicture(t, dir, "b.png")
	writePicture(t, dir, "a.png")
	writeText(t, dir, "list.jsonl", "{\"image\":\"b.png\",\"caption\":\" a  fox\\n\"}\n\n{\"image\":\"./a.png\",\"text\":\"ein Vögelchen\",\"url\":7}\n")
	set, err := Open(filepath.Join(dir, "list.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	s := set.(Source)
	if s.Len() != 2 || s.Record(0).Name != "b.png" || s.Record(0).Caption != "a fox" || s.Record(1).Caption != "ein Vögelchen" {
		t.Errorf("got %+v and %+v", s.Record(0), s.Record(1))
	}
	if img, err := s.Image(1); err != nil || img.Bounds().Dx() != 3 {
		t.Errorf("picture: %v", err)
	}
}

func TestJSONLErrors(t *testing.T) {
	for _, c := range []struct {
		lines string
		want  []string
	}{
		{"", []string{"no pictures"}},
		{"\n{\"image\":\"a.png\"}\n", []string{"line 2", "caption"}},
		{`{"caption":"fox"}`, []string{"line 1", "image"}},
		{`{"image":"a.png","caption":" "}`, []string{"line 1", "empty"}},
		{"{\"image\":\"a.png\",\"caption\":\"\xff\"}", []string{"line 1", "UTF-8"}},
		{`a.png fox`, []string{"line 1", "object"}},
		{`{"image":"../a.png","caption":"fox"}`, []string{"line 1", "../a.png", "inside"}},
		{`{"image":"/etc/passwd","caption":"fox"}`, []string{"line 1", "/etc/passwd", "inside"}},
		{`{"image":"none.png","caption":"fox"}`, []string{"none.png", "no such file"}},
		{`{"image":"list.jsonl","caption":"fox"}`, []string{"list.jsonl", "not a PNG"}},
		{"{\"image\":\"a.png\",\"caption\":\"fox\"}\n{\"image\":\"a.png\",\"caption\":\"dog\"}", []string{"line 2", "line 1"}},
		{strings.Repeat(" ", maxCaption+1), []string{"line 1", "longer"}},
		{"x\n{\"image\":\"none.png\",\"caption\":\"fox\"}", []string{"line 1", "none.png"}},
	} {
		dir := t.TempDir()
		writePicture(t, dir, "a.png")
		writeText(t, dir, "list.jsonl", c.lines)
		path := filepath.Join(dir, "list.jsonl")
		_, err := JSONL(path)
		for _, want := range append(c.want, path) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%.60q: error %v does not say %q", c.lines, err, want)
			}
		}
	}
	// A file of nothing but faults is given up soon.
	_, problems := readJSONL(strings.NewReader(strings.Repeat("x\n", 1000)), "list", false)
	if len(problems) != maxProblems {
		t.Errorf("%d problems are kept", len(problems))
	}
}

// TestCaptionsOptional: with the option a picture may stand alone, in every kind
// of set; a caption that is none is refused as before.
func TestCaptionsOptional(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) {
		writeText(t, dir, name, string(data))
	}
	picture := pngBytes(t)
	write("a.png", picture)
	write("list.jsonl", []byte(`{"image":"a.png"}`))
	write("s.tar", tarBytes(t, file("1.png", picture), file("2.png", picture), file("2.json", []byte(`{"width":3}`))))
	write("mix.json", []byte(`[{"data":"list.jsonl","weight":1},{"data":"s.tar","weight":1}]`))
	folder := filepath.Join(t.TempDir(), "folder")
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	writeText(t, folder, "a.png", string(picture))
	for _, path := range []string{filepath.Join(dir, "list.jsonl"), filepath.Join(dir, "s.tar"), filepath.Join(dir, "mix.json"), folder} {
		set, err := Open(path)
		if err == nil {
			_, err = Sample(set, 5) // shards are read here
		}
		if err == nil || !strings.Contains(err.Error(), "caption") {
			t.Errorf("%s, captions required: %v", path, err)
		}
		if set, err = Open(path, CaptionsOptional); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		src, err := Sample(set, 5)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		for i := range src.Len() {
			if _, err := src.Image(i); err != nil || src.Record(i).Caption != "" || src.Record(i).Name == "" {
				t.Errorf("%s: %+v, %v", path, src.Record(i), err)
			}
		}
	}
	writeText(t, folder, "a.txt", " ")
	if _, err := Open(folder, CaptionsOptional); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty caption: %v", err)
	}
}

func TestMixture(t *testing.T) {
	dir := t.TempDir()
	writePicture(t, dir, "a.png")
	writeText(t, dir, "a.jsonl", `{"image":"a.png","caption":"fox"}`)
	writeText(t, dir, "s.tar", string(someShard(t)))
	writeText(t, dir, "mix.json", `[{"data":"a.jsonl","weight":3},{"data":"s.tar","weight":1}]`)
	set, err := Open(filepath.Join(dir, "mix.json"))
	if err != nil {
		t.Fatal(err)
	}
	m := set.(*Mixture)
	if len(m.Parts()) != 2 || m.Parts()[0].Weight != 3 || m.Len() != -1 {
		t.Errorf("got %+v", m.Parts())
	}
	some, err := Sample(m, 3)
	if err != nil || some.Len() != 3 || some.Record(0).Caption != "fox" || some.Record(2).Caption != "a bird" {
		t.Errorf("a sample: %v", err)
	}
	if _, err := some.Image(2); err != nil {
		t.Error(err)
	}
	for list, want := range map[string]string{
		`{}`: "not a list", `[]`: "mixture of nothing", `[{"data":"a.jsonl"}]`: "entry 1", `[{"weight":1}]`: "entry 1",
		`[{"data":"a.jsonl","weight":-1}]`: "entry 1", `[{"data":"bad.json","weight":1}]`: "is a mixture", `[{"data":"none.tar","weight":1}]`: "none.tar",
	} {
		writeText(t, dir, "bad.json", list)
		if _, err := Open(filepath.Join(dir, "bad.json")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", list, err, want)
		}
	}
	if _, err := Mix(Part{m, 1}); err == nil {
		t.Error("a mixture of mixtures")
	}
}

// FuzzJSONL wants of any bytes records that can be looked for, or a fault.
func FuzzJSONL(f *testing.F) {
	f.Add([]byte("{\"image\":\"b.png\",\"caption\":\"fox\"}\n\n{\"image\":\"a.png\",\"text\":\"x\"}"))
	f.Add([]byte(`{"image":"../a","text":"x"}`))
	f.Add([]byte("\xff{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, problems := readJSONL(bytes.NewReader(data), "list", false)
		if len(problems) > maxProblems+1 {
			t.Errorf("%d problems", len(problems))
		}
		for _, r := range records {
			if !filepath.IsLocal(r.Name) || r.Caption == "" || strings.TrimSpace(r.Caption) != r.Caption {
				t.Errorf("%+v", r)
			}
		}
	})
}

// FuzzMixture wants of any bytes entries that can be opened, or an error.
func FuzzMixture(f *testing.F) {
	f.Add([]byte(`[{"data":"a","weight":3}]`))
	f.Add([]byte(`[{"data":"","weight":1e400}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		parts, err := parseMixture(data)
		for _, p := range parts {
			if err == nil && (p.Data == "" || !(p.Weight > 0)) {
				t.Errorf("entry %+v", p)
			}
		}
	})
}

package dataset

import (
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeText(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func writePicture(t *testing.T, dir, name string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, image.NewGray(image.Rect(0, 0, 3, 2))); err != nil {
		t.Fatal(err)
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	writePicture(t, dir, "b.png")
	writePicture(t, dir, "a.PNG")
	writeText(t, dir, "b.txt", "  a red\n fox \n")
	writeText(t, dir, "a.txt", "a bird")
	writeText(t, dir, ".hidden.txt", "not a caption")
	writeText(t, dir, "README.md", "not a caption")
	writeText(t, dir, ".\u023a", "longer in lower case")
	s, err := Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 2 || s.Record(0).Caption != "a bird" || s.Record(1).Caption != "a red fox" || s.Record(1).Name != "b.png" {
		t.Fatalf("got %d records: %+v", s.Len(), s.Record(0))
	}
	img, err := s.Image(1)
	if err != nil {
		t.Fatal(err)
	}
	if img.Bounds() != image.Rect(0, 0, 3, 2) {
		t.Errorf("picture has bounds %v", img.Bounds())
	}
}

// Every error names the file to mend and says what is wrong with it.
func TestFolderErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(dir string)
		want []string
	}{
		{"empty", func(string) {}, []string{"no pictures"}},
		{"no caption", func(dir string) { writePicture(t, dir, "a.png") }, []string{"a.png", "a.txt is missing"}},
		{"no picture", func(dir string) { writeText(t, dir, "a.txt", "fox") }, []string{"a.txt", "no picture"}},
		{"empty caption", func(dir string) {
			writePicture(t, dir, "a.png")
			writeText(t, dir, "a.txt", " \n")
		}, []string{"a.txt", "empty"}},
		{"two pictures", func(dir string) {
			writePicture(t, dir, "a.png")
			writePicture(t, dir, "a.gif")
			writeText(t, dir, "a.txt", "fox")
		}, []string{"a.png", "a.gif", "same caption"}},
		{"not a picture", func(dir string) {
			writeText(t, dir, "a.png", "hello")
			writeText(t, dir, "a.txt", "fox")
		}, []string{"a.png", "not a PNG"}},
		{"all at once", func(dir string) {
			writePicture(t, dir, "a.png")
			writeText(t, dir, "b.txt", "fox")
		}, []string{"a.png", "b.txt"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.make(dir)
			_, err := Folder(dir)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
	if _, err := Folder(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("missing directory gave %v", err)
	}
}

// A header may be whole where the pixels are not: Image must say so.
func TestFolderDamagedPicture(t *testing.T) {
	dir := t.TempDir()
	writePicture(t, dir, "a.png")
	writeText(t, dir, "a.txt", "fox")
	whole, err := os.ReadFile(filepath.Join(dir, "a.png"))
	if err != nil {
		t.Fatal(err)
	}
	writeText(t, dir, "a.png", string(whole[:len(whole)-20]))
	s, err := Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Image(0); err == nil || !strings.Contains(err.Error(), "a.png") {
		t.Errorf("damaged picture gave %v", err)
	}
}

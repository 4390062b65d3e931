package dataset

import (
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fuerte/aimv2/imagefile"
)

// folder is the pictures of one directory.
type folder struct {
	dir     string
	records []Record
}

// Folder reads the captioned pictures of a directory: each picture file (an
// extension of imagefile.Extensions) with its caption in a text file of the
// same stem, cat.jpg with cat.txt. Records come in the order of their names.
// Sub-directories, hidden files and files of other kinds are passed over.
//
// Captions and the headers of the pictures are read at once, so that a bad
// file shows at the start and not an hour into the training.
//
// Errors: all that is wrong, joined, each naming its file: a picture without a
// caption, a caption without a picture, two pictures for one caption, an empty
// caption or one that is not UTF-8, a file that cannot be read, a directory
// without pictures.
func Folder(dir string, options ...Option) (Source, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	pictures, captions := map[string]string{}, map[string]string{} // stem → file name
	var problems []error
	report := func(file, format string, args ...any) {
		problems = append(problems, fmt.Errorf("dataset: %s: %w", filepath.Join(dir, file), fmt.Errorf(format, args...)))
	}
	for _, f := range files {
		name := f.Name()
		ext := filepath.Ext(name)
		stem := strings.TrimSuffix(name, ext)
		ext = strings.ToLower(ext) // which may change its length
		switch {
		case f.IsDir() || strings.HasPrefix(name, "."):
		case ext == ".txt":
			captions[stem] = name
		case slices.Contains(imagefile.Extensions, ext):
			if other, ok := pictures[stem]; ok {
				report(name, "%s has the same caption file %s.txt", other, stem)
				continue
			}
			pictures[stem] = name
		}
	}

	s := &folder{dir: dir}
	for stem, picture := range pictures {
		text, ok := captions[stem]
		if !ok && !optional(options) {
			report(picture, "no caption: %s.txt is missing", stem)
			continue
		}
		if _, err := imagefile.ReadConfig(filepath.Join(dir, picture)); err != nil {
			problems = append(problems, fmt.Errorf("dataset: %w", err))
			continue
		}
		if !ok {
			s.records = append(s.records, Record{Name: picture})
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, text))
		if err != nil {
			problems = append(problems, fmt.Errorf("dataset: %w", err))
			continue
		}
		caption, err := cleanCaption(data)
		if err != nil {
			report(text, "%w", err)
			continue
		}
		s.records = append(s.records, Record{Name: picture, Caption: caption})
	}
	for stem, text := range captions {
		if _, ok := pictures[stem]; !ok {
			report(text, "no picture has this stem (looked for %s)", strings.Join(imagefile.Extensions, " "))
		}
	}
	if len(problems) > 0 {
		slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return nil, errors.Join(problems...)
	}
	if len(s.records) == 0 {
		return nil, fmt.Errorf("dataset: %s: no pictures (looked for %s)", dir, strings.Join(imagefile.Extensions, " "))
	}
	slices.SortFunc(s.records, func(a, b Record) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

func (s *folder) Len() int            { return len(s.records) }
func (s *folder) Record(i int) Record { return s.records[i] }

func (s *folder) Encoded(i int) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(s.dir, s.records[i].Name))
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	return data, nil
}

func (s *folder) Image(i int) (image.Image, error) {
	img, err := imagefile.Open(filepath.Join(s.dir, s.records[i].Name))
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	return img, nil
}

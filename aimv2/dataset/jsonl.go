package dataset

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"fuerte/aimv2/imagefile"
)

// maxProblems bounds what is collected about a list before it is given up.
const maxProblems = 20

// JSONL reads a list of captioned pictures: a file with one JSON object a line,
//
//	{"image": "cats/1.jpg", "caption": "two cats on a roof"}
//
// where "text" may stand for "caption". Images are paths relative to the list,
// with slashes, and may not lead out of its directory. Records come in the order
// of the lines; empty lines are passed over.
//
// As with Folder, the lines and the headers of the pictures are read at once.
//
// Errors: what is wrong, joined, each naming the list and the line: no object, no
// caption, not UTF-8, a line above 1 MiB, a path that leads outside, an image
// named twice, a picture that cannot be read; a list without pictures.
func JSONL(path string, options ...Option) (Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	defer f.Close()
	s := &folder{dir: filepath.Dir(path)}
	var problems []error
	s.records, problems = readJSONL(f, path, optional(options))
	for i := 0; i < len(s.records) && len(problems) < maxProblems; i++ {
		if _, err := imagefile.ReadConfig(filepath.Join(s.dir, s.records[i].Name)); err != nil {
			problems = append(problems, fmt.Errorf("dataset: %s: %w", path, err))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if len(s.records) == 0 {
		return nil, fmt.Errorf("dataset: %s: no pictures", path)
	}
	return s, nil
}

// readJSONL reads the lines of a list, to its end or to maxProblems; bare ones
// have no caption.
func readJSONL(r io.Reader, path string, bare bool) (records []Record, problems []error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxCaption)
	number := 0
	report := func(err error) {
		problems = append(problems, fmt.Errorf("dataset: %s: line %d: %w", path, number, err))
	}
	first := map[string]int{} // line of each image
	for len(problems) < maxProblems && lines.Scan() {
		number++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		entry, caption, err := parseCaptioned(line)
		if bare && errors.Is(err, errNoCaption) {
			err = nil
		}
		name := filepath.FromSlash(entry.Image)
		switch {
		case err != nil:
			report(err)
		case name == "":
			report(errors.New(`it has no "image"`))
		case !filepath.IsLocal(name):
			report(fmt.Errorf("image %q is not a path inside the list's directory", entry.Image))
		case first[name] > 0:
			report(fmt.Errorf("image %q is that of line %d", entry.Image, first[name]))
		default:
			first[name] = number
			records = append(records, Record{Name: name, Caption: caption})
		}
	}
	if err := lines.Err(); err != nil {
		number++
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("it is longer than %d bytes", maxCaption)
		}
		report(err)
	}
	return records, problems
}

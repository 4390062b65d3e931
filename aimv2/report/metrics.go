// Package report writes what a training run leaves behind for people to look
// at: the metrics as JSON lines, the loss curve and the sheets of predicted
// pictures as PNG. Pictures appear whole or not at all, like checkpoints.
package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Metrics appends records to a file of JSON lines. It is not safe for use from
// several goroutines.
type Metrics struct {
	file *os.File
	end  int64 // behind the last whole line
}

// OpenMetrics opens path, or creates it, to go on at resumeStep: the file is cut
// before the first record whose "step" is resumeStep or more, because the run is
// about to write that step again. So 0 starts afresh. Records without "step" are
// kept with those before them, and a torn last line, left by a crash, is dropped.
//
// Errors: those of the file system; a line, other than a torn last one, that is
// no JSON object or whose "step" is no number. The file is then left as it was.
func OpenMetrics(path string, resumeStep int) (*Metrics, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	m := &Metrics{file: f}
	err = eachRecord(f, path, func(line []byte, end int64) error {
		var record struct {
			Step *float64 `json:"step"`
		}
		if err := json.Unmarshal(line, &record); err != nil {
			return err
		}
		if record.Step != nil && *record.Step >= float64(resumeStep) {
			return errStop
		}
		m.end = end
		return nil
	})
	if err == nil {
		err = m.cut()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

// Append writes v, which must be a JSON object, as one line. The line is in the
// hands of the operating system when Append returns: a killed process does not
// lose it, a power cut may.
// Errors: v is no object or has no JSON form, as NaN has none; those of the file
// system, after which the file still ends with a whole line.
func (m *Metrics) Append(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("report: metrics: %w", err)
	}
	if line[0] != '{' {
		return fmt.Errorf("report: metrics: %T is no JSON object", v)
	}
	line = append(line, '\n')
	if _, err := m.file.Write(line); err != nil {
		return errors.Join(err, m.cut()) // a full disk takes half a line
	}
	m.end += int64(len(line))
	return nil
}

// Close syncs and closes the file.
func (m *Metrics) Close() error {
	return errors.Join(m.file.Sync(), m.file.Close())
}

// cut drops what is behind the last whole line and stands there.
func (m *Metrics) cut() error {
	_, err := m.file.Seek(m.end, io.SeekStart)
	return errors.Join(m.file.Truncate(m.end), err)
}

// ReadMetrics reads the file that a Metrics wrote, each line into a T, which is
// map[string]any, or a struct with the fields that are of interest (such as
// Point). A torn last line, as a killed run leaves, is skipped.
// Errors: those of the file system; any other line that does not fit T, by its
// number.
func ReadMetrics[T any](path string) ([]T, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	var records []T
	err = eachRecord(f, path, func(line []byte, _ int64) error {
		var record T
		if err := json.Unmarshal(line, &record); err != nil {
			return err
		}
		records = append(records, record)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

// errStop ends eachRecord early without being an error.
var errStop = errors.New("stop")

// eachRecord calls record with every whole line and the offset behind it. A
// line is whole when its newline is there: Append writes both at once, and what
// a power cut leaves behind the last newline may be anything.
func eachRecord(r io.Reader, path string, record func(line []byte, end int64) error) error {
	in := bufio.NewReader(r)
	end := int64(0)
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		end += int64(len(line))
		if !bytes.HasPrefix(line, []byte("{")) {
			return &fs.PathError{Op: "read metrics", Path: path, Err: fmt.Errorf("line %d is no JSON object: %.40q", number, line)}
		}
		if err := record(line, end); err == errStop {
			return nil
		} else if err != nil {
			return &fs.PathError{Op: "read metrics", Path: path, Err: fmt.Errorf("line %d: %w", number, err)}
		}
	}
}

// Package tuning keeps what bench/cmd/tune found best for the products of a machine: a
// kernels.Tuning for each CPU and level, in a file of the user.
//
// Programs apply it at their start; a library never does. A result has the same bits
// with it and without, so that a run may be moved, and the file deleted, at any time.
//
// The file is $FUERTE_TUNING, or fuerte/tuning.json in os.UserCacheDir; FUERTE_TUNING=off
// is for no file. It is a JSON object, with a key like
// "AMD EPYC 7B13 (25/1), 8 cores, L2 512 KiB, avx2" for each Tuning.
package tuning

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/klauspost/cpuid/v2"

	"fuerte/kernels"
	"fuerte/nn/atomicfile"
)

// ErrNone says that nothing is stored for this CPU and level, or nothing is to be used.
var ErrNone = errors.New("tuning: none is stored")

// mostBytes is far above what a file of any number of machines needs.
const mostBytes = 1 << 20

// Path returns the file. Errors: ErrNone, wrapped, where it is switched off or the
// system names no folder for it.
func Path() (string, error) {
	switch path := os.Getenv("FUERTE_TUNING"); path {
	case "off":
		return "", fmt.Errorf("%w: FUERTE_TUNING=off", ErrNone)
	case "":
		dir, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("%w: %v", ErrNone, err)
		}
		return filepath.Join(dir, "fuerte", "tuning.json"), nil
	default:
		return path, nil
	}
}

// Key names this CPU and a level in the file. Family and model are part of it, because
// some hypervisors leave no more of the name than its maker.
func Key(level string) string {
	c := cpuid.CPU
	return fmt.Sprintf("%s (%d/%d), %d cores, L2 %d KiB, %s", cmp.Or(c.BrandName, "unknown "+runtime.GOARCH), c.Family, c.Model, c.PhysicalCores, max(c.Cache.L2, 0)>>10, level)
}

// Load returns the Tuning that is stored for this CPU and the level.
//
// Errors: ErrNone, wrapped; those of reading the file, a file that is no JSON object or
// above 1 MB, an entry that is no Tuning or out of range. All are reasons to go on with
// the default, and none to stop.
func Load(level string) (t kernels.Tuning, err error) {
	path, err := Path()
	if err != nil {
		return t, err
	}
	entries, err := read(path)
	if err != nil {
		return t, err
	}
	text, ok := entries[Key(level)]
	if !ok {
		return t, fmt.Errorf("%w: %s has no %q", ErrNone, path, Key(level))
	}
	// A field that is missing stays 0, which is out of range.
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err = d.Decode(&t); err == nil {
		err = t.Check()
	}
	if err != nil {
		return kernels.Tuning{}, fmt.Errorf("tuning: %s: %q: %w", path, Key(level), err)
	}
	return t, nil
}

// Apply sets what is stored for the level in use, for programs to call at their start.
//
// Errors: those of Load, but for ErrNone; the Tuning is then as it was. A program tells
// its user and goes on.
func Apply(level string) error {
	t, err := Load(level)
	switch {
	case errors.Is(err, ErrNone):
		return nil
	case err != nil:
		return err
	}
	return kernels.SetTuning(t)
}

// Store stores t for this CPU and the level, and returns the file. What the file holds
// of others stays.
//
// Errors: a Tuning out of range; FUERTE_TUNING=off; those of the file system; a file of
// that name that is something else, which is left alone.
func Store(level string, t kernels.Tuning) (path string, err error) {
	if err := t.Check(); err != nil {
		return "", err
	}
	if path, err = Path(); err != nil {
		return "", err
	}
	entries, err := read(path)
	if errors.Is(err, ErrNone) {
		entries, err = map[string]json.RawMessage{}, nil
	}
	if err != nil {
		return path, err
	}
	if entries[Key(level)], err = json.Marshal(t); err != nil {
		return path, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return path, err
	}
	return path, atomicfile.WriteFileAtomic(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(entries)
	})
}

// read returns the entries of a file, ErrNone where there is no file.
func read(path string) (entries map[string]json.RawMessage, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: there is no %s", ErrNone, path)
	case err != nil:
		return nil, fmt.Errorf("tuning: %w", err)
	case !info.Mode().IsRegular(): // a pipe would be waited for
		return nil, fmt.Errorf("tuning: %s is no regular file", path)
	case info.Size() > mostBytes:
		return nil, fmt.Errorf("tuning: %s has %d bytes, above %d", path, info.Size(), mostBytes)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tuning: %w", err)
	}
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, fmt.Errorf("tuning: %s: %w", path, err)
	}
	if entries == nil { // null
		return nil, fmt.Errorf("tuning: %s is no JSON object", path)
	}
	return entries, nil
}

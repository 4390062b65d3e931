// Package atomicfile writes files that are either whole or absent.
//
// A checkpoint that a crash cut in half is worse than none: it hides the good
// one before it. Every file that a run, a checkpoint or an export leaves behind
// goes through here, but for the metrics, which grow line by line.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
)

// bufferSize turns many small writes of the callback into few system calls;
// writes larger than this pass through uncopied.
const bufferSize = 64 << 10

// WriteFileAtomic replaces path by what write sends to its writer, or leaves
// path as it was: at every moment, also after kill -9 or a power cut, path is
// the whole old file, the whole new one, or (if there was none) absent.
//
// The bytes go to a hidden file in the folder of path, named
// ".<base>.<random>.tmp", which is synced and then renamed over path; the
// folder is synced last. A file that is replaced keeps its permission bits; a
// new one gets 0666 less the umask. Where path is a symbolic link, the link is
// replaced and not what it points to. Readers that have the old file open or
// mapped keep seeing the old bytes.
//
// Errors: whatever write returns, unwrapped, and those of the file system. On
// an error or a panic in write the hidden file is removed and path is untouched;
// only a killed process leaves its hidden file, which is safe to delete. The
// one error that comes after the replacement is a failed sync of the folder.
func WriteFileAtomic(path string, write func(io.Writer) error) (err error) {
	f, err := createBeside(path)
	if err != nil {
		return err
	}
	renamed := false
	defer func() {
		if !renamed {
			// The error that brought us here is the one worth reporting.
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()

	if old, err := os.Stat(path); err == nil {
		if err := f.Chmod(old.Mode().Perm()); err != nil {
			return err
		}
	}
	w := bufio.NewWriterSize(f, bufferSize)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	// Without this sync the rename may reach the disk before the bytes do, and
	// a power cut leaves a file of the right name and length, full of zeros.
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	renamed = true
	return syncDir(filepath.Dir(path))
}

// createBeside opens a new hidden file in the folder of path. os.CreateTemp is
// not used: it makes files that only the owner may read, whatever the umask.
func createBeside(path string) (*os.File, error) {
	dir, base := filepath.Split(path)
	if base == "" {
		return nil, fmt.Errorf("atomicfile: %q names a folder, not a file", path)
	}
	for {
		name := filepath.Join(dir, fmt.Sprintf(".%s.%08x.tmp", base, rand.Uint32()))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		return f, err
	}
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" {
		return nil // a folder cannot be opened for syncing there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

// mustHold fails unless dir holds exactly one file, name, with this content:
// nothing left over and nothing lost.
func mustHold(t *testing.T, dir, name, content string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("folder holds %v, want only %s", entries, name)
	}
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != content {
		t.Errorf("%s holds %.40q, want %.40q", name, got, content)
	}
}

func TestCreateAndReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.bin")
	for _, s := range []string{"one", string(bytes.Repeat([]byte("x"), 3*bufferSize+1)), ""} {
		if err := WriteFileAtomic(path, text(s)); err != nil {
			t.Fatal(err)
		}
		mustHold(t, dir, "a.bin", s)
	}
}

func TestRelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := WriteFileAtomic("a.bin", text("here")); err != nil {
		t.Fatal(err)
	}
	mustHold(t, ".", "a.bin", "here")
}

func TestFailureKeepsOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.bin")
	if err := WriteFileAtomic(path, text("old")); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	err := WriteFileAtomic(path, func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 2*bufferSize)); err != nil {
			return err
		}
		return boom
	})
	if err != boom {
		t.Errorf("error is %v, want the callback's own", err)
	}
	mustHold(t, dir, "a.bin", "old")

	func() {
		defer func() { _ = recover() }()
		_ = WriteFileAtomic(path, func(io.Writer) error { panic("boom") })
	}()
	mustHold(t, dir, "a.bin", "old")
}

func TestPathsThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir + "/", dir, filepath.Join(dir, "no", "folder")} {
		if err := WriteFileAtomic(path, text("x")); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}

func TestPermissionsSurvive(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no permission bits on windows")
	}
	path := filepath.Join(t.TempDir(), "a.bin")
	if err := os.WriteFile(path, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteFileAtomic(path, text("new secret")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("replaced file has mode %v, want -rw-------", info.Mode())
	}
}

// TestKill kills a process in the middle of a write and wants the old file
// whole. The child is this test binary, told by the environment to be one.
func TestKill(t *testing.T) {
	const asChild = "ATOMICFILE_TEST_CHILD"
	if path := os.Getenv(asChild); path != "" {
		err := WriteFileAtomic(path, func(w io.Writer) error {
			if _, err := w.Write(make([]byte, 4*bufferSize)); err != nil {
				return err
			}
			fmt.Println("half")
			time.Sleep(time.Minute) // until killed; an empty select is a deadlock
			return nil
		})
		t.Fatal("write returned", err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "a.bin")
	if err := WriteFileAtomic(path, text("old")); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestKill$")
	child.Env = append(os.Environ(), asChild+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("half"))); err != nil {
		t.Fatal(err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // always "signal: killed"

	if got, err := os.ReadFile(path); err != nil || string(got) != "old" {
		t.Errorf("after kill: %q, %v; want the old file", got, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".a.bin.*.tmp"))
	if err != nil || len(left) != 1 {
		t.Errorf("hidden files after kill: %v, %v; want the documented one", left, err)
	}
}

// Package gen tests what the generators beside it wrote: nothing in
// kernels/amd64 and kernels/arm64 is stale, orphaned, undisciplined, or in need
// of more than its level promises. Run them as "go test" in this folder or with
// -count=1: the cache of "go test ./..." does not see files outside the module.
package gen

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	root    = ".."
	kernels = filepath.Join(root, "kernels")
)

var arches = []string{"amd64", "arm64"}

// generatedFolders are the folders below kernels, and kernels itself, in which
// the generators write.
var generatedFolders = append([]string{""}, arches...)

// TestFresh runs go generate on a copy that has lost every generated file, and
// wants each of them back bit for bit, and no others.
func TestFresh(t *testing.T) {
	dir := copied(t, "gen", "kernels")
	for _, folder := range generatedFolders {
		for name := range generated(t, filepath.Join(dir, "kernels", folder)) {
			if err := os.Remove(filepath.Join(dir, "kernels", folder, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	generate(t, dir)
	for _, folder := range generatedFolders {
		committed, made := generated(t, filepath.Join(kernels, folder)), generated(t, filepath.Join(dir, "kernels", folder))
		if folder != "" && len(made) < 16 {
			t.Errorf("kernels/%s: go generate makes only %d files", folder, len(made))
		}
		for name, text := range committed {
			switch again, ok := made[name]; {
			case !ok:
				t.Errorf("kernels/%s/%s: no go:generate line of doc.go makes it", folder, name)
			case !bytes.Equal(text, again):
				t.Errorf("kernels/%s/%s: stale, run go generate ./...", folder, name)
			}
		}
		for name := range made {
			if committed[name] == nil {
				t.Errorf("kernels/%s/%s: missing, run go generate ./...", folder, name)
			}
		}
	}
}

// TestNoCandidates removes the files of all experimental kernels from a copy: go
// generate takes away what it had made of them, and kernels builds without.
func TestNoCandidates(t *testing.T) {
	dir := copied(t, "gen", "kernels")
	files, err := filepath.Glob(filepath.Join(dir, "gen", "amd64", "candidate_*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	// A run without candidates must not lean on what stands there already.
	for _, suffix := range []string{".s", ".go"} {
		if err := os.WriteFile(filepath.Join(dir, "kernels", "amd64", "candidate_amd64"+suffix), []byte("stale"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	generate(t, dir)
	for _, suffix := range []string{".s", ".go"} {
		if _, err := os.Stat(filepath.Join(dir, "kernels", "amd64", "candidate_amd64"+suffix)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("candidate_amd64%s is still there: %v", suffix, err)
		}
	}
	if list := read(t, filepath.Join(dir, "kernels", "candidates_amd64.go")); bytes.Contains(list, []byte("candidate(")) {
		t.Errorf("candidates_amd64.go still lists candidates:\n%s", list)
	}
	if out, err := goIn(dir, []string{"GOARCH=amd64", "GOOS=linux", "CGO_ENABLED=0"}, "build", "./kernels"); err != nil {
		t.Errorf("kernels does not build without candidates: %v\n%s", err, out)
	}
}

// generate runs go generate in a copy of the repository. A file that does not
// compile, stale or gone, must not be in its way.
func generate(t *testing.T, dir string) {
	t.Helper()
	if out, err := goIn(dir, nil, "generate", "./kernels/amd64", "./kernels/arm64"); err != nil {
		t.Fatalf("go generate: %v\n%s", err, out)
	}
}

// TestAsmdecl runs go vet's check of assembly against its Go declarations:
// argument sizes, offsets and widths, results written. A planted wrong offset
// shows that it looks at all.
func TestAsmdecl(t *testing.T) {
	for arch, load := range map[string]string{"amd64": "x_len+8(FP)", "arm64": "x_len+8(FP)"} {
		env := []string{"GOARCH=" + arch, "GOOS=linux", "CGO_ENABLED=0"}
		if out, err := goIn(root, env, "vet", "-asmdecl", "./kernels/"+arch); err != nil {
			t.Errorf("go vet -asmdecl, GOARCH=%s: %v\n%s", arch, err, out)
		}
		dir := copied(t, "kernels/"+arch)
		path := filepath.Join(dir, "kernels", arch, "reduce_"+arch+".s")
		wrong := bytes.Replace(read(t, path), []byte(load), []byte("x_len+16(FP)"), 1)
		if err := os.WriteFile(path, wrong, 0o666); err != nil {
			t.Fatal(err)
		}
		if out, err := goIn(dir, env, "vet", "-asmdecl", "./kernels/"+arch); err == nil || !strings.Contains(string(out), "x_len") {
			t.Errorf("go vet -asmdecl, GOARCH=%s, does not see a wrong offset: %v\n%s", arch, err, out)
		}
	}
}

// copied copies folders of the repository, without tests, and its module file to
// a new place.
func copied(t *testing.T, folders ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := os.WriteFile(filepath.Join(dir, name), read(t, filepath.Join(root, name)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range folders {
		err := fs.WalkDir(os.DirFS(root), folder, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			to := filepath.Join(dir, filepath.FromSlash(path))
			if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
				return err
			}
			return os.WriteFile(to, read(t, filepath.Join(root, filepath.FromSlash(path))), 0o666)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// goIn runs the go command in a folder.
func goIn(dir string, env []string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	return cmd.CombinedOutput()
}

// generated reads the files of a folder that are assembly or say that they are
// generated.
func generated(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		text := read(t, filepath.Join(dir, e.Name()))
		if strings.HasSuffix(e.Name(), ".s") || bytes.HasPrefix(text, []byte("// Code generated ")) {
			files[e.Name()] = text
		}
	}
	return files
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var loopFLOP = regexp.MustCompile(`(amd|arm)64\.(FMAPeak\w+), (\d+)`)

// TestPeakFLOP counts the FMAs of the peak loops: every "% of peak" rests on the
// numbers in dispatch_*.go.
func TestPeakFLOP(t *testing.T) {
	counted := map[string]string{}
	for name, c := range map[string]struct {
		arch, op string
		lanes    int
	}{"FMAPeakAVX2": {"amd64", "VFMADD231PS", 8}, "FMAPeakAVX512": {"amd64", "VFMADD231PS", 16}, "FMAPeakNEON": {"arm64", "VFMLA", 4}} {
		for _, f := range functions(t, c.arch) {
			for _, i := range f.code {
				if f.name == name && i.op == c.op {
					n, _ := strconv.Atoi(counted[name])
					counted[name] = strconv.Itoa(n + 2*c.lanes)
				}
			}
		}
	}
	said := map[string]string{}
	for _, arch := range arches {
		for _, m := range loopFLOP.FindAllSubmatch(read(t, filepath.Join(kernels, "dispatch_"+arch+".go")), -1) {
			said[string(m[2])] = string(m[3])
		}
	}
	if !maps.Equal(counted, said) {
		t.Errorf("FLOP of a pass: the loops have %v, dispatch_*.go says %v", counted, said)
	}
}

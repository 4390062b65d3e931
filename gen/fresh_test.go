// Package gen tests what the generators beside it wrote: nothing in
// kernels/amd64 is stale, orphaned, or in need of more than its level promises.
// Run them as "go test" in this folder or with -count=1: the cache of
// "go test ./..." does not see files outside the module.
package gen

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	kernels = filepath.Join("..", "kernels")
	target  = filepath.Join(kernels, "amd64")
)

// TestFresh generates everything again and compares it with what is committed.
func TestFresh(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "./amd64", "-dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("go run ./amd64: %v\n%s", err, out)
	}
	made, committed := names(t, dir), names(t, target)
	for _, name := range committed {
		if !slices.Contains(made, name) {
			t.Errorf("%s: no generator writes it", name)
		}
	}
	doc := read(t, filepath.Join(target, "doc.go"))
	for _, name := range made {
		want := read(t, filepath.Join(dir, name))
		if got, err := os.ReadFile(filepath.Join(target, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: stale, run go generate ./kernels/amd64 (%v)", name, err)
		}
		family, _, _ := strings.Cut(name, "_")
		if !bytes.Contains(doc, []byte("./amd64 -family "+family+"\n")) {
			t.Errorf("%s: doc.go has no go:generate line for its family", name)
		}
	}
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	for _, pattern := range []string{"*_amd64.s", "*_amd64.go"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			list = append(list, filepath.Base(p))
		}
	}
	return list
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// levels are the suffixes of kernel names, and the lists in dispatch_amd64.go
// that guard the sets which use them.
var levels = []struct{ suffix, guard string }{{"AVX2", "avx2Features"}, {"AVX512", "avx512Features"}}

// implied are features that avo names and every amd64 CPU has: MMX+ stands for
// PREFETCHT0.
var implied = []string{"SSE", "SSE2", "MMX+"}

var (
	wide      = regexp.MustCompile(`\b[YZ]\d`)
	beyond    = regexp.MustCompile(`\b([XY](1[6-9]|2\d|3[01])|Z\d+|K[0-7])\b`)
	bareRet   = regexp.MustCompile(`(?m)^\t(\S+).*\n\tRET`)
	guardList = regexp.MustCompile(`(\w+Features)\s*=\s*\[\]cpuid\.FeatureID\{([^}]*)\}`)
)

// TestLevels reads the assembly: each function stays within its level's
// registers and features and leaves the vector registers clean.
func TestLevels(t *testing.T) {
	guards := map[string][]string{}
	for _, m := range guardList.FindAllStringSubmatch(string(read(t, filepath.Join(kernels, "dispatch_amd64.go"))), -1) {
		for _, f := range strings.Split(m[2], ",") {
			guards[m[1]] = append(guards[m[1]], strings.TrimPrefix(strings.TrimSpace(f), "cpuid."))
		}
	}
	seen := 0
	for _, name := range names(t, target) {
		if !strings.HasSuffix(name, ".s") {
			continue
		}
		text := string(read(t, filepath.Join(target, name)))
		for _, f := range split(text) {
			f.check(t, name, guards)
			seen++
		}
	}
	if seen == 0 {
		t.Error("no functions found")
	}
}

type fn struct{ name, requires, body string }

var (
	textLine    = regexp.MustCompile(`^TEXT ·(\w+)\(SB\)`)
	requireLine = "// Requires: "
)

// split cuts an assembly file into its functions.
func split(text string) (list []fn) {
	requires := ""
	for _, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, requireLine):
			requires = strings.TrimPrefix(line, requireLine)
		case textLine.MatchString(line):
			list = append(list, fn{name: textLine.FindStringSubmatch(line)[1], requires: requires})
			requires = ""
		case len(list) > 0 && !strings.HasPrefix(line, "//"):
			list[len(list)-1].body += line + "\n"
		}
	}
	return list
}

func (f fn) check(t *testing.T, file string, guards map[string][]string) {
	t.Helper()
	i := slices.IndexFunc(levels, func(l struct{ suffix, guard string }) bool { return strings.HasSuffix(f.name, l.suffix) })
	if i < 0 {
		t.Errorf("%s: %s does not end in a level", file, f.name)
		return
	}
	level := levels[i]
	if level.suffix == "AVX2" { // avo hands out Y16 without a word when 16 are not enough
		if r := beyond.FindString(f.body); r != "" {
			t.Errorf("%s: %s uses %s, which AVX2 does not have", file, f.name, r)
		}
	}
	if wide.MatchString(f.body) {
		for _, m := range bareRet.FindAllStringSubmatch(f.body, -1) {
			if m[1] != "VZEROUPPER" {
				t.Errorf("%s: %s: RET after %s, not VZEROUPPER", file, f.name, m[1])
			}
		}
	}
	for _, need := range strings.Split(f.requires, ", ") {
		if need != "" && !slices.Contains(guards[level.guard], need) && !slices.Contains(implied, need) {
			t.Errorf("%s: %s requires %s, which %s does not ask for", file, f.name, need, level.guard)
		}
	}
}

var loopFLOP = regexp.MustCompile(`amd64\.FMAPeak(\w+), (\d+)`)

// TestPeakFLOP counts the FMAs of the peak loops: every "% of peak" rests on the
// numbers in dispatch_amd64.go.
func TestPeakFLOP(t *testing.T) {
	lanes := map[string]int{"AVX2": 8, "AVX512": 16}
	want := map[string]string{}
	for _, f := range split(string(read(t, filepath.Join(target, "peak_amd64.s")))) {
		suffix := strings.TrimPrefix(f.name, "FMAPeak")
		want[suffix] = strconv.Itoa(2 * lanes[suffix] * strings.Count(f.body, "VFMADD231PS"))
	}
	found := loopFLOP.FindAllStringSubmatch(string(read(t, filepath.Join(kernels, "dispatch_amd64.go"))), -1)
	if len(found) != len(want) {
		t.Errorf("dispatch_amd64.go uses %d of %d loops", len(found), len(want))
	}
	for _, m := range found {
		if m[2] != want[m[1]] {
			t.Errorf("FMAPeak%s is %s FLOP a pass, dispatch_amd64.go says %s", m[1], want[m[1]], m[2])
		}
	}
}

package gen

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

var bytesLine = regexp.MustCompile(`(?m)^\tLONG \$0x([0-9a-f]{8}); WORD \$0x([0-9a-f]{4}) // (VDPBF16PS) Z(\d+), Z(\d+), Z(\d+)$`)

// TestBytes: what stands in bytes is the instruction of its comment, says GNU as.
// Without it for amd64 the test does not run, but for FUERTE_REQUIRE_AS, where it fails.
func TestBytes(t *testing.T) {
	want := map[string]string{} // GNU's operands → bytes
	paths, err := filepath.Glob(filepath.Join(kernels, "amd64", "*.s"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text := read(t, path)
		if all, ours := bytes.Count(text, []byte("\tLONG ")), len(bytesLine.FindAll(text, -1)); all != ours {
			t.Errorf("%s: %d lines of bytes, %d understood", filepath.Base(path), all, ours)
		}
		for _, m := range bytesLine.FindAllStringSubmatch(string(text), -1) {
			little := func(word string) (s string) {
				for i := len(word) - 2; i >= 0; i -= 2 {
					s += word[i : i+2]
				}
				return s
			}
			key := fmt.Sprintf("%s %%zmm%s,%%zmm%s,%%zmm%s", strings.ToLower(m[3]), m[4], m[5], m[6])
			code := little(m[1]) + little(m[2])
			if want[key] != "" && want[key] != code {
				t.Errorf("%s is %s and %s", key, want[key], code)
			}
			want[key] = code
		}
	}
	if len(want) < 28 {
		t.Fatalf("only %d instructions in bytes: is the pattern right?", len(want))
	}
	as, err := exec.LookPath("as")
	if err != nil || runtime.GOARCH != "amd64" {
		if os.Getenv("FUERTE_REQUIRE_AS") != "" {
			t.Fatal("FUERTE_REQUIRE_AS is set, and there is no GNU as for amd64")
		}
		t.Skip("no GNU as for amd64")
	}
	dir := t.TempDir()
	source, object := filepath.Join(dir, "x.s"), filepath.Join(dir, "x.o")
	var keys []string
	var program strings.Builder
	for key := range want {
		keys = append(keys, key)
		fmt.Fprintf(&program, "%s\n", key)
	}
	if err := os.WriteFile(source, []byte(program.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(as, "--64", "-al="+filepath.Join(dir, "list"), "-o", object, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	listing := regexp.MustCompile(`(?m)^ +(\d+) (?:[0-9a-f]{4}| {4}) +?([0-9A-F]+)\b`).FindAllStringSubmatch(string(read(t, filepath.Join(dir, "list"))), -1)
	got := map[string]string{} // line → bytes, which the listing breaks
	for _, m := range listing {
		got[m[1]] += strings.ToLower(m[2])
	}
	for i, key := range keys {
		if line := got[fmt.Sprint(i+1)]; line != want[key] {
			t.Errorf("%s is %s, GNU as says %q", key, want[key], line)
		}
	}
}

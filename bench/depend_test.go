package bench

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers lists the packages of the module from the bottom up. A package may
// import those of lower layers only, and of its own layer none, unless below.
var layers = [][]string{
	{"kernels/amd64", "kernels/arm64", "kernels/opengl"},
	{"kernels"},
	{"tensor"},
	{"autograd"},
	{"autograd/profile"},
	{"nn"},
	{"aimv2"},
	{"bench"},
}

// leaves import nothing of this module, but for sideways.
var leaves = []string{"kernels/amd64", "kernels/arm64", "kernels/opengl", "nn/safetensors", "nn/atomicfile", "nn/npy", "nn/tuning"}

// sideways are the imports of leaves that are meant: of another leaf, to write
// files, and of kernels, to convert numbers and to tune products.
var sideways = map[string][]string{"nn/safetensors": {"nn/atomicfile", "kernels"}, "nn/tuning": {"nn/atomicfile", "kernels"}}

// layer returns the number of the layer of an import path, less the module, or
// −1. Packages below a folder belong to its layer: aimv2/dataset to aimv2.
func layer(path string) int {
	best, length := -1, 0
	for i, names := range layers {
		for _, n := range names {
			if (path == n || strings.HasPrefix(path, n+"/")) && len(n) > length {
				best, length = i, len(n)
			}
		}
	}
	return best
}

// listed is what `go list -json` says of a package.
type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
	Deps                               []string
	Module                             *struct{ Path string }
}

func goList(t *testing.T, args ...string) (out []listed) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,TestImports,XTestImports,Deps,Module"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, &stderr)
	}
	for d := json.NewDecoder(&stdout); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
}

// builds are the builds whose dependencies are held to the rules.
var builds = []struct {
	name string
	args []string
}{
	{"default", nil},
	{"purego", []string{"-tags=purego"}},
	{"opengl", []string{"-tags=opengl"}},
}

// TestDirection holds every import inside the module to the direction aimv2 →
// nn → autograd → tensor → kernels → kernels/{amd64,arm64}: never up, never
// sideways. kernels/opengl is for tensor alone. Test files may import packages
// of their own layer and below.
func TestDirection(t *testing.T) {
	for _, b := range builds {
		for _, p := range goList(t, append(slices.Clone(b.args), "../...")...) {
			from := strings.TrimPrefix(p.ImportPath, "fuerte/")
			if p.ImportPath == "fuerte" {
				continue // this test
			}
			mine := layer(from)
			if mine < 0 {
				t.Errorf("%s: %s stands in no layer", b.name, from)
				continue
			}
			for _, path := range inModule(p.Imports) {
				theirs := layer(path)
				inside := theirs == mine && (family(from) == "aimv2" || family(from) == "bench" || from == family(from) || slices.Contains(sideways[from], path))
				switch {
				case family(path) == "gen", family(path) == "bench" && family(from) != "bench":
					t.Errorf("%s: %s imports %s, which nothing may", b.name, from, path)
				case slices.Contains(leaves, from) && !slices.Contains(sideways[from], path):
					t.Errorf("%s: %s is a leaf, but imports %s", b.name, from, path)
				case theirs > mine:
					t.Errorf("%s: %s imports %s, from below", b.name, from, path)
				case theirs == mine && !inside:
					t.Errorf("%s: %s imports %s, sideways", b.name, from, path)
				case path == "kernels/opengl" && from != "tensor" && family(from) != "bench":
					t.Errorf("%s: %s imports %s; only tensor may", b.name, from, path)
				case strings.HasPrefix(path, "kernels/") && from != "kernels" && path != "kernels/opengl" && family(from) != "bench":
					t.Errorf("%s: %s imports %s past kernels", b.name, from, path)
				}
			}
			for _, path := range inModule(append(p.TestImports, p.XTestImports...)) {
				if layer(path) > mine {
					t.Errorf("%s: a test of %s imports %s, from below", b.name, from, path)
				}
			}
		}
	}
}

// inModule keeps the imports of this module, less its name.
func inModule(paths []string) (out []string) {
	for _, p := range paths {
		if short, ok := strings.CutPrefix(p, "fuerte/"); ok {
			out = append(out, short)
		}
	}
	return out
}

// family is the top-level folder of a package.
func family(path string) string {
	top, _, _ := strings.Cut(path, "/")
	return top
}

// networked are the packages that may need net, whose name resolver is the C
// library's where cgo is on.
var networked = []string{"fuerte/aimv2/hub", "fuerte/aimv2/cmd/aimv2"}

// TestOpenGLOnlyByTag: without the tag no package needs kernels/opengl, purego,
// go-gl or cgo, not even where a C compiler is at hand, but for cgo by way of net.
func TestOpenGLOnlyByTag(t *testing.T) {
	for _, p := range goList(t, "../...") {
		for _, d := range p.Deps {
			own := p.ImportPath == "fuerte/kernels/opengl" && !strings.HasPrefix(d, "github.com/")
			net := d == "runtime/cgo" && slices.Contains(networked, p.ImportPath)
			for _, bad := range []string{"fuerte/kernels/opengl", "github.com/ebitengine/purego", "github.com/go-gl/", "runtime/cgo"} {
				if strings.HasPrefix(d, bad) && !own && !net {
					t.Errorf("without the tag %s depends on %s", p.ImportPath, d)
				}
			}
		}
	}
}

// TestStatic: with CGO_ENABLED=0 nothing needs cgo, so that every program is one
// static file. Only networked packages need net, and none os/user, which asks the C
// library too.
func TestStatic(t *testing.T) {
	t.Setenv("CGO_ENABLED", "0")
	for _, p := range goList(t, "../...") {
		for _, d := range p.Deps {
			switch {
			case d == "runtime/cgo", d == "os/user":
				t.Errorf("%s depends on %s", p.ImportPath, d)
			case d == "net" && !slices.Contains(networked, p.ImportPath):
				t.Errorf("%s depends on net; only %q may", p.ImportPath, networked)
			}
		}
	}
}

// TestCoreDependencies lists what the engine below nn takes from other modules.
func TestCoreDependencies(t *testing.T) {
	allowed := []string{"github.com/klauspost/cpuid/v2", "golang.org/x/sys"}
	for _, p := range goList(t, "-deps", "../tensor", "../autograd") {
		if p.Module != nil && p.Module.Path != "fuerte" && !slices.Contains(allowed, p.Module.Path) {
			t.Errorf("the core depends on %s", p.ImportPath)
		}
	}
}

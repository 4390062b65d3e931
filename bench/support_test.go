package bench

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"fuerte/kernels"
	"fuerte/tensor"
)

var update = flag.Bool("update", false, "rewrite the tables of README.md")

// TestSupportTables holds the README's tables to the code: which kernel has
// assembly on which level, and which primitive which device. They are read from
// the source, since no machine and no build has all levels and devices.
func TestSupportTables(t *testing.T) {
	path := filepath.Join("..", "README.md")
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(readme)
	for name, table := range map[string]string{"kernels": kernelTable(t), "devices": deviceTable(t)} {
		block := regexp.MustCompile(`(?s)(<!-- ` + name + ` -->\n).*?(<!-- end -->)`)
		if !block.MatchString(text) {
			t.Fatalf("README.md has no block %q", name)
		}
		text = block.ReplaceAllString(text, "${1}"+table+"${2}")
	}
	switch {
	case text == string(readme):
	case *update:
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	default:
		t.Error("the tables of README.md are old; run go test ./bench -run Support -update")
	}
}

// kernelTable lists the fields of kernels.Set against the levels that override
// the reference.
func kernelTable(t *testing.T) string {
	levels := []string{"avx2", "avx512", "neon"}
	has := map[string]map[string]bool{"avx2": {}, "avx512": {}, "neon": {}}
	for _, file := range []string{"dispatch_amd64.go", "dispatch_arm64.go"} {
		inspect(t, filepath.Join("..", "kernels", file), func(n ast.Node) {
			if a, ok := n.(*ast.AssignStmt); ok {
				for _, l := range a.Lhs {
					if s, ok := l.(*ast.SelectorExpr); ok {
						if id, ok := s.X.(*ast.Ident); ok && has[id.Name] != nil {
							has[id.Name][s.Sel.Name] = true
						}
					}
				}
			}
		})
	}
	var b strings.Builder
	b.WriteString("| kernel | reference | AVX2 | AVX-512 | NEON |\n|---|---|---|---|---|\n")
	set := reflect.TypeFor[kernels.Set[float32]]()
	reference := reflect.ValueOf(kernels.Reference[float32]()).Elem()
	for i := range set.NumField() {
		f := set.Field(i)
		if f.Type.Kind() != reflect.Func && f.Type.Kind() != reflect.Struct {
			continue
		}
		without := "Go" // assembly
		v := reference.Field(i)
		if v.Kind() == reflect.Func && v.IsNil() || v.Kind() == reflect.Struct && v.FieldByName("Run").IsNil() {
			without = "–"
			fmt.Fprintf(&b, "| %s | – |", f.Name)
		} else {
			fmt.Fprintf(&b, "| %s | ✓ |", f.Name)
		}
		for _, l := range levels {
			switch {
			case has[l][f.Name]:
				b.WriteString(" ✓ |")
			case l == "avx512" && has["avx2"][f.Name]:
				b.WriteString(" AVX2 |")
			default:
				fmt.Fprintf(&b, " %s |", without)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// deviceTable lists the fields of tensor.Ops against the devices that fill them
// for float32.
func deviceTable(t *testing.T) string {
	ops := map[string]bool{}
	inspectAll(t, "device_opengl*.go", func(n ast.Node) {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if id, ok := n.Type.(*ast.Ident); ok && id.Name == "Ops" {
				for _, e := range n.Elts {
					if kv, ok := e.(*ast.KeyValueExpr); ok {
						ops[kv.Key.(*ast.Ident).Name] = true
					}
				}
			}
		case *ast.AssignStmt:
			for _, l := range n.Lhs {
				if s, ok := l.(*ast.SelectorExpr); ok {
					if id, ok := s.X.(*ast.Ident); ok && id.Name == "o" {
						ops[s.Sel.Name] = true
					}
				}
			}
		}
	})
	var b strings.Builder
	b.WriteString("| primitive | CPU | OpenGL |\n|---|---|---|\n")
	table := reflect.TypeFor[tensor.Ops]()
	mark := map[bool]string{true: "✓", false: "–"}
	for i := range table.NumField() {
		name := table.Field(i).Name
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, mark[tensor.CPU.Supports(name, tensor.Float32)], mark[ops[name]])
	}
	return b.String()
}

func inspectAll(t *testing.T, pattern string, visit func(ast.Node)) {
	files, err := filepath.Glob(filepath.Join("..", "tensor", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f, "_test.go") {
			inspect(t, f, visit)
		}
	}
}

func inspect(t *testing.T, path string, visit func(ast.Node)) {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		visit(n)
		return true
	})
}

package gen

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// function is one TEXT of a generated assembly file.
type function struct {
	file, name string
	requires   []string // avo's own comment
	text       string   // the TEXT line
	code       []instruction
}

// instruction is one line: a label, or an opcode with its suffixes and operands
// in the order of Go's assembler, which puts the destination last.
type instruction struct {
	line    int
	label   string
	op      string
	suffix  []string
	args    []string
	comment string
}

var (
	textLine     = regexp.MustCompile(`^TEXT ·(\w+)\(SB\)`)
	labelLine    = regexp.MustCompile(`^(\w+):$`)
	requiresLine = "// Requires: "
)

// functions parses every assembly file of an architecture; what it does not
// understand is an error.
func functions(t *testing.T, arch string) (list []function) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(kernels, arch, "*.s"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		list = append(list, parse(t, filepath.Base(path), string(read(t, path)))...)
	}
	if len(list) < 20 {
		t.Fatalf("%s: only %d functions: is the pattern right?", arch, len(list))
	}
	return list
}

func parse(t *testing.T, file, text string) (list []function) {
	t.Helper()
	var requires []string
	for i, line := range strings.Split(text, "\n") {
		code, comment, _ := strings.Cut(line, "//")
		code = strings.TrimRight(code, " ")
		label := labelLine.FindStringSubmatch(code)
		switch {
		case strings.HasPrefix(line, requiresLine):
			requires = strings.Split(strings.TrimPrefix(line, requiresLine), ", ")
		case code == "" || strings.HasPrefix(code, "#include ") || strings.HasPrefix(code, "DATA "):
		case strings.HasPrefix(code, "GLOBL "):
			if !strings.Contains(code, "<>(SB), RODATA|NOPTR, $") {
				t.Errorf("%s:%d: neither local nor read-only: %s", file, i+1, code)
			}
		case textLine.MatchString(code):
			list = append(list, function{file: file, name: textLine.FindStringSubmatch(code)[1], requires: requires, text: code})
			requires = nil
		case len(list) == 0:
			t.Errorf("%s:%d: before the first TEXT: %s", file, i+1, code)
		case label != nil:
			f := &list[len(list)-1]
			f.code = append(f.code, instruction{line: i + 1, label: label[1]})
		case code[0] == '\t':
			f := &list[len(list)-1]
			op, args, _ := strings.Cut(strings.TrimSpace(code), " ")
			if op == "LONG" { // bytes of what the assembler lacks: TestBytes holds them to the comment
				op, args, _ = strings.Cut(strings.TrimSpace(comment), " ")
			}
			name := strings.Split(op, ".")
			f.code = append(f.code, instruction{i + 1, "", name[0], name[1:], operands(args), strings.TrimSpace(comment)})
		default:
			t.Errorf("%s:%d: not understood: %s", file, i+1, code)
		}
	}
	return list
}

// operands splits at the commas outside of brackets.
func operands(s string) (args []string) {
	depth, from := 0, 0
	for i, c := range s {
		switch c {
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		case ',':
			if depth == 0 {
				args = append(args, strings.TrimSpace(s[from:i]))
				from = i + 1
			}
		}
	}
	if s = strings.TrimSpace(s[from:]); s != "" {
		args = append(args, s)
	}
	return args
}

// dispatch is what kernels/dispatch_*.go says: the features each set asks of the
// CPU, the set it starts as a copy of, and who uses each assembly function.
type dispatch struct {
	guard map[string][]string
	base  map[string]string
	uses  map[string][]string // function → sets
	extra map[string][]string // function → what is asked beside, by if missing(list) == ""
}

// readDispatch follows the assignments "set.Field = …" down to the functions of
// the package arch, through the helpers of the same file.
func readDispatch(t *testing.T, arch string) dispatch {
	t.Helper()
	name := "dispatch_" + arch + ".go"
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(kernels, name), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	lists, helpers := map[string][]string{}, map[string]*ast.FuncDecl{}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			helpers[f.Name.Name] = f
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			if list, ok := v.Values[0].(*ast.CompositeLit); ok {
				for _, e := range list.Elts {
					if s, ok := e.(*ast.SelectorExpr); ok {
						lists[v.Names[0].Name] = append(lists[v.Names[0].Name], s.Sel.Name)
					}
				}
			}
		}
		return true
	})
	d := dispatch{map[string][]string{}, map[string]string{}, map[string][]string{}, map[string][]string{}}
	// named calls found with every function of arch and every helper that e names.
	var named func(e ast.Node, seen map[string]bool, found func(string))
	named = func(e ast.Node, seen map[string]bool, found func(string)) {
		ast.Inspect(e, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == arch {
					found(n.Sel.Name)
				}
			case *ast.Ident:
				if h := helpers[n.Name]; h != nil && !seen[n.Name] {
					seen[n.Name] = true
					named(h.Body, seen, found)
				}
			}
			return true
		})
	}
	sets := helpers["archSets"]
	if sets == nil {
		t.Fatalf("%s has no archSets", name)
	}
	ast.Inspect(sets.Body, func(n ast.Node) bool {
		if n, ok := n.(*ast.IfStmt); ok {
			var asked []string
			ast.Inspect(n.Cond, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					asked = append(asked, lists[id.Name]...)
				}
				return true
			})
			named(n.Body, map[string]bool{}, func(f string) { d.extra[f] = asked })
		}
		a, ok := n.(*ast.AssignStmt)
		if !ok {
			return true
		}
		for i, left := range a.Lhs {
			right := a.Rhs[min(i, len(a.Rhs)-1)]
			switch left := left.(type) {
			case *ast.Ident:
				if star, ok := right.(*ast.StarExpr); ok {
					d.base[left.Name] = star.X.(*ast.Ident).Name
				}
			case *ast.SelectorExpr:
				set := left.X.(*ast.Ident).Name
				if left.Sel.Name == "Missing" {
					ast.Inspect(right, func(n ast.Node) bool {
						switch n := n.(type) {
						case *ast.Ident:
							d.guard[set] = append(d.guard[set], lists[n.Name]...)
						case *ast.BasicLit:
							if s, err := strconv.Unquote(n.Value); err == nil {
								d.guard[set] = append(d.guard[set], s)
							}
						}
						return true
					})
					continue
				}
				named(right, map[string]bool{}, func(f string) {
					if !slices.Contains(d.uses[f], set) {
						d.uses[f] = append(d.uses[f], set)
					}
				})
			}
		}
		return true
	})
	if len(d.guard) == 0 || len(d.uses) == 0 {
		t.Fatalf("%s: no guards or no uses: is the pattern right?", name)
	}
	if arch == "amd64" {
		d.addCandidates(t)
	}
	return d
}

// addCandidates adds what kernels/candidates_amd64.go uses: a call
// candidate("level", …) for each experimental kernel. The level asks for the
// features.
func (d dispatch) addCandidates(t *testing.T) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(kernels, "candidates_amd64.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if f, ok := call.Fun.(*ast.Ident); !ok || f.Name != "candidate" {
			return true
		}
		level, err := strconv.Unquote(call.Args[0].(*ast.BasicLit).Value)
		if err != nil || d.guard[level] == nil {
			t.Errorf("candidates_amd64.go: a candidate of the level %s, which dispatch_amd64.go does not have", call.Args[0].(*ast.BasicLit).Value)
		}
		ast.Inspect(call, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "amd64" {
					d.uses[s.Sel.Name] = append(d.uses[s.Sel.Name], level)
				}
			}
			return true
		})
		return false
	})
}

// TestDispatch: what kernels/dispatch_*.go and the list of candidates use is all
// that is used, every function is used by the set that its name ends in, and a
// set asks for all that its base asks for.
func TestDispatch(t *testing.T) {
	for _, arch := range arches {
		d := readDispatch(t, arch)
		for _, f := range functions(t, arch) {
			if d.uses[f.name] == nil {
				t.Errorf("%s: %s is used by no set", f.file, f.name)
			}
			for _, set := range d.uses[f.name] {
				if !strings.HasSuffix(f.name, strings.ToUpper(set)) {
					t.Errorf("%s: %s does not end in its level, %s", f.file, f.name, set)
				}
			}
		}
		for set, base := range d.base {
			for _, feature := range d.guard[base] {
				if !slices.Contains(d.guard[set], feature) {
					t.Errorf("%s starts as a copy of %s but does not ask for %s", set, base, feature)
				}
			}
		}
		paths, err := filepath.Glob(filepath.Join(kernels, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range file.Imports {
				allowed := []string{"dispatch_" + arch + ".go", "candidates_" + arch + ".go"}
				if i.Path.Value == strconv.Quote("fuerte/kernels/"+arch) && !slices.Contains(allowed, filepath.Base(path)) {
					t.Errorf("%s uses kernels/%s past dispatch_%s.go", filepath.Base(path), arch, arch)
				}
			}
		}
	}
}

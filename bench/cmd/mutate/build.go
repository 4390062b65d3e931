package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// selectSource is added to the package of the assembly: it makes each function
// a variable that holds the variant which the environment names, and bounds the
// processor time, since a broken loop may have no end.
const selectSource = `package %s

import (
	"os"
	"strconv"
	"syscall"
)

var chosen = os.Getenv("FUERTE_MUTANT")

func pick[F any](name string, variants map[int]F) F {
	id := 0
	if len(chosen) > len(name) && chosen[:len(name)+1] == name+":" {
		id, _ = strconv.Atoi(chosen[len(name)+1:])
	}
	f, ok := variants[id]
	if !ok {
		panic("no mutant " + chosen)
	}
	return f
}

func init() {
	if s, err := strconv.ParseUint(os.Getenv("FUERTE_MUTANT_SECONDS"), 10, 64); err == nil {
		syscall.Setrlimit(syscall.RLIMIT_CPU, &syscall.Rlimit{Cur: s, Max: s})
	}
}
`

// build is a test binary of kernels that holds the functions of one assembly
// file, each unchanged and with many mutants.
type build struct {
	binary   string
	mutants  []*mutant
	rejected []*mutant // not accepted by the assembler
}

// maxLines bounds the assembly of one build.
const maxLines = 250_000

// batches splits the mutants of a file into builds.
func batches(s *source, list []*mutant) (out [][]*mutant) {
	lines := 0
	for _, m := range list {
		n := len(s.function(m.Func).body)
		if lines += n; len(out) == 0 || lines > maxLines {
			out, lines = append(out, nil), n
		}
		out[len(out)-1] = append(out[len(out)-1], m)
	}
	return out
}

func (s *source) function(name string) *function {
	return s.funcs[slices.IndexFunc(s.funcs, func(f *function) bool { return f.name == name })]
}

var asmError = regexp.MustCompile(`\.s:(\d+)[:)]`)

// newBuild compiles the mutants into one binary in dir. A mutant that the
// assembler does not accept is taken out; Errors: when the rest does not
// compile either.
func newBuild(dir string, s *source, arch string, list []*mutant) (*build, error) {
	b := &build{binary: filepath.Join(dir, "kernels.test"), mutants: list}
	for range 10 {
		owners, err := b.write(dir, s)
		if err != nil {
			return nil, err
		}
		cmd := exec.Command("go", "test", "-c", "-vet=off", "-asmflags=fuerte/kernels/"+arch+"=-e", "-overlay", filepath.Join(dir, "overlay.json"), "-o", b.binary, "./kernels")
		cmd.Env = append(os.Environ(), "GOARCH="+arch, "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err == nil {
			return b, nil
		}
		var bad []*mutant
		for _, m := range asmError.FindAllStringSubmatch(string(out), -1) {
			if o := owners[atoi(m[1])-1]; o != nil {
				bad = append(bad, o)
			}
		}
		if len(bad) == 0 {
			return nil, fmt.Errorf("%s with mutants: %v\n%s", s.path, err, out)
		}
		b.mutants = slices.DeleteFunc(slices.Clone(b.mutants), func(m *mutant) bool {
			if slices.Contains(bad, m) {
				b.rejected = append(b.rejected, m)
				return true
			}
			return false
		})
	}
	return nil, fmt.Errorf("%s: the assembler finds new errors in every round", s.path)
}

// poison is code that fills the registers with what no kernel can work with: of
// four lanes 1.7e38 and −1.7e38, one of which is no bound for a minimum or
// maximum, and beside them a NaN that is also a set mask, since a maximum loses
// a NaN and a mask of zeros is none; set mask registers; addresses that do not
// exist. Without it a mutant that leaves out a load or a clearing finds, by the
// calling convention or from the call before, just the value that it needs.
func poison(function string) (list []string) {
	const low, high, address = "$0xffffffff7f000000", "$0xffffffffff000000", "$0x5a5a5a5a5a5a5a5a"
	all := func(format string, from, to int) {
		for i := from; i <= to; i++ {
			list = append(list, strings.ReplaceAll(format, "%", strconv.Itoa(i)))
		}
	}
	if strings.HasSuffix(function, "NEON") {
		list = []string{"MOVD " + low + ", R0", "MOVD " + high + ", R1", "VMOV R0, V0.D[0]", "VMOV R1, V0.D[1]"}
		all("VMOV V0.B16, V%.B16", 1, 31)
		all("MOVD "+address+", R%", 0, 17)
		all("MOVD "+address+", R%", 19, 25)
		return list
	}
	list = []string{"MOVQ " + low + ", AX", "VMOVQ AX, X0", "MOVQ " + high + ", AX", "VPINSRQ $1, AX, X0, X0"}
	if strings.HasSuffix(function, "AVX512") {
		all("VSHUFF32X4 $0, Z0, Z0, Z%", 1, 31)
		list = append(list, "VSHUFF32X4 $0, Z0, Z0, Z0")
		all("KXNORW K%, K%, K%", 1, 7)
	} else {
		all("VINSERTF128 $1, X0, Y0, Y%", 1, 15)
		list = append(list, "VINSERTF128 $1, X0, Y0, Y0")
	}
	for _, r := range []string{"AX", "BX", "CX", "DX", "SI", "DI"} {
		list = append(list, "MOVQ "+address+", "+r)
	}
	all("MOVQ "+address+", R%", 8, 13)
	return list
}

// write makes the overlay: the mutated assembly, declarations that choose among
// its functions, and selectSource. It returns for each line of the assembly the
// mutant that it belongs to, or nil.
func (b *build) write(dir string, s *source) (owners []*mutant, err error) {
	var asm strings.Builder
	emit := func(owner *mutant, write func(b *strings.Builder)) {
		var part strings.Builder
		write(&part)
		for range strings.Count(part.String(), "\n") {
			owners = append(owners, owner)
		}
		asm.WriteString(part.String())
	}
	emit(nil, func(p *strings.Builder) {
		p.WriteString(strings.Join(s.header, "\n") + "\n")
		for _, y := range s.symbols {
			y.write(p, y.name, y.lanes)
		}
		for _, f := range s.funcs {
			f.write(p, 0, nil, poison(f.name))
		}
	})
	variants := map[string][]int{}
	for _, m := range b.mutants {
		variants[m.Func] = append(variants[m.Func], m.ID)
		emit(m, func(p *strings.Builder) {
			if m.data != nil {
				m.data.write(p, variant(m.data.name+"_"+m.Func, m.ID), m.lanes)
			}
			s.function(m.Func).write(p, m.ID, m, poison(m.Func))
		})
	}
	stubs := strings.TrimSuffix(s.path, ".s") + ".go"
	declared, pkg, err := declarations(stubs, variants)
	if err != nil {
		return nil, err
	}
	files := map[string]string{
		s.path: asm.String(),
		stubs:  declared,
		filepath.Join(filepath.Dir(s.path), "mutant_select.go"): fmt.Sprintf(selectSource, pkg),
	}
	replace := map[string]string{}
	for path, text := range files {
		at, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		replace[at] = filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(replace[at], []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	return owners, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600)
}

// declarations turns each assembly function of a stub file into a variable of
// the same name, chosen among its variants. Callers need no change, and
// kernels/dispatch_*.go takes the functions as values.
func declarations(path string, variants map[string][]int) (text, pkg string, err error) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, path, nil, parser.ParseComments)
	if err != nil {
		return "", "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "package %s\n\n", parsed.Name)
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body != nil {
			return "", "", fmt.Errorf("%s: more than declarations of assembly", path)
		}
		var signature strings.Builder
		if err := printer.Fprint(&signature, files, f.Type); err != nil {
			return "", "", err
		}
		ids := append([]int{0}, variants[f.Name.Name]...)
		for _, id := range ids {
			fmt.Fprintf(&b, "//go:noescape\nfunc %s%s\n\n", variant(f.Name.Name, id), strings.TrimPrefix(signature.String(), "func"))
		}
		fmt.Fprintf(&b, "var %s = pick(%q, map[int]%s{\n", f.Name, f.Name, &signature)
		for _, id := range ids {
			fmt.Fprintf(&b, "\t%d: %s,\n", id, variant(f.Name.Name, id))
		}
		b.WriteString("})\n\n")
	}
	return b.String(), parsed.Name.Name, nil
}

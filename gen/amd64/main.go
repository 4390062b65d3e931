// Command amd64 generates kernels/amd64: for each family of kernels an assembly
// file and the Go file that declares its functions. It runs from the folder of
// its module:
//
//	go run ./amd64 -family gemm [-dir ../kernels/amd64]
//
// Without -family it writes all of them.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

// families are the generated files: name, what it is for, what emits it.
var families = map[string]struct {
	doc  string
	emit func(*emitter)
}{
	"activation":  {"SiLU, SwiGLU, GELU and their gradients, tanh, erf and the sigmoid", activationFamily},
	"adamw":       {"the optimiser step", adamwFamily},
	"dots":        {"products with both operands as they lie", dotsFamily},
	"elementwise": {"arithmetic of vectors", elementwiseFamily},
	"exp":         {"exponential and logarithm", expFamily},
	"half":        {"conversions of bfloat16 and binary16", halfFamily},
	"int8":        {"conversions of 8-bit integers", int8Family},
	"norm":        {"RMSNorm and LayerNorm rows and their gradients", normFamily},
	"reduce":      {"sums and the maximum", reduceFamily},
	"gemm":        {"the GEMM micro-kernels", gemmFamily},
	"pack":        {"the packing of micro-panels", packFamily},
	"peak":        {"register-only loops that measure the ceiling", peakFamily},
}

// candidateFamily is one more family: its kernels belong to no level, and there
// may be none.
const candidateFamily = "candidate"

func main() {
	family := flag.String("family", "", "the one family to write")
	dir := flag.String("dir", filepath.Join("..", "kernels", "amd64"), "where to write")
	flag.Parse()
	for _, name := range append(slices.Sorted(maps.Keys(families)), candidateFamily) {
		if *family != "" && *family != name {
			continue
		}
		if err := write(name, *dir); err != nil {
			fmt.Fprintf(os.Stderr, "gen/amd64: %s: %v\n", name, err)
			os.Exit(1)
		}
	}
}

// write generates one family. The header names the command without -dir, so
// that the bytes do not depend on where they go.
func write(name, dir string) error {
	e := &emitter{Context: build.NewContext()}
	e.ConstraintExpr("amd64,!purego")
	command := []string{"go", "run", "./amd64", "-family", name}
	if name != candidateFamily {
		families[name].emit(e)
		f, err := e.Result()
		if err != nil {
			return err
		}
		return compile(f, name, command, dir)
	}
	list, err := emitCandidates(e, candidates{})
	if err != nil {
		return err
	}
	f, err := e.Result()
	if err != nil {
		return err
	}
	if err := checkFunctions(list, f); err != nil {
		return err
	}
	if len(list) > 0 {
		err = compile(f, name, command, dir)
	} else {
		err = remove(name, dir)
	}
	if err != nil {
		return err
	}
	return writeCandidates(list, command, dir)
}

// compile writes the assembly and its declarations.
func compile(f *ir.File, name string, command []string, dir string) error {
	for _, fn := range f.Functions() {
		weave(fn)
	}
	if err := pass.Compile.Execute(f); err != nil {
		return err
	}
	cfg := printer.Config{Pkg: "amd64", Argv: command}
	for suffix, p := range map[string]printer.Printer{".s": printer.NewGoAsm(cfg), ".go": printer.NewStubs(cfg)} {
		text, err := p.Print(f)
		if err != nil {
			return err
		}
		text = encodeBF16(text)
		if err := os.WriteFile(filepath.Join(dir, name+"_amd64"+suffix), text, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// remove takes away what an earlier run wrote for a family.
func remove(name, dir string) error {
	for _, suffix := range []string{".s", ".go"} {
		if err := os.Remove(filepath.Join(dir, name+"_amd64"+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

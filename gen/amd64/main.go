// Command amd64 generates kernels/amd64: for each family of kernels an assembly
// file and the Go file that declares its functions. It runs from the folder of
// its module:
//
//	go run ./amd64 -family gemm [-dir ../kernels/amd64]
//
// Without -family it writes all of them.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

// families are the generated files: name, what it is for, what emits it.
var families = map[string]struct {
	doc  string
	emit func(*emitter)
}{
	"activation":  {"SiLU, SwiGLU, GELU, tanh and their gradients", activationFamily},
	"adamw":       {"the optimiser step", adamwFamily},
	"elementwise": {"arithmetic of vectors", elementwiseFamily},
	"exp":         {"exponential and logarithm", expFamily},
	"norm":        {"RMSNorm and LayerNorm rows and their gradients", normFamily},
	"reduce":      {"sums and the maximum", reduceFamily},
	"gemm":        {"the GEMM micro-kernels", gemmFamily},
	"pack":        {"the packing of micro-panels", packFamily},
	"peak":        {"register-only loops that measure the ceiling", peakFamily},
}

func main() {
	family := flag.String("family", "", "the one family to write")
	dir := flag.String("dir", filepath.Join("..", "kernels", "amd64"), "where to write")
	flag.Parse()
	for _, name := range slices.Sorted(maps.Keys(families)) {
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
	families[name].emit(e)
	f, err := e.Result()
	if err != nil {
		return err
	}
	if err := pass.Compile.Execute(f); err != nil {
		return err
	}
	cfg := printer.Config{Pkg: "amd64", Argv: []string{"go", "run", "./amd64", "-family", name}}
	for suffix, p := range map[string]printer.Printer{".s": printer.NewGoAsm(cfg), ".go": printer.NewStubs(cfg)} {
		text, err := p.Print(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name+"_amd64"+suffix), text, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// Command arm64 generates kernels/arm64: for each family of kernels an assembly
// file and the Go file that declares its functions. It runs from the folder of
// its module:
//
//	go run ./arm64 [-dir ../kernels/arm64]
//
// avo has no arm64, so the emitter is here: emit.go (functions, parameters,
// printing), allocate.go (registers), isa.go (instructions), block.go (loops
// over floats and rows). The rest is one file for each family.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// families are the generated files: name and what emits it.
var families = []struct {
	name string
	emit func(*File)
}{
	{"gemm", gemmFamily},
	{"dots", dotsFamily},
	{"pack", packFamily},
	{"elementwise", elementwiseFamily},
	{"half", halfFamily},
	{"activation", activationFamily},
	{"reduce", reduceFamily},
	{"norm", normFamily},
	{"optimizer", optimizerFamily},
	{"peak", peakFamily},
}

func main() {
	dir := flag.String("dir", filepath.Join("..", "kernels", "arm64"), "where to write")
	flag.Parse()
	if err := write(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "gen/arm64:", err)
		os.Exit(1)
	}
}

// generate returns the text of every generated file by its name.
func generate() map[string][]byte {
	files := map[string][]byte{}
	for _, family := range families {
		file := &File{name: family.name}
		family.emit(file)
		files[family.name+"_arm64.s"] = file.Assembly()
		files[family.name+"_arm64.go"] = file.Stubs()
	}
	return files
}

// write replaces the generated files of dir.
func write(dir string) error {
	files := generate()
	old, err := generated(dir)
	if err != nil {
		return err
	}
	for _, name := range old {
		if files[name] == nil {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// generated lists the files of dir that say they are generated.
func generated(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), "_arm64.s") && !strings.HasSuffix(e.Name(), "_arm64.go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if bytes.HasPrefix(text, []byte("// Code generated ")) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

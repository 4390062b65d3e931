package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// peer is a library to compare with. bench/peers/README.md tells what each is
// and how to install it.
type peer struct {
	name      string
	libraries []string // where it may lie, the preferred place first; * matches, $VENV is that of -venv
	env       []string // of its process
	source    string   // or the folder of its program in bench/peers
	script    []string // or its program there for the Python of -venv, and its arguments
	ops       []string // what it does; none: gemm
}

// does tells whether a peer has an op.
func (p peer) does(op operation) bool {
	if p.ops == nil {
		return op.name == "gemm"
	}
	return slices.Contains(p.ops, op.name)
}

var peers = []peer{
	{name: "openblas", libraries: []string{
		"/usr/lib/*/openblas-pthread/libopenblas.so.0", "/usr/lib/*/libopenblas.so.0", "/usr/lib*/libopenblas.so.0",
		"/opt/homebrew/opt/openblas/lib/libopenblas.dylib",
	}},
	{name: "blis", libraries: []string{
		"/usr/lib/*/blis-pthread/libblis.so.*", "/usr/lib/*/libblis.so.*", "/usr/lib*/libblis.so.*",
		"/opt/homebrew/opt/blis/lib/libblis.dylib",
	}},
	// The build of PyPI runs on SYCL and TBB, those of distributions on OpenMP.
	{name: "onednn", libraries: []string{"$VENV/lib/libdnnl.so.[0-9]"}},
	{name: "onednn-omp", libraries: []string{"/usr/lib/*/libdnnl.so.[0-9]", "/usr/lib*/libdnnl.so.[0-9]"}},
	{name: "mkl", env: []string{"MKL_THREADING_LAYER=INTEL"}, libraries: []string{
		"$VENV/lib/libmkl_rt.so*", "/opt/intel/oneapi/mkl/latest/lib/libmkl_rt.so", "/usr/lib/*/libmkl_rt.so",
	}},
	{name: "gonum", source: "gonum"},
	{name: "gomlx", source: "gomlx"},
	{name: "torch", script: []string{"torch_peer.py", "eager"}, ops: []string{"attention", "norm", "loss", "adamw", "step", "infer"}},
	{name: "torch-foreach", script: []string{"torch_peer.py", "foreach"}, ops: []string{"adamw"}},
	{name: "torch-compile", script: []string{"torch_peer.py", "compile"}, ops: []string{"attention", "norm", "loss", "adamw", "step", "infer"}},
	{name: "jax", script: []string{"jax_peer.py"}, ops: []string{"attention", "norm", "loss", "infer"}},
	{name: "onnxruntime", script: []string{"onnxruntime_peer.py"}, ops: []string{"infer"}},
}

// finder makes peers into programs.
type finder struct {
	root  string // of the repository
	venv  string // where PyPI's packages were installed; empty: nowhere
	cache string
}

// find returns a peer's program, or why there is none.
func (f *finder) find(ctx context.Context, p peer) (program, error) {
	if p.source != "" {
		binary, err := f.goProgram(ctx, p.source)
		return program{name: p.name, line: []string{binary}, env: p.env}, err
	}
	if p.script != nil {
		return f.pythonProgram(p)
	}
	library, err := f.library(p)
	if err != nil {
		return program{}, err
	}
	binary, err := f.cProgram(ctx)
	if err != nil {
		return program{}, err
	}
	// Intel's libraries find theirs in the same folder.
	path := "LD_LIBRARY_PATH=" + filepath.Dir(library)
	if old := os.Getenv("LD_LIBRARY_PATH"); old != "" {
		path += ":" + old
	}
	return program{name: p.name, line: []string{binary, library}, env: append(slices.Clone(p.env), path)}, nil
}

// pythonProgram is a script with the interpreter of the environment; that a
// module is not there, its process says when it starts.
func (f *finder) pythonProgram(p peer) (program, error) {
	if f.venv == "" {
		return program{}, errNoVenv
	}
	python := filepath.Join(f.venv, "bin", "python")
	if _, err := os.Stat(python); err != nil {
		return program{}, errors.New("-venv has no bin/python")
	}
	line := []string{python, filepath.Join(f.root, "bench", "peers", p.script[0])}
	return program{name: p.name, line: append(line, p.script[1:]...), env: append(slices.Clone(p.env),
		"PYTHONDONTWRITEBYTECODE=1",
		"TORCHINDUCTOR_CACHE_DIR="+filepath.Join(f.cache, "inductor"),
		"JAX_COMPILATION_CACHE_DIR="+filepath.Join(f.cache, "jax"),
		// glibc gives a freed result of more than 32 MiB back to the system, and the
		// next one is paid in page faults. Users in need of speed replace malloc;
		// these keep the memory.
		"MALLOC_MMAP_MAX_=0", "MALLOC_TRIM_THRESHOLD_=2147483647",
	)}, nil
}

var errNoVenv = errors.New("not installed, and no -venv to look into")

func (f *finder) library(p peer) (string, error) {
	for _, pattern := range p.libraries {
		pattern, inVenv := strings.CutPrefix(pattern, "$VENV")
		if inVenv && f.venv == "" {
			continue
		}
		if inVenv {
			pattern = filepath.Join(f.venv, pattern)
		}
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[len(found)-1], nil // the highest number
		}
	}
	if f.venv == "" && slices.ContainsFunc(p.libraries, func(l string) bool { return strings.HasPrefix(l, "$VENV") }) {
		return "", errNoVenv
	}
	return "", errors.New("not installed")
}

// cProgram compiles the program of the C libraries, unless it was before.
func (f *finder) cProgram(ctx context.Context) (string, error) {
	source := filepath.Join(f.root, "bench", "peers", "cblas.c")
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(f.cache, fmt.Sprintf("cblas-%x", sha256.Sum256(text))[:22])
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	made := fmt.Sprintf("%s.%d", binary, os.Getpid()) // complete or not there
	defer os.Remove(made)
	if err := command(ctx, "", cc, "-O2", "-o", made, source, "-ldl", "-lm"); err != nil {
		return "", err
	}
	return binary, os.Rename(made, binary)
}

// goProgram builds a peer in Go; the build cache makes the second time short.
func (f *finder) goProgram(ctx context.Context, name string) (string, error) {
	binary := filepath.Join(f.cache, name)
	return binary, command(ctx, filepath.Join(f.root, "bench", "peers"), "go", "build", "-o", binary, "./"+name)
}

// command runs a compiler; the error has its first complaint.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stderr = dir, &stderr
	cmd.Env = append(cmd.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	err := cmd.Run()
	if err == nil {
		return nil
	}
	for line := range strings.Lines(stderr.String()) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "go: downloading") {
			return fmt.Errorf("%s: %s", filepath.Base(name), line)
		}
	}
	return fmt.Errorf("%s: %w", filepath.Base(name), err)
}

// newFinder finds the repository and makes the cache.
func newFinder(venv string) (*finder, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOMOD: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(out)))
	if _, err := os.Stat(filepath.Join(root, "bench", "peers", "cblas.c")); err != nil {
		return nil, errors.New("run this in the folder of the repository")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	if venv != "" {
		if venv, err = filepath.Abs(venv); err != nil {
			return nil, err
		}
	}
	f := &finder{root: root, venv: venv, cache: filepath.Join(cache, "fuerte", "peers")}
	return f, os.MkdirAll(f.cache, 0o777)
}

// choosePeers reads a list of names, or all that do an op.
func choosePeers(names string, op operation) (chosen []peer, err error) {
	if names == "all" {
		return slices.DeleteFunc(slices.Clone(peers), func(p peer) bool { return !p.does(op) }), nil
	}
	for name := range strings.FieldsFuncSeq(names, func(r rune) bool { return r == ',' || r == ' ' }) {
		i := slices.IndexFunc(peers, func(p peer) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no peer is called %q", name)
		}
		if !peers[i].does(op) {
			return nil, fmt.Errorf("%s does no %s", name, op.name)
		}
		chosen = append(chosen, peers[i])
	}
	return chosen, nil
}

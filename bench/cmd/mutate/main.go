// Command mutate measures the contract tests of kernels: it breaks the generated
// assembly in one place at a time and counts how many of the broken kernels the
// tests catch.
//
//	go run ./bench/cmd/mutate [-levels avx2,avx512,neon] [-family exp,norm] [-func ^Exp]
//	    [-per-function 300 | -all] [-seed 1] [-j 2] [-o record.md,record.json] [-list]
//
// A mutant is one function with one instruction, jump or constant changed: an
// operand or addend exchanged, another register, an add for a subtract, another
// constant or address, an instruction or a tail left out, a load or store made
// wider, an instruction made narrower. Not made are changes that mean the same
// by construction (the factors of a product, a prefetch, a loop that leaves its
// work to the narrower one behind it) and VZEROUPPER, which is checked by
// reading.
//
// Nothing is written into the tree and nothing is built twice: one test binary
// holds a file's functions and their mutants (go build -overlay), and each
// process runs the contract test of the fields that the function fills
// (kernels/dispatch_*.go) with the mutant that an environment variable names.
// The kernels as they are must pass first. A mutant is caught if a test fails,
// the process faults, or it uses four times the processor time and more.
//
// A level that this machine can neither run nor emulate is "not run". The exit
// status is 1 where fewer than 99 % of a level's mutants that are not
// equivalent (equivalent.go) are caught, a row of equivalent.go fits a mutant
// that is caught, or a level named by -levels did not run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/cpuid/v2"

	"fuerte/kernels"
)

// wanted is the share of mutants that the tests must catch.
const wanted = 0.99

type options struct {
	levels, family, function, out string
	perFunction, workers          int
	seed                          uint64
	list                          bool
}

func main() {
	var o options
	var all bool
	flag.StringVar(&o.levels, "levels", "", "levels, separated by commas (default all that this machine can run)")
	flag.StringVar(&o.family, "family", "", "only these files of a level, separated by commas: elementwise, exp, gemm, …")
	flag.StringVar(&o.function, "func", "", "only functions that match this pattern")
	flag.IntVar(&o.perFunction, "per-function", 300, "at most this many mutants of each function, a sample")
	flag.BoolVar(&all, "all", false, "all mutants")
	flag.Uint64Var(&o.seed, "seed", 1, "of the sample")
	flag.IntVar(&o.workers, "j", runtime.NumCPU(), "mutants run at a time")
	flag.StringVar(&o.out, "o", "", "files for the record, separated by commas: .json, else Markdown")
	flag.BoolVar(&o.list, "list", false, "list the mutants and run none")
	flag.Parse()
	if all {
		o.perFunction = -1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ok, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run does what the options ask and tells whether enough mutants were caught.
func run(ctx context.Context, o options) (ok bool, err error) {
	if err := enterModule(); err != nil {
		return false, err
	}
	r := &record{
		Command: "go run ./bench/cmd/mutate " + strings.Join(os.Args[1:], " "),
		Date:    time.Now().Format(time.DateOnly),
		Machine: fmt.Sprintf("%s, %s/%s, %s", cpuid.CPU.BrandName, runtime.GOOS, runtime.GOARCH, runtime.Version()),
	}
	ok = true
	asked := strings.FieldsFunc(o.levels, comma)
	for _, name := range asked {
		if !slices.ContainsFunc(allLevels, func(l level) bool { return l.name == name }) {
			return false, fmt.Errorf("no level is called %s", name)
		}
	}
	for _, l := range allLevels {
		if len(asked) > 0 && !slices.Contains(asked, l.name) {
			continue
		}
		if reason := l.prepare(); reason != "" && !o.list {
			r.NotRun = append(r.NotRun, l.name+": not run: "+reason)
			ok = ok && len(asked) == 0
			continue
		}
		if err := r.level(ctx, l, o); err != nil {
			return false, err
		}
	}
	if o.list {
		return true, nil
	}
	fmt.Print(r.summary())
	for _, name := range r.levels() {
		sum := r.total(name)
		ok = ok && sum.share() >= wanted && len(sum.Contradicted) == 0
	}
	for _, path := range strings.FieldsFunc(o.out, comma) {
		if err := r.write(path); err != nil {
			return false, err
		}
	}
	return ok, nil
}

func comma(c rune) bool { return c == ',' }

// enterModule goes to the root of the module, where all paths start.
func enterModule() error {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env GOMOD: %w", err)
	}
	if mod := strings.TrimSpace(string(out)); filepath.Base(mod) == "go.mod" {
		return os.Chdir(filepath.Dir(mod))
	}
	return errors.New("run it inside the module")
}

// prepare finds out how to run the level here; a reason if that cannot be.
func (l *level) prepare() (reason string) {
	if runtime.GOARCH == l.arch {
		for _, s := range kernels.Sets() {
			if s.Name == l.name && s.Missing != "" {
				return "this CPU lacks " + s.Missing
			}
		}
		return ""
	}
	if l.arch != "arm64" || runtime.GOOS != "linux" {
		return "no emulator for " + l.arch + " on " + runtime.GOARCH
	}
	for _, name := range []string{"qemu-aarch64-static", "qemu-aarch64"} {
		if path, err := exec.LookPath(name); err == nil {
			l.wrapper = []string{path, "-cpu", "max"}
			return ""
		}
	}
	return "qemu-aarch64 is not installed"
}

// level runs the mutants of every function of a level and enters them.
func (r *record) level(ctx context.Context, l level, o options) error {
	fields, err := fieldsOf(filepath.Join("kernels", "dispatch_"+l.arch+".go"), l.arch)
	if err != nil {
		return err
	}
	pattern, err := regexp.Compile(o.function)
	if err != nil {
		return fmt.Errorf("-func: %w", err)
	}
	paths, err := filepath.Glob(filepath.Join("kernels", l.arch, "*_"+l.arch+".s"))
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("kernels/%s has no assembly: %v", l.arch, err)
	}
	families := strings.FieldsFunc(o.family, comma)
	for _, path := range paths {
		if family, _, _ := strings.Cut(filepath.Base(path), "_"); len(families) > 0 && !slices.Contains(families, family) {
			continue
		}
		s, err := parse(path)
		if err != nil {
			return err
		}
		if isCandidates(path) {
			for _, f := range s.funcs {
				if strings.HasSuffix(f.name, l.suffix) && pattern.MatchString(f.name) {
					r.Exempt = append(r.Exempt, f.name+": exempt: an experimental kernel, in no level")
				}
			}
			continue
		}
		var chosen []*mutant
		tallies := map[string]*tally{}
		for _, f := range s.funcs {
			if !strings.HasSuffix(f.name, l.suffix) || !pattern.MatchString(f.name) {
				continue
			}
			if len(fields[f.name]) == 0 {
				return fmt.Errorf("%s: dispatch_%s.go does not use %s", path, l.arch, f.name)
			}
			if reason := exempt[fields[f.name][0]]; reason != "" {
				r.Exempt = append(r.Exempt, fmt.Sprintf("%s: exempt: %s", f.name, reason))
				continue
			}
			list := mutants(s, f, l.arch)
			t := &tally{Function: f.name, Level: l.name, Fields: fields[f.name], Possible: len(list)}
			r.Functions = append(r.Functions, t)
			tallies[f.name] = t
			chosen = append(chosen, sample(list, o.perFunction, o.seed)...)
		}
		if o.list {
			for _, m := range chosen {
				fmt.Println(m)
			}
			continue
		}
		for _, batch := range batches(s, chosen) {
			if err := runBatch(ctx, s, l, batch, tallies, o.workers); err != nil {
				return err
			}
		}
		for _, f := range s.funcs {
			if t := tallies[f.name]; t != nil {
				fmt.Fprintf(os.Stderr, "%s: %s\n", f.name, t)
			}
		}
	}
	return nil
}

// runBatch builds some mutants of a file and runs each.
func runBatch(ctx context.Context, s *source, l level, batch []*mutant, tallies map[string]*tally, workers int) error {
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := newBuild(dir, s, l.arch, batch)
	if err != nil {
		return err
	}
	for _, m := range b.rejected {
		t := tallies[m.Func]
		t.Rejected = append(t.Rejected, &uncaught{m, ""})
	}
	runners := map[string]*runner{}
	for _, m := range b.mutants {
		if runners[m.Func] == nil {
			runners[m.Func] = &runner{binary: b.binary, level: l, fields: tallies[m.Func].Fields}
			if err := runners[m.Func].unmutated(ctx); err != nil {
				return fmt.Errorf("%s: %w", m.Func, err)
			}
		}
	}
	var mu sync.Mutex
	return each(workers, b.mutants, func(m *mutant) error {
		out, err := runners[m.Func].run(ctx, m)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if tallies[m.Func].count(m, out); out == survived && equivalent(m) == "" {
			fmt.Println("survived:", m)
		}
		return nil
	})
}

// Mca analyses the inner loops of the micro-kernels statically, on CPUs that
// this machine is not:
//
//	go run ./bench/cmd/mca [-cpu znver4,neoverse-n1] [-kernel '^GemmTile'] [-o report.md] [-v]
//
// It builds the assembly of kernels/amd64 and kernels/arm64, finds in the machine
// code of each function that -kernel names the innermost loop with the most FMAs
// (BFDOT counts as one), and lets llvm-mca simulate it with the scheduling model that LLVM has of each
// CPU. The cycles of a pass are held against the FMA units' bound: the FMAs of the
// loop over the FMAs that the CPU starts per cycle (cpus.go).
//
// What llvm-mca does not know: caches and their misses, the decoder and the cache
// of micro-operations, macro-fusion, clock rates. All loads hit L1.
//
// Where a loop misses the wanted share, the errors of the CPU's model that
// cpus.go lists are corrected and the loop is simulated again; the report shows
// both numbers and each correction with its reason. The status is 0, or 1 if a
// loop misses the share with its corrections too, if a kernel has no loop with
// FMAs, or if LLVM has no model of a CPU and borrows another's; 2 for a wrong
// command line.
//
// Needs llvm-mca and llvm-objdump 19 or later (Debian: llvm-19); -llvm names their
// folder where it is neither /usr/lib/llvm-<version>/bin nor in PATH.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// wanted is the share of the FMA units' bound that a loop must reach.
const wanted = 0.95

// microKernels are the kernels that are held to it. The Tail kernels, for the last
// columns of a product alone, are not: a narrow one has too few sums for the latency
// of an FMA. Nor is Aside, which on a CPU with two 512-bit FMA units has less room
// beside them than it fills, nor the Dots of narrow weights, which memory bounds.
// -kernel 'Tail|Aside|Dots4' shows them. Nor are those on VDPBF16PS: LLVM 19 gives it 3 cycles
// on Zen 4, where it is measured at 1.
const microKernels = `^(GemmTile\d+x\d+(Rows|Pack)?(AVX2|AVX512|(BF16)?NEON)|Dots4(AVX2|NEON)|FMAPeak)`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run executes a command line and returns the status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("mca", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("cpu", "", "the `CPUs`, comma-separated, as llvm-mca names them (default all of cpus.go)")
	pattern := flags.String("kernel", microKernels, "functions that match this `expression`")
	out := flags.String("o", "", "write the report to this `file`, not to standard output")
	bin := flags.String("llvm", "", "`folder` of llvm-mca and llvm-objdump (default the newest of /usr/lib/llvm-*/bin, else PATH)")
	verbose := flags.Bool("v", false, "print each loop and what llvm-mca says of it to standard error")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	complain := func(err error) { fmt.Fprintln(stderr, "mca:", err) }
	if flags.NArg() > 0 {
		complain(fmt.Errorf("unexpected argument %q", flags.Arg(0)))
		return 2
	}
	kernel, err := regexp.Compile(*pattern)
	if err != nil {
		complain(fmt.Errorf("-kernel: %w", err))
		return 2
	}
	chosen, err := choose(*only)
	if err != nil {
		complain(fmt.Errorf("-cpu: %w", err))
		return 2
	}
	t := &tools{dir: *bin}
	if *verbose {
		t.log = stderr
	}
	command := "go run ./bench/cmd/mca"
	for _, a := range args {
		command += " " + quote(a)
	}
	r := &report{Command: command, Date: time.Now().Format(time.DateOnly)}
	if err := analyse(ctx, t, chosen, kernel, r); err != nil {
		complain(err)
		return 1
	}
	if *out == "" {
		err = r.write(stdout)
	} else {
		err = r.save(*out)
	}
	if err != nil {
		complain(err)
		return 1
	}
	for _, problem := range r.problems() {
		fmt.Fprintln(stderr, "mca:", problem)
		err = errors.New(problem)
	}
	if err != nil {
		return 1
	}
	return 0
}

// quote writes an argument as a shell reads it back.
func quote(a string) string {
	if regexp.MustCompile(`^[-\w./,=]+$`).MatchString(a) {
		return a
	}
	return "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
}

// choose reads a list of CPUs; an empty one means all.
func choose(list string) ([]*cpu, error) {
	if list == "" {
		return cpus, nil
	}
	var chosen []*cpu
	for _, name := range strings.Split(list, ",") {
		i := slices.IndexFunc(cpus, func(c *cpu) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no CPU is called %q", name)
		}
		chosen = append(chosen, cpus[i])
	}
	return chosen, nil
}

// analyse fills the report with one row for each kernel and CPU that can run it.
func analyse(ctx context.Context, t *tools, chosen []*cpu, kernel *regexp.Regexp, r *report) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if err := t.find(ctx); err != nil {
		return err
	}
	r.Version = t.version
	for _, arch := range []string{"amd64", "arm64"} {
		if !slices.ContainsFunc(chosen, func(c *cpu) bool { return c.arch == arch }) {
			continue
		}
		loops, err := loopsOf(ctx, t, root, arch, kernel)
		if err != nil {
			return err
		}
		for _, l := range loops {
			for _, c := range chosen {
				if c.arch != arch || l.fmas > 0 && c.starts(l) == 0 {
					continue
				}
				row, err := measure(ctx, t, l, c)
				if err != nil {
					return fmt.Errorf("%s on %s: %w", l.function, c.name, err)
				}
				r.Rows = append(r.Rows, row)
			}
		}
	}
	if len(r.Rows) == 0 {
		return fmt.Errorf("no kernel matches %s on these CPUs", kernel)
	}
	return nil
}

// moduleRoot is the folder of go.mod.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	dir := filepath.Dir(strings.TrimSpace(string(out)))
	if _, err := os.Stat(filepath.Join(dir, "kernels", "kernels.go")); err != nil {
		return "", errors.New("run this in the folder of the repository")
	}
	return dir, nil
}

// tools are the two programs of LLVM.
type tools struct {
	dir     string // "" means PATH
	version string
	log     io.Writer // nil unless -v
}

// find looks for the programs and their version.
func (t *tools) find(ctx context.Context) error {
	if t.dir == "" {
		found, err := filepath.Glob("/usr/lib/llvm-*/bin/llvm-mca")
		if err != nil {
			return err
		}
		release := func(path string) int {
			n, _ := strconv.Atoi(strings.TrimPrefix(strings.Split(path, "/")[3], "llvm-"))
			return n
		}
		slices.SortFunc(found, func(a, b string) int { return cmp.Compare(release(a), release(b)) })
		if len(found) > 0 {
			t.dir = filepath.Dir(found[len(found)-1])
		}
	}
	out, err := t.output(ctx, "", "llvm-mca", "--version")
	if err != nil {
		return fmt.Errorf("%w; llvm-mca comes with LLVM (Debian: apt-get install llvm-19)", err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "LLVM version") {
			t.version = strings.TrimSpace(line)
		}
	}
	return nil
}

// output runs one of the programs.
func (t *tools) output(ctx context.Context, stdin, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(t.dir, program), args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(string(exit.Stderr)))
	}
	return out, err
}

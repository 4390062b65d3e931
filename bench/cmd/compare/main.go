// Compare measures an op of ours against other libraries: in one run, by turns,
// on the same machine, sizes and number of threads.
//
//	go run ./bench/cmd/compare -op gemm                         # the whole table: hours
//	go run ./bench/cmd/compare -op gemm -quick                  # a part: less than a minute, once the peers are built
//	go run ./bench/cmd/compare -op gemm -shapes FILE            # lines LAYOUT M N K [BATCH]
//	go run ./bench/cmd/compare -op gemm -threads 1 -peers openblas,mkl
//	go run ./bench/cmd/compare -op gemm -require all            # a missing peer is an error
//	go run ./bench/cmd/compare -op gemm -json run.json -o run.md
//	go run ./bench/cmd/compare -op step -venv ~/peers           # attention, norm, loss, adamw, step, infer
//	go run ./bench/cmd/compare -op step -quick -export DIR      # what aimv2_torch.py --check reads
//
// The peers are those of bench/peers, whose README tells how to install them.
// Each program is a process of its own, ours too, and answers how long its calls
// took; its result is compared with float64 arithmetic first, that of a whole model
// with ours, and a peer that computes something else has no number. Measure on an
// idle machine.
//
// The report goes to standard output, and with -json every time that was
// measured to a file. The status is 0, 1 if ours was wrong or without an answer
// or a required peer is missing, 2 for a wrong command line, 130 after Ctrl-C,
// with the report up to there.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"fuerte/bench"
	"fuerte/kernels"
	"fuerte/nn/tuning"
)

// ours is the name of our program.
const ours = "fuerte"

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run executes a command line and returns the status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.SetOutput(stderr)
	opName := flags.String("op", "gemm", "the `op` to compare")
	quick := flags.Bool("quick", false, "a part of the table, in less than a minute")
	shapesFile := flags.String("shapes", "", "the sizes in this `file` instead of the table")
	most := flags.Float64("most", 0, "leave out rows above so many `GFLOP`")
	threadList := flags.String("threads", "", "numbers of `threads`, comma-separated (default 1,2 as far as there are CPUs; -quick takes the last where peers compile)")
	only := flags.String("peers", "all", "the `peers`, comma-separated")
	require := flags.String("require", "", "`peers`, or all, that must not be missing")
	venv := flags.String("venv", os.Getenv("FUERTE_PEERS"), "the `folder` of a Python environment with peers (default $FUERTE_PEERS)")
	rounds := flags.Int("rounds", 0, "rounds of each row (default 15, with -quick 6)")
	least := flags.Duration("least", 0, "the least `time` of a measurement of more than one call (default 15ms, with -quick 8ms)")
	limit := flags.Duration("timeout", 0, "a program that does not answer for this long loses the row (default 2m, 20m where peers compile)")
	jsonFile := flags.String("json", "", "write everything measured to this `file`")
	outFile := flags.String("o", "", "write the report to this `file` instead of standard output")
	export := flags.String("export", "", "write the first row's model, batch and losses to this `folder` and measure nothing (-op step)")
	verbose := flags.Bool("v", false, "write each row to standard error as it is measured")
	serving := flags.Bool("serve", false, "answer requests on standard input, as the peers do")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	complain := func(format string, a ...any) { fmt.Fprintf(stderr, "compare: "+format+"\n", a...) }
	usage := func(err error) int {
		complain("%v", err)
		return 2
	}
	if flags.NArg() > 0 {
		return usage(fmt.Errorf("unexpected argument %q", flags.Arg(0)))
	}
	set, err := kernels.Choose()
	if err != nil {
		return usage(err)
	}
	if err := tuning.Apply(set.Name); err != nil {
		complain("ignored: %v", err)
	}
	if *serving {
		if err := serve(stdin, stdout); err != nil {
			complain("%v", err)
			return 1
		}
		return 0
	}
	c := &comparison{rounds: 15, least: 15 * time.Millisecond, settle: 3 * time.Millisecond, limit: *limit, log: func(string, ...any) {}}
	if *quick {
		c.rounds, c.least = 6, 8*time.Millisecond
	}
	c.rounds, c.least = cmp.Or(*rounds, c.rounds), cmp.Or(*least, c.least)
	if c.op, err = findOp(*opName); err != nil {
		return usage(fmt.Errorf("-op: %w", err))
	}
	c.limit = cmp.Or(c.limit, c.op.limit)
	if c.rounds < 1 || c.least <= 0 || c.limit <= 0 {
		return usage(errors.New("-rounds, -least and -timeout are above 0"))
	}
	if *verbose {
		c.log = complain
	}
	threads, err := parseThreads(*threadList, runtime.NumCPU())
	if err != nil {
		return usage(fmt.Errorf("-threads: %w", err))
	}
	if *quick && *threadList == "" && c.op.limit == compiling {
		threads = threads[len(threads)-1:] // programs in Python take seconds to start
	}
	if *quick {
		c.budget = quickBudget / time.Duration(len(threads))
	}
	chosen, err := choosePeers(*only, c.op)
	if err != nil {
		return usage(fmt.Errorf("-peers: %w", err))
	}
	required, err := choosePeers(*require, c.op)
	if err != nil {
		return usage(fmt.Errorf("-require: %w", err))
	}
	rows := c.op.rows(*quick)
	if *shapesFile != "" {
		if rows, err = readRows(*shapesFile, c.op); err != nil {
			return usage(err)
		}
	}
	if *most > 0 {
		if rows = atMost(rows, *most); len(rows) == 0 {
			return usage(fmt.Errorf("-most: no row has at most %g GFLOP", *most))
		}
	}
	if *export != "" {
		if c.op.name != stepOp.name {
			return usage(errors.New("-export is for -op step"))
		}
		if err := exportStep(rows[0], *export); err != nil {
			complain("%v", err)
			return 1
		}
		return 0
	}
	find, err := newFinder(*venv)
	if err != nil {
		complain("%v", err)
		return 1
	}
	self, err := os.Executable()
	if err != nil {
		complain("%v", err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	r := &report{Command: commandLine(flags), Date: time.Now().Format(time.DateOnly), Op: c.op.name, Unit: c.op.unit.name, Ceiling: c.op.unit.ceiling, Memory: c.op.whole, Rounds: c.rounds, Machine: machine(), Busy: load() > busyLoad}
	c.programs = []program{{name: ours, line: []string{self, "-serve"}}}
	for _, p := range chosen {
		prog, err := find.find(ctx, p)
		if ctx.Err() != nil {
			return 130
		}
		if err != nil {
			r.Missing = append(r.Missing, programInfo{Name: p.name, Reason: err.Error()})
			continue
		}
		c.programs = append(c.programs, prog)
	}
	for _, p := range c.programs {
		r.Programs = append(r.Programs, programInfo{Name: p.name})
	}
	c.available = availableMemory
	c.peak = func(threads int) float64 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(threads, runtime.GOMAXPROCS(0))))
		if c.op.unit.ceiling == streaming {
			return bench.Streaming(threads)
		}
		return kernels.Peak(kernels.F32(), threads)
	}
	status := 0
	for _, n := range threads {
		res, err := c.run(ctx, n, rows)
		r.add(n, res)
		if err != nil {
			complain("interrupted")
			r.Notes, status = append(r.Notes, "interrupted: not all rows were measured"), 130
			break
		}
	}
	if err := writeReport(r, stdout, *outFile, *jsonFile); err != nil {
		complain("%v", err)
		return 1
	}
	if status != 0 {
		return status
	}
	for _, why := range r.failed() {
		complain("%s: %s", ours, why)
		status = 1
	}
	for _, p := range required {
		if why := r.absent(p.name); why != "" {
			complain("%s is required, but %s", p.name, why)
			status = 1
		}
	}
	return status
}

// quickBudget is how long -quick starts rows; the last one and starting the
// programs come on top.
const quickBudget = 42 * time.Second

// parseThreads reads -threads.
func parseThreads(list string, cpus int) (threads []int, err error) {
	if list == "" {
		return []int{1, 2}[:min(2, cpus)], nil
	}
	for f := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(f))
		switch {
		case err != nil || n < 1:
			return nil, fmt.Errorf("%q is not a number of threads", f)
		case n > cpus:
			return nil, fmt.Errorf("%d threads, but this machine has %d CPUs", n, cpus)
		case slices.Contains(threads, n):
			return nil, fmt.Errorf("%d stands twice", n)
		}
		threads = append(threads, n)
	}
	return threads, nil
}

// readRows reads the sizes of -shapes; empty lines and what follows # say
// nothing.
func readRows(path string, op operation) (rows []row, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		r, err := op.parse(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		rows = append(rows, r)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s has no sizes", path)
	}
	return rows, nil
}

// atMost leaves out rows of more work; what has no FLOP count stays.
func atMost(rows []row, gflop float64) []row {
	return slices.DeleteFunc(rows, func(r row) bool { return r.flop > gflop*1e9 })
}

// commandLine is what the report says of the flags: not the names of files,
// which mean nothing elsewhere.
func commandLine(flags *flag.FlagSet) string {
	s := "go run ./bench/cmd/compare -op " + flags.Lookup("op").Value.String()
	flags.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "quick", "most", "threads", "peers", "rounds", "least":
			s += " -" + f.Name
			if f.Name != "quick" {
				s += " " + f.Value.String()
			}
		case "shapes":
			s += " -shapes FILE"
		}
	})
	return s
}

// absent tells why a peer has no part in the report; empty if it has.
func (r *report) absent(name string) string {
	for _, i := range r.Missing {
		if i.Name == name {
			return i.Reason
		}
	}
	for _, i := range r.Programs {
		if i.Name == name && i.Version == "" {
			return "did not start"
		} else if i.Name == name {
			return ""
		}
	}
	return "-peers leaves it out"
}

// writeReport writes the Markdown and the JSON.
func writeReport(r *report, stdout io.Writer, outFile, jsonFile string) error {
	toFile := func(path string, write func(io.Writer) error) error {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	if jsonFile != "" {
		if err := toFile(jsonFile, r.writeJSON); err != nil {
			return err
		}
	}
	var text strings.Builder
	r.markdown(&text)
	write := func(w io.Writer) error {
		_, err := io.WriteString(w, text.String())
		return err
	}
	if outFile != "" {
		return toFile(outFile, write)
	}
	return write(stdout)
}

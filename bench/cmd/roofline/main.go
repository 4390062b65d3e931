// Roofline turns the output of `go test -bench` on package bench into a table and
// a picture of the roofline:
//
//	go run ./bench/cmd/roofline [-svg roofline.svg] new.txt …        # recorded output; - or nothing: standard input
//	go run ./bench/cmd/roofline [-svg roofline.svg] -run Gemm/isa=avx2 [-benchtime 200ms] [-count 6]
//
// With -run it runs the benchmarks that match, and those of the ceilings, and
// passes their output on to standard error. Repetitions of a benchmark count as
// their median. The table, in Markdown, goes to standard output.
//
// The ceilings are those measured in the same output: BenchmarkPeak for each
// level and number of threads, BenchmarkStream for the places of memory. One that
// is missing is an error. A candidate, isa=avx2+…, is held against its level.
//
// The status is 0, 1 for an error, 2 for a wrong command line.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run executes a command line and returns the status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("roofline", flag.ContinueOnError)
	flags.SetOutput(stderr)
	svg := flags.String("svg", "", "write the picture to this `file`")
	pattern := flags.String("run", "", "run the benchmarks that match this `expression`, as of go test -bench")
	benchtime := flags.String("benchtime", "200ms", "of the benchmarks that -run runs")
	count := flags.Int("count", 1, "of the benchmarks that -run runs")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	fail := func(err error) int {
		fmt.Fprintln(stderr, "roofline:", err)
		return 1
	}
	if *pattern != "" && flags.NArg() > 0 {
		fmt.Fprintln(stderr, "roofline: -run and files at once")
		return 2
	}
	var r results
	if *pattern != "" {
		var output bytes.Buffer
		if err := benchmarks(*pattern, *benchtime, *count, io.MultiWriter(stderr, &output), stderr); err != nil {
			return fail(err)
		}
		if err := r.read(&output, "output of go test"); err != nil {
			return fail(err)
		}
	} else if err := r.readFiles(flags.Args(), stdin); err != nil {
		return fail(err)
	}
	if r.others > 0 {
		fmt.Fprintf(stderr, "roofline: left out %d lines of benchmarks whose names have no isa= and threads=\n", r.others)
	}
	c, err := r.ceilings()
	if err != nil {
		return fail(err)
	}
	if err := r.table(stdout, c); err != nil {
		return fail(err)
	}
	if *svg == "" {
		return 0
	}
	picture, err := draw(r.points(), c)
	if err != nil {
		return fail(err)
	}
	if err := os.WriteFile(*svg, picture, 0o666); err != nil {
		return fail(err)
	}
	return 0
}

// benchmarks runs those of package bench that match, after the ceilings.
func benchmarks(pattern, benchtime string, count int, stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkPeak$|^BenchmarkStream$|"+pattern,
		"-benchtime", benchtime, "-count", strconv.Itoa(count), "-timeout", "0", "fuerte/bench")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	return nil
}

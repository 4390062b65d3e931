// Tune measures how the products of this machine are best cut into tasks, and stores it
// for the programs:
//
//	go run ./bench/cmd/tune                       # half a minute, on an idle machine
//	go run ./bench/cmd/tune -time 5m -threads 1
//	go run ./bench/cmd/tune -dry-run              # store nothing
//	FUERTE_ISA=avx2 go run ./bench/cmd/tune       # for another level
//
// It multiplies the products of shapes.GemmQuick under the default kernels.Tuning and
// under others, by turns. In the first half of the time each field is varied alone; what
// beat the default is put together, and in the second half measured anew, beside the
// default twice. The gain is how many times faster than the default, as a geometric mean
// over the products, and of these the median of the rounds. A choice is stored only if
// the whole interval of its gain is above 1 and above what the default gains on itself.
// Package nn/tuning tells where; no bit of a result depends on it.
//
// The status is 0, also where nothing beats the default, 1 for an error, 2 for a wrong
// command line, 130 after Ctrl-C, with nothing stored.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"time"

	"fuerte/bench/internal/shapes"
	"fuerte/kernels"
	"fuerte/nn/tuning"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes a command line and returns the status.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("tune", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dry := flags.Bool("dry-run", false, "store nothing")
	limit := flags.Duration("time", 30*time.Second, "how long to measure")
	threads := flags.Int("threads", runtime.GOMAXPROCS(0), "how many `threads` multiply")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	complain := func(err error, status int) int {
		fmt.Fprintln(stderr, "tune:", err)
		return status
	}
	switch {
	case flags.NArg() > 0:
		return complain(fmt.Errorf("unexpected argument %q", flags.Arg(0)), 2)
	case *limit <= 0:
		return complain(errors.New("-time is above 0"), 2)
	case *threads < 1 || *threads > runtime.NumCPU():
		return complain(fmt.Errorf("-threads is 1…%d", runtime.NumCPU()), 2)
	}
	set, err := kernels.Choose()
	if err != nil {
		return complain(err, 2)
	}
	if _, err := tuning.Path(); err != nil && !*dry {
		return complain(err, 1) // before the measurement, not after
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(*threads))

	begin := time.Now()
	fmt.Fprintf(stdout, "%s, threads: %d\n\n", tuning.Key(set.Name), *threads)
	m, err := newMultiplier(set, shapes.GemmQuick())
	if err != nil {
		return complain(err, 1)
	}
	defer m.restore()
	t := tuner{products: len(m.products), time: m.time, shuffle: rand.Shuffle, now: time.Now}
	chosen, better, err := t.tune(ctx, begin.Add(*limit/2), begin.Add(*limit), stdout)
	switch {
	case ctx.Err() != nil:
		return complain(errors.New("interrupted; nothing is stored"), 130)
	case err != nil:
		return complain(err, 1)
	}
	if err := store(set.Name, chosen, better, *dry, stdout); err != nil {
		return complain(err, 1)
	}
	return 0
}

// store stores a choice that is better, and says so or why not.
func store(level string, chosen kernels.Tuning, better, dry bool, w io.Writer) error {
	switch {
	case !better:
		fmt.Fprintln(w, "\nNothing is stored: no choice beats the default by more than the noise.")
	case dry:
		fmt.Fprintln(w, "\nNothing is stored: -dry-run.")
	default:
		path, err := tuning.Store(level, chosen)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\nStored in %s; FUERTE_TUNING=off ignores it.\n", path)
	}
	return nil
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"

	"github.com/urfave/cli/v3"

	"fuerte/autograd/profile"
	"fuerte/nn/atomicfile"
)

// profileOptions are the options of verbs that can be watched.
type profileOptions struct {
	table, full bool
	trace       string
	cpu         string
	nan         bool

	profiler *profile.Profiler // while it measures
	cpuFile  *os.File
}

// traceEvents bounds a trace, 200 MB of JSON: some hundred steps of a small model.
const traceEvents = 1 << 20

func (o *profileOptions) flags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "profile", Destination: &o.table, Usage: "print time, FLOP/s, bytes/s and memory of every op and layer at the end"},
		&cli.BoolFlag{Name: "profile-full", Destination: &o.full, Usage: "the same, block by block"},
		&cli.StringFlag{Name: "trace", Destination: &o.trace, Usage: "write what ran when to `FILE`, for chrome://tracing and ui.perfetto.dev"},
		&cli.StringFlag{Name: "cpuprofile", Destination: &o.cpu, Usage: "write a CPU profile to `FILE`, for go tool pprof -tagfocus op=linear (or layer=…, pass=backward)"},
		&cli.BoolFlag{Name: "nan", Destination: &o.nan, Usage: "look for NaN and Inf in every result, and stop at the op that made the first"},
	}
}

// start returns what watches, or nil where no option asks for it.
func (o *profileOptions) start() (*profile.Profiler, error) {
	if !o.table && !o.full && o.trace == "" && o.cpu == "" && !o.nan {
		return nil, nil
	}
	events := 0
	if o.trace != "" {
		events = traceEvents
	}
	if o.cpu != "" {
		f, err := os.Create(o.cpu)
		if err != nil {
			return nil, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		o.cpuFile = f
	}
	o.profiler = profile.New(profile.Options{Trace: events, Labels: o.cpu != "", Memory: o.table || o.full, NonFinite: o.nan})
	return o.profiler, nil
}

// finish prints and writes what was asked for; the table also to a file, if it is
// named.
func (o *profileOptions) finish(file string) error {
	if o.profiler == nil {
		return nil
	}
	var failures []error
	if o.cpuFile != nil {
		pprof.StopCPUProfile()
		failures = append(failures, o.cpuFile.Close())
	}
	if o.trace != "" {
		failures = append(failures, atomicfile.WriteFileAtomic(o.trace, o.profiler.WriteTrace))
	}
	if o.table || o.full {
		var b bytes.Buffer
		report := o.profiler.Report(profile.Ceilings{})
		o.profiler.Close() // measuring is not to be measured
		report.Ceilings = profile.Measure()
		failures = append(failures, report.Write(&b, o.full))
		fmt.Print(b.String())
		if file != "" {
			failures = append(failures, atomicfile.WriteFileAtomic(file, func(w io.Writer) error {
				_, err := w.Write(b.Bytes())
				return err
			}))
		}
	}
	o.profiler = nil
	return errors.Join(failures...)
}

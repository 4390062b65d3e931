package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// results are the benchmarks of an output, in its order.
type results struct {
	list   []*benchmark
	byName map[string]*benchmark
	cpu    string
	others int // lines of benchmarks of other packages
}

// benchmark is one name with the values of all its repetitions.
type benchmark struct {
	name, op, isa, dtype, sizes string
	keys                        map[string]string
	threads                     int
	values                      map[string][]float64 // by unit
}

// metric is the median of a unit's values, and whether there are any.
func (b *benchmark) metric(unit string) (float64, bool) {
	v := slices.Sorted(slices.Values(b.values[unit]))
	if len(v) == 0 {
		return 0, false
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2, true
}

// level is the instruction-set level: that of which a candidate is a copy.
func (b *benchmark) level() string {
	level, _, _ := strings.Cut(b.isa, "+")
	return level
}

// ceiling tells whether b measures the machine, not a kernel.
func (b *benchmark) ceiling() bool { return b.op == "Peak" || b.op == "Stream" }

// readFiles reads files; none, or "-", is standard input.
func (r *results) readFiles(paths []string, stdin io.Reader) error {
	if len(paths) == 0 {
		paths = []string{"-"}
	}
	for _, path := range paths {
		if path == "-" {
			if err := r.read(stdin, "standard input"); err != nil {
				return err
			}
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = r.read(f, path)
		f.Close()
		if err != nil {
			return err
		}
	}
	if len(r.list) == 0 {
		return errors.New("no benchmark of package bench in the input")
	}
	return nil
}

// read takes every line that is a result and none that is not. Errors, with file
// and line: a result that cannot be read, a run that failed, a second machine.
func (r *results) read(in io.Reader, file string) error {
	s := bufio.NewScanner(in)
	for n := 1; s.Scan(); n++ {
		if err := r.line(s.Text()); err != nil {
			return fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

func (r *results) line(text string) error {
	if cpu, ok := strings.CutPrefix(text, "cpu: "); ok {
		if r.cpu != "" && r.cpu != cpu {
			return fmt.Errorf("this is of the CPU %q, and what stands before of %q", cpu, r.cpu)
		}
		r.cpu = cpu
		return nil
	}
	if strings.HasPrefix(text, "FAIL") || strings.HasPrefix(text, "--- FAIL") {
		return fmt.Errorf("the run failed: %s", text)
	}
	fields := strings.Fields(text)
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "Benchmark") {
		return nil // with -v, names stand alone too
	}
	if len(fields)%2 != 0 || len(fields) < 4 {
		return fmt.Errorf("%s: not a name, a count and pairs of value and unit", fields[0])
	}
	if n, err := strconv.Atoi(fields[1]); err != nil || n < 1 {
		return fmt.Errorf("%s: %q is no count of runs", fields[0], fields[1])
	}
	values := map[string]float64{}
	for i := 2; i < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil || !(v >= 0 && v < 1e300) {
			return fmt.Errorf("%s: %q is no number of %s", fields[0], fields[i], fields[i+1])
		}
		values[fields[i+1]] = v
	}
	b, err := r.named(fields[0])
	if b == nil || err != nil {
		return err
	}
	for unit, v := range values {
		b.values[unit] = append(b.values[unit], v)
	}
	return nil
}

// procs is what go test appends: GOMAXPROCS, unless that is 1.
var procs = regexp.MustCompile(`-\d+$`)

// named returns the benchmark of a name, or nil if it is not of package bench.
func (r *results) named(full string) (*benchmark, error) {
	name := procs.ReplaceAllString(full, "")
	if b := r.byName[name]; b != nil {
		return b, nil
	}
	parts := strings.Split(name, "/")
	b := &benchmark{name: name, op: strings.TrimPrefix(parts[0], "Benchmark"), keys: map[string]string{}, values: map[string][]float64{}}
	var sizes []string
	for _, p := range parts[1:] {
		key, value, _ := strings.Cut(p, "=")
		b.keys[key] = value
		if key != "isa" && key != "dtype" && key != "threads" {
			sizes = append(sizes, p)
		}
	}
	b.isa, b.dtype, b.sizes = b.keys["isa"], b.keys["dtype"], strings.Join(sizes, " ")
	if b.keys["threads"] == "" || b.isa == "" && b.op != "Stream" { // memory's ceilings are of no level
		r.others++
		return nil, nil
	}
	var err error
	if b.threads, err = strconv.Atoi(b.keys["threads"]); err != nil || b.threads < 1 {
		return nil, fmt.Errorf("%s: threads=%s is no number of threads", full, b.keys["threads"])
	}
	if r.byName == nil {
		r.byName = map[string]*benchmark{}
	}
	r.byName[name] = b
	r.list = append(r.list, b)
	return b, nil
}

// points are the benchmarks that have a place in the picture: a rate and an
// intensity.
func (r *results) points() (list []*benchmark) {
	for _, b := range r.list {
		rate, hasRate := b.metric("GFLOP/s")
		intensity, hasIntensity := b.metric("flop/B")
		if hasRate && hasIntensity && rate > 0 && intensity > 0 && !b.ceiling() {
			list = append(list, b)
		}
	}
	return list
}

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// job is one process of tests.
type job struct {
	level   *level
	pkg     string   // below kernels
	binary  string   // built for it
	run     []string // the patterns of the tests
	witness string   // of the level, if it is a test of this package

	results map[string]*result // by test, the package in front
	stray   text               // output of no test
	trouble string             // why the process did not end as its tests say; empty: it did
	took    time.Duration
}

// result is what became of a test.
type result struct {
	status status
	output text
}

type status string

const (
	running status = "running" // and, in the end, died
	passed  status = "pass"
	failed  status = "fail"
	skipped status = "skip"
)

// text is output, of which only the ends are kept where it is long.
type text struct {
	head, tail []string
	cut        int
}

const textLines = 24 // of head and of tail

func (o *text) add(line string) {
	if len(o.head) < textLines {
		o.head = append(o.head, line)
		return
	}
	if o.tail = append(o.tail, line); len(o.tail) > textLines {
		o.tail, o.cut = o.tail[1:], o.cut+1
	}
}

func (o *text) lines() []string {
	lines := slices.Clone(o.head)
	if o.cut > 0 {
		lines = append(lines, fmt.Sprintf("… %d lines …", o.cut))
	}
	return append(lines, o.tail...)
}

// event is a line of test2json.
type event struct{ Action, Test, Output string }

// read takes the events of a process in, up to its end.
func (j *job) read(events io.Reader) error {
	j.results = map[string]*result{}
	for d := json.NewDecoder(events); ; {
		var e event
		if err := d.Decode(&e); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if e.Test == "" {
			if e.Action == "output" {
				j.stray.add(strings.TrimSuffix(e.Output, "\n"))
			}
			continue
		}
		test := e.Test
		if j.pkg != "" {
			test = j.pkg + "." + test
		}
		r := j.results[test]
		if r == nil {
			r = &result{status: running}
			j.results[test] = r
		}
		switch e.Action {
		case "output":
			r.output.add(strings.TrimSuffix(e.Output, "\n"))
		case "pass", "fail", "skip":
			r.status = status(e.Action)
		}
	}
}

// judge sets trouble from how the process ended.
func (j *job) judge(end error, timeout time.Duration) {
	var tally [3]int
	var unfinished []string
	witnessed := j.witness == ""
	for test, r := range j.results {
		switch r.status {
		case passed:
			tally[0]++
			witnessed = witnessed || covers(j.witness, test)
		case failed:
			tally[1]++
		case skipped:
			tally[2]++
		default:
			unfinished = append(unfinished, test)
		}
	}
	in := ""
	if len(unfinished) > 0 {
		in = " in " + slices.MaxFunc(unfinished, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
	}
	switch {
	case errors.Is(end, context.DeadlineExceeded):
		j.trouble = fmt.Sprintf("stopped after %v%s", timeout, in)
	case errors.Is(end, context.Canceled):
		j.trouble = "interrupted" + in
	case in != "":
		j.trouble = fmt.Sprintf("the process died%s (%v)", in, cmp.Or(end, errors.New("exit status 0")))
	case end != nil && tally[1] == 0:
		j.trouble = fmt.Sprintf("the process failed though no test did (%v)", end)
	case end == nil && tally[1] > 0:
		j.trouble = "the process ended with status 0 though a test failed"
	case !witnessed:
		j.trouble = fmt.Sprintf("nothing shows that %s was in use: %s did not pass", j.level.name, j.witness)
	}
}

// doubtful: what passed in this process proves nothing of the level.
func (j *job) doubtful() bool {
	if j.witness == "" {
		return false
	}
	for test, r := range j.results {
		if r.status == passed && covers(j.witness, test) {
			return false
		}
	}
	return true
}

// arguments of the test binary.
func (j *job) arguments() []string {
	args := []string{"-test.v=test2json", "-test.run=" + runFlag(append(slices.Clone(j.run), j.witness))}
	if s := j.level.skips(); s != "" {
		args = append(args, "-test.skip="+s)
	}
	if j.level.short {
		args = append(args, "-test.short")
	}
	return args
}

// runFlag turns patterns into the value of -test.run.
func runFlag(patterns []string) string {
	var all []string
	for _, p := range patterns {
		if p == "" {
			continue
		}
		_, p = packageOf(p)
		elements := strings.Split(p, "/")
		for i, e := range elements {
			elements[i] = "^" + strings.ReplaceAll(regexp.QuoteMeta(e), `\*`, ".*") + "$"
		}
		all = append(all, strings.Join(elements, "/"))
	}
	return strings.Join(all, "|")
}

// start runs the process in the folder of the package, whose testdata it reads.
func (j *job) start(ctx context.Context, p *prover) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	began := time.Now()
	line := append(slices.Clone(j.level.wrapper), j.binary)
	line = append(line, j.arguments()...)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	grouped(cmd)
	cmd.Dir = filepath.Join(p.root, "kernels", j.pkg)
	cmd.Env = append(cmd.Environ(), "BOCHS_CACHE="+emulatorCache(), "TMPDIR="+p.tmp)
	cmd.Env = append(cmd.Env, j.level.env...)

	convert := exec.Command("go", "tool", "test2json")
	in, err := convert.StdinPipe()
	if err != nil {
		j.trouble = err.Error()
		return
	}
	out, err := convert.StdoutPipe()
	if err != nil {
		j.trouble = err.Error()
		return
	}
	var raw io.Writer = in
	if p.verbose {
		raw = io.MultiWriter(in, os.Stderr)
	}
	cmd.Stdout, cmd.Stderr = raw, raw
	if err := convert.Start(); err != nil {
		j.trouble = err.Error()
		return
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Run()
		in.Close()
	}()
	err = errors.Join(j.read(out), convert.Wait())
	end := <-ended
	if cause := ctx.Err(); cause != nil {
		end = cause
	}
	if j.took = time.Since(began); err != nil {
		j.trouble = err.Error()
		return
	}
	j.judge(end, p.timeout)
}

// title names the process in messages: the level and its first test.
func (j *job) title() string {
	top, _, _ := strings.Cut(j.run[0], "/")
	more := ""
	if len(j.run) > 1 {
		more = ", …"
	}
	return fmt.Sprintf("%s (%s%s)", j.level.name, top, more)
}

// prover is one run of the command.
type prover struct {
	root, tmp string
	timeout   time.Duration
	parallel  int
	verbose   bool
	filter    *regexp.Regexp // of ops; nil: all
	log       func(format string, a ...any)
}

// build is a test binary; several levels may share it.
type build struct{ goarch, tags, pkg string }

// binary builds the tests of a package, without cgo, so that the binary is static
// (but for OpenGL, whose library it loads).
func (p *prover) binary(ctx context.Context, b build) (file string, err error) {
	file = filepath.Join(p.tmp, fmt.Sprintf("kernels-%s-%s-%s.test", b.pkg, b.goarch, b.tags))
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", file, "-tags="+b.tags, "./"+path.Join("kernels", b.pkg))
	cmd.Dir = p.root
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOARCH="+b.goarch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return file, nil
}

// list names the top-level tests of a binary, the package in front.
func (p *prover) list(ctx context.Context, l *level, pkg, binary string) (tests []string, err error) {
	line := []string{binary, "-test.list=^(Test|Fuzz)"}
	if !l.emulator { // whose boot takes longer than this machine, which can do it as well
		line = append(slices.Clone(l.wrapper), line...)
	}
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%v: %w\n%s", strings.Join(line, " "), err, out)
	}
	for test := range strings.FieldsSeq(string(out)) {
		if pkg != "" {
			test = pkg + "." + test
		}
		tests = append(tests, test)
	}
	return tests, nil
}

// column is a level with what became of it.
type column struct {
	*level
	why    string   // not run at all
	broken string   // the tests do not build or start
	listed []string // the top-level tests
	jobs   []*job
}

// prove runs the levels and returns the columns of the table and its rows.
func (p *prover) prove(ctx context.Context, chosen []*level) (columns []*column, rows []op) {
	type made struct {
		file string
		err  error
	}
	builds := map[build]made{}
	rows = ops()
	var jobs []*job
	for _, l := range chosen {
		c := &column{level: l}
		columns = append(columns, c)
		if c.why = l.unmet(); c.why != "" {
			continue
		}
		for _, pkg := range l.packages {
			b := build{cmp.Or(l.goarch, runtime.GOARCH), l.tags, pkg}
			m, ok := builds[b]
			if !ok {
				p.log("building the tests of %s for %s", path.Join("kernels", b.pkg), l.name)
				m.file, m.err = p.binary(ctx, b)
				builds[b] = m
			}
			var tests []string
			if m.err == nil {
				tests, m.err = p.list(ctx, l, pkg, m.file)
			}
			if m.err != nil {
				c.broken = m.err.Error()
				break
			}
			c.listed = append(c.listed, tests...)
			rows = claim(rows, tests)
			c.jobs = append(c.jobs, p.cut(l, pkg, m.file, tests, rows)...)
		}
		if c.broken == "" {
			jobs = append(jobs, c.jobs...)
		}
	}
	if p.filter != nil {
		rows = slices.DeleteFunc(rows, func(o op) bool { return !p.filter.MatchString(o.name) })
	}
	// What is slow begins first.
	slices.SortStableFunc(jobs, func(a, b *job) int { return len(b.level.split) - len(a.level.split) })
	queue := make(chan *job)
	var workers sync.WaitGroup
	for range p.parallel {
		workers.Go(func() {
			for j := range queue {
				j.start(ctx, p)
				p.log("%s: %s, %v", j.title(), j.summary(), j.took.Round(time.Second))
			}
		})
	}
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	workers.Wait()
	return columns, rows
}

func (j *job) summary() string {
	n := map[status]int{}
	for _, r := range j.results {
		n[r.status]++
	}
	s := fmt.Sprintf("%d tests passed, %d failed, %d skipped", n[passed], n[failed]+n[running], n[skipped])
	if j.trouble != "" {
		s += ", " + j.trouble
	}
	return s
}

// claim appends a row for each test that no row claims.
func claim(rows []op, tests []string) []op {
	for _, test := range tests {
		claimed := slices.ContainsFunc(rows, func(o op) bool {
			return slices.ContainsFunc(o.tests, func(p string) bool {
				top, _, _ := strings.Cut(p, "/")
				return covers(top, test)
			})
		})
		if !claimed {
			rows = append(rows, op{test, []string{test}})
		}
	}
	return rows
}

// cut deals the tests of a package out to processes, as the level says.
func (p *prover) cut(l *level, pkg, binary string, tests []string, rows []op) (jobs []*job) {
	run := tests // whole, so that subtests that no row claims run too
	if p.filter != nil {
		run = nil
		for _, o := range rows {
			for _, pattern := range o.tests {
				if p.filter.MatchString(o.name) {
					run = append(run, expand(pattern, tests)...)
				}
			}
		}
		slices.Sort(run)
		run = slices.Compact(run)
	}
	byGroup := make([][]string, len(l.split)+1)
	for _, pattern := range run {
		if l.leavesOut(pattern) {
			continue
		}
		top, _, _ := strings.Cut(pattern, "/")
		i := slices.IndexFunc(l.split, func(globs []string) bool {
			return slices.ContainsFunc(globs, func(g string) bool { return covers(g, top) })
		})
		if i < 0 {
			i = len(l.split)
		}
		byGroup[i] = append(byGroup[i], pattern)
	}
	for _, patterns := range byGroup {
		if len(patterns) == 0 {
			continue
		}
		j := &job{level: l, pkg: pkg, binary: binary, run: patterns}
		if in, _ := packageOf(l.witness); in == pkg {
			j.witness = l.witness
		}
		jobs = append(jobs, j)
	}
	return jobs
}

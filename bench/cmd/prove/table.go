package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// nameWidth keeps the table of all levels within 120 columns; a longer name gets a
// line.
const nameWidth = 21

// cell is what a level proves of an op.
type cell struct {
	state state
	why   string // it was not run
}

type state int

const (
	absent state = iota // the level has no such kernel, or leaves its test out
	ran
	notRun
	failing
)

func (s state) String() string { return [...]string{"·", "ran", "not run", "FAILED"}[s] }

// cell judges an op on a level: failed if one of its tests did, and not run if
// one of them did not, or was skipped.
func (c *column) cell(o op) cell {
	here := func(pattern string) bool {
		pkg, _ := packageOf(pattern)
		return slices.Contains(c.packages, pkg) && !c.leavesOut(pattern)
	}
	switch {
	case !slices.ContainsFunc(o.tests, here):
		return cell{}
	case c.why != "":
		return cell{notRun, c.why}
	case c.broken != "":
		return cell{notRun, "its tests do not build"}
	}
	out := cell{state: ran}
	expected := 0
	for _, pattern := range o.tests {
		for _, p := range expand(pattern, c.listed) {
			if c.leavesOut(p) {
				continue
			}
			expected++
			switch s := c.pattern(p); {
			case s.state == failing:
				return s
			case s.state == notRun && out.state == ran:
				out = s
			}
		}
	}
	if expected == 0 {
		return cell{notRun, "there is no such test"}
	}
	return out
}

// pattern judges the tests of one pattern.
func (c *column) pattern(p string) cell {
	out := cell{notRun, "no test of it ran"}
	for _, j := range c.jobs {
		if !slices.ContainsFunc(j.run, func(r string) bool { return covers(r, p) }) {
			continue // a process that runs it as the witness, at most
		}
		if j.trouble != "" {
			out.why = j.trouble
		}
		good, skip := false, ""
		for test, r := range j.results {
			switch {
			case !covers(p, test):
			case r.status == failed, r.status == running:
				return cell{state: failing}
			case r.status == skipped:
				skip = test + " was skipped: " + reason(r)
			default:
				good = true
			}
		}
		switch {
		case skip != "":
			out.why = skip
		case good && !j.doubtful():
			out = cell{state: ran}
		}
	}
	return out
}

// reason is what a skipped test says.
func reason(r *result) string {
	for _, line := range r.output.lines() {
		if !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(strings.TrimSpace(line), "--- ") {
			return strings.TrimSpace(line)
		}
	}
	return "no reason given"
}

// broke says what is wrong with the level beside its tests, or nothing.
func (c *column) broke() (troubles []string) {
	if c.broken != "" {
		return []string{c.broken}
	}
	for _, j := range c.jobs {
		if j.trouble != "" {
			troubles = append(troubles, j.title()+": "+j.trouble)
		}
	}
	return troubles
}

// itself is the cell of the level's own row.
func (c *column) itself() cell {
	switch {
	case c.why != "":
		return cell{notRun, c.why}
	case len(c.broke()) > 0:
		return cell{state: failing}
	case len(c.jobs) == 0:
		return cell{notRun, "no test was chosen"}
	}
	return cell{state: ran}
}

// culprits are the tests that failed and have no failed test below them.
func (j *job) culprits() (tests []string) {
	bad := func(test string) bool { s := j.results[test].status; return s == failed || s == running }
	all := slices.Sorted(maps.Keys(j.results))
	for _, test := range all {
		if bad(test) && !slices.ContainsFunc(all, func(below string) bool { return strings.HasPrefix(below, test+"/") && bad(below) }) {
			tests = append(tests, test)
		}
	}
	return tests
}

// strays returns rows for what happened in tests that no pattern covers: a
// subtest that no row claims, or a test that failed beside its subtests.
func strays(columns []*column, rows []op) (more []op) {
	for _, c := range columns {
		for _, j := range c.jobs {
			all := slices.Sorted(maps.Keys(j.results))
			for _, test := range all {
				leaf := !slices.ContainsFunc(all, func(below string) bool { return strings.HasPrefix(below, test+"/") })
				claimed := slices.ContainsFunc(rows, func(o op) bool {
					return slices.ContainsFunc(o.tests, func(p string) bool { return covers(p, test) })
				})
				if claimed || !leaf && !slices.Contains(j.culprits(), test) {
					continue
				}
				stray := op{test, []string{test}}
				if !slices.ContainsFunc(more, func(o op) bool { return o.name == stray.name }) {
					more = append(more, stray)
				}
			}
		}
	}
	return more
}

// tally counts the cells of the table.
type tally struct{ passed, failed, notRun int }

func (t *tally) add(s state) {
	switch s {
	case ran:
		t.passed++
	case failing:
		t.failed++
	case notRun:
		t.notRun++
	}
}

func (t tally) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d not run", t.passed, t.failed, t.notRun)
}

// report writes the table, the failures, why what did not run did not, and the
// tally, and tells whether all is as it must be.
func report(w io.Writer, columns []*column, rows []op, filtered bool, required []*level) (good bool) {
	if !filtered {
		rows = append(slices.Clone(rows), strays(columns, rows)...)
	}
	var all tally
	per := map[*column]*tally{}
	why := map[*column]map[string][]string{} // reason → ops
	var table strings.Builder
	line := func(name string, of func(c *column) cell) {
		fmt.Fprintf(&table, "%-*s", nameWidth, name)
		if utf8.RuneCountInString(name) > nameWidth {
			fmt.Fprintf(&table, "\n%*s", nameWidth, "")
		}
		for _, c := range columns {
			x := of(c)
			all.add(x.state)
			per[c].add(x.state)
			if x.state == notRun {
				why[c][x.why] = append(why[c][x.why], name)
			}
			fmt.Fprintf(&table, " %-*s", max(len(c.name), len("not run")), x.state)
		}
		table.WriteString("\n")
	}
	for _, c := range columns {
		per[c], why[c] = &tally{}, map[string][]string{}
	}
	fmt.Fprintf(&table, "%-*s", nameWidth, "op")
	for _, c := range columns {
		fmt.Fprintf(&table, " %-*s", len("not run"), c.name)
	}
	table.WriteString("\n")
	line(itself, (*column).itself)
	for _, o := range rows {
		line(o.name, func(c *column) cell { return c.cell(o) })
	}
	for l := range strings.Lines(table.String()) {
		fmt.Fprintln(w, strings.TrimRight(l, " \n"))
	}
	for _, c := range columns {
		c.failures(w)
	}
	fmt.Fprintln(w)
	good = all.failed == 0
	for _, c := range columns {
		var took time.Duration
		for _, j := range c.jobs {
			took += j.took
		}
		fmt.Fprintf(w, "%s: %v, %v\n", c.name, per[c], took.Round(time.Second))
		for _, reason := range slices.Sorted(maps.Keys(why[c])) {
			names := strings.Join(why[c][reason], "; ")
			if len(why[c][reason]) > 3 {
				names = fmt.Sprintf("%d ops", len(why[c][reason]))
			}
			fmt.Fprintf(w, "  not run: %s: %s\n", names, reason)
		}
		for _, test := range slices.Sorted(maps.Keys(c.without)) {
			fmt.Fprintf(w, "  left out: %s: %s\n", test, c.without[test])
		}
		if slices.Contains(required, c.level) && per[c].notRun > 0 {
			fmt.Fprintf(w, "  required, but %d ops were not run\n", per[c].notRun)
			good = false
		}
	}
	fmt.Fprintln(w, all)
	return good
}

// failures writes what went wrong on the level, test by test.
func (c *column) failures(w io.Writer) {
	for _, t := range c.broke() {
		fmt.Fprintf(w, "\n%s: %s\n", c.name, t)
	}
	for _, j := range c.jobs {
		if j.trouble != "" {
			for _, line := range j.stray.lines() {
				fmt.Fprintf(w, "    %s\n", line)
			}
		}
		for _, test := range j.culprits() {
			fmt.Fprintf(w, "\n%s: %s FAILED\n", c.name, test)
			for _, line := range j.results[test].output.lines() {
				fmt.Fprintf(w, "    %s\n", line)
			}
		}
	}
}

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// record is the result of a run.
type record struct {
	Command   string   `json:"command"`
	Date      string   `json:"date"`
	Machine   string   `json:"machine"`
	NotRun    []string `json:"not_run,omitempty"`
	Exempt    []string `json:"exempt,omitempty"`
	Functions []*tally `json:"functions"`
}

// tally counts the mutants of one function. Rejected ones, which the assembler
// does not accept, are not mutants.
type tally struct {
	Function   string      `json:"function"`
	Level      string      `json:"level"`
	Fields     []string    `json:"fields"`
	Possible   int         `json:"possible"` // all there are, of which Mutants were run
	Mutants    int         `json:"mutants"`
	Failed     int         `json:"failed"`
	Faulted    int         `json:"faulted"`
	TimedOut   int         `json:"timed_out"`
	Rejected   []*uncaught `json:"rejected,omitempty"`
	Equivalent []*uncaught `json:"equivalent,omitempty"`
	Survived   []*uncaught `json:"survived,omitempty"`
	// Contradicted were caught although equivalent.go has a reason why they cannot be.
	Contradicted []*uncaught `json:"contradicted,omitempty"`
}

// uncaught is a mutant that no test caught, or that was not run.
type uncaught struct {
	*mutant
	Reason string `json:"reason,omitempty"`
}

func (t *tally) caught() int { return t.Failed + t.Faulted + t.TimedOut }

// count enters the outcome of m. A row of equivalent.go that also fits a caught
// mutant is broader than its reason.
func (t *tally) count(m *mutant, o outcome) {
	t.Mutants++
	reason := equivalent(m)
	if o != survived && reason != "" {
		t.Contradicted = append(t.Contradicted, &uncaught{m, reason})
	}
	switch o {
	case failed:
		t.Failed++
	case faulted:
		t.Faulted++
	case timedOut:
		t.TimedOut++
	case survived:
		if reason != "" {
			t.Equivalent = append(t.Equivalent, &uncaught{m, reason})
		} else {
			t.Survived = append(t.Survived, &uncaught{m, ""})
		}
	}
}

// total sums the functions of a level, of all where level is "".
func (r *record) total(level string) (sum tally) {
	for _, t := range r.Functions {
		if level != "" && t.Level != level {
			continue
		}
		sum.Possible, sum.Mutants = sum.Possible+t.Possible, sum.Mutants+t.Mutants
		sum.Failed, sum.Faulted, sum.TimedOut = sum.Failed+t.Failed, sum.Faulted+t.Faulted, sum.TimedOut+t.TimedOut
		sum.Rejected = append(sum.Rejected, t.Rejected...)
		sum.Equivalent = append(sum.Equivalent, t.Equivalent...)
		sum.Survived = append(sum.Survived, t.Survived...)
		sum.Contradicted = append(sum.Contradicted, t.Contradicted...)
	}
	return sum
}

// share is the part of the mutants that are not equivalent and were caught; 1
// where there are none.
func (t *tally) share() float64 {
	n := t.Mutants - len(t.Equivalent)
	if n == 0 {
		return 1
	}
	return float64(t.caught()) / float64(n)
}

func (t *tally) String() string {
	return fmt.Sprintf("%d mutants: %d caught (%d by a failed test, %d by a fault, %d by the time limit), %d equivalent, %d survived: %.2f %% of those that are not equivalent",
		t.Mutants, t.caught(), t.Failed, t.Faulted, t.TimedOut, len(t.Equivalent), len(t.Survived), 100*t.share())
}

// levels lists the levels that were run, in their order.
func (r *record) levels() (names []string) {
	for _, t := range r.Functions {
		if !slices.Contains(names, t.Level) {
			names = append(names, t.Level)
		}
	}
	return names
}

// summary is what stands at the end of the program's output and at the top of
// the record.
func (r *record) summary() string {
	var b strings.Builder
	for _, name := range r.levels() {
		sum := r.total(name)
		fmt.Fprintf(&b, "%s: %s\n", name, &sum)
	}
	for _, line := range append(slices.Clone(r.NotRun), r.Exempt...) {
		fmt.Fprintln(&b, line)
	}
	sum := r.total("")
	fmt.Fprintf(&b, "all: %s\n", &sum)
	if n := len(sum.Contradicted); n > 0 {
		fmt.Fprintf(&b, "%d caught mutants fit a row of equivalent.go, which is too broad\n", n)
	}
	return b.String()
}

// write saves the record as JSON where the name says so, else as Markdown.
func (r *record) write(path string) error {
	if filepath.Ext(path) == ".json" {
		text, err := json.MarshalIndent(r, "", "\t")
		if err != nil {
			return err
		}
		return os.WriteFile(path, append(text, '\n'), 0o644)
	}
	return os.WriteFile(path, []byte(r.markdown()), 0o644)
}

func (r *record) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Mutation test of the assembly kernels\n\n`%s`, %s, %s\n\n", r.Command, r.Date, r.Machine)
	for line := range strings.Lines(r.summary()) {
		fmt.Fprintf(&b, "- %s", line)
	}
	b.WriteString("\n| function | held to | possible | run | failed | faulted | timed out | equivalent | survived |\n|---|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, t := range r.Functions {
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d | %d | %d | %d |\n", t.Function, strings.Join(t.Fields, ", "),
			t.Possible, t.Mutants, t.Failed, t.Faulted, t.TimedOut, len(t.Equivalent), len(t.Survived))
	}
	list := func(title string, cases []*uncaught, reasons bool) {
		if len(cases) == 0 {
			return
		}
		fmt.Fprintf(&b, "\n## %s\n\n", title)
		reason := ""
		for i, c := range cases {
			if reasons && (i == 0 || c.Reason != reason) {
				reason = c.Reason
				fmt.Fprintf(&b, "\n%s:\n\n", reason)
			}
			fmt.Fprintf(&b, "- %s:%d %s:%d %s: `%s` → `%s`\n", c.Func, c.ID, filepath.Base(c.File), c.Line, c.Operator, c.Original, c.Mutated)
		}
	}
	sum := r.total("")
	list("Survivors", sum.Survived, false)
	for _, cases := range [][]*uncaught{sum.Equivalent, sum.Contradicted} {
		slices.SortStableFunc(cases, func(a, b *uncaught) int { return cmp.Compare(a.Reason, b.Reason) })
	}
	list("Equivalent", sum.Equivalent, true)
	list("Caught, although a row of equivalent.go fits", sum.Contradicted, true)
	list("Not accepted by the assembler", sum.Rejected, false)
	return b.String()
}

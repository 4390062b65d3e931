package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// report is the result of a run.
type report struct {
	Command, Date, Version string
	Rows                   []*row
}

// problems lists the rows that are not as wanted.
func (r *report) problems() (list []string) {
	for _, row := range r.Rows {
		if p := row.problem(); p != "" {
			list = append(list, fmt.Sprintf("%s on %s: %s", row.loop.function, row.cpu.name, p))
		}
	}
	return list
}

// save writes the report to a file.
func (r *report) save(path string) error {
	var b bytes.Buffer
	if err := r.write(&b); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// write writes the report as Markdown.
func (r *report) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "`%s`, %s, %s\n\n# Inner loops of the micro-kernels under llvm-mca\n\n", r.Command, r.Date, r.Version)
	fmt.Fprintf(&b, `A simulation by LLVM's scheduling models, not a measurement: %d passes of each loop, all loads from L1, no front end.

- bound: cycles that the FMA units alone need for a pass, the FMAs over those that the CPU starts per cycle
- cycles: of a pass, as simulated with the model as it is; share: bound over cycles
- model: the CPU's own or one that LLVM borrows, and how many such FMAs it starts per cycle (on registers alone)
- per cycle: how many the silicon starts
- busiest: the unit of the model with the most work, in cycles of a pass
- corrected: the same with the model's errors that are listed below put right, where the share is under %.0f %% without

`, passes, 100*wanted)
	b.WriteString("| kernel | CPU | model | FMAs | width | per cycle | bound | cycles | share | busiest | corrected | share | verdict |\n" +
		"|---|---|---|---:|---:|---:|---:|---:|---:|---|---:|---:|---|\n")
	for _, row := range r.Rows {
		verdict := row.problem()
		if verdict == "" {
			verdict = "ok"
			if len(row.applied) > 0 {
				verdict = "ok, corrected " + notes(r, row)
			}
		}
		if row.loop.fmas == 0 {
			fmt.Fprintf(&b, "| %s | %s | | 0 | | | | | | | | | %s |\n", row.loop.function, row.cpu.name, verdict)
			continue
		}
		model := "its own"
		if row.borrowed != "" {
			model = "with " + row.borrowed
		}
		corrected := " | "
		if row.corrected != nil {
			corrected = fmt.Sprintf("%.2f | %.1f %%", row.corrected.cycles, 100*row.share(row.corrected))
		}
		fmt.Fprintf(&b, "| %s | %s | %s, %.1f | %d | %d | %g | %.1f | %.2f | %.1f %% | %s | %s | %s |\n",
			row.loop.function, row.cpu.name, model, row.modelFMAs, row.loop.fmas, row.loop.width, row.cpu.starts(row.loop),
			row.bound(), row.plain.cycles, 100*row.share(row.plain), row.plain.busiest, corrected, verdict)
	}
	if list := r.corrections(); len(list) > 0 {
		b.WriteString("\n## Corrections\n\n")
		for i, why := range list {
			fmt.Fprintf(&b, "%d. %s\n", i+1, why)
		}
	}
	b.WriteString("\n## FMAs per cycle\n\n")
	var seen []*cpu
	for _, row := range r.Rows {
		if c := row.cpu; !slices.Contains(seen, c) {
			seen = append(seen, c)
			fmt.Fprintf(&b, "- %s (%s): %s\n", c.name, c.core, c.source)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// corrections lists the reasons that the rows applied, in order of use.
func (r *report) corrections() (list []string) {
	for _, row := range r.Rows {
		for _, c := range row.applied {
			if !slices.Contains(list, c.why) {
				list = append(list, c.why)
			}
		}
	}
	return list
}

// notes numbers the corrections of a row.
func notes(r *report, row *row) string {
	var n []string
	for _, c := range row.applied {
		n = append(n, fmt.Sprint(slices.Index(r.corrections(), c.why)+1))
	}
	return strings.Join(n, ", ")
}

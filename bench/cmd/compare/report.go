package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"fuerte/bench/internal/stats"
)

// wantMean and wantLeast are what is asked of the ratios of a table: their
// geometric mean, and every one.
const wantMean, wantLeast = 1.10, 0.95

// report is a run of the command.
type report struct {
	Command  string         `json:"command"`
	Date     string         `json:"date"`
	Op       string         `json:"op"`
	Unit     string         `json:"unit"` // of the rates
	Ceiling  ceiling        `json:"ceiling"`
	Memory   bool           `json:"-"` // tell it
	Rounds   int            `json:"rounds"`
	Machine  []fact         `json:"machine"`
	Busy     bool           `json:"busy"` // other programs ran before
	Programs []programInfo  `json:"programs"`
	Missing  []programInfo  `json:"missing,omitempty"`
	Notes    []string       `json:"notes,omitempty"`
	Peaks    []peakInfo     `json:"peaks"`
	Summary  []summary      `json:"summary"`
	Rows     []*measurement `json:"rows"`
}

type programInfo struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

type peakInfo struct {
	Threads int     `json:"threads"`
	Rate    float64 `json:"rate"` // in the ceiling's unit
}

// summary is the rows of one number of threads.
type summary struct {
	Threads int     `json:"threads"`
	Rows    int     `json:"rows"` // with a ratio
	Mean    float64 `json:"geomean_ratio"`
	Worst   float64 `json:"worst_ratio"`
	At      string  `json:"worst_shape"`
	Below   int     `json:"below"` // rows under wantLeast
	Percent float64 `json:"geomean_percent_of_ceiling"`
}

// add takes the result of a number of threads in.
func (r *report) add(threads int, res passResult) {
	r.Rows = append(r.Rows, res.rows...)
	r.Peaks = append(r.Peaks, peakInfo{threads, res.peak / 1e9})
	for i := range r.Programs {
		p := &r.Programs[i]
		p.Version = cmp.Or(p.Version, res.versions[p.Name])
		if why := res.gone[p.Name]; why != "" {
			r.Notes = append(r.Notes, fmt.Sprintf("%s takes no part with threads = %d any more: %s", p.Name, threads, why))
		}
	}
	if res.left > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d rows were left out with threads = %d: the time was over", res.left, threads))
	}
	s := summary{Threads: threads, Worst: math.Inf(1)}
	var ratios, percents []float64
	for _, m := range res.rows {
		if m.Percent > 0 {
			percents = append(percents, m.Percent)
		}
		if m.Ratio == 0 {
			continue
		}
		ratios = append(ratios, m.Ratio)
		if m.Ratio < s.Worst {
			s.Worst, s.At = m.Ratio, m.Shape
		}
		if m.Ratio < wantLeast {
			s.Below++
		}
	}
	if s.Rows = len(ratios); s.Rows > 0 {
		s.Mean, s.Percent = stats.Geomean(ratios), stats.Geomean(percents)
		r.Summary = append(r.Summary, s)
	}
}

// failed tells what of ours was wrong or has no number.
func (r *report) failed() (why []string) {
	for _, m := range r.Rows {
		if t := m.Timings[ours]; t.Lost != "" {
			why = append(why, fmt.Sprintf("%s, threads = %d: %s", m.Shape, m.Threads, t.Lost))
		}
	}
	return why
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}

// markdown writes the report for readers.
func (r *report) markdown(w io.Writer) {
	p := func(format string, a ...any) { fmt.Fprintf(w, format, a...) }
	p("# %s against others\n\n`%s`, %s. %s of the median of %d rounds, in each of which every program ran once, by turns.\n", r.Op, r.Command, r.Date, r.Unit, r.Rounds)
	p("The ratio is that of the best peer's time to ours, the median over the rounds; beside it the interval of that median.\n\n")
	if r.Busy {
		p("**The machine was not idle: these numbers say nothing.**\n\n")
	}
	for _, f := range r.Machine {
		p("- %s: %s\n", f.Name, f.Value)
	}
	for _, k := range r.Peaks {
		p("- %s, threads = %d: %.1f %s\n", r.Ceiling.Name, k.Threads, k.Rate, r.Ceiling.Unit)
	}
	p("\n| program | version |\n|---|---|\n")
	for _, i := range r.Programs {
		p("| %s | %s |\n", i.Name, cell(cmp.Or(i.Version, "did not start")))
	}
	for _, i := range r.Missing {
		p("| %s | missing: %s |\n", i.Name, cell(i.Reason))
	}
	p("\n")
	for _, n := range r.Notes {
		p("- %s\n", n)
	}
	if len(r.Notes) > 0 {
		p("\n")
	}
	p("| threads | rows | geometric mean of the ratio (≥ %.2f) | worst (≥ %.2f) | below %.2f | %% of %s |\n|---|---|---|---|---|---|\n", wantMean, wantLeast, wantLeast, r.Ceiling.Name)
	for _, s := range r.Summary {
		p("| %d | %d | %s | %s at %s | %d | %.1f |\n", s.Threads, s.Rows, verdict(s.Mean, wantMean), verdict(s.Worst, wantLeast), s.At, s.Below, s.Percent)
	}
	for i, k := range r.Peaks {
		rows := slices.DeleteFunc(slices.Clone(r.Rows), func(m *measurement) bool { return m.Threads != k.Threads })
		if len(rows) > 0 && !slices.ContainsFunc(r.Peaks[:i], func(o peakInfo) bool { return o.Threads == k.Threads }) {
			r.table(p, k.Threads, rows)
		}
	}
}

// verdict marks what misses its aim.
func verdict(v, want float64) string {
	if v < want {
		return fmt.Sprintf("**%.3f ✗**", v)
	}
	return fmt.Sprintf("%.3f ✓", v)
}

// table writes the rows of a number of threads.
func (r *report) table(p func(string, ...any), threads int, rows []*measurement) {
	p("\n## threads = %d\n\n| shape | role |", threads)
	for _, i := range r.Programs {
		p(" %s |", i.Name)
	}
	p(" ratio | interval | %% of %s |\n|---|---|%s---|---|---|\n", r.Ceiling.Name, strings.Repeat("---|", len(r.Programs)))
	once, apart, coverage := false, false, 1.0
	var lost []string
	for _, m := range rows {
		alone := ""
		if m.Alone {
			alone = " †"
			apart = true
		}
		p("| %s%s | %s |", m.Shape, alone, m.Role)
		for _, i := range r.Programs {
			switch t := m.Timings[i.Name]; {
			case t.Lost != "":
				p(" – |")
				lost = append(lost, fmt.Sprintf("%s, %s: %s", i.Name, m.Shape, cell(t.Lost)))
			case t.Once:
				once = true
				p(" ~%s |", digits(t.Rate))
			case i.Name == m.Best:
				p(" **%s** |", digits(t.Rate))
			default:
				p(" %s |", digits(t.Rate))
			}
		}
		if m.Ratio == 0 {
			p(" – | – |")
		} else {
			coverage = min(coverage, m.Coverage)
			p(" %.3f | %.3f–%.3f |", m.Ratio, m.Low, m.High)
		}
		if m.Percent > 0 {
			p(" %.1f |\n", m.Percent)
		} else {
			p(" – |\n")
		}
	}
	p("\nBold: the best peer. The interval holds the median with a probability of at least %.1f %%.", 100*coverage)
	if once {
		p(" ~: measured once, being over %d times slower than the fastest.", slow)
	}
	if apart {
		p(" †: not by turns, since the memory was too small for all programs at once; each ran all its rounds alone.")
	}
	p("\n")
	if r.Memory {
		r.memoryTable(p, rows)
	}
	if len(lost) > 0 {
		p("\nWithout a number:\n\n")
		for _, l := range lost {
			p("- %s\n", l)
		}
	}
}

// memoryTable writes how much memory the programs took.
func (r *report) memoryTable(p func(string, ...any), rows []*measurement) {
	p("\nPeak of the resident memory of each process while it was measured, GB:\n\n| shape |")
	for _, i := range r.Programs {
		p(" %s |", i.Name)
	}
	p("\n|---|%s\n", strings.Repeat("---|", len(r.Programs)))
	for _, m := range rows {
		p("| %s |", m.Shape)
		for _, i := range r.Programs {
			if bytes := m.Timings[i.Name].Memory; bytes > 0 {
				p(" %.2f |", bytes/1e9)
			} else {
				p(" – |")
			}
		}
		p("\n")
	}
}

// digits writes three digits or more.
func digits(v float64) string {
	switch {
	case v < 1:
		return strconv.FormatFloat(v, 'g', 3, 64)
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// cell keeps a text in its cell.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s)
}

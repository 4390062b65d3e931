package main

import (
	"fmt"
	"io"
	"strings"
)

// table writes the ceilings and the benchmarks as Markdown.
func (r *results) table(w io.Writer, c *ceilings) error {
	var b strings.Builder
	if r.cpu != "" {
		fmt.Fprintf(&b, "CPU: %s\n\n", r.cpu)
	}
	b.WriteString("| ceiling | isa | threads | GFLOP/s | GB/s |\n|---|---|---:|---:|---:|\n")
	for _, x := range r.list {
		if x.ceiling() {
			name := strings.TrimSpace(x.op + " " + x.sizes)
			fmt.Fprintf(&b, "| %s | %s | %d | %s | %s |\n", name, x.isa, x.threads, x.cell("GFLOP/s"), x.cell("GB/s"))
		}
	}
	b.WriteString("\n| op | isa | dtype | sizes | threads | GFLOP/s | GB/s | flop/B | % of peak | % of roof |\n|---|---|---|---|---:|---:|---:|---:|---:|---:|\n")
	for _, x := range r.list {
		if x.ceiling() {
			continue
		}
		share := x.cell("%peak")
		if rate, ok := x.metric("GFLOP/s"); ok && share == "" {
			share = number(100 * rate / c.peaks[peakKey{x.level(), x.threads}])
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %d | %s | %s | %s | %s | %s |\n", x.op, x.isa, x.dtype, x.sizes, x.threads,
			x.cell("GFLOP/s"), x.cell("GB/s"), x.cell("flop/B"), share, x.cell("%roof"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell is the median of a unit, empty where the benchmark does not report it.
func (b *benchmark) cell(unit string) string {
	if v, ok := b.metric(unit); ok {
		return number(v)
	}
	return ""
}

// number writes about three digits, without an exponent.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.4f", v)
}

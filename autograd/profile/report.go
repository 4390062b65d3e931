package profile

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"fuerte/kernels"
	"fuerte/tensor"
)

// Report is what a Profiler has seen, of all its steps.
type Report struct {
	Steps   int
	Seconds float64 // of all steps
	// Rows are ops by layer and shapes, and parts without ops; their seconds and
	// Unattributed add up to Seconds.
	Rows         []Row
	Unattributed float64
	Memory       *Memory // nil without Options.Memory
	Ceilings     Ceilings
}

// Row is an op in a layer, at its shapes, in one pass.
type Row struct {
	Op      string // "" for a part without ops
	Layer   string
	Pass    string // "forward" or "backward"
	Shapes  string // of the inputs
	Calls   int
	Seconds float64
	Count   Count  // of all calls; without a kernel
	Kernel  string // the first words of kernels.Explain
	Product bool   // a product or an attention, held against the peak
}

// Memory is host memory by who made it.
type Memory struct {
	Live, Peak int64
	Held       []Held // with the most at the peak first
}

// Held is what one layer holds, bytes.
type Held struct {
	Layer        string
	Live, AtPeak int64
}

// Owners that are no layer.
const (
	ownerUnknown = "(moments, batches to come, results under way)"
	ownerInputs  = "(weights and inputs)"
)

// Report sums up; c may be the zero value.
func (p *Profiler) Report(c Ceilings) *Report {
	r := &Report{Steps: p.steps, Seconds: seconds(p.total), Unattributed: seconds(p.total), Ceilings: c}
	for _, w := range p.rows {
		if w.calls == 0 {
			continue
		}
		line := Row{Op: w.op.Name, Layer: p.path(w.layer), Pass: pass(w.vjp), Shapes: w.sizes, Calls: w.calls,
			Seconds: seconds(w.time), Count: w.count, Kernel: w.chosen()}
		line.Product = slices.ContainsFunc(w.kernels, isProduct)
		r.Rows = append(r.Rows, line)
	}
	busy := make([]bool, len(p.layers)) // with ops in it or below
	for i := len(p.layers) - 1; i > root; i-- {
		busy[i] = busy[i] || p.layers[i].ops > 0
		busy[p.layers[i].parent] = busy[p.layers[i].parent] || busy[i]
		if l := p.layers[i]; !busy[i] && l.first == 0 {
			r.Rows = append(r.Rows, Row{Layer: p.path(i), Pass: pass(false), Calls: r.Steps, Seconds: seconds(l.time)})
		}
	}
	for _, w := range r.Rows {
		r.Unattributed -= w.Seconds
	}
	sortRows(r.Rows)
	if p.options.Memory {
		r.Memory = p.memory()
	}
	return r
}

func seconds(ns int64) float64 { return time.Duration(ns).Seconds() }

func sortRows(rows []Row) {
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), cmp.Compare(a.Layer, b.Layer), cmp.Compare(a.Op, b.Op), cmp.Compare(a.Pass, b.Pass), cmp.Compare(a.Shapes, b.Shapes))
	})
}

func isProduct(c kernels.Call) bool {
	return c.Op == "gemm" || c.Op == gemmBF16 || strings.HasPrefix(c.Op, "attention")
}

// memory reads the account of package tensor.
func (p *Profiler) memory() *Memory {
	a := tensor.ReadAccount()
	m := &Memory{Live: tensor.LiveBytes(), Peak: a.Peak}
	for owner := range max(len(a.Held), len(a.AtPeak)) {
		h := Held{Layer: ownerUnknown}
		if owner < len(a.Held) {
			h.Live = a.Held[owner]
		}
		if owner < len(a.AtPeak) {
			h.AtPeak = a.AtPeak[owner]
		}
		switch {
		case owner == ownerGiven:
			h.Layer = ownerInputs
		case owner > ownerGiven:
			h.Layer = p.path(owner - layerOwners)
		}
		if h.Live != 0 || h.AtPeak != 0 {
			m.Held = append(m.Held, h)
		}
	}
	m.sort()
	return m
}

func (m *Memory) sort() {
	slices.SortStableFunc(m.Held, func(a, b Held) int {
		return cmp.Or(cmp.Compare(b.AtPeak, a.AtPeak), cmp.Compare(a.Layer, b.Layer))
	})
}

// chosen is what Explain says first about each kernel of the row.
func (r *row) chosen() string {
	if r.device != tensor.CPU {
		if r.device == nil {
			return ""
		}
		return r.device.Name
	}
	products := slices.ContainsFunc(r.kernels, isProduct)
	var words []string
	for _, c := range r.kernels {
		if products && !isProduct(c) {
			continue // beside a product nobody asks for it
		}
		word := c.Op
		if c.Op != gemmBF16 {
			var text string
			if r.dtype == tensor.Float64 {
				text, _ = kernels.Explain(kernels.F64(), c)
			} else {
				text, _ = kernels.Explain(kernels.F32(), c)
			}
			word = firstWords(text)
		}
		if word != "" && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, " + ")
}

// firstWords names the level and the kernel of an explanation: "avx2 Tile 6×16".
func firstWords(text string) string {
	level, kernel := "", ""
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "level: "); ok {
			level, _, _ = strings.Cut(rest, " ")
		}
		if rest, ok := strings.CutPrefix(line, "kernel: "); ok {
			kernel = strings.TrimSpace(rest)
			if at := strings.IndexAny(kernel, ":;"); at >= 0 {
				kernel = kernel[:at]
			}
			parts := strings.SplitN(kernel, ",", 3)
			kernel = parts[0]
			if len(parts) > 1 && strings.Contains(parts[1], "×") {
				kernel += parts[1]
			}
		}
	}
	return strings.TrimSpace(level + " " + kernel)
}

// Collapsed returns the report with the layers that differ by their place alone as
// one.
func (r *Report) Collapsed() *Report {
	c := *r
	type place struct{ op, layer, pass, shapes string }
	rows := map[place]*Row{}
	for _, w := range r.Rows {
		k := place{w.Op, collapsed(w.Layer), w.Pass, w.Shapes}
		sum := rows[k]
		if sum == nil {
			first := w
			first.Layer = k.layer
			rows[k] = &first
			continue
		}
		sum.Calls += w.Calls
		sum.Seconds += w.Seconds
		sum.Count.FLOP += w.Count.FLOP
		sum.Count.Bytes += w.Count.Bytes
	}
	c.Rows = nil
	for _, w := range rows {
		c.Rows = append(c.Rows, *w)
	}
	sortRows(c.Rows)
	if r.Memory != nil {
		m := *r.Memory
		m.Held = nil
		held := map[string]Held{}
		for _, h := range r.Memory.Held {
			layer := collapsed(h.Layer)
			sum := held[layer]
			held[layer] = Held{layer, sum.Live + h.Live, sum.AtPeak + h.AtPeak}
		}
		m.Held = slices.Collect(maps.Values(held))
		m.sort()
		c.Memory = &m
	}
	return &c
}

// collapsed leaves the places out of a path: "blocks.3.attn" is "blocks.*.attn".
func collapsed(path string) string {
	parts := strings.Split(path, ".")
	for i, s := range parts {
		if s != "" && strings.Trim(s, "0123456789") == "" {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, ".")
}

// Write writes the tables as Markdown, of numbers for one step; full keeps blocks of
// a kind apart. Errors: those of w.
func (r *Report) Write(w io.Writer, full bool) error {
	if !full {
		r = r.Collapsed()
	}
	var b bytes.Buffer
	n := float64(max(r.Steps, 1))
	step := r.Seconds / n
	fmt.Fprintf(&b, "%d steps of %.2f ms.", r.Steps, 1e3*step)
	if c := r.Ceilings; c.Peak > 0 {
		fmt.Fprintf(&b, " Ceilings: %.1f GFLOP/s of multiply-adds; %.1f, %.1f and %.1f GB/s in L2, L3 and memory.", c.Peak/1e9, c.Bandwidth[0]/1e9, c.Bandwidth[1]/1e9, c.Bandwidth[2]/1e9)
	}
	b.WriteString("\n\n| ms | % | calls | op | layer | shapes | MFLOP | MB | GFLOP/s | GB/s | of ceiling | kernel |\n|--:|--:|--:|---|---|---|--:|--:|--:|--:|--:|---|\n")
	share := func(s float64) float64 { return 100 * s / max(r.Seconds, 1e-12) }
	var few Row // rows that nobody needs to read
	fewer := 0
	for _, row := range r.Rows {
		if !full && share(row.Seconds) < 0.1 {
			few.Seconds += row.Seconds
			few.Calls += row.Calls
			fewer++
			continue
		}
		op := row.Op
		if row.Pass == pass(true) {
			op += " backward"
		}
		fmt.Fprintf(&b, "| %.3f | %.1f | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", 1e3*row.Seconds/n, share(row.Seconds), decimal(float64(row.Calls)/n),
			cmp.Or(op, "–"), cmp.Or(row.Layer, "–"), cmp.Or(row.Shapes, "–"), millions(row.Count.FLOP/n), millions(row.Count.Bytes/n), rate(row.Count.FLOP, row.Seconds), rate(row.Count.Bytes, row.Seconds), r.Ceilings.share(row), cmp.Or(row.Kernel, "–"))
	}
	if fewer > 0 {
		fmt.Fprintf(&b, "| %.3f | %.1f | %s | %d rows of less than 0.1 %% | | | | | | | | |\n", 1e3*few.Seconds/n, share(few.Seconds), decimal(float64(few.Calls)/n), fewer)
	}
	fmt.Fprintf(&b, "| %.3f | %.1f | | unattributed: between ops | | | | | | | | |\n", 1e3*r.Unattributed/n, share(r.Unattributed))
	fmt.Fprintf(&b, "| %.3f | 100.0 | | the step | | | | | | | | |\n", 1e3*step)
	r.writeLayers(&b, n)
	r.writeMemory(&b)
	_, err := w.Write(b.Bytes())
	return err
}

// writeLayers sums over the ops of a layer.
func (r *Report) writeLayers(b *bytes.Buffer, steps float64) {
	type sum struct {
		layer         string
		forward, back float64
		flop          float64
	}
	layers := map[string]*sum{}
	for _, row := range r.Rows {
		s := layers[row.Layer]
		if s == nil {
			s = &sum{layer: row.Layer}
			layers[row.Layer] = s
		}
		if row.Pass == pass(true) {
			s.back += row.Seconds
		} else {
			s.forward += row.Seconds
		}
		s.flop += row.Count.FLOP
	}
	list := slices.SortedFunc(maps.Values(layers), func(a, b *sum) int {
		return cmp.Or(cmp.Compare(b.forward+b.back, a.forward+a.back), cmp.Compare(a.layer, b.layer))
	})
	b.WriteString("\n| layer | forward ms | backward ms | % | GFLOP |\n|---|--:|--:|--:|--:|\n")
	for _, s := range list {
		fmt.Fprintf(b, "| %s | %.3f | %.3f | %.1f | %.4f |\n", cmp.Or(s.layer, "–"), 1e3*s.forward/steps, 1e3*s.back/steps, 100*(s.forward+s.back)/max(r.Seconds, 1e-12), s.flop/steps/1e9)
	}
}

func (r *Report) writeMemory(b *bytes.Buffer) {
	if r.Memory == nil {
		return
	}
	fmt.Fprintf(b, "\nHost memory of tensors: %.2f MB at the peak, %.2f MB now.\n\n| at the peak, MB | now, MB | made by |\n|--:|--:|---|\n", float64(r.Memory.Peak)/1e6, float64(r.Memory.Live)/1e6)
	for _, h := range r.Memory.Held {
		fmt.Fprintf(b, "| %.3f | %.3f | %s |\n", float64(h.AtPeak)/1e6, float64(h.Live)/1e6, cmp.Or(h.Layer, "–"))
	}
}

// share is what part of its ceiling a row has reached: of the peak a product, of the
// bandwidth where its operands stay another op. More than 100 % is possible: operands
// may lie nearer, and products of bfloat16 may be faster than the float32 loop.
func (c Ceilings) share(r Row) string {
	if r.Seconds <= 0 || c.Peak <= 0 {
		return "–"
	}
	if r.Product {
		return fmt.Sprintf("%.0f %% peak", 100*r.Count.FLOP/r.Seconds/c.Peak)
	}
	if r.Count.Bytes <= 0 {
		return "–"
	}
	at := c.place(r.Count.Bytes / float64(r.Calls))
	return fmt.Sprintf("%.0f %% %s", 100*r.Count.Bytes/r.Seconds/c.Bandwidth[at], places[at])
}

func millions(x float64) string {
	if x <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.4g", x/1e6)
}

func rate(amount, seconds float64) string {
	if amount <= 0 || seconds <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", amount/seconds/1e9)
}

// decimal writes a number of calls.
func decimal(x float64) string {
	if x == float64(int(x)) {
		return fmt.Sprint(int(x))
	}
	return fmt.Sprintf("%.1f", x)
}

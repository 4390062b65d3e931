package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// passes of the loop are simulated: enough that filling and draining the core
// changes the cycles of a pass by less than a thousandth of those of a tile.
const passes = 1000

// row is one kernel on one CPU.
type row struct {
	loop *loop
	cpu  *cpu

	borrowed  string      // a resource of the model that LLVM used, if not the CPU's own
	plain     *simulation // the loop as it is
	modelFMAs float64     // started per cycle by the model, measured by FMAs on registers

	corrected *simulation // nil if plain reaches the wanted share, or nothing applies
	applied   []correction
}

// simulation is what llvm-mca says of a loop.
type simulation struct {
	cycles  float64 // of a pass
	busiest string  // the unit with the most cycles in a pass, and how many
}

// bound is the cycles that the FMA units alone need for a pass.
func (r *row) bound() float64 { return float64(r.loop.fmas) / r.cpu.starts(r.loop) }

// share of the bound that a simulation reaches.
func (r *row) share(s *simulation) float64 { return r.bound() / s.cycles }

// best is the simulation to judge by.
func (r *row) best() *simulation {
	if r.corrected != nil {
		return r.corrected
	}
	return r.plain
}

// problem says what is wrong with the row, or "".
func (r *row) problem() string {
	switch {
	case r.loop.fmas == 0:
		return "no loop with FMAs"
	case r.borrowed != "":
		return "LLVM has no model of its own and borrows that with " + r.borrowed
	case r.share(r.best()) < wanted:
		return fmt.Sprintf("%.1f %% of the FMA units' bound", 100*r.share(r.best()))
	// A model that beats the bound does not have the CPU's units: its numbers
	// prove nothing. The margin is for rounding.
	case r.share(r.best()) > 1.001:
		return fmt.Sprintf("%.1f %% of the FMA units' bound: the model has too many", 100*r.share(r.best()))
	}
	return ""
}

// measure simulates a loop on a CPU, with the corrections of the model where the
// loop misses the wanted share without.
func measure(ctx context.Context, t *tools, l *loop, c *cpu) (*row, error) {
	r := &row{loop: l, cpu: c}
	if l.fmas == 0 {
		return r, nil
	}
	s, resource, err := simulate(ctx, t, c, l.code)
	if err != nil {
		return nil, err
	}
	r.plain = s
	if !strings.HasPrefix(resource, c.prefix) {
		r.borrowed = resource
	}
	independent := registerFMAs(l)
	peak, _, err := simulate(ctx, t, c, independent)
	if err != nil {
		return nil, err
	}
	r.modelFMAs = float64(len(independent)) / peak.cycles
	if r.share(s) >= wanted {
		return r, nil
	}
	var code []string
	code, r.applied = correct(l.code, c.corrections)
	if len(r.applied) > 0 {
		r.corrected, _, err = simulate(ctx, t, c, code)
	}
	return r, err
}

// correct applies corrections to a loop and tells which changed it.
func correct(code []string, list []correction) (out []string, applied []correction) {
	out = append(out, code...)
	for _, c := range list {
		changed := false
		for i, text := range out {
			out[i] = c.match.ReplaceAllString(text, c.replace)
			changed = changed || out[i] != text
		}
		if changed {
			applied = append(applied, c)
		}
	}
	return out, applied
}

// registerFMAs is a block of 24 FMAs of the width of the loop's, on registers
// alone. Repeated, they start as fast as the units allow: A64 has 24 sums, enough
// for a latency of 6 on four units; amd64 has 12, enough for 6 on two, since
// 256-bit FMAs keep their VEX form on registers below 16 only.
func registerFMAs(l *loop) (code []string) {
	for i := range 24 {
		switch {
		case l.pairs:
			code = append(code, fmt.Sprintf("bfdot v%d.4s, v30.8h, v31.8h", i))
			continue
		case l.arch == "arm64":
			code = append(code, fmt.Sprintf("fmla v%d.4s, v30.4s, v31.4s", i))
			continue
		}
		letter := map[int]string{128: "x", 256: "y", 512: "z"}[l.width]
		code = append(code, fmt.Sprintf("vfmadd231ps %%%[1]smm14, %%%[1]smm15, %%%[1]smm%[2]d", letter, i%12))
	}
	return code
}

// simulate runs llvm-mca on a loop. It returns also the name of one resource of
// the model, whose prefix tells which CPU's it is.
func simulate(ctx context.Context, t *tools, c *cpu, code []string) (*simulation, string, error) {
	triple := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[c.arch]
	source := "loop:\n" + strings.Join(code, "\n") + "\n"
	args := []string{"-mtriple=" + triple, "-mcpu=" + c.name, fmt.Sprintf("-iterations=%d", passes)}
	if t.log != nil {
		text, err := t.output(ctx, source, "llvm-mca", append(args, "-bottleneck-analysis")...)
		if err != nil {
			return nil, "", err
		}
		fmt.Fprintf(t.log, "llvm-mca %s\n%s\n%s\n", strings.Join(args, " "), source, text)
	}
	out, err := t.output(ctx, source, "llvm-mca", append(args, "-json")...)
	if err != nil {
		return nil, "", err
	}
	return parseSimulation(out)
}

// parseSimulation reads the JSON of llvm-mca.
func parseSimulation(text []byte) (*simulation, string, error) {
	var out struct {
		CodeRegions []struct {
			Instructions         []string
			SummaryView          struct{ Iterations, TotalCycles float64 }
			ResourcePressureView struct {
				ResourcePressureInfo []struct {
					InstructionIndex, ResourceIndex int
					ResourceUsage                   float64
				}
			}
		}
		TargetInfo struct{ Resources []string }
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, "", fmt.Errorf("output of llvm-mca: %w", err)
	}
	if len(out.CodeRegions) != 1 || len(out.TargetInfo.Resources) == 0 || out.CodeRegions[0].SummaryView.Iterations == 0 {
		return nil, "", errors.New("output of llvm-mca: no code, or a CPU without a model")
	}
	region := out.CodeRegions[0]
	s := &simulation{cycles: region.SummaryView.TotalCycles / region.SummaryView.Iterations}
	var most float64
	for _, p := range region.ResourcePressureView.ResourcePressureInfo {
		// The index behind the last instruction holds the sums.
		if p.InstructionIndex == len(region.Instructions) && p.ResourceUsage > most && p.ResourceIndex < len(out.TargetInfo.Resources) {
			most = p.ResourceUsage
			s.busiest = fmt.Sprintf("%s %.1f", kind(out.TargetInfo.Resources[p.ResourceIndex]), most)
		}
	}
	return s, kind(out.TargetInfo.Resources[0]), nil
}

// kind cuts off what tells units of one kind apart: a dot and a byte with the number.
func kind(resource string) string {
	name, _, _ := strings.Cut(resource, ".")
	return name
}

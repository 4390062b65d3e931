package main

import (
	"fmt"
	"slices"
	"strings"
)

// places are where a working set may stay, the fastest first.
var places = []string{"L2", "L3", "memory"}

type peakKey struct {
	level   string
	threads int
}

type streamKey struct {
	place   string
	threads int
}

// ceilings are the rates that the output measured: GFLOP/s of each level and GB/s
// of each place, that of the faster of copy and update.
type ceilings struct {
	peaks   map[peakKey]float64
	streams map[streamKey]float64
	levels  []string // of the peaks, in order
	threads []int    // ascending
}

// ceilings collects those that the benchmarks need: a peak for each that has
// GFLOP/s, and streams for each number of threads that the picture shows.
// Errors: one is missing.
func (r *results) ceilings() (*ceilings, error) {
	c := &ceilings{peaks: map[peakKey]float64{}, streams: map[streamKey]float64{}}
	measured := map[string]bool{}
	for _, b := range r.list {
		switch b.op {
		case "Peak":
			if v, ok := b.metric("GFLOP/s"); ok {
				c.peaks[peakKey{b.isa, b.threads}] = v
				if !slices.Contains(c.levels, b.isa) {
					c.levels = append(c.levels, b.isa)
				}
			}
		case "Stream":
			if v, ok := b.metric("GB/s"); ok {
				measured[stream(b.keys["op"], b.keys["place"], b.threads)] = true
				if b.keys["op"] != "read" {
					k := streamKey{b.keys["place"], b.threads}
					c.streams[k] = max(c.streams[k], v)
				}
			}
		}
	}
	var missing []string
	need := func(ok bool, name string) {
		if !ok && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	for _, b := range r.list {
		if _, ok := b.metric("GFLOP/s"); ok && !b.ceiling() {
			need(c.peaks[peakKey{b.level(), b.threads}] > 0, fmt.Sprintf("BenchmarkPeak/isa=%s/threads=%d", b.level(), b.threads))
		}
	}
	for _, b := range r.points() {
		for _, p := range places {
			for _, op := range []string{"copy", "update"} {
				name := stream(op, p, b.threads)
				need(measured[name], name)
			}
		}
		if !slices.Contains(c.threads, b.threads) {
			c.threads = append(c.threads, b.threads)
		}
	}
	slices.Sort(c.threads)
	if len(missing) > 0 {
		return nil, fmt.Errorf("the input lacks ceilings: %s; let -bench match Peak and Stream too, with as many threads", strings.Join(missing, ", "))
	}
	return c, nil
}

func stream(op, place string, threads int) string {
	return fmt.Sprintf("BenchmarkStream/op=%s/place=%s/threads=%d", op, place, threads)
}

package main

import (
	"hash/fnv"
	"slices"
)

// assignSplits divides the drawings by their code points alone, so that the
// splits stay when styles or emoji are added:
//
//	test-concept  5 % of the concepts, with all their drawings
//	val-style     15 % of the concepts: one family's drawings of each
//	test-style    25 % of the concepts: the same
//	train         the rest
//
// A concept drawn by one family only has nothing to hold out, and is train.
func assignSplits(drawings []*drawing) {
	families := map[string][]string{} // by concept
	for _, d := range drawings {
		if f := families[d.codepoints]; !slices.Contains(f, d.style.family) {
			families[d.codepoints] = append(f, d.style.family)
		}
	}
	for _, f := range families {
		slices.Sort(f)
	}
	for _, d := range drawings {
		d.split = splitOf(d.codepoints, d.style.family, families[d.codepoints])
	}
}

// splitOf returns the split of one drawing; families are those that drew the
// concept, sorted.
func splitOf(codepoints, family string, families []string) string {
	perMille := hash(codepoints) % 1000
	held := families[hash(codepoints+"s")%uint32(len(families))]
	switch {
	case perMille < 50:
		return "test-concept"
	case len(families) < 2 || family != held || perMille >= 450:
		return "train"
	case perMille < 200:
		return "val-style"
	default:
		return "test-style"
	}
}

// hash is FNV-1a with a finish that mixes the high bits into the low ones: the
// remainder of plain FNV is uneven on such short, similar strings.
func hash(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	x := h.Sum32()
	x ^= x >> 16
	x *= 0x7feb352d
	x ^= x >> 15
	return x
}

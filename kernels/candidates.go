package kernels

// Candidate is an experimental kernel: a level with one field replaced by it.
// The generators emit candidates; bench/CANDIDATES.md tells how to write one.
type Candidate struct {
	// Set is the copy of the level; its Name is the level's, a plus sign and the
	// kernel's.
	Set *Set[float32]
	// Level is the name of the level, and Field what is replaced.
	Level, Field string
}

// Candidates lists the experimental kernels compiled into this binary; most
// builds have none. Tests and benchmarks hold them to what the levels are held
// to. Nothing else asks for them, so that programs are linked without them.
func Candidates() []Candidate { return candidateSets() }

// candidate replaces a field of a copy of a level.
func candidate(level, field, name string, replace func(s *Set[float32])) Candidate {
	for _, s := range archSets() { // new sets, which are nobody's
		if s.Name == level {
			s.Name += "+" + name
			replace(s)
			return Candidate{s, level, field}
		}
	}
	panic("kernels: candidate " + name + " of a level that is not there: " + level)
}

// packRowsOf is PackRows by assembly for full micro-panels of a width, by
// otherwise for all others.
func packRowsOf(width int, full func(dst, src *float32, ld, k int), otherwise func(dst, src []float32, ld, k, w, width int)) func(dst, src []float32, ld, k, w, width int) {
	return func(dst, src []float32, ld, k, w, wide int) {
		if w != width || wide != width || k == 0 {
			otherwise(dst, src, ld, k, w, wide)
			return
		}
		full(&dst[0], &src[0], ld, k)
	}
}

// packColsOf is the same for PackCols, whose assembly takes blocks of 8 columns.
func packColsOf(width int, full func(dst, src *float32, ld, blocks int), otherwise func(dst, src []float32, ld, k, w, width int)) func(dst, src []float32, ld, k, w, width int) {
	return func(dst, src []float32, ld, k, w, wide int) {
		done := 0
		if blocks := k / 8; w == width && wide == width && blocks > 0 {
			full(&dst[0], &src[0], ld, blocks)
			done = 8 * blocks
		}
		if done < k {
			otherwise(dst[done*wide:], src[done:], ld, k-done, w, wide)
		}
	}
}

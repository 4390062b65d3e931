package kernels

import (
	"slices"
	"testing"
)

// TestStream: a pass touches all of the working set, each thread its part, counts what
// it moves, and leaves the values of what it only reads or updates by 1.
func TestStream(t *testing.T) {
	for _, threads := range []int{1, 2, 3} {
		const bytes = 3 << 19 // pieces, and a tail
		for traffic, moved := range map[Traffic]float64{Reading: bytes, Copying: bytes, Updating: 2 * bytes} {
			s := NewStream(F32(), traffic, bytes, threads)
			before := slices.Clone(s.mem)
			s.pass(1)
			if s.bytes() != moved {
				t.Errorf("%s on %d threads moves %g bytes, want %g", traffic, threads, s.bytes(), moved)
			}
			per := len(s.mem) / threads
			for part := range threads {
				if got := s.mem[part*per : (part+1)*per]; traffic == Copying && !slices.Equal(got[:per/2], before[part*per+per/2:(part+1)*per]) {
					t.Errorf("thread %d of %d has not copied its half", part, threads)
				}
			}
			if traffic != Copying && !slices.Equal(s.mem, before) {
				t.Errorf("%s has changed the working set", traffic)
			}
		}
	}
	if rate := NewStream(F32(), Reading, 1<<16, 1).Measure(); !(rate > 1e6 && rate < 1e15) {
		t.Errorf("%g bytes a second are read", rate)
	}
}

package tensor

import (
	"slices"
	"sync"
	"testing"
)

// TestAccount: owners hold what was tagged in their name, the first name stays, views
// are their source's, and the peak is remembered with its owners; blocks from before and
// from an earlier account are owner 0's.
func TestAccount(t *testing.T) {
	const n = 1 << 16 // bytes, a size class
	block := func() *Tensor { return New(CPU, Float32, n/4) }
	OpenAccount()
	old := block()
	old.Tag(3)
	start := LiveBytes()
	OpenAccount()
	defer CloseAccount()
	a, b := block(), block()
	a.Tag(1)
	view := a.Narrow(0, 1, 2)
	view.Tag(2) // a's
	b.Tag(2)
	c := block()
	c.Tag(2)
	c.Release()
	view.Release()
	b.Release()
	got := ReadAccount()
	if want := []int64{start, n, 0}; !slices.Equal(got.Held, want) {
		t.Errorf("held is %d, want %d", got.Held, want)
	}
	if want := []int64{start, n, 2 * n}; got.Peak != start+3*n || !slices.Equal(got.AtPeak, want) {
		t.Errorf("at the peak of %d held is %d, want %d of %d", got.Peak, got.AtPeak, start+3*n, want)
	}
	old.Release() // not owner 3's in this account
	a.Release()
	if got := ReadAccount(); got.Held[0] != start-n || got.Held[1] != 0 || LiveBytes() != start-n {
		t.Errorf("after all releases held is %d, live %d; want %d of owner 0", got.Held, LiveBytes(), start-n)
	}
}

// TestAccountConcurrent: goroutines may allocate and release while another one reads.
func TestAccountConcurrent(t *testing.T) {
	OpenAccount()
	defer CloseAccount()
	start := ReadAccount().Held[0]
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 200 {
				x := New(CPU, Float32, 100)
				x.Tag(1 + i)
				ReadAccount()
				x.Release()
			}
		})
	}
	all.Wait()
	if got := ReadAccount(); got.Held[0] != start || slices.Max(got.Held[1:]) != 0 || slices.Min(got.Held[1:]) != 0 {
		t.Errorf("held is %d, want %d and nothing else", got.Held, start)
	}
}

package tensor

import (
	"slices"
	"sync"
	"sync/atomic"
)

// liveBytes is what Live's blocks hold.
var liveBytes atomic.Int64

// LiveBytes returns the bytes of host memory that were allocated and not released
// since the start, slack of the pool's size classes included.
func LiveBytes() int64 { return liveBytes.Load() }

// account says who holds host memory, and who held it when it was most. One is open
// at a time.
var account accountState

type accountState struct {
	number atomic.Int32 // of the open one; 0: none
	last   int32        // guarded by mu, as all below
	mu     sync.Mutex
	held   []int64 // bytes by owner; 0 is everybody not named
	total  int64
	peak   int64
	atPeak []int64 // held when total was peak
	rising bool    // total is peak, and atPeak is still to be taken
}

// Account is what OpenAccount has seen.
type Account struct {
	Held   []int64 // bytes by owner, now
	Peak   int64   // most bytes held at once
	AtPeak []int64 // by owner, when that was
}

// OpenAccount begins to count host memory by owner, from what is held now as owner
// 0's; an account that is open ends. While one is open, every allocation takes a
// lock and some tens of nanoseconds.
func OpenAccount() {
	a := &account
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	a.total = liveBytes.Load()
	a.held, a.peak, a.atPeak, a.rising = append(a.held[:0], a.total), a.total, nil, true
	a.number.Store(a.last)
}

// ReadAccount returns the open account.
func ReadAccount() Account {
	a := &account
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settle()
	return Account{slices.Clone(a.held), a.peak, slices.Clone(a.atPeak)}
}

// CloseAccount stops counting.
func CloseAccount() { account.number.Store(0) }

// Tag names the owner, > 0, of the storage that t views, in the open account. Who
// is named first stays: a view is its source's.
func (t *Tensor) Tag(owner int) {
	a, s := &account, t.store
	number := a.number.Load()
	if number == 0 || s.account == number && s.owner != 0 || s.mem == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.held) <= owner {
		a.held = append(a.held, 0)
	}
	a.held[0] -= int64(len(s.mem))
	a.held[owner] += int64(len(s.mem))
	s.owner, s.account = int32(owner), number
}

// opened counts a block that was allocated.
func opened(s *storage) {
	liveBytes.Add(int64(len(s.mem)))
	s.owner = 0
	a := &account
	if a.number.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held[0] += int64(len(s.mem))
	if a.total += int64(len(s.mem)); a.total > a.peak {
		a.peak, a.rising = a.total, true
	}
}

// closed counts a block that was released.
func closed(s *storage) {
	liveBytes.Add(-int64(len(s.mem)))
	a := &account
	number := a.number.Load()
	if number == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settle()
	owner := s.owner
	if s.account != number {
		owner = 0
	}
	a.held[owner] -= int64(len(s.mem))
	a.total -= int64(len(s.mem))
}

// settle notes who holds what, if it has never been more. It waits for the first
// release: until then the last block has no owner yet.
func (a *accountState) settle() {
	if a.rising && a.total == a.peak {
		a.atPeak = append(a.atPeak[:0], a.held...)
	}
	a.rising = false
}

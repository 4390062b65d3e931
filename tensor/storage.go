package tensor

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"fuerte/kernels"
)

// storage is the memory that tensors view. Its references are counted so that
// Release can hand the memory on to the next op; memory that is never released
// is simply left to the garbage collector.
type storage struct {
	dev  *Device
	size int // bytes
	refs atomic.Int32
	mem  []byte // host memory, 64-byte aligned; nil on other devices
	peer any    // the device's own handle
	// owner is whom Tag named, under the account of that number.
	owner, account int32
}

func (s *storage) retain() { s.refs.Add(1) }

func (s *storage) release() {
	if s.refs.Add(-1) == 0 {
		s.dev.free(s)
	}
}

// hostPool keeps released host memory by size class: powers of two with a
// midpoint, so that at most a third of a block is slack.
type hostPool struct {
	mu   sync.Mutex
	free [128][]*storage
}

const cacheLine = 64

// For finding faults of ownership.
var (
	poison atomic.Bool
	live   atomic.Int64
)

// PoisonFreed makes every release of host memory fill it with NaN (−1 in
// integers), so that whatever is read after its release, or before it is written,
// shows. A debugging switch: it costs a pass over all memory.
func PoisonFreed(on bool) { poison.Store(on) }

// Live returns how many blocks of host memory were allocated and not released
// since the start. Work that releases what it makes leaves it as it was.
func Live() int64 { return live.Load() }

func sizeClass(n int) (class, size int) {
	class, size = 0, cacheLine
	for size < n {
		if size+size/2 >= n {
			return class + 1, size + size/2
		}
		class, size = class+2, size*2
	}
	return class, size
}

// alloc returns n bytes of host memory with undefined content.
func (p *hostPool) alloc(dev *Device, n int) *storage {
	live.Add(1)
	class, size := sizeClass(n)
	p.mu.Lock()
	if l := p.free[class]; len(l) > 0 {
		s := l[len(l)-1]
		p.free[class] = l[:len(l)-1]
		p.mu.Unlock()
		s.size = n
		s.refs.Store(1)
		opened(s)
		return s
	}
	p.mu.Unlock()
	raw := make([]byte, size+cacheLine)
	kernels.AdviseHuge(raw)
	skip := -int(uintptr(unsafe.Pointer(&raw[0]))) & (cacheLine - 1)
	s := &storage{dev: dev, size: n, mem: raw[skip : skip+size : skip+size]}
	s.refs.Store(1)
	opened(s)
	return s
}

func (p *hostPool) put(s *storage) {
	live.Add(-1)
	closed(s)
	if poison.Load() {
		for i := range s.mem {
			s.mem[i] = 0xff
		}
	}
	class, _ := sizeClass(len(s.mem))
	p.mu.Lock()
	p.free[class] = append(p.free[class], s)
	p.mu.Unlock()
}

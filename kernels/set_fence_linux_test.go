package kernels

import (
	"syscall"
	"testing"
	"unsafe"
)

// fence is memory between two unmapped pages: a kernel that reads or writes one
// float beyond a slice that touches either end faults at once.
type fence struct{ mem []float32 }

// newFence holds at least n floats and is unmapped at the end of the test.
func newFence(t testing.TB, n int) *fence {
	t.Helper()
	page := syscall.Getpagesize()
	size := (4*(n+canary) + page - 1) / page * page
	all, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(all) })
	for _, edge := range [][]byte{all[:page], all[page+size:]} {
		if err := syscall.Mprotect(edge, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return &fence{unsafe.Slice((*float32)(unsafe.Pointer(&all[page])), size/4)}
}

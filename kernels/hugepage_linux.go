package kernels

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// AdviseHuge asks for pages of 2 MB under a block of memory that was just allocated and
// not yet written. A stream over pages of 4 KB waits for the translation of addresses,
// in a virtual machine for a third to a half of its time. It is advice: where it cannot
// be followed, and for small blocks, nothing changes.
func AdviseHuge[T any](b []T) {
	const page, least = 2 << 20, 256 << 10
	var element T
	size := uintptr(len(b)) * unsafe.Sizeof(element)
	if size < least {
		return
	}
	// Pages that the block shares with others of Go's heap are advised, too.
	from := uintptr(unsafe.Pointer(&b[0]))
	to := (from + size + page - 1) &^ (page - 1)
	from &^= page - 1
	unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_HUGEPAGE)
	// What Go had used before has its pages already; Linux 6.1 and later put them together.
	unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_COLLAPSE)
}

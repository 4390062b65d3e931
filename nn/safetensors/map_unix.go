//go:build unix

package safetensors

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapFile returns the first size > 0 bytes of f, mapped read-only and shared
// with every other process that has the file open. The mapping outlives f.
func mapFile(f *os.File, size int) ([]byte, error) {
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	return data, os.NewSyscallError("mmap", err)
}

func unmapFile(data []byte) error {
	return os.NewSyscallError("munmap", unix.Munmap(data))
}

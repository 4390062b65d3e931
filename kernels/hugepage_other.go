//go:build !linux

package kernels

// AdviseHuge does nothing here: only Linux is asked.
func AdviseHuge[T any]([]T) {}

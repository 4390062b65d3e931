//go:build !purego

package kernels

// archSets lists the arm64 levels, weakest first.
func archSets() []*Set[float32] { return nil }

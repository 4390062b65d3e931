//go:build !linux

package kernels

import "testing"

// fence is plain memory here: only the canaries watch.
type fence struct{ mem []float32 }

func newFence(_ testing.TB, n int) *fence { return &fence{make([]float32, n+canary)} }

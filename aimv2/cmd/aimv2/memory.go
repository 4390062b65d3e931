package main

import (
	"fmt"
	"os"
	"strings"
)

// fits returns an error where the machine has too little memory to train so many
// parameters: weights, gradient and two moments, 4 bytes each. What the
// activations take comes on top, and depends on the batch.
func fits(parameters int) error {
	need, have := 16*int64(parameters), availableMemory()
	if have > 0 && need > have {
		return fmt.Errorf("%s parameters take %s to train, besides the activations, and this machine has %s of memory left", count(parameters), amount(need), amount(have))
	}
	return nil
}

// availableMemory is what programs can still get without swapping, in bytes, or
// 0 where the system does not tell: only Linux does.
func availableMemory() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	return 0
}

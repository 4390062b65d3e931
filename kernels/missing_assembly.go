//go:build !purego && (amd64 || arm64)

package kernels

import (
	"strings"

	"github.com/klauspost/cpuid/v2"
)

// missing names the features that this machine lacks.
func missing(features []cpuid.FeatureID) string {
	var names []string
	for _, f := range features {
		if !cpuid.CPU.Has(f) {
			names = append(names, f.String())
		}
	}
	return strings.Join(names, ", ")
}

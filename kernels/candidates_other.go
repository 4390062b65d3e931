//go:build purego || !amd64

package kernels

func candidateSets() []Candidate { return nil }

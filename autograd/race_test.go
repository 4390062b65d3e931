//go:build race

package autograd

func init() { raceEnabled = true }

//go:build race

package profile

// raced: under the race detector sync.Pool drops what it is given at random.
const raced = true

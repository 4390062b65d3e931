//go:build race

package aimv2

// raced: under the race detector sync.Pool drops what it is given at random.
const raced = true

//go:build !race

package profile

const raced = false

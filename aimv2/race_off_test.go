//go:build !race

package aimv2

const raced = false

// Package amd64 holds the AVX2 and AVX-512 kernels: generated assembly and its
// declarations. It is a leaf: slices, pointers and integers, no checks, no other
// package. The functions fill kernels.Set (see dispatch_amd64.go there), whose
// field comments are their contract; a name ends in the instruction-set level
// that it needs. Nothing here is edited by hand: the generators are in
// gen/amd64, one file a family, and a test in gen finds a stale file. The family
// candidate is of experimental kernels, which no level has: bench/CANDIDATES.md.
package amd64

//go:generate go run -C ../../gen ./amd64 -family activation
//go:generate go run -C ../../gen ./amd64 -family adamw
//go:generate go run -C ../../gen ./amd64 -family candidate
//go:generate go run -C ../../gen ./amd64 -family dots
//go:generate go run -C ../../gen ./amd64 -family elementwise
//go:generate go run -C ../../gen ./amd64 -family exp
//go:generate go run -C ../../gen ./amd64 -family gemm
//go:generate go run -C ../../gen ./amd64 -family half
//go:generate go run -C ../../gen ./amd64 -family int8
//go:generate go run -C ../../gen ./amd64 -family norm
//go:generate go run -C ../../gen ./amd64 -family pack
//go:generate go run -C ../../gen ./amd64 -family peak
//go:generate go run -C ../../gen ./amd64 -family reduce

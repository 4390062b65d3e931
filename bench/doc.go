// Package bench measures Fuerte: the ceilings of this machine, every kernel at
// every instruction-set level as a share of them, and whole steps of the model.
//
//	go test -bench . ./bench
//
// README.md tells how to read and to compare the numbers. Nothing imports this
// package.
package bench

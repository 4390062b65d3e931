// Gonum is a peer of bench/cmd/compare: the pure Go BLAS of gonum.org/v1/gonum.
package main

import (
	"runtime"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"fuerte/bench/peers/protocol"
)

func main() { protocol.Serve("gonum.org/v1/gonum", prepare) }

func prepare(s protocol.Shape, threads int, a, b, c []float32) (func() ([]float32, error), error) {
	runtime.GOMAXPROCS(threads) // gonum's workers have no other limit
	transA, transB := blas.NoTrans, blas.NoTrans
	rowsA, colsA, rowsB, colsB := s.M, s.K, s.K, s.N
	if s.TransA() {
		transA, rowsA, colsA = blas.Trans, s.K, s.M
	}
	if s.TransB() {
		transB, rowsB, colsB = blas.Trans, s.N, s.K
	}
	return func() ([]float32, error) {
		for t := range s.Batch {
			blas32.Gemm(transA, transB, 1,
				general(rowsA, colsA, a[t*s.M*s.K:]), general(rowsB, colsB, b[t*s.K*s.N:]),
				0, general(s.M, s.N, c[t*s.M*s.N:]))
		}
		return c, nil
	}, nil
}

func general(rows, cols int, data []float32) blas32.General {
	return blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: data}
}

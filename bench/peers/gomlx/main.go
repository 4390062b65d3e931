// Gomlx is a peer of bench/cmd/compare: the Go backend of github.com/gomlx/gomlx.
// A graph with one product is compiled for each shape and run on operands that
// the backend keeps; the backend provides the memory of the result.
package main

import (
	"fmt"
	"runtime"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/simplego"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"fuerte/bench/peers/protocol"
)

func main() { protocol.Serve("github.com/gomlx/gomlx", prepare) }

func prepare(s protocol.Shape, threads int, a, b, _ []float32) (func() ([]float32, error), error) {
	runtime.GOMAXPROCS(threads)
	backend, err := simplego.New(fmt.Sprintf("parallelism=%d", threads))
	if err != nil {
		return nil, err
	}
	// Axis 0 counts the products; of the other two the inner one is contracted.
	rowsA, colsA, innerA := s.M, s.K, 2
	if s.TransA() {
		rowsA, colsA, innerA = s.K, s.M, 1
	}
	rowsB, colsB, innerB := s.K, s.N, 1
	if s.TransB() {
		rowsB, colsB, innerB = s.N, s.K, 2
	}
	shapeA := shapes.Make(dtypes.Float32, s.Batch, rowsA, colsA)
	shapeB := shapes.Make(dtypes.Float32, s.Batch, rowsB, colsB)
	builder := backend.Builder("gemm")
	x, err := builder.Parameter("a", shapeA, nil)
	if err != nil {
		return nil, err
	}
	y, err := builder.Parameter("b", shapeB, nil)
	if err != nil {
		return nil, err
	}
	z, err := builder.DotGeneral(x, []int{innerA}, []int{0}, y, []int{innerB}, []int{0})
	if err != nil {
		return nil, err
	}
	compiled, err := builder.Compile([]backends.Op{z}, nil)
	if err != nil {
		return nil, err
	}
	bufferA, err := backend.BufferFromFlatData(0, a, shapeA)
	if err != nil {
		return nil, err
	}
	bufferB, err := backend.BufferFromFlatData(0, b, shapeB)
	if err != nil {
		return nil, err
	}
	operands := []backends.Buffer{bufferA, bufferB}
	var last backends.Buffer
	return func() ([]float32, error) {
		if last != nil { // gives its memory back, for this result
			if err := backend.BufferFinalize(last); err != nil {
				return nil, err
			}
		}
		out, err := compiled.Execute(operands, nil, 0)
		if err != nil {
			return nil, err
		}
		last = out[0]
		data, err := backend.BufferData(last)
		if err != nil {
			return nil, err
		}
		return data.([]float32), nil
	}, nil
}

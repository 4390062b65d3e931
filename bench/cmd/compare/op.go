package main

import (
	"fmt"
	"time"
)

// operation is a row of the table of what can be compared: an op has a file, and
// its entry here.
type operation struct {
	name string
	unit unit
	// rows is the table of sizes, or the part for -quick.
	rows func(quick bool) []row
	// parse reads a size from a line of -shapes, and what it has as arguments of
	// the protocol.
	parse func(line string) (row, error)
	// serve makes our operands for the arguments of a request.
	serve func(args string) (problem, error)
	// limit is how long an answer may take, with the compilation of a model where
	// a peer compiles.
	limit time.Duration
	// whole marks what runs a whole model: the report tells the memory too.
	whole bool
}

// unit is what an op's rate counts, and what it is held against.
type unit struct {
	name    string // of the rate
	amount  func(m *measurement) float64
	ceiling ceiling
	work    func(m *measurement) float64 // in what the ceiling counts
}

// ceiling is a rate of the machine that no op can exceed.
type ceiling struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
}

var (
	fmaPeak   = ceiling{"peak", "GFLOP/s"}             // of multiply-adds in registers
	streaming = ceiling{"streaming bandwidth", "GB/s"} // of copying or updating memory
)

var (
	flopRate  = unit{"GFLOP/s", func(m *measurement) float64 { return m.FLOP / 1e9 }, fmaPeak, func(m *measurement) float64 { return m.FLOP }}
	byteRate  = unit{"GB/s", func(m *measurement) float64 { return m.Bytes / 1e9 }, streaming, func(m *measurement) float64 { return m.Bytes }}
	imageRate = unit{"images/s", func(m *measurement) float64 { return m.Images }, fmaPeak, func(m *measurement) float64 { return m.FLOP }}
)

// compiling bounds an answer where a peer compiles a model first.
const compiling = 20 * time.Minute

// define fills in an op from what is its own: its table, how a size is read from a
// line, what row it makes, and our call.
func define[T any](o operation, table func(quick bool) []T, read func(line string) (T, error), toRow func(T) row, serve func(T) (problem, error)) operation {
	o.rows = func(quick bool) (rows []row) {
		for _, size := range table(quick) {
			rows = append(rows, toRow(size))
		}
		return rows
	}
	o.parse = func(line string) (row, error) {
		size, err := read(line)
		if err != nil {
			return row{}, err
		}
		r := toRow(size)
		r.role = "asked for"
		return r, nil
	}
	o.serve = func(args string) (problem, error) {
		size, err := read(args)
		if err != nil {
			return problem{}, err
		}
		return serve(size)
	}
	return o
}

var operations = []operation{gemmOp, attentionOp, normOp, lossOp, adamwOp, stepOp, inferOp}

func findOp(name string) (operation, error) {
	for _, o := range operations {
		if o.name == name {
			return o, nil
		}
	}
	return operation{}, fmt.Errorf("no op is called %q", name)
}

// row is one size of an op.
type row struct {
	role, shape string // for the reader
	args        string // for the protocol
	// What a call does: FLOP, bytes with each input read once and each output
	// written once, images. 0 where it is not counted.
	flop, bytes, images float64
	// memory is what a program needs at least, in bytes, where that is much: where
	// not all programs fit side by side, one follows the other.
	memory float64
	// verifier makes what tells a right answer to check; it may take as long as
	// the op.
	verifier func() func(values []float64) error
}

// problem is an op with its operands, in our process.
type problem struct {
	run   func()
	check func() []float64 // runs it once, on an output that holds NaN before
}

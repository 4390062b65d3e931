package main

import "fmt"

// operation is a row of the table of what can be compared: an op has a file, and
// its entry here.
type operation struct {
	name string
	// rows is the table of sizes, or the part for -quick.
	rows func(quick bool) []row
	// parse reads a size from a line of -shapes, and what it has as arguments of
	// the protocol.
	parse func(line string) (row, error)
	// serve makes our operands for the arguments of a request.
	serve func(args string) (problem, error)
}

var operations = []operation{gemmOp}

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
	flop        float64
	// verifier makes what tells a right answer to check; it may take as long as
	// the op.
	verifier func() func(values []float64) error
}

// problem is an op with its operands, in our process.
type problem struct {
	run   func()
	check func() []float64 // runs it once, on an output that holds NaN before
}

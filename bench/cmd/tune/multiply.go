package main

import (
	"time"

	"fuerte/bench/internal/shapes"
	"fuerte/kernels"
)

// leastTime is what a measurement takes at least: above it the clock and the wake-up of
// the workers count for little.
const leastTime = time.Millisecond

// multiplier times products.
type multiplier struct {
	before   kernels.Tuning
	products []product
}

// product is a call, repeated so often that it takes leastTime under the default.
type product struct {
	run         func()
	repetitions int
}

func newMultiplier(s *kernels.Set[float32], table []shapes.Gemm) (*multiplier, error) {
	m := &multiplier{before: kernels.CurrentTuning()}
	if err := kernels.SetTuning(kernels.DefaultTuning()); err != nil {
		return nil, err
	}
	for _, g := range table {
		p := product{run: call(s, g), repetitions: 1}
		p.run() // touches the memory
		for p.seconds()*float64(p.repetitions) < leastTime.Seconds() {
			p.repetitions *= 2
		}
		m.products = append(m.products, p)
	}
	return m, nil
}

// call makes operands and returns the call.
func call(s *kernels.Set[float32], g shapes.Gemm) func() {
	transA, transB, lda, ldb := g.Stored()
	sizeA, sizeB, sizeC := g.M*g.K, g.K*g.N, g.M*g.N
	a, b, c := make([]float32, g.Batch*sizeA), make([]float32, g.Batch*sizeB), make([]float32, g.Batch*sizeC)
	for i := range a {
		a[i] = float32(i%13) - 6
	}
	for i := range b {
		b[i] = float32(i%11) - 5
	}
	return func() {
		kernels.GemmBatched(s, transA, transB, g.Batch, g.M, g.N, g.K, a, lda, sizeA, b, ldb, sizeB, c, g.N, sizeC, false)
	}
}

// seconds measures a call.
func (p *product) seconds() float64 {
	begin := time.Now()
	for range p.repetitions {
		p.run()
	}
	return time.Since(begin).Seconds() / float64(p.repetitions)
}

// time returns the seconds of a product under a Tuning.
func (m *multiplier) time(product int, t kernels.Tuning) (float64, error) {
	if err := kernels.SetTuning(t); err != nil {
		return 0, err
	}
	return m.products[product].seconds(), nil
}

// restore sets the Tuning that there was.
func (m *multiplier) restore() { _ = kernels.SetTuning(m.before) } // it was set before, so it is in range

package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// period is after how many elements the contents of operands repeat, other than
// those of gemm: programs that make them slowly copy most. It is a prime, so that
// the rows of a matrix differ.
const period = 1048573

// periodic is element i of operand seed.
func periodic(seed uint32, i int) float32 { return pattern(seed, i%period) }

// Seeds of operands and of the weights in an answer. 5 draws the elements that
// an answer has.
const (
	seedX, seedU, seedWeight, seedBias, seedAnswer, seedCotangent = 1, 2, 3, 4, 6, 7
)

// filled returns n elements that begin a cache line: plus + times·pattern.
func filled(n int, seed uint32, plus, times float32) []float32 {
	x := operand(n, 0)
	for i := range min(n, period) {
		x[i] = plus + times*pattern(seed, i)
	}
	for done := period; done < n; done *= 2 {
		copy(x[done:], x[:done])
	}
	return x
}

// elements is how many elements of an output an answer has.
const elements = 16

// element is the place of the element e of an answer about n.
func element(e, n int) int {
	switch e {
	case 0:
		return 0
	case 1:
		return n - 1
	}
	return int(hash(5, e) % uint32(n))
}

// combine is the answer about one output: the sum of all elements, weighted, and
// some of them.
func combine(x []float32) []float64 {
	values := []float64{0}
	for i, v := range x {
		values[0] += float64(periodic(seedAnswer, i)) * float64(v)
	}
	for e := range elements {
		values = append(values, float64(x[element(e, len(x))]))
	}
	return values
}

// output is what a program has to compute: n elements with their values in
// float64 arithmetic.
type output struct {
	name string
	n    int
	at   func(i int) float64
}

// array is an output whose values are there.
func array(name string, x []float64) output {
	return output{name, len(x), func(i int) float64 { return x[i] }}
}

// expect makes what compares an answer with outputs. An element may be off by
// tolerance, relative to itself and to the root mean square of all. The errors of
// n elements are independent of the weights, so that their sum grows with √n.
func expect(tolerance float64, outputs ...output) func([]float64) error {
	var want, bound []float64
	var what []string
	for _, o := range outputs {
		sum, squares := 0.0, 0.0
		for i := range o.n {
			v := o.at(i)
			sum += float64(periodic(seedAnswer, i)) * v
			squares += v * v
		}
		rms := math.Sqrt(squares / float64(o.n))
		want, what = append(want, sum), append(what, "the weighted sum of "+o.name)
		bound = append(bound, 4*tolerance*rms*math.Sqrt(float64(o.n)))
		for e := range elements {
			i := element(e, o.n)
			v := o.at(i)
			want, what = append(want, v), append(what, o.name+"["+strconv.Itoa(i)+"]")
			bound = append(bound, tolerance*(math.Abs(v)+rms))
		}
	}
	return func(got []float64) error { return within(got, want, bound, what) }
}

// within compares values with what they should be.
func within(got, want, bound []float64, what []string) error {
	if len(got) != len(want) {
		return fmt.Errorf("the answer has %d values, not %d", len(got), len(want))
	}
	for i, w := range want {
		if off := math.Abs(got[i] - w); !(off <= bound[i]) { // NaN is wrong
			return fmt.Errorf("%s is %g, not %g ± %.2g", what[i], got[i], w, bound[i])
		}
	}
	return nil
}

// agree takes the first answer, which is ours, for right, and compares the others
// with it: for whole models, which have no second definition that is fast enough.
// bound gives each value's bound.
func agree(what []string, bound func(first []float64) []float64) func([]float64) error {
	var first []float64
	return func(got []float64) error {
		if first != nil {
			return within(got, first, bound(first), what)
		}
		if len(got) != len(what) {
			return fmt.Errorf("the answer has %d values, not %d", len(got), len(what))
		}
		for i, v := range got {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("%s is %g", what[i], v)
			}
		}
		first = got
		return nil
	}
}

// numbers reads the sizes of a line: as many as there are names, each from 1 to
// its limit.
func numbers(line string, names string, limit int) ([]int, error) {
	f, want := strings.Fields(line), strings.Fields(names)
	if len(f) != len(want) {
		return nil, fmt.Errorf("%q is not %s", line, names)
	}
	n := make([]int, len(f))
	for i := range f {
		var err error
		if n[i], err = strconv.Atoi(f[i]); err != nil || n[i] < 1 || n[i] > limit {
			return nil, fmt.Errorf("%s %q is not a number from 1 to %d", want[i], f[i], limit)
		}
	}
	return n, nil
}

// bounded refuses sizes above 2³⁰ elements, 4 GiB.
func bounded(line string, sizes ...int) error {
	product := 1
	for _, n := range sizes {
		if product *= n; product > 1<<30 {
			return fmt.Errorf("%q has an operand above 2³⁰ elements", line)
		}
	}
	return nil
}

package bench

import (
	"fmt"
	"testing"

	"fuerte/kernels"
)

// elementwise benchmarks a vector kernel on all cores, as a device runs it.
// moved counts vectors read or written; flop is per element.
func elementwise(b *testing.B, flop, moved float64, pick func(s *kernels.Set[float32]) func(y, a, b []float32)) {
	for _, n := range vectors {
		w := work{flop: flop * float64(n), bytes: 4 * moved * float64(n)}
		w.levels(b, fmt.Sprintf("n=%d", n), func(s *kernels.Set[float32]) func() {
			k, y, x, z := pick(s), filled(n), filled(n), filled(n)
			return func() { kernels.Chunks(n, func(lo, hi int) { k(y[lo:hi], x[lo:hi], z[lo:hi]) }) }
		})
	}
}

// unary makes a kernel of one operand fit elementwise.
func unary(k func(y, x []float32)) func(y, a, b []float32) {
	return func(y, a, _ []float32) { k(y, a) }
}

// BenchmarkAdd counts 1 FLOP an element; reads two vectors, writes one.
func BenchmarkAdd(b *testing.B) {
	elementwise(b, 1, 3, func(s *kernels.Set[float32]) func(y, a, b []float32) { return s.Add })
}

// BenchmarkExp reads one vector and writes one, as the next two.
func BenchmarkExp(b *testing.B) {
	elementwise(b, 0, 2, func(s *kernels.Set[float32]) func(y, a, b []float32) { return unary(s.Exp) })
}

// BenchmarkInL1 calls kernels of one operand on vectors that stay in L1: what they
// cost by themselves, in elements a cycle.
func BenchmarkInL1(b *testing.B) {
	const n = 1 << 11 // two vectors of 8 KB
	for _, op := range []struct {
		name string
		pick func(s *kernels.Set[float32]) func(y, x []float32)
	}{
		{"Exp", func(s *kernels.Set[float32]) func(y, x []float32) { return s.Exp }},
		{"Log", func(s *kernels.Set[float32]) func(y, x []float32) { return s.Log }},
		{"Tanh", func(s *kernels.Set[float32]) func(y, x []float32) { return s.Tanh }},
		{"Erf", func(s *kernels.Set[float32]) func(y, x []float32) { return s.Erf }},
		{"Sigmoid", func(s *kernels.Set[float32]) func(y, x []float32) { return s.Sigmoid }},
		{"SiLU", func(s *kernels.Set[float32]) func(y, x []float32) { return s.SiLU }},
		{"GELU", func(s *kernels.Set[float32]) func(y, x []float32) { return s.GELU }},
	} {
		for _, s := range usable() {
			b.Run(work{}.name(s.Name, fmt.Sprintf("op=%s/n=%d", op.name, n), 1), func(b *testing.B) {
				work{elements: n}.run(b, s, 1, func(s *kernels.Set[float32]) func() {
					k, y, x := op.pick(s), filled(n), filled(n)
					for i := range x {
						x[i] = 2 + 1.99*x[i] // a logarithm too
					}
					return func() { k(y, x) }
				})
			})
		}
	}
}

func BenchmarkSiLU(b *testing.B) {
	elementwise(b, 0, 2, func(s *kernels.Set[float32]) func(y, a, b []float32) { return unary(s.SiLU) })
}

func BenchmarkGELU(b *testing.B) {
	elementwise(b, 0, 2, func(s *kernels.Set[float32]) func(y, a, b []float32) { return unary(s.GELU) })
}

// conversion benchmarks a kernel between float32 and 16-bit floats on all cores:
// of each element 4 bytes are read and 2 written, or the other way round.
func conversion[H kernels.BF16 | kernels.F16](b *testing.B, pick func(s *kernels.Set[float32]) func(x []float32, h []H)) {
	for _, n := range vectors {
		w := work{bytes: 6 * float64(n)}
		w.levels(b, fmt.Sprintf("n=%d", n), func(s *kernels.Set[float32]) func() {
			k, x, h := pick(s), filled(n), make([]H, n)
			for i := range h {
				h[i] = H(0x3c00 + i%512) // around 1 and around 2⁻⁶
			}
			return func() { kernels.Chunks(n, func(lo, hi int) { k(x[lo:hi], h[lo:hi]) }) }
		})
	}
}

// toHalf makes a kernel that writes 16-bit floats fit conversion.
func toHalf[H kernels.BF16 | kernels.F16](k func(y []H, x []float32)) func(x []float32, h []H) {
	return func(x []float32, h []H) { k(h, x) }
}

func BenchmarkFromBF16(b *testing.B) {
	conversion(b, func(s *kernels.Set[float32]) func(x []float32, h []kernels.BF16) { return s.FromBF16 })
}

func BenchmarkToBF16(b *testing.B) {
	conversion(b, func(s *kernels.Set[float32]) func(x []float32, h []kernels.BF16) { return toHalf(s.ToBF16) })
}

func BenchmarkFromF16(b *testing.B) {
	conversion(b, func(s *kernels.Set[float32]) func(x []float32, h []kernels.F16) { return s.FromF16 })
}

func BenchmarkToF16(b *testing.B) {
	conversion(b, func(s *kernels.Set[float32]) func(x []float32, h []kernels.F16) { return toHalf(s.ToF16) })
}

package main

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unsafe"

	"fuerte/bench/internal/shapes"
	"fuerte/kernels"
)

var gemmOp = define(operation{name: "gemm", unit: flopRate, limit: 2 * time.Minute},
	gemmTable, parseGemm, gemmRow, serveGemm)

func gemmTable(quick bool) []shapes.Gemm {
	if quick {
		return shapes.GemmQuick()
	}
	return shapes.GemmTable()
}

func gemmRow(g shapes.Gemm) row {
	return row{
		role: g.Role, shape: g.String(), flop: g.FLOP(),
		args:     fmt.Sprintf("%s %d %d %d %d", g.Layout, g.M, g.N, g.K, g.Batch),
		verifier: func() func([]float64) error { return verifyGemm(g) },
	}
}

// parseGemm reads LAYOUT M N K [BATCH].
func parseGemm(line string) (g shapes.Gemm, err error) {
	f := strings.Fields(line)
	if len(f) != 4 && len(f) != 5 {
		return g, fmt.Errorf("%q is not LAYOUT M N K [BATCH]", line)
	}
	g = shapes.Gemm{Layout: f[0], Batch: 1}
	if g.Layout != "NN" && g.Layout != "NT" && g.Layout != "TN" {
		return g, fmt.Errorf("layout %q is not NN, NT or TN", g.Layout)
	}
	for i, to := range []*int{&g.M, &g.N, &g.K, &g.Batch}[:len(f)-1] {
		// 2³⁰ elements are 4 GiB, and every program has three matrices.
		if _, err := fmt.Sscanf(f[i+1]+"\n", "%d\n", to); err != nil || *to < 1 || *to > 1<<20 {
			return g, fmt.Errorf("size %q is not a number from 1 to %d", f[i+1], 1<<20)
		}
	}
	if most := max(g.M*g.K, g.K*g.N, g.M*g.N); most > 1<<30/g.Batch {
		return g, fmt.Errorf("%q has a matrix above 2³⁰ elements", line)
	}
	return g, nil
}

func serveGemm(g shapes.Gemm) (problem, error) { return gemmProblem(kernels.F32(), g), nil }

// gemmProblem holds our call.
func gemmProblem(s *kernels.Set[float32], g shapes.Gemm) problem {
	m, n, k := g.M, g.N, g.K
	transA, transB, lda, ldb := g.Stored()
	a, b, c := operand(g.Batch*m*k, 1), operand(g.Batch*k*n, 2), operand(g.Batch*m*n, 0)
	run := func() {
		kernels.GemmBatched(s, transA, transB, g.Batch, m, n, k, a, lda, m*k, b, ldb, k*n, c, n, m*n, false)
	}
	return problem{run: run, check: func() []float64 {
		for i := range c {
			c[i] = float32(math.NaN())
		}
		run()
		return gemmAnswer(g, c)
	}}
}

// gemmAnswer is the answer to check for a product: Σ_t Σ_i u_i·Σ_j v_j·C_t[i,j]
// with weights that every program makes for itself, and some elements.
func gemmAnswer(g shapes.Gemm, c []float32) []float64 {
	sum := 0.0
	for t := range g.Batch {
		for i := range g.M {
			row := 0.0
			for j := range g.N {
				row += float64(pattern(4, j)) * float64(c[(t*g.M+i)*g.N+j])
			}
			sum += float64(pattern(3, i)) * row
		}
	}
	values := []float64{sum}
	for e := range probes {
		t, i, j := probe(g, e)
		values = append(values, float64(c[(t*g.M+i)*g.N+j]))
	}
	return values
}

const probes = 32

// probe is the place of the element e of an answer: the corners, then anywhere.
func probe(g shapes.Gemm, e int) (t, i, j int) {
	if e < 4 {
		return e % g.Batch, e % 2 * (g.M - 1), e / 2 * (g.N - 1)
	}
	return e % g.Batch, int(hash(5, 2*e)) % g.M, int(hash(5, 2*e+1)) % g.N
}

// verifyGemm compares an answer with float64 arithmetic on the same operands,
// which needs no product: with u and v the weights, uᵀ·A·B·v = (uᵀ·A)·(B·v).
//
// Elements have the bound of any order of k sums in float32, (k+1)·2⁻²⁴·Σ|a·b|,
// doubled. The errors of m·n elements in the sum are independent, so they grow
// with its root; a bound that they surely keep would hide a wrong tile.
func verifyGemm(g shapes.Gemm) func([]float64) error {
	const u = 1.0 / (1 << 24)
	a := func(t, i, p int) float64 {
		if g.Layout[0] == 'T' {
			i, p = p*g.M, i
		} else {
			i *= g.K
		}
		return float64(pattern(1, t*g.M*g.K+i+p))
	}
	b := func(t, p, j int) float64 {
		if g.Layout[1] == 'T' {
			p, j = j*g.K, p
		} else {
			p *= g.N
		}
		return float64(pattern(2, t*g.K*g.N+p+j))
	}
	weights := func(seed uint32, n int) []float64 {
		w := make([]float64, n)
		for i := range w {
			w[i] = float64(pattern(seed, i))
		}
		return w
	}
	rows, columns := weights(3, g.M), weights(4, g.N)
	want := make([]float64, 1+probes)
	bound := make([]float64, 1+probes)
	for t := range g.Batch {
		for p := range g.K {
			ua, bv := 0.0, 0.0
			for i, w := range rows {
				ua += w * a(t, i, p)
			}
			for j, w := range columns {
				bv += w * b(t, p, j)
			}
			want[0] += ua * bv
		}
	}
	bound[0] = 8 * u * float64(g.K+1) * math.Sqrt(float64(g.K)*float64(g.M)*float64(g.N)*float64(g.Batch))
	for e := range probes {
		t, i, j := probe(g, e)
		magnitude := 0.0
		for p := range g.K {
			x := a(t, i, p) * b(t, p, j)
			want[1+e] += x
			magnitude += math.Abs(x)
		}
		bound[1+e] = 2 * u * float64(g.K+1) * magnitude
	}
	return func(got []float64) error {
		if len(got) != len(want) {
			return fmt.Errorf("the answer has %d values, not %d", len(got), len(want))
		}
		for i, w := range want {
			if off := math.Abs(got[i] - w); !(off <= bound[i]) { // NaN is wrong
				what := "the weighted sum"
				if i > 0 {
					t, r, c := probe(g, i-1)
					what = fmt.Sprintf("C[%d,%d] of product %d", r, c, t)
				}
				return fmt.Errorf("%s is %g, not %g ± %.2g", what, got[i], w, bound[i])
			}
		}
		return nil
	}
}

// hash and pattern are the contents of operands, the same in every program.
func hash(seed uint32, i int) uint32 {
	x := uint32(i)*2654435761 + seed*40503
	x = (x ^ x>>15) * 2246822519
	return x ^ x>>13
}

// pattern is in [−1, 1).
func pattern(seed uint32, i int) float32 { return float32(hash(seed, i)>>8)/(1<<23) - 1 }

// operand returns n elements that begin a cache line and were touched: of a
// pattern or, with seed 0, zero.
func operand(n int, seed uint32) []float32 {
	mem := make([]float32, n+16)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(mem))) / 4 % 16)
	x := mem[skip : skip+n : skip+n]
	for i := range x {
		if seed != 0 {
			x[i] = pattern(seed, i)
		} else {
			x[i] = 0
		}
	}
	return x
}

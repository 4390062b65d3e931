//go:build arm64 && linux && !purego

package arm64_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"

	"fuerte/kernels"
)

// neon is the set under test, model the reference at float64.
func neon(t *testing.T) (set *kernels.Set[float32], model *kernels.Set[float64]) {
	for _, s := range kernels.Sets() {
		if s.Name == "neon" {
			if s.Missing != "" {
				t.Skip("neon: not run, this CPU lacks " + s.Missing)
			}
			return s, kernels.F64()
		}
	}
	t.Fatal("no set is called neon")
	return nil, nil
}

// fence hands out memory whose first or last byte lies at an unmapped page.
type fence struct {
	page  int
	pages []byte
	used  int
}

const fencePages = 64

func newFence(t *testing.T) *fence {
	f := &fence{page: syscall.Getpagesize()}
	mem, err := syscall.Mmap(-1, 0, 2*fencePages*f.page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(mem) })
	for i := 0; i < 2*fencePages; i += 2 {
		if err := syscall.Mprotect(mem[i*f.page:(i+1)*f.page], syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	// The last page is readable, but nothing lies behind it: leave it out.
	f.pages = mem[f.page : (2*fencePages-1)*f.page]
	return f
}

// slice returns n floats that end (or, if start, begin) at an unmapped page.
func (f *fence) slice(n int, start bool) []float32 {
	if 4*n > f.page {
		panic("fence: too long")
	}
	at := f.used % (fencePages - 1) * 2 * f.page
	f.used++
	if !start {
		at += f.page - 4*n
	}
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&f.pages[at])), n)
}

// random fills x with normal numbers of deviation s; integers rounds them.
func random(r *rand.Rand, x []float32, s float64) []float32 {
	for i := range x {
		x[i] = float32(s * r.NormFloat64())
	}
	return x
}

func integers(r *rand.Rand, x []float32) []float32 {
	for i := range x {
		x[i] = float32(r.IntN(17) - 8)
	}
	return x
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// ulp is the distance of a float32 near x from the next one.
func ulp(x float64) float64 {
	_, e := math.Frexp(x)
	return math.Ldexp(1, max(e-24, -149))
}

const u = 0x1p-24

// near says how far got lies from want, as a share of bound; 0 where both are
// NaN or the same infinity.
func near(got float32, want, bound float64) float64 {
	g := float64(got)
	switch {
	case math.IsNaN(g) && math.IsNaN(want), g == want, math.IsInf(float64(float32(want)), 0) && g == float64(float32(want)):
		return 0
	case math.IsNaN(g) || math.IsNaN(want):
		return math.Inf(1)
	}
	return math.Abs(g-want) / bound
}

// TestTile multiplies integers, whose sums are exact in any order, for every
// remainder of k; C has gaps of NaN that must stay, and NaN inside where it may
// not be read.
func TestTile(t *testing.T) {
	set, _ := neon(t)
	r, f := rand.New(rand.NewPCG(1, 2)), newFence(t)
	mr, nr := set.Tile.MR, set.Tile.NR
	for _, k := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 64, 83} {
		for _, gap := range []int{0, 5} {
			for _, accumulate := range []bool{false, true} {
				a, b := integers(r, f.slice(k*mr, false)), integers(r, f.slice(min(k*nr, 1024), false))
				if len(b) < k*nr {
					b = integers(r, make([]float32, k*nr))
				}
				ldc := nr + gap
				c := integers(r, f.slice((mr-1)*ldc+nr, false))
				want := make([]float32, len(c))
				for i := range c {
					row, col := i/ldc, i%ldc
					if col >= nr || !accumulate {
						c[i] = float32(math.NaN())
					}
					want[i] = c[i]
					if col >= nr {
						continue
					}
					if !accumulate {
						want[i] = 0
					}
					for p := range k {
						want[i] += a[p*mr+row] * b[p*nr+col]
					}
				}
				set.Tile.Run(k, &a[0], &b[0], &c[0], ldc, accumulate)
				for i := range c {
					if math.Float32bits(c[i]) != math.Float32bits(want[i]) {
						t.Fatalf("k=%d ldc=%d accumulate=%v: C[%d,%d] = %g, want %g", k, ldc, accumulate, i/ldc, i%ldc, c[i], want[i])
					}
				}
			}
		}
	}
}

// TestGemm runs the tile under the blocking, with every edge.
func TestGemm(t *testing.T) {
	set, _ := neon(t)
	r := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		m, n, k := 1+r.IntN(40), 1+r.IntN(40), 1+r.IntN(40)
		if r.IntN(8) == 0 {
			k += 256
		}
		ta, tb, accumulate := r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0
		lda, ldb, ldc := k+r.IntN(3), n+r.IntN(3), n+r.IntN(3)
		if ta {
			lda = m + r.IntN(3)
		}
		if tb {
			ldb = k + r.IntN(3)
		}
		a, b := integers(r, make([]float32, (m+k)*lda)), integers(r, make([]float32, (n+k)*ldb))
		c := integers(r, make([]float32, m*ldc))
		want := append([]float32(nil), c...)
		for i := range m {
			for j := range n {
				s := float32(0)
				if accumulate {
					s = c[i*ldc+j]
				}
				for p := range k {
					x, y := i*lda+p, p*ldb+j
					if ta {
						x = p*lda + i
					}
					if tb {
						y = j*ldb + p
					}
					s += a[x] * b[y]
				}
				want[i*ldc+j] = s
			}
		}
		kernels.Gemm(set, ta, tb, m, n, k, a, lda, b, ldb, c, ldc, accumulate)
		for i := range c {
			if c[i] != want[i] {
				t.Fatalf("m=%d n=%d k=%d transpose %v %v: C[%d,%d] = %g, want %g", m, n, k, ta, tb, i/ldc, i%ldc, c[i], want[i])
			}
		}
	}
}

// TestPack compares both packings with the reference, on fenced memory.
func TestPack(t *testing.T) {
	set, _ := neon(t)
	ref := kernels.Reference[float32]()
	r, f := rand.New(rand.NewPCG(5, 6)), newFence(t)
	for _, width := range []int{4, 8, 12} {
		for w := 1; w <= width; w++ {
			for _, k := range []int{1, 2, 3, 4, 5, 7, 8, 13} {
				for name, pack := range map[string][2]func(dst, src []float32, ld, k, w, width int){
					"rows": {set.PackRows, ref.PackRows}, "columns": {set.PackCols, ref.PackCols},
				} {
					rows, cols := k, w
					if name == "columns" {
						rows, cols = w, k
					}
					ld := cols + r.IntN(4)
					src := integers(r, f.slice((rows-1)*ld+cols, r.IntN(2) == 0))
					got, want := integers(r, f.slice(k*width, r.IntN(2) == 0)), make([]float32, k*width)
					pack[0](got, src, ld, k, w, width)
					pack[1](want, src, ld, k, w, width)
					for i := range got {
						if got[i] != want[i] {
							t.Fatalf("%s k=%d w=%d of %d: element %d is %g, want %g", name, k, w, width, i, got[i], want[i])
						}
					}
				}
			}
		}
	}
}

// kernel is a row of TestVectors: outputs and inputs by position, run on either
// set, and the bound of output o at index i.
type kernel struct {
	name    string
	outputs int // the first slices; also read if sums
	inputs  int
	sums    bool    // outputs are updated
	scale   float64 // of the inputs
	run     func(s *kernels.Set[float32], v [][]float32) []float32
	model   func(s *kernels.Set[float64], v [][]float64) []float64
	bound   func(v [][]float64, o, i int, want float64) float64
	alias   bool // output 0 may be each input
}

func ulps(n float64) func([][]float64, int, int, float64) float64 {
	return func(_ [][]float64, _, _ int, want float64) float64 { return n * ulp(want) }
}

// sumOf bounds a reduction: (n/16+8)·u·Σ|term|.
func sumOf(n int, term func(i int) float64) float64 {
	s := 0.0
	for i := range n {
		s += math.Abs(term(i))
	}
	return (float64(n/16) + 8) * u * s
}

func rows() []kernel {
	const alpha = float32(-1.37)
	const eps, rate = float32(1e-5), float32(0.73)
	step := kernels.AdamWStep[float32]{Clip: 0.5, Beta1: 0.9, Beta2: 0.95, Keep: 0.999, Rate: 1e-3, RSqrtC2: 2, Eps: 1e-8}
	step64 := kernels.AdamWStep[float64]{Clip: 0.5, Beta1: float64(step.Beta1), Beta2: float64(step.Beta2), Keep: float64(step.Keep), Rate: float64(step.Rate), RSqrtC2: 2, Eps: float64(step.Eps)}
	slope := func(x float64) float64 { s := 1 / (1 + math.Exp(-x)); return s * (1 + x*(1-s)) }
	type (
		s32 = *kernels.Set[float32]
		s64 = *kernels.Set[float64]
		v32 = [][]float32
		v64 = [][]float64
	)
	return []kernel{
		{name: "Add", outputs: 1, inputs: 2, scale: 3, alias: true, bound: ulps(.5),
			run: func(s s32, v v32) []float32 { s.Add(v[0], v[1], v[2]); return nil }, model: func(s s64, v v64) []float64 { s.Add(v[0], v[1], v[2]); return nil }},
		{name: "Sub", outputs: 1, inputs: 2, scale: 3, alias: true, bound: ulps(.5),
			run: func(s s32, v v32) []float32 { s.Sub(v[0], v[1], v[2]); return nil }, model: func(s s64, v v64) []float64 { s.Sub(v[0], v[1], v[2]); return nil }},
		{name: "Mul", outputs: 1, inputs: 2, scale: 3, alias: true, bound: ulps(.5),
			run: func(s s32, v v32) []float32 { s.Mul(v[0], v[1], v[2]); return nil }, model: func(s s64, v v64) []float64 { s.Mul(v[0], v[1], v[2]); return nil }},
		{name: "Div", outputs: 1, inputs: 2, scale: 3, alias: true, bound: ulps(.5),
			run: func(s s32, v v32) []float32 { s.Div(v[0], v[1], v[2]); return nil }, model: func(s s64, v v64) []float64 { s.Div(v[0], v[1], v[2]); return nil }},
		{name: "Scale", outputs: 1, inputs: 1, scale: 3, alias: true, bound: ulps(.5),
			run: func(s s32, v v32) []float32 { s.Scale(v[0], v[1], alpha); return nil }, model: func(s s64, v v64) []float64 { s.Scale(v[0], v[1], float64(alpha)); return nil }},
		{name: "Axpy", outputs: 1, inputs: 1, sums: true, scale: 3, bound: ulps(.5),
			run: func(s s32, v v32) []float32 { s.Axpy(v[0], v[1], alpha); return nil }, model: func(s s64, v v64) []float64 { s.Axpy(v[0], v[1], float64(alpha)); return nil }},
		{name: "Sqrt", outputs: 1, inputs: 1, scale: 3, alias: true, bound: ulps(.5),
			run: func(s s32, v v32) []float32 { s.Sqrt(v[0], v[1]); return nil }, model: func(s s64, v v64) []float64 { s.Sqrt(v[0], v[1]); return nil }},
		{name: "Exp", outputs: 1, inputs: 1, scale: 20, alias: true, bound: ulps(2),
			run: func(s s32, v v32) []float32 { s.Exp(v[0], v[1]); return nil }, model: func(s s64, v v64) []float64 { s.Exp(v[0], v[1]); return nil }},
		{name: "SiLU", outputs: 1, inputs: 1, scale: 10, alias: true, bound: ulps(4),
			run: func(s s32, v v32) []float32 { s.SiLU(v[0], v[1]); return nil }, model: func(s s64, v v64) []float64 { s.SiLU(v[0], v[1]); return nil }},
		{name: "SiLUGrad", outputs: 1, inputs: 2, scale: 10, alias: true,
			bound: func(v v64, _, i int, _ float64) float64 {
				return 8 * ulp(math.Abs(v[2][i])*max(1, math.Abs(slope(v[1][i]))))
			},
			run: func(s s32, v v32) []float32 { s.SiLUGrad(v[0], v[1], v[2]); return nil }, model: func(s s64, v v64) []float64 { s.SiLUGrad(v[0], v[1], v[2]); return nil }},
		{name: "SwiGLU", outputs: 1, inputs: 2, scale: 10, alias: true, bound: ulps(5),
			run: func(s s32, v v32) []float32 { s.SwiGLU(v[0], v[1], v[2]); return nil }, model: func(s s64, v v64) []float64 { s.SwiGLU(v[0], v[1], v[2]); return nil }},
		{name: "SwiGLUGrad", outputs: 2, inputs: 3, scale: 10,
			bound: func(v v64, o, i int, want float64) float64 {
				if o == 1 {
					return 5 * ulp(want)
				}
				return 8 * ulp(math.Abs(v[4][i]*v[3][i])*max(1, math.Abs(slope(v[2][i]))))
			},
			run:   func(s s32, v v32) []float32 { s.SwiGLUGrad(v[0], v[1], v[2], v[3], v[4]); return nil },
			model: func(s s64, v v64) []float64 { s.SwiGLUGrad(v[0], v[1], v[2], v[3], v[4]); return nil }},
		{name: "GELU", outputs: 1, inputs: 1, scale: 4, alias: true,
			bound: func(v v64, _, i int, _ float64) float64 { return 1e-6 * math.Abs(v[1][i]) },
			run:   func(s s32, v v32) []float32 { s.GELU(v[0], v[1]); return nil }, model: func(s s64, v v64) []float64 { s.GELU(v[0], v[1]); return nil }},
		{name: "GELUGrad", outputs: 1, inputs: 2, scale: 4, alias: true,
			bound: func(v v64, _, i int, _ float64) float64 { return 2e-6 * math.Abs(v[2][i]) * (1 + math.Abs(v[1][i])) },
			run:   func(s s32, v v32) []float32 { s.GELUGrad(v[0], v[1], v[2]); return nil }, model: func(s s64, v v64) []float64 { s.GELUGrad(v[0], v[1], v[2]); return nil }},
		{name: "Sum", inputs: 1, scale: 3,
			bound: func(v v64, _, _ int, _ float64) float64 {
				return sumOf(len(v[0]), func(i int) float64 { return v[0][i] })
			},
			run: func(s s32, v v32) []float32 { return []float32{s.Sum(v[0])} }, model: func(s s64, v v64) []float64 { return []float64{s.Sum(v[0])} }},
		{name: "Dot", inputs: 2, scale: 3,
			bound: func(v v64, _, _ int, _ float64) float64 {
				return sumOf(len(v[0]), func(i int) float64 { return v[0][i] * v[1][i] })
			},
			run: func(s s32, v v32) []float32 { return []float32{s.Dot(v[0], v[1])} }, model: func(s s64, v v64) []float64 { return []float64{s.Dot(v[0], v[1])} }},
		{name: "Max", inputs: 1, scale: 3, bound: ulps(.5),
			run: func(s s32, v v32) []float32 { return []float32{s.Max(v[0])} }, model: func(s s64, v v64) []float64 { return []float64{s.Max(v[0])} }},
		{name: "ExpSub", outputs: 1, inputs: 1, scale: 3, alias: true,
			bound: func(v v64, o, i int, want float64) float64 {
				if o == 0 {
					return 2*ulp(want) + u*math.Abs(v[1][i]-4)*want
				}
				// the elements' own errors come on top of the summation's
				return sumOf(len(v[1]), func(i int) float64 { return math.Exp(v[1][i] - 4) }) + want*(4+24)*u
			},
			run: func(s s32, v v32) []float32 { return []float32{s.ExpSub(v[0], v[1], 4)} }, model: func(s s64, v v64) []float64 { return []float64{s.ExpSub(v[0], v[1], 4)} }},
		{name: "RMSNormRow", outputs: 1, inputs: 2, scale: 3, alias: true,
			bound: func(v v64, _, _ int, want float64) float64 {
				return 4*ulp(want) + float64(len(v[0]))/32*u*math.Abs(want)
			},
			run: func(s s32, v v32) []float32 { return []float32{s.RMSNormRow(v[0], v[1], v[2], eps)} }, model: func(s s64, v v64) []float64 { return []float64{s.RMSNormRow(v[0], v[1], v[2], float64(eps))} }},
		{name: "RMSNormGradRow", outputs: 2, inputs: 3, sums: true, scale: 2,
			bound: func(v v64, o, i int, want float64) float64 {
				x, w, gy, r, c := v[2], v[3], v[4], float64(rate), 0.0
				if o == 1 {
					return ulp(want) + 2*u*math.Abs(gy[i]*x[i]*r)
				}
				for j := range x {
					c += math.Abs(gy[j] * w[j] * x[j] * r)
				}
				n := float64(len(x))
				return (n/16 + 16) * u * r * (math.Abs(gy[i]*w[i]) + math.Abs(x[i]*r)*c/n)
			},
			run: func(s s32, v v32) []float32 { s.RMSNormGradRow(v[0], v[1], v[2], v[3], v[4], rate); return nil },
			model: func(s s64, v v64) []float64 {
				s.RMSNormGradRow(v[0], v[1], v[2], v[3], v[4], float64(rate))
				return nil
			}},
		{name: "LayerNormRow", outputs: 1, inputs: 3, scale: 3, alias: true,
			bound: func(v v64, o, i int, want float64) float64 {
				x, w, b, n := v[1], v[2], v[3], float64(len(v[1]))
				mean, ss, largest := 0.0, 0.0, 0.0
				for _, a := range x {
					mean += a / n
					largest = max(largest, math.Abs(a))
				}
				for _, a := range x {
					ss += (a - mean) * (a - mean) / n
				}
				r := 1 / math.Sqrt(ss+float64(eps))
				f := (n/16 + 16) * u
				switch {
				case o == 1 && i == 0:
					return f * largest
				case o == 1:
					return f * r * (1 + largest*r)
				}
				return f * (math.Abs(x[i]-mean)*r*math.Abs(w[i]) + math.Abs(b[i]) + largest*r*math.Abs(w[i]))
			},
			run: func(s s32, v v32) []float32 {
				m, r := s.LayerNormRow(v[0], v[1], v[2], v[3], eps)
				return []float32{m, r}
			},
			model: func(s s64, v v64) []float64 {
				m, r := s.LayerNormRow(v[0], v[1], v[2], v[3], float64(eps))
				return []float64{m, r}
			}},
		{name: "LayerNormGradRow", outputs: 3, inputs: 3, sums: true, scale: 2,
			bound: func(v v64, o, i int, want float64) float64 {
				x, w, gy, r, a, c := v[3], v[4], v[5], float64(rate), 0.0, 0.0
				xh := func(j int) float64 { return (x[j] - .125) * r }
				switch o {
				case 1:
					return ulp(want) + 3*u*math.Abs(gy[i]*xh(i))
				case 2:
					return ulp(want)
				}
				for j := range x {
					a += math.Abs(gy[j] * w[j])
					c += math.Abs(gy[j] * w[j] * xh(j))
				}
				n := float64(len(x))
				return (n/16 + 16) * u * r * (math.Abs(gy[i]*w[i]) + a/n + math.Abs(xh(i))*c/n)
			},
			run: func(s s32, v v32) []float32 {
				s.LayerNormGradRow(v[0], v[1], v[2], v[3], v[4], v[5], .125, rate)
				return nil
			},
			model: func(s s64, v v64) []float64 {
				s.LayerNormGradRow(v[0], v[1], v[2], v[3], v[4], v[5], .125, float64(rate))
				return nil
			}},
		{name: "AdamW", outputs: 3, inputs: 1, sums: true, scale: 2,
			bound: func(v v64, o, i int, want float64) float64 {
				if o > 0 { // m and v: three roundings of the larger term
					return 2 * ulp(max(math.Abs(want), math.Abs(v[3][i]), v[3][i]*v[3][i]))
				}
				return ulp(want) + 4*ulp(.01)
			},
			run: func(s s32, v v32) []float32 { positive(v[2]); s.AdamW(v[0], v[1], v[2], v[3], &step); return nil },
			model: func(s s64, v v64) []float64 {
				positive(v[2])
				s.AdamW(v[0], v[1], v[2], v[3], &step64)
				return nil
			}},
	}
}

func positive[T kernels.Float](x []T) {
	for i, v := range x {
		x[i] = max(v, -v)
	}
}

// TestVectors runs each vector kernel against the reference at float64 for every
// tail of every block, on memory that ends, or begins, at an unmapped page, in
// place where that is allowed, under the bound of the contract.
func TestVectors(t *testing.T) {
	set, model := neon(t)
	for _, k := range rows() {
		t.Run(k.name, func(t *testing.T) {
			r, f := rand.New(rand.NewPCG(7, 8)), newFence(t)
			lengths := []int{300, 1000}
			for n := range 70 {
				lengths = append(lengths, n)
			}
			worst := 0.0
			for _, n := range lengths {
				if n == 0 && k.name[len(k.name)-1] == 'w' && k.name != "AdamW" {
					continue // rows have at least one element
				}
				for in := k.outputs - 1; in < k.outputs+k.inputs; in++ {
					aliased := in >= k.outputs
					if aliased && !k.alias {
						continue
					}
					v := make([][]float32, k.outputs+k.inputs)
					w := make([][]float64, len(v))
					for i := range v {
						v[i] = random(r, f.slice(n, r.IntN(2) == 0), k.scale)
						w[i] = wide(v[i])
					}
					original := make([][]float32, len(v))
					for i := range v {
						original[i] = append([]float32(nil), v[i]...)
					}
					before := append([][]float64(nil), w...)
					for i := range k.outputs {
						before[i] = append([]float64(nil), w[i]...)
					}
					if aliased {
						v[0] = v[in]
					}
					got, want := k.run(set, v), k.model(model, w)
					where := fmt.Sprintf("n=%d aliased=%v", n, aliased)
					for o := range k.outputs {
						for i, g := range v[o] {
							d := near(g, w[o][i], k.bound(before, o, i, w[o][i]))
							if worst = max(worst, d); d > 1 {
								t.Fatalf("%s: output %d[%d] = %g, want %g (%.2f of the bound)", where, o, i, g, w[o][i], d)
							}
						}
					}
					for i, g := range got {
						d := near(g, want[i], k.bound(before, k.outputs, i, want[i]))
						if worst = max(worst, d); d > 1 {
							t.Fatalf("%s: result %d = %g, want %g (%.2f of the bound)", where, i, g, want[i], d)
						}
					}
					for i := k.outputs; i < len(v); i++ {
						if aliased && i == in {
							continue
						}
						for j := range v[i] {
							if v[i][j] != original[i][j] {
								t.Fatalf("%s: input %d[%d] was changed", where, i, j)
							}
						}
					}
				}
			}
			t.Logf("worst %.2f of the bound", worst)
		})
	}
}

// TestSweep steps through all floats, a prime apart, with the bounds of the
// contract.
func TestSweep(t *testing.T) {
	set, model := neon(t)
	const length = 4096
	one := make([]float32, length)
	for i := range one {
		one[i] = 1
	}
	one64 := wide(one)
	low, top := math.Log(0x1p-126), math.Log(math.MaxFloat32)
	for _, k := range []struct {
		name  string
		run   func(y, x []float32)
		want  func(y, x []float64)
		bound func(x, want float64) float64
	}{
		{"Exp", set.Exp, func(y, x []float64) {
			model.Exp(y, x)
			for i, v := range x {
				switch {
				case v < low:
					y[i] = 0
				case v > top:
					y[i] = math.Inf(1)
				}
			}
		}, func(_, want float64) float64 { return 2 * ulp(want) }},
		{"SiLU", set.SiLU, model.SiLU, func(x, want float64) float64 {
			if x < -87 {
				return 1e-36
			}
			return 4 * ulp(want)
		}},
		{"SiLUGrad", func(y, x []float32) { set.SiLUGrad(y, x, one) }, func(y, x []float64) { model.SiLUGrad(y, x, one64) },
			func(_, want float64) float64 { return 8 * ulp(max(1, math.Abs(want))) }},
		{"SwiGLU", func(y, x []float32) { set.SwiGLU(y, x, one) }, func(y, x []float64) { model.SwiGLU(y, x, one64) }, func(x, want float64) float64 {
			if x < -87 {
				return 1e-36
			}
			return 5 * ulp(want)
		}},
		{"GELU", set.GELU, model.GELU, func(x, _ float64) float64 { return 1e-6*math.Abs(x) + 0x1p-149 }},
		{"GELUGrad", func(y, x []float32) { set.GELUGrad(y, x, one) }, func(y, x []float64) { model.GELUGrad(y, x, one64) },
			func(x, _ float64) float64 { return 2e-6 * (1 + math.Abs(x)) }},
	} {
		t.Run(k.name, func(t *testing.T) {
			stride := uint64(1<<32/1_000_003) | 1
			if testing.Short() {
				stride *= 17
			}
			x, y, want := make([]float32, length), make([]float32, length), make([]float64, length)
			worst, worstAt := 0.0, float32(0)
			for bits := uint64(0); bits < 1<<32; {
				n := 0
				for ; n < length && bits < 1<<32; n++ {
					x[n] = math.Float32frombits(uint32(bits))
					bits += stride
				}
				k.run(y[:n], x[:n])
				k.want(want[:n], wide(x[:n]))
				for i, v := range x[:n] {
					d := near(y[i], want[i], k.bound(float64(v), want[i]))
					if d > worst {
						worst, worstAt = d, v
					}
					if d > 1 {
						t.Fatalf("%s(%g) = %g, want %g (%.2f of the bound)", k.name, v, y[i], want[i], d)
					}
				}
			}
			t.Logf("worst %.2f of the bound, at %g", worst, worstAt)
		})
	}
}

// TestSpecial puts extreme values through, in the vector and the tail part:
// where the reference has NaN or an infinity there must be one.
func TestSpecial(t *testing.T) {
	set, model := neon(t)
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	special := []float32{0, float32(math.Copysign(0, -1)), 1, -1, inf, -inf, nan, math.MaxFloat32, -math.MaxFloat32, 1e-45, -1e-45,
		0x1p-126, -0x1p-126, 87.5, -87.5, 88.7, 88.72283, 88.72284, -88.8, -87.33654, -87.33655, 104, -104, 1e20, -1e20, 16, -16, 1e13, -1e13}
	one := make([]float32, len(special))
	for i := range one {
		one[i] = 1
	}
	for _, k := range []struct {
		name string
		run  func(y []float32)
		want func(y []float64)
		abs  float64
	}{
		{"Exp", func(y []float32) { set.Exp(y, special) }, func(y []float64) { model.Exp(y, wide(special)) }, 0x1p-126},
		{"Sqrt", func(y []float32) { set.Sqrt(y, special) }, func(y []float64) { model.Sqrt(y, wide(special)) }, 0},
		{"SiLU", func(y []float32) { set.SiLU(y, special) }, func(y []float64) { model.SiLU(y, wide(special)) }, 1e-36},
		{"SiLUGrad", func(y []float32) { set.SiLUGrad(y, special, one) }, func(y []float64) { model.SiLUGrad(y, wide(special), wide(one)) }, 8 * u},
		{"SwiGLU", func(y []float32) { set.SwiGLU(y, special, one) }, func(y []float64) { model.SwiGLU(y, wide(special), wide(one)) }, 1e-36},
		{"GELU", func(y []float32) { set.GELU(y, special) }, func(y []float64) { model.GELU(y, wide(special)) }, 1e-5},
		{"GELUGrad", func(y []float32) { set.GELUGrad(y, special, one) }, func(y []float64) { model.GELUGrad(y, wide(special), wide(one)) }, 1e-5},
		{"Div", func(y []float32) { set.Div(y, one, special) }, func(y []float64) { model.Div(y, wide(one), wide(special)) }, 0},
	} {
		got, want := make([]float32, len(special)), make([]float64, len(special))
		k.run(got)
		k.want(want)
		for i, g := range got {
			if d := near(g, want[i], k.abs+5*ulp(want[i])); d > 1 {
				t.Errorf("%s(%g) = %g, want %g", k.name, special[i], g, want[i])
			}
		}
	}
	for at := range 35 {
		x := make([]float32, 35)
		x[at] = nan
		if m := set.Max(x); m == m {
			t.Errorf("Max with NaN at %d is %g", at, m)
		}
		x[at] = inf
		if m := set.Max(x); m != inf {
			t.Errorf("Max with +Inf at %d is %g", at, m)
		}
	}
	if m := set.Max(nil); m != -inf {
		t.Errorf("Max of nothing is %g", m)
	}
}

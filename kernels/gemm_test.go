package kernels

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
)

// usable are the levels that this machine runs; TestSets names the others.
func usable() []*Set[float32] {
	return slices.DeleteFunc(Sets(), func(s *Set[float32]) bool { return s.Missing != "" })
}

// TestGemm tries all shapes around the edges of tiles and blocks, all four
// transpositions, set and accumulate, with gaps of NaN between the rows, on
// memory that faults beyond the operands.
func TestGemm(t *testing.T) {
	for _, s := range usable() {
		t.Run(s.Name, func(t *testing.T) {
			debug.SetPanicOnFault(true) // a fault in a worker still crashes
			defer fault(t)
			mr, nr := s.Tile.MR, s.Tile.NR
			var shapes [][3]int
			for _, m := range []int{1, mr - 1, mr, mr + 1, 2*mr + 3} {
				for _, n := range []int{1, nr - 1, nr, nr + 1, 2*nr + 5} {
					for _, k := range []int{1, 7, 8, 9, 16, gemmKC - 1, gemmKC, gemmKC + 1, 2*gemmKC + 3} {
						shapes = append(shapes, [3]int{m, n, k})
					}
				}
			}
			// One block more than fits; and the loop over column panels.
			shapes = append(shapes, [3]int{gemmMC + 1, nr, 9}, [3]int{2*gemmMC + mr, 3, 5}, [3]int{mr + 1, gemmNC + nr + 1, 3}, [3]int{3, gemmNC, 2})
			f := gemmFences(t, shapes)
			r := rand.New(rand.NewPCG(1, 2))
			for i, shape := range shapes {
				f.try(t, r, s, shape[0], shape[1], shape[2], i%2 == 0)
				if t.Failed() {
					return
				}
			}
		})
	}
}

const gemmGap = 3

type fences struct{ a, b, c *fence }

func gemmFences(t *testing.T, shapes [][3]int) fences {
	var a, b, c int
	for _, s := range shapes {
		m, n, k := s[0], s[1], s[2]
		a = max(a, (m+gemmGap)*(k+gemmGap))
		b = max(b, (n+gemmGap)*(k+gemmGap))
		c = max(c, m*(n+gemmGap))
	}
	return fences{newFence(t, a), newFence(t, b), newFence(t, c)}
}

// try checks one shape against sums in float64: exactly on whole numbers, else
// within the bound of Gemm's comment.
func (f fences) try(t *testing.T, r *rand.Rand, s *Set[float32], m, n, k int, end bool) {
	t.Helper()
	gap := math.Float32frombits(canaryBits)
	for _, whole := range []bool{true, false} {
		a, b, c0 := make([]float32, m*k), make([]float32, k*n), make([]float32, m*n)
		fillNumbers(r, a, whole)
		fillNumbers(r, b, whole)
		fillNumbers(r, c0, whole)
		want, size := make([]float64, m*n), make([]float64, m*n)
		for i := range m {
			for p := range k {
				x := float64(a[i*k+p])
				for j, y := range b[p*n : p*n+n] {
					want[i*n+j] += x * float64(y)
					size[i*n+j] += math.Abs(x * float64(y))
				}
			}
		}
		for variant := range 8 {
			transA, transB, accumulate := variant&1 != 0, variant&2 != 0, variant&4 != 0
			fa, lda, okA := layOut(f.a, a, m, k, transA, end)
			fb, ldb, okB := layOut(f.b, b, k, n, transB, end)
			ldc := n + gemmGap
			fc, okC := f.c.place((m-1)*ldc+n, end)
			for i := range fc {
				fc[i] = gap
				if accumulate && i%ldc < n {
					fc[i] = c0[i/ldc*n+i%ldc]
				}
			}
			Gemm(s, transA, transB, m, n, k, fa, lda, fb, ldb, fc, ldc, accumulate)
			label := fmt.Sprintf("m=%d n=%d k=%d transA=%t transB=%t accumulate=%t whole=%t", m, n, k, transA, transB, accumulate, whole)
			if !okA() || !okB() || !okC() {
				t.Errorf("%s: wrote beside an operand", label)
				return
			}
			for i, got := range fc {
				row, col := i/ldc, i%ldc
				if col >= n {
					if math.Float32bits(got) != canaryBits {
						t.Errorf("%s: wrote %g into the gap behind row %d", label, got, row)
						return
					}
					continue
				}
				w, tol := want[row*n+col], 0.0
				if !whole {
					tol = float64(k+k/gemmKC) * ulp1 * size[row*n+col]
				}
				if accumulate {
					w += float64(c0[row*n+col])
					if !whole {
						tol += ulp1 * (math.Abs(float64(c0[row*n+col])) + math.Abs(w))
					}
				}
				if !within(got, w, tol) {
					t.Errorf("%s: C[%d,%d] = %g, want %g ± %g", label, row, col, got, w, tol)
					return
				}
			}
		}
	}
}

// FuzzGemm tries any small shape on every level.
func FuzzGemm(f *testing.F) {
	f.Add(uint8(1), uint8(1), uint16(1), uint64(1), true)
	f.Add(uint8(29), uint8(65), uint16(257), uint64(2), false)
	f.Add(uint8(14), uint8(32), uint16(512), uint64(3), true)
	f.Fuzz(func(t *testing.T, m, n uint8, k uint16, seed uint64, end bool) {
		debug.SetPanicOnFault(true)
		shape := [3]int{1 + int(m), 1 + int(n), 1 + int(k%700)}
		fences := gemmFences(t, [][3]int{shape})
		for _, s := range usable() {
			fences.try(t, rand.New(rand.NewPCG(seed, 0)), s, shape[0], shape[1], shape[2], end)
		}
	})
}

// layOut stores the rows×cols matrix x, transposed or not, with gaps of NaN.
func layOut(f *fence, x []float32, rows, cols int, trans, end bool) (mem []float32, ld int, intact func() bool) {
	r, c := rows, cols
	if trans {
		r, c = cols, rows
	}
	ld = c + gemmGap
	mem, intact = f.place((r-1)*ld+c, end)
	for i := range mem {
		mem[i] = float32(math.NaN())
	}
	for i := range rows {
		for j := range cols {
			if trans {
				mem[j*ld+i] = x[i*cols+j]
			} else {
				mem[i*ld+j] = x[i*cols+j]
			}
		}
	}
	return mem, ld, intact
}

// TestGemm64 runs the reference level at float64, the ground of gradchecks.
func TestGemm64(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	s := F64()
	for range 40 {
		m, n, k := 1+r.IntN(40), 1+r.IntN(40), 1+r.IntN(600)
		a, b := make([]float64, m*k), make([]float64, n*k)
		for i := range a {
			a[i] = r.NormFloat64()
		}
		for i := range b {
			b[i] = r.NormFloat64()
		}
		got, want := make([]float64, m*n), make([]float64, m*n)
		Gemm(s, false, true, m, n, k, a, k, b, k, got, n, false)
		refGemm(false, true, m, n, k, a, k, b, k, want, n, false)
		for i := range got {
			if math.Abs(got[i]-want[i]) > 1e-11 {
				t.Fatalf("m=%d n=%d k=%d: [%d] = %g, want %g", m, n, k, i, got[i], want[i])
			}
		}
	}
}

// TestGemmNaN: a NaN or Inf in A or B reaches its row or column and no other.
func TestGemmNaN(t *testing.T) {
	for _, s := range usable() {
		m, n, k := s.Tile.MR+2, s.Tile.NR+3, 300
		a, b, c := make([]float32, m*k), make([]float32, k*n), make([]float32, m*n)
		for i := range a {
			a[i] = 1
		}
		for i := range b {
			b[i] = 1
		}
		badRow, badCol := m-1, n-1
		a[badRow*k+17] = float32(math.NaN())
		b[299*n+badCol] = float32(math.Inf(1))
		Gemm(s, false, false, m, n, k, a, k, b, n, c, n, false)
		for i, got := range c {
			row, col := i/n, i%n
			want := float64(k)
			if col == badCol {
				want = math.Inf(1)
			}
			if row == badRow {
				want = math.NaN()
			}
			if !within(got, want, 0) {
				t.Errorf("%s: C[%d,%d] = %g, want %g", s.Name, row, col, got, want)
			}
		}
	}
}

// TestGemmDeterministic: the same bits for any number of workers.
func TestGemmDeterministic(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	r := rand.New(rand.NewPCG(9, 9))
	const m, n, k = 203, 301, 601
	a, b := make([]float32, m*k), make([]float32, k*n)
	fillNumbers(r, a, false)
	fillNumbers(r, b, false)
	for _, s := range usable() {
		var first []float32
		for _, procs := range []int{1, 2, 3, 7} {
			runtime.GOMAXPROCS(procs)
			c := make([]float32, m*n)
			Gemm(s, false, true, m, n, k, a, k, b, k, c, n, false)
			if first == nil {
				first = c
			} else if !same(first, c) {
				t.Errorf("%s: other bits with GOMAXPROCS=%d", s.Name, procs)
			}
		}
	}
}

func TestGemmEmpty(t *testing.T) {
	s := Reference[float32]()
	c := []float32{1, 2, 9, 3, 4, 9}
	Gemm(s, false, false, 2, 2, 0, nil, 0, nil, 2, c, 3, true)
	if !slices.Equal(c, []float32{1, 2, 9, 3, 4, 9}) {
		t.Errorf("k=0 accumulate changed C to %v", c)
	}
	Gemm(s, false, false, 2, 2, 0, nil, 0, nil, 2, c, 3, false)
	if !slices.Equal(c, []float32{0, 0, 9, 0, 0, 9}) {
		t.Errorf("k=0 left C at %v", c)
	}
	Gemm(s, false, false, 0, 5, 3, nil, 3, nil, 5, nil, 5, false)
	Gemm(s, false, false, 5, 0, 3, nil, 3, nil, 0, nil, 0, false)
}

func TestGemmShapeErrors(t *testing.T) {
	x := make([]float32, 12)
	for name, call := range map[string]func(s *Set[float32]){
		"negative":  func(s *Set[float32]) { Gemm(s, false, false, -1, 2, 2, x, 2, x, 2, x, 2, false) },
		"short A":   func(s *Set[float32]) { Gemm(s, false, false, 3, 2, 4, x[:11], 4, x, 2, x, 2, false) },
		"short B":   func(s *Set[float32]) { Gemm(s, false, true, 2, 3, 4, x, 4, x[:11], 4, x, 3, false) },
		"short C":   func(s *Set[float32]) { Gemm(s, false, false, 3, 4, 1, x, 1, x, 4, x[:11], 4, false) },
		"small lda": func(s *Set[float32]) { Gemm(s, false, false, 2, 2, 3, x, 2, x, 2, x, 2, false) },
		"small ldb": func(s *Set[float32]) { Gemm(s, false, false, 2, 3, 2, x, 2, x, 2, x, 3, false) },
		"small ldc": func(s *Set[float32]) { Gemm(s, false, false, 2, 3, 2, x, 2, x, 3, x, 2, false) },
		"huge ldc":  func(s *Set[float32]) { Gemm(s, false, false, 2, 2, 2, x, 2, x, 2, x, math.MaxInt/2, false) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				err, _ := recover().(error)
				var shape *ShapeError
				if !errors.As(err, &shape) || shape.Op != "gemm" {
					t.Errorf("panic was %v, want a *ShapeError of gemm", err)
				}
			}()
			call(Reference[float32]())
		})
	}
}

// BenchmarkTile times the micro-kernel alone, on panels that stay in cache.
func BenchmarkTile(b *testing.B) {
	for _, s := range usable() {
		b.Run(s.Name, func(b *testing.B) {
			k, tile := gemmKC, s.Tile
			x, y, c := scratch[float32](tile.MR*k), scratch[float32](tile.NR*k), scratch[float32](tile.MR*tile.NR)
			clear(x.mem)
			clear(y.mem)
			for b.Loop() {
				tile.Run(k, &x.mem[0], &y.mem[0], &c.mem[0], tile.NR, false)
			}
			b.ReportMetric(2*float64(k*tile.MR*tile.NR)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

package kernels

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
)

// usable are the levels that this machine runs, or the one that FUERTE_ISA forces,
// and the candidates of these; TestSets names the others.
func usable() []*Set[float32] {
	if level := os.Getenv("FUERTE_ISA"); level != "" {
		s, err := choice(level, Sets())
		if err != nil {
			panic(err) // no test may pass for want of a level
		}
		return append([]*Set[float32]{s}, candidatesOf(s.Name)...)
	}
	return slices.DeleteFunc(append(Sets(), candidatesOf("")...), func(s *Set[float32]) bool { return s.Missing != "" })
}

// candidatesOf are the experimental kernels of a level, or of all where it is "".
func candidatesOf(level string) (sets []*Set[float32]) {
	for _, c := range Candidates() {
		if level == "" || level == c.Level {
			sets = append(sets, c.Set)
		}
	}
	return sets
}

// gemmShapes are the shapes around the edges of the tiles and blocks of a level:
// all combinations that cost little, and every size once with small ones beside it.
// Under an emulator, which -short is for, little is less.
func gemmShapes(tile *Tile[float32]) (shapes [][3]int) {
	mr, nr := tile.MR, tile.NR
	mc, nc := wholeTiles(min(CurrentTuning().BlockRows, 168), mr), wholeTiles(770, nr)
	ms := []int{1, 2, 3, mr - 1, mr, mr + 1, 2 * mr, 2*mr + 1, dotsRows, dotsRows + 1, mc - 1, mc, mc + 1, 8*mc + 1}
	ns := []int{1, nr/2 - 1, nr / 2, nr/2 + 1, nr - 1, nr, nr + 1, 2*nr + 1, 4*nr + 1, nc - 1, nc, nc + 1, 3*nc + 1}
	ks := []int{1, 7, 8, 9, gemmKC - 1, gemmKC, gemmKC + 1, 2*gemmKC + 1}
	little := 1 << 17
	if testing.Short() {
		little = 10_000
	}
	for _, m := range ms {
		for _, n := range ns {
			for _, k := range ks {
				alone := m == mr+1 && n == nr+1 || m == mr+1 && k == 9 || n == nr+1 && k == 9
				if m*n*k <= little || alone {
					shapes = append(shapes, [3]int{m, n, k})
				}
			}
		}
	}
	// Panels that are packed while the one before is multiplied; the last is narrow, or
	// the last piece of k short.
	shapes = append(shapes, [3]int{4 * mr, 2*nr + 1, 40}, [3]int{4*mr + 1, 2 * nr, gemmKC + 8}, [3]int{4*mr + 1, 2 * nr, 2 * gemmKC})
	// Few elements of C, whose sums are cut into 2, 4 and 8 parts.
	for _, k := range []int{2*gemmPart + 1, 4*gemmPart + gemmKC - 1, 8 * gemmPart} {
		shapes = append(shapes, [3]int{mr + 1, 3, k})
	}
	return shapes
}

// TestGemmRows: A has to be packed, because its rows crowd in the cache, by one task and
// by several; where it does not fit scratch, its rows are packed and multiplied in turns.
func TestGemmRows(t *testing.T) {
	defer func(n int) { packElements = n }(packElements)
	const stride = 1024
	for _, s := range usable() {
		turns, once := false, false
		for _, m := range []int{5*s.Tile.MR + 3, 2 * packRowsPerTask} {
			for _, packElements = range []int{m / 2 * 40, 2 * m * 40} {
				n, k := s.Tile.NR+3, 40
				for _, gap := range []int{stride - m, stride - k} {
					for _, transA := range []bool{false, true} {
						lda := k + gap
						if transA {
							lda = m + gap
						}
						p := planGemm(&s.Tile, gemmShape{transA: transA, batch: 1, m: m, n: n, k: k, lda: lda, ldb: n, workers: 1})
						turns, once = turns || p.packA && p.rows < m, once || p.packA && p.rows >= m
					}
					r := rand.New(rand.NewPCG(1, 3))
					gemmFences(t, [][3]int{{m, n, k}}, gap).try(t, r, s, gemmCase{m, n, k, [3]int{gap, gemmGap, gemmGap}, true, fractions})
				}
			}
		}
		if !(turns && once) && (s.Name == "avx2" || s.Name == "avx512" || s.Name == "neon") {
			t.Errorf("%s: A is not packed in some of these cases in turns and in others at once", s.Name)
		}
	}
}

// TestGemm tries these shapes, all four transpositions, set and accumulate, rows
// side by side and with gaps of NaN between them, on memory that faults beyond the
// operands.
func TestGemm(t *testing.T) {
	for _, s := range usable() {
		t.Run(s.Name, func(t *testing.T) {
			debug.SetPanicOnFault(true) // a fault in a worker still crashes
			defer fault(t)
			shapes := gemmShapes(&s.Tile)
			f := gemmFences(t, shapes, gemmGap)
			r := rand.New(rand.NewPCG(1, 2))
			for i, shape := range shapes {
				gaps := [3]int{gemmGap, gemmGap, gemmGap}
				if i%3 == 0 {
					gaps = [3]int{}
				}
				f.try(t, r, s, gemmCase{shape[0], shape[1], shape[2], gaps, i%2 == 0, wholeNumbers})
				f.try(t, r, s, gemmCase{shape[0], shape[1], shape[2], gaps, i%2 == 0, fractions})
				if t.Failed() {
					return
				}
			}
		})
	}
}

const gemmGap = 3 // the most elements between rows

type fences struct{ a, b, c *fence }

func gemmFences(t *testing.T, shapes [][3]int, gap int) fences {
	var a, b, c int
	for _, s := range shapes {
		m, n, k := s[0], s[1], s[2]
		a = max(a, (m+gap)*(k+gap))
		b = max(b, (n+gap)*(k+gap))
		c = max(c, m*(n+gap))
	}
	return fences{newFence(t, a), newFence(t, b), newFence(t, c)}
}

// gemmCase is a shape, the gaps between the rows of A, B and C, whether the
// operands end at a page that faults or begin after one, and their values.
type gemmCase struct {
	m, n, k int
	gaps    [3]int
	end     bool
	values  values
}

// try checks one case in all variants against sums in float64: exactly on whole
// numbers, else within the bound of Gemm's comment.
func (f fences) try(t *testing.T, r *rand.Rand, s *Set[float32], g gemmCase) {
	t.Helper()
	m, n, k, end := g.m, g.n, g.k, g.end
	gap := math.Float32frombits(canaryBits)
	a, b, c0 := make([]float32, m*k), make([]float32, k*n), make([]float32, m*n)
	g.values.fill(r, a)
	g.values.fill(r, b)
	g.values.fill(r, c0)
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
		fa, lda, okA := layOut(f.a, a, m, k, g.gaps[0], transA, end)
		fb, ldb, okB := layOut(f.b, b, k, n, g.gaps[1], transB, end)
		ldc := n + g.gaps[2]
		fc, okC := f.c.place((m-1)*ldc+n, end)
		for i := range fc {
			fc[i] = gap
			if accumulate && i%ldc < n {
				fc[i] = c0[i/ldc*n+i%ldc]
			}
		}
		Gemm(s, transA, transB, m, n, k, fa, lda, fb, ldb, fc, ldc, accumulate)
		label := fmt.Sprintf("%+v transA=%t transB=%t accumulate=%t", g, transA, transB, accumulate)
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
			if accumulate {
				w += float64(c0[row*n+col])
			}
			if g.values != wholeNumbers {
				blocks := math.Ceil(float64(k) / gemmBound[0])
				tol = (float64(k)+blocks)*ulp1*size[row*n+col] + gemmBound[1]*float64(k)
				if accumulate {
					tol += math.Ceil(float64(k)/gemmBound[2]) * ulp1 * math.Abs(float64(c0[row*n+col]))
				}
			}
			tol = classBound(w, tol)
			observe("Gemm", s.Name, float64(got), w, tol, func() string { return fmt.Sprintf("%s C[%d,%d]", label, row, col) })
			if !within(got, w, tol) {
				t.Errorf("%s: C[%d,%d] = %g, want %g ± %g", label, row, col, got, w, tol)
				return
			}
		}
	}
}

// FuzzGemm tries any small shape, gaps and values on every level.
func FuzzGemm(f *testing.F) {
	f.Add(uint8(0), uint8(0), uint16(0), uint8(0), uint8(0), uint64(1), true)
	f.Fuzz(func(t *testing.T, m, n uint8, k uint16, gaps, kind uint8, seed uint64, end bool) {
		debug.SetPanicOnFault(true)
		defer fault(t)
		g := gemmCase{1 + int(m), 1 + int(n), 1 + int(k%700), [3]int{int(gaps & 3), int(gaps >> 2 & 3), int(gaps >> 4)}, end, values(kind) % valueKinds}
		f := gemmFences(t, [][3]int{{g.m, g.n, g.k}}, 16)
		for _, s := range usable() {
			f.try(t, rand.New(rand.NewPCG(seed, 0)), s, g)
		}
	})
}

// layOut stores the rows×cols matrix x, transposed or not, with gaps of NaN.
func layOut(f *fence, x []float32, rows, cols, gap int, trans, end bool) (mem []float32, ld int, intact func() bool) {
	r, c := rows, cols
	if trans {
		r, c = cols, rows
	}
	ld = c + gap
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
	for _, shape := range [][3]int{{203, 301, 601}, {301, 1201, 1}, {3, 70_001, 1}, {4001, 1, 70}} {
		m, n, k := shape[0], shape[1], shape[2]
		a, b, lda := make([]float32, m*k), make([]float32, k*n), k
		if k == 1 {
			lda = m // transposed
		}
		fractions.fill(r, a)
		fractions.fill(r, b)
		for _, s := range usable() {
			var first []float32
			for _, procs := range []int{1, 2, 3, 7} {
				runtime.GOMAXPROCS(procs)
				c := make([]float32, m*n)
				Gemm(s, k == 1, true, m, n, k, a, lda, b, k, c, n, false)
				for i := 0; k == 1 && i < len(c); i++ {
					if want := a[i/n] * b[i%n]; c[i] != want {
						t.Fatalf("%s %v: C[%d,%d] is %g, not %g", s.Name, shape, i/n, i%n, c[i], want)
					}
				}
				if first == nil {
					first = c
				} else if !same(first, c) {
					t.Errorf("%s %v: other bits with GOMAXPROCS=%d", s.Name, shape, procs)
				}
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
				tile.Run(tile.MR, tile.NR, k, &x.mem[0], 0, 1, tile.MR, &y.mem[0], tile.NR, &c.mem[0], tile.NR, false)
			}
			b.ReportMetric(2*float64(k*tile.MR*tile.NR)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

// TestGemmFused: with every part of the epilogue, and B packed before, against the
// product and the steps apart, bit for bit.
func TestGemmFused(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, s := range usable() {
		mr, nr := s.Tile.MR, s.Tile.NR
		for _, shape := range [][3]int{{1, 1, 0}, {3, nr + 1, 70}, {5*mr + 1, 4*nr + 3, 300}, {2, 5, 3 * gemmPart}, {400, 3*nr + 1, 20}, {70, 1, 40}, {40, nr + 9, 1}} {
			m, n, k := shape[0], shape[1], shape[2]
			const gap = 3
			lda, ldb, ldc, ldg, ldr := k+gap, k+gap, n+gap, n+1, n+2
			a, b, bias := make([]float32, m*lda), make([]float32, n*ldb), make([]float32, n)
			gate, residual := make([]float32, m*ldg), make([]float32, m*ldr)
			for _, x := range [][]float32{a, b, bias, gate, residual} {
				fractions.fill(r, x)
			}
			var packed PackedB[float32]
			for i, e := range []*Epilogue[float32]{nil, {}, {Scale: 0.5}, {Bias: bias}, {Activation: ActivationGELU}, {Activation: ActivationSiLU},
				{Gate: gate, LdGate: ldg}, {Residual: residual, LdResidual: ldr},
				{Scale: 3, Bias: bias, Activation: ActivationGELU, Gate: gate, LdGate: ldg, Residual: residual, LdResidual: ldr}} {
				steps := func(c []float32) {
					for i := range m {
						y := c[i*ldc:][:n]
						if e == nil {
							continue
						}
						if e.Scale != 0 {
							s.Scale(y, y, e.Scale)
						}
						if e.Bias != nil {
							s.Add(y, y, bias)
						}
						switch e.Activation {
						case ActivationGELU:
							s.GELU(y, y)
						case ActivationSiLU:
							s.SiLU(y, y)
						}
						if e.Gate != nil {
							s.SwiGLU(y, gate[i*ldg:][:n], y)
						}
						if e.Residual != nil {
							s.Add(y, y, residual[i*ldr:][:n])
						}
					}
				}
				want, got := make([]float32, m*ldc), make([]float32, m*ldc)
				Gemm(s, false, true, m, n, k, a, lda, b, ldb, want, ldc, false)
				steps(want)
				if GemmFused(s, false, true, m, n, k, a, lda, b, ldb, got, ldc, e); !same(got, want) {
					t.Errorf("%s %v: epilogue %d: other bits than step by step", s.Name, shape, i)
				}
				packed.Pack(s, true, k, n, b, ldb)
				GemmPacked(s, false, m, a, lda, &packed, want, ldc, nil)
				if e == nil && (m > dotsRows && n > 1 || k == 0) && !same(got, want) {
					t.Errorf("%s %v: other bits than Gemm where B is packed before", s.Name, shape)
				}
				for i := range want { // and where Gemm reads B in place, the same to rounding
					if d := math.Abs(float64(want[i] - got[i])); e == nil && d > 1e-5*float64(k) {
						t.Errorf("%s %v: packed before, [%d] is %g, not %g", s.Name, shape, i, want[i], got[i])
					}
				}
				steps(want)
				if GemmPacked(s, false, m, a, lda, &packed, got, ldc, e); !same(got, want) {
					t.Errorf("%s %v: epilogue %d, packed before: other bits than step by step", s.Name, shape, i)
				}
			}
		}
	}
}

// TestGemmBatched: every entry has the bits of its own Gemm, whether entries are done
// all at once or, because A is packed or k cut in parts, one after the other; gaps
// between them stay as they are, and a matrix may be shared.
func TestGemmBatched(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 8))
	for _, s := range usable() {
		mr, nr := s.Tile.MR, s.Tile.NR
		for _, x := range [][4]int{{3, 4*mr + 1, 2*nr + 3, 40}, {5, 2, 30, 60}, {2, 1, 500, 9}, {2, 3, 3, 2 * gemmPart}, {2, 3 * mr, 2 * nr, 1024}, {4, 2, 3, 0}, {3, 50, 1, 40}, {3, 20, 2 * nr, 1}} {
			batch, m, n, k := x[0], x[1], x[2], x[3]
			for variant := range 32 {
				transA, transB, accumulate, sharedA, sharedB := variant&1 != 0, variant&2 != 0, variant&4 != 0, variant&8 != 0, variant&16 != 0
				strideA, strideB, strideC := m*k+5, k*n+3, m*n+7
				if sharedA {
					strideA = 0
				}
				if sharedB {
					strideB = 0
				}
				lda, ldb := k, n
				if transA {
					lda = m
				}
				if transB {
					ldb = k
				}
				a, b, got := make([]float32, (batch-1)*strideA+m*k), make([]float32, (batch-1)*strideB+k*n), make([]float32, (batch-1)*strideC+m*n)
				fractions.fill(r, a)
				fractions.fill(r, b)
				fractions.fill(r, got)
				want := slices.Clone(got)
				for i := range batch {
					Gemm(s, transA, transB, m, n, k, a[i*strideA:], lda, b[i*strideB:], ldb, want[i*strideC:], n, accumulate)
				}
				GemmBatched(s, transA, transB, batch, m, n, k, a, lda, strideA, b, ldb, strideB, got, n, strideC, accumulate)
				if !same(got, want) {
					t.Errorf("%s %v, variant %05b: other bits than one by one", s.Name, x, variant)
				}
			}
		}
	}
	x := make([]float32, 100)
	s := F32()
	GemmBatched(s, false, false, 0, 2, 2, 2, nil, 2, 4, nil, 2, 4, nil, 2, 4, false)
	for name, call := range map[string]func(){
		"negative batch":  func() { GemmBatched(s, false, false, -1, 2, 2, 2, x, 2, 4, x, 2, 4, x, 2, 4, false) },
		"negative stride": func() { GemmBatched(s, false, false, 2, 2, 2, 2, x, 2, -4, x, 2, 4, x, 2, 4, false) },
		"short A":         func() { GemmBatched(s, false, false, 3, 2, 2, 2, x[:11], 2, 4, x, 2, 4, x, 2, 4, false) },
		"short B":         func() { GemmBatched(s, false, false, 3, 2, 2, 2, x, 2, 4, x[:11], 2, 4, x, 2, 4, false) },
		"short C":         func() { GemmBatched(s, false, false, 3, 2, 2, 2, x, 2, 4, x, 2, 4, x[:11], 2, 4, false) },
		"overlapping C":   func() { GemmBatched(s, false, false, 3, 2, 2, 2, x, 2, 4, x, 2, 4, x, 2, 3, false) },
	} {
		func() {
			defer func() {
				err, _ := recover().(error)
				var shape *ShapeError
				if !errors.As(err, &shape) {
					t.Errorf("%s: panic was %v, want a *ShapeError", name, err)
				}
			}()
			call()
		}()
	}
}

// TestPackedB: packed again after a change, smaller and larger; and refused where
// it does not fit.
func TestPackedB(t *testing.T) {
	s := F32()
	var p PackedB[float32]
	for _, n := range []int{40, 3, 100} {
		const m, k = 5, 9
		a, b := make([]float32, m*k), make([]float32, k*n)
		r := rand.New(rand.NewPCG(1, uint64(n)))
		fractions.fill(r, a)
		fractions.fill(r, b)
		want, got := make([]float32, m*n), make([]float32, m*n)
		Gemm(s, true, false, m, n, k, a, m, b, n, want, n, false)
		p.Pack(s, false, k, n, b, n)
		GemmPacked(s, true, m, a, m, &p, got, n, nil)
		for i := range want {
			if !within(got[i], float64(want[i]), 1e-5) {
				t.Fatalf("n=%d: [%d] = %g, Gemm has %g", n, i, got[i], want[i])
			}
		}
	}
	x := make([]float32, 100)
	for name, call := range map[string]func(){
		"not packed": func() { GemmPacked(s, false, 1, x, 9, &PackedB[float32]{}, x, 100, nil) },
		"no B":       func() { GemmPacked(s, false, 1, x, 9, nil, x, 100, nil) },
		"short B":    func() { new(PackedB[float32]).Pack(s, false, 11, 10, x, 10) },
		"negative":   func() { new(PackedB[float32]).Pack(s, false, -1, 10, x, 10) },
		"short bias": func() { GemmFused(s, false, false, 2, 5, 2, x, 2, x, 5, x, 5, &Epilogue[float32]{Bias: x[:4]}) },
		"short gate": func() {
			GemmFused(s, false, false, 2, 5, 2, x, 2, x, 5, x, 5, &Epilogue[float32]{Gate: x[:9], LdGate: 5})
		},
		"narrow gate": func() { GemmFused(s, false, false, 2, 5, 2, x, 2, x, 5, x, 5, &Epilogue[float32]{Gate: x, LdGate: 4}) },
		"short residual": func() {
			GemmFused(s, false, false, 2, 5, 2, x, 2, x, 5, x, 5, &Epilogue[float32]{Residual: x[:9], LdResidual: 5})
		},
		"no activation": func() { GemmFused(s, false, false, 2, 5, 2, x, 2, x, 5, x, 5, &Epilogue[float32]{Activation: 9}) },
	} {
		func() {
			defer func() {
				err, _ := recover().(error)
				var shape *ShapeError
				if !errors.As(err, &shape) {
					t.Errorf("%s: panic was %v, want a *ShapeError", name, err)
				}
			}()
			call()
		}()
	}
}

// TestOneRowPieces: Gemv and Dots cut into bounded calls give the bits of one call,
// and read no gap.
func TestOneRowPieces(t *testing.T) {
	const gap = 3
	for _, s := range usable() {
		for _, shape := range [][2]int{{1, 5}, {40, 3000}, {9000, 70}, {4096, 40}, {4097, 33}, {1000, 300}} {
			n, k := shape[0], shape[1]
			r := rand.New(rand.NewPCG(5, 9))
			a, b, y := make([]float32, k), make([]float32, (n-1)*(k+gap)+k), make([]float32, n)
			normal := func(x []float32, rows, columns, ld int) {
				fill(x, float32(math.NaN()))
				for i := range rows {
					fractions.fill(r, x[i*ld:i*ld+columns])
				}
			}
			normal(a, 1, k, k)
			normal(y, 1, n, n)
			normal(b, n, k, k+gap)
			want, got := slices.Clone(y), slices.Clone(y)
			s.Dots(1, n, k, &a[0], k, &b[0], k+gap, &want[0], n, false)
			rowDots(s, got, a, b, k+gap)
			if !same(got, want) {
				t.Errorf("%s: rowDots n=%d k=%d: other bits than Dots", s.Name, n, k)
			}
			b = make([]float32, (k-1)*(n+gap)+n)
			normal(b, k, n, n+gap)
			want, got = slices.Clone(y), slices.Clone(y)
			s.Gemv(want, a, b, n+gap)
			gemv(s, got, a, b, n+gap)
			if !same(got, want) {
				t.Errorf("%s: gemv n=%d k=%d: other bits than Gemv", s.Name, n, k)
			}
		}
	}
}

package kernels

import (
	"embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// bitsRow is one call of a parallel function on inputs of its own: the name of
// the function, with a variant behind a slash, and a run that returns every
// result. The shapes are such that the work falls into several tasks.
type bitsRow[T Float] struct {
	name string
	run  func(s *Set[T]) [][]T
}

// dirty returns memory for results, full of what nobody may read; it is different
// every time.
func dirty[T Float](n int) []T {
	dirt++
	x := make([]T, n)
	for i := range x {
		x[i] = T(dirt)
	}
	return x
}

var dirt float64

// bitsNormal returns values whose sums depend on the order.
func bitsNormal[T Float](r *rand.Rand, n int) []T {
	x := make([]T, n)
	for i := range x {
		x[i] = T(r.NormFloat64())
	}
	return x
}

func halvesOf[H BF16 | F16](codes []uint16) []H {
	h := make([]H, len(codes))
	for i, code := range codes {
		h[i] = H(code)
	}
	return h
}

func bitsClone[T Float](x []T) []T { return append([]T(nil), x...) }

// bitsRows has a row, or several, for each function of the package that runs on
// the pool.
func bitsRows[T Float]() (rows []bitsRow[T]) {
	r := rand.New(rand.NewPCG(4, 2))
	normal := func(n int) []T { return bitsNormal[T](r, n) }
	add := func(name string, run func(s *Set[T]) [][]T) { rows = append(rows, bitsRow[T]{name, run}) }

	// Elementwise kernels, as tensors run them.
	const length = 3*chunk + 77
	a, b, c := normal(length), normal(length), normal(length)
	positive := make([]T, length)
	for i, v := range a {
		positive[i] = T(math.Abs(float64(v))) + 0.125
	}
	type of1 = func(s *Set[T]) func(y, x []T)
	type of2 = func(s *Set[T]) func(y, a, b []T)
	for name, kernel := range map[string]of1{
		"Exp":     func(s *Set[T]) func(y, x []T) { return s.Exp },
		"Log":     func(s *Set[T]) func(y, x []T) { return s.Log },
		"Sqrt":    func(s *Set[T]) func(y, x []T) { return s.Sqrt },
		"Tanh":    func(s *Set[T]) func(y, x []T) { return s.Tanh },
		"Erf":     func(s *Set[T]) func(y, x []T) { return s.Erf },
		"Sigmoid": func(s *Set[T]) func(y, x []T) { return s.Sigmoid },
		"SiLU":    func(s *Set[T]) func(y, x []T) { return s.SiLU },
		"GELU":    func(s *Set[T]) func(y, x []T) { return s.GELU },
		"Scale":   func(s *Set[T]) func(y, x []T) { return func(y, x []T) { s.Scale(y, x, 0.3) } },
		"Axpy": func(s *Set[T]) func(y, x []T) {
			return func(y, x []T) { copy(y, x); s.Axpy(y, x, 0.3) }
		},
	} {
		add("Chunks/"+name, func(s *Set[T]) [][]T {
			y, f := dirty[T](length), kernel(s)
			Chunks(length, func(lo, hi int) { f(y[lo:hi], positive[lo:hi]) })
			return [][]T{y}
		})
	}
	for name, kernel := range map[string]of2{
		"Add":      func(s *Set[T]) func(y, a, b []T) { return s.Add },
		"Sub":      func(s *Set[T]) func(y, a, b []T) { return s.Sub },
		"Mul":      func(s *Set[T]) func(y, a, b []T) { return s.Mul },
		"Div":      func(s *Set[T]) func(y, a, b []T) { return s.Div },
		"SiLUGrad": func(s *Set[T]) func(y, a, b []T) { return s.SiLUGrad },
		"SwiGLU":   func(s *Set[T]) func(y, a, b []T) { return s.SwiGLU },
		"GELUGrad": func(s *Set[T]) func(y, a, b []T) { return s.GELUGrad },
	} {
		add("Chunks/"+name, func(s *Set[T]) [][]T {
			y, f := dirty[T](length), kernel(s)
			Chunks(length, func(lo, hi int) { f(y[lo:hi], a[lo:hi], b[lo:hi]) })
			return [][]T{y}
		})
	}
	add("Chunks/SwiGLUGrad", func(s *Set[T]) [][]T {
		gg, gu := dirty[T](length), dirty[T](length)
		Chunks(length, func(lo, hi int) { s.SwiGLUGrad(gg[lo:hi], gu[lo:hi], a[lo:hi], b[lo:hi], c[lo:hi]) })
		return [][]T{gg, gu}
	})
	codes := make([]uint16, length) // of either format, and back
	for i := range codes {
		codes[i] = uint16(r.IntN(1 << 16))
	}
	bf, f := halvesOf[BF16](codes), halvesOf[F16](codes)
	add("Chunks/FromBF16", func(s *Set[T]) [][]T {
		y := dirty[T](length)
		Chunks(length, func(lo, hi int) { s.FromBF16(y[lo:hi], bf[lo:hi]) })
		return [][]T{y}
	})
	add("Chunks/FromF16", func(s *Set[T]) [][]T {
		y := dirty[T](length)
		Chunks(length, func(lo, hi int) { s.FromF16(y[lo:hi], f[lo:hi]) })
		return [][]T{y}
	})
	add("Chunks/ToBF16", func(s *Set[T]) [][]T {
		y, wide := make([]BF16, length), dirty[T](length)
		Chunks(length, func(lo, hi int) { s.ToBF16(y[lo:hi], a[lo:hi]) })
		refFromBF16(wide, y)
		return [][]T{wide}
	})
	add("Chunks/ToF16", func(s *Set[T]) [][]T {
		y, wide := make([]F16, length), dirty[T](length)
		Chunks(length, func(lo, hi int) { s.ToF16(y[lo:hi], a[lo:hi]) })
		refFromF16(wide, y)
		return [][]T{wide}
	})
	add("Parallel", func(s *Set[T]) [][]T {
		y := dirty[T](length)
		Parallel(7, func(i int) { s.Scale(y[i*length/7:(i+1)*length/7], a[i*length/7:], 3) })
		return [][]T{y}
	})
	step := &AdamWStep[T]{Clip: .3, Beta1: .9, Beta2: .99, Keep: .999, Rate: .01, RSqrtC2: 1.3, Eps: 1e-8}
	add("AdamW", func(s *Set[T]) [][]T {
		p, m, v := bitsClone(a), bitsClone(b), bitsClone(positive)
		AdamW(s, p, m, v, c, step)
		return [][]T{p, m, v}
	})
	add("SumSquares", func(s *Set[T]) [][]T {
		sum := SumSquares(s, a)
		return [][]T{{T(sum), T(sum - float64(T(sum)))}} // all bits, also at float32
	})

	// One for each way that the sums are cut.
	for _, shape := range [][3]int{{5, 20_000, 1}, {2, 9, 20_000}, {200, 20, 17}, {2, 700, 96}} {
		outer, n, inner := shape[0], shape[1], shape[2]
		x := normal(outer * n * inner)
		add(fmt.Sprint("ReduceSum/", shape), func(s *Set[T]) [][]T {
			y := dirty[T](outer * inner)
			ReduceSum(s, y, x, outer, n, inner)
			return [][]T{y}
		})
		add(fmt.Sprint("ReduceMax/", shape), func(s *Set[T]) [][]T {
			y := dirty[T](outer * inner)
			ReduceMax(s, y, x, outer, n, inner)
			return [][]T{y}
		})
	}

	for _, shape := range [][2]int{{150, 700}, {3000, 96}} {
		n, d := shape[0], shape[1]
		name := func(f string) string { return fmt.Sprint(f, "/", shape) }
		x, gy, w, bias := normal(n*d), normal(n*d), normal(d), normal(d)
		mean, scale, lse := normal(n), make([]T, n), make([]T, n)
		target, id := make([]int32, n), make([]int32, n)
		for i := range n {
			scale[i], lse[i] = 0.5+T(r.Float64()), 7+T(r.Float64())
			target[i], id[i] = int32(r.IntN(d+1)-1), int32(r.IntN(50))
		}
		add(name("Rows"), func(s *Set[T]) [][]T {
			y := dirty[T](n * d)
			Rows(n, d, func(lo, hi int) { s.Exp(y[lo*d:hi*d], x[lo*d:hi*d]) })
			return [][]T{y}
		})
		add(name("RMSNorm"), func(s *Set[T]) [][]T {
			y, q := dirty[T](n*d), dirty[T](n)
			RMSNorm(s, y, q, x, w, n, d, 1e-5)
			return [][]T{y, q}
		})
		add(name("RMSNormGrad"), func(s *Set[T]) [][]T {
			gx, gw := dirty[T](n*d), dirty[T](d)
			RMSNormGrad(s, gx, gw, x, w, gy, scale, n, d)
			return [][]T{gx, gw}
		})
		add(name("LayerNorm"), func(s *Set[T]) [][]T {
			y, m, q := dirty[T](n*d), dirty[T](n), dirty[T](n)
			LayerNorm(s, y, m, q, x, w, bias, n, d, 1e-5)
			return [][]T{y, m, q}
		})
		add(name("LayerNormGrad"), func(s *Set[T]) [][]T {
			gx, gw, gb := dirty[T](n*d), dirty[T](d), dirty[T](d)
			LayerNormGrad(s, gx, gw, gb, x, w, gy, mean, scale, n, d)
			return [][]T{gx, gw, gb}
		})
		add(name("Softmax"), func(s *Set[T]) [][]T {
			y := dirty[T](n * d)
			Softmax(s, y, x, n, d)
			return [][]T{y}
		})
		add(name("SoftmaxGrad"), func(s *Set[T]) [][]T {
			gx := dirty[T](n * d)
			SoftmaxGrad(s, gx, x, gy, n, d)
			return [][]T{gx}
		})
		add(name("CrossEntropy"), func(s *Set[T]) [][]T {
			loss, l := dirty[T](n), dirty[T](n)
			CrossEntropy(s, loss, l, x, target, n, d)
			return [][]T{loss, l}
		})
		add(name("CrossEntropyGrad"), func(s *Set[T]) [][]T {
			gx := dirty[T](n * d)
			CrossEntropyGrad(s, gx, x, lse, target, mean, n, d)
			return [][]T{gx}
		})
		weights, classes := normal(100*64), make([]int32, n)
		for i := range classes {
			classes[i] = int32(r.IntN(101) - 1)
		}
		for _, at := range []int{10_000, logitsAtOnce} { // many chunks, and one
			add(fmt.Sprintf("LinearCrossEntropy/%v %d", shape, at), func(s *Set[T]) [][]T {
				loss, gx, gw := dirty[T](n), dirty[T](n*64), dirty[T](100*64)
				withLogits(at, func() { LinearCrossEntropy(s, loss, gx, gw, x[:n*64], weights, classes, mean, n, 64, 100) })
				return [][]T{loss, gx, gw}
			})
		}
		add(name("GatherRows"), func(*Set[T]) [][]T {
			y := dirty[T](n * d)
			GatherRows(y, x[:50*d], id, 50, d)
			return [][]T{y}
		})
		add(name("ScatterAddRows"), func(s *Set[T]) [][]T {
			gw := dirty[T](50 * d)
			ScatterAddRows(s, gw, gy, id, 50, d)
			return [][]T{gw}
		})
	}

	// Several blocks of A, several packing tasks and several blocks of k; a wide
	// product; sums in parts; one row of A.
	for _, shape := range [][3]int{{61, 301, 515}, {30, 3100, 20}, {3, 20, 4 * gemmPart}, {1, 5000, 300}} {
		m, n, k := shape[0], shape[1], shape[2]
		a, b, c := normal(m*k), normal(k*n), normal(m*n)
		for variant := range 8 {
			transA, transB, accumulate := variant&1 != 0, variant&2 != 0, variant&4 != 0
			lda, ldb := k, n
			if transA {
				lda = m
			}
			if transB {
				ldb = k
			}
			add(fmt.Sprintf("Gemm/%v transA=%t transB=%t accumulate=%t", shape, transA, transB, accumulate), func(s *Set[T]) [][]T {
				y := dirty[T](m * n)
				if accumulate {
					copy(y, c)
				}
				Gemm(s, transA, transB, m, n, k, a, lda, b, ldb, y, n, accumulate)
				return [][]T{y}
			})
		}
		add(fmt.Sprintf("GemmBatched/%v", shape), func(s *Set[T]) [][]T {
			y := dirty[T](3 * m * n)
			GemmBatched(s, false, true, 3, m, n, k, a, k, 0, b, k, 0, y, n, m*n, false)
			return [][]T{y}
		})
		e := &Epilogue[T]{Bias: b[:n], Activation: ActivationGELU, Residual: c, LdResidual: n}
		add(fmt.Sprintf("GemmFused/%v", shape), func(s *Set[T]) [][]T {
			y := dirty[T](m * n)
			GemmFused(s, false, true, m, n, k, a, k, b, k, y, n, e)
			return [][]T{y}
		})
		add(fmt.Sprintf("GemmPacked/%v", shape), func(s *Set[T]) [][]T {
			y := dirty[T](m * n)
			var packed PackedB[T]
			packed.Pack(s, true, k, n, b, k)
			GemmPacked(s, false, m, a, k, &packed, y, n, e)
			return [][]T{y}
		})
	}

	// Whole heads; queries of one head in parts; few queries, as in decoding.
	for _, shape := range []AttentionShape{
		{B: 2, H: 3, Tq: 67, Tk: 67, Dh: 16},
		{B: 2, H: 3, Tq: 67, Tk: 90, Dh: 16, Causal: true},
		{B: 2, H: 3, Tq: 67, Tk: 67, Dh: 16, Causal: true, Prefix: []int32{3, 60}},
		{B: 2, H: 1, Tq: 2 * attentionSplit, Tk: 300, Dh: 4},
		{B: 2, H: 2, Tq: attentionFew, Tk: 300, Dh: 16, Causal: true},
	} {
		shape.LdQ = shape.H * shape.Dh
		shape.LdK, shape.LdV, shape.LdO = shape.LdQ, shape.LdQ, shape.LdQ
		shape.BatchQ, shape.BatchK = shape.Tq*shape.LdQ, shape.Tk*shape.LdQ
		shape.BatchO, shape.BatchV = shape.BatchQ, shape.BatchK
		shape.Scale = 1 / math.Sqrt(float64(shape.Dh))
		size, keys, queries := shape.B*shape.BatchQ, shape.B*shape.BatchK, shape.B*shape.H*shape.Tq
		q, k, v, gO := normal(size), normal(keys), normal(keys), normal(size)
		o, lse := make([]T, size), make([]T, queries)
		refAttention(o, lse, q, k, v, &shape)
		name := fmt.Sprintf("/%d×%d of %d, %d causal=%t prefix=%v", shape.B, shape.H, shape.Tq, shape.Tk, shape.Causal, shape.Prefix)
		add("Attention"+name, func(s *Set[T]) [][]T {
			y, l := dirty[T](size), dirty[T](queries)
			Attention(s, y, l, q, k, v, &shape)
			return [][]T{y, l}
		})
		add("AttentionGrad"+name, func(s *Set[T]) [][]T {
			gq, gk, gv := dirty[T](size), dirty[T](keys), dirty[T](keys)
			AttentionGrad(s, gq, gk, gv, q, k, v, o, lse, gO, &shape)
			return [][]T{gq, gk, gv}
		})
	}
	return rows
}

// TestBits runs every parallel function on every usable level, with several
// numbers of processors, again, and past the caches: the bits are the same. That the work was cut
// in pieces is seen by the jobs that the pool has numbered.
func TestBits(t *testing.T) {
	for _, s := range Sets() {
		if s.Missing == "" {
			testBits(t, s)
		}
	}
	if !testing.Short() { // no code of its own
		testBits(t, F64())
	}
}

func testBits[T Float](t *testing.T, s *Set[T]) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	runs := []int{1, 1, 2, 2, 3, 3, 5, 5}
	if testing.Short() {
		runs = []int{1, 3, 3}
	}
	for _, row := range bitsRows[T]() {
		name := fmt.Sprintf("%s/%T/%s", s.Name, T(0), row.name)
		var first [][]T
		for _, procs := range runs {
			runtime.GOMAXPROCS(procs)
			jobs := pool.state.Load() >> numberShift
			got := row.run(s)
			if jobs == pool.state.Load()>>numberShift && procs > 1 {
				t.Errorf("%s: one piece of work: choose a larger shape", name)
				break
			}
			if first == nil {
				first = got
			}
			if at := bitsDiffer(first, got); at != "" {
				t.Errorf("%s: with %d processors %s", name, procs, at)
				break
			}
		}
		if s.Streaming == nil {
			continue
		}
		if at := bitsDiffer(first, row.run(s.Streaming)); at != "" {
			t.Errorf("%s: by Set.Streaming %s", name, at)
		}
		normal := streamBytes
		streamBytes = func() int { return 0 }
		if at := bitsDiffer(first, row.run(s)); at != "" {
			t.Errorf("%s: with all results streamed %s", name, at)
		}
		streamBytes = normal
	}
}

// bitsDiffer names the first place where the results differ in a bit.
func bitsDiffer[T Float](first, got [][]T) string {
	for k := range first {
		for i, v := range first[k] {
			// A float64 holds every float32, so equal bits there are equal bits here.
			if math.Float64bits(float64(v)) != math.Float64bits(float64(got[k][i])) {
				return fmt.Sprintf("result %d, element %d is %v, with 1 it was %v", k, i, got[k][i], v)
			}
		}
	}
	return ""
}

// bitsExempt are functions that take a set and have no result to compare.
var bitsExempt = map[string]string{
	"ChunksOf": "Chunks is it", "RowsOf": "Rows is it", "Explain": "it computes nothing", "Peak": "a rate", "NewStream": "a rate",
	"GemmMixed": "TestGemmMixed holds it to Gemm's", "GemmBF16": "TestGemmBF16 does", "PackMixed": "TestGemmMixed holds it to PackedB.Pack's",
	"GemmInt8": "TestGemmInt8 holds it to GemmFused's", "PackInt8": "TestGemmInt8 holds it to PackedB.Pack's"}

// bitsFields says which function runs the kernels that Chunks does not.
var bitsFields = map[string]string{
	"Tile": "Gemm", "PackRows": "Gemm", "PackCols": "Gemm", "Dots": "Gemm", "Gemv": "Gemm", "TileBF16": "GemmBF16", "ZipBF16": "GemmBF16", "DotsBF16": "GemmMixed", "DotsF16": "GemmMixed", "DotsInt8": "GemmInt8", "FromInt8": "GemmInt8",
	"Sum": "ReduceSum", "Dot": "SumSquares", "Max": "ReduceMax", "ExpSub": "Softmax",
	"RMSNormRow": "RMSNorm", "RMSNormGradRow": "RMSNormGrad", "LayerNormRow": "LayerNorm", "LayerNormGradRow": "LayerNormGrad",
	"AdamW": "AdamW", "FMALoop": "Peak",
}

// sources are the files of this package, also where the binary runs far from
// them.
//
//go:embed *.go
var sources embed.FS

// TestBitsCovers: every exported function that takes a Set or gets to Parallel
// has a row, and so has every kernel of Set.
func TestBitsCovers(t *testing.T) {
	rows := map[string]bool{}
	for _, row := range bitsRows[float32]() {
		name, _, _ := strings.Cut(row.name, "/")
		rows[name], rows[row.name] = true, true
	}
	funcs := parallelFunctions(t)
	for name := range funcs {
		if !rows[name] && bitsExempt[name] == "" {
			t.Errorf("%s has no row in bitsRows: nothing holds its bits", name)
		}
	}
	if len(funcs) < 20 {
		t.Errorf("only %d functions found: is the search right?", len(funcs))
	}
	for name := range rows {
		if f, _, _ := strings.Cut(name, "/"); !funcs[f] {
			t.Errorf("the row %s is of no exported function that takes a Set or gets to Parallel", name)
		}
	}
	set := reflect.TypeFor[Set[float32]]()
	for i := range set.NumField() {
		field := set.Field(i)
		if kind := field.Type.Kind(); kind != reflect.Func && kind != reflect.Struct {
			continue
		}
		if by := bitsFields[field.Name]; !rows["Chunks/"+field.Name] && !rows[by] && bitsExempt[by] == "" {
			t.Errorf("Set.%s is run by no row of bitsRows", field.Name)
		}
	}
}

// parallelFunctions are the exported functions of this package that take a Set or
// get to Parallel, by the names of functions and methods (".name", whatever the
// type) that bodies mention: rather one too many.
func parallelFunctions(t *testing.T) map[string]bool {
	t.Helper()
	entries, err := sources.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	mentions, takesSet := map[string]map[string]bool{}, map[string]bool{}
	var exported []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		text, err := sources.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), text, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			name := f.Name.Name
			if f.Recv != nil {
				name = "." + name
			} else if f.Name.IsExported() {
				exported = append(exported, name)
			}
			if mentions[name] == nil {
				mentions[name] = map[string]bool{}
			}
			var visit func(n ast.Node) bool
			visit = func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.SelectorExpr: // a method, or no function of this package
					mentions[name]["."+n.Sel.Name] = true
					ast.Inspect(n.X, visit)
					return false
				case *ast.KeyValueExpr:
					ast.Inspect(n.Value, visit)
					return false
				case *ast.Ident:
					mentions[name][n.Name] = true
				}
				return true
			}
			ast.Inspect(f.Body, visit)
			ast.Inspect(f.Type.Params, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && id.Name == "Set" {
					takesSet[name] = true
				}
				return true
			})
		}
	}
	found := map[string]bool{}
	for _, name := range exported {
		seen := map[string]bool{}
		var gets func(string) bool
		gets = func(f string) bool {
			if f == "Parallel" {
				return true
			}
			if seen[f] {
				return false
			}
			seen[f] = true
			for m := range mentions[f] {
				if gets(m) {
					return true
				}
			}
			return false
		}
		if takesSet[name] || gets(name) {
			found[name] = true
		}
	}
	return found
}

package kernels

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var stwTime = flag.Duration("stw", 0, "how long TestStopTheWorld measures each kernel (0: a moment)")

// largeRow is a parallel function at its largest sensible shape.
type largeRow struct {
	name string
	run  func(s *Set[float32])
}

// largeRows have the rows, heads and inner dimensions of large models, on which
// the length of a call into assembly depends, and fewer of them than those have,
// which would repeat the same calls.
func largeRows() []largeRow {
	r := rand.New(rand.NewPCG(1, 1))
	const big = 1 << 23
	x, y, z, u := make([]float32, big), make([]float32, big), make([]float32, big), make([]float32, big)
	for i := range x {
		x[i] = float32(r.Float64()) - 0.5
	}
	copy(y, x)
	copy(z, x)
	for i, v := range x {
		u[i] = v * v
	}
	step := &AdamWStep[float32]{Clip: 1, Beta1: .9, Beta2: .99, Keep: .999, Rate: 1e-3, RSqrtC2: 1, Eps: 1e-8}
	const n, d = 1024, 4096
	r1, r2 := make([]float32, 1<<16), make([]float32, 1<<16)
	for i := range r1 {
		r1[i] = 1
	}
	w, b := x[:d], y[:d]
	target := make([]int32, 32)
	const vocab = 1 << 18
	shape := func(tq, heads, dh int) *AttentionShape {
		ld := heads * dh
		return &AttentionShape{B: 1, H: heads, Tq: tq, Tk: tq, Dh: dh, LdQ: ld, LdK: ld, LdV: ld, LdO: ld, Scale: 1 / math.Sqrt(float64(dh))}
	}
	long, wide := shape(2048, 4, 128), shape(160, 2, attentionHead)
	o, lse := make([]float32, 1<<21), make([]float32, 1<<14)
	gq, gk, gv := make([]float32, 1<<21), make([]float32, 1<<21), make([]float32, 1<<21)
	chunks := func(f func(y, a, b []float32)) {
		Chunks(big, func(lo, hi int) { f(y[lo:hi], x[lo:hi], u[lo:hi]) })
	}
	return []largeRow{
		{"Gemm 1024×4096×1024", func(s *Set[float32]) { Gemm(s, false, true, 1024, 4096, 1024, x, 1024, z, 1024, y, 4096, false) }},
		{"Gemm 32×4×262144", func(s *Set[float32]) { Gemm(s, true, false, 32, 4, 1<<18, x, 32, z, 4, y, 4, false) }},
		{"Gemm 1×16384×512", func(s *Set[float32]) { Gemm(s, false, false, 1, 1<<14, 512, z, 512, x, 1<<14, y, 1<<14, false) }},
		{"Attention T=2048", func(s *Set[float32]) { Attention(s, o, lse, x, z, u, long) }},
		{"AttentionGrad T=2048", func(s *Set[float32]) { AttentionGrad(s, gq, gk, gv, x, z, u, o, lse, y, long) }},
		{"Attention Dh=4096", func(s *Set[float32]) { Attention(s, o, lse, x, z, u, wide) }},
		{"AttentionGrad Dh=4096", func(s *Set[float32]) { AttentionGrad(s, gq, gk, gv, x, z, u, o, lse, y, wide) }},
		{"RMSNorm", func(s *Set[float32]) { RMSNorm(s, y, r2, x, w, n, d, 1e-5) }},
		{"RMSNormGrad", func(s *Set[float32]) { RMSNormGrad(s, y, gq[:d], x, w, z, r1, n, d) }},
		{"LayerNorm", func(s *Set[float32]) { LayerNorm(s, y, r2, gq, x, w, b, n, d, 1e-5) }},
		{"LayerNormGrad", func(s *Set[float32]) { LayerNormGrad(s, z, gq[:d], gk[:d], x, w, u, r2, r1, n, d) }},
		{"Softmax 262144 classes", func(s *Set[float32]) { Softmax(s, y, x, 32, vocab) }},
		{"SoftmaxGrad 262144 classes", func(s *Set[float32]) { SoftmaxGrad(s, y, x, u, 32, vocab) }},
		{"CrossEntropy 262144 classes", func(s *Set[float32]) { CrossEntropy(s, r2, gq, x, target, 32, vocab) }},
		{"CrossEntropyGrad 262144 classes", func(s *Set[float32]) { CrossEntropyGrad(s, y, x, r1, target, r1, 32, vocab) }},
		{"ReduceSum last", func(s *Set[float32]) { ReduceSum(s, r2, x, 2, big/2, 1) }},
		{"ReduceSum rows", func(s *Set[float32]) { ReduceSum(s, y, x, 1, 16, big/16) }},
		{"SumSquares", func(s *Set[float32]) { SumSquares(s, x) }},
		{"AdamW", func(s *Set[float32]) { AdamW(s, y, z, u, x, step) }},
		{"Add", func(s *Set[float32]) { chunks(s.Add) }},
		{"Div", func(s *Set[float32]) { chunks(s.Div) }},
		{"GELUGrad", func(s *Set[float32]) { chunks(s.GELUGrad) }},
		{"SwiGLU", func(s *Set[float32]) { chunks(s.SwiGLU) }},
	}
}

// stops are the times that stopping all goroutines took, as the runtime counts
// them: for a garbage collection, and for any other reason.
type stops [2]*metrics.Float64Histogram

func readStops() (h stops) {
	samples := []metrics.Sample{{Name: "/sched/pauses/stopping/gc:seconds"}, {Name: "/sched/pauses/stopping/other:seconds"}}
	metrics.Read(samples)
	for i, s := range samples {
		h[i] = s.Value.Float64Histogram()
	}
	return h
}

// stopTimes is a summary of stops between two readings.
type stopTimes struct {
	count                    uint64
	mean, median, p99, worst time.Duration
}

func (s stopTimes) String() string {
	return fmt.Sprintf("mean %v, median %v, 99th percentile %v, worst %v of %d stops",
		s.mean.Round(time.Microsecond), s.median.Round(time.Microsecond), s.p99.Round(time.Microsecond), s.worst.Round(time.Microsecond), s.count)
}

// since sums up what came after before. A time is the upper edge of its bucket,
// at most an eighth too much.
func (h stops) since(before stops) (s stopTimes) {
	edges := h[0].Buckets
	count := make([]uint64, len(h[0].Counts))
	for k := range h {
		for i, c := range h[k].Counts {
			count[i] += c - before[k].Counts[i]
			s.count += c - before[k].Counts[i]
		}
	}
	var below uint64
	for i, c := range count {
		if c == 0 {
			continue
		}
		edge := edges[i+1]
		if math.IsInf(edge, 1) {
			edge = edges[i]
		}
		at := time.Duration(edge * 1e9)
		if 2*below < s.count && s.count <= 2*(below+c) {
			s.median = at
		}
		if 100*below < 99*s.count {
			s.p99 = at
		}
		below += c
		s.mean += at * time.Duration(c) / time.Duration(s.count)
		s.worst = at
	}
	return s
}

// stopWhile runs work without pause and stops the world again and again, by the
// cheapest ways there are: reading the statistics of memory, and now and then a
// whole collection.
func stopWhile(work func(), span time.Duration) stopTimes {
	var done atomic.Bool
	var running sync.WaitGroup
	started := make(chan struct{})
	running.Go(func() {
		work() // scratch memory is there, and a slow machine is at work
		close(started)
		for !done.Load() {
			work()
		}
	})
	<-started
	before := readStops()
	var stats runtime.MemStats
	begin := time.Now()
	for i := 0; i < 20 || time.Since(begin) < span; i++ {
		if i%20 == 19 {
			runtime.GC()
		} else {
			runtime.ReadMemStats(&stats)
		}
		time.Sleep(time.Duration(100+i*37%400) * time.Microsecond) // out of step with the kernel
	}
	after := readStops()
	done.Store(true)
	running.Wait()
	return after.since(before)
}

// TestStopTheWorld measures how long the kernels, at their largest shapes and on
// all workers, keep the runtime from stopping the world: Go cannot pre-empt
// assembly, so every collection waits for the call at hand. What counts is the
// figure, on a quiet machine under 1 ms at the 99th percentile:
//
//	go test ./kernels -run TestStopTheWorld -v -stw 5s
//
// The assertion is loose, and on the mean: a stop may take 3 ms. (Where calls are
// long, many a stop begins just when one ends, so the median may not see them.) A
// machine that is busy with other work takes processors away at any time; where it
// does so to a loop that Go can stop anywhere, nothing is asserted, and the log
// says so. Calls into assembly of 50 ms and more show that long ones are seen.
func TestStopTheWorld(t *testing.T) {
	if testing.Short() {
		t.Skip("times mean nothing under an emulator")
	}
	if runtime.GOMAXPROCS(0) < 2 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	}
	const limit, quiet = 3 * time.Millisecond, 1 * time.Millisecond
	span := *stwTime
	if span == 0 {
		span = 100 * time.Millisecond
	}
	s := F32()
	all := func(task func(i int)) func() {
		return func() { Parallel(runtime.GOMAXPROCS(0), task) }
	}
	free := func() stopTimes { return stopWhile(all(func(int) { refFMALoop[float32](1_000_000) }), span) }
	before := free()
	t.Logf("%-32s %v", "(a loop that can be stopped)", before)
	busy := before.mean > quiet
	// held measures a kernel, and again where it seems to hold up.
	held := func(name string, work func()) (x stopTimes, held bool) {
		for range 3 {
			x = stopWhile(work, span)
			t.Logf("%-32s %v", name, x)
			if x.mean <= limit || busy {
				return x, false
			}
			if f := free(); f.mean > quiet {
				busy = true
				t.Logf("%-32s %v", "(a loop that can be stopped)", f)
				return x, false
			}
		}
		return x, true
	}
	if s.Name != "reference" {
		begin := time.Now()
		s.FMALoop(100_000)
		long := int(50e6 / max(time.Since(begin).Nanoseconds()/100_000, 1))
		if x, seen := held("(assembly of 50 ms and more)", all(func(i int) { s.FMALoop(long * (4 + i) / 4) })); !seen && !busy {
			t.Errorf("calls of 50 ms are not seen: %v", x)
		}
	}
	var slowest string
	var slow stopTimes
	for _, row := range largeRows() {
		x, bad := held(row.name, func() { row.run(s) })
		if bad {
			t.Errorf("%s: %s holds up the garbage collector: %v", s.Name, row.name, x)
		}
		if x.p99 > slow.p99 {
			slowest, slow = row.name, x
		}
	}
	t.Logf("%s: the longest at the 99th percentile is %s: %v", s.Name, slowest, slow)
	if busy {
		t.Log("the machine is busy with other work: figures only, nothing asserted")
	}
}

// TestCallLength measures every call of a kernel of Set from the functions above
// it, at their largest shapes: none may be long, for that is how long the garbage
// collector may wait. The time of the longest call is the least of many, which
// other work on the machine disturbs little; 100 µs is the aim, and the log tells
// what is over it.
func TestCallLength(t *testing.T) {
	if testing.Short() {
		t.Skip("times mean nothing under an emulator")
	}
	for _, s := range usableLevels() {
		if s.Name == "reference" {
			continue // Go can stop it anywhere
		}
		var slowest string
		var slow time.Duration
		for _, row := range largeRows() {
			calls := map[string]*longestCall{}
			w := watched(s, calls)
			row.run(w)
			row.run(w) // the first touch of scratch memory took long
			for field, c := range calls {
				if c.least > slow {
					slowest, slow = fmt.Sprintf("%s of %d elements in %s", field, c.size, row.name), c.least
				}
				if c.least > 100*time.Microsecond {
					t.Logf("%s: %s: Set.%s of %d elements takes %v", s.Name, row.name, field, c.size, c.least)
				}
				if c.least > time.Millisecond {
					t.Errorf("%s: %s: one call of Set.%s, of %d elements, takes %v, at the least of %d", s.Name, row.name, field, c.size, c.least, c.count)
				}
			}
		}
		t.Logf("%s: the longest call, %v, is %s", s.Name, slow, slowest)
	}
}

func usableLevels() (levels []*Set[float32]) {
	for _, s := range Sets() {
		if s.Missing == "" {
			levels = append(levels, s)
		}
	}
	return levels
}

// longestCall is what is known of the calls with most elements.
type longestCall struct {
	mu          sync.Mutex
	size, count int
	least       time.Duration
}

func (c *longestCall) add(size int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case size > c.size:
		c.size, c.count, c.least = size, 1, took
	case size == c.size:
		c.count++
		c.least = min(c.least, took)
	}
}

// watched is a copy of s that keeps the size and time of the longest call of each
// kernel. The size is that of its first slice, what a packing call writes, what Gemv
// reads of B, or m·n·k of a tile.
func watched(s *Set[float32], calls map[string]*longestCall) *Set[float32] {
	w := *s
	v := reflect.ValueOf(&w).Elem()
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		if f.Kind() != reflect.Func || name == "FMALoop" {
			continue
		}
		c, kernel := &longestCall{}, reflect.ValueOf(f.Interface())
		calls[name] = c
		f.Set(reflect.MakeFunc(f.Type(), func(args []reflect.Value) []reflect.Value {
			size := args[0].Len()
			if name == "PackRows" || name == "PackCols" { // dst, src, ld, k, w, width
				size = int(args[3].Int() * args[5].Int())
			}
			if name == "Gemv" { // y, a, b, ldb
				size *= args[1].Len()
			}
			begin := time.Now()
			results := kernel.Call(args)
			c.add(size, time.Since(begin))
			return results
		}))
	}
	tile, c := s.Tile, &longestCall{}
	calls["Tile"] = c
	w.Tile.Run = func(m, n, k int, a *float32, strip, row, col int, b *float32, ldb int, d *float32, ldc int, accumulate bool) {
		begin := time.Now()
		tile.Run(m, n, k, a, strip, row, col, b, ldb, d, ldc, accumulate)
		c.add(m*n*k, time.Since(begin))
	}
	return &w
}

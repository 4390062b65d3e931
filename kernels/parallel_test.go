package kernels

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// withProcs runs f with a number of processors.
func withProcs(n int, f func()) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
	f()
}

// catch returns what f panics with.
func catch(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

func failingTask(i int) {
	if i == 5 {
		panic(errBroken)
	}
}

var errBroken = errors.New("broken")

// TestParallelPanicStack: a panic in a task, on whatever goroutine, in a nested call
// too, reaches the caller as one *TaskPanic with the stack of the task; the pool
// works on.
func TestParallelPanicStack(t *testing.T) {
	for procs := 1; procs <= 3; procs++ {
		withProcs(procs, func() {
			for name, call := range map[string]func(){
				"plain":     func() { Parallel(20, failingTask) },
				"nested":    func() { Parallel(4, func(int) { Parallel(20, failingTask) }) },
				"every":     func() { Parallel(20, func(int) { failingTask(5) }) },
				"one task":  func() { Parallel(1, func(int) { failingTask(5) }) },
				"in chunks": func() { Chunks(10*chunk, func(lo, hi int) { failingTask(lo / chunk) }) },
			} {
				p, ok := catch(call).(*TaskPanic)
				if !ok {
					t.Errorf("%d processors, %s: no *TaskPanic", procs, name)
					continue
				}
				if !errors.Is(p, errBroken) {
					t.Errorf("%d processors, %s: carries %v", procs, name, p.Value)
				}
				if !strings.Contains(string(p.Stack), "failingTask") || !strings.Contains(p.Error(), "broken") {
					t.Errorf("%d processors, %s: the stack does not show the task:\n%s", procs, name, p.Stack)
				}
				var ran atomic.Int32
				Parallel(50, func(int) { ran.Add(1) })
				if ran.Load() != 50 || pool.busy.Load() {
					t.Fatalf("%d processors, %s: the pool is broken afterwards", procs, name)
				}
			}
		})
	}
	if p, ok := catch(func() { Parallel(3, func(int) { panic("text") }) }).(*TaskPanic); !ok || p.Unwrap() != nil {
		t.Error("a panic that is no error has something to unwrap")
	}
}

// TestParallelPanicStops: after a panic no further tasks are handed out.
func TestParallelPanicStops(t *testing.T) {
	var ran atomic.Int32
	catch(func() {
		Parallel(1_000_000, func(i int) {
			ran.Add(1)
			panic("stop")
		})
	})
	if n := ran.Load(); int(n) > runtime.GOMAXPROCS(0) {
		t.Errorf("%d tasks ran", n)
	}
}

// TestParallelCallersPanic: several goroutines call at a time, one of them with
// a task that fails: its panic reaches it alone.
func TestParallelCallersPanic(t *testing.T) {
	withProcs(3, func() {
		var wg sync.WaitGroup
		for g := range 6 {
			wg.Go(func() {
				for round := range 200 {
					out := make([]int, 1+(g*31+round)%40)
					v := catch(func() {
						Parallel(len(out), func(i int) {
							out[i] = g*1000 + i
							if g == 5 && i == 3 {
								panic(g)
							}
						})
					})
					if p, _ := v.(*TaskPanic); (p != nil) != (g == 5 && len(out) > 3) {
						t.Errorf("caller %d with %d tasks: panic %v", g, len(out), v)
					} else if p == nil {
						for i, w := range out {
							if w != g*1000+i {
								t.Errorf("caller %d: task %d gives %d", g, i, w)
							}
						}
					}
				}
			})
		}
		wg.Wait()
	})
}

// TestParallelProcs: as many tasks run at a time as GOMAXPROCS says, up and
// down, and panics cost no goroutine.
func TestParallelProcs(t *testing.T) {
	peak := func() int64 {
		var now, most atomic.Int64
		Parallel(64, func(int) {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(200 * time.Microsecond)
			now.Add(-1)
		})
		return most.Load()
	}
	for _, procs := range []int{4, 1, 2, 3} {
		withProcs(procs, func() {
			if got := peak(); got != int64(procs) {
				t.Errorf("%d tasks ran at a time with GOMAXPROCS=%d", got, procs)
			}
		})
	}
	before := runtime.NumGoroutine()
	withProcs(4, func() {
		for range 300 {
			catch(func() { Parallel(16, failingTask) })
		}
	})
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before and %d after", before, after)
	}
}

func TestChunksRows(t *testing.T) {
	for _, n := range []int{0, 1, chunk - 1, chunk, chunk + 1, 3*chunk + 5} {
		seen := make([]int8, n)
		Chunks(n, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				seen[i]++
			}
		})
		for i, s := range seen {
			if s != 1 {
				t.Fatalf("Chunks(%d): %d was called %d times", n, i, s)
			}
		}
	}
	for _, s := range [][2]int{{0, 5}, {5, 0}, {1, 1}, {100, 1 << 20}, {40000, 1}, {300, 70}} {
		seen := make([]int8, s[0])
		Rows(s[0], s[1], func(lo, hi int) {
			for i := lo; i < hi; i++ {
				seen[i]++
			}
		})
		for i, c := range seen {
			if c != 1 {
				t.Fatalf("Rows%v: row %d was called %d times", s, i, c)
			}
		}
	}
}

const unit = 0x1p-24 // the round-off u of float32

// uniform returns n values in [lo, hi).
func uniform(r *rand.Rand, n int, lo, hi float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(lo + (hi-lo)*r.Float64())
	}
	return x
}

// boundedBy compares with a float64 model; bound is in units of u, under is not.
func boundedBy(t *testing.T, kernel, level, what string, got []float32, want, bound []float64, under float64) {
	t.Helper()
	for i, v := range got {
		tol := classBound(want[i], unit*bound[i]+under)
		observe(kernel, level, float64(v), want[i], tol, func() string { return fmt.Sprintf("%s[%d]", what, i) })
		if !within(v, want[i], tol) {
			t.Errorf("%s, %s %s: element %d of %d is %v, want %v ± %v", kernel, level, what, i, len(got), v, want[i], tol)
			return
		}
	}
}

// sameBits runs f with 1, 2 and 3 processors; its results must agree bit by bit.
func sameBits(t *testing.T, what string, f func() [][]float32) [][]float32 {
	t.Helper()
	var first [][]float32
	for procs := 1; procs <= 3; procs++ {
		withProcs(procs, func() {
			got := f()
			if first == nil {
				first = got
			}
			for k := range got {
				for i, v := range got[k] {
					if math.Float32bits(v) != math.Float32bits(first[k][i]) {
						t.Errorf("%s: result %d, element %d is %v with %d processors, %v with 1", what, k, i, v, procs, first[k][i])
						return
					}
				}
			}
		})
	}
	return first
}

// TestReduce covers ReduceSum and ReduceMax: shapes with one task and with many,
// values of both signs and equal ones that a running sum rounds always down.
func TestReduce(t *testing.T) {
	const biased = 1 + 0x1p-12 - 0x1p-20 // loses 2⁻¹² a time to sums from 4096 to 8192
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range usable() {
		for _, c := range [][3]int{{1, 1, 1}, {3, 0, 1}, {3, 0, 4}, {0, 3, 2}, {1, 70000, 1}, {5, 1000, 1}, {70000, 3, 1}, {1, 700, 96},
			{4, 33, 17}, {1, 20000, 2}, {2, 100, 300}, {1, 9, 40000}, {3, 5, 7}} {
			outer, n, inner := c[0], c[1], c[2]
			for _, low := range []float64{-1, biased} {
				x := uniform(r, outer*n*inner, low, max(low, 1))
				name := fmt.Sprintf("%s %v from %v", s.Name, c, low)
				got := sameBits(t, name, func() [][]float32 {
					sum, top := make([]float32, outer*inner), make([]float32, outer*inner)
					ReduceSum(s, sum, x, outer, n, inner)
					ReduceMax(s, top, x, outer, n, inner)
					return [][]float32{sum, top}
				})
				b := reduceBound // one row, wide rows, and between
				slack := float64(n)/b[0] + b[1]
				switch wide := float64(n) + b[2]; {
				case float64(inner) >= b[3]:
					slack = wide
				case inner > 1:
					slack = min(wide, max(float64(n)/b[4], b[5]/float64(inner))+b[6])
				}
				sum, bound, top := make([]float64, outer*inner), make([]float64, outer*inner), make([]float64, outer*inner)
				for o := range outer {
					for i := range inner {
						at := o*inner + i
						top[at] = math.Inf(-1)
						for j := range n {
							v := float64(x[(o*n+j)*inner+i])
							sum[at] += v
							bound[at] += slack * math.Abs(v)
							top[at] = math.Max(top[at], v)
						}
					}
				}
				boundedBy(t, "ReduceSum", s.Name, name, got[0], sum, bound, 0)
				boundedBy(t, "ReduceMax", s.Name, name, got[1], top, make([]float64, len(top)), 0)
			}
		}
		// NaN wins wherever it stands.
		for _, inner := range []int{1, 3} {
			for j := range 40 {
				x := uniform(r, 40*inner, -1, 1)
				x[j*inner] = float32(math.NaN())
				y := make([]float32, inner)
				if ReduceMax(s, y, x, 1, 40, inner); y[0] == y[0] {
					t.Fatalf("%s: NaN at %d of stride %d is lost", s.Name, j, inner)
				}
			}
		}
	}
}

func TestSumSquares(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, s := range usable() {
		for _, n := range []int{0, 1, 7, 1000, chunk, chunk + 1, 5*chunk + 3} {
			x := uniform(r, n, -3, 3)
			want := 0.0
			for _, v := range x {
				want += float64(v) * float64(v)
			}
			var first float64
			for procs := 1; procs <= 3; procs++ {
				withProcs(procs, func() {
					got := SumSquares(s, x)
					if procs == 1 {
						first = got
					}
					if got != first || math.Abs(got-want) > (squaresBound[0]/squaresBound[1]+squaresBound[2])*unit*want {
						t.Errorf("%s: %d elements, %d processors: %v, want %v", s.Name, n, procs, got, want)
					}
				})
			}
		}
	}
}

func TestAdamWParallel(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	step := &AdamWStep[float32]{Clip: .5, Beta1: .875, Beta2: .984375, Keep: 1 - 0x1p-10, Rate: 0x1p-9, RSqrtC2: 1.25, Eps: 0x1p-20}
	for _, s := range usable() {
		for _, n := range []int{0, 1, 100, 3*chunk + 7} {
			p, m, v, g := uniform(r, n, -1, 1), uniform(r, n, -1, 1), uniform(r, n, 0, 1), uniform(r, n, -1, 1)
			got := sameBits(t, s.Name, func() [][]float32 {
				a, b, c := append([]float32{}, p...), append([]float32{}, m...), append([]float32{}, v...)
				AdamW(s, a, b, c, g, step)
				return [][]float32{a, b, c}
			})
			want := widen([][]float32{p, m, v})
			tol := widen([][]float32{p, m, v})
			adamModel(step, want, tol, widen([][]float32{g})[0])
			for k := range got {
				for i, x := range got[k] {
					if !within(x, want[k][i], tol[k][i]) {
						t.Fatalf("%s n=%d result %d: element %d is %v, want %v ± %v", s.Name, n, k, i, x, want[k][i], tol[k][i])
					}
				}
			}
		}
	}
}

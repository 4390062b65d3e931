package kernels

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// procs sets GOMAXPROCS for one test.
func procs(t *testing.T, n int) {
	old := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(old) })
}

func TestParallelEachOnce(t *testing.T) {
	for _, p := range []int{1, 2, 5} {
		procs(t, p)
		for _, n := range []int{0, 1, 2, 7, 1000} {
			count := make([]atomic.Int32, n)
			Parallel(n, func(i int) { count[i].Add(1) })
			for i := range count {
				if c := count[i].Load(); c != 1 {
					t.Fatalf("GOMAXPROCS=%d n=%d: task %d ran %d times", p, n, i, c)
				}
			}
		}
	}
}

func TestParallelPanic(t *testing.T) {
	for _, p := range []int{1, 4} {
		procs(t, p)
		for range 20 {
			err := func() (err error) {
				defer func() { err, _ = recover().(error) }()
				Parallel(100, func(i int) {
					if i == 7 {
						panic(io.ErrUnexpectedEOF)
					}
				})
				return nil
			}()
			var tp *TaskPanic
			if !errors.As(err, &tp) || !errors.Is(err, io.ErrUnexpectedEOF) || len(tp.Stack) == 0 {
				t.Fatalf("GOMAXPROCS=%d: the caller got %v", p, err)
			}
		}
		// And the workers are still there.
		var sum atomic.Int64
		Parallel(50, func(i int) { sum.Add(int64(i)) })
		if sum.Load() != 49*50/2 {
			t.Fatalf("GOMAXPROCS=%d: after a panic the sum is %d", p, sum.Load())
		}
	}
}

func TestParallelNested(t *testing.T) {
	procs(t, 4)
	var sum atomic.Int64
	Parallel(10, func(i int) {
		Parallel(10, func(j int) { sum.Add(int64(10*i + j)) })
	})
	if sum.Load() != 99*100/2 {
		t.Errorf("nested sum is %d", sum.Load())
	}
	err := func() (err error) {
		defer func() { err, _ = recover().(error) }()
		Parallel(4, func(int) { Parallel(4, func(int) { panic(io.EOF) }) })
		return nil
	}()
	var inner *TaskPanic
	if tp, ok := err.(*TaskPanic); !ok || tp.Value != io.EOF {
		t.Errorf("nested panic arrives as %v (%v)", err, errors.As(err, &inner))
	}
}

// TestParallelCallers: callers from many goroutines neither mix nor wait for
// ever.
func TestParallelCallers(t *testing.T) {
	procs(t, 3)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 200 {
				var sum atomic.Int64
				Parallel(20, func(i int) { sum.Add(int64(i)) })
				if sum.Load() != 190 {
					t.Errorf("sum is %d", sum.Load())
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestParallelHonoursGOMAXPROCS(t *testing.T) {
	for _, p := range []int{1, 2, 3} {
		procs(t, p)
		var now, most atomic.Int32
		Parallel(50, func(int) {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(100 * time.Microsecond)
			now.Add(-1)
		})
		if m := int(most.Load()); m > p {
			t.Errorf("GOMAXPROCS=%d: %d tasks ran at a time", p, m)
		}
	}
}

// TestParallelKeepsItsWorkers: the number of goroutines does not grow with the
// number of calls.
func TestParallelKeepsItsWorkers(t *testing.T) {
	procs(t, 4)
	Parallel(100, func(int) {})
	before := runtime.NumGoroutine()
	for range 1000 {
		Parallel(8, func(int) {})
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before, %d after 1000 calls", before, after)
	}
}

package kernels

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Parallel calls task(i) once for every i < n and returns when all are done.
// Up to GOMAXPROCS calls run at a time, on the caller and on persistent
// workers; which worker takes which i is not fixed, so tasks must write apart
// from each other and leave every reduction to the caller. A panic in a task
// stops the hand-out of further tasks and reaches the caller as a *TaskPanic.
// Tasks may call Parallel: the inner call then runs on the caller alone.
func Parallel(n int, task func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 || !pool.busy.CompareAndSwap(false, true) {
		serial(n, task)
		return
	}
	defer pool.busy.Store(false)
	pool.run(workers, n, task)
}

// serial runs the tasks on the caller. The panic is wrapped here too, so that
// what a caller sees does not depend on GOMAXPROCS.
func serial(n int, task func(i int)) {
	defer func() {
		if v := recover(); v != nil {
			panic(taskPanic(v))
		}
	}()
	for i := range n {
		task(i)
	}
}

// taskPanic wraps what a task panicked with; that of a nested call is wrapped
// already.
func taskPanic(v any) *TaskPanic {
	if p, nested := v.(*TaskPanic); nested {
		return p
	}
	return &TaskPanic{Value: v, Stack: debug.Stack()}
}

// TaskPanic carries a panic from a worker to the caller of Parallel.
type TaskPanic struct {
	Value any
	Stack []byte // of the worker
}

func (p *TaskPanic) Error() string {
	return fmt.Sprintf("kernels: panic in a parallel task: %v\n%s", p.Value, p.Stack)
}

// Unwrap gives the panic's value where it is an error.
func (p *TaskPanic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// One job runs at a time: the kernels below split a whole op over all cores, so
// a second level of parallelism would only compete for them.
var pool workers

type workers struct {
	busy  atomic.Bool // held by the caller that owns the workers
	size  int         // workers started so far; guarded by busy
	job   job
	start []chan struct{} // one per worker
	done  sync.WaitGroup
}

type job struct {
	next atomic.Int64
	n    int
	task func(i int)
	bad  atomic.Pointer[TaskPanic]
}

func (w *workers) run(count, n int, task func(i int)) {
	for w.size < count-1 { // the caller is the last worker
		c := make(chan struct{}, 1)
		w.start = append(w.start, c)
		go w.loop(c)
		w.size++
	}
	w.job.next.Store(0)
	w.job.n, w.job.task = n, task
	w.job.bad.Store(nil)
	w.done.Add(count - 1)
	for _, c := range w.start[:count-1] {
		c <- struct{}{}
	}
	w.job.work()
	w.done.Wait()
	w.job.task = nil // keep nothing alive between jobs
	if p := w.job.bad.Load(); p != nil {
		panic(p)
	}
}

func (w *workers) loop(start chan struct{}) {
	for range start {
		w.job.work()
		w.done.Done()
	}
}

func (j *job) work() {
	defer func() {
		if v := recover(); v != nil {
			j.bad.CompareAndSwap(nil, taskPanic(v))
			j.next.Store(int64(j.n))
		}
	}()
	for {
		i := int(j.next.Add(1)) - 1
		if i >= j.n {
			return
		}
		j.task(i)
	}
}

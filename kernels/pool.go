package kernels

import (
	"fmt"
	"runtime"
	"runtime/debug"
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

// workers hands jobs to goroutines. A training step of a small model makes some
// thousand jobs of 20 to 200 µs, so the hand-over decides its speed: a worker
// that has finished watches for the next job for a while before it parks, and a
// job ends without waiting for workers that came too late to take a task (their
// core may be busy with something else).
type workers struct {
	busy atomic.Bool // held by the caller that owns the workers
	all  []*worker   // started so far; guarded by busy
	job  job         // written while no worker is in it
	// state is the job's number (32 bits), whether it still takes workers (1),
	// how many may join (15), and how many are in it (16).
	state   atomic.Uint64
	waiting atomic.Bool   // the owner is parked until the last worker leaves
	left    chan struct{} // wakes the owner
}

const (
	activeMask  = 1<<16 - 1
	limitShift  = 16
	limitMask   = 1<<15 - 1
	openBit     = 1 << 31
	numberShift = 32

	// A goroutine that waits reads the state glance times, some microseconds, then
	// lets others run, and parks after so many looks: half a millisecond, longer
	// than the serial work between the ops of a step. To wake a parked one takes
	// tens of microseconds, as long as many a job.
	glance = 10_000
	looks  = 100
)

type worker struct {
	parked atomic.Bool
	wake   chan struct{}
}

type job struct {
	next atomic.Int64
	n    int
	task func(i int)
	bad  atomic.Pointer[TaskPanic]
}

func (w *workers) run(count, n int, task func(i int)) {
	if w.left == nil {
		w.left = make(chan struct{}, 1)
	}
	helpers := min(count-1, limitMask) // the caller is the last worker
	for len(w.all) < helpers {
		k := &worker{wake: make(chan struct{}, 1)}
		go w.loop(k, len(w.all), w.state.Load()>>numberShift)
		w.all = append(w.all, k)
	}
	j := &w.job
	j.next.Store(0)
	j.n, j.task = n, task
	j.bad.Store(nil)
	number := w.state.Load()>>numberShift + 1
	w.state.Store(number<<numberShift | openBit | uint64(helpers)<<limitShift)
	for _, k := range w.all[:helpers] {
		if k.parked.CompareAndSwap(true, false) {
			k.wake <- struct{}{}
		}
	}
	func() {
		defer w.close() // even if a task ends its goroutine, as t.FailNow does
		j.work()
	}()
	j.task = nil // keep nothing alive between jobs
	if p := j.bad.Load(); p != nil {
		panic(p)
	}
}

// close lets no further worker into the job and waits for those in it.
func (w *workers) close() {
	for {
		s := w.state.Load()
		if w.state.CompareAndSwap(s, s&^openBit) {
			break
		}
	}
	for range looks {
		for range glance {
			if w.state.Load()&activeMask == 0 {
				return
			}
		}
		runtime.Gosched()
	}
	w.waiting.Store(true)
	if w.state.Load()&activeMask == 0 && w.waiting.CompareAndSwap(true, false) {
		return
	}
	<-w.left
}

// loop takes part in every job that allows a worker of its index.
func (w *workers) loop(k *worker, index int, seen uint64) {
	patience := looks
	for {
		seen = w.await(k, seen, patience)
		patience = looks
		if w.join(seen, index) {
			w.takePart()
		} else if index >= int(w.state.Load()>>limitShift&limitMask) {
			patience = 0 // GOMAXPROCS was lowered: not wanted for now
		}
	}
}

// takePart works on the job and leaves it.
func (w *workers) takePart() {
	defer func() {
		s := w.state.Add(^uint64(0)) // one less
		if s&openBit == 0 && s&activeMask == 0 && w.waiting.CompareAndSwap(true, false) {
			w.left <- struct{}{}
		}
	}()
	if f := onJoin.Load(); f != nil {
		(*f)()
	}
	w.job.work()
}

// onJoin is what OnJoin set.
var onJoin atomic.Pointer[func()]

// OnJoin makes every worker call f when it joins a call of Parallel, beside the
// caller: a profiler labels the worker there. There is one f; nil takes it away.
func OnJoin(f func()) {
	if f == nil {
		onJoin.Store(nil)
		return
	}
	onJoin.Store(&f)
}

// await returns the number of a job other than the one seen last; it parks after
// so many looks.
func (w *workers) await(k *worker, seen uint64, patience int) uint64 {
	for {
		if number := w.state.Load() >> numberShift; number != seen {
			return number
		}
		for range patience {
			for range glance {
				if number := w.state.Load() >> numberShift; number != seen {
					return number
				}
			}
			runtime.Gosched()
		}
		k.parked.Store(true)
		if w.state.Load()>>numberShift != seen && k.parked.CompareAndSwap(true, false) {
			continue
		}
		<-k.wake
	}
}

// join enters the job of that number if it is still open to this worker.
func (w *workers) join(number uint64, index int) bool {
	for {
		s := w.state.Load()
		if s>>numberShift != number || s&openBit == 0 || index >= int(s>>limitShift&limitMask) {
			return false
		}
		if w.state.CompareAndSwap(s, s+1) {
			return true
		}
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

//go:build opengl

package opengl

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"
)

// Context is a GL context with its buffers and programs. Methods may be called
// from any goroutine; what they ask for happens in the order of the calls.
//
// One goroutine, locked to its OS thread, makes every GL call: a call on any
// other thread would fail silently. It takes the whole queue at a time, so that
// the hop between goroutines (15-45 µs) is paid per batch and not per kernel.
type Context struct {
	info  Info
	debug bool

	mu       sync.Mutex
	work     sync.Cond // the queue has commands, or the context is closing
	room     sync.Cond // the queue was taken
	queue    []command
	closing  bool
	failed   error // the first error of the driver; nothing runs after it
	programs map[string]*program
	pool     map[int][]uint32 // freed GL buffers by their length
	done     chan struct{}    // closed when the owner has ended

	compile sync.Mutex // one compiler at a time
}

// queueLimit bounds how far the callers may run ahead of the driver.
const queueLimit = 1024

// ErrClosed is returned by every method after Close.
var ErrClosed = errors.New("opengl: the context is closed")

// Open makes a context on the driver that FUERTE_OPENGL asks for: hardware,
// software, or auto (the default): hardware where there is some. Errors: one
// line that says what is missing.
func Open() (*Context, error) { return OpenKind(os.Getenv("FUERTE_OPENGL")) }

// OpenKind is Open with the kind as an argument: "hardware", "software", "auto".
func OpenKind(kind string) (*Context, error) { return open(kind, "libEGL.so.1") }

func open(kind, library string) (*Context, error) {
	c := &Context{
		debug:    os.Getenv("FUERTE_OPENGL_DEBUG") == "1",
		programs: map[string]*program{},
		pool:     map[int][]uint32{},
		done:     make(chan struct{}),
	}
	c.work.L, c.room.L = &c.mu, &c.mu
	ready := make(chan error)
	go c.own(kind, library, ready)
	if err := <-ready; err != nil {
		return nil, err
	}
	return c, nil
}

// Info says which driver the context is on.
func (c *Context) Info() Info { return c.info }

// Close waits for the queue, and destroys the context with all its buffers.
func (c *Context) Close() error {
	c.mu.Lock()
	c.closing = true
	c.work.Signal()
	c.room.Broadcast()
	c.mu.Unlock()
	<-c.done
	return c.failed
}

// Sync waits until everything asked for so far is done, and returns the first
// error of the driver.
func (c *Context) Sync() error {
	return c.do("sync", func(gl *api) error { gl.Finish(); return nil })
}

// command is one entry of the queue: a dispatch, or a function with a waiting
// caller.
type command struct {
	name string
	do   func(*api) error
	done chan<- error

	prog   *program
	groups [3]uint32
	ids    [maxBuffers]uint32
	nids   int
	words  [maxWords]word
	nwords int
}

// do runs f on the owner, after everything asked for before, and waits.
func (c *Context) do(name string, f func(*api) error) error {
	done := make(chan error, 1)
	c.mu.Lock()
	err := c.enqueue(command{name: name, do: f, done: done})
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return <-done
}

// enqueue appends to the queue; c.mu is held.
func (c *Context) enqueue(cmd command) error {
	for len(c.queue) >= queueLimit && !c.closing {
		c.room.Wait()
	}
	switch {
	case c.closing:
		return ErrClosed
	case c.failed != nil:
		return c.failed
	}
	c.queue = append(c.queue, cmd)
	c.work.Signal()
	return nil
}

// own is the owner goroutine. Its thread is never unlocked, so that it ends
// with the goroutine and no other goroutine meets a thread with a GL context.
func (c *Context) own(kind, library string, ready chan<- error) {
	runtime.LockOSThread()
	defer close(c.done)
	s, err := openSession(kind, library)
	if err != nil {
		ready <- err
		return
	}
	c.info = s.info
	ready <- nil
	var batch []command
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && !c.closing {
			c.work.Wait()
		}
		batch, c.queue = c.queue, batch[:0]
		c.room.Broadcast()
		c.mu.Unlock()
		if len(batch) == 0 {
			break
		}
		c.runBatch(s.gl, batch)
		clear(batch)
	}
	s.leave() // frees buffers and programs too
}

// runBatch runs commands in order. Dispatches are checked together, before the
// next function and at the end.
func (c *Context) runBatch(gl *api, batch []command) {
	first := 0 // the first dispatch not yet checked
	for i := range batch {
		cmd := &batch[i]
		if cmd.do == nil {
			if c.failed == nil {
				cmd.run(gl)
			}
			continue
		}
		c.check(gl, batch[first:i])
		first = i + 1
		err := c.failed
		if err == nil {
			if err = cmd.do(gl); err == nil {
				err = glError(gl, cmd.name)
			}
		}
		cmd.done <- err
	}
	c.check(gl, batch[first:])
	gl.Flush()
}

// check lays an error to the dispatches since the last check. It is final: what
// their outputs hold now is unknown.
func (c *Context) check(gl *api, ran []command) {
	if len(ran) == 0 || c.failed != nil {
		return
	}
	what := ran[0].name
	if len(ran) > 1 {
		what = fmt.Sprintf("%s … %s (%d kernels; FUERTE_OPENGL_DEBUG=1 tells which)", what, ran[len(ran)-1].name, len(ran))
	}
	if err := glError(gl, what); err != nil {
		c.mu.Lock()
		c.failed = err
		c.mu.Unlock()
	}
}

func glError(gl *api, what string) error {
	if code := drain(gl); code != 0 {
		return fmt.Errorf("opengl: %s: %s", what, errorName(code))
	}
	return nil
}

// run makes the GL calls of one dispatch. The barrier after it lets the next
// dispatch, or a transfer, see what it wrote.
func (cmd *command) run(gl *api) {
	p := cmd.prog
	gl.UseProgram(p.id)
	for i, id := range cmd.ids[:cmd.nids] {
		gl.BindBufferBase(glShaderStorageBuffer, uint32(i), id)
	}
	for i := range cmd.words[:cmd.nwords] {
		w := &cmd.words[i]
		if p.known[i] && p.last[i] == *w {
			continue // uniforms stay with their program
		}
		if p.known[i], p.last[i] = true, *w; w.float {
			gl.Uniform1fv(int32(i), 1, (*float32)(unsafe.Pointer(&w.bits)))
		} else {
			gl.Uniform1iv(int32(i), 1, &w.bits)
		}
	}
	gl.DispatchCompute(cmd.groups[0], cmd.groups[1], cmd.groups[2])
	gl.MemoryBarrier(glShaderStorageBarrier | glBufferUpdateBarrier)
}

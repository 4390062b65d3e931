//go:build opengl

package opengl

import (
	"fmt"
	"runtime"
	"unsafe"
)

// Buffer is a run of 4-byte elements, float32 or int32, in memory of the
// device. It is a value: Slice gives sub-ranges of the same memory.
type Buffer struct {
	mem    *memory
	off, n int
}

// memory is one allocation. When the last Buffer on it is gone unfreed, the
// garbage collector hands its GL buffer back to the pool.
type memory struct {
	handle  handle
	freed   bool
	cleanup runtime.Cleanup
}

type handle struct {
	id  uint32
	len int // as allocated, at least what was asked for
}

// Len returns the number of elements.
func (b Buffer) Len() int { return b.n }

// Slice returns elements [lo, hi) of b. Panics if they are not within b.
func (b Buffer) Slice(lo, hi int) Buffer {
	if lo < 0 || hi < lo || hi > b.n {
		panic(fmt.Sprintf("opengl: slice [%d:%d] of a buffer of %d elements", lo, hi, b.n))
	}
	return Buffer{b.mem, b.off + lo, hi - lo}
}

// blockLength rounds n up to a power of two or the middle between two, at least
// 16, so that freed memory fits the next request: at most a third is slack.
func blockLength(n, limit int) int {
	size := 16
	for size < n {
		if size+size/2 >= n {
			size += size / 2
			break
		}
		size *= 2
	}
	return max(n, min(size, limit))
}

// Alloc returns a buffer of n elements with undefined content. Errors: more than
// Info().MaxElements; no memory, after freed buffers were given back.
func (c *Context) Alloc(n int) (Buffer, error) {
	if n < 0 || n > c.info.MaxElements {
		return Buffer{}, fmt.Errorf("opengl: alloc: %d elements, the driver allows %d in a buffer", n, c.info.MaxElements)
	}
	h := handle{len: blockLength(n, c.info.MaxElements)}
	c.mu.Lock()
	if list := c.pool[h.len]; len(list) > 0 {
		h.id, c.pool[h.len] = list[len(list)-1], list[:len(list)-1]
	}
	c.mu.Unlock()
	if h.id == 0 {
		err := c.do("alloc", func(gl *api) error { return h.create(gl) })
		if err != nil {
			// Buffers that nothing refers to any more may be all that is missing.
			runtime.GC()
			if c.Trim() == nil {
				err = c.do("alloc", func(gl *api) error { return h.create(gl) })
			}
		}
		if err != nil {
			return Buffer{}, err
		}
	}
	m := &memory{handle: h}
	m.cleanup = runtime.AddCleanup(m, c.recycle, h)
	return Buffer{m, 0, n}, nil
}

func (h *handle) create(gl *api) error {
	gl.GenBuffers(1, &h.id)
	gl.BindBuffer(glShaderStorageBuffer, h.id)
	gl.BufferData(glShaderStorageBuffer, h.len*4, nil, glDynamicCopy)
	if code := drain(gl); code != 0 {
		gl.DeleteBuffers(1, &h.id)
		h.id = 0
		return fmt.Errorf("opengl: alloc of %d elements: %s", h.len, errorName(code))
	}
	return nil
}

// recycle gives a GL buffer to the pool. Commands that use it are queued before
// any that a later owner will queue, so there is nothing to wait for.
func (c *Context) recycle(h handle) {
	c.mu.Lock()
	c.pool[h.len] = append(c.pool[h.len], h.id)
	c.mu.Unlock()
}

// Free gives the memory of b, and of every slice of it, back for later Allocs.
// Using it after that is an error; freeing it again does nothing.
func (c *Context) Free(b Buffer) {
	if b.mem == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.mem.freed {
		return
	}
	b.mem.freed = true
	b.mem.cleanup.Stop()
	c.pool[b.mem.handle.len] = append(c.pool[b.mem.handle.len], b.mem.handle.id)
}

// Trim returns freed memory to the driver.
func (c *Context) Trim() error {
	c.mu.Lock()
	var ids []uint32
	for _, list := range c.pool {
		ids = append(ids, list...)
	}
	clear(c.pool)
	c.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	return c.do("trim", func(gl *api) error {
		gl.DeleteBuffers(int32(len(ids)), &ids[0])
		return nil
	})
}

// Upload copies src to the first len(src) elements of b.
func (c *Context) Upload(b Buffer, src []float32) error { return upload(c, b, src) }

// UploadInt32 is Upload for int32.
func (c *Context) UploadInt32(b Buffer, src []int32) error { return upload(c, b, src) }

// Download copies the first len(dst) elements of b to dst, after everything
// asked for before.
func (c *Context) Download(dst []float32, b Buffer) error { return download(c, dst, b) }

// DownloadInt32 is Download for int32.
func (c *Context) DownloadInt32(dst []int32, b Buffer) error { return download(c, dst, b) }

func upload[E float32 | int32](c *Context, b Buffer, src []E) error {
	return c.transfer("upload", b, len(src), func(gl *api, at int) {
		gl.BufferSubData(glShaderStorageBuffer, at, len(src)*4, unsafe.Pointer(&src[0]))
	})
}

func download[E float32 | int32](c *Context, dst []E, b Buffer) error {
	return c.transfer("download", b, len(dst), func(gl *api, at int) {
		gl.GetBufferSubData(glShaderStorageBuffer, at, len(dst)*4, unsafe.Pointer(&dst[0]))
	})
}

func (c *Context) transfer(op string, b Buffer, n int, f func(gl *api, at int)) error {
	if n == 0 {
		return nil
	}
	if err := need(op, n, b); err != nil {
		return err
	}
	err := c.do(op, func(gl *api) error {
		gl.BindBuffer(glShaderStorageBuffer, b.mem.handle.id)
		f(gl, b.off*4)
		return nil
	})
	runtime.KeepAlive(b.mem)
	return err
}

// need returns an error unless every buffer has n elements.
func need(op string, n int, buffers ...Buffer) error {
	for _, b := range buffers {
		switch {
		case b.mem == nil:
			return fmt.Errorf("opengl: %s: an operand was not allocated", op)
		case b.mem.freed:
			return fmt.Errorf("opengl: %s: an operand was freed", op)
		case n < 0:
			return fmt.Errorf("opengl: %s: negative size %d", op, n)
		case b.n < n:
			return fmt.Errorf("opengl: %s: an operand has %d elements, %d are needed", op, b.n, n)
		}
	}
	return nil
}

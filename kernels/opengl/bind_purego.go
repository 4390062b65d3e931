//go:build opengl && !cgo

package opengl

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/ebitengine/purego"
)

const binding = "purego"

// bind fills every field F of the struct with the C function "gl"+F.
func bind(proc func(name string) uintptr) (*api, error) {
	gl := &api{}
	v := reflect.ValueOf(gl).Elem()
	for i := range v.NumField() {
		name := "gl" + v.Type().Field(i).Name
		p := proc(name)
		if p == 0 {
			return nil, fmt.Errorf("the driver lacks %s", name)
		}
		purego.RegisterFunc(v.Field(i).Addr().Interface(), p)
	}
	// The calls of every dispatch by hand: SyscallN takes 0.1 µs where
	// RegisterFunc's reflection takes 0.5 µs and two allocations.
	use, base, run, barrier := proc("glUseProgram"), proc("glBindBufferBase"), proc("glDispatchCompute"), proc("glMemoryBarrier")
	ints, floats := proc("glUniform1iv"), proc("glUniform1fv")
	gl.UseProgram = func(program uint32) { purego.SyscallN(use, uintptr(program)) }
	gl.BindBufferBase = func(target, index, buffer uint32) {
		purego.SyscallN(base, uintptr(target), uintptr(index), uintptr(buffer))
	}
	gl.DispatchCompute = func(x, y, z uint32) { purego.SyscallN(run, uintptr(x), uintptr(y), uintptr(z)) }
	gl.MemoryBarrier = func(bits uint32) { purego.SyscallN(barrier, uintptr(bits)) }
	gl.Uniform1iv = func(location, count int32, value *int32) {
		purego.SyscallN(ints, uintptr(location), uintptr(count), uintptr(unsafe.Pointer(value)))
	}
	gl.Uniform1fv = func(location, count int32, value *float32) {
		purego.SyscallN(floats, uintptr(location), uintptr(count), uintptr(unsafe.Pointer(value)))
	}
	return gl, nil
}

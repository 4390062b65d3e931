//go:build opengl

package opengl

import "unsafe"

// api holds the GL functions in use, under their names without "gl".
// bind_gogl.go or bind_purego.go fills it; the latter by reflection, so that
// every field must be the exact signature of its C function.
type api struct {
	AttachShader      func(program, shader uint32)
	BindBuffer        func(target, buffer uint32)
	BindBufferBase    func(target, index, buffer uint32)
	BufferData        func(target uint32, size int, data unsafe.Pointer, usage uint32)
	BufferSubData     func(target uint32, offset, size int, data unsafe.Pointer)
	CompileShader     func(shader uint32)
	CreateProgram     func() uint32
	CreateShader      func(kind uint32) uint32
	DeleteBuffers     func(n int32, buffers *uint32)
	DeleteProgram     func(program uint32)
	DeleteShader      func(shader uint32)
	DispatchCompute   func(x, y, z uint32)
	Finish            func()
	Flush             func()
	GenBuffers        func(n int32, buffers *uint32)
	GetBufferSubData  func(target uint32, offset, size int, data unsafe.Pointer)
	GetError          func() uint32
	GetInteger64v     func(name uint32, value *int64)
	GetProgramInfoLog func(program uint32, size int32, length *int32, log *uint8)
	GetProgramiv      func(program, name uint32, value *int32)
	GetShaderInfoLog  func(shader uint32, size int32, length *int32, log *uint8)
	GetShaderiv       func(shader, name uint32, value *int32)
	GetString         func(name uint32) *uint8
	LinkProgram       func(program uint32)
	MemoryBarrier     func(bits uint32)
	ShaderSource      func(shader uint32, count int32, text **uint8, length *int32)
	Uniform1fv        func(location, count int32, value *float32)
	Uniform1iv        func(location, count int32, value *int32)
	UseProgram        func(program uint32)
}

// Constants of GL, repeated here since go-gl gives none without cgo.
const (
	glOutOfMemory               = 0x0505
	glVendor                    = 0x1F00
	glRenderer                  = 0x1F01
	glVersion                   = 0x1F02
	glComputeShader             = 0x91B9
	glCompileStatus             = 0x8B81
	glLinkStatus                = 0x8B82
	glInfoLogLength             = 0x8B84
	glShaderStorageBuffer       = 0x90D2
	glDynamicCopy               = 0x88EA
	glMaxShaderStorageBlockSize = 0x90DE
	glBufferUpdateBarrier       = 0x0200
	glShaderStorageBarrier      = 0x2000
)

var glErrorNames = map[uint32]string{
	0x0500: "invalid enum", 0x0501: "invalid value", 0x0502: "invalid operation",
	glOutOfMemory: "out of memory", 0x0507: "context lost",
}

// cstring copies a C string.
func cstring(p unsafe.Pointer) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}

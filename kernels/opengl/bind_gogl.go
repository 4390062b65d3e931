//go:build opengl && cgo

package opengl

import (
	"unsafe"

	"github.com/go-gl/gl/v4.3-core/gl"
)

const binding = "go-gl"

// bind fills the struct from go-gl. v4.3-core is the lowest with compute
// shaders: a higher one would ask for functions that the context may lack.
func bind(proc func(name string) uintptr) (*api, error) {
	err := gl.InitWithProcAddrFunc(func(name string) unsafe.Pointer {
		p := proc(name)
		return *(*unsafe.Pointer)(unsafe.Pointer(&p))
	})
	if err != nil {
		return nil, err
	}
	return &api{
		AttachShader:      gl.AttachShader,
		BindBuffer:        gl.BindBuffer,
		BindBufferBase:    gl.BindBufferBase,
		BufferData:        gl.BufferData,
		BufferSubData:     gl.BufferSubData,
		CompileShader:     gl.CompileShader,
		CreateProgram:     gl.CreateProgram,
		CreateShader:      gl.CreateShader,
		DeleteBuffers:     gl.DeleteBuffers,
		DeleteProgram:     gl.DeleteProgram,
		DeleteShader:      gl.DeleteShader,
		DispatchCompute:   gl.DispatchCompute,
		Finish:            gl.Finish,
		Flush:             gl.Flush,
		GenBuffers:        gl.GenBuffers,
		GetBufferSubData:  gl.GetBufferSubData,
		GetError:          gl.GetError,
		GetInteger64v:     gl.GetInteger64v,
		GetProgramInfoLog: gl.GetProgramInfoLog,
		GetProgramiv:      gl.GetProgramiv,
		GetShaderInfoLog:  gl.GetShaderInfoLog,
		GetShaderiv:       gl.GetShaderiv,
		GetString:         gl.GetString,
		LinkProgram:       gl.LinkProgram,
		MemoryBarrier:     gl.MemoryBarrier,
		ShaderSource:      gl.ShaderSource,
		Uniform1fv:        gl.Uniform1fv,
		Uniform1iv:        gl.Uniform1iv,
		UseProgram:        gl.UseProgram,
	}, nil
}

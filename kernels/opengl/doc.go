// Package opengl runs Fuerte's kernels as OpenGL 4.3 compute shaders on a
// headless EGL context.
//
// It is compiled only with the build tag opengl: without the tag the package is
// empty, and a program that imports it stays static and free of cgo. With the
// tag, the GL functions come from go-gl/gl if cgo is on, and from the driver's
// library opened at run time (ebitengine/purego) if it is off. Both fill the
// same struct (api.go), so nothing else of the package knows which it is. EGL is
// asked of the system under its Linux name; on Windows the tag does not build.
//
//	context.go  Open, the goroutine that owns the GL context, its queue
//	egl.go      headless displays: which one is taken, and why
//	buffer.go   memory of the device
//	program.go  compiling, caching and dispatching shaders
//	*.comp      one shader per kernel or family; the wrapper has the same stem
//	common.glsl exp, log, tanh and group reductions, put before every shader
//
// A kernel is a method of *Context. It works like the function of the same name
// in package kernels, on Buffers instead of slices. It checks what keeps memory
// safe, puts its dispatches into a queue, and returns: an error that the driver
// reports later comes back from a later call, and at the latest from Sync or
// Download. FUERTE_OPENGL_DEBUG=1 makes every call wait and report its own.
//
// Results do not depend on timing: sums have a fixed order, and no kernel uses
// atomics.
//
// FUERTE_OPENGL chooses the driver: hardware, software (Mesa's llvmpipe, a tool
// to prove correctness), or auto, which is hardware where there is some.
package opengl

//go:build opengl && !cgo

package opengl

import "github.com/ebitengine/purego"

// openLibrary, symbol and call are all that EGL needs: its functions take
// nothing but integers and pointers.

func openLibrary(name string) (uintptr, error) {
	return purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_GLOBAL)
}

func symbol(lib uintptr, name string) uintptr {
	p, err := purego.Dlsym(lib, name)
	if err != nil {
		return 0
	}
	return p
}

// call calls f; pointers converted in the call's own argument list are kept
// alive and in place until it returns.
//
//go:uintptrescapes
func call(f uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(f, args...)
	return r
}

//go:build opengl && cgo

package opengl

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
static uintptr_t ffi_open(const char *name) { return (uintptr_t)dlopen(name, RTLD_NOW | RTLD_GLOBAL); }
static uintptr_t ffi_symbol(uintptr_t lib, const char *name) { return (uintptr_t)dlsym((void *)lib, name); }
static uintptr_t ffi_call(uintptr_t f, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e) {
	return ((uintptr_t(*)(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t))f)(a, b, c, d, e);
}
*/
import "C"

import (
	"errors"
	"unsafe"
)

// openLibrary, symbol and call are all that EGL needs: its functions take
// nothing but integers and pointers. EGL's own headers are not used, so that
// building asks for no more than go-gl does.

func openLibrary(name string) (uintptr, error) {
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	if lib := uintptr(C.ffi_open(s)); lib != 0 {
		return lib, nil
	}
	return 0, errors.New(C.GoString(C.dlerror()))
}

func symbol(lib uintptr, name string) uintptr {
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	return uintptr(C.ffi_symbol(C.uintptr_t(lib), s))
}

// call calls f with at most 5 arguments; pointers converted in the call's own
// argument list are kept alive and in place until it returns.
//
//go:uintptrescapes
func call(f uintptr, args ...uintptr) uintptr {
	var a [5]C.uintptr_t
	for i, v := range args {
		a[i] = C.uintptr_t(v)
	}
	return uintptr(C.ffi_call(C.uintptr_t(f), a[0], a[1], a[2], a[3], a[4]))
}

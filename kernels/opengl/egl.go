//go:build opengl

package opengl

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"
)

const (
	eglExtensions          = 0x3055
	eglNone                = 0x3038
	eglOpenGL              = 0x30A2 // the API
	eglOpenGLBit           = 0x0008
	eglPbufferBit          = 0x0001
	eglSurfaceType         = 0x3033
	eglRenderableType      = 0x3040
	eglWidth               = 0x3057
	eglHeight              = 0x3056
	eglMajor               = 0x3098
	eglMinor               = 0x30FB
	eglProfileMask         = 0x30FD
	eglCoreProfile         = 1
	eglPlatformDevice      = 0x313F
	eglPlatformSurfaceless = 0x31DD
)

// egl is one headless GL context. Its methods run on the thread that owns it.
type egl struct {
	lib                       uintptr
	functions                 map[string]uintptr
	display, context, surface uintptr
}

// place is somewhere a context may be made.
type place struct {
	name    string
	display func() uintptr
}

func newEGL(library string) (*egl, error) {
	lib, err := openLibrary(library)
	if err != nil {
		return nil, fmt.Errorf("opengl: no EGL on this machine (%v); install it and a driver, on Debian libegl1 and libgl1-mesa-dri", err)
	}
	return &egl{lib: lib, functions: map[string]uintptr{}}, nil
}

// proc returns the address of a GL or EGL function, or 0. It tells nothing about
// support: libglvnd gives an address for any name that begins with gl.
func (e *egl) proc(name string) uintptr {
	b := append([]byte(name), 0)
	return call(e.function("eglGetProcAddress"), uintptr(unsafe.Pointer(&b[0])))
}

func (e *egl) function(name string) uintptr {
	p, ok := e.functions[name]
	if !ok {
		if p = symbol(e.lib, name); p == 0 && name != "eglGetProcAddress" {
			p = e.proc(name)
		}
		e.functions[name] = p
	}
	return p
}

// fails reports whether an EGLBoolean, of which only 32 bits count, is false.
func fails(r uintptr) bool { return uint32(r) == 0 }

func (e *egl) err(what string) error {
	return fmt.Errorf("%s: EGL error %#x", what, uint32(call(e.function("eglGetError"))))
}

func (e *egl) text(display uintptr, name uintptr) string {
	return pointerString(call(e.function("eglQueryString"), display, name))
}

func pointerString(p uintptr) string { return cstring(*(*unsafe.Pointer)(unsafe.Pointer(&p))) }

// places lists where a context of the wanted kind may be had, best first: the
// EGL devices of that kind, then surfaceless, then the default display.
// Surfaceless comes second since libglvnd may answer it with Mesa's software
// driver on a machine whose hardware has another vendor's.
func (e *egl) places(software bool) []place {
	client := e.text(0, eglExtensions)
	platform := e.function("eglGetPlatformDisplayEXT")
	var out []place
	if platform != 0 && strings.Contains(client, "EGL_EXT_platform_device") {
		for i, d := range e.devices() {
			ext := pointerString(call(e.function("eglQueryDeviceStringEXT"), d, eglExtensions))
			if strings.Contains(ext, "EGL_MESA_device_software") == software {
				out = append(out, place{fmt.Sprintf("device %d", i), func() uintptr { return call(platform, eglPlatformDevice, d, 0) }})
			}
		}
	}
	if platform != 0 && strings.Contains(client, "EGL_MESA_platform_surfaceless") {
		out = append(out, place{"surfaceless", func() uintptr { return call(platform, eglPlatformSurfaceless, 0, 0) }})
	}
	return append(out, place{"default display", func() uintptr { return call(e.function("eglGetDisplay"), 0) }})
}

func (e *egl) devices() []uintptr {
	var list [32]uintptr
	var n int32
	query := e.function("eglQueryDevicesEXT")
	if query == 0 || fails(call(query, uintptr(len(list)), uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&n)))) {
		return nil
	}
	return list[:n]
}

// enter makes a GL 4.3 core context at p and makes it current on this thread.
func (e *egl) enter(p place) (err error) {
	defer func() {
		if err != nil {
			e.leave()
		}
	}()
	var major, minor int32
	display := p.display()
	if display == 0 {
		return e.err("display")
	}
	if fails(call(e.function("eglInitialize"), display, uintptr(unsafe.Pointer(&major)), uintptr(unsafe.Pointer(&minor)))) {
		return e.err("eglInitialize")
	}
	e.display = display
	if fails(call(e.function("eglBindAPI"), eglOpenGL)) {
		return e.err("eglBindAPI: no desktop OpenGL")
	}
	// A context without a configuration and without a surface where EGL allows
	// it, else one with a 1×1 pbuffer.
	ext := e.text(display, eglExtensions)
	pbuffer := !strings.Contains(ext, "EGL_KHR_surfaceless_context") || !strings.Contains(ext, "EGL_KHR_no_config_context")
	var config uintptr
	if pbuffer {
		var n int32
		want := [...]int32{eglSurfaceType, eglPbufferBit, eglRenderableType, eglOpenGLBit, eglNone}
		if fails(call(e.function("eglChooseConfig"), display, uintptr(unsafe.Pointer(&want[0])), uintptr(unsafe.Pointer(&config)), 1, uintptr(unsafe.Pointer(&n)))) || n == 0 {
			return e.err("eglChooseConfig: no pbuffer configuration with OpenGL")
		}
		size := [...]int32{eglWidth, 1, eglHeight, 1, eglNone}
		if e.surface = call(e.function("eglCreatePbufferSurface"), display, config, uintptr(unsafe.Pointer(&size[0]))); e.surface == 0 {
			return e.err("eglCreatePbufferSurface")
		}
	}
	want := [...]int32{eglMajor, 4, eglMinor, 3, eglProfileMask, eglCoreProfile, eglNone}
	if e.context = call(e.function("eglCreateContext"), display, config, 0, uintptr(unsafe.Pointer(&want[0]))); e.context == 0 {
		return e.err("eglCreateContext: no OpenGL 4.3")
	}
	if fails(call(e.function("eglMakeCurrent"), display, e.surface, e.surface, e.context)) {
		return e.err("eglMakeCurrent")
	}
	return nil
}

// leave destroys what enter made. The display is not terminated: EGL shares it
// among all contexts of the process.
func (e *egl) leave() {
	if e.display != 0 {
		call(e.function("eglMakeCurrent"), e.display, 0, 0, 0)
	}
	if e.context != 0 {
		call(e.function("eglDestroyContext"), e.display, e.context)
	}
	if e.surface != 0 {
		call(e.function("eglDestroySurface"), e.display, e.surface)
	}
	e.display, e.context, e.surface = 0, 0, 0
}

// session is an entered context with its functions.
type session struct {
	*egl
	gl   *api
	info Info
}

// openSession enters the first place that gives a context of the wanted kind.
func openSession(kind, library string) (*session, error) {
	var passes []bool // software?
	switch kind {
	case "", "auto":
		passes = []bool{false, true}
	case "hardware":
		passes = []bool{false}
	case "software":
		passes = []bool{true}
	default:
		return nil, fmt.Errorf("opengl: unknown driver kind %q; use hardware, software or auto", kind)
	}
	e, err := newEGL(library)
	if err != nil {
		return nil, err
	}
	var tried []string
	for _, software := range passes {
		for _, p := range e.places(software) {
			s, err := e.session(p, software)
			if err == nil {
				return s, nil
			}
			tried = append(tried, p.name+": "+err.Error())
		}
	}
	if kind == "" {
		kind = "auto"
	}
	return nil, fmt.Errorf("opengl: EGL is here, but no driver gives an OpenGL 4.3 context: install one, on Debian libgl1-mesa-dri (kind %s; tried %s)", kind, strings.Join(tried, "; "))
}

func (e *egl) session(p place, software bool) (*session, error) {
	if err := e.enter(p); err != nil {
		return nil, err
	}
	gl, err := bind(e.proc)
	if err == nil {
		s := &session{e, gl, readInfo(gl, p.name)}
		switch {
		case !atLeast43(s.info.Version):
			err = fmt.Errorf("the driver has version %q", s.info.Version)
		case s.info.Software != software && software:
			err = errors.New("it is a hardware driver: " + s.info.Renderer)
		case s.info.Software != software:
			err = errors.New("it is a software driver: " + s.info.Renderer)
		default:
			drain(gl) // errors are sticky: an old one would be laid to a later call
			return s, nil
		}
	}
	e.leave()
	return nil, err
}

// atLeast43 reads the number that begins GL_VERSION.
func atLeast43(version string) bool {
	var major, minor int
	n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor)
	return n == 2 && (major > 4 || major == 4 && minor >= 3)
}

// Info says which driver a context is on.
type Info struct {
	Vendor, Renderer, Version string
	Platform                  string // where EGL found it: "device 0", "surfaceless", "default display"
	Binding                   string // "go-gl" or "purego"
	Software                  bool   // the CPU does the work
	MaxElements               int    // the longest buffer
}

// String returns one line for people.
func (i Info) String() string {
	return fmt.Sprintf("%s, %s, OpenGL %s (%s, %s)", i.Renderer, i.Vendor, i.Version, i.Platform, i.Binding)
}

func readInfo(gl *api, platform string) Info {
	text := func(name uint32) string { return cstring(unsafe.Pointer(gl.GetString(name))) }
	i := Info{Vendor: text(glVendor), Renderer: text(glRenderer), Version: text(glVersion), Platform: platform, Binding: binding}
	r := strings.ToLower(i.Renderer)
	for _, name := range []string{"llvmpipe", "softpipe", "swrast", "software"} {
		i.Software = i.Software || strings.Contains(r, name)
	}
	var bytes int64
	gl.GetInteger64v(glMaxShaderStorageBlockSize, &bytes)
	// Shaders index with int, and sums of index and grid stride must not overflow.
	i.MaxElements = int(min(bytes/4, 1<<30))
	return i
}

// drain reads GL's sticky errors until there is none and returns the first.
// A lost context reports for ever, hence the limit.
func drain(gl *api) uint32 {
	first := gl.GetError()
	for n := 0; n < 16 && gl.GetError() != 0; n++ {
	}
	return first
}

func errorName(code uint32) string {
	if s, ok := glErrorNames[code]; ok {
		return s
	}
	return fmt.Sprintf("error %#x", code)
}

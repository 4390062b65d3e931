//go:build opengl

package opengl

import (
	_ "embed"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
)

const (
	maxBuffers = 8  // what GL 4.3 promises to a compute shader
	maxWords   = 48 // the longest argument list here, and some
	maxGroups  = 65535
)

//go:embed common.glsl
var commonSource string

// shader is the text of a program. Its defines and common.glsl go in after the
// first line, which must be the #version.
//
// Conventions of every shader: buffer k is bound at binding k whole, and the
// uniform int at location k is its offset in elements; the scalar arguments
// follow at the next locations, an array taking one for each entry.
type shader struct {
	name, source, defines string
}

var shaders []*shader // all of the package, for the test that validates them

func newShader(name, source, defines string) *shader {
	s := &shader{name, source, defines}
	shaders = append(shaders, s)
	return s
}

// text returns what the driver compiles. Line numbers in its log are those of
// the shader's file.
func (s *shader) text() string {
	version, body, _ := strings.Cut(s.source, "\n")
	return version + "\n" + s.defines + "\n" + commonSource + "\n#line 2\n" + body
}

// program is a linked shader and the uniforms it holds now; its owner is the
// context's goroutine.
type program struct {
	id    uint32
	last  [maxWords]word
	known [maxWords]bool
}

// program returns the compiled shader, from the cache if it was asked for
// before. Errors: the driver's compile log.
func (c *Context) program(s *shader) (*program, error) {
	c.mu.Lock()
	p := c.programs[s.name]
	c.mu.Unlock()
	if p != nil {
		return p, nil
	}
	c.compile.Lock()
	defer c.compile.Unlock()
	c.mu.Lock()
	p = c.programs[s.name]
	c.mu.Unlock()
	if p != nil {
		return p, nil
	}
	p = &program{}
	err := c.do("compile "+s.name, func(gl *api) (err error) {
		p.id, err = compile(gl, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.programs[s.name] = p
	c.mu.Unlock()
	return p, nil
}

func compile(gl *api, s *shader) (uint32, error) {
	sh := gl.CreateShader(glComputeShader)
	defer gl.DeleteShader(sh)
	text := append([]byte(s.text()), 0)
	line := &text[0]
	var pin runtime.Pinner
	pin.Pin(line)
	gl.ShaderSource(sh, 1, &line, nil)
	pin.Unpin()
	gl.CompileShader(sh)
	var ok, n int32
	if gl.GetShaderiv(sh, glCompileStatus, &ok); ok == 0 {
		gl.GetShaderiv(sh, glInfoLogLength, &n)
		return 0, fmt.Errorf("opengl: shader %s does not compile: %s", s.name, infoLog(gl.GetShaderInfoLog, sh, n))
	}
	p := gl.CreateProgram()
	gl.AttachShader(p, sh)
	gl.LinkProgram(p)
	if gl.GetProgramiv(p, glLinkStatus, &ok); ok == 0 {
		gl.GetProgramiv(p, glInfoLogLength, &n)
		err := fmt.Errorf("opengl: shader %s does not link: %s", s.name, infoLog(gl.GetProgramInfoLog, p, n))
		gl.DeleteProgram(p)
		return 0, err
	}
	return p, nil
}

func infoLog(get func(object uint32, size int32, length *int32, log *uint8), object uint32, size int32) string {
	log := make([]byte, size+1)
	var n int32
	get(object, size, &n, &log[0])
	return strings.TrimSpace(string(log[:n]))
}

// word is a scalar argument of a shader.
type word struct {
	bits  int32
	float bool
}

func integer(n int) word  { return word{int32(n), false} }
func real(x float32) word { return word{int32(math.Float32bits(x)), true} }
func boolean(b bool) word {
	if b {
		return word{1, false}
	}
	return word{}
}

// integers appends each n as an argument.
func integers(list []word, n ...int) []word {
	for _, v := range n {
		list = append(list, integer(v))
	}
	return list
}

// groups returns how many groups of width lanes cover n, at most what every
// driver allows: shaders loop over the rest.
func groups(n, width int) int { return min((n+width-1)/width, maxGroups) }

// dispatch queues a run of s over x·y·z groups. bufs are bindings 0, 1, …; args
// are the scalars that follow their offsets.
func (c *Context) dispatch(s *shader, x, y, z int, bufs []Buffer, args ...word) error {
	p, err := c.program(s)
	if err != nil {
		return err
	}
	if len(bufs) > maxBuffers || len(bufs)+len(args) > maxWords {
		return fmt.Errorf("opengl: %s: too many arguments", s.name)
	}
	if x > maxGroups || y > maxGroups || z > maxGroups {
		return fmt.Errorf("opengl: %s: %d×%d×%d groups, drivers allow %d an axis", s.name, x, y, z, maxGroups)
	}
	cmd := command{name: s.name, prog: p, groups: [3]uint32{uint32(x), uint32(y), uint32(z)}, nids: len(bufs), nwords: len(bufs) + len(args)}
	copy(cmd.words[len(bufs):], args)
	c.mu.Lock()
	for i, b := range bufs {
		if b.mem == nil || b.mem.freed {
			c.mu.Unlock()
			return errors.New("opengl: " + s.name + ": an operand was freed or never allocated")
		}
		cmd.ids[i], cmd.words[i] = b.mem.handle.id, integer(b.off)
	}
	err = c.enqueue(cmd)
	c.mu.Unlock()
	runtime.KeepAlive(bufs) // else the collector may hand a buffer on before its command is queued
	if err == nil && c.debug {
		return c.Sync()
	}
	return err
}

//go:build opengl

package opengl

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

var shared struct {
	sync.Once
	c   *Context
	err error
}

// testContext opens one context for all tests. Without a driver they are
// skipped, but fail if FUERTE_OPENGL says that there is one.
func testContext(t *testing.T) *Context {
	t.Helper()
	shared.Do(func() {
		if shared.c, shared.err = Open(); shared.err == nil {
			fmt.Println("opengl tests run on", shared.c.Info())
		}
	})
	if shared.err != nil {
		if os.Getenv("FUERTE_OPENGL") != "" {
			t.Fatal(shared.err)
		}
		t.Skip("NOT RUN: ", shared.err)
	}
	return shared.c
}

// band is the length of the NaN bands around every operand; odd, so that
// payloads are not aligned.
const band = 67

// arena holds the operands of one run of a kernel: each in the middle of a
// buffer of NaN. A read past a payload poisons the result, a write past it is
// found by finish.
type arena struct {
	t   *testing.T
	c   *Context
	r   *rand.Rand
	all []*operand
}

type operand struct {
	buf    Buffer // with the bands
	before []int32
	output bool
}

const poison = 0x7fc0dead // a NaN that no kernel makes

func (a *arena) place(bits []int32, output bool) Buffer {
	a.t.Helper()
	all := make([]int32, len(bits)+2*band)
	for i := range all {
		all[i] = poison
	}
	copy(all[band:], bits)
	b, err := a.c.Alloc(len(all))
	a.ok(err)
	a.ok(a.c.UploadInt32(b, all))
	a.all = append(a.all, &operand{b, all, output})
	return b.Slice(band, band+len(bits))
}

func (a *arena) ok(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func bitsOf(x []float32) []int32 {
	b := make([]int32, len(x))
	for i, v := range x {
		b[i] = int32(math.Float32bits(v))
	}
	return b
}

// in places an input: finish checks that it was not written.
func (a *arena) in(x []float32) Buffer { return a.place(bitsOf(x), false) }

func (a *arena) ints(x []int32) Buffer { return a.place(x, false) }

// inout places an operand that the kernel changes.
func (a *arena) inout(x []float32) Buffer { return a.place(bitsOf(x), true) }

// out places a result of n elements, NaN until written.
func (a *arena) out(n int) Buffer {
	x := make([]int32, n)
	for i := range x {
		x[i] = poison
	}
	return a.place(x, true)
}

// normal returns n normal numbers.
func (a *arena) normal(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(a.r.NormFloat64())
	}
	return x
}

// uniform returns n numbers from [lo, hi).
func (a *arena) uniform(n int, lo, hi float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(lo + (hi-lo)*a.r.Float64())
	}
	return x
}

// want compares a result with float64 values under a bound per element.
func (a *arena) want(name string, b Buffer, want []float64, bound func(i int) float64) {
	a.t.Helper()
	got := make([]float32, len(want))
	a.ok(a.c.Download(got, b))
	bad := 0
	for i, w := range want {
		g := float64(got[i])
		switch {
		case math.IsNaN(w) && math.IsNaN(g), g == w:
			continue
		case math.Abs(g-w) <= bound(i)+1e-37:
			continue
		}
		if bad++; bad <= 3 {
			a.t.Errorf("%s[%d of %d] = %g, want %g ± %g", name, i, len(want), g, w, bound(i))
		}
	}
	if bad > 3 {
		a.t.Errorf("%s: %d of %d elements are wrong", name, bad, len(want))
	}
}

// finish checks the bands and the inputs, and returns the bits of the outputs.
func (a *arena) finish() (bits []int32) {
	a.t.Helper()
	for k, o := range a.all {
		now := make([]int32, len(o.before))
		a.ok(a.c.DownloadInt32(now, o.buf))
		for i := range now {
			inside := i >= band && i < len(now)-band
			if now[i] != o.before[i] && !(o.output && inside) {
				a.t.Fatalf("operand %d: element %d of %d was written", k, i-band, len(now)-2*band)
			}
		}
		if o.output {
			bits = append(bits, now...)
		}
		a.c.Free(o.buf)
	}
	return bits
}

// twice runs a case two times and wants the same bits.
func twice(t *testing.T, name string, run func(a *arena)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		c := testContext(t)
		var first []int32
		for pass := range 2 {
			a := &arena{t: t, c: c, r: rand.New(rand.NewPCG(1, uint64(len(name))))}
			run(a)
			bits := a.finish()
			if pass == 0 {
				first = bits
				continue
			}
			for i := range bits {
				if bits[i] != first[i] {
					t.Fatalf("two runs differ at %d: %#x, %#x", i, first[i], bits[i])
				}
			}
		}
	})
}

func view(b Buffer, steps []int) View { return View{Buf: b, Steps: steps} }

const (
	unit = 1.0 / (1 << 24) // the unit round-off
	ulp  = 2 * unit
)

// relative is a bound of k ULP of the wanted value.
func relative(k float64, want []float64) func(int) float64 {
	return func(i int) float64 { return k * ulp * math.Abs(want[i]) }
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

func TestInfo(t *testing.T) {
	i := testContext(t).Info()
	if i.Vendor == "" || i.Renderer == "" || !atLeast43(i.Version) || i.MaxElements < 1<<22 {
		t.Errorf("%+v", i)
	}
}

func TestBadShader(t *testing.T) {
	c := testContext(t)
	bad := &shader{name: "bad", source: "#version 430\nlayout(local_size_x = 1) in;\nvoid main() { undeclared_thing = 1; }\n"}
	for range 2 {
		_, err := c.program(bad)
		if err == nil || !strings.Contains(err.Error(), "shader bad does not compile") || !strings.Contains(err.Error(), "undeclared_thing") {
			t.Fatalf("error %v, want the driver's log", err)
		}
		if !strings.Contains(err.Error(), "3") {
			t.Errorf("the log does not name line 3: %v", err)
		}
	}
	unlinked := &shader{name: "large", source: "#version 430\nlayout(local_size_x = 1) in;\nlayout(std430, binding = 0) buffer Y { float y[]; };\n" +
		"shared float big[1 << 20];\nvoid main() { big[int(y[0])] = 1; barrier(); y[0] = big[int(y[1])]; }\n"}
	if _, err := c.program(unlinked); err == nil {
		t.Error("a shader with 4 MiB of shared memory was accepted")
	}
	y, err := c.Alloc(1) // the context is none the worse
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Fill(y, 3); err != nil {
		t.Fatal(err)
	}
	var got [1]float32
	if err := c.Download(got[:], y); err != nil || got[0] != 3 {
		t.Fatal(got, err)
	}
	c.Free(y)
}

func TestNoLibrary(t *testing.T) {
	_, err := open("auto", "libEGL-that-is-not-there.so.1")
	if err == nil || !strings.Contains(err.Error(), "no EGL on this machine") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
	if _, err = OpenKind("quantum"); err == nil || !strings.Contains(err.Error(), "quantum") {
		t.Errorf("error %v", err)
	}
}

// TestNoDriver opens a context in a process whose libEGL finds no vendor.
func TestNoDriver(t *testing.T) {
	if os.Getenv("OPENGL_TEST_CHILD") == "1" {
		if _, err := Open(); err != nil {
			fmt.Println("open:", err)
		}
		return
	}
	testContext(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestNoDriver$", "-test.v")
	cmd.Env = append(os.Environ(), "OPENGL_TEST_CHILD=1", "__EGL_VENDOR_LIBRARY_FILENAMES="+filepath.Join(t.TempDir(), "none.json"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "open: opengl: EGL is here, but no driver") {
		t.Skipf("this EGL finds a driver all the same:\n%s", out)
	}
}

// TestHardwareOrNot: on a machine with a software driver alone, asking for
// hardware is an error that says so.
func TestHardwareOrNot(t *testing.T) {
	software := testContext(t).Info().Software
	c, err := OpenKind("hardware")
	if err == nil {
		defer c.Close()
		if software || c.Info().Software {
			t.Errorf("auto gave software %v, hardware gave %v", software, c.Info())
		}
	} else if !strings.Contains(err.Error(), "kind hardware") {
		t.Error(err)
	}
	if c, err = OpenKind("software"); err == nil {
		defer c.Close()
		if !c.Info().Software {
			t.Errorf("software gave %v", c.Info())
		}
	}
}

func TestBuffers(t *testing.T) {
	c := testContext(t)
	b, err := c.Alloc(100)
	if err != nil {
		t.Fatal(err)
	}
	in := make([]int32, 100)
	for i := range in {
		in[i] = int32(i * i)
	}
	if err := c.UploadInt32(b, in); err != nil {
		t.Fatal(err)
	}
	got := make([]int32, 10)
	if err := c.DownloadInt32(got, b.Slice(20, 50).Slice(5, 15)); err != nil || got[0] != 625 || got[9] != 34*34 {
		t.Fatal(got, err)
	}
	if err := c.Upload(b.Slice(90, 100), make([]float32, 11)); err == nil {
		t.Error("an upload past the end of a slice was accepted")
	}
	if err := c.Add([]int{11}, view(b, []int{1}), view(b.Slice(90, 100), []int{1}), view(b, []int{0})); err == nil {
		t.Error("a view past the end of a slice was accepted")
	}
	if _, err := c.Alloc(c.Info().MaxElements + 1); err == nil {
		t.Error("a buffer above the driver's limit was given")
	}
	id := b.mem.handle.id
	c.Free(b)
	c.Free(b)
	if err := c.Fill(b, 0); err == nil {
		t.Error("a freed buffer was written")
	}
	b2, err := c.Alloc(101)
	if err != nil || b2.mem.handle.id != id {
		t.Errorf("the freed buffer was not used again: %v", err)
	}
	b2 = Buffer{}
	runtime.GC() // the cleanup runs on its own goroutine; nothing to wait for, it must only not harm
	if err := c.Trim(); err != nil {
		t.Error(err)
	}
	empty, err := c.Alloc(0)
	if err != nil {
		t.Error(err)
	}
	for _, err := range []error{c.Fill(empty, 1), c.Exp(empty, empty), c.Upload(empty, nil)} {
		if err != nil {
			t.Error(err)
		}
	}
}

// TestErrorsComeBack: an error of the driver reaches a later call and stays.
func TestErrorsComeBack(t *testing.T) {
	testContext(t)
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.program(fillShader)
	if err != nil {
		t.Fatal(err)
	}
	wrong := command{name: "planted", prog: &program{id: p.id + 1000}, groups: [3]uint32{1, 1, 1}}
	c.mu.Lock()
	err = c.enqueue(wrong)
	c.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Sync(); err == nil || !strings.Contains(err.Error(), "planted") {
			t.Errorf("error %v, want the planted one", err)
		}
	}
	if _, err := c.Alloc(1 << 10); err == nil {
		t.Error("a failed context went on")
	}
	if err := c.Close(); err == nil {
		t.Error("Close hides the error")
	}
	if err := c.Sync(); err == nil {
		t.Error("a closed context went on")
	}
}

// TestConcurrent: many goroutines on one context, each with its own buffers.
func TestConcurrent(t *testing.T) {
	c := testContext(t)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for k := range 20 {
				b, err := c.Alloc(50 + g)
				if err != nil {
					t.Error(err)
					return
				}
				v := float32(g*100 + k)
				got := make([]float32, b.Len())
				for _, err := range []error{c.Fill(b, v), c.Scale(b, b, 2), c.AddScalar(b, b, 1), c.Download(got, b)} {
					if err != nil {
						t.Error(err)
					}
				}
				for _, x := range got {
					if x != 2*v+1 {
						t.Errorf("goroutine %d got %g, want %g", g, x, 2*v+1)
						return
					}
				}
				c.Free(b)
			}
		})
	}
	wg.Wait()
}

// TestShadersStandard compiles every shader with glslangValidator where it is
// installed: a second opinion on what is standard GLSL 4.30, and of whether the
// text stays within the 8 buffers and 1024 invocations of GL 4.3.
func TestShadersStandard(t *testing.T) {
	names := map[string]bool{}
	for _, s := range shaders {
		if names[s.name] {
			t.Errorf("two shaders are called %s", s.name)
		}
		names[s.name] = true
		if !strings.HasPrefix(s.source, "#version 430\n") {
			t.Errorf("%s is not GLSL 4.30", s.name)
		}
		if strings.Contains(s.source, "barrier()") {
			t.Errorf("%s calls barrier without syncLanes's memory barrier", s.name)
		}
		if strings.Contains(s.source, fmt.Sprintf("binding = %d)", maxBuffers)) {
			t.Errorf("%s has more than %d buffers", s.name, maxBuffers)
		}
	}
	tool, err := exec.LookPath("glslangValidator")
	if err != nil {
		t.Skip("NOT RUN: glslangValidator is not installed")
	}
	for _, s := range shaders {
		file := filepath.Join(t.TempDir(), s.name+".comp")
		if err := os.WriteFile(file, []byte(s.text()), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(tool, file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", s.name, err, out)
		}
	}
}

// TestAllCompile compiles every shader with the driver.
func TestAllCompile(t *testing.T) {
	c := testContext(t)
	for _, s := range shaders {
		if _, err := c.program(s); err != nil {
			t.Error(err)
		}
	}
}

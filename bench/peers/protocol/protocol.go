// Package protocol answers the requests of bench/cmd/compare for peers written
// in Go; README.md beside this folder tells what they mean.
package protocol

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strings"
	"time"
	"unsafe"
)

// Shape is batch products C = op(A)·op(B): C [m, n], inner size k, each operand
// transposed if stored so, without gaps, one product after the other.
type Shape struct {
	Layout         string
	M, N, K, Batch int
}

// TransA and TransB tell which operand is stored transposed.
func (s Shape) TransA() bool { return s.Layout[0] == 'T' }
func (s Shape) TransB() bool { return s.Layout[1] == 'T' }

// Peer makes ready what computes C from A and B on a number of threads. Run
// leaves the product in C, or returns it in memory of its own.
type Peer func(s Shape, threads int, a, b, c []float32) (run func() ([]float32, error), err error)

// Serve answers requests until standard input ends. Nothing else may write to
// the standard output, so os.Stdout becomes standard error.
func Serve(module string, prepare Peer) {
	in, out := bufio.NewScanner(os.Stdin), os.Stdout
	os.Stdout = os.Stderr
	v := &server{prepare: prepare}
	for in.Scan() {
		answer, err := v.answer(in.Text(), module)
		if err != nil {
			fmt.Fprintf(out, "error %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
			continue
		}
		fmt.Fprintf(out, "ok %s\n", answer)
	}
}

type server struct {
	prepare Peer
	shape   Shape // whose operands are there
	threads int
	c       []float32
	run     func() ([]float32, error)
}

func (v *server) answer(line, module string) (string, error) {
	if line == "version" {
		return version(module), nil
	}
	var s Shape
	var threads, repetitions int
	if _, err := fmt.Sscanf(line, "time %d %d gemm %s %d %d %d %d", &threads, &repetitions, &s.Layout, &s.M, &s.N, &s.K, &s.Batch); err == nil {
		if err := v.ready(s, threads); err != nil {
			return "", err
		}
		return v.measure(repetitions)
	}
	if _, err := fmt.Sscanf(line, "check %d gemm %s %d %d %d %d", &threads, &s.Layout, &s.M, &s.N, &s.K, &s.Batch); err == nil {
		if err := v.ready(s, threads); err != nil {
			return "", err
		}
		return v.check()
	}
	return "", fmt.Errorf("not understood: %s", line)
}

// ready makes the operands of a shape, unless they are there.
func (v *server) ready(s Shape, threads int) (err error) {
	if s == v.shape && threads == v.threads {
		return nil
	}
	v.shape, v.c, v.run = Shape{}, nil, nil
	debug.FreeOSMemory() // the next operands may be as large
	a, b, c := aligned(s.Batch*s.M*s.K), aligned(s.Batch*s.K*s.N), aligned(s.Batch*s.M*s.N)
	for i := range a {
		a[i] = pattern(1, i)
	}
	for i := range b {
		b[i] = pattern(2, i)
	}
	clear(c) // touched
	if v.run, err = v.prepare(s, threads, a, b, c); err == nil {
		v.shape, v.threads, v.c = s, threads, c
	}
	return err
}

func (v *server) measure(repetitions int) (string, error) {
	if _, err := v.run(); err != nil { // wakes the threads
		return "", err
	}
	begin := time.Now()
	for range repetitions {
		if _, err := v.run(); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%.9g", time.Since(begin).Seconds()), nil
}

func (v *server) check() (string, error) {
	for i := range v.c {
		v.c[i] = float32(math.NaN())
	}
	c, err := v.run()
	if err != nil {
		return "", err
	}
	m, n, sum := v.shape.M, v.shape.N, 0.0
	for t := range v.shape.Batch {
		for i := range m {
			row := 0.0
			for j := range n {
				row += float64(pattern(4, j)) * float64(c[(t*m+i)*n+j])
			}
			sum += float64(pattern(3, i)) * row
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%.17g", sum)
	for e := range 32 {
		i, j := int(hash(5, 2*e))%m, int(hash(5, 2*e+1))%n
		if e < 4 {
			i, j = e&1*(m-1), e>>1*(n-1)
		}
		fmt.Fprintf(&out, " %.9g", c[(e%v.shape.Batch*m+i)*n+j])
	}
	return out.String(), nil
}

func hash(seed uint32, i int) uint32 {
	x := uint32(i)*2654435761 + seed*40503
	x = (x ^ x>>15) * 2246822519
	return x ^ x>>13
}

func pattern(seed uint32, i int) float32 { return float32(hash(seed, i)>>8)/(1<<23) - 1 }

// aligned returns n elements that begin a cache line.
func aligned(n int) []float32 {
	mem := make([]float32, n+16)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(mem))) / 4 % 16
	return mem[skip : int(skip)+n : int(skip)+n]
}

// version is that of a module linked in.
func version(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == module {
				return d.Path + " " + d.Version + ", " + info.GoVersion
			}
		}
	}
	return module + ", version unknown"
}

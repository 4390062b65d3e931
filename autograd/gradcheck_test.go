package autograd

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"fuerte/kernels"
	"fuerte/tensor"
)

// TestVJPs checks ⟨g, J·v⟩, by central difference, against ⟨Jᵀ·g, v⟩, by the
// VJP, for every op, in one random direction v of all floating inputs together.
func TestVJPs(t *testing.T) {
	const h = 1e-5 // float64: truncation ~h², rounding ~1e-16/h, both under the bound
	for _, op := range Ops {
		t.Run(op.Name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			in, args := op.Sample(r)
			dir := make([]*tensor.Tensor, len(in))
			for i, x := range in {
				if floating(x) {
					dir[i] = normal(r, x.Shape()...)
				}
			}
			at := func(step float64) *tensor.Tensor {
				moved := slices.Clone(in)
				for i := range in {
					if dir[i] != nil {
						moved[i] = tensor.Add(in[i], tensor.Scale(dir[i], step))
					}
				}
				return forward(op, args, moved)
			}
			g := normal(r, at(0).Shape()...)
			want := (inner(g, at(h)) - inner(g, at(-h))) / (2 * h)

			var got float64
			for i, gx := range backward(op, args, in, g, variable) {
				if gx != nil {
					got += inner(gx, dir[i])
				}
			}
			if !(math.Abs(got-want) <= 1e-7*(1+math.Abs(want))) {
				t.Errorf("the VJP gives %g, the central difference %g", got, want)
			}
			if got == 0 {
				t.Error("the sample's derivative is zero: it proves nothing")
			}
		})
	}
}

// TestVJPInputs holds every op to the same cotangents, whatever its inputs are:
// strided views, parameters (which are on no tape), one of them alone wanted.
func TestVJPInputs(t *testing.T) {
	for _, op := range Ops {
		t.Run(op.Name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			in, args := op.Sample(r)
			y := forward(op, args, in)
			g := normal(r, y.Shape()...)
			want := backward(op, args, in, g, variable)

			views := slices.Clone(in)
			for i, x := range in {
				if i == 0 || !strings.HasSuffix(op.Name, "norm") { // a norm's weights must be contiguous
					views[i] = strided(x)
				}
			}
			closeTo(t, "result from strided inputs", forward(op, args, views), y, 1e-13)
			for i, gx := range backward(op, args, views, strided(g), variable) {
				closeTo(t, fmt.Sprintf("cotangent %d from strided inputs", i), gx, want[i], 1e-13)
			}
			for k := range in {
				if !floating(in[k]) {
					continue
				}
				others := func(tape *Tape, i int, x *tensor.Tensor) *Var {
					if i == k {
						return tape.Variable(x)
					}
					return Param(x)
				}
				for i, gx := range backward(op, args, in, g, others) {
					closeTo(t, fmt.Sprintf("cotangent %d beside parameters", i), gx, want[i], 0)
				}
				alone := func(tape *Tape, i int, x *tensor.Tensor) *Var {
					v := tape.Input(x)
					v.needs = i == k
					return v
				}
				for i, gx := range backward(op, args, in, g, alone) {
					if i != k && gx != nil {
						t.Errorf("input %d has a gradient, only %d was to have one", i, k)
					}
					if i == k {
						closeTo(t, fmt.Sprintf("cotangent %d alone", i), gx, want[i], 0)
					}
				}
			}
		})
	}
}

// TestVJPsFloat32 compares every op at float32, on the level in use, with itself
// at float64, the reference: results and cotangents within 2e-6 of the largest
// element. Each is the end of some dozen roundings of 6e-8.
func TestVJPsFloat32(t *testing.T) {
	const bound = 2e-6
	for _, op := range Ops {
		t.Run(op.Name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			in, args := op.Sample(r)
			exact := tensor.Float32 // rounding to it changes no number here
			if op == linearBF16Op {
				exact = tensor.BFloat16
			}
			short := slices.Clone(in)
			for i, x := range in {
				if floating(x) { // the same numbers in both
					short[i] = tensor.Cast(tensor.Cast(x, exact), tensor.Float32)
					in[i] = tensor.Cast(short[i], tensor.Float64)
				}
			}
			y := forward(op, args, in)
			g32 := tensor.Cast(tensor.Cast(normal(r, y.Shape()...), exact), tensor.Float32)
			closeTo(t, "result", forward(op, args, short), y, bound)
			want := backward(op, args, in, tensor.Cast(g32, tensor.Float64), variable)
			for i, gx := range backward(op, args, short, g32, variable) {
				closeTo(t, fmt.Sprintf("cotangent %d", i), gx, want[i], bound)
			}
		})
	}
}

// TestVJPsEveryLevel runs TestVJPsFloat32 on every kernel level of this machine,
// in a process of its own, since a level is chosen once.
func TestVJPsEveryLevel(t *testing.T) {
	if os.Getenv("FUERTE_ISA") != "" {
		t.Skip("a level is forced already")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range kernels.Sets() {
		if set.Missing != "" {
			t.Logf("%s: not run, this CPU lacks %s", set.Name, set.Missing)
			continue
		}
		c := exec.Command(self, "-test.run=^TestVJPsFloat32$", "-test.v")
		c.Env = append(os.Environ(), "FUERTE_ISA="+set.Name)
		out, err := c.CombinedOutput()
		if n := strings.Count(string(out), "--- PASS: TestVJPsFloat32/"); err != nil || n != len(Ops) {
			t.Errorf("%s: %d of %d ops passed: %v\n%s", set.Name, n, len(Ops), err, out)
		}
	}
}

// TestOpsComplete reads the source: every variable named …Op is in Ops, but for
// checkpointOp, whose derivative is that of the function it runs, and accumulateOp,
// which no tape records.
func TestOpsComplete(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var declared, listed []string
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, name := range spec.Names {
				switch {
				case strings.HasSuffix(name.Name, "Op"):
					declared = append(declared, name.Name)
				case name.Name == "Ops":
					for _, e := range spec.Values[i].(*ast.CompositeLit).Elts {
						listed = append(listed, e.(*ast.Ident).Name)
					}
				}
			}
			return true
		})
	}
	unlisted := []string{"checkpointOp", "accumulateOp"}
	for _, name := range declared {
		if !slices.Contains(unlisted, name) && !slices.Contains(listed, name) {
			t.Errorf("%s has no row in Ops: nothing checks its gradient", name)
		}
	}
	if len(listed) != len(Ops) || len(declared) != len(Ops)+len(unlisted) {
		t.Errorf("%d ops are declared, %d listed, Ops has %d", len(declared), len(listed), len(Ops))
	}
	names := map[string]bool{}
	for _, op := range Ops {
		if op.Name == "" || names[op.Name] || op.Sample == nil || op.Forward == nil || op.VJP == nil {
			t.Errorf("%q lacks a name of its own, a Sample, a Forward or a VJP", op.Name)
		}
		names[op.Name] = true
	}
}

func forward(op *Op, args any, in []*tensor.Tensor) *tensor.Tensor {
	tape := NewInferenceTape()
	vars := make([]*Var, len(in))
	for i, x := range in {
		vars[i] = tape.Input(x)
	}
	return Apply(op, args, vars...).Value
}

func variable(tape *Tape, _ int, x *tensor.Tensor) *Var { return tape.Variable(x) }

// backward returns the gradient of every input (nil for an integer one), each
// made a Var by leaf.
func backward(op *Op, args any, in []*tensor.Tensor, g *tensor.Tensor, leaf func(tape *Tape, i int, x *tensor.Tensor) *Var) []*tensor.Tensor {
	tape := NewTape()
	vars, grads := make([]*Var, len(in)), make([]*tensor.Tensor, len(in))
	for i, x := range in {
		if vars[i] = tape.Input(x); floating(x) {
			vars[i] = leaf(tape, i, x)
		}
	}
	y := Apply(op, args, vars...)
	tape.BackwardFrom(y, g.Retain())
	y.Value.Release()
	for i, v := range vars {
		grads[i] = v.Grad
	}
	return grads
}

func floating(x *tensor.Tensor) bool {
	return x.DType() == tensor.Float64 || x.DType() == tensor.Float32
}

// strided returns x as a view of every second element in reversed axes, among
// NaN: no two of its axes merge.
func strided(x *tensor.Tensor) *tensor.Tensor {
	n := x.Rank()
	shape, order := make([]int, n), make([]int, n)
	for i, d := range x.Shape() {
		shape[n-1-i], order[i] = 2*d+1, n-1-i
	}
	v := tensor.Full(x.Device(), x.DType(), math.NaN(), shape...)
	for a, d := range shape {
		v = v.Slice(a, 1, d, 2)
	}
	v = v.Permute(order...)
	tensor.Copy(v, x)
	return v
}

// closeTo requires |got − want| ≤ bound·max|want| everywhere, and a want wherever
// there is a got.
func closeTo(t *testing.T, what string, got, want *tensor.Tensor, bound float64) {
	t.Helper()
	if (got == nil) != (want == nil) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
	if got == nil || want == nil {
		return
	}
	if !slices.Equal(got.Shape(), want.Shape()) {
		t.Errorf("%s: shape %v, want %v", what, got.Shape(), want.Shape())
		return
	}
	g, w := values(got), values(want)
	var worst, scale float64
	for i := range w {
		scale = max(scale, math.Abs(w[i]))
		if d := math.Abs(g[i] - w[i]); !(d <= worst) {
			worst = d
		}
	}
	if !(worst <= bound*scale) {
		t.Errorf("%s: off by %.3g of %.3g", what, worst, scale)
	}
}

func values(x *tensor.Tensor) []float64 {
	c := tensor.Cast(x, tensor.Float64)
	defer c.Release()
	return slices.Clone(tensor.Data[float64](c))
}

func inner(a, b *tensor.Tensor) float64 {
	m := tensor.Mul(a, b)
	defer m.Release()
	s := tensor.Sum(m, false)
	defer s.Release()
	return s.Item()
}

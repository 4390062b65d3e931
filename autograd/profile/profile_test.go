package profile

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"

	"fuerte/autograd"
	"fuerte/kernels"
	"fuerte/tensor"
)

type Var = autograd.Var

// ticking returns a profiler whose clock counts its own readings.
func ticking(o Options) *Profiler {
	p := New(o)
	t := int64(0)
	p.clock = func() int64 { t++; return t }
	return p
}

func random(r *rand.Rand, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.CPU, tensor.Float32, shape...)
	for i, d := 0, tensor.Data[float32](t); i < len(d); i++ {
		d[i] = float32(r.NormFloat64())
	}
	return t
}

// network is two blocks of different parts under one scope, with a residual.
type network struct {
	w          [2]*Var // [8, 8]
	norm       *Var
	checkpoint bool
}

func newNetwork() *network {
	r := rand.New(rand.NewPCG(1, 1))
	n := &network{norm: autograd.Param(random(r, 8))}
	for i := range n.w {
		n.w[i] = autograd.Param(random(r, 8, 8))
	}
	return n
}

func (n *network) loss(x *Var) *Var {
	x.Enter("net")
	for i, w := range n.w {
		x.EnterAt("blocks", i)
		block := func(x *Var) *Var {
			h := autograd.SiLU(autograd.Linear(autograd.RMSNorm(x.Enter("mlp"), n.norm, 1e-5), w, nil)).Leave()
			return autograd.Add(x, h)
		}
		if n.checkpoint {
			x = autograd.Checkpoint(x, block)
		} else {
			x = block(x)
		}
		x.Leave()
	}
	return autograd.Sum(autograd.Mul(x, x).Leave(), false)
}

// steps runs n steps under p.
func (net *network) steps(p *Profiler, n int) {
	tape := autograd.NewTape()
	tape.Observer = p
	x := random(rand.New(rand.NewPCG(2, 2)), 3, 8)
	defer x.Release()
	for i := range n {
		p.BeginStep(i)
		p.Enter("data", -1)
		p.Leave()
		y := net.loss(tape.Input(x))
		tape.Backward(y)
		y.Value.Release()
		for _, v := range append(net.w[:], net.norm) {
			v.ZeroGrad()
		}
		p.Enter("after", -1)
		p.Leave()
		p.EndStep()
	}
}

// find returns the rows of an op, a layer and a pass.
func (r *Report) find(op, layer, pass string) (out []Row) {
	for _, w := range r.Rows {
		if w.Op == op && w.Layer == layer && w.Pass == pass {
			out = append(out, w)
		}
	}
	return out
}

// TestReport: calls, FLOP, bytes and time of every row, of a clock that ticks when it
// is read; rows and the unattributed time add up to that of the steps; blocks of a kind
// become one row.
func TestReport(t *testing.T) {
	p := ticking(Options{})
	newNetwork().steps(p, 3)
	r := p.Report(Ceilings{})
	sum := r.Unattributed
	for _, w := range r.Rows {
		sum += w.Seconds
		if w.Seconds <= 0 || w.Calls%3 != 0 {
			t.Errorf("%s in %s: %d calls in 3 steps, %g s", w.Op, w.Layer, w.Calls, w.Seconds)
		}
	}
	if math.Abs(sum-r.Seconds) > 1e-15 || r.Unattributed <= 0 || r.Steps != 3 {
		t.Errorf("rows take %g s, %g of it unattributed, the %d steps %g", sum, r.Unattributed, r.Steps, r.Seconds)
	}
	const u = 4 // bytes of a float32
	for _, want := range []struct {
		op, layer, pass string
		calls           int // a step
		flop, bytes     float64
		kernel          string
	}{
		{"linear", "net.blocks.1.mlp", "forward", 1, 2 * 3 * 8 * 8, u * (24 + 64 + 24), "Dots"},
		// gx = gy·W and gW = gyᵀ·x.
		{"linear", "net.blocks.1.mlp", "backward", 1, 4 * 3 * 8 * 8, u * 2 * (24 + 24 + 64), ""},
		{"rmsnorm", "net.blocks.0.mlp", "forward", 1, 4 * 24, u * (24 + 8 + 24 + 3), "one call for each row"},
		{"rmsnorm", "net.blocks.0.mlp", "backward", 1, 9 * 24, u * (24 + 8 + 3 + 24 + 24 + 8), ""},
		{"silu", "net.blocks.0.mlp", "backward", 1, 0, u * 3 * 24, ""},
		{"add", "net.blocks.0", "forward", 1, 24, u * 3 * 24, ""},
		{"add", "net.blocks.0", "backward", 1, 0, 0, ""},
		{"accumulate", "net.blocks.1.mlp", "forward", 1, 24, u * 3 * 24, ""}, // of the residual
		{"accumulate", "net.blocks.0.mlp", "forward", 1, 8, u * 3 * 8, ""},   // of the norm's weight
		{"mul", "net", "forward", 1, 24, u * 3 * 24, ""},
		{"sum", "", "forward", 1, 24, u * 25, ""},
		{"", "data", "forward", 1, 0, 0, ""},
		{"", "after", "forward", 1, 0, 0, ""},
	} {
		var got Row
		for _, w := range r.find(want.op, want.layer, want.pass) {
			got.Calls += w.Calls
			got.Count.FLOP += w.Count.FLOP
			got.Count.Bytes += w.Count.Bytes
			got.Kernel += w.Kernel
		}
		if got.Calls != 3*want.calls || got.Count.FLOP != 3*want.flop || got.Count.Bytes != 3*want.bytes || !strings.Contains(got.Kernel, want.kernel) {
			t.Errorf("%s %s in %q: %d calls, %g FLOP, %g bytes, %q in 3 steps; want 3 × %+v", want.op, want.pass, want.layer, got.Calls, got.Count.FLOP, got.Count.Bytes, got.Kernel, want)
		}
	}
	c := r.Collapsed()
	if rows := c.find("linear", "net.blocks.*.mlp", "forward"); len(rows) != 1 || rows[0].Calls != 6 {
		t.Errorf("collapsed, linear is %+v", rows)
	}
	var text bytes.Buffer
	if err := c.Write(&text, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"linear backward | net.blocks.*.mlp | 3×8, 8×8", "unattributed", "| data |"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &text)
		}
	}
}

// TestRecomputation: what Checkpoint runs again is listed by op and layer, and by no
// more time than passed.
func TestRecomputation(t *testing.T) {
	plain, again := ticking(Options{}), ticking(Options{})
	n := newNetwork()
	n.steps(plain, 1)
	n.checkpoint = true
	n.steps(again, 1)
	a, b := plain.Report(Ceilings{}), again.Report(Ceilings{})
	for _, w := range a.Rows {
		twice := 1
		if w.Pass == "forward" && strings.HasPrefix(w.Layer, "net.blocks") && w.Op != autograd.Accumulate {
			twice = 2
		}
		calls := 0
		for _, v := range b.find(w.Op, w.Layer, w.Pass) {
			if v.Shapes == w.Shapes {
				calls += v.Calls
			}
		}
		if calls != twice*w.Calls && w.Op != autograd.Accumulate {
			t.Errorf("%s %s in %s: %d calls, %d without recomputation", w.Op, w.Pass, w.Layer, calls, w.Calls)
		}
	}
	sum := b.Unattributed
	for _, w := range b.Rows {
		sum += w.Seconds
	}
	if math.Abs(sum-b.Seconds) > 1e-15 || b.Unattributed <= 0 {
		t.Errorf("rows take %g s, the step %g", sum, b.Seconds)
	}
}

// TestCosts: every op has a row in Costs, and it holds for the op's sample in both
// passes.
func TestCosts(t *testing.T) {
	for _, op := range autograd.Ops {
		if _, ok := Costs[op.Name]; !ok {
			t.Errorf("%s has no row in Costs", op.Name)
			continue
		}
		in, args := op.Sample(rand.New(rand.NewPCG(1, 2)))
		p, tape := ticking(Options{}), autograd.NewTape()
		tape.Observer = p
		p.BeginStep(0)
		vars := make([]*Var, len(in))
		for i, x := range in {
			if vars[i] = tape.Input(x); x.DType() == tensor.Float64 {
				vars[i] = tape.Variable(x)
			}
		}
		y := autograd.Apply(op, args, vars...)
		tape.BackwardFrom(y, tensor.Full(tensor.CPU, tensor.Float64, 1, y.Shape()...))
		p.EndStep()
		r := p.Report(Ceilings{})
		forward, back := r.find(op.Name, "", "forward"), r.find(op.Name, "", "backward")
		if len(forward) != 1 || len(back) != 1 {
			t.Errorf("%s: the report has %+v", op.Name, r.Rows)
			continue
		}
		view := slices.Contains([]string{"identity", "permute", "expand", "narrow", "reshape"}, op.Name)
		if view != (forward[0].Count.Bytes == 0) {
			t.Errorf("%s moves %g bytes", op.Name, forward[0].Count.Bytes)
		}
	}
	for name := range Costs {
		if name != autograd.Accumulate && !slices.ContainsFunc(autograd.Ops, func(op *autograd.Op) bool { return op.Name == name }) {
			t.Errorf("Costs has %q, which is no op", name)
		}
	}
}

// TestCostsByHand compares counts with those made by hand.
func TestCostsByHand(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	prefix := tensor.From(tensor.CPU, []int32{0, 3}, 2)
	ids := tensor.From(tensor.CPU, []int32{5, 0, -1, 3, 3}, 5)
	pairs := func(tq, tk int, prefix ...int) (n float64) { // what the mask's definition says
		for _, p := range prefix {
			for i := range tq {
				for j := range tk {
					if j <= i+tk-tq || j < p {
						n++
					}
				}
			}
		}
		return n
	}
	for _, c := range []struct {
		name        string
		f           func(t *autograd.Tape) *Var
		flop, bytes [2]float64 // forward, backward
	}{
		{"matmul", func(t *autograd.Tape) *Var {
			return autograd.MatMul(t.Variable(random(r, 5, 3, 4)), t.Variable(random(r, 5, 4, 6)))
		}, [2]float64{2 * 5 * 3 * 4 * 6, 4 * 5 * 3 * 4 * 6}, [2]float64{4 * 5 * (12 + 24 + 18), 4 * 2 * 5 * (12 + 24 + 18)}},
		{"linear-bf16", func(t *autograd.Tape) *Var {
			t.BF16 = true
			return autograd.Linear(t.Variable(random(r, 5, 4)), t.Variable(random(r, 6, 4)), t.Variable(random(r, 6)))
		}, [2]float64{2*5*4*6 + 30, 4*5*4*6 + 30}, [2]float64{4*(20+24+6+30) + 2*(20+24), 4*30 + 2*(20+24) + 4*(20+24+6)}},
		{"attentionQKV", func(t *autograd.Tape) *Var {
			return autograd.AttentionQKV(t.Variable(random(r, 2, 5, 3*8)), 2, tensor.Causal, prefix)
		}, [2]float64{4 * 8 * pairs(5, 5, 0, 3), 10 * 8 * pairs(5, 5, 0, 3)}, [2]float64{4 * (4*80 + 20 + 2), 4 * (8*80 + 20 + 2)}},
		{"attention", func(t *autograd.Tape) *Var {
			return autograd.Attention(t.Variable(random(r, 2, 3, 2, 4)), t.Variable(random(r, 2, 7, 2, 4)), t.Variable(random(r, 2, 7, 2, 4)), tensor.Causal, tensor.From(tensor.CPU, []int32{7, 5}, 2))
		}, [2]float64{4 * 8 * pairs(3, 7, 7, 5), 10 * 8 * pairs(3, 7, 7, 5)}, [2]float64{}},
		{"attention", func(t *autograd.Tape) *Var {
			q := t.Variable(random(r, 2, 3, 2, 4))
			return autograd.Attention(q, q, q, tensor.NoMask, nil)
		}, [2]float64{4 * 8 * 2 * 9, 10 * 8 * 2 * 9}, [2]float64{}},
		{"linear-crossentropy", func(t *autograd.Tape) *Var { // one row of five has no target
			return autograd.LinearCrossEntropy(t.Variable(random(r, 5, 4)), t.Variable(random(r, 6, 4)), t.Input(ids), t.Input(random(r, 5)))
		}, [2]float64{6 * 4 * 6 * 4, 20 + 24}, [2]float64{4 * (20 + 24 + 5 + 5 + 1 + 5 + 20 + 24), 4 * (1 + 2*20 + 2*24)}},
		{"linear-crossentropy", func(t *autograd.Tape) *Var { // a frozen head
			return autograd.LinearCrossEntropy(t.Variable(random(r, 5, 4)), t.Input(random(r, 6, 4)), t.Input(ids), t.Variable(random(r, 5)))
		}, [2]float64{4 * 4 * 6 * 4, 20 + 5}, [2]float64{4 * (20 + 24 + 5 + 5 + 1 + 5 + 20), 4 * (1 + 2*20 + 2*5)}},
		{"add", func(t *autograd.Tape) *Var { // the expanded operand is read once
			return autograd.Add(t.Variable(random(r, 5, 8)), autograd.Expand(t.Variable(random(r, 8)), 5, 8))
		}, [2]float64{40, 0}, [2]float64{4 * (40 + 8 + 40), 0}},
	} {
		p, tape := ticking(Options{}), autograd.NewTape()
		tape.Observer = p
		p.BeginStep(0)
		y := c.f(tape)
		tape.BackwardFrom(y, random(r, y.Shape()...))
		p.EndStep()
		report := p.Report(Ceilings{})
		for i, pass := range []string{"forward", "backward"} {
			got := report.find(c.name, "", pass)[0].Count
			if got.FLOP != c.flop[i] || c.bytes[0] > 0 && got.Bytes != c.bytes[i] {
				t.Errorf("%s %s: %g FLOP, %g bytes; want %g, %g", c.name, pass, got.FLOP, got.Bytes, c.flop[i], c.bytes[i])
			}
		}
	}
}

// TestTrace: the trace is JSON of complete events that nest on each thread, with
// steps, layers in both passes, and what stands in VJPs; a full one says so.
func TestTrace(t *testing.T) {
	p := ticking(Options{Trace: 1000})
	n := newNetwork()
	n.checkpoint = true
	n.steps(p, 2)
	var file bytes.Buffer
	if err := p.WriteTrace(&file); err != nil {
		t.Fatal(err)
	}
	var trace struct {
		OtherData   struct{ Complete bool }
		TraceEvents []traceEvent
	}
	if err := json.Unmarshal(file.Bytes(), &trace); err != nil {
		t.Fatal(err)
	}
	if !trace.OtherData.Complete {
		t.Error("the trace is not complete")
	}
	seen := map[string]int{}
	open := map[int][]traceEvent{}
	steps := []traceEvent{}
	for _, e := range trace.TraceEvents {
		if e.Phase != "X" {
			continue
		}
		seen[e.Cat+" "+e.Name]++
		if e.TID == stepThread {
			steps = append(steps, e)
		}
		stack := open[e.TID]
		for len(stack) > 0 && e.Time >= stack[len(stack)-1].Time+stack[len(stack)-1].Dur-1e-9 {
			stack = stack[:len(stack)-1]
		}
		if len(stack) > 0 {
			if around := stack[len(stack)-1]; e.Time < around.Time-1e-9 || e.Time+e.Dur > around.Time+around.Dur+1e-9 {
				t.Errorf("%+v reaches out of %+v", e, around)
			}
		}
		open[e.TID] = append(stack, e)
	}
	if len(steps) != 2 || steps[1].Args["step"] != 1.0 {
		t.Fatalf("steps are %+v", steps)
	}
	for _, e := range trace.TraceEvents {
		inside := func(s traceEvent) bool { return e.Time >= s.Time && e.Time+e.Dur <= s.Time+s.Dur+1e-9 }
		if e.Phase == "X" && !slices.ContainsFunc(steps, inside) {
			t.Errorf("%+v lies in no step", e)
		}
	}
	if n := seen["layer net.blocks.1.mlp backward"]; n != 2 {
		t.Errorf("the VJPs of a layer stand in %d events in 2 steps", n)
	}
	for _, want := range []string{"layer net.blocks.1.mlp", "forward linear", "backward linear backward", "forward matmul", "part data", "backward checkpoint backward"} {
		if seen[want] == 0 {
			t.Errorf("the trace has no %q; it has %v", want, seen)
		}
	}

	p = ticking(Options{Trace: 10})
	n.steps(p, 2)
	file.Reset()
	if err := p.WriteTrace(&file); err != nil || !strings.Contains(file.String(), `"complete":false`) || len(p.events) != 10 {
		t.Errorf("a full trace has %d events: %v", len(p.events), err)
	}
}

// TestNonFinite: a NaN in a weight, an Inf made by a forward and one by a VJP are
// traced to op, layer, pass and step, and none is found where there is none.
func TestNonFinite(t *testing.T) {
	find := func(n *network, f func(x *Var) *Var) *NonFiniteError {
		p := New(Options{NonFinite: true})
		p.Name(n.w[1], "blocks.1.weight")
		n.steps(p, 1)
		if p.Err() != nil {
			var e *NonFiniteError
			if !errors.As(p.Err(), &e) {
				t.Fatal(p.Err())
			}
			return e
		}
		tape := autograd.NewTape()
		tape.Observer = p
		p.BeginStep(7)
		tape.Backward(f(tape.Variable(random(rand.New(rand.NewPCG(3, 3)), 4))))
		p.EndStep()
		if p.Err() == nil {
			return nil
		}
		return p.err
	}
	sum := func(x *Var) *Var { return autograd.Sum(x, false) }
	if e := find(newNetwork(), sum); e != nil {
		t.Errorf("found in finite numbers: %v", e)
	}

	bad := newNetwork()
	tensor.Data[float32](bad.w[1].Value)[9] = float32(math.NaN())
	for _, recompute := range []bool{false, true} {
		bad.checkpoint = recompute
		e := find(bad, sum)
		if e == nil || e.Op != "linear" || e.Layer != "net.blocks.1.mlp" || e.Pass != "forward" || e.Step != 0 || e.Output.NaN != 3 || e.Inputs[0].NaN != 0 || e.Inputs[1].NaN != 1 || e.Inputs[1].First != 9 {
			t.Fatalf("a NaN in a weight is taken for %v", e)
		}
		for _, want := range []string{"step 0", "forward", "linear", "net.blocks.1.mlp", "blocks.1.weight [8×8] float32 with 1 NaN and 0 Inf, the first at 9"} {
			if !strings.Contains(e.Error(), want) {
				t.Errorf("the message lacks %q: %v", want, e)
			}
		}
	}

	broken := &autograd.Op{Name: "broken",
		Forward: func(c *autograd.Call) *tensor.Tensor { return tensor.Scale(c.In[0].Value, 2) },
		VJP: func(c *autograd.Call, gy *Var) []*Var {
			return []*Var{autograd.Scale(autograd.Div(gy, gy.With(tensor.Zeros(tensor.CPU, tensor.Float32, 4))), 2)}
		}}
	e := find(newNetwork(), func(x *Var) *Var {
		y := autograd.Apply(broken, nil, x.Enter("custom")).Leave()
		return autograd.Sum(autograd.Tanh(y), false)
	})
	// The division inside of the VJP is the first.
	if e == nil || e.Op != "div" || e.VJP != "broken" || e.Layer != "custom" || e.Pass != "backward" || e.Step != 7 || e.Output.Inf != 4 {
		t.Errorf("an Inf in a VJP is taken for %v", e)
	}

	fused := &autograd.Op{Name: "fused", Forward: broken.Forward,
		VJP: func(c *autograd.Call, gy *Var) []*Var {
			g := gy.Value.Clone()
			tensor.Data[float32](g)[2] = float32(math.NaN())
			return []*Var{gy.With(g)}
		}}
	e = find(newNetwork(), func(x *Var) *Var { return autograd.Sum(autograd.Apply(fused, nil, x.Enter("custom")).Leave(), false) })
	if e == nil || e.Op != "fused" || e.VJP != "" || e.Layer != "custom" || e.Pass != "backward" || e.Output.NaN != 1 || e.Output.First != 2 || e.Input != 0 || len(e.Inputs) != 2 {
		t.Errorf("a NaN of a fused VJP is taken for %v", e)
	}

	e = find(newNetwork(), func(x *Var) *Var { return autograd.Sum(autograd.Log(autograd.Scale(x, 0)), false) })
	if e == nil || e.Op != "log" || e.Pass != "forward" || e.Output.Inf != 4 || e.Layer != "" {
		t.Errorf("a logarithm of 0 is taken for %v", e)
	}
}

// TestLabels: while an op runs, its goroutine and the workers that help it have its
// labels, and after the step nobody has.
func TestLabels(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	dump := func() string {
		var b bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
			t.Error(err)
		}
		return b.String()
	}
	both := func(f func()) { // neither task ends before the other has begun
		there := make(chan bool, 2)
		kernels.Parallel(2, func(i int) {
			there <- true
			for len(there) < 2 {
				runtime.Gosched()
			}
			if i == 0 {
				f()
			}
		})
	}
	both(func() {}) // a worker started inside of an op would inherit its labels
	var forward, back, helped string
	spy := &autograd.Op{Name: "spy",
		Forward: func(c *autograd.Call) *tensor.Tensor {
			forward = dump()
			both(func() { helped = dump() })
			return c.In[0].Value.Retain()
		},
		VJP: func(c *autograd.Call, gy *Var) []*Var {
			back = dump()
			return []*Var{gy}
		}}
	p, tape := New(Options{Labels: true}), autograd.NewTape()
	tape.Observer = p
	p.BeginStep(0)
	x := tape.Variable(random(rand.New(rand.NewPCG(1, 1)), 4)).Enter("net").EnterAt("blocks", 3)
	y := autograd.Apply(spy, nil, x).Leave().Leave()
	tape.Backward(autograd.Sum(y, false))
	p.EndStep()
	const labels = `"layer":"net.blocks.3", "op":"spy", "pass":`
	for _, c := range []struct {
		what, text, pass string
	}{{"forward", forward, "forward"}, {"backward", back, "backward"}} {
		if !strings.Contains(c.text, labels+`"`+c.pass+`"`) {
			t.Errorf("%s: no labels in\n%s", c.what, c.text)
		}
	}
	if n := strings.Count(helped, labels); n < 2 { // the caller and a worker
		t.Errorf("%d groups of goroutines are labelled in\n%s", n, helped)
	}
	if after := dump(); strings.Contains(after[:strings.Index(after, "\n\n")], "spy") {
		t.Errorf("labels are left over:\n%s", after)
	}
}

// TestAllocations: a steady step allocates nothing, whether a profiler looks on or
// nobody.
func TestAllocations(t *testing.T) {
	if raced {
		t.Skip("the race detector makes pools leak")
	}
	tape := autograd.NewTape()
	x := random(rand.New(rand.NewPCG(1, 1)), 4, 4)
	w := autograd.Param(random(rand.New(rand.NewPCG(2, 2)), 4, 4))
	run := func() {
		v := tape.Input(x).Enter("net").EnterAt("blocks", 1)
		h := autograd.Linear(autograd.SiLU(autograd.Linear(v, w, nil)), w, nil) // two gradients of w to be added
		y := autograd.Sum(autograd.Mul(h, h), false).Leave().Leave()
		tape.Backward(y)
		y.Value.Release()
		w.ZeroGrad()
	}
	steady := func() float64 {
		for range 5 {
			run()
		}
		return testing.AllocsPerRun(100, run)
	}
	if n := steady(); n != 0 {
		t.Errorf("a step that nobody watches allocates %g times", n)
	}
	p := New(Options{Labels: true, Memory: true, Trace: 10_000})
	defer p.Close()
	tape.Observer = p
	p.BeginStep(0)
	if n := steady(); n != 0 {
		t.Errorf("one that is watched allocates %g times", n)
	}
	if len(p.events) == 0 || p.lost {
		t.Errorf("the trace has %d events, of all: %v", len(p.events), !p.lost)
	}
}

// TestReuse: a Call that a tape hands out again is of the layer where it is used now.
func TestReuse(t *testing.T) {
	p, tape := ticking(Options{}), autograd.NewTape()
	tape.Observer = p
	w := autograd.Param(random(rand.New(rand.NewPCG(1, 1)), 8))
	layers := []string{"a", "b", "c", "d", "e"}
	for i, layer := range layers {
		p.BeginStep(i)
		x := tape.Input(w.Value)
		y := autograd.Sum(autograd.Mul(x.Enter(layer), w).Leave(), false)
		tape.Backward(y)
		y.Value.Release()
		p.EndStep()
	}
	r := p.Report(Ceilings{})
	for _, layer := range layers {
		for _, row := range []struct{ op, pass string }{{"mul", "forward"}, {"mul", "backward"}} {
			if rows := r.find(row.op, layer, row.pass); len(rows) != 1 || rows[0].Calls != 1 {
				t.Errorf("%s %s in %s: %+v", row.op, row.pass, layer, rows)
			}
		}
	}
}

// TestMemory: the peak is that of the graph, and what is held then has its layer's name.
func TestMemory(t *testing.T) {
	const n = 1 << 20 // bytes of a result, a size class of its own
	x := random(rand.New(rand.NewPCG(1, 1)), n/4)
	defer x.Release()
	before := tensor.LiveBytes()
	p, tape := New(Options{Memory: true}), autograd.NewInferenceTape()
	defer p.Close()
	tape.Observer = p
	p.BeginStep(0)
	v := tape.Input(x)
	h := autograd.Exp(v.Enter("a")).Leave()
	autograd.Exp(autograd.Exp(h.Enter("b"))).Leave()
	autograd.Reshape(v.Enter("c"), 2, n/8).Leave() // a view: nothing is made
	tape.Reset()
	p.EndStep()
	m := p.Report(Ceilings{}).Memory
	if m.Peak != before+3*n || m.Live != before {
		t.Errorf("peak %d, live %d; %d before, 3 results of %d", m.Peak, m.Live, before, n)
	}
	got := map[string]Held{}
	for _, h := range m.Held {
		got[h.Layer] = h
	}
	if got["a"] != (Held{"a", 0, n}) || got["b"] != (Held{"b", 0, 2 * n}) || got[ownerInputs] != (Held{ownerInputs, n, n}) || len(got["c"].Layer) > 0 || got[ownerUnknown].AtPeak != before-n {
		t.Errorf("held is %+v", m.Held)
	}
}

// BenchmarkObserved times an op of nothing with and without a profiler: the
// difference is what a profiler costs an op.
func BenchmarkObserved(b *testing.B) {
	for _, c := range []struct {
		name    string
		options *Options
	}{{"off", nil}, {"table", &Options{Memory: true}}, {"all", &Options{Memory: true, Labels: true, Trace: 1 << 20}}} {
		b.Run(c.name, func(b *testing.B) {
			tape := autograd.NewInferenceTape()
			if c.options != nil {
				p := New(*c.options)
				defer p.Close()
				tape.Observer = p
				p.BeginStep(0)
			}
			x := random(rand.New(rand.NewPCG(1, 1)), 16)
			for b.Loop() {
				autograd.Exp(tape.Input(x))
				tape.Reset()
			}
		})
	}
}

// TestCeilings: a product is held against the peak, another op against the bandwidth of
// where its operands stay, and against nothing what has no count or no ceiling.
func TestCeilings(t *testing.T) {
	c := Ceilings{Peak: 100, Bandwidth: [3]float64{80, 40, 10}, L2: 50, L3: 1000}
	for _, r := range []struct {
		ceilings Ceilings
		row      Row
		want     string
	}{
		{c, Row{Calls: 2, Seconds: 2, Product: true, Count: Count{FLOP: 100, Bytes: 10}}, "50 % peak"},
		{c, Row{Calls: 2, Seconds: 2, Count: Count{FLOP: 100, Bytes: 80}}, "50 % L2"},
		{c, Row{Calls: 1, Seconds: 2, Count: Count{Bytes: 80}}, "100 % L3"},
		{c, Row{Calls: 1, Seconds: 400, Count: Count{Bytes: 2000}}, "50 % memory"},
		{c, Row{Calls: 1, Seconds: 1}, "–"},
		{Ceilings{}, Row{Calls: 1, Seconds: 1, Count: Count{Bytes: 80}}, "–"},
	} {
		if got := r.ceilings.share(r.row); got != r.want {
			t.Errorf("%+v is %q, want %q", r.row, got, r.want)
		}
	}
	for text, want := range map[string]string{
		"level: avx2 (why)\nkernel: Tile, 6×16, sums in registers over 512 terms at a time\nB: read in place\n": "avx2 Tile 6×16",
		"level: avx2 (why)\nkernel: Dots, in one call\n":                                                        "avx2 Dots",
		"level: neon (why)\nkernel: Gemv: one row of A adds up\n":                                               "neon Gemv",
		"level: avx2 (why)\nkernel: Tile, 6×16; scores exist in blocks\n":                                       "avx2 Tile 6×16",
		"level: avx2 (why)\ntasks: 1 of 5 elements\n":                                                           "avx2",
	} {
		if got := firstWords(text); got != want {
			t.Errorf("the first words of %q are %q, want %q", text, got, want)
		}
	}
}

// TestMisuse: a Leave too many panics; a panic inside of an op spoils no later step; the
// methods of no profiler do nothing.
func TestMisuse(t *testing.T) {
	panics := func(f func()) (v any) {
		defer func() { v = recover() }()
		f()
		return nil
	}
	p := ticking(Options{})
	if _, ok := panics(p.Leave).(*autograd.Error); !ok {
		t.Error("a Leave without Enter does not panic")
	}
	tape := autograd.NewInferenceTape()
	tape.Observer = p
	x := tape.Input(random(rand.New(rand.NewPCG(1, 1)), 3))
	p.BeginStep(0)
	if panics(func() { autograd.Reshape(x.Enter("net"), 7) }) == nil {
		t.Fatal("a wrong shape does not panic")
	}
	p.BeginStep(1)
	autograd.Exp(x)
	p.EndStep()
	p.EndStep() // once
	if r := p.Report(Ceilings{}); r.Steps != 1 || len(r.find("exp", "", "forward")) != 1 {
		t.Errorf("after a panic the report is %+v", r)
	}
	var none *Profiler
	none.BeginStep(0)
	none.Enter("net", -1)
	none.Leave()
	none.EndStep()
	if none.Err() != nil {
		t.Error("no profiler has found something")
	}
}

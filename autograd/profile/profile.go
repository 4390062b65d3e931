// Package profile measures what tapes do: time, FLOP, bytes and memory of every op
// and layer, forward and backward, as a table, as a trace for chrome://tracing and
// Perfetto, and as labels of a CPU profile; and it finds the op that made the first
// NaN or Inf.
//
//	p := profile.New(profile.Options{})
//	tape.Observer = p
//	for i := range steps {
//		p.BeginStep(i)
//		... // ops, Backward, optimiser
//		p.EndStep()
//	}
//	p.Report(profile.Measure()).Write(os.Stdout)
//
// Words: a layer is a part that Var.Enter named, by its path ("encoder.blocks.3.attn");
// a VJP belongs to the layer of its forward. What an op does inside of its VJP counts
// as that VJP's; the ops that Checkpoint runs, and the sums of cotangents, are listed by
// themselves.
package profile

import (
	"context"
	"fmt"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fuerte/autograd"
	"fuerte/kernels"
	"fuerte/tensor"
)

// Options tell what a Profiler does besides timing.
type Options struct {
	// Trace is how many events are kept for WriteTrace, 40 bytes each; the first
	// steps have them.
	Trace int
	// Labels sets pprof labels (op, layer, pass) while an op runs, on its goroutine
	// and on the workers that help it.
	Labels bool
	// Memory opens the account of package tensor.
	Memory bool
	// NonFinite looks at every result for NaN and Inf: see Err.
	NonFinite bool
}

// Profiler is an autograd.Observer. It serves tapes of one goroutine; they may be
// many. The methods of a nil *Profiler do nothing.
type Profiler struct {
	options Options
	clock   func() int64 // nanoseconds
	begin   int64        // of the step; −1: between two

	layers []layer // the first is no layer, the second the whole
	at     int     // the layer at hand
	frames []frame // ops under way, the outermost first
	rows   map[key]*row
	names  map[*autograd.Var]string
	err    *NonFiniteError

	step   int
	steps  int
	total  int64 // of all steps
	events []event
	lost   bool // the trace is full
}

// layer is a node of the tree of layers.
type layer struct {
	name   string
	index  int
	parent int
	first  int   // child; 0: none
	next   int   // of its parent
	hint   int   // the child that was entered last
	ops    int   // calls made in it
	begin  int64 // when it was entered
	time   int64 // between Enter and Leave
	labels *context.Context
}

// key tells rows of the table apart.
type key struct {
	op     *autograd.Op
	layer  int
	vjp    bool
	shapes uint64 // hash of shapes and dtypes
}

// row is what all calls of a key took.
type row struct {
	key
	sizes   string
	calls   int
	time    int64 // less that of rows inside
	count   Count
	kernels []kernels.Call
	device  *tensor.Device
	dtype   tensor.DType
	labels  *context.Context
}

// frame is an op under way.
type frame struct {
	row   *row // nil where it counts as part of the frame around it
	op    *autograd.Op
	begin int64
	inner int64 // time of rows inside
	gy    *tensor.Tensor
	layer int // at hand before
	count Count
}

// root is the layer of what is in none.
const root = 1

// outside steps, Profiler.begin is this.
const outside = -1

var epoch = time.Now()

// New returns a profiler. With Options.Memory it counts from here on.
func New(o Options) *Profiler {
	p := &Profiler{options: o, begin: outside, at: root, layers: make([]layer, 2, 256), frames: make([]frame, 0, 16),
		rows: map[key]*row{}, names: map[*autograd.Var]string{}, events: make([]event, 0, o.Trace),
		clock: func() int64 { return int64(time.Since(epoch)) }}
	if o.Memory {
		tensor.OpenAccount()
	}
	if o.Labels {
		labelWorkers()
	}
	return p
}

// Close ends the account of memory.
func (p *Profiler) Close() {
	if p.options.Memory {
		tensor.CloseAccount()
	}
}

// Name gives a parameter a name for the messages.
func (p *Profiler) Name(v *autograd.Var, name string) { p.names[v] = name }

// BeginStep begins to measure, until EndStep; n is the step's number. What runs
// between two steps is checked for NaN, but not measured.
func (p *Profiler) BeginStep(n int) {
	if p == nil {
		return
	}
	p.frames, p.at, p.step = p.frames[:0], root, n // a panic may have ended the last one
	p.begin = p.clock()
}

// EndStep ends the step.
func (p *Profiler) EndStep() {
	if p == nil || p.begin == outside {
		return
	}
	now := p.clock()
	p.trace(event{begin: p.begin, end: now, kind: stepEvent})
	p.total += now - p.begin
	p.steps++
	p.begin = outside
	if p.options.Labels {
		label(noLabels)
	}
}

// Enter is of autograd.Observer; call it for a part without ops, too.
func (p *Profiler) Enter(name string, i int) {
	if p == nil {
		return
	}
	p.at = p.child(p.at, name, i)
	l := &p.layers[p.at]
	l.begin = p.clock()
	if p.options.Labels {
		label(l.labels)
	}
}

// Leave is of autograd.Observer. Panics: if nothing was entered.
func (p *Profiler) Leave() {
	if p == nil {
		return
	}
	if p.at == root {
		panic(&autograd.Error{Op: "leave", Rule: "no layer was entered"})
	}
	l := &p.layers[p.at]
	if p.begin != outside {
		now := p.clock()
		l.time += now - l.begin
		p.trace(event{begin: l.begin, end: now, layer: p.at, kind: layerEvent})
	}
	p.at = l.parent
	if p.options.Labels {
		label(p.labels())
	}
}

// child returns the layer of that name and place in another one. Steps repeat each
// other, so it is mostly the one after that which was entered last.
func (p *Profiler) child(parent int, name string, i int) int {
	guess := p.layers[parent].first
	if h := p.layers[parent].hint; h != 0 {
		if guess = p.layers[h].next; guess == 0 {
			guess = p.layers[parent].first
		}
	}
	found := 0
	if l := p.layers[guess]; guess != 0 && l.index == i && l.name == name {
		found = guess
	}
	last := 0
	for c := p.layers[parent].first; found == 0 && c != 0; c = p.layers[c].next {
		if l := p.layers[c]; l.index == i && l.name == name {
			found = c
		}
		last = c
	}
	if found == 0 {
		found = len(p.layers)
		p.layers = append(p.layers, layer{name: name, index: i, parent: parent})
		p.layers[found].labels = labelled("layer", p.path(found))
		if last == 0 {
			p.layers[parent].first = found
		} else {
			p.layers[last].next = found
		}
	}
	p.layers[parent].hint = found
	return found
}

// path is the name of a layer, "encoder.blocks.3.attn".
func (p *Profiler) path(l int) string {
	var parts []string
	for ; l > root; l = p.layers[l].parent {
		if i := p.layers[l].index; i >= 0 {
			parts = append(parts, strconv.Itoa(i))
		}
		parts = append(parts, p.layers[l].name)
	}
	slices.Reverse(parts)
	return strings.Join(parts, ".")
}

// Begin is of autograd.Observer.
func (p *Profiler) Begin(c *autograd.Call, gy *tensor.Tensor) {
	if c.Layer < root || c.Layer >= len(p.layers) {
		c.Layer = p.at
	}
	f := frame{op: c.Op, gy: gy, layer: p.at}
	p.at = c.Layer
	if p.options.Memory {
		for _, v := range c.In { // what no op has made is an input or a weight
			v.Value.Tag(ownerGiven)
		}
	}
	if p.alone(c) && p.begin != outside {
		f.row = p.rowOf(c, gy)
		if p.options.Labels {
			label(f.row.labels)
		}
	}
	if f.row != nil || p.options.Trace > 0 {
		f.begin = p.clock()
	}
	p.frames = append(p.frames, f)
}

// alone reports whether a call gets a row of its own.
func (p *Profiler) alone(c *autograd.Call) bool {
	if len(p.frames) == 0 || c.Op.Name == autograd.Accumulate {
		return true
	}
	around := p.frames[len(p.frames)-1].row
	return around != nil && around.op.Name == "checkpoint"
}

// End is of autograd.Observer.
func (p *Profiler) End(c *autograd.Call, gxs []*autograd.Var) {
	f := &p.frames[len(p.frames)-1]
	vjp := f.gy != nil
	if p.begin != outside {
		var now int64
		if f.row != nil || p.options.Trace > 0 {
			now = p.clock()
			p.trace(event{begin: f.begin, end: now, row: f.row, op: c.Op, layer: c.Layer, kind: opEvent, vjp: vjp})
		}
		count := counted(c, f.gy, gxs, f.count)
		if r := f.row; r != nil {
			r.calls++
			r.time += now - f.begin - f.inner
			r.count.FLOP += count.FLOP
			r.count.Bytes += count.Bytes
			r.kernel(count.Kernel)
			p.layers[c.Layer].ops++
		}
		for i := len(p.frames) - 2; i >= 0; i-- { // the row around it
			if around := &p.frames[i]; around.row != nil {
				if f.row != nil {
					around.inner += now - f.begin
				} else {
					around.count.FLOP += count.FLOP
					around.count.Bytes += count.Bytes
					around.row.kernel(count.Kernel)
				}
				break
			}
		}
	}
	if p.options.Memory {
		p.tag(c, gxs)
	}
	if p.options.NonFinite && p.err == nil {
		begin := p.clock()
		p.check(c, f.gy, gxs)
		for i := len(p.frames) - 2; i >= 0; i-- { // looking is not the work of the op around
			p.frames[i].inner += p.clock() - begin
			if p.frames[i].row != nil {
				break
			}
		}
	}
	p.at = f.layer
	own := f.row != nil
	p.frames = p.frames[:len(p.frames)-1]
	if own && p.options.Labels {
		label(p.labels())
	}
}

// labels are those of the innermost row under way, or of the layer at hand.
func (p *Profiler) labels() *context.Context {
	for i := len(p.frames) - 1; i >= 0; i-- {
		if r := p.frames[i].row; r != nil {
			return r.labels
		}
	}
	if ctx := p.layers[p.at].labels; ctx != nil {
		return ctx
	}
	return noLabels
}

// kernel notes a call of a kernel that is not known yet.
func (r *row) kernel(c kernels.Call) {
	const most = 4
	if c.Op == "" || len(r.kernels) == most {
		return
	}
	for _, k := range r.kernels {
		if k.Op == c.Op && k.M == c.M && k.N == c.N && k.K == c.K && k.TransA == c.TransA && k.TransB == c.TransB {
			return
		}
	}
	r.kernels = append(r.kernels, c)
}

// rowOf returns the row of a call.
func (p *Profiler) rowOf(c *autograd.Call, gy *tensor.Tensor) *row {
	k := key{op: c.Op, layer: c.Layer, vjp: gy != nil, shapes: shapeHash(c)}
	r := p.rows[k]
	if r == nil {
		r = &row{key: k, sizes: sizes(c)}
		if len(c.In) > 0 {
			r.device, r.dtype = c.In[0].Value.Device(), c.In[0].Value.DType()
		}
		if p.options.Labels {
			r.labels = labelled("op", c.Op.Name, "layer", p.path(c.Layer), "pass", pass(k.vjp))
		}
		p.rows[k] = r
	}
	return r
}

// pass names a direction.
func pass(vjp bool) string {
	if vjp {
		return "backward"
	}
	return "forward"
}

// shapeHash is FNV-1a of ranks, dtypes and sizes; 64 bits collide for nobody's
// model.
func shapeHash(c *autograd.Call) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, v := range c.In {
		h = (h ^ uint64(v.Value.Rank())<<8 ^ uint64(v.Value.DType())) * prime
		for _, d := range v.Shape() {
			h = (h ^ uint64(d)) * prime
		}
	}
	return h
}

// sizes writes the shapes of the inputs: "16×64×192, 576×192".
func sizes(c *autograd.Call) string {
	var b strings.Builder
	for i, v := range c.In {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(times(v.Shape()))
	}
	return b.String()
}

func times(shape []int) string {
	if len(shape) == 0 {
		return "1"
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", "×")
}

// The owners of memory, to package tensor: 0 is who is not known, ownerGiven are inputs
// and weights, and then come the layers.
const ownerGiven, layerOwners = 1, 1

// tag names the layer as the owner of what an op has made.
func (p *Profiler) tag(c *autograd.Call, gxs []*autograd.Var) {
	owner := layerOwners + c.Layer
	if gxs == nil {
		c.Out.Value.Tag(owner)
		for _, s := range c.Saved {
			if s != nil { // not asked for
				s.Tag(owner)
			}
		}
		return
	}
	for _, g := range gxs {
		if g != nil {
			g.Value.Tag(owner)
		}
	}
}

// workerLabels are what a worker that joins a call of kernels.Parallel takes on.
var workerLabels atomic.Pointer[context.Context]

// labelWorkers has the workers take them. It is done once, and stays: a worker loses
// the labels of a profiler that has ended by joining the next call.
var labelWorkers = sync.OnceFunc(func() {
	kernels.OnJoin(func() {
		if ctx := workerLabels.Load(); ctx != nil {
			pprof.SetGoroutineLabels(*ctx)
		}
	})
})

// label sets the labels of this goroutine and of the workers.
func label(ctx *context.Context) {
	pprof.SetGoroutineLabels(*ctx)
	workerLabels.Store(ctx)
}

var noLabels = labelled()

// labelled returns a context with labels, where workers find it.
func labelled(pairs ...string) *context.Context {
	ctx := pprof.WithLabels(context.Background(), pprof.Labels(pairs...))
	return &ctx
}

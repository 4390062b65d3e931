package profile

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"slices"

	"fuerte/autograd"
)

// event is something that took time.
type event struct {
	begin, end int64
	row        *row // nil: part of another op, or none
	op         *autograd.Op
	layer      int
	step       int
	kind       eventKind
	vjp        bool
}

type eventKind uint8

const (
	stepEvent eventKind = iota
	layerEvent
	opEvent
)

// trace keeps an event, while there is room.
func (p *Profiler) trace(e event) {
	if p.options.Trace == 0 {
		return
	}
	if len(p.events) == cap(p.events) {
		p.lost = true
		return
	}
	e.step = p.step
	p.events = append(p.events, e)
}

// Threads of the trace.
const (
	stepThread = 1
	opThread   = 2
)

// traceEvent is an event of the Trace Event Format, times in microseconds.
type traceEvent struct {
	Name  string         `json:"name"`
	Cat   string         `json:"cat,omitempty"`
	Phase string         `json:"ph"`
	Time  float64        `json:"ts"`
	Dur   float64        `json:"dur"`
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	Args  map[string]any `json:"args,omitempty"`
}

// WriteTrace writes the events as JSON for chrome://tracing and ui.perfetto.dev:
// complete events, steps on one thread, layers and the ops in them on the other. In
// the backward pass successive VJPs of a layer stand in an event of the layer's name.
//
// Errors: those of w. Source: Trace Event Format, the "X" and "M" phases.
func (p *Profiler) WriteTrace(w io.Writer) error {
	events := slices.Clone(p.events)
	slices.SortStableFunc(events, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(b.end, a.end), cmp.Compare(a.kind, b.kind))
	})
	b := bufio.NewWriter(w)
	b.WriteString("{\"displayTimeUnit\":\"ms\",\"otherData\":{\"complete\":")
	if p.lost {
		b.WriteString("false")
	} else {
		b.WriteString("true")
	}
	b.WriteString("},\"traceEvents\":[\n")
	enc := json.NewEncoder(b)
	var fault error
	put := func(e traceEvent) {
		e.PID = 1
		fault = cmp.Or(fault, enc.Encode(e))
		b.WriteString(",")
	}
	p.nested(events, put)
	put(traceEvent{Name: "thread_name", Phase: "M", TID: stepThread, Args: map[string]any{"name": "steps"}})
	fault = cmp.Or(fault, enc.Encode(traceEvent{Name: "thread_name", Phase: "M", PID: 1, TID: opThread, Args: map[string]any{"name": "tape"}}))
	b.WriteString("]}\n")
	return cmp.Or(fault, b.Flush())
}

// nested puts events, sorted by their beginning, and around VJPs of one layer that
// follow each other that layer.
func (p *Profiler) nested(events []event, put func(traceEvent)) {
	wrapped := 0 // events before it have their layer around them
	for i := 0; i < len(events); {
		e := events[i]
		inner := within(events[i:])
		if e.kind != opEvent {
			inner = 1 // the parts of steps and layers are sorted as they stand
		}
		if i >= wrapped && e.kind == opEvent && e.vjp && e.layer != root {
			end := e.end
			for wrapped = i + inner; wrapped < len(events); wrapped += within(events[wrapped:]) {
				n := events[wrapped]
				if n.step != e.step || n.kind != opEvent || n.layer != e.layer || !n.vjp && n.op.Name != autograd.Accumulate {
					break
				}
				end = n.end
			}
			put(traceEvent{Name: p.path(e.layer) + " " + pass(true), Cat: "layer", Phase: "X", TID: opThread, Time: micro(e.begin), Dur: micro(end - e.begin)})
		}
		put(p.traced(e))
		p.nested(events[i+1:i+inner], put)
		i += inner
	}
}

// within counts the first event and those inside of it.
func within(events []event) int {
	n := 1
	for n < len(events) && events[n].end <= events[0].end {
		n++
	}
	return n
}

func micro(ns int64) float64 { return float64(ns) / 1e3 }

func (p *Profiler) traced(e event) traceEvent {
	t := traceEvent{Phase: "X", TID: opThread, Time: micro(e.begin), Dur: micro(e.end - e.begin)}
	switch e.kind {
	case stepEvent:
		t.Name, t.Cat, t.TID = "step", "step", stepThread
		t.Args = map[string]any{"step": e.step}
	case layerEvent:
		l := p.layers[e.layer]
		t.Name, t.Cat = p.path(e.layer), "layer"
		if l.ops == 0 {
			t.Cat = "part"
		}
	case opEvent:
		t.Name, t.Cat = e.op.Name, pass(e.vjp)
		t.Args = map[string]any{"layer": p.path(e.layer)}
		if e.vjp {
			t.Name += " backward"
		}
		if e.row != nil {
			t.Args["shapes"] = e.row.sizes
		}
	}
	return t
}

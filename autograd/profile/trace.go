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
	for i := 0; i < len(events); {
		e := events[i]
		if e.kind != opEvent || !e.vjp {
			put(p.traced(e))
			i++
			continue
		}
		// VJPs of a layer, and what stands in them.
		n, end := i, e.end
		for n < len(events) && events[n].step == e.step && (events[n].kind == opEvent && events[n].layer == e.layer && (events[n].vjp || events[n].op.Name == autograd.Accumulate) || events[n].end <= end) {
			end = max(end, events[n].end)
			n++
		}
		put(traceEvent{Name: p.path(e.layer) + " backward", Cat: "layer", Phase: "X", TID: opThread, Time: micro(e.begin), Dur: micro(end - e.begin)})
		for ; i < n; i++ {
			put(p.traced(events[i]))
		}
	}
	put(traceEvent{Name: "thread_name", Phase: "M", TID: stepThread, Args: map[string]any{"name": "steps"}})
	fault = cmp.Or(fault, enc.Encode(traceEvent{Name: "thread_name", Phase: "M", PID: 1, TID: opThread, Args: map[string]any{"name": "tape"}}))
	b.WriteString("]}\n")
	return cmp.Or(fault, b.Flush())
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

package profile

import (
	"fmt"
	"math"
	"strings"

	"fuerte/autograd"
	"fuerte/tensor"
)

// NonFiniteError tells where the first NaN or Inf came from.
type NonFiniteError struct {
	Step  int
	Op    string
	Layer string // "" outside of all
	VJP   string // the op in whose VJP Op ran as a part; "": none
	// Pass is "forward" or "backward".
	Pass string
	// Output is the result, or the cotangent of input number Input.
	Output Statistics
	Input  int // −1: the result of a forward
	// Inputs are what the op read; of a VJP also the cotangent of its result.
	Inputs []Statistics
}

// Statistics are those of a tensor's values; of the finite ones where others are
// there.
type Statistics struct {
	Name           string
	Shape          []int
	DType          tensor.DType
	NaN, Inf       int
	First          int // index of the first of these in row-major order, or −1
	Min, Max, Mean float64
}

func (s Statistics) String() string {
	text := fmt.Sprintf("%s [%s] %s", s.Name, times(s.Shape), s.DType)
	if s.NaN+s.Inf > 0 {
		text += fmt.Sprintf(" with %d NaN and %d Inf, the first at %d", s.NaN, s.Inf, s.First)
	}
	return text + fmt.Sprintf(", min %.4g, max %.4g, mean %.4g", s.Min, s.Max, s.Mean)
}

func (e *NonFiniteError) Error() string {
	var b strings.Builder
	where := e.Layer
	if where == "" {
		where = "no layer"
	}
	op := e.Op
	if e.VJP != "" {
		op += ", a part of the VJP of " + e.VJP + ","
	}
	fmt.Fprintf(&b, "profile: step %d: the %s pass of %s in %s gave %s", e.Step, e.Pass, op, where, e.Output)
	for _, s := range e.Inputs {
		b.WriteString("; it read " + s.String())
	}
	return b.String()
}

// Err returns the first NaN or Inf since New as a *NonFiniteError, or nil. Call it
// before results are used: when the loss is there, and after Backward.
func (p *Profiler) Err() error {
	if p == nil || p.err == nil {
		return nil // and not a nil *NonFiniteError
	}
	return p.err
}

// check looks at what an op made.
func (p *Profiler) check(c *autograd.Call, gy *tensor.Tensor, gxs []*autograd.Var) {
	if gy == nil {
		p.blame(c, gy, c.Out.Value, -1)
		return
	}
	for i, g := range gxs {
		if g != nil && p.err == nil {
			p.blame(c, gy, g.Value, i)
		}
	}
}

func (p *Profiler) blame(c *autograd.Call, gy, made *tensor.Tensor, input int) {
	if finite(made) {
		return
	}
	name := "its result"
	if input >= 0 {
		name = fmt.Sprintf("the cotangent of %s", p.inputName(c, input))
	}
	e := &NonFiniteError{Step: p.step, Op: c.Op.Name, Layer: p.path(c.Layer), Pass: pass(gy != nil), Output: statistics(name, made), Input: input}
	for i := len(p.frames) - 2; i >= 0 && e.VJP == ""; i-- {
		if f := p.frames[i]; f.gy != nil {
			e.VJP, e.Pass = f.op.Name, pass(true)
		}
	}
	for i, v := range c.In {
		e.Inputs = append(e.Inputs, statistics(p.inputName(c, i), v.Value))
	}
	if gy != nil {
		e.Inputs = append(e.Inputs, statistics("the cotangent of its result", gy))
	}
	p.err = e
}

func (p *Profiler) inputName(c *autograd.Call, i int) string {
	if name := p.names[c.In[i]]; name != "" {
		return name
	}
	return fmt.Sprintf("input %d", i)
}

// host returns the values of a floating tensor as contiguous float32 or float64 on
// the CPU, or nil for another one.
func host(t *tensor.Tensor) *tensor.Tensor {
	switch t.DType() {
	case tensor.Float32, tensor.Float64:
		h := t.To(tensor.CPU)
		defer h.Release()
		return h.Compact()
	case tensor.BFloat16, tensor.Float16:
		h := t.To(tensor.CPU)
		defer h.Release()
		return tensor.Cast(h, tensor.Float32)
	}
	return nil
}

func finite(t *tensor.Tensor) bool {
	h := host(t)
	if h == nil {
		return true
	}
	defer h.Release()
	if h.DType() == tensor.Float64 {
		for _, v := range tensor.Data[float64](h) {
			if v-v != 0 {
				return false
			}
		}
		return true
	}
	for _, v := range tensor.Data[float32](h) {
		if v-v != 0 { // NaN and Inf, no other
			return false
		}
	}
	return true
}

func statistics(name string, t *tensor.Tensor) Statistics {
	s := Statistics{Name: name, Shape: append([]int{}, t.Shape()...), DType: t.DType(), First: -1, Min: math.Inf(1), Max: math.Inf(-1)}
	whole := t.To(tensor.CPU)
	defer whole.Release()
	wide := tensor.Cast(whole, tensor.Float64)
	defer wide.Release()
	n := 0
	for i, v := range tensor.Data[float64](wide) {
		switch {
		case math.IsNaN(v):
			s.NaN++
		case math.IsInf(v, 0):
			s.Inf++
		default:
			s.Min, s.Max = min(s.Min, v), max(s.Max, v)
			n++
			s.Mean += (v - s.Mean) / float64(n)
			continue
		}
		if s.First < 0 {
			s.First = i
		}
	}
	if n == 0 {
		s.Min, s.Max, s.Mean = math.NaN(), math.NaN(), math.NaN()
	}
	return s
}

// Package nn holds modules, optimisers, schedules and checkpoint files.
//
// A module is a struct of parameters (*autograd.Var) and other modules, with a
// Forward method. Struct tags give the checkpoint's names; nothing is
// registered and nothing is hidden.
package nn

import (
	"fmt"
	"reflect"
	"strconv"

	"fuerte/autograd"
	"fuerte/tensor"
)

// Var is autograd.Var, for short signatures.
type Var = autograd.Var

// Named is a parameter with its full checkpoint name.
type Named struct {
	Name string
	*Var
}

// Params lists the parameters of a module, in the order of its fields. The name
// of each is the path of its `param` tags, joined by dots; slices add an index;
// an embedded or untagged module adds nothing. A nil parameter or module is
// absent.
func Params(module any) []Named {
	var out []Named
	collect(reflect.ValueOf(module), "", &out)
	return out
}

var varType = reflect.TypeFor[*Var]()

func collect(v reflect.Value, path string, out *[]Named) {
	switch {
	case v.Type() == varType:
		if !v.IsNil() {
			*out = append(*out, Named{path, v.Interface().(*Var)})
		}
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			collect(v.Elem(), path, out)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			collect(v.Index(i), join(path, strconv.Itoa(i)), out)
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if name, ok := v.Type().Field(i).Tag.Lookup("param"); ok {
				collect(v.Field(i), join(path, name), out)
			}
		}
	default:
		panic(fmt.Sprintf("nn: a param tag on a %s", v.Type()))
	}
}

func join(path, name string) string {
	if path == "" || name == "" {
		return path + name
	}
	return path + "." + name
}

// Count returns the number of elements of all parameters.
func Count(ps []Named) int {
	n := 0
	for _, p := range ps {
		n += p.Value.Len()
	}
	return n
}

// NewParam returns a float32 parameter of zeros.
func NewParam(dev *tensor.Device, shape ...int) *Var {
	return autograd.Param(tensor.Zeros(dev, tensor.Float32, shape...))
}

// Linear is y = x·Wᵀ + b.
//
// Shapes: x [.., in], W [out, in], b [out] (absent without bias), y [.., out].
type Linear struct {
	Weight *Var `param:"weight"`
	Bias   *Var `param:"bias"`
}

// NewLinear returns a Linear of zeros.
func NewLinear(dev *tensor.Device, in, out int, bias bool) *Linear {
	l := &Linear{Weight: NewParam(dev, out, in)}
	if bias {
		l.Bias = NewParam(dev, out)
	}
	return l
}

// Forward applies the map to the last axis.
func (l *Linear) Forward(x *Var) *Var { return autograd.Linear(x, l.Weight, l.Bias) }

// RMSNorm is y = x·w/√(mean x² + eps) over the last axis.
//
// Source: Zhang & Sennrich 2019, arXiv:1910.07467.
type RMSNorm struct {
	Weight *Var `param:"weight"`
	Eps    float64
}

// NewRMSNorm returns an RMSNorm of weights 1.
func NewRMSNorm(dev *tensor.Device, width int, eps float64) *RMSNorm {
	return &RMSNorm{autograd.Param(tensor.Full(dev, tensor.Float32, 1, width)), eps}
}

// Forward normalises every row.
func (n *RMSNorm) Forward(x *Var) *Var { return autograd.RMSNorm(x, n.Weight, n.Eps) }

// SwiGLU is the gated feed-forward block: y = Down(silu(Gate(x)) ⊙ Up(x)).
//
// Shapes: x, y [.., D]; Gate and Up are [F, D], Down is [D, F].
// Source: Shazeer 2020, arXiv:2002.05202. The tags are the checkpoint's names.
type SwiGLU struct {
	Gate *Linear `param:"fc1"`
	Down *Linear `param:"fc2"`
	Up   *Linear `param:"fc3"`
}

// NewSwiGLU returns a block without biases.
func NewSwiGLU(dev *tensor.Device, width, hidden int) *SwiGLU {
	return &SwiGLU{
		Gate: NewLinear(dev, width, hidden, false),
		Down: NewLinear(dev, hidden, width, false),
		Up:   NewLinear(dev, width, hidden, false),
	}
}

// Forward applies the block to every token.
func (m *SwiGLU) Forward(x *Var) *Var {
	return m.Down.Forward(autograd.SwiGLU(m.Gate.Forward(x), m.Up.Forward(x)))
}

// Embedding is a table of rows: y = Weight[id].
type Embedding struct {
	Weight *Var `param:"weight"`
}

// Forward returns the rows of int32 ids.
func (e *Embedding) Forward(id *Var) *Var { return autograd.Gather(e.Weight, id) }

// NewEmbedding returns a table of zeros.
func NewEmbedding(dev *tensor.Device, rows, width int) *Embedding {
	return &Embedding{NewParam(dev, rows, width)}
}

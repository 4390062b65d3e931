package kernels

// Activation is a function of one variable that an Epilogue may apply.
type Activation uint8

const (
	Identity Activation = iota
	ActivationGELU
	ActivationSiLU
)

// Epilogue is what follows a matrix product x, element by element: with the
// fields that are set,
//
//	y = f(Scale·x + Bias) · silu(Gate) + Residual
//
// Shapes: Bias [n], one for each column; Gate and Residual [m, n] with row strides
// LdGate and LdResidual. Memory: none of them overlaps C.
// Error: that of Set.Scale, Add, GELU or SiLU, SwiGLU and Add in turn.
type Epilogue[T Float] struct {
	Scale      T // 0: none
	Bias       []T
	Activation Activation
	Gate       []T
	LdGate     int
	Residual   []T
	LdResidual int
}

// check panics unless the operands hold an m×n product.
func (e *Epilogue[T]) check(op string, m, n int) {
	if e == nil || m <= 0 || n <= 0 {
		return
	}
	if e.Bias != nil && len(e.Bias) < n {
		shapeCheck(false, op, "bias of %d elements, too few for %d columns", len(e.Bias), n)
	}
	if e.Activation > ActivationSiLU {
		shapeCheck(false, op, "no activation %d", e.Activation)
	}
	if e.Gate != nil {
		checkMatrix(op, "gate", m, n, e.LdGate, len(e.Gate))
	}
	if e.Residual != nil {
		checkMatrix(op, "residual", m, n, e.LdResidual, len(e.Residual))
	}
}

// apply changes rows i0…i1 and columns j0…j1 of C, which start at c.
func (e *Epilogue[T]) apply(s *Set[T], c []T, ldc, i0, i1, j0, j1 int) {
	if e == nil {
		return
	}
	w := j1 - j0
	for i := i0; i < i1; i++ {
		stopPoint()
		y := c[(i-i0)*ldc:][:w]
		if e.Scale != 0 && e.Scale != 1 {
			s.Scale(y, y, e.Scale)
		}
		if e.Bias != nil {
			s.Add(y, y, e.Bias[j0:j1])
		}
		switch e.Activation {
		case ActivationGELU:
			s.GELU(y, y)
		case ActivationSiLU:
			s.SiLU(y, y)
		}
		if e.Gate != nil {
			s.SwiGLU(y, e.Gate[i*e.LdGate+j0:][:w], y)
		}
		if e.Residual != nil {
			s.Add(y, y, e.Residual[i*e.LdResidual+j0:][:w])
		}
	}
}

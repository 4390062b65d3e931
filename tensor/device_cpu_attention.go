package tensor

import (
	"math"

	"fuerte/kernels"
)

// attentionShape reads the kernel's view of the layout from the strides.
func attentionShape(q, k, v, o *Tensor, m Mask, prefix *Tensor) kernels.AttentionShape {
	a := kernels.AttentionShape{
		B: q.dims[0], Tq: q.dims[1], H: q.dims[2], Dh: q.dims[3], Tk: k.dims[1],
		LdQ: q.steps[1], LdK: k.steps[1], LdV: v.steps[1], LdO: o.steps[1],
		BatchQ: q.steps[0], BatchK: k.steps[0], BatchV: v.steps[0], BatchO: o.steps[0],
		Scale: 1 / math.Sqrt(float64(q.dims[3])), Causal: m == Causal,
	}
	if prefix != nil {
		a.Prefix = Data[int32](prefix)
	}
	return a
}

func (h host[T]) attention(o, lse, q, k, v *Tensor, m Mask, prefix *Tensor) {
	var l []T
	if lse != nil {
		l = Data[T](lse)
	}
	a := attentionShape(q, k, v, o, m, prefix)
	kernels.Attention(h.set(), raw[T](o), l, raw[T](q), raw[T](k), raw[T](v), &a)
}

func (h host[T]) attentionGrad(gq, gk, gv, q, k, v, o, lse, gy *Tensor, m Mask, prefix *Tensor) {
	a := attentionShape(q, k, v, o, m, prefix)
	kernels.AttentionGrad(h.set(), raw[T](gq), raw[T](gk), raw[T](gv), raw[T](q), raw[T](k), raw[T](v),
		raw[T](o), Data[T](lse), raw[T](gy), &a)
}

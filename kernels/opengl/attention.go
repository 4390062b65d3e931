//go:build opengl

package opengl

import (
	_ "embed"
	"fmt"
)

//go:embed attention.comp
var attentionSource string

//go:embed attention_stat.comp
var attentionStatSource string

//go:embed attention_grad_q.comp
var attentionGradQSource string

//go:embed attention_grad_kv.comp
var attentionGradKVSource string

// MaxHead is the largest head size that the attention shaders hold.
const MaxHead = 256

const attentionDefines = "#define LANES 64\n#define MAX_HEAD 256"

var (
	attentionShader       = newShader("attention", attentionSource, attentionDefines)
	attentionStatShader   = newShader("attention-stat", attentionStatSource, attentionDefines)
	attentionGradQShader  = newShader("attention-grad-q", attentionGradQSource, attentionDefines)
	attentionGradKVShader = newShader("attention-grad-kv", attentionGradKVSource, attentionDefines)
)

// AttentionShape is kernels.AttentionShape with the prefix on the device: how
// the operands lie in memory and which keys each query sees.
type AttentionShape struct {
	B, H, Tq, Tk, Dh               int
	LdQ, LdK, LdV, LdO             int // row strides, in elements
	BatchQ, BatchK, BatchV, BatchO int // strides between batch entries
	Scale                          float32
	Causal                         bool
	Prefix                         Buffer // int32 [B] with Causal; the zero Buffer: none
}

// args returns the arguments that all shaders but the first part's share.
func (a *AttentionShape) args() []word {
	w := integers(make([]word, 0, maxWords), a.H, a.Tq, a.Tk, a.Dh, a.LdQ, a.LdK, a.LdV, a.LdO, a.BatchQ, a.BatchK, a.BatchV, a.BatchO)
	return append(w, real(a.Scale), boolean(a.Causal), boolean(a.Causal && a.Prefix.mem != nil))
}

// prefix returns the prefix, or any buffer in its place.
func (a *AttentionShape) prefix(other Buffer) Buffer {
	if a.Prefix.mem != nil {
		return a.Prefix
	}
	return other
}

// check returns an error unless the operands lie in their buffers; os and qs …
// are the operands laid out like o, q, k and v.
func (a *AttentionShape) check(op string, os, qs, ks, vs []Buffer) error {
	if min(a.B, a.H, a.Tq, a.Tk) < 0 || a.Dh < 1 {
		return fmt.Errorf("opengl: %s: bad sizes B=%d H=%d Tq=%d Tk=%d Dh=%d", op, a.B, a.H, a.Tq, a.Tk, a.Dh)
	}
	if a.Dh > MaxHead {
		return fmt.Errorf("opengl: %s: heads of %d, the shader holds %d", op, a.Dh, MaxHead)
	}
	if a.Causal && a.Prefix.mem != nil {
		if err := need(op, a.B, a.Prefix); err != nil {
			return err
		}
	}
	for _, g := range []struct {
		list            []Buffer
		rows, ld, batch int
	}{{os, a.Tq, a.LdO, a.BatchO}, {qs, a.Tq, a.LdQ, a.BatchQ}, {ks, a.Tk, a.LdK, a.BatchK}, {vs, a.Tk, a.LdV, a.BatchV}} {
		if a.B*a.H*g.rows == 0 {
			continue
		}
		ld := g.ld
		if g.rows == 1 {
			ld = a.H * a.Dh // whatever it says
		}
		for _, b := range g.list {
			if err := needMatrix(op, a.B, g.batch, g.rows, a.H*a.Dh, ld, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// Attention sets o = softmax(Scale·q·kᵀ)·v over the visible keys of every query,
// and lse [B, H, Tq] to the log-sum-exp of its scores, kept for the VJP; lse may
// be the zero Buffer. A query that sees no key has o = 0 and lse = −Inf. Layout
// and mask are those of kernels.AttentionShape. Model: kernels.refAttention.
//
// Memory: o and lse overlap nothing else; no gap is read or written; no scratch.
// Error: as kernels.Attention, four times. Errors: Dh above MaxHead.
func (c *Context) Attention(o, lse, q, k, v Buffer, a *AttentionShape) error {
	if a.B*a.H*a.Tq == 0 {
		return nil
	}
	if a.Tk == 0 {
		k, v = q, q // not read
	}
	if err := a.check("attention", []Buffer{o}, []Buffer{q}, []Buffer{k}, []Buffer{v}); err != nil {
		return err
	}
	keep := lse.mem != nil
	if !keep {
		lse = o // not written
	} else if err := need("attention", a.B*a.H*a.Tq, lse); err != nil {
		return err
	}
	return c.dispatch(attentionShader, groups(a.Tq, 1), a.H, a.B, []Buffer{o, lse, q, k, v, a.prefix(q)}, append(a.args(), boolean(keep))...)
}

// AttentionGrad is the VJP of Attention: from the cotangent gO of o, in o's
// strides, and from o and lse as Attention left them, it sets gq, gk and gv, in
// the strides of q, k and v. Model: kernels.refAttentionGrad.
//
// Memory: as Attention; 2·B·H·Tq elements of scratch.
// Error: as kernels.AttentionGrad, four times. Errors: Dh above MaxHead.
func (c *Context) AttentionGrad(gq, gk, gv, q, k, v, o, lse, gO Buffer, a *AttentionShape) error {
	if a.B*a.H == 0 || a.Tq == 0 && a.Tk == 0 {
		return nil
	}
	if a.Tk == 0 {
		k, v, gk, gv = q, q, gq, gq // neither read nor written
	}
	if a.Tq == 0 {
		q, o, lse, gO, gq = k, k, k, k, gk
	}
	if err := a.check("attention-grad", []Buffer{o, gO}, []Buffer{q, gq}, []Buffer{k, gk}, []Buffer{v, gv}); err != nil {
		return err
	}
	if err := need("attention-grad", a.B*a.H*a.Tq, lse); err != nil {
		return err
	}
	n := a.B * a.H * a.Tq
	stat, err := c.Alloc(2 * n)
	if err != nil {
		return err
	}
	defer c.Free(stat)
	if n > 0 {
		if err := c.dispatch(attentionStatShader, groups(n, 64), 1, 1, []Buffer{stat, lse, o, gO},
			integer(a.H), integer(a.Tq), integer(a.Dh), integer(a.LdO), integer(a.BatchO), integer(n)); err != nil {
			return err
		}
		if err := c.dispatch(attentionGradQShader, groups(a.Tq, 1), a.H, a.B, []Buffer{gq, q, k, v, gO, stat, a.prefix(stat)}, a.args()...); err != nil {
			return err
		}
	}
	if a.Tk == 0 {
		return nil
	}
	return c.dispatch(attentionGradKVShader, groups(a.Tk, 1), a.H, a.B, []Buffer{gk, gv, q, k, v, gO, stat, a.prefix(stat)}, a.args()...)
}

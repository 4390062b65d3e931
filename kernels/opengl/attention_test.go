//go:build opengl

package opengl

import (
	"fmt"
	"math"
	"testing"
)

func TestAttention(t *testing.T) {
	cases := []struct {
		B, H, Tq, Tk, Dh int
		causal           bool
		prefix           []int32
	}{
		{B: 1, H: 1, Tq: 1, Tk: 1, Dh: 1},
		{B: 2, H: 3, Tq: 7, Tk: 7, Dh: 5},
		{B: 1, H: 2, Tq: 33, Tk: 70, Dh: 16},
		{B: 1, H: 1, Tq: 65, Tk: 129, Dh: 64, causal: true},
		{B: 2, H: 2, Tq: 40, Tk: 40, Dh: 8, causal: true, prefix: []int32{0, 23}},
		{B: 3, H: 1, Tq: 5, Tk: 90, Dh: 12, causal: true, prefix: []int32{90, 1, 88}},
		{B: 1, H: 1, Tq: 3, Tk: 5, Dh: 256},
		{B: 1, H: 2, Tq: 2, Tk: 3, Dh: 100, causal: true},
		{B: 1, H: 1, Tq: 6, Tk: 4, Dh: 4, causal: true}, // two queries see no key
		{B: 2, H: 1, Tq: 3, Tk: 0, Dh: 4},
		{B: 2, H: 1, Tq: 0, Tk: 3, Dh: 4},
	}
	for _, s := range cases {
		twice(t, fmt.Sprintf("%+v", s), func(a *arena) {
			attentionCase(a, s.B, s.H, s.Tq, s.Tk, s.Dh, s.causal, s.prefix)
		})
	}
	c := testContext(t)
	b, err := c.Alloc(1000)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Free(b)
	if err := c.Attention(b, Buffer{}, b, b, b, &AttentionShape{B: 1, H: 1, Tq: 1, Tk: 1, Dh: MaxHead + 1}); err == nil {
		t.Error("a head above MaxHead was accepted")
	}
	if err := c.Attention(b, Buffer{}, b, b, b, &AttentionShape{B: 1, H: 1, Tq: 100, Tk: 100, Dh: 11, LdQ: 11, LdK: 11, LdV: 11, LdO: 11}); err == nil {
		t.Error("operands past the end of a buffer were accepted")
	}
}

// attentionCase takes q, k and v as slices of one fused matrix where Tq = Tk,
// and else as matrices with gaps of NaN.
func attentionCase(a *arena, B, H, Tq, Tk, Dh int, causal bool, prefix []int32) {
	D := H * Dh
	shape := &AttentionShape{B: B, H: H, Tq: Tq, Tk: Tk, Dh: Dh, Scale: float32(1 / math.Sqrt(float64(Dh))), Causal: causal}
	nan := float32(math.NaN())
	matrix := func(rows, cols, ld int) (x []float32, batch int) {
		batch = rows*ld + 7
		x = make([]float32, max(0, (B-1)*batch+rows*ld-(ld-cols)))
		for i := range x {
			x[i] = nan
		}
		for b := range B {
			for r := range rows {
				copy(x[b*batch+r*ld:], a.normal(cols))
			}
		}
		return x, batch
	}
	blank := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = nan
		}
		return x
	}
	var q, k, v []float32
	var qb, kb, vb, gqb, gkb, gvb Buffer
	if Tq == Tk {
		x, batch := matrix(Tq, 3*D, 3*D+2)
		all, g := a.in(x), a.out(len(x))
		n := len(x)
		q, k, v = x[:n-2*D], x[D:n-D], x[2*D:]
		qb, kb, vb = all.Slice(0, n-2*D), all.Slice(D, n-D), all.Slice(2*D, n)
		gqb, gkb, gvb = g.Slice(0, n-2*D), g.Slice(D, n-D), g.Slice(2*D, n)
		shape.LdQ, shape.LdK, shape.LdV = 3*D+2, 3*D+2, 3*D+2
		shape.BatchQ, shape.BatchK, shape.BatchV = batch, batch, batch
	} else {
		shape.LdQ, shape.LdK, shape.LdV = D+1, D+2, D+3
		q, shape.BatchQ = matrix(Tq, D, D+1)
		k, shape.BatchK = matrix(Tk, D, D+2)
		v, shape.BatchV = matrix(Tk, D, D+3)
		qb, kb, vb = a.in(q), a.in(k), a.in(v)
		gqb, gkb, gvb = a.out(len(q)), a.out(len(k)), a.out(len(v))
	}
	shape.LdO = D + 4
	gO, batchO := matrix(Tq, D, D+4)
	shape.BatchO = batchO
	if prefix != nil {
		shape.Prefix = a.ints(prefix)
	}
	o, o2, lse := a.out(len(gO)), a.out(len(gO)), a.out(B*H*Tq)
	a.ok(a.c.Attention(o, lse, qb, kb, vb, shape))
	a.ok(a.c.Attention(o2, Buffer{}, qb, kb, vb, shape))
	a.ok(a.c.AttentionGrad(gqb, gkb, gvb, qb, kb, vb, o, lse, a.in(gO), shape))

	wo, wl := wide(blank(len(gO))), make([]float64, B*H*Tq)
	wq, wk, wv := wide(blank(len(q))), wide(blank(len(k))), wide(blank(len(v)))
	var sizeO, sizeL, sizeQ, sizeK, sizeV float64 // one scale an operand: values are of order 1
	set := func(x []float64, rows, ld, batch int) {
		for b := range B {
			for r := range rows {
				for d := range D {
					x[b*batch+r*ld+d] = 0
				}
			}
		}
	}
	set(wo, Tq, shape.LdO, batchO)
	set(wq, Tq, shape.LdQ, shape.BatchQ)
	set(wk, Tk, shape.LdK, shape.BatchK)
	set(wv, Tk, shape.LdV, shape.BatchV)
	scale := float64(shape.Scale)
	for b := range B {
		for h := range H {
			for i := range Tq {
				limit := Tk
				if causal {
					limit = i + Tk - Tq + 1
					if prefix != nil {
						limit = max(limit, int(prefix[b]))
					}
					limit = max(0, min(limit, Tk))
				}
				qi := b*shape.BatchQ + i*shape.LdQ + h*Dh
				oi := b*batchO + i*shape.LdO + h*Dh
				p, sum := make([]float64, limit), 0.0
				for j := range limit {
					kj := b*shape.BatchK + j*shape.LdK + h*Dh
					for d := range Dh {
						p[j] += scale * float64(q[qi+d]) * float64(k[kj+d])
					}
					p[j] = math.Exp(p[j])
					sum += p[j]
				}
				wl[(b*H+h)*Tq+i] = math.Log(sum) // −Inf for none
				delta := 0.0
				dp := make([]float64, limit)
				for j := range limit {
					p[j] /= sum
					vj := b*shape.BatchV + j*shape.LdV + h*Dh
					for d := range Dh {
						wo[oi+d] += p[j] * float64(v[vj+d])
						dp[j] += float64(gO[oi+d]) * float64(v[vj+d])
						wv[vj+d] += p[j] * float64(gO[oi+d])
					}
					delta += p[j] * dp[j]
				}
				for j := range limit {
					kj := b*shape.BatchK + j*shape.LdK + h*Dh
					ds := p[j] * (dp[j] - delta)
					for d := range Dh {
						wq[qi+d] += scale * ds * float64(k[kj+d])
						wk[kj+d] += scale * ds * float64(q[qi+d])
					}
				}
			}
		}
	}
	top := func(x []float64, s *float64) {
		*s = 1
		for _, v := range x {
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				*s = math.Max(*s, math.Abs(v))
			}
		}
	}
	top(wo, &sizeO)
	top(wl, &sizeL)
	top(wq, &sizeQ)
	top(wk, &sizeK)
	top(wv, &sizeV)
	near := func(size float64) func(int) float64 { return func(int) float64 { return 4e-6 * size } }
	a.want("o", o, wo, near(sizeO))
	a.want("o without lse", o2, wo, near(sizeO))
	a.want("lse", lse, wl, near(sizeL))
	if Tq == Tk {
		// The three gradients lie in one buffer: compare their own elements.
		a.wantRows("gq", gqb, wq, B, Tq, D, shape.LdQ, shape.BatchQ, near(sizeQ))
		a.wantRows("gk", gkb, wk, B, Tk, D, shape.LdK, shape.BatchK, near(sizeK))
		a.wantRows("gv", gvb, wv, B, Tk, D, shape.LdV, shape.BatchV, near(sizeV))
		return
	}
	a.want("gq", gqb, wq, near(sizeQ))
	a.want("gk", gkb, wk, near(sizeK))
	a.want("gv", gvb, wv, near(sizeV))
}

// wantRows is want for the rows of a matrix inside a wider one.
func (a *arena) wantRows(name string, b Buffer, want []float64, batches, rows, cols, ld, batch int, bound func(int) float64) {
	a.t.Helper()
	for z := range batches {
		for r := range rows {
			lo := z*batch + r*ld
			a.want(fmt.Sprintf("%s batch %d row %d", name, z, r), b.Slice(lo, lo+cols), want[lo:lo+cols], bound)
		}
	}
}

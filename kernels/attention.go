package kernels

import "math"

// Blocking of attention, in rows; whole tiles of each are used.
//
// The forward pass keeps the scores of a query block (12×256 float32: 12 KB) in
// L1 between its two products. The backward pass adds up over the queries of a
// block, so its blocks are taller: the gradient rows of the keys are read and
// written once a block. Half or twice of any of these changed the rate at T = 60,
// 256 and 1024 by less than the noise of the machine it was tried on, 5 %.
const (
	attentionQueries     = 12
	attentionKeys        = 256
	attentionGradQueries = 72
	attentionGradKeys    = 256

	attentionTasks = 64   // below it the forward pass splits the queries too …
	attentionSplit = 240  // … into parts of this many rows: each part packs K and V anew
	attentionHead  = 4096 // bounds the work of one assembly call

	// Up to this many queries, as in decoding with a key/value cache, are not
	// worth packing the keys for.
	attentionFew = 2
)

// AttentionShape tells how the operands of Attention lie in memory and which
// keys each query sees.
//
// Element (b,t,h,d) of q stands at q[b·BatchQ + t·LdQ + h·Dh + d], and so for k
// and v with Tk rows and o with Tq rows: the operands may be slices of one fused
// matrix. Distinct rows must not overlap.
//
// Query i of entry b sees the keys j < limit(b,i):
//
//	limit = Tk                                      without Causal
//	limit = min(Tk, max(i + Tk−Tq + 1, Prefix[b]))  with it; Prefix nil is all 0
//
// With Causal Tk ≥ Tq: the keys end with those of the queries, as in a
// key/value cache.
type AttentionShape struct {
	B, H, Tq, Tk, Dh               int
	LdQ, LdK, LdV, LdO             int     // row strides, in elements
	BatchQ, BatchK, BatchV, BatchO int     // strides between batch entries, in elements
	Scale                          float64 // of the scores, usually 1/√Dh
	Causal                         bool
	Prefix                         []int32 // with Causal: nil, or of length B: keys that every query of an entry sees
}

// limit is the number of keys that query i of entry b sees; it never falls
// with i.
func (a *AttentionShape) limit(b, i int) int {
	if !a.Causal {
		return a.Tk
	}
	n := i + a.Tk - a.Tq + 1
	if a.Prefix != nil {
		n = max(n, int(a.Prefix[b]))
	}
	return min(n, a.Tk)
}

// Attention sets, for every batch entry b and head h,
//
//	s_ij = Scale·Σ_d q_id·k_jd                     for j < limit(b,i)
//	o_id = Σ_j p_ij·v_jd                           p_ij = e^(s_ij − lse_i)
//	lse[(b·H+h)·Tq+i] = lse_i = log Σ_j e^s_ij     kept for the VJP
//
// A query that sees no key has o = 0 and lse = −Inf. lse may be nil.
//
// Memory: o and lse overlap nothing else; no gap is read or written. O(Tk)
// scratch per worker: the scores exist a block at a time.
// Masks: what a query does not see cannot reach its output, NaN and Inf
// included; finite values there do not change a bit of it. (Where v of a causal
// call is not finite, that head takes a slower path, row by row.)
// Error: with u the unit round-off, a_i = max_j |Scale|·Σ_d|q_id·k_jd| over the
// visible keys and R_i = u·(Tq + Tk + (Dh+4)·(1+a_i) + 16),
//
//	|err o_id| ≤ 2·Σ_j (R_i·p_ij + 1.2e-38)·|v_jd|     |err lse_i| ≤ R_i + 2·u·|lse_i|
//
// and 1e-35 for underflow. Bits: the same for any GOMAXPROCS.
// Panics: *ShapeError if a slice is short, rows overlap, Tk < Tq with Causal, a
// prefix lies outside [0, Tk] or is given without Causal, Dh < 1 or Dh > 4096.
// Cost: 4·B·H·Tq·Tk·Dh FLOP, about half of it with Causal.
// Source: Dao et al. 2022, arXiv:2205.14135; Milakov & Gimelshein 2018,
// arXiv:1805.02867 for the online softmax. It works like refAttention.
func Attention[T Float](s *Set[T], o, lse, q, k, v []T, a *AttentionShape) {
	const op = "attention"
	a.check(op)
	a.checkOperand(op, "q", len(q), a.Tq, a.LdQ, a.BatchQ)
	a.checkOperand(op, "k", len(k), a.Tk, a.LdK, a.BatchK)
	a.checkOperand(op, "v", len(v), a.Tk, a.LdV, a.BatchV)
	a.checkOperand(op, "o", len(o), a.Tq, a.LdO, a.BatchO)
	if lse != nil {
		a.checkLSE(op, len(lse))
	}
	if a.B == 0 || a.H == 0 || a.Tq == 0 {
		return
	}
	f := attention[T]{s: s, a: *a, q: q, k: k, v: v, o: o, lse: lse}
	f.block, f.part, f.parts = attentionParts(s, a)
	runWork(a.B*a.H*f.parts, 1, false, attentionForward[T]{f})
}

// attentionParts cuts the queries of a head: into parts, each a task, of blocks.
func attentionParts[T Float](s *Set[T], a *AttentionShape) (block, part, parts int) {
	parts = 1
	if heads := a.B * a.H; heads < attentionTasks {
		parts = max(1, min(a.Tq/attentionSplit, (attentionTasks+heads-1)/heads))
	}
	block = wholeTiles(attentionQueries, s.Tile.MR)
	if a.Causal {
		block = s.Tile.MR // the closer the block hugs the diagonal, the less is computed in vain
	}
	part = roundUp((a.Tq+parts-1)/parts, block)
	return block, part, (a.Tq + part - 1) / part
}

// AttentionGrad is the VJP of Attention: from the cotangent gO of o, in o's
// strides, it sets gq, gk and gv, in the strides of q, k and v. With
//
//	p_ij = e^(s_ij − lse_i)    D_i = Σ_d gO_id·o_id    (= Σ_j p_ij·dp_ij)
//	dp_ij = Σ_d gO_id·v_jd     ds_ij = p_ij·(dp_ij − D_i)
//
// it is
//
//	gv_jd = Σ_i p_ij·gO_id    gq_id = Scale·Σ_j ds_ij·k_jd    gk_jd = Scale·Σ_i ds_ij·q_id
//
// o and lse are what Attention has left.
//
// Memory, Masks, Bits, Panics: as Attention; an unseen pair (i,j) adds nothing
// to any gradient, even where its operands are not finite.
// Error: with R_i as there and G_i = max_j Σ_d|gO_id·v_jd| over the visible keys,
//
//	|err gv_jd| ≤ 4·Σ_i (R_i·p_ij + 1.2e-38)·|gO_id|
//	|err gq_id| ≤ 16·|Scale|·G_i·Σ_j (R_i·p_ij + 1.2e-38)·|k_jd|
//	|err gk_jd| ≤ 16·|Scale|·Σ_i G_i·(R_i·p_ij + 1.2e-38)·|q_id|
//
// and 1e-35 for underflow.
// Cost: 10·B·H·Tq·Tk·Dh FLOP, about half of it with Causal. Parallel over
// (batch, head) only. It works like refAttentionGrad.
func AttentionGrad[T Float](s *Set[T], gq, gk, gv, q, k, v, o, lse, gO []T, a *AttentionShape) {
	const op = "attention_grad"
	a.check(op)
	a.checkOperand(op, "q", len(q), a.Tq, a.LdQ, a.BatchQ)
	a.checkOperand(op, "k", len(k), a.Tk, a.LdK, a.BatchK)
	a.checkOperand(op, "v", len(v), a.Tk, a.LdV, a.BatchV)
	a.checkOperand(op, "o", len(o), a.Tq, a.LdO, a.BatchO)
	a.checkOperand(op, "gO", len(gO), a.Tq, a.LdO, a.BatchO)
	a.checkOperand(op, "gq", len(gq), a.Tq, a.LdQ, a.BatchQ)
	a.checkOperand(op, "gk", len(gk), a.Tk, a.LdK, a.BatchK)
	a.checkOperand(op, "gv", len(gv), a.Tk, a.LdV, a.BatchV)
	a.checkLSE(op, len(lse))
	if a.B == 0 || a.H == 0 || a.Tq == 0 && a.Tk == 0 {
		return
	}
	f := attention[T]{s: s, a: *a, q: q, k: k, v: v, o: o, lse: lse, gq: gq, gk: gk, gv: gv, gO: gO}
	f.block = wholeTiles(attentionGradQueries, s.Tile.MR)
	runWork(a.B*a.H, 1, false, attentionBackward[T]{f})
}

// check panics unless the sizes and the mask make sense.
func (a *AttentionShape) check(op string) {
	if a.B < 0 || a.H < 0 || a.Tq < 0 || a.Tk < 0 || a.Dh < 1 || a.Dh > attentionHead {
		shapeCheck(false, op, "bad size B=%d H=%d Tq=%d Tk=%d Dh=%d; Dh lies in 1…%d", a.B, a.H, a.Tq, a.Tk, a.Dh, attentionHead)
	}
	if a.Causal && a.Tk < a.Tq {
		shapeCheck(false, op, "causal with fewer keys (%d) than queries (%d)", a.Tk, a.Tq)
	}
	if a.Prefix == nil {
		return
	}
	if !a.Causal || len(a.Prefix) != a.B {
		shapeCheck(false, op, "a prefix of length %d asks for Causal and %d batch entries", len(a.Prefix), a.B)
	}
	for b, p := range a.Prefix {
		if p < 0 || int64(p) > int64(a.Tk) {
			shapeCheck(false, op, "prefix %d of entry %d lies outside of the %d keys", p, b, a.Tk)
		}
	}
}

// checkOperand panics unless B·rows rows of H·Dh elements lie in n elements,
// apart from each other. Nothing here can overflow.
func (a *AttentionShape) checkOperand(op, name string, n, rows, ld, batch int) {
	if a.B == 0 || a.H == 0 || rows == 0 {
		return
	}
	fits := a.H <= n/a.Dh
	if fits {
		d := a.H * a.Dh
		rest := n - d
		switch {
		case rows > 1 && ld < d, a.B > 1 && batch < d:
			fits = false
		case rows > 1 && a.B > 1 && rows-1 > (batch-d)/ld && a.B-1 > (ld-d)/batch:
			fits = false // neither whole entries nor whole rows lie apart
		case rows > 1 && rows-1 > rest/ld:
			fits = false
		case a.B > 1:
			if rows > 1 {
				rest -= (rows - 1) * ld
			}
			fits = a.B-1 <= rest/batch
		}
	}
	if !fits {
		shapeCheck(false, op, "%s of %d elements does not hold %d×%d×%d×%d (B, T, H, Dh) with row stride %d and batch stride %d, each row apart", name, n, a.B, rows, a.H, a.Dh, ld, batch)
	}
}

func (a *AttentionShape) checkLSE(op string, n int) {
	if a.Tq > 0 && a.H > 0 && a.B > n/a.H/a.Tq {
		shapeCheck(false, op, "lse of %d elements does not hold %d×%d×%d", n, a.B, a.H, a.Tq)
	}
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

// wholeTiles is n rounded down to a multiple of unit, at least one.
func wholeTiles(n, unit int) int { return max(n/unit, 1) * unit }

type attention[T Float] struct {
	s                  *Set[T]
	a                  AttentionShape
	q, k, v, o, lse    []T
	gq, gk, gv, gO     []T
	block, part, parts int // queries of a block, of a task; tasks of a head
}

// The two passes as Work, a task at a time.
type (
	attentionForward[T Float]  struct{ attention[T] }
	attentionBackward[T Float] struct{ attention[T] }
)

func (f *attentionForward[T]) Run(task, _ int)  { f.forward(task) }
func (f *attentionBackward[T]) Run(task, _ int) { f.backward(task) }

// forward computes one task: part of the queries of one head.
func (f *attention[T]) forward(task int) {
	a, s, t := &f.a, f.s, &f.s.Tile
	b, h, part := task/f.parts/a.H, task/f.parts%a.H, task%f.parts
	first := part * f.part
	last := min(first+f.part, a.Tq)
	keys := a.limit(b, last-1)
	if keys == 0 || a.Tq <= attentionFew {
		f.forwardRows(b, h, first, last)
		return
	}
	q, k, v, o := f.q[b*a.BatchQ+h*a.Dh:], f.k[b*a.BatchK+h*a.Dh:], f.v[b*a.BatchV+h*a.Dh:], f.o[b*a.BatchO+h*a.Dh:]
	dh, dn := a.Dh, roundUp(a.Dh, t.NR)
	rows := min(f.block, roundUp(last-first, t.MR))
	cols := min(wholeTiles(attentionKeys, t.NR), roundUp(keys, t.NR))
	m := cut[T](roundUp(keys, t.NR)*dh, keys*dn, rows*dh, rows*cols, rows*cols, rows*dn, rows, rows, max(t.MR, t.NR)*dh)
	defer m.free()
	kT, vP, qT := m.take(), m.take(), m.take()
	sc, pT, acc := m.take(), m.take(), m.take()
	top, sum, edge := m.take(), m.take(), m.take()

	packTransposed(s, kT, k, a.LdK, keys, dh, dh, t.NR, edge)
	packStraight(s, vP, v, a.LdV, keys, dh)
	if a.Causal && !finite(s, vP) {
		f.forwardRows(b, h, first, last) // 0·NaN would leave the mask
		return
	}
	for i := first; i < last; i += rows {
		n := min(rows, last-i)
		tall := roundUp(n, t.MR)
		packTransposed(s, qT, q[i*a.LdQ:], a.LdQ, n, dh, dh, t.MR, edge)
		if a.Scale != 1 {
			s.Scale(qT[:tall*dh], qT[:tall*dh], T(a.Scale))
		}
		seen := a.limit(b, i+n-1)
		step := keyBlock(seen, attentionKeys, t.NR)
		for j := 0; j < seen; j += step {
			w := min(step, seen-j)
			ld := roundUp(w, t.NR)
			multiplyPanels(t, tall, ld, dh, qT, dh, kT[j*dh:], t.NR*dh, sc, ld, false)
			for r := range n {
				stopPoint()
				x := sc[r*ld : r*ld+w]
				if sees := a.limit(b, i+r) - j; sees < w {
					sees = max(sees, 0)
					clear(x[sees:])
					x = x[:sees]
				}
				switch {
				case j == 0: // sees at least one key: limits of a block are all ≥ 1
					top[r] = s.Max(x)
					sum[r] = s.ExpSub(x, x, top[r])
				case len(x) > 0:
					if peak := s.Max(x); peak > top[r] {
						shrink := T(math.Exp(float64(top[r]) - float64(peak)))
						s.Scale(acc[r*dn:r*dn+dh], acc[r*dn:r*dn+dh], shrink)
						sum[r] *= shrink
						top[r] = peak
					}
					sum[r] += s.ExpSub(x, x, top[r])
				}
			}
			deep := min(roundUp(w, 8), ld) // whole vectors pack faster; what is past w is not multiplied
			packTransposed(s, pT, sc, ld, tall, deep, deep, t.MR, nil)
			multiplyPanels(t, tall, dn, w, pT, deep, vP[j*t.NR:], t.NR*keys, acc, dn, j > 0)
		}
		for r := range n {
			s.Scale(o[(i+r)*a.LdO:][:dh], acc[r*dn:], 1/sum[r])
		}
		if f.lse != nil {
			lse := f.lse[(b*a.H+h)*a.Tq+i:][:n]
			s.Log(lse, sum)
			s.Add(lse, lse, top)
		}
	}
}

// forwardRows computes queries first…last of one head from vectors alone. It
// touches no key that a query does not see.
func (f *attention[T]) forwardRows(b, h, first, last int) {
	a, s, dh := &f.a, f.s, f.a.Dh
	kAt, vAt := b*a.BatchK+h*dh, b*a.BatchV+h*dh
	m := cut[T](dh, a.limit(b, last-1))
	defer m.free()
	q, sc := m.take(), m.take()
	for i := first; i < last; i++ {
		o := f.o[b*a.BatchO+i*a.LdO+h*dh:][:dh]
		clear(o)
		lse := math.Inf(-1)
		if sees := a.limit(b, i); sees > 0 {
			s.Scale(q, f.q[b*a.BatchQ+i*a.LdQ+h*dh:], T(a.Scale))
			x := sc[:sees]
			rowDots(s, x, q, f.k[kAt:], a.LdK)
			top := maxVector(s, x)
			sum := expSubVector(s, x, x, top)
			gemv(s, o, x, f.v[vAt:], a.LdV)
			s.Scale(o, o, 1/sum)
			lse = float64(top) + math.Log(float64(sum))
		}
		if f.lse != nil {
			f.lse[(b*a.H+h)*a.Tq+i] = T(lse)
		}
	}
}

// backward computes the gradients of one head. The two differences are taken
// inside the products, by one more term of the inner sum: with rows [Scale·q_i,
// −lse_i] and [k_j, 1] the product is the exponent of p_ij, and with [Scale·gO_i,
// −Scale·D_i] and [v_j, 1] it is the second factor of Scale·ds_ij; what is left
// between the products is one Exp and one Mul of a whole block.
func (f *attention[T]) backward(task int) {
	a, s, t := &f.a, f.s, &f.s.Tile
	b, h := task/a.H, task%a.H
	keys := 0
	if a.Tq > 0 {
		keys = a.limit(b, a.Tq-1)
	}
	if keys == 0 || a.Tq <= attentionFew {
		f.backwardRows(b, h)
		return
	}
	dh, dn, d1 := a.Dh, roundUp(a.Dh, t.NR), a.Dh+1
	qAt, kAt, vAt, oAt := b*a.BatchQ+h*dh, b*a.BatchK+h*dh, b*a.BatchV+h*dh, b*a.BatchO+h*dh
	q, k, v, o, gO := f.q[qAt:], f.k[kAt:], f.v[vAt:], f.o[oAt:], f.gO[oAt:]
	gq, gk, gv := f.gq[qAt:], f.gk[kAt:], f.gv[vAt:]
	lse := f.lse[(b*a.H+h)*a.Tq:][:a.Tq]
	rows := min(f.block, roundUp(a.Tq, t.MR))
	cols := min(wholeTiles(attentionGradKeys, t.NR), roundUp(keys, t.NR))
	wide := roundUp(keys, t.NR)
	m := cut[T](wide*d1, wide*d1, keys*dn, rows*d1, rows*d1, rows*dn, rows*dn,
		rows*cols, rows*cols, t.MR*max(rows, cols), max(t.MR, t.NR)*dh)
	defer m.free()
	kT, vT, kP := m.take(), m.take(), m.take()
	qT, gT, qP, gP := m.take(), m.take(), m.take(), m.take()
	p, ds, pack, edge := m.take(), m.take(), m.take(), m.take()

	packTransposed(s, kT, k, a.LdK, keys, dh, d1, t.NR, edge)
	packTransposed(s, vT, v, a.LdV, keys, dh, d1, t.NR, edge)
	packStraight(s, kP, k, a.LdK, keys, dh)
	if a.Causal && !finite(s, kP) {
		f.backwardRows(b, h)
		return
	}
	for j := range wide {
		at := j/t.NR*t.NR*d1 + dh*t.NR + j%t.NR
		kT[at], vT[at] = 1, 1
	}
	// The first block of queries sets the rows of the keys it sees, later ones
	// add to them and to the rest.
	for j := a.limit(b, min(rows, a.Tq)-1); j < a.Tk; j++ {
		clear(gk[j*a.LdK:][:dh])
		clear(gv[j*a.LdV:][:dh])
	}
	for i := 0; i < a.Tq; i += rows {
		n := min(rows, a.Tq-i)
		tall := roundUp(n, t.MR)
		packTransposed(s, qT, q[i*a.LdQ:], a.LdQ, n, dh, d1, t.MR, edge)
		packTransposed(s, gT, gO[i*a.LdO:], a.LdO, n, dh, d1, t.MR, edge)
		packStraight(s, qP[:n*dn], q[i*a.LdQ:], a.LdQ, n, dh)
		packStraight(s, gP[:n*dn], gO[i*a.LdO:], a.LdO, n, dh)
		if a.Causal && !(finite(s, qP[:n*dn]) && finite(s, gP[:n*dn])) {
			f.backwardRows(b, h)
			return
		}
		scale := T(a.Scale)
		for r := range tall { // the last row of each panel must be defined before Scale
			at := r/t.MR*t.MR*d1 + dh*t.MR + r%t.MR
			qT[at], gT[at] = 0, 0
			if r < n {
				gT[at] = -s.Dot(gO[(i+r)*a.LdO:][:dh], o[(i+r)*a.LdO:])
			}
		}
		if scale != 1 {
			s.Scale(qT[:tall*d1], qT[:tall*d1], scale)
			s.Scale(gT[:tall*d1], gT[:tall*d1], scale)
		}
		for r := range n {
			qT[r/t.MR*t.MR*d1+dh*t.MR+r%t.MR] = -lse[i+r]
		}
		seen := a.limit(b, i+n-1)
		step := keyBlock(seen, attentionGradKeys, t.NR)
		for j := 0; j < seen; j += step {
			w := min(step, seen-j)
			ld := roundUp(w, t.NR)
			// Of each strip of queries only the keys that its last query sees.
			for r := 0; r < n; r += t.MR {
				if sees := min(a.limit(b, i+min(r+t.MR, n)-1)-j, w); sees > 0 {
					multiplyPanels(t, t.MR, roundUp(sees, t.NR), d1, qT[r*d1:], 0, kT[j*d1:], t.NR*d1, p[r*ld:], ld, false)
					multiplyPanels(t, t.MR, roundUp(sees, t.NR), d1, gT[r*d1:], 0, vT[j*d1:], t.NR*d1, ds[r*ld:], ld, false)
				}
			}
			s.Exp(p[:tall*ld], p)
			s.Mul(ds[:tall*ld], ds, p)
			all := a.limit(b, i) - j // keys of the block that every query sees
			for r := 0; r < n && all < w; r++ {
				if sees := a.limit(b, i+r) - j; sees < w {
					clear(p[r*ld+max(sees, 0) : r*ld+w])
					clear(ds[r*ld+max(sees, 0) : r*ld+w])
				}
			}
			// gv += pᵀ·gO, gk += dsᵀ·q: of each strip of keys only the queries
			// from the first that sees its first key.
			for c := 0; c < w; c += t.MR {
				from := 0
				if c >= all {
					for a.limit(b, i+from)-j <= c {
						from++
					}
				}
				high, deep := min(t.MR, w-c), n-from
				whole := min(t.MR, ld-c) // whole panels pack faster; the product leaves out the rest
				s.PackRows(pack, p[from*ld+c:], ld, deep, whole, t.MR)
				multiplyPanels(t, high, dh, deep, pack, 0, gP[from*t.NR:], t.NR*n, gv[(j+c)*a.LdV:], a.LdV, i > 0)
				s.PackRows(pack, ds[from*ld+c:], ld, deep, whole, t.MR)
				multiplyPanels(t, high, dh, deep, pack, 0, qP[from*t.NR:], t.NR*n, gk[(j+c)*a.LdK:], a.LdK, i > 0)
			}
			// gq += ds·k
			for r := 0; r < n; r += t.MR {
				high := min(t.MR, n-r)
				if sees := min(a.limit(b, i+r+high-1)-j, w); sees > 0 {
					s.PackCols(pack, ds[r*ld:], ld, min(roundUp(sees, 8), ld), t.MR, t.MR)
					multiplyPanels(t, high, dh, sees, pack, 0, kP[j*t.NR:], t.NR*keys, gq[(i+r)*a.LdQ:], a.LdQ, j > 0)
				}
			}
		}
	}
}

// backwardRows computes the gradients of one head from vectors alone. It touches
// no pair that the mask hides.
func (f *attention[T]) backwardRows(b, h int) {
	a, s, dh := &f.a, f.s, f.a.Dh
	kAt, vAt := b*a.BatchK+h*dh, b*a.BatchV+h*dh
	for j := range a.Tk {
		clear(f.gk[kAt+j*a.LdK:][:dh])
		clear(f.gv[vAt+j*a.LdV:][:dh])
	}
	m := cut[T](dh, a.Tk, a.Tk)
	defer m.free()
	scaled, sc, gp := m.take(), m.take(), m.take()
	for i := range a.Tq {
		qAt, oAt := b*a.BatchQ+i*a.LdQ+h*dh, b*a.BatchO+i*a.LdO+h*dh
		q, gq, gO := f.q[qAt:][:dh], f.gq[qAt:][:dh], f.gO[oAt:][:dh]
		clear(gq)
		p := sc[:a.limit(b, i)]
		if len(p) == 0 {
			continue
		}
		d := s.Dot(gO, f.o[oAt:])
		s.Scale(scaled, q, T(a.Scale))
		rowDots(s, p, scaled, f.k[kAt:], a.LdK)
		expSubVector(s, p, p, f.lse[(b*a.H+h)*a.Tq+i])
		rowDots(s, gp[:len(p)], gO, f.v[vAt:], a.LdV)
		for j, pj := range p {
			if j%64 == 0 {
				stopPoint()
			}
			ds := pj * (gp[j] - d) * T(a.Scale)
			s.Axpy(f.gv[vAt+j*a.LdV:][:dh], gO, pj)
			s.Axpy(f.gk[kAt+j*a.LdK:][:dh], q, ds)
			p[j] = ds
		}
		gemv(s, gq, p, f.k[kAt:], a.LdK)
	}
}

// rowDots sets y[j] = Σ_p a[p]·b[j·ldb+p] by Dots, in calls of bounded length.
func rowDots[T Float](s *Set[T], y, a, b []T, ldb int) {
	const elements = 1 << 16
	step := wholeTiles(elements/len(a), 4)
	for j := 0; j < len(y); j += step {
		stopPoint()
		s.Dots(1, min(step, len(y)-j), len(a), &a[0], len(a), &b[j*ldb], ldb, &y[j], len(y), false)
	}
}

// keyBlock cuts keys into the fewest blocks of at most limit and evens them out.
func keyBlock(keys, limit, nr int) int {
	limit = wholeTiles(limit, nr)
	blocks := (keys + limit - 1) / limit
	return roundUp((keys+blocks-1)/blocks, nr)
}

// packTransposed makes ⌈n/width⌉ micro-panels [k, width], step rows apart, from
// n rows of k elements. The panel that hangs over the edge, a large part of a
// short sequence, is staged in edge (width rows of k; nil if there is none), for
// whole panels are transposed by vectors; its lanes past n are undefined.
func packTransposed[T Float](s *Set[T], dst, src []T, ld, n, k, step, width int, edge []T) {
	i := 0
	for ; i+width <= n; i += width {
		stopPoint()
		s.PackCols(dst[i*step:], src[i*ld:], ld, k, width, width)
	}
	if i == n {
		return
	}
	edge = edge[:width*k]
	for r := i; r < n; r++ {
		copy(edge[(r-i)*k:][:k], src[r*ld:])
	}
	s.PackCols(dst[i*step:], edge, k, k, width, width)
}

// packStraight makes ⌈n/NR⌉ micro-panels [k, NR] from k rows of n elements.
func packStraight[T Float](s *Set[T], dst, src []T, ld, k, n int) {
	const chunk = 1024 // bounds the call
	width := s.Tile.NR
	for j := 0; j < n; j += width {
		for p := 0; p < k; p += chunk {
			stopPoint()
			s.PackRows(dst[j*k+p*width:], src[p*ld+j:], ld, min(chunk, k-p), min(width, n-j), width)
		}
	}
}

// finite tells whether x holds neither NaN nor Inf.
func finite[T Float](s *Set[T], x []T) bool {
	for ; len(x) > 0; x = x[min(chunk, len(x)):] {
		stopPoint()
		c := x[:min(chunk, len(x))]
		if d := s.Dot(c, c); d-d == 0 {
			continue
		}
		for _, v := range c { // the sum of squares may have overflowed
			if v-v != 0 {
				return false
			}
		}
	}
	return true
}

// pieces is one scratch buffer cut into slices, each on a cache line.
type pieces[T Float] struct {
	*buffer[T]
	size [12]int
	next int
	at   int
}

// cut borrows scratch for slices of the given sizes, handed out by take in this
// order.
func cut[T Float](sizes ...int) pieces[T] {
	var m pieces[T]
	total := 0
	for i, n := range sizes {
		m.size[i] = n
		total += roundUp(n, 16)
	}
	m.buffer = scratch[T](total)
	return m
}

func (m *pieces[T]) take() []T {
	n := m.size[m.next]
	piece := m.mem[m.at : m.at+n : m.at+n]
	m.next++
	m.at += roundUp(n, 16)
	return piece
}

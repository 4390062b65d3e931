package tensor

import (
	"math"
	"slices"
)

// Models of the row, index and attention primitives: plain float64 loops.

// ids is an operand of row numbers below n.
func ids(n int, shape ...int) operand {
	return operand{shape: shape, lo: 0, hi: float64(n), as: Int32}
}

func rowCases(n int) (out [][]operand) {
	for _, s := range [][]int{{1}, {7}, {5, 17}, {0, 3}, {3, 0}, {2, 3, 33}, {70, 300}, {3, 1}} {
		out = append(out, slices.Repeat([]operand{value(s...)}, n))
	}
	return out
}

// withWeights are cases of n operands [.., D] and w weights [D].
func withWeights(n, w int) (out [][]operand) {
	for _, s := range [][]int{{7}, {5, 17}, {0, 3}, {2, 3, 33}, {70, 300}, {300, 7}, {3, 1}} {
		c := slices.Repeat([]operand{value(s...)}, n)
		out = append(out, append(c, slices.Repeat([]operand{value(s[len(s)-1]).contiguous()}, w)...))
	}
	return out
}

func lossCases(grad bool) (out [][]operand) {
	for _, s := range [][2]int{{4, 7}, {1, 1}, {0, 5}, {70, 300}} {
		target := operand{shape: s[:1], lo: -1.9, hi: float64(s[1]), as: Int32} // some rows are ignored
		c := []operand{value(s[0], s[1]), target}
		if grad {
			c = append(c, value(s[0]))
		}
		out = append(out, c)
	}
	return out
}

func linearLossCases() (out [][]operand) {
	for _, s := range [][3]int{{4, 3, 7}, {1, 1, 1}, {0, 5, 3}, {70, 20, 300}} {
		n, d, v := s[0], s[1], s[2]
		target := operand{shape: []int{n}, lo: -1.9, hi: float64(v), as: Int32}
		out = append(out, []operand{value(n, d).within(-1, 1), value(v, d).within(-1, 1), target, value(n)})
	}
	return out
}

// linearLossModel bounds errors as kernels.LinearCrossEntropy does.
func linearLossModel(in []array) []result {
	x, w, target, weight := in[0], in[1], in[2], in[3]
	n, d, v := x.shape[0], x.shape[1], w.shape[0]
	loss, gx, gw := newResult(n), newResult(n, d), newResult(v, d)
	z := make([]float64, v)
	perLine(x, func(row []float64, i, _ int) {
		t := int(target.v[i])
		if t < 0 {
			return
		}
		top := 0.0
		for j := range z {
			size := 0.0
			z[j] = 0
			for k, a := range row {
				z[j] += a * w.v[j*d+k]
				size += math.Abs(a * w.v[j*d+k])
			}
			top = max(top, size)
		}
		l, r := logSumExp(z), float64(3*d+8)*top+float64(v)/16+64
		loss.set([]int{i}, l-z[t], r)
		for j := range z {
			p, q := math.Exp(z[j]-l), math.Exp(z[j]-l)
			if j == t {
				p, q = p-1, q+1
			}
			for k, a := range row {
				c, b := weight.v[i], w.v[j*d+k]
				gx.val.v[i*d+k] += c * p * b
				gx.err.v[i*d+k] += 2 * (r + float64(v)) * q * math.Abs(c*b)
				gw.val.v[j*d+k] += c * p * a
				gw.err.v[j*d+k] += 2 * (r + float64(2*n)) * q * math.Abs(c*a)
			}
		}
	})
	return []result{loss, gx, gw}
}

func boolFirst(cases [][]operand) [][]operand {
	for _, c := range cases {
		c[0] = c[0].of(Bool)
	}
	return cases
}

func positiveThird(cases [][]operand) [][]operand {
	for _, c := range cases {
		c[2] = c[2].within(0, 2)
	}
	return cases
}

// perLine calls f on every line of the last axis.
func perLine(a array, f func(row []float64, i, d int)) {
	if len(a.v) == 0 {
		return
	}
	d := a.shape[len(a.shape)-1]
	for i := range len(a.v) / d {
		f(a.v[i*d:(i+1)*d], i, d)
	}
}

func logSumExp(row []float64) float64 {
	top, sum := slices.Max(row), 0.0
	for _, v := range row {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum)
}

func matmulModel(in []array) []result {
	a, b := in[0], in[1]
	ra, rb := len(a.shape)-2, len(b.shape)-2
	m, k, n := a.shape[ra], a.shape[ra+1], b.shape[rb+1]
	batch := broadcastShape(a.shape[:ra], b.shape[:rb])
	c := newResult(append(slices.Clone(batch), m, n)...)
	each(c.val.shape, func(ix []int) {
		h := len(batch)
		var v, e float64
		for p := range k {
			x := *a.ref(append(slices.Clone(ix[:h+1]), p)) * *b.ref(append(slices.Clone(ix[:h]), p, ix[h+1]))
			v += x
			e += math.Abs(x)
		}
		c.set(ix, v, e*float64(k+k/256+1))
	})
	return []result{c}
}

func rmsNormModel(in []array) []result {
	x, w := in[0], in[1].v
	y, r := newResult(x.shape...), newResult(x.shape[:len(x.shape)-1]...)
	perLine(x, func(row []float64, i, d int) {
		var ss float64
		for _, v := range row {
			ss += v * v
		}
		ri := 1 / math.Sqrt(ss/float64(d)+1e-5)
		slack := 8 + float64(d)/32
		r.val.v[i], r.err.v[i] = ri, slack*ri
		for j, v := range row {
			y.val.v[i*d+j], y.err.v[i*d+j] = v*w[j]*ri, slack*math.Abs(v*w[j]*ri)
		}
	})
	return []result{y, r}
}

func rmsNormGradModel(in []array) []result {
	x, gy, w := in[0], in[1].v, in[2].v
	r := rmsNormModel([]array{x, in[2]})[1].val.v
	gx, gw := newResult(x.shape...), newResult(len(w))
	perLine(x, func(row []float64, i, d int) {
		var c, size float64
		for j, v := range row {
			c += gy[i*d+j] * w[j] * v * r[i] / float64(d)
			size += math.Abs(gy[i*d+j]*w[j]*v*r[i]) / float64(d)
		}
		for j, v := range row {
			xh, h := v*r[i], gy[i*d+j]*w[j]
			gx.val.v[i*d+j] = r[i] * (h - xh*c)
			// Beside the kernel's own error that of r, which was rounded before.
			gx.err.v[i*d+j] = (float64(d)/8 + 48) * r[i] * (math.Abs(h) + math.Abs(xh)*size)
			gw.val.v[j] += gy[i*d+j] * xh
			gw.err.v[j] += (float64(len(x.v)/d) + float64(d)/16 + 16) * math.Abs(gy[i*d+j]*xh)
		}
	})
	return []result{gx, gw}
}

func layerNormModel(in []array) []result {
	x, w, b := in[0], in[1].v, in[2].v
	lead := x.shape[:len(x.shape)-1]
	y, mean, r := newResult(x.shape...), newResult(lead...), newResult(lead...)
	perLine(x, func(row []float64, i, d int) {
		var m, ss, top float64
		for _, v := range row {
			m += v / float64(d)
			top = max(top, math.Abs(v))
		}
		for _, v := range row {
			ss += (v - m) * (v - m)
		}
		ri := 1 / math.Sqrt(ss/float64(d)+1e-5)
		slack := float64(d)/16 + 16
		mean.val.v[i], mean.err.v[i] = m, slack*top
		r.val.v[i], r.err.v[i] = ri, slack*ri*(1+top*ri)
		for j, v := range row {
			y.val.v[i*d+j] = (v-m)*ri*w[j] + b[j]
			y.err.v[i*d+j] = slack * (math.Abs((v-m)*ri*w[j]) + math.Abs(b[j]) + top*ri*math.Abs(w[j]))
		}
	})
	return []result{y, mean, r}
}

func layerNormGradModel(in []array) []result {
	x, gy, w := in[0], in[1].v, in[2].v
	forward := layerNormModel([]array{x, in[2], in[2]})
	mean, r := forward[1], forward[2]
	gx, gw, gb := newResult(x.shape...), newResult(len(w)), newResult(len(w))
	n := 0.0
	perLine(x, func(row []float64, i, d int) { n++ })
	perLine(x, func(row []float64, i, d int) {
		m, ri := mean.val.v[i], r.val.v[i]
		var a, c, absA, absC float64
		for j, v := range row {
			h := gy[i*d+j] * w[j] / float64(d)
			a, absA = a+h, absA+math.Abs(h)
			c, absC = c+h*(v-m)*ri, absC+math.Abs(h*(v-m)*ri)
		}
		// mean and r come rounded: e is their effect on x̂, relative to 1+|x̂|.
		e := mean.err.v[i]*ri + r.err.v[i]/ri
		for j, v := range row {
			xh, h := (v-m)*ri, gy[i*d+j]*w[j]
			gx.val.v[i*d+j] = ri * (h - a - xh*c)
			gx.err.v[i*d+j] = (float64(d)/16 + 16 + 4*e) * ri * (math.Abs(h) + absA + (1+math.Abs(xh))*(absC+absA))
			gw.val.v[j] += gy[i*d+j] * xh
			gw.err.v[j] += (n + 8 + 2*e) * math.Abs(gy[i*d+j]) * (1 + math.Abs(xh))
			gb.val.v[j] += gy[i*d+j]
			gb.err.v[j] += (n + 8) * math.Abs(gy[i*d+j])
		}
	})
	return []result{gx, gw, gb}
}

// axisCases are small integers, so that equal elements meet.
func axisCases(nonempty bool) [][]operand {
	shapes := [][]int{{1}, {9}, {3, 7}, {4, 5, 3}, {130, 131}, {3, 50, 70}}
	if !nonempty {
		shapes = append(shapes, []int{0}, []int{3, 0, 2})
	}
	var out [][]operand
	for _, s := range shapes {
		out = append(out, []operand{value(s...)})
	}
	if nonempty {
		smallIntegers(out)
		return out
	}
	for i := range out {
		out[i][0] = out[i][0].within(-1, 1)
	}
	return out
}

// perAxis calls f for every axis.
func perAxis(f func(x *Tensor, axis int) *Tensor) func(in []*Tensor) []*Tensor {
	return func(in []*Tensor) (out []*Tensor) {
		for a := range in[0].Rank() {
			out = append(out, f(in[0], a-in[0].Rank()))
		}
		return out
	}
}

func argMaxModel(in []array) (out []result) {
	x := in[0]
	for a, n := range x.shape {
		y := zeros(slices.Delete(slices.Clone(x.shape), a, a+1)...)
		each(y.shape, func(ix []int) {
			best := 0
			for j := range n {
				if *x.ref(slices.Insert(slices.Clone(ix), a, j)) > *x.ref(slices.Insert(slices.Clone(ix), a, best)) {
					best = j
				}
			}
			*y.ref(ix) = float64(best)
		})
		out = append(out, exact(y))
	}
	return out
}

func topKs(n int) []int { return slices.Compact([]int{0, 1, (n + 1) / 2, n}) }

func topKModel(in []array) (out []result) {
	x := in[0]
	for _, k := range topKs(x.shape[len(x.shape)-1]) {
		shape := slices.Clone(x.shape)
		shape[len(shape)-1] = k
		v, id := zeros(shape...), zeros(shape...)
		perLine(x, func(row []float64, i, d int) {
			order := make([]int, d)
			for j := range order {
				order[j] = j
			}
			slices.SortStableFunc(order, func(a, b int) int { return int(math.Copysign(1, row[b]-row[a])) * nonzero(row[a], row[b]) })
			for j, o := range order[:k] {
				v.v[i*k+j], id.v[i*k+j] = row[o], float64(o)
			}
		})
		out = append(out, exact(v), exact(id))
	}
	return out
}

func nonzero(a, b float64) int {
	if a == b {
		return 0
	}
	return 1
}

func cumSumModel(x array, reverse bool) (out []result) {
	for a, n := range x.shape {
		y := newResult(x.shape...)
		each(x.shape, func(ix []int) {
			lo, hi := 0, ix[a]
			if reverse {
				lo, hi = ix[a], n-1
			}
			var v, e float64
			for j := lo; j <= hi; j++ {
				at := slices.Clone(ix)
				at[a] = j
				v += x.at(at...)
				e += math.Abs(x.at(at...))
			}
			// Rounded once at float32; the sum itself counts only at float64.
			y.set(ix, v, math.Abs(v)+float64(n)*0x1p-29*e+2*float64(n)*e*0x1p-24+e*math.Min(float64(n), 2))
		})
		out = append(out, y)
	}
	return out
}

// attentionCases are [B, Tq, H, dh] and [B, Tk, H, dh] operands; a fourth has
// the shape of the result.
func attentionCases(n int) (out [][]operand) {
	for _, s := range [][5]int{{1, 1, 1, 1, 1}, {2, 5, 5, 3, 4}, {2, 3, 7, 2, 5}, {1, 40, 40, 1, 16}, {0, 2, 2, 1, 3}, {2, 0, 3, 2, 4}} {
		q, k := value(s[0], s[1], s[3], s[4]), value(s[0], s[2], s[3], s[4])
		out = append(out, []operand{q, k, k, q}[:n])
	}
	return out
}

type masked struct {
	mask   Mask
	prefix *Tensor
}

func prefixValues(b, tk int) []int32 {
	p := make([]int32, b)
	for i := range p {
		p[i] = int32((i*2 + 1) % (tk + 1))
	}
	return p
}

func maskedFor(in []*Tensor) []masked {
	p := From(in[0].Device(), prefixValues(in[0].Dim(0), in[1].Dim(1)), in[0].Dim(0))
	return []masked{{NoMask, nil}, {Causal, nil}, {Causal, p}}
}

// visible counts the keys that query i sees.
func visible(mode, b, i, tq, tk int) int {
	n := tk
	if mode > 0 {
		n = i + 1 + tk - tq
	}
	if mode > 1 {
		n = max(n, int(prefixValues(b+1, tk)[b]))
	}
	return min(n, tk)
}

// attentionRow is one query's softmax, its log-sum-exp and the two quantities
// of the kernel's error bound.
func attentionRow(q, k array, mode, b, h, i int) (p []float64, lse, bound float64) {
	tq, tk, dh := q.shape[1], k.shape[1], q.shape[3]
	n := visible(mode, b, i, tq, tk)
	p = make([]float64, n)
	var a float64
	for j := range p {
		var s, abs float64
		for d := range dh {
			x := q.at(b, i, h, d) * k.at(b, j, h, d) / math.Sqrt(float64(dh))
			s, abs = s+x, abs+math.Abs(x)
		}
		p[j], a = s, max(a, abs)
	}
	bound = float64(tq+tk) + float64(dh+4)*(1+a) + 16
	if n == 0 {
		return p, math.Inf(-1), bound
	}
	lse = logSumExp(p)
	for j := range p {
		p[j] = math.Exp(p[j] - lse)
	}
	return p, lse, bound
}

func attentionModel(in []array) (out []result) {
	q, k, v := in[0], in[1], in[2]
	for mode := range 3 {
		o, l := newResult(q.shape...), newResult(q.shape[0], q.shape[2], q.shape[1])
		each(l.val.shape, func(ix []int) {
			b, h, i := ix[0], ix[1], ix[2]
			p, lse, bound := attentionRow(q, k, mode, b, h, i)
			l.set(ix, lse, bound+2*math.Abs(lse))
			for d := range q.shape[3] {
				var s, abs float64
				for j, pj := range p {
					s += pj * v.at(b, j, h, d)
					abs += pj * math.Abs(v.at(b, j, h, d))
				}
				o.set([]int{b, i, h, d}, s, 2*bound*abs)
			}
		})
		out = append(out, o, l)
	}
	return out
}

func attentionGradModel(in []array) (out []result) {
	q, k, v, gy := in[0], in[1], in[2], in[3]
	dh := q.shape[3]
	scale := 1 / math.Sqrt(float64(max(dh, 1)))
	for mode := range 3 {
		gq, gk, gv := newResult(q.shape...), newResult(k.shape...), newResult(v.shape...)
		each([]int{q.shape[0], q.shape[2], q.shape[1]}, func(ix []int) {
			b, h, i := ix[0], ix[1], ix[2]
			p, _, bound := attentionRow(q, k, mode, b, h, i)
			dp := make([]float64, len(p))
			var mean, top float64
			for j, pj := range p {
				var abs float64
				for d := range dh {
					x := gy.at(b, i, h, d) * v.at(b, j, h, d)
					dp[j], abs = dp[j]+x, abs+math.Abs(x)
				}
				mean, top = mean+pj*dp[j], max(top, abs)
			}
			for j, pj := range p {
				ds := scale * pj * (dp[j] - mean)
				slack := 16 * scale * bound * top * pj
				for d := range dh {
					atQ, atK := []int{b, i, h, d}, []int{b, j, h, d}
					*gq.val.ref(atQ) += ds * k.at(atK...)
					*gq.err.ref(atQ) += slack * math.Abs(k.at(atK...))
					*gk.val.ref(atK) += ds * q.at(atQ...)
					*gk.err.ref(atK) += slack * math.Abs(q.at(atQ...))
					*gv.val.ref(atK) += pj * gy.at(atQ...)
					*gv.err.ref(atK) += 4 * bound * pj * math.Abs(gy.at(atQ...))
				}
			}
		})
		out = append(out, gq, gk, gv)
	}
	return out
}

// sameLayout returns a tensor with the strides of x on storage of its own.
func sameLayout(x *Tensor) *Tensor {
	span := 1
	for i, d := range x.Shape() {
		span += (max(d, 1) - 1) * x.steps[i]
	}
	g := Zeros(x.Device(), x.DType(), span)
	v := g.view()
	v.rank, v.dims, v.steps = x.rank, x.dims, x.steps
	return v
}

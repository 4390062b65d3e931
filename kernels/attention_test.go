package kernels

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"unsafe"
)

// attentionGap fills what lies between rows: a NaN that no kernel makes.
var attentionGap = math.Float64frombits(0x7ff8_0000_dead_0000)

// attentionCase holds operands at float64, values that float32 has too, in a
// layout with gaps: q alone, k and v in one matrix.
type attentionCase struct {
	a            AttentionShape
	q, kv, gO    []float64 // as stored; v begins H·Dh into kv
	vAt          int
	o, lse       []float64 // by the reference
	gq, gkv      []float64
	oErr, lseErr []float64 // the promised bounds, in u
	gqErr, gkErr []float64
}

type attentionMask struct {
	name   string
	causal bool
	prefix []int32
}

func (m attentionMask) String() string { return m.name }

// attentionLayout is how the operands of a case lie in memory and what is in them.
type attentionLayout struct {
	gapQ, gapK, gapO int  // between rows; between batch entries there is one more
	interleaved      bool // rows of all entries in turn, not one entry after another
	values           values
}

func newAttentionCase(b, h, tq, tk, dh int, mask attentionMask, scale float64, seed uint64) *attentionCase {
	return attentionLayout{gapQ: 3, gapK: 5, gapO: 1, values: fractions}.newCase(b, h, tq, tk, dh, mask, scale, seed)
}

// newCase draws q as scale·normal, the others normal. Values of other kinds than
// fractions are rare among them.
func (l attentionLayout) newCase(b, h, tq, tk, dh int, mask attentionMask, scale float64, seed uint64) *attentionCase {
	r := rand.New(rand.NewPCG(seed, 7))
	w := h * dh
	a := AttentionShape{B: b, H: h, Tq: tq, Tk: tk, Dh: dh, Scale: 1 / math.Sqrt(float64(dh)), Causal: mask.causal, Prefix: mask.prefix}
	strides := func(rows, w, gap int) (ld, batch int) {
		if l.interleaved {
			return b * (w + gap + 1), w + gap + 1
		}
		return w + gap, rows*(w+gap) + gap + 1
	}
	a.LdQ, a.BatchQ = strides(tq, w, l.gapQ)
	a.LdK, a.BatchK = strides(tk, 2*w+1, l.gapK)
	a.LdV, a.BatchV = a.LdK, a.BatchK
	a.LdO, a.BatchO = strides(tq, w, l.gapO)
	c := &attentionCase{a: a, vAt: w + 1}
	if b == 0 || tk == 0 {
		c.vAt = 0
	}
	normal := func(scale float64) func() float64 {
		var rare [1]float32
		return func() float64 {
			if l.values != fractions && r.IntN(50) == 0 {
				l.values.fill(r, rare[:])
				if x := float64(rare[0]); !math.IsInf(x, 0) { // Inf in a visible score is the caller's riddle
					return x
				}
			}
			return float64(float32(r.NormFloat64() * scale))
		}
	}
	extent := func(rows, ld, batch, at int) int { // no gap behind the last row
		if b == 0 || rows == 0 {
			return 0
		}
		return at + (b-1)*batch + (rows-1)*ld + w
	}
	c.q = attentionFill(extent(tq, a.LdQ, a.BatchQ, 0), &a, tq, a.LdQ, a.BatchQ, 0, normal(scale))
	n := extent(tk, a.LdK, a.BatchK, c.vAt)
	c.kv = attentionFill(n, &a, tk, a.LdK, a.BatchK, 0, normal(1))
	vs := attentionFill(n, &a, tk, a.LdV, a.BatchV, c.vAt, normal(1))
	for i, v := range vs {
		if math.Float64bits(v) != math.Float64bits(attentionGap) {
			c.kv[i] = v
		}
	}
	c.gO = attentionFill(extent(tq, a.LdO, a.BatchO, 0), &a, tq, a.LdO, a.BatchO, 0, normal(1))
	c.solve()
	return c
}

// attentionFill returns n gaps with the rows of one operand set by value.
func attentionFill(n int, a *AttentionShape, rows, ld, batch, at int, value func() float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = attentionGap
	}
	for b := range a.B {
		for t := range rows {
			for d := range a.H * a.Dh {
				x[at+b*batch+t*ld+d] = value()
			}
		}
	}
	return x
}

// solve computes the reference and the bounds that the docstrings promise.
func (c *attentionCase) solve() {
	a := &c.a
	gaps := func(n int) []float64 { return slices.Repeat([]float64{attentionGap}, n) }
	zeros := func(n int) []float64 { return make([]float64, n) }
	c.o, c.lse, c.gq, c.gkv = gaps(len(c.gO)), zeros(a.B*a.H*a.Tq), gaps(len(c.q)), gaps(len(c.kv))
	c.oErr, c.lseErr, c.gqErr, c.gkErr = zeros(len(c.o)), zeros(len(c.lse)), zeros(len(c.q)), zeros(len(c.kv))
	k, v := c.kv, c.kv[c.vAt:]
	refAttention(c.o, c.lse, c.q, k, v, a)
	refAttentionGrad(c.gq, c.gkv, c.gkv[c.vAt:], c.q, k, v, c.gO, a)
	for b := range a.B {
		for h := range a.H {
			for i := range a.Tq {
				p, _ := refAttentionRow(c.q, k, a, b, h, i)
				at := func(batch, ld, t int) int { return b*batch + t*ld + h*a.Dh }
				qi, oi := at(a.BatchQ, a.LdQ, i), at(a.BatchO, a.LdO, i)
				var big, g float64
				for j := range p {
					kj, vj := at(a.BatchK, a.LdK, j), at(a.BatchV, a.LdV, j)
					var s, dp float64
					for d := range a.Dh {
						s += math.Abs(a.Scale * c.q[qi+d] * k[kj+d])
						dp += math.Abs(c.gO[oi+d] * v[vj+d])
					}
					big, g = max(big, s), max(g, dp)
				}
				ri := float64(a.Tq+a.Tk) + (float64(a.Dh)+attnRow[0])*(attnRow[1]+big) + attnRow[2]
				li := (b*a.H+h)*a.Tq + i
				c.lseErr[li] = ri + attnBound[2]*math.Abs(c.lse[li])
				for j, pj := range p {
					kj, vj := at(a.BatchK, a.LdK, j), at(a.BatchV, a.LdV, j)
					for d := range a.Dh {
						c.oErr[oi+d] += attnBound[0] * (ri*pj + attnBound[1]/unit) * math.Abs(v[vj+d])
						c.gkErr[c.vAt+vj+d] += attnGrad[0] * (ri*pj + attnGrad[1]/unit) * math.Abs(c.gO[oi+d])
						c.gqErr[qi+d] += attnGrad[2] * math.Abs(a.Scale) * g * (ri*pj + attnGrad[3]/unit) * math.Abs(k[kj+d])
						c.gkErr[kj+d] += attnGrad[4] * math.Abs(a.Scale) * g * (ri*pj + attnGrad[5]/unit) * math.Abs(c.q[qi+d])
					}
				}
			}
		}
	}
}

func attentionAs[T Float](x []float64) []T {
	y := make([]T, len(x))
	for i, v := range x {
		y[i] = T(v)
	}
	return y
}

// attentionResult is what one set makes of a case.
type attentionResult[T Float] struct{ o, lse, gq, gkv []T }

func runAttention[T Float](s *Set[T], c *attentionCase) (r attentionResult[T]) {
	return runAttentionIn(s, c, func(n int) []T { return make([]T, n) })
}

// runAttentionIn runs both kernels on memory that alloc hands out.
func runAttentionIn[T Float](s *Set[T], c *attentionCase, alloc func(n int) []T) (r attentionResult[T]) {
	in := func(x []float64) []T {
		y := alloc(len(x))
		copy(y, attentionAs[T](x))
		return y
	}
	gaps := func(n int) []T { return in(slices.Repeat([]float64{attentionGap}, n)) }
	q, kv, gO := in(c.q), in(c.kv), in(c.gO)
	r = attentionResult[T]{gaps(len(c.o)), gaps(len(c.lse)), gaps(len(c.q)), gaps(len(c.kv))}
	v := kv[c.vAt:]
	Attention(s, r.o, r.lse, q, kv, v, &c.a)
	AttentionGrad(s, r.gq, r.gkv, r.gkv[c.vAt:], q, kv, v, r.o, r.lse, gO, &c.a)
	if !attentionSame(q, attentionAs[T](c.q)) || !attentionSame(kv, attentionAs[T](c.kv)) || !attentionSame(gO, attentionAs[T](c.gO)) {
		panic("attention changed an input")
	}
	return r
}

func attentionBits[T Float](v T) uint64 {
	if unsafe.Sizeof(v) == 4 {
		return uint64(math.Float32bits(float32(v)))
	}
	return math.Float64bits(float64(v))
}

func attentionSame[T Float](x, y []T) bool {
	return slices.EqualFunc(x, y, func(a, b T) bool { return attentionBits(a) == attentionBits(b) })
}

// mustHold fails unless got is want within bound·u, and bit for bit where want
// is a gap.
func mustHold[T Float](t *testing.T, kernel string, s *Set[T], got []T, want, bound []float64, under float64) {
	t.Helper()
	u := math.Ldexp(1, -53)
	if unsafe.Sizeof(T(0)) == 4 {
		u = math.Ldexp(1, -24)
	}
	gap := attentionBits(T(attentionGap))
	for i, w := range want {
		g, tol := float64(got[i]), classBound(w, bound[i]*u+under)
		if math.Float64bits(w) == math.Float64bits(attentionGap) {
			if attentionBits(got[i]) != gap {
				t.Fatalf("%s %s[%d]: a gap was written: %g", s.Name, kernel, i, g)
			}
			continue
		}
		if unsafe.Sizeof(T(0)) == 4 {
			observe(kernel, s.Name, g, w, tol, func() string { return fmt.Sprintf("[%d] of %d", i, len(want)) })
		}
		if !(math.IsNaN(w) && math.IsNaN(g) || w == g || tol == noPromise || math.Abs(g-w) <= tol) {
			t.Fatalf("%s %s[%d] = %g, want %g: off by %.3g, the bound is %.3g", s.Name, kernel, i, g, w, math.Abs(g-w), tol)
		}
	}
}

func checkAttention[T Float](t *testing.T, s *Set[T], c *attentionCase) {
	t.Helper()
	r := runAttention(s, c)
	checkAttentionResult(t, s, c, r)
	o := attentionAs[T](slices.Repeat([]float64{attentionGap}, len(c.o)))
	Attention(s, o, nil, attentionAs[T](c.q), attentionAs[T](c.kv), attentionAs[T](c.kv)[c.vAt:], &c.a)
	if !attentionSame(o, r.o) {
		t.Fatalf("%s: o differs without lse", s.Name)
	}
}

func checkAttentionResult[T Float](t *testing.T, s *Set[T], c *attentionCase, r attentionResult[T]) {
	t.Helper()
	mustHold(t, "Attention o", s, r.o, c.o, c.oErr, attnBound[3])
	mustHold(t, "Attention lse", s, r.lse, c.lse, c.lseErr, attnBound[3])
	mustHold(t, "AttentionGrad q", s, r.gq, c.gq, c.gqErr, attnGrad[6])
	mustHold(t, "AttentionGrad kv", s, r.gkv, c.gkv, c.gkErr, attnGrad[6])
}

// checkAttentionFenced runs on memory beside an unmapped page. A fault in a worker
// ends the test binary.
func checkAttentionFenced(t *testing.T, s *Set[float32], c *attentionCase, end bool) {
	t.Helper()
	debug.SetPanicOnFault(true)
	defer fault(t)
	var intact []func() bool
	r := runAttentionIn(s, c, func(n int) []float32 {
		x, ok := newFence(t, n).place(n, end)
		intact = append(intact, ok)
		return x
	})
	for _, ok := range intact {
		if !ok() {
			t.Fatalf("%s: wrote beside an operand", s.Name)
		}
	}
	checkAttentionResult(t, s, c, r)
}

// TestAttention compares every set, and the reference at float64, with the
// definition: sizes around every tile and block, all masks, gaps of NaN.
func TestAttention(t *testing.T) {
	sets := usable()
	try := func(t *testing.T, c *attentionCase) {
		t.Helper()
		for _, s := range sets {
			checkAttention(t, s, c)
		}
		checkAttention(t, F64(), c)
	}
	for _, n := range []int{1, 2, 3, 5, 36, 60, 64, 65, 130, 257} {
		heads := []int{1, 8, 16, 64, 80, 128}
		switch {
		case testing.Short() && (n == 60 || n == 64 || n == 130):
			continue
		case testing.Short() && n > 100:
			heads = []int{4}
		case testing.Short() && n > 5:
			heads = []int{1, 20}
		case testing.Short():
			heads = []int{1, 64, 80}
		case n > 100:
			heads = []int{1, 16, 80}
		}
		for x, dh := range heads {
			past := []int{0, 1, 37}[x%3] // keys before the first query
			tk := n + past
			edge := []int32{0, 1, int32(tk - 1), int32(tk)}
			for _, m := range []attentionMask{
				{"none", false, nil},
				{"causal", true, nil},
				{"prefix", true, edge},
				{"prefix inside", true, []int32{int32(tk / 2), int32(tk / 3)}},
			} {
				b, h := max(len(m.prefix), 1), 2
				if len(m.prefix) == 4 {
					h = 1
				}
				t.Run(fmt.Sprintf("%v/T=%d,Tk=%d,Dh=%d", m, n, tk, dh), func(t *testing.T) {
					try(t, newAttentionCase(b, h, n, tk, dh, m, 1, uint64(n*dh)))
				})
			}
		}
	}
	for _, n := range [][2]int{{3, 1}, {5, 300}, {70, 3}, {300, 5}, {7, 0}, {0, 7}, {0, 0}, {1, 129}, {4, 530}} {
		t.Run(fmt.Sprintf("none/T=%d,Tk=%d", n[0], n[1]), func(t *testing.T) {
			try(t, newAttentionCase(2, 2, n[0], n[1], 20, attentionMask{}, 1, 5))
		})
	}
	t.Run("causal/several key blocks", func(t *testing.T) {
		try(t, newAttentionCase(2, 1, 200, 560, 8, attentionMask{"prefix", true, []int32{0, 300}}, 1, 5))
	})
	t.Run("no batch", func(t *testing.T) { try(t, newAttentionCase(0, 2, 4, 4, 8, attentionMask{}, 1, 5)) })
}

// TestAttentionMemoryBounds runs on memory that ends at, or begins after, a page
// that faults, with rows close together and far apart.
func TestAttentionMemoryBounds(t *testing.T) {
	for i, n := range [][3]int{{1, 1, 1}, {2, 9, 5}, {3, 3, 7}, {17, 33, 20}, {36, 70, 16}, {40, 270, 3}} {
		for _, l := range []attentionLayout{{values: fractions}, {gapQ: 1, gapK: 2, gapO: 3, interleaved: true, values: fractions}} {
			m := []attentionMask{{}, {"prefix", true, []int32{0, int32(n[1])}}}[i%2]
			c := l.newCase(2, 2, n[0], n[1], n[2], m, 1, uint64(i))
			for _, s := range usable() {
				checkAttentionFenced(t, s, c, true)
				checkAttentionFenced(t, s, c, false)
			}
		}
	}
}

// TestAttentionSmallValues: denormals and zeros of either sign among the operands,
// or nothing else.
func TestAttentionSmallValues(t *testing.T) {
	for _, n := range []int{2, 40} {
		c := attentionLayout{values: tiny}.newCase(1, 2, n, n+1, 20, attentionMask{"causal", true, nil}, 1, 3)
		zero := newAttentionCase(1, 2, n, n+1, 20, attentionMask{}, 1, 3)
		for _, x := range [][]float64{zero.q, zero.kv, zero.gO} {
			for i, v := range x {
				if v == v {
					x[i] = math.Copysign(0, v)
				}
			}
		}
		zero.solve()
		for _, s := range usable() {
			checkAttention(t, s, c)
			checkAttention(t, s, zero)
		}
	}
}

// FuzzAttention tries any small shape, layout, mask and kind of values on every
// level, forward and backward, on memory beside a page that faults.
func FuzzAttention(f *testing.F) {
	f.Add(uint8(1), uint8(1), uint8(3), uint8(4), uint8(5), uint8(0), uint8(0), uint8(0), uint8(1), uint64(1), true)
	f.Fuzz(func(t *testing.T, b, h, tq, more, dh, gaps, mask, prefix, kind uint8, seed uint64, end bool) {
		b, h, tq, dh = b%4, 1+h%3, tq%90, 1+dh%70
		tk := int(tq) + int(more)
		m := attentionMask{}
		switch mask % 3 {
		case 0:
			tk = int(more) // fewer or more
		case 1:
			m.causal = true
		case 2:
			m = attentionMask{"prefix", true, make([]int32, b)}
			for i := range m.prefix {
				m.prefix[i] = int32((int(prefix) + i*i) % (tk + 1))
			}
		}
		if int(b)*int(h)*int(tq)*tk*int(dh) > 200_000 {
			t.Skip("too slow")
		}
		l := attentionLayout{int(gaps & 3), int(gaps >> 2 & 3), int(gaps >> 4 & 3), gaps>>7 == 1, values(kind) % valueKinds}
		if l.values == wide {
			l.values = fractions // scores may be large, but not without bound
		}
		c := l.newCase(int(b), int(h), int(tq), tk, int(dh), m, math.Ldexp(1, int(kind>>4)-4), seed)
		for _, s := range usable() {
			checkAttentionFenced(t, s, c, end)
		}
	})
}

// TestAttentionSplit covers the split of the queries, which short ones lack.
func TestAttentionSplit(t *testing.T) {
	n, dh := 700, 4
	if testing.Short() {
		n, dh = 2*attentionSplit, 1
	}
	c := newAttentionCase(1, 1, n, n, dh, attentionMask{"prefix", true, []int32{250}}, 1, 3)
	for _, s := range usable() {
		checkAttention(t, s, c)
	}
}

// TestAttentionFused runs on slices of one qkv matrix, the gradients on another.
func TestAttentionFused(t *testing.T) {
	const b, h, n, dh = 2, 3, 37, 16
	const w, ld = h * dh, 3*h*dh + 2
	a := AttentionShape{B: b, H: h, Tq: n, Tk: n, Dh: dh, LdQ: ld, LdK: ld, LdV: ld, LdO: w,
		BatchQ: n * ld, BatchK: n * ld, BatchV: n * ld, BatchO: n * w, Scale: 0.25, Causal: true, Prefix: []int32{5, 0}}
	r := rand.New(rand.NewPCG(1, 2))
	x := attentionFill(b*n*ld, &AttentionShape{B: b, H: 3 * h, Dh: dh}, n, ld, n*ld, 0, r.NormFloat64)
	gO := attentionFill(b*n*w, &a, n, w, n*w, 0, r.NormFloat64)
	want, o, lse := slices.Repeat([]float64{attentionGap}, len(x)), make([]float64, len(gO)), make([]float64, b*h*n)
	refAttentionGrad(want, want[w:], want[2*w:], x, x[w:], x[2*w:], gO, &a)
	got := slices.Repeat([]float64{attentionGap}, len(x))
	Attention(F64(), o, lse, x, x[w:], x[2*w:], &a)
	AttentionGrad(F64(), got, got[w:], got[2*w:], x, x[w:], x[2*w:], o, lse, gO, &a)
	mustHold(t, "AttentionGrad", F64(), got, want, slices.Repeat([]float64{1e4}, len(x)), 0)
}

// TestAttentionLargeScores: scores of ±1e4 neither overflow nor leave the bound.
func TestAttentionLargeScores(t *testing.T) {
	for _, n := range []int{2, 40, 300} {
		if testing.Short() && n > 100 {
			continue
		}
		c := newAttentionCase(1, 1, n, n, 64, attentionMask{"causal", true, nil}, 1e4, 9)
		for _, s := range usable() {
			checkAttention(t, s, c)
			r := runAttention(s, c)
			for b, x := range [][]float32{r.o, r.lse, r.gq, r.gkv} {
				for i, v := range x {
					if math.IsInf(float64(v), 0) || v != v && attentionBits(v) != attentionBits(float32(attentionGap)) {
						t.Fatalf("%s: T=%d, result %d[%d] = %g", s.Name, n, b, i, v)
					}
				}
			}
		}
		checkAttention(t, F64(), c)
	}
}

// TestAttentionHidden: what the mask hides never reaches a result. The
// definition touches visible pairs only, so its NaN are the legitimate ones.
func TestAttentionHidden(t *testing.T) {
	sizes := []int{2, 40, 90, 300}
	if testing.Short() {
		sizes = sizes[:2]
	}
	for _, n := range sizes {
		for _, m := range []attentionMask{{"none", false, nil}, {"causal", true, nil}, {"prefix", true, []int32{int32(n / 4)}}} {
			for _, poison := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				if !m.causal && math.IsInf(poison, 0) {
					continue // seen by all
				}
				row := func(x []float64, at, ld, t int) {
					for d := range 24 {
						x[at+t*ld+d] = poison
					}
				}
				late := newAttentionCase(1, 1, n, n, 24, m, 1, 11)
				row(late.kv, late.vAt, late.a.LdV, n-1)
				row(late.kv, late.vAt, late.a.LdV, n*2/3)
				early := newAttentionCase(1, 1, n, n, 24, m, 1, 12)
				row(early.gO, 0, early.a.LdO, n/3)
				both := []*attentionCase{late, early}
				if math.IsNaN(poison) { // in a visible score Inf is the caller's riddle
					row(late.kv, 0, late.a.LdK, n*2/3)
					row(early.q, 0, early.a.LdQ, n/3)
				}
				for _, c := range both {
					c.solve()
					for _, s := range usable() {
						checkAttention(t, s, c)
					}
					checkAttention(t, F64(), c)
				}
			}
		}
	}
}

// TestAttentionFuture: finite values of keys still to come change no bit of
// earlier outputs and of the gradients of earlier queries.
func TestAttentionFuture(t *testing.T) {
	const n, cut, dh = 150, 70, 24
	for _, s := range usable() {
		c := newAttentionCase(1, 1, n, n, dh, attentionMask{"prefix", true, []int32{cut - 9}}, 1, 4)
		before := runAttention(s, c)
		for j := cut; j < n; j++ {
			for d := range dh {
				c.kv[j*c.a.LdK+d] *= -3e9
				c.kv[c.vAt+j*c.a.LdV+d] *= 1e25 // the square overflows
				c.q[j*c.a.LdQ+d] *= 1e-9
			}
		}
		after := runAttention(s, c)
		if !attentionSame(before.o[:cut*c.a.LdO], after.o[:cut*c.a.LdO]) {
			t.Errorf("%s: a later key changed an earlier output", s.Name)
		}
		if !attentionSame(before.lse[:cut], after.lse[:cut]) {
			t.Errorf("%s: a later key changed an earlier lse", s.Name)
		}
		if !attentionSame(before.gq[:cut*c.a.LdQ], after.gq[:cut*c.a.LdQ]) {
			t.Errorf("%s: a later key changed the gradient of an earlier query", s.Name)
		}
	}
}

// TestAttentionVJP checks ⟨gO, J·v⟩ (central difference) = ⟨Jᵀ·gO, v⟩ at float64
// along one random direction of each operand.
func TestAttentionVJP(t *testing.T) {
	const step = 1e-5
	for _, m := range []attentionMask{{"none", false, nil}, {"causal", true, nil}, {"prefix", true, []int32{9, 0}}} {
		c := newAttentionCase(2, 2, 21, 30, 10, m, 1, 6)
		a := &c.a
		grad := runAttention(F64(), c)
		r := rand.New(rand.NewPCG(3, 4))
		value := func(q, kv []float64) (s float64) {
			o := make([]float64, len(c.o))
			Attention(F64(), o, nil, q, kv, kv[c.vAt:], a)
			for i, g := range c.gO {
				if g == g {
					s += g * o[i]
				}
			}
			return s
		}
		for _, which := range []string{"q", "k", "v"} {
			dq, dkv := make([]float64, len(c.q)), make([]float64, len(c.kv))
			var want float64
			along := func(d, x, g []float64, rows, ld, batch, at int) {
				for b := range a.B {
					for t := range rows {
						for e := range a.H * a.Dh {
							i := at + b*batch + t*ld + e
							d[i] = r.NormFloat64()
							want += d[i] * g[i]
						}
					}
				}
			}
			switch which {
			case "q":
				along(dq, c.q, grad.gq, a.Tq, a.LdQ, a.BatchQ, 0)
			case "k":
				along(dkv, c.kv, grad.gkv, a.Tk, a.LdK, a.BatchK, 0)
			case "v":
				along(dkv, c.kv, grad.gkv, a.Tk, a.LdV, a.BatchV, c.vAt)
			}
			moved := func(x, d []float64, by float64) []float64 {
				y := slices.Clone(x)
				for i := range y {
					y[i] += by * d[i]
				}
				return y
			}
			got := (value(moved(c.q, dq, step), moved(c.kv, dkv, step)) - value(moved(c.q, dq, -step), moved(c.kv, dkv, -step))) / (2 * step)
			if math.Abs(got-want) > 1e-7*(1+math.Abs(want)) {
				t.Errorf("%v: along %s the VJP gives %g, the central difference %g", m, which, want, got)
			}
		}
	}
}

// TestAttentionWorkers: the same bits for any GOMAXPROCS.
func TestAttentionWorkers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, s := range usable() {
		for _, c := range []*attentionCase{
			newAttentionCase(2, 3, 67, 67, 16, attentionMask{"prefix", true, []int32{3, 60}}, 1, 2),
			newAttentionCase(1, 1, 520, 520, 4, attentionMask{}, 1, 2),
		} {
			runtime.GOMAXPROCS(1)
			want := runAttention(s, c)
			for _, n := range []int{2, 3} {
				runtime.GOMAXPROCS(n)
				got := runAttention(s, c)
				if !attentionSame(got.o, want.o) || !attentionSame(got.lse, want.lse) || !attentionSame(got.gq, want.gq) || !attentionSame(got.gkv, want.gkv) {
					t.Errorf("%s: T=%d: other bits with GOMAXPROCS=%d", s.Name, c.a.Tq, n)
				}
			}
		}
	}
}

// TestAttentionMemory: a fixed handful of small allocations a call, and never a
// T×T matrix, of 4·T² bytes.
func TestAttentionMemory(t *testing.T) {
	const n, dh = 4096, 8
	s := F32()
	a := AttentionShape{B: 1, H: 1, Tq: n, Tk: n, Dh: dh, LdQ: dh, LdK: dh, LdV: dh, LdO: dh, Scale: 0.3}
	x := make([]float32, n*dh)
	for i := range x {
		x[i] = float32(i%17) / 16
	}
	o, lse, gq, gk, gv := make([]float32, n*dh), make([]float32, n), make([]float32, n*dh), make([]float32, n*dh), make([]float32, n*dh)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	Attention(s, o, lse, x, x, x, &a)
	AttentionGrad(s, gq, gk, gv, x, x, x, o, lse, x, &a)
	runtime.ReadMemStats(&after)
	// One block's scratch is 2 MB here. Pools that a collection emptied, or of which
	// the race detector drops what is put back at random, may want it anew for each
	// of some ten blocks, never 64 MB.
	if got := after.TotalAlloc - before.TotalAlloc; got > 2*n*n {
		t.Errorf("the first call took %d bytes, more than half of a T×T matrix", got)
	}
	a.Tq, a.Tk = 60, 60
	if got := testing.AllocsPerRun(50, func() { Attention(s, o, lse, x, x, x, &a) }); got > 6 {
		t.Errorf("Attention allocates %g times", got)
	}
	if got := testing.AllocsPerRun(50, func() { AttentionGrad(s, gq, gk, gv, x, x, x, o, lse, x, &a) }); got > 6 {
		t.Errorf("AttentionGrad allocates %g times", got)
	}
}

// TestAttentionShapeErrors: bad operands panic before any kernel is called; the
// set has none.
func TestAttentionShapeErrors(t *testing.T) {
	const huge = math.MaxInt
	good := AttentionShape{B: 2, H: 2, Tq: 3, Tk: 4, Dh: 5, LdQ: 10, LdK: 10, LdV: 10, LdO: 10,
		BatchQ: 30, BatchK: 40, BatchV: 40, BatchO: 30, Scale: 1}
	lengths := [9]int{60, 80, 80, 60, 12, 60, 80, 80, 60} // q k v o lse gq gk gv gO
	call := func(a AttentionShape, n [9]int) (forward, backward error) {
		x := func(i int) []float32 { return make([]float32, n[i]) }
		try := func(f func()) (err error) {
			defer func() { err, _ = recover().(error) }()
			f()
			return nil
		}
		s := &Set[float32]{}
		s.Tile = Reference[float32]().Tile
		return try(func() { Attention(s, x(3), x(4), x(0), x(1), x(2), &a) }),
			try(func() { AttentionGrad(s, x(5), x(6), x(7), x(0), x(1), x(2), x(3), x(4), x(8), &a) })
	}
	isShape := func(err error) bool { var e *ShapeError; return errors.As(err, &e) }
	if f, b := call(good, lengths); f == nil || b == nil || isShape(f) || isShape(b) {
		t.Fatalf("the good case is refused, or runs without kernels: %v, %v", f, b)
	}
	for i := range lengths {
		n := lengths
		n[i]--
		f, b := call(good, n)
		if i < 5 && !isShape(f) || !isShape(b) {
			t.Errorf("operand %d one short: %v, %v", i, f, b)
		}
	}
	for name, change := range map[string]func(a *AttentionShape){
		"B < 0":           func(a *AttentionShape) { a.B = -1 },
		"H < 0":           func(a *AttentionShape) { a.H = -1 },
		"Tq < 0":          func(a *AttentionShape) { a.Tq = -1 },
		"Tk < 0":          func(a *AttentionShape) { a.Tk = -1 },
		"Dh = 0":          func(a *AttentionShape) { a.Dh = 0 },
		"Dh huge":         func(a *AttentionShape) { a.Dh = huge },
		"B huge":          func(a *AttentionShape) { a.B = huge },
		"H huge":          func(a *AttentionShape) { a.H = huge },
		"Tq huge":         func(a *AttentionShape) { a.Tq = huge },
		"Tk huge":         func(a *AttentionShape) { a.Tk = huge },
		"LdQ huge":        func(a *AttentionShape) { a.LdQ = huge },
		"LdV huge":        func(a *AttentionShape) { a.LdV = huge },
		"BatchK huge":     func(a *AttentionShape) { a.BatchK = huge },
		"LdK short":       func(a *AttentionShape) { a.LdK = 9 },
		"LdQ = 0":         func(a *AttentionShape) { a.LdQ = 0 },
		"LdO < 0":         func(a *AttentionShape) { a.LdO = -10 },
		"BatchV = 0":      func(a *AttentionShape) { a.BatchV = 0 },
		"BatchO overlaps": func(a *AttentionShape) { a.BatchO = 29 },
		"causal Tk < Tq":  func(a *AttentionShape) { a.Causal, a.Tq, a.Tk = true, 3, 2 },
		"prefix alone":    func(a *AttentionShape) { a.Prefix = []int32{1, 1} },
		"prefix short":    func(a *AttentionShape) { a.Causal, a.Prefix = true, []int32{1} },
		"prefix < 0":      func(a *AttentionShape) { a.Causal, a.Prefix = true, []int32{1, -1} },
		"prefix > Tk":     func(a *AttentionShape) { a.Causal, a.Prefix = true, []int32{5, 1} },
	} {
		a := good
		change(&a)
		if f, b := call(a, lengths); !isShape(f) || !isShape(b) {
			t.Errorf("%s: %v, %v", name, f, b)
		}
	}
	rows := good // batch entries interleaved row by row
	rows.LdQ, rows.LdK, rows.LdV, rows.LdO = 20, 20, 20, 20
	rows.BatchQ, rows.BatchK, rows.BatchV, rows.BatchO = 10, 10, 10, 10
	if f, b := call(rows, lengths); isShape(f) || isShape(b) {
		t.Errorf("interleaved entries are refused: %v, %v", f, b)
	}
}

// BenchmarkAttention counts 4·T²·Dh FLOP forward and 10·T²·Dh backward per head,
// whatever the mask. For one thread: -cpu 1.
func BenchmarkAttention(b *testing.B) {
	for _, s := range Sets() {
		if s.Missing != "" {
			continue
		}
		for _, shape := range []struct {
			t, dh  int
			causal bool
		}{{36, 64, false}, {60, 64, false}, {60, 64, true}, {64, 64, false}, {256, 64, false}, {256, 64, true}, {256, 128, false}, {1024, 64, false}} {
			n, dh := shape.t, shape.dh
			const batch, h = 2, 8
			w := h * dh
			a := AttentionShape{B: batch, H: h, Tq: n, Tk: n, Dh: dh, LdQ: 3 * w, LdK: 3 * w, LdV: 3 * w, LdO: w,
				BatchQ: 3 * n * w, BatchK: 3 * n * w, BatchV: 3 * n * w, BatchO: n * w, Scale: 1 / math.Sqrt(float64(dh)), Causal: shape.causal}
			r := rand.New(rand.NewPCG(1, 2))
			x, o, lse, g := make([]float32, batch*n*3*w), make([]float32, batch*n*w), make([]float32, batch*h*n), make([]float32, batch*n*3*w)
			for i := range x {
				x[i] = float32(r.NormFloat64())
			}
			name := fmt.Sprintf("%s/T=%d,dh=%d,causal=%t", s.Name, n, dh, shape.causal)
			rate := func(b *testing.B, flop int) {
				b.ReportMetric(float64(flop*batch*h*n*n*dh)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			}
			b.Run(name+"/forward", func(b *testing.B) {
				for b.Loop() {
					Attention(s, o, lse, x, x[w:], x[2*w:], &a)
				}
				rate(b, 4)
			})
			b.Run(name+"/backward", func(b *testing.B) {
				Attention(s, o, lse, x, x[w:], x[2*w:], &a)
				for b.Loop() {
					AttentionGrad(s, g, g[w:], g[2*w:], x, x[w:], x[2*w:], o, lse, o, &a)
				}
				rate(b, 10)
			})
		}
	}
}

package bench

import (
	"fmt"
	"math"
	"testing"

	"fuerte/kernels"
)

// BenchmarkAttention times the fused kernels on slices of one fused product
// [B, T, 3·H·dh], as the model calls them. With the mask "prefix" every query
// sees the first half of the keys.
//
// Counts: for every pair of a query and a key that it sees, 4·dh FLOP forward
// and 10·dh backward: what is computed on masked pairs is not work done.
// Forward reads q, k, v and writes o and lse; backward reads these and gO and
// writes three gradients.
func BenchmarkAttention(b *testing.B) {
	for _, pass := range []string{"forward", "backward"} {
		for _, size := range attentions {
			for _, dh := range headSizes {
				for _, mask := range []string{"none", "causal", "prefix"} {
					attention(b, pass, size.b, size.h, size.t, dh, mask)
				}
			}
		}
	}
}

func attention(b *testing.B, pass string, batch, h, t, dh int, mask string) {
	d := h * dh
	a := &kernels.AttentionShape{
		B: batch, H: h, Tq: t, Tk: t, Dh: dh, LdQ: 3 * d, LdK: 3 * d, LdV: 3 * d, LdO: d,
		BatchQ: 3 * d * t, BatchK: 3 * d * t, BatchV: 3 * d * t, BatchO: d * t,
		Scale: 1 / math.Sqrt(float64(dh)), Causal: mask != "none",
	}
	seen := t * t // pairs of one head
	switch mask {
	case "causal":
		seen = t * (t + 1) / 2
	case "prefix":
		a.Prefix = make([]int32, batch)
		for i := range a.Prefix {
			a.Prefix[i] = int32(t / 2)
		}
		seen = 0
		for i := range t {
			seen += max(i+1, t/2)
		}
	}
	tokens, pairs := float64(batch*t*d), float64(batch*h*seen)
	w := work{flop: 4 * float64(dh) * pairs, bytes: 4 * (4*tokens + float64(batch*h*t))}
	if pass == "backward" {
		w = work{flop: 10 * float64(dh) * pairs, bytes: 4 * (8*tokens + float64(batch*h*t))}
	}
	name := fmt.Sprintf("pass=%s/mask=%s/b=%d/h=%d/t=%d/dh=%d", pass, mask, batch, h, t, dh)
	w.levels(b, name, func(s *kernels.Set[float32]) func() {
		x, o, lse := filled(batch*t*3*d), filled(batch*t*d), filled(batch*h*t)
		forward := func() { kernels.Attention(s, o, lse, x, x[d:], x[2*d:], a) }
		if pass == "forward" {
			return forward
		}
		forward()
		g, gO := filled(len(x)), filled(len(o))
		return func() { kernels.AttentionGrad(s, g, g[d:], g[2*d:], x, x[d:], x[2*d:], o, lse, gO, a) }
	})
}

// BenchmarkAttentionDecode times one query of a batch entry, as in decoding with a
// key/value cache.
//
// Counts: for every key 4·dh FLOP; reads k and v.
func BenchmarkAttentionDecode(b *testing.B) {
	const h, dh = 12, 64
	for _, keys := range decoded {
		d := h * dh
		a := &kernels.AttentionShape{
			B: 1, H: h, Tq: 1, Tk: keys, Dh: dh, LdQ: d, LdK: d, LdV: d, LdO: d, Scale: 1 / math.Sqrt(float64(dh)),
		}
		w := work{flop: 4 * float64(keys*d), bytes: 4 * 2 * float64(keys*d)}
		w.levels(b, fmt.Sprintf("h=%d/keys=%d/dh=%d", h, keys, dh), func(s *kernels.Set[float32]) func() {
			q, k, v, o := filled(d), filled(keys*d), filled(keys*d), filled(d)
			return func() { kernels.Attention(s, o, nil, q, k, v, a) }
		})
	}
}

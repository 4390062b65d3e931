package main

import "math"

func adamwFamily(e *emitter) { e.adamw() }

// adamw emits one decoupled AdamW step; the model is kernels.refAdamW.
//
// Contract:  kernels.Set.AdamW; s is kernels.AdamWStep[float32] as an array of
// its fields: Clip, Beta1, Beta2, Keep, Rate, RSqrtC2, Eps.
// Registers: 9 scalars in all lanes: the fields, 1−Beta1, 1−Beta2.
// Loop:      1 vector a pass; the square root, the division and 28 bytes of
// traffic per element are the limit. Needs: AVX2 and FMA3, or AVX512F.
func (e *emitter) adamw() {
	e.both(func(m *lanes) {
		m.begin("AdamW", "func(p, m, v, g []float32, s *[7]float32)",
			"sets m, v and p from g; s holds Clip, Beta1, Beta2, Keep, Rate, RSqrtC2, Eps.")
		p, n, s := m.bases("p", "m", "v", "g"), m.length("p"), m.gp("s")
		var f [7]vec
		for i := range f {
			f[i] = m.new()
			m.VBROADCASTSS(at(s, i), f[i])
		}
		clip, beta1, beta2, keep, rate, rsqrt, eps := f[0], f[1], f[2], f[3], f[4], f[5], f[6]
		one := m.new()
		m.VBROADCASTSS(m.constant(math.Float32bits(1)), one)
		rest1, rest2 := m.sub(one, beta1), m.sub(one, beta2)
		m.sweep(n, 1, func(_ int, at access) {
			g := m.mul(clip, at.load(p[3]))
			first := m.mul(beta1, at.load(p[1]))
			m.VFMADD231PS(g, rest1, first)
			second := m.mul(beta2, at.load(p[2]))
			m.VFMADD231PS(m.mul(g, g), rest2, second)
			den := m.new()
			m.VSQRTPS(second, den)
			m.VFMADD213PS(eps, rsqrt, den)
			update := m.div(m.mul(rate, first), den)
			w := at.load(p[0])
			m.VFMSUB213PS(update, keep, w)
			at.store(first, p[1])
			at.store(second, p[2])
			at.store(w, p[0])
		})
		m.ret()
	})
}

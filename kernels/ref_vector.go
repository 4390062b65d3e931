package kernels

import "math"

func refAdd[T Float](y, a, b []T) {
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

func refSub[T Float](y, a, b []T) {
	for i := range y {
		y[i] = a[i] - b[i]
	}
}

func refMul[T Float](y, a, b []T) {
	for i := range y {
		y[i] = a[i] * b[i]
	}
}

func refDiv[T Float](y, a, b []T) {
	for i := range y {
		y[i] = a[i] / b[i]
	}
}

func refScale[T Float](y, x []T, alpha T) {
	for i := range y {
		y[i] = alpha * x[i]
	}
}

func refAxpy[T Float](y, x []T, alpha T) {
	for i := range y {
		y[i] = T(math.FMA(float64(alpha), float64(x[i]), float64(y[i])))
	}
}

func refGemv[T Float](y, a, b []T, ldb int) {
	for p, v := range a {
		refAxpy(y, b[p*ldb:], v)
	}
}

// refMap lifts a scalar function to vectors; float32 is rounded once, from the
// float64 value.
func refMap[T Float](f func(float64) float64) func(y, x []T) {
	return func(y, x []T) {
		for i := range y {
			y[i] = T(f(float64(x[i])))
		}
	}
}

// sigmoid is 1/(1+e^−x), below 0 as eˣ/(1+eˣ): e^−x would overflow where σ, down
// there equal to eˣ, is not yet 0.
func sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}

func refSigmoid[T Float](y, x []T) { refMap[T](sigmoid)(y, x) }

func refSiLU[T Float](y, x []T) {
	for i := range y {
		v := float64(x[i])
		y[i] = T(v * sigmoid(v))
	}
}

// silu′ = σ + x·σ·(1−σ) = σ·(1 + x·(1−σ))
func siluGrad(x float64) float64 {
	s := sigmoid(x)
	return s * (1 + x*(1-s))
}

func refSiLUGrad[T Float](gx, x, gy []T) {
	for i := range gx {
		gx[i] = T(float64(gy[i]) * siluGrad(float64(x[i])))
	}
}

func refSwiGLU[T Float](y, g, u []T) {
	for i := range y {
		v := float64(g[i])
		y[i] = T(v * sigmoid(v) * float64(u[i]))
	}
}

func refSwiGLUGrad[T Float](gg, gu, g, u, gy []T) {
	for i := range gg {
		v, up, d := float64(g[i]), float64(u[i]), float64(gy[i])
		gg[i] = T(d * up * siluGrad(v))
		gu[i] = T(d * v * sigmoid(v))
	}
}

const (
	geluScale = 0.7978845608028654 // √(2/π)
	geluCubic = 0.044715
)

func refGELU[T Float](y, x []T) {
	for i := range y {
		v := float64(x[i])
		y[i] = T(0.5 * v * (1 + math.Tanh(geluScale*(v+geluCubic*v*v*v))))
	}
}

// With t = tanh(s·(x + c·x³)): y = ½x(1+t), y′ = ½(1+t) + ½x(1−t²)·s·(1+3c·x²).
func refGELUGrad[T Float](gx, x, gy []T) {
	for i := range gx {
		v := float64(x[i])
		t := math.Tanh(geluScale * (v + geluCubic*v*v*v))
		d := 0.5*(1+t) + 0.5*v*(1-t*t)*geluScale*(1+3*geluCubic*v*v)
		gx[i] = T(float64(gy[i]) * d)
	}
}

func refSum[T Float](x []T) T {
	var s float64
	for _, v := range x {
		s += float64(v)
	}
	return T(s)
}

func refDot[T Float](x, y []T) T {
	var s float64
	for i := range x {
		s += float64(x[i]) * float64(y[i])
	}
	return T(s)
}

func refMax[T Float](x []T) T {
	m := T(math.Inf(-1))
	for _, v := range x {
		m = max(m, v) // the built-in hands NaN on
	}
	return m
}

func refExpSub[T Float](y, x []T, m T) T {
	var s float64
	for i := range y {
		e := T(math.Exp(float64(x[i]) - float64(m)))
		y[i] = e
		s += float64(e)
	}
	return T(s)
}

func refAdamW[T Float](p, m, v, g []T, s *AdamWStep[T]) {
	for i := range p {
		d := float64(s.Clip) * float64(g[i])
		mi := float64(s.Beta1)*float64(m[i]) + (1-float64(s.Beta1))*d
		vi := float64(s.Beta2)*float64(v[i]) + (1-float64(s.Beta2))*d*d
		m[i], v[i] = T(mi), T(vi)
		p[i] = T(float64(s.Keep)*float64(p[i]) -
			float64(s.Rate)*mi/(math.Sqrt(vi)*float64(s.RSqrtC2)+float64(s.Eps)))
	}
}

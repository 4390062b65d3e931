package kernels

import "math"

func refRMSNormRow[T Float](y, x, w []T, eps T) T {
	x = x[:len(y)]
	var ss float64
	for _, v := range x {
		ss += float64(v) * float64(v)
	}
	r := 1 / math.Sqrt(ss/float64(len(x))+float64(eps))
	for j := range y {
		y[j] = T(float64(x[j]) * r * float64(w[j]))
	}
	return T(r)
}

// y_j = x_j·w_j·r and ∂r/∂x_i = −r³·x_i/D, so
// gx_i = r·gy_i·w_i − r³·x_i/D·Σ_j gy_j·w_j·x_j = r·(gy_i·w_i − x̂_i·c).
func refRMSNormGradRow[T Float](gx, gw, x, w, gy []T, r T) {
	x = x[:len(gx)]
	var c float64
	for j := range x {
		c += float64(gy[j]) * float64(w[j]) * float64(x[j])
	}
	rr := float64(r)
	c *= rr / float64(len(x))
	for j := range x {
		xh, d := float64(x[j])*rr, float64(gy[j])
		gw[j] += T(d * xh)
		gx[j] = T(rr * (d*float64(w[j]) - xh*c))
	}
}

func refLayerNormRow[T Float](y, x, w, b []T, eps T) (mean, r T) {
	x = x[:len(y)]
	var s, ss float64
	for _, v := range x {
		s += float64(v)
	}
	m := s / float64(len(x))
	for _, v := range x {
		d := float64(v) - m
		ss += d * d
	}
	rr := 1 / math.Sqrt(ss/float64(len(x))+float64(eps))
	for j := range y {
		y[j] = T((float64(x[j])-m)*rr*float64(w[j]) + float64(b[j]))
	}
	return T(m), T(rr)
}

// x̂ has zero mean and unit variance, so the Jacobian removes from h = gy·w its
// mean and its part along x̂: gx = r·(h − mean h − x̂·mean(h·x̂)).
func refLayerNormGradRow[T Float](gx, gw, gb, x, w, gy []T, mean, r T) {
	x = x[:len(gx)]
	var a, c float64
	m, rr := float64(mean), float64(r)
	for j := range x {
		h := float64(gy[j]) * float64(w[j])
		a += h
		c += h * (float64(x[j]) - m) * rr
	}
	n := float64(len(x))
	a, c = a/n, c/n
	for j := range x {
		d := float64(gy[j])
		xh := (float64(x[j]) - m) * rr
		gw[j] += T(d * xh)
		gb[j] += T(d)
		gx[j] = T(rr * (d*float64(w[j]) - a - xh*c))
	}
}

package kernels

import "math"

// refAttention is the definition of Attention: for each query the scores of the
// visible keys, their softmax and the mean of the values, in float64.
func refAttention[T Float](o, lse, q, k, v []T, a *AttentionShape) {
	for b := range a.B {
		for h := range a.H {
			for i := range a.Tq {
				p, l := refAttentionRow(q, k, a, b, h, i)
				for d := range a.Dh {
					var s float64
					for j, pj := range p {
						s += pj * float64(v[b*a.BatchV+j*a.LdV+h*a.Dh+d])
					}
					o[b*a.BatchO+i*a.LdO+h*a.Dh+d] = T(s)
				}
				if lse != nil {
					lse[(b*a.H+h)*a.Tq+i] = T(l)
				}
			}
		}
	}
}

// refAttentionRow returns the softmax of one query's scores over the keys that
// it sees, and the logarithm of its denominator: −Inf if it sees none.
func refAttentionRow[T Float](q, k []T, a *AttentionShape, b, h, i int) (p []float64, lse float64) {
	n := a.Tk
	if a.Causal {
		n = i + 1 + a.Tk - a.Tq
		if a.Prefix != nil && n < int(a.Prefix[b]) {
			n = int(a.Prefix[b])
		}
		if n > a.Tk {
			n = a.Tk
		}
	}
	p = make([]float64, n)
	top := math.Inf(-1)
	for j := range p {
		for d := range a.Dh {
			p[j] += float64(q[b*a.BatchQ+i*a.LdQ+h*a.Dh+d]) * float64(k[b*a.BatchK+j*a.LdK+h*a.Dh+d])
		}
		p[j] *= a.Scale
		top = max(top, p[j])
	}
	var sum float64
	for j := range p {
		p[j] = math.Exp(p[j] - top)
		sum += p[j]
	}
	for j := range p {
		p[j] /= sum
	}
	if n == 0 {
		return p, math.Inf(-1)
	}
	return p, top + math.Log(sum)
}

// refAttentionGrad is the definition of AttentionGrad. It takes the softmax anew
// from q and k, so it needs neither o nor lse.
//
//	o = P·v        ⇒  gv = Pᵀ·gO,  dP = gO·vᵀ
//	P = softmax S  ⇒  dS_ij = P_ij·(dP_ij − Σ_j P_ij·dP_ij)
//	S = Scale·q·kᵀ ⇒  gq = Scale·dS·k,  gk = Scale·dSᵀ·q
func refAttentionGrad[T Float](gq, gk, gv, q, k, v, gO []T, a *AttentionShape) {
	sumK, sumV := make([]float64, a.Tk*a.Dh), make([]float64, a.Tk*a.Dh)
	for b := range a.B {
		for h := range a.H {
			clear(sumK)
			clear(sumV)
			for i := range a.Tq {
				p, _ := refAttentionRow(q, k, a, b, h, i)
				dp := make([]float64, len(p))
				var mean float64
				for j := range p {
					for d := range a.Dh {
						g := float64(gO[b*a.BatchO+i*a.LdO+h*a.Dh+d])
						dp[j] += g * float64(v[b*a.BatchV+j*a.LdV+h*a.Dh+d])
						sumV[j*a.Dh+d] += p[j] * g
					}
					mean += p[j] * dp[j]
				}
				for d := range a.Dh {
					var s float64
					for j := range p {
						ds := a.Scale * p[j] * (dp[j] - mean)
						s += ds * float64(k[b*a.BatchK+j*a.LdK+h*a.Dh+d])
						sumK[j*a.Dh+d] += ds * float64(q[b*a.BatchQ+i*a.LdQ+h*a.Dh+d])
					}
					gq[b*a.BatchQ+i*a.LdQ+h*a.Dh+d] = T(s)
				}
			}
			for j := range a.Tk {
				for d := range a.Dh {
					gk[b*a.BatchK+j*a.LdK+h*a.Dh+d] = T(sumK[j*a.Dh+d])
					gv[b*a.BatchV+j*a.LdV+h*a.Dh+d] = T(sumV[j*a.Dh+d])
				}
			}
		}
	}
}

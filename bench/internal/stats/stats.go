// Package stats sums up repeated measurements.
package stats

import (
	"math"
	"slices"
)

// Median of values, which are not empty.
func Median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// MedianInterval is the interval between two order statistics that holds the
// median of the distribution with the probability of at least 95 %, or what the
// extremes reach: with X successes in n fair throws, the r-th smallest and the
// r-th largest of n values miss it with the probability 2·P(X < r).
func MedianInterval(x []float64) (low, high, coverage float64) {
	s := slices.Sorted(slices.Values(x))
	n, r, miss := len(s), 1, 2*binomialHalf(len(s), 0)
	for next := miss; 2*(r+1) <= n; r++ {
		if next += 2 * binomialHalf(n, r); next > 0.05 {
			break
		}
		miss = next
	}
	return s[r-1], s[n-r], max(0, 1-miss)
}

// binomialHalf is P(X = k) of n fair throws.
func binomialHalf(n, k int) float64 {
	lg := func(x int) float64 { v, _ := math.Lgamma(float64(x + 1)); return v }
	return math.Exp(lg(n) - lg(k) - lg(n-k) - float64(n)*math.Ln2)
}

// Geomean is the geometric mean of positive values; NaN of none.
func Geomean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += math.Log(v)
	}
	return math.Exp(sum / float64(len(x)))
}

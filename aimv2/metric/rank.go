package metric

import "math"

// Ranks returns, for every row of a matrix of similarities, the place from 1 on
// that the first right column takes when the row is sorted from the largest
// down. A wrong column that is equal stands before it, so a constant matrix
// earns nothing; NaN is smaller than everything. A row without a right column has
// rank 0.
func Ranks(similarity [][]float64, right func(row, column int) bool) []int {
	out := make([]int, len(similarity))
	for i, row := range similarity {
		best, found := 0.0, false
		for j, s := range row {
			if right(i, j) && (!found || above(s, best)) {
				best, found = s, true
			}
		}
		if !found {
			continue
		}
		out[i] = 1
		for j, s := range row {
			if !right(i, j) && !above(best, s) {
				out[i]++
			}
		}
	}
	return out
}

// above reports whether a stands before b, NaN last.
func above(a, b float64) bool { return a > b || math.IsNaN(b) && !math.IsNaN(a) }

// Transpose turns a matrix of similarities over: texts to pictures.
func Transpose(similarity [][]float64) [][]float64 {
	if len(similarity) == 0 {
		return nil
	}
	out := make([][]float64, len(similarity[0]))
	for j := range out {
		out[j] = make([]float64, len(similarity))
		for i := range similarity {
			out[j][i] = similarity[i][j]
		}
	}
	return out
}

// Recall is the share of ranks from 1 to k: R@k of retrieval, top-k accuracy of a
// classifier.
func Recall(ranks []int, k int) Estimate {
	hit := make([]bool, len(ranks))
	for i, r := range ranks {
		hit[i] = r >= 1 && r <= k
	}
	return ShareOf(hit)
}

// MedianRank is the median of ranks; rows without a right column are left out.
func MedianRank(ranks []int, seed uint64) Estimate {
	var values []float64
	for _, r := range ranks {
		if r > 0 {
			values = append(values, float64(r))
		}
	}
	return Median(values, seed)
}

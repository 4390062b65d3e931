// Package metric holds the numbers that evaluation reports: accuracy, word
// overlap and CIDEr of captions, ranks of retrieval, each with its confidence
// interval. It knows texts, labels and matrices of similarities, no models.
package metric

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Estimate is a number measured on a sample, and the interval that holds the
// number of the whole population in 95 of 100 samples.
type Estimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	N     int     `json:"n"` // size of the sample
	How   string  `json:"interval"`
}

// z is the 97.5 % quantile of the normal distribution.
const z = 1.959963984540054

// Share estimates the probability of which hits out of n are a sample, with
// Wilson's interval
//
//	(p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n)    p = hits/n
//
// which, unlike p ± z·√(p(1−p)/n), stays in [0, 1] and is not empty at p = 0
// and p = 1. Of nothing, everything is NaN.
//
// Source: Wilson 1927, J. Am. Stat. Assoc. 22, 209.
func Share(hits, n int) Estimate {
	p, m := float64(hits)/float64(n), float64(n)
	centre, half := p+z*z/(2*m), z*math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	scale := 1 + z*z/m
	return Estimate{p, max(0, (centre-half)/scale), min(1, (centre+half)/scale), n, "Wilson 95 %"}
}

// ShareOf is Share of the true values.
func ShareOf(hit []bool) Estimate {
	n := 0
	for _, h := range hit {
		if h {
			n++
		}
	}
	return Share(n, len(hit))
}

// resamples of a bootstrap: the ends of the interval then vary by some 2 % of
// its length from seed to seed.
const resamples = 2000

// Bootstrap estimates a statistic of n things, named by their numbers. The
// interval reaches from the 2.5 % to the 97.5 % quantile of the statistic over
// samples of n drawn with replacement; the same seed draws the same samples.
// Of nothing, everything is NaN.
//
// Source: Efron 1979, Ann. Stat. 7, 1 (the percentile method).
func Bootstrap(n int, seed uint64, statistic func(sample []int) float64) Estimate {
	nan := math.NaN()
	if n == 0 {
		return Estimate{nan, nan, nan, 0, "bootstrap 95 %"}
	}
	sample := make([]int, n)
	for i := range sample {
		sample[i] = i
	}
	value := statistic(sample)
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	drawn := make([]float64, resamples)
	for k := range drawn {
		for i := range sample {
			sample[i] = r.IntN(n)
		}
		drawn[k] = statistic(sample)
	}
	slices.Sort(drawn)
	tail := resamples / 40
	return Estimate{value, drawn[tail], drawn[resamples-1-tail], n, "bootstrap 95 %"}
}

// Mean estimates the mean of what the values are a sample of.
func Mean(values []float64, seed uint64) Estimate {
	return Bootstrap(len(values), seed, func(sample []int) float64 {
		sum := 0.0
		for _, i := range sample {
			sum += values[i]
		}
		return sum / float64(len(sample))
	})
}

// Median estimates the median of what the values are a sample of; of an even
// number it is the mean of the two in the middle.
func Median(values []float64, seed uint64) Estimate {
	drawn := make([]float64, len(values))
	return Bootstrap(len(values), seed, func(sample []int) float64 {
		for i, at := range sample {
			drawn[i] = values[at]
		}
		slices.Sort(drawn)
		n := len(drawn)
		return (drawn[(n-1)/2] + drawn[n/2]) / 2
	})
}

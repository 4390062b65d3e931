package metric

import (
	"fmt"
	"math"
	"strings"
)

// ciderOrders and ciderSigma are the longest n-gram and the deviation of the
// length penalty, as published.
const (
	ciderOrders = 4
	ciderSigma  = 6
)

// CIDEr returns CIDEr-D of every caption, each a list of words with one or more
// references:
//
//	(10/4)·Σ_n mean over refs r of  e^(−(l−l_r)²/2σ²) · Σ_g min(c_g, r_g)·r_g / (‖c‖·‖r‖)
//
// g runs over the n-grams of n words, c_g = tf·idf with tf the count in the
// caption and idf = ln(pictures) − ln(pictures with g in a reference, at least
// 1); σ = 6. The score of a set is the mean.
//
// l is the number of words. (The public program, pycocoevalcap, to whose values
// the tests hold this, counts pairs: one less for all but captions of no word,
// which score 0 anyway.) As idf is that of the set at hand, a score speaks of its
// set alone, and of a single picture it is 0. A caption of fewer than four words
// cannot reach 10: the orders that it lacks count 0.
//
// Source: Vedantam, Zitnick & Parikh 2015, arXiv:1411.5726.
// Panics: if there are not as many lists of references as captions.
func CIDEr(captions [][]string, references [][][]string) []float64 {
	if len(captions) != len(references) {
		panic(fmt.Sprintf("metric: cider: %d captions and references of %d", len(captions), len(references)))
	}
	documents := map[string]int{} // pictures whose references have the n-gram
	for _, refs := range references {
		seen := map[string]bool{}
		for _, ref := range refs {
			for _, grams := range countGrams(ref) {
				for _, g := range grams {
					if !seen[g.text] {
						seen[g.text] = true
						documents[g.text]++
					}
				}
			}
		}
	}
	weigh := func(words []string) weighed {
		w := weighed{length: len(words)}
		for n, grams := range countGrams(words) {
			w.at[n] = map[string]float64{}
			for _, g := range grams {
				v := float64(g.count) * (math.Log(float64(len(captions))) - math.Log(float64(max(1, documents[g.text]))))
				w.grams[n] = append(w.grams[n], g.text)
				w.at[n][g.text] = v
				w.norm[n] += v * v
			}
			w.norm[n] = math.Sqrt(w.norm[n])
		}
		return w
	}
	out := make([]float64, len(captions))
	for i, caption := range captions {
		c := weigh(caption)
		for _, ref := range references[i] {
			out[i] += c.similarity(weigh(ref)) / float64(len(references[i]))
		}
		out[i] *= 10
	}
	return out
}

// weighed is a caption as vectors, one for each n.
type weighed struct {
	grams  [ciderOrders][]string // in order of appearance, so that sums keep their bits
	at     [ciderOrders]map[string]float64
	norm   [ciderOrders]float64
	length int
}

// similarity is the mean over n of the clipped cosines, times the penalty.
func (c weighed) similarity(r weighed) float64 {
	sum := 0.0
	for n, grams := range c.grams {
		if c.norm[n] == 0 || r.norm[n] == 0 {
			continue
		}
		dot := 0.0
		for _, g := range grams {
			dot += min(c.at[n][g], r.at[n][g]) * r.at[n][g]
		}
		sum += dot / (c.norm[n] * r.norm[n])
	}
	d := float64(c.length - r.length)
	return sum / ciderOrders * math.Exp(-d*d/(2*ciderSigma*ciderSigma))
}

// gram is an n-gram and how often it occurs.
type gram struct {
	text  string
	count int
}

// countGrams counts the n-grams of 1 to 4 words, in order of appearance. Words
// hold no space, so an n-gram is told by its words joined with one.
func countGrams(words []string) (out [ciderOrders][]gram) {
	for n := range out {
		where := map[string]int{}
		for i := 0; i+n < len(words); i++ {
			text := strings.Join(words[i:i+n+1], " ")
			at, ok := where[text]
			if !ok {
				at = len(out[n])
				where[text] = at
				out[n] = append(out[n], gram{text: text})
			}
			out[n][at].count++
		}
	}
	return out
}

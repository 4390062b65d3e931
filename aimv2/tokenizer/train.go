package tokenizer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// trained lists the special tokens of a vocabulary made here, in the order of
// their ids, which are the last.
var trained = []string{StartToken, EndToken, PadToken}

// DefaultVocab is the vocabulary that suits the 1,900 captions of emoji48: 5
// tokens for a name on average, at most 17.
const DefaultVocab = 1024

// MinVocab is the least vocabulary: the bytes inside and at the end of a word,
// and the special tokens.
const MinVocab = 2*256 + 3

// Train learns a vocabulary of at most vocab ids from texts (Sennrich et al.
// 2016, arXiv:1508.07909): it merges the most frequent pair of neighbouring
// tokens, again and again. Of pairs equally frequent the one with the lowest
// ids goes first, so that the same texts give the same tokenizer, in any order.
//
// A pair that occurs once is not merged: that would save nothing elsewhere. Few
// texts thus give fewer ids; see Vocab.
//
// Panics: if vocab < MinVocab.
func Train(texts []string, vocab int) *Tokenizer {
	if vocab < MinVocab {
		panic(fmt.Sprintf("tokenizer: vocabulary of %d, but bytes and special tokens need %d", vocab, MinVocab))
	}
	var tokens []string
	for _, suffix := range []string{"", wordEnd} {
		for _, r := range alphabet() {
			tokens = append(tokens, r+suffix)
		}
	}
	// With no merges yet, Encode's own path gives each word as its bytes.
	base, err := assemble(append(slices.Clone(tokens), trained...), nil, trained)
	if err != nil {
		panic(err) // the tokens above are complete
	}
	c := count(base.model.(*byteBPE), texts)
	var merges [][2]string
	for len(tokens)+len(trained) < vocab {
		best, ok := c.best()
		if !ok {
			break
		}
		left, right := tokens[best.left], tokens[best.right]
		merges = append(merges, [2]string{left, right})
		// Two ways to the same token share its id.
		id := slices.Index(tokens, left+right)
		if id < 0 {
			id = len(tokens)
			tokens = append(tokens, left+right)
		}
		c.merge(best, int32(id))
	}
	t, err := assemble(append(tokens, trained...), merges, trained)
	if err != nil {
		panic(err)
	}
	return t
}

// corpus is the distinct words of the texts as symbols, with how often each
// pair of neighbours occurs.
type corpus struct {
	words []countedWord
	pairs map[pair]int
	where map[pair]map[int]bool // words that may hold the pair
}

type countedWord struct {
	symbols []int32
	count   int
}

func count(m *byteBPE, texts []string) *corpus {
	times := map[string]int{}
	for _, text := range texts {
		for word := range words(normalize(text), false) {
			times[word]++
		}
	}
	c := &corpus{pairs: map[pair]int{}, where: map[pair]map[int]bool{}}
	for _, word := range slices.Sorted(maps.Keys(times)) {
		c.words = append(c.words, countedWord{m.appendWord(nil, word), times[word]})
		c.add(len(c.words)-1, +1)
	}
	return c
}

// add counts the pairs of a word, or with sign -1 takes them out.
func (c *corpus) add(word, sign int) {
	w := c.words[word]
	for i := 1; i < len(w.symbols); i++ {
		p := pair{w.symbols[i-1], w.symbols[i]}
		c.pairs[p] += sign * w.count
		if c.where[p] == nil {
			c.where[p] = map[int]bool{}
		}
		c.where[p][word] = true
	}
}

// best returns the most frequent pair, if one occurs at least twice.
func (c *corpus) best() (best pair, ok bool) {
	most := 1
	for p, n := range c.pairs {
		if n > most || n == most && ok && comparePairs(p, best) < 0 {
			best, most, ok = p, n, true
		}
	}
	return best, ok
}

func comparePairs(a, b pair) int {
	return cmp.Or(cmp.Compare(a.left, b.left), cmp.Compare(a.right, b.right))
}

// merge replaces a pair by one token in every word.
func (c *corpus) merge(p pair, token int32) {
	for word := range c.where[p] {
		c.add(word, -1)
		w := &c.words[word]
		kept := w.symbols[:0]
		for i := 0; i < len(w.symbols); i++ {
			if i+1 < len(w.symbols) && w.symbols[i] == p.left && w.symbols[i+1] == p.right {
				kept = append(kept, token)
				i++
			} else {
				kept = append(kept, w.symbols[i])
			}
		}
		w.symbols = kept
		c.add(word, +1)
	}
	delete(c.pairs, p)
	delete(c.where, p)
}

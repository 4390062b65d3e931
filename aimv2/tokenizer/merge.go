package tokenizer

import "container/heap"

// candidate is a pair that may be merged: the symbol at position and the next.
type candidate struct {
	merge
	pair
	position int
}

// candidates is a heap: lowest rank first, then leftmost.
type candidates []candidate

func (c candidates) Len() int { return len(c) }
func (c candidates) Less(i, j int) bool {
	if c[i].rank != c[j].rank {
		return c[i].rank < c[j].rank
	}
	return c[i].position < c[j].position
}
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *candidates) Push(x any)   { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	last := len(*c) - 1
	x := (*c)[last]
	*c = (*c)[:last]
	return x
}

// mergeSymbols merges the symbols of one word, none negative, until find knows no
// pair that is left, in their place, and returns what remains. A heap over a
// linked list: O(n log n), where the plain search for the best pair takes n² on a
// word of 10,000 signs.
func mergeSymbols(symbols []int32, find func(left, right int32) (merge, bool)) []int32 {
	const gone = -1
	n := len(symbols)
	next, previous := make([]int, n), make([]int, n)
	for i := range n {
		next[i], previous[i] = i+1, i-1
	}
	var open candidates
	consider := func(left int) {
		if left < 0 || next[left] >= n {
			return
		}
		p := pair{symbols[left], symbols[next[left]]}
		if m, ok := find(p.left, p.right); ok {
			heap.Push(&open, candidate{m, p, left})
		}
	}
	for i := range n {
		consider(i)
	}
	for len(open) > 0 {
		c := heap.Pop(&open).(candidate)
		right := n
		if symbols[c.position] == c.left {
			right = next[c.position]
		}
		if right >= n || symbols[right] != c.right {
			continue // one of the two was merged with its other neighbour
		}
		symbols[c.position], symbols[right] = c.token, gone
		next[c.position] = next[right]
		if next[right] < n {
			previous[next[right]] = c.position
		}
		consider(previous[c.position])
		consider(c.position)
	}
	kept := symbols[:0]
	for _, s := range symbols {
		if s != gone {
			kept = append(kept, s)
		}
	}
	return kept
}

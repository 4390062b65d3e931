package tokenizer

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"unicode/utf8"
)

// unigram cuts a text into the pieces whose scores, logarithms of probabilities,
// have the greatest sum.
type unigram struct {
	m       *sentencePiece
	sorted  []int32 // ids of the pieces that text is made of, by their text
	scores  []float64
	unknown float64 // score of a rune that is no piece
}

// unknownPenalty is how much worse than the worst piece a rune is that is none.
const unknownPenalty = 10

func newUnigram(m *sentencePiece) *unigram {
	u := &unigram{m: m, scores: make([]float64, len(m.pieces))}
	least, most := float32(math.MaxFloat32), float32(0x1p-126) // SentencePiece starts from FLT_MIN
	for id, p := range m.pieces {
		switch p.kind {
		case normal:
			least, most = min(least, p.score), max(most, p.score)
			fallthrough
		case userDefined:
			u.sorted = append(u.sorted, int32(id))
		}
	}
	u.unknown = float64(least - unknownPenalty)
	for id, p := range m.pieces {
		u.scores[id] = float64(p.score)
		if p.kind == userDefined { // better than any way around it
			u.scores[id] = float64(float32(len(p.text))*most - 0.1)
		}
	}
	slices.SortFunc(u.sorted, func(a, b int32) int { return cmp.Compare(m.pieces[a].text, m.pieces[b].text) })
	return u
}

// segment is Viterbi's algorithm over byte positions, with the sums in float32
// and ties to the piece that begins first, as SentencePiece has them. Behind a
// user-defined symbol, which SigLIP's vocabulary lacks, the sums may differ from
// SentencePiece's in the last bit, and break a tie the other way.
func (u *unigram) segment(text string) []textPiece {
	type node struct {
		score float32
		start int32 // of the piece that ends here, or −1
		id    int32
	}
	best := make([]node, len(text)+1)
	for i := range best {
		best[i].start = -1
	}
	for at := 0; at < len(text); {
		reached := float64(best[at].score)
		step := func(end int, id int32, score float64) {
			sum := float32(reached + score)
			if n := &best[end]; n.start < 0 || sum > n.score {
				*n = node{sum, int32(at), id}
			}
		}
		_, width := utf8.DecodeRuneInString(text[at:])
		alone := false
		for end, id := range u.prefixes(text[at:]) {
			alone = alone || end == width
			step(at+end, id, u.scores[id])
		}
		if !alone {
			step(at+width, u.m.unknown, u.unknown)
		}
		at += width
	}
	var out []textPiece
	for end := len(text); end > 0; {
		n := best[end]
		out = append(out, textPiece{text[n.start:end], n.id})
		end = int(n.start)
	}
	slices.Reverse(out)
	return out
}

// prefixes yields the pieces that a text begins with, the shortest first: their
// lengths and ids. Byte by byte it narrows the range of sorted pieces.
func (u *unigram) prefixes(text string) func(yield func(n int, id int32) bool) {
	return func(yield func(n int, id int32) bool) {
		in := u.sorted
		for i := range len(text) {
			at := func(k int) string { return u.m.pieces[in[k]].text }
			in = in[sort.Search(len(in), func(k int) bool { return at(k)[i] >= text[i] }):]
			in = in[:sort.Search(len(in), func(k int) bool { return at(k)[i] > text[i] })]
			if len(in) == 0 {
				return
			}
			if at := u.m.pieces[in[0]].text; len(at) == i+1 { // it sorts before the longer ones
				if !yield(i+1, in[0]) {
					return
				}
				in = in[1:]
			}
		}
	}
}

// scored merges neighbouring pieces, the best score of what they become first.
type scored struct {
	m    *sentencePiece
	rank []int32 // of a piece by its score; −1 for those that text is not made of
}

func newScored(m *sentencePiece) *scored {
	s := &scored{m: m, rank: make([]int32, len(m.pieces))}
	var ids []int32
	for id, p := range m.pieces {
		s.rank[id] = -1
		if p.kind == normal || p.kind == userDefined {
			ids = append(ids, int32(id))
		}
	}
	score := func(id int32) float32 { return m.pieces[id].score }
	slices.SortFunc(ids, func(a, b int32) int { return cmp.Compare(score(b), score(a)) })
	for i, id := range ids {
		s.rank[id] = int32(i)
		if i > 0 && score(id) == score(ids[i-1]) {
			s.rank[id] = s.rank[ids[i-1]]
		}
	}
	return s
}

// segment starts from the user-defined symbols, which are not merged, and runes.
func (s *scored) segment(text string) []textPiece {
	// A symbol is a piece's id, or a rune that is no piece, numbered from the end
	// of the vocabulary on: what it becomes with others may be one.
	var symbols []int32
	runes := map[string]int32{}
	var others []string
	spell := func(symbol int32) string {
		if int(symbol) < len(s.m.pieces) {
			return s.m.pieces[symbol].text
		}
		return others[int(symbol)-len(s.m.pieces)]
	}
	for rest := text; rest != ""; {
		part := s.m.matchSymbol(rest)
		if part == "" {
			_, n := utf8.DecodeRuneInString(rest)
			part = rest[:n]
		}
		rest = rest[len(part):]
		id, ok := s.piece(part)
		if !ok {
			if id, ok = runes[part]; !ok {
				id = int32(len(s.m.pieces) + len(others))
				others, runes[part] = append(others, part), id
			}
		}
		symbols = append(symbols, id)
	}
	symbols = mergeSymbols(symbols, func(left, right int32) (merge, bool) {
		if s.frozen(left) || s.frozen(right) {
			return merge{}, false
		}
		id, ok := s.piece(spell(left) + spell(right))
		if !ok {
			return merge{}, false
		}
		return merge{s.rank[id], id}, true
	})
	out := make([]textPiece, len(symbols))
	for i, symbol := range symbols {
		out[i] = textPiece{spell(symbol), symbol}
		if int(symbol) >= len(s.m.pieces) {
			out[i].id = s.m.unknown
		}
	}
	return out
}

// piece returns the id of a piece that text is made of.
func (s *scored) piece(text string) (int32, bool) {
	id, ok := s.m.t.ids[text]
	return id, ok && s.rank[id] >= 0
}

func (s *scored) frozen(symbol int32) bool {
	return int(symbol) < len(s.m.pieces) && s.m.pieces[symbol].kind == userDefined
}

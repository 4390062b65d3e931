package tokenizer

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// space is how SentencePiece writes a space inside a piece: ▁, U+2581.
const space = "\u2581"

// kind tells what a piece is for; the numbers are the file's.
type kind uint8

const (
	normal      kind = 1
	unknown     kind = 2 // what is in no piece
	control     kind = 3 // never made of text: <s>, </s>, <pad>
	userDefined kind = 4 // found in a text before anything else
	unused      kind = 5
	byteOf      kind = 6 // <0x41>: what is in no piece falls apart into these
)

// piece is an entry of a SentencePiece vocabulary.
type piece struct {
	text  string
	score float32
	kind  kind
}

// sentencePiece is the algorithm of a SentencePiece model:
//
//	text → the model's table (NFKC), extra spaces go, ▁ for a space, ▁ first
//	     → the most probable pieces (unigram), or pairs merged by score (BPE)
//	     → bytes of what is in no piece, or <unk> once for all of it
//
// Source: Kudo & Richardson 2018, arXiv:1808.06226; SentencePiece, src/normalizer.cc,
// src/unigram_model.cc, src/bpe_model.cc, src/sentencepiece_processor.cc.
type sentencePiece struct {
	t            *Tokenizer
	pieces       []piece
	symbols      []string // user-defined ones, longest first
	bytes        *[256]int32
	unknown      int32
	unkSurface   string
	chars        *charsmap
	prefix       bool // ▁ goes before the text
	removeSpaces bool // of several spaces one stays, of those at the ends none
	siglip       bool // texts lose case and punctuation first

	pairs   bool                          // merged by score, and not unigram
	segment func(text string) []textPiece // of a normalised text
}

// textPiece is a part of a normalised text and its id.
type textPiece struct {
	text string
	id   int32
}

// maxPiece bounds the length of a piece in bytes: the time of Encode grows with
// it. SentencePiece trains pieces of 16 runes at most.
const maxPiece = 1 << 10

// assemblePieces completes a model whose settings are set.
//
// Errors: what SentencePiece refuses as well: no <unk> or two, an empty piece, one
// that is there twice, byte pieces that are not all there. No piece eos.
func (m *sentencePiece) assemblePieces(pieces []piece, byteFallback bool, eos, pad string) (*Tokenizer, error) {
	tokens := make([]string, len(pieces))
	m.unknown = -1
	found := 0
	var inBytes [256]int32
	for id, p := range pieces {
		tokens[id] = p.text
		switch {
		case p.text == "":
			return nil, fmt.Errorf("piece %d is empty", id)
		case len(p.text) > maxPiece:
			return nil, fmt.Errorf("piece %d has %d bytes, more than %d", id, len(p.text), maxPiece)
		case !utf8.ValidString(p.text):
			return nil, fmt.Errorf("piece %d, %q, is not UTF-8", id, p.text)
		case p.kind < normal || p.kind > byteOf:
			return nil, fmt.Errorf("piece %q is of the unknown kind %d", p.text, p.kind)
		case p.score != p.score || math.IsInf(float64(p.score), 0):
			return nil, fmt.Errorf("piece %q has the score %g", p.text, p.score)
		}
		switch p.kind {
		case unknown:
			if m.unknown >= 0 {
				return nil, fmt.Errorf("pieces %q and %q are both for unknown text", tokens[m.unknown], p.text)
			}
			m.unknown = int32(id)
		case userDefined:
			m.symbols = append(m.symbols, p.text)
		case unused:
			if m.pairs {
				return nil, fmt.Errorf("piece %q is unused, which a model of pairs may not have here", p.text)
			}
		case byteOf:
			b, ok := byteOfPiece(p.text)
			if !ok {
				return nil, fmt.Errorf("piece %q is no byte", p.text)
			}
			inBytes[b] = int32(id)
			found++
		}
	}
	if m.unknown < 0 {
		return nil, errors.New("no piece is for unknown text")
	}
	t, err := newTokenizer(tokens)
	if err != nil {
		return nil, err
	}
	if found > 0 && !byteFallback {
		return nil, errors.New("bytes have pieces, but unknown text does not fall apart into them")
	}
	if byteFallback {
		if found != 256 { // they are distinct
			return nil, fmt.Errorf("%d of 256 bytes have a piece", found)
		}
		m.bytes = &inBytes
	}
	for id, p := range pieces {
		if p.kind == control {
			t.special[int32(id)] = true
		}
	}
	end, ok := t.ids[eos]
	if !ok || pieces[end].kind != control {
		return nil, fmt.Errorf("no piece %q that ends a text", eos)
	}
	t.end, t.pad = end, end
	if id, ok := t.ids[pad]; ok && pieces[id].kind == control && !m.siglip { // SigLIP fills up with </s>
		t.pad = id
	}
	longestFirst(m.symbols)
	m.t, m.pieces, t.model = t, pieces, m
	m.segment = newUnigram(m).segment
	if m.pairs {
		m.segment = newScored(m).segment
	}
	return t, nil
}

// byteOfPiece reads "<0x41>".
func byteOfPiece(text string) (b byte, ok bool) {
	hex, ok := strings.CutPrefix(text, "<0x")
	hex, ends := strings.CutSuffix(hex, ">")
	v, err := strconv.ParseUint(hex, 16, 8)
	return byte(v), ok && ends && err == nil && len(hex) == 2 && hex == strings.ToUpper(hex)
}

func (m *sentencePiece) encode(text string) []int32 {
	if m.siglip {
		return m.encodeSigLIP(text)
	}
	ids := []int32{}
	for _, s := range m.spans(text) {
		ids = append(ids, s.id)
	}
	return ids
}

// spans returns the pieces of a text in order. What is unknown is one span, or
// spans of bytes.
func (m *sentencePiece) spans(text string) []textPiece {
	text = m.normalize(text)
	if text == "" {
		return nil
	}
	var out []textPiece
	wasUnknown := false
	for _, s := range m.segment(text) {
		isUnknown := s.id == m.unknown
		switch {
		case isUnknown && m.bytes != nil:
			for _, b := range []byte(s.text) {
				id := m.bytes[b]
				out = append(out, textPiece{m.pieces[id].text, id})
			}
		case isUnknown && wasUnknown:
			out[len(out)-1].text += s.text
		default:
			out = append(out, s)
		}
		wasUnknown = isUnknown
	}
	return out
}

// normalize applies the model's table, and writes spaces as ▁.
func (m *sentencePiece) normalize(text string) string {
	step := func() string {
		if s := m.matchSymbol(text); s != "" { // stays as it is
			text = text[len(s):]
			return s
		}
		becomes, n := m.chars.prefix(text)
		text = text[n:]
		return becomes
	}
	if m.removeSpaces {
		for text != "" {
			rest := text
			if step() != " " {
				text = rest
				break
			}
		}
	}
	if text == "" {
		return ""
	}
	var out strings.Builder
	if m.prefix {
		out.WriteString(space)
	}
	wasSpace := m.removeSpaces
	for text != "" {
		part := step()
		if wasSpace {
			part = strings.TrimLeft(part, " ")
		}
		if part != "" {
			out.WriteString(strings.ReplaceAll(part, " ", space))
			wasSpace = m.removeSpaces && strings.HasSuffix(part, " ")
		}
	}
	whole := out.String()
	if m.removeSpaces {
		for strings.HasSuffix(whole, space) {
			whole = strings.TrimSuffix(whole, space)
		}
	}
	return whole
}

// matchSymbol returns the user-defined symbol that begins a text, if one does.
func (m *sentencePiece) matchSymbol(text string) string {
	for _, s := range m.symbols {
		if strings.HasPrefix(text, s) {
			return s
		}
	}
	return ""
}

func (m *sentencePiece) decode(ids []int32) string {
	var out strings.Builder
	sawPrefix := false
	for i := 0; i < len(ids); i++ {
		p := m.pieces[ids[i]]
		switch p.kind {
		case unknown:
			out.WriteString(m.unkSurface)
		case byteOf:
			var b []byte
			for ; i < len(ids) && m.pieces[ids[i]].kind == byteOf; i++ {
				b = append(b, byte(slices.Index(m.bytes[:], ids[i])))
			}
			i--
			for len(b) > 0 { // each byte that is no UTF-8 becomes U+FFFD
				r, n := utf8.DecodeRune(b)
				out.WriteRune(r)
				b = b[n:]
			}
		default:
			text := p.text
			if out.Len() == 0 && !sawPrefix && (m.prefix || m.removeSpaces) {
				if cut, ok := strings.CutPrefix(text, space); ok {
					text, sawPrefix = cut, !m.removeSpaces
				}
			}
			out.WriteString(strings.ReplaceAll(text, space, " "))
		}
	}
	return out.String()
}

var errPairs = errors.New("a SentencePiece model of pairs has no tokenizer.json; keep its .model file")

func (m *sentencePiece) write(w io.Writer) error {
	if m.pairs {
		return errPairs
	}
	return m.writeUnigram(w)
}

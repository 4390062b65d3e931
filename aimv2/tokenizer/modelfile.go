package tokenizer

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The fields of sentencepiece_model.proto that decide ids.
const (
	modelPieces     = 1
	modelTrainer    = 2
	modelNormalizer = 3

	pieceText  = 1
	pieceScore = 2
	pieceKind  = 3

	trainerType         = 3
	trainerSpaceSuffix  = 24
	trainerByteFallback = 35
	trainerUnkSurface   = 44
	trainerEOS          = 47
	trainerPad          = 48

	normalizerCharsmap     = 2
	normalizerPrefix       = 3
	normalizerRemoveSpaces = 4
	normalizerEscape       = 5
)

// Types of models.
const (
	typeUnigram = 1
	typePairs   = 2
)

// ParseSentencePiece reads a .model file of SentencePiece, unigram or BPE.
//
// Its ids are those of SentencePiece itself. A text is not searched for special
// tokens, and EOS is not part of it.
//
// Errors: a file that is cut or damaged; other algorithms; no </s>.
func ParseSentencePiece(data []byte) (*Tokenizer, error) { return parseModel(data, false) }

// ParseSigLIP is ParseSentencePiece of SigLIP's vocabulary: the ids are those of
// transformers' SiglipTokenizer. Texts lose case and ASCII punctuation, spelled
// </s> and <unk> count, PAD is EOS.
//
// Errors: besides those of ParseSentencePiece, EOS of another name than </s>.
func ParseSigLIP(data []byte) (*Tokenizer, error) { return parseModel(data, true) }

func parseModel(data []byte, siglip bool) (*Tokenizer, error) {
	m := &sentencePiece{prefix: true, removeSpaces: true, siglip: siglip, unkSurface: " \u2047 "}
	var pieces []piece
	var blob []byte
	kindOf, byteFallback, suffix, escape := uint64(typeUnigram), false, false, true
	eos, pad := sentenceEnd, "<pad>"
	err := fields(data, func(n protowire.Number, f field) error {
		switch n {
		case modelPieces:
			p := piece{kind: normal}
			if err := fields(f.bytes, func(n protowire.Number, f field) error {
				switch n {
				case pieceText:
					p.text = string(f.bytes)
				case pieceScore:
					p.score = math.Float32frombits(uint32(f.value))
				case pieceKind:
					p.kind = kind(min(f.value, math.MaxUint8))
				}
				return nil
			}); err != nil {
				return fmt.Errorf("piece %d: %w", len(pieces), err)
			}
			if p.text == "" { // at once: a few bytes each would take a hundred in memory
				return fmt.Errorf("piece %d is empty", len(pieces))
			}
			pieces = append(pieces, p)
		case modelTrainer:
			return fields(f.bytes, func(n protowire.Number, f field) error {
				switch n {
				case trainerType:
					kindOf = f.value
				case trainerSpaceSuffix:
					suffix = f.value != 0
				case trainerByteFallback:
					byteFallback = f.value != 0
				case trainerUnkSurface:
					m.unkSurface = string(f.bytes)
				case trainerEOS:
					eos = string(f.bytes)
				case trainerPad:
					pad = string(f.bytes)
				}
				return nil
			})
		case modelNormalizer:
			return fields(f.bytes, func(n protowire.Number, f field) error {
				switch n {
				case normalizerCharsmap:
					blob = f.bytes
				case normalizerPrefix:
					m.prefix = f.value != 0
				case normalizerRemoveSpaces:
					m.removeSpaces = f.value != 0
				case normalizerEscape:
					escape = f.value != 0
				}
				return nil
			})
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("not a SentencePiece model: %w", err)
	case len(pieces) == 0:
		return nil, errors.New("not a SentencePiece model: there are no pieces")
	case kindOf != typeUnigram && kindOf != typePairs:
		return nil, fmt.Errorf("a SentencePiece model of type %d; unigram (1) and BPE (2) are known", kindOf)
	case suffix:
		return nil, errors.New("the SentencePiece model puts spaces after words, which is not known here")
	case !escape:
		return nil, errors.New("the SentencePiece model keeps spaces as they are, which is not known here")
	case siglip && eos != sentenceEnd:
		return nil, fmt.Errorf("texts end with %q, SigLIP's with %q", eos, sentenceEnd)
	}
	m.pairs = kindOf == typePairs
	if m.chars, err = parseCharsmap(blob); err != nil {
		return nil, err
	}
	return m.assemblePieces(pieces, byteFallback, eos, pad)
}

// field is the value of a field: a number or float, or bytes.
type field struct {
	value uint64
	bytes []byte
}

// fields calls do for every field of a protobuf message. Which wire type a field
// has is not checked: of another one it is zero or empty.
func fields(data []byte, do func(protowire.Number, field) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		var f field
		switch kind {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(data)
		case protowire.Fixed32Type:
			var bits uint32
			bits, n = protowire.ConsumeFixed32(data)
			f.value = uint64(bits)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(number, kind, data)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if err := do(number, f); err != nil {
			return err
		}
	}
	return nil
}

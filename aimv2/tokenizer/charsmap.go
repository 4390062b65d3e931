package tokenizer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// charsmap is the normalisation rule of a SentencePiece model, such as NFKC: the
// longest prefix of a text that it knows becomes another string. A nil charsmap
// changes nothing.
//
// The strings to find are a double-array trie (Darts): unit u of a node holds the
// label of the byte that leads to it, whether a string ends there, and the offset
// whose exclusive or with the next byte is the next node.
//
// Source: SentencePiece, src/normalizer.cc; darts-clone, darts.h.
type charsmap struct {
	blob   []byte // as in the file
	units  []uint32
	values []byte // what strings become, each up to a zero byte; a leaf has the position
}

// maxReplacement bounds what one prefix becomes. NFKC's longest has 33 bytes; a
// hostile one would make gigabytes of a short text.
const maxReplacement = 1 << 10

var errCharsmap = errors.New("the table of its normalisation is damaged")

// parseCharsmap reads <bytes of the trie, uint32> <trie> <values>.
func parseCharsmap(blob []byte) (*charsmap, error) {
	if len(blob) == 0 {
		return nil, nil
	}
	if len(blob) < 4 {
		return nil, errCharsmap
	}
	size := int64(binary.LittleEndian.Uint32(blob))
	if size > int64(len(blob))-4 || size%4 != 0 || size == 0 {
		return nil, errCharsmap
	}
	c := &charsmap{blob: blob, units: make([]uint32, size/4), values: blob[4+size:]}
	for i := range c.units {
		c.units[i] = binary.LittleEndian.Uint32(blob[4+4*i:])
	}
	for value := range bytes.SplitSeq(c.values, []byte{0}) {
		if len(value) > maxReplacement {
			return nil, fmt.Errorf("%w: one character becomes %d bytes", errCharsmap, len(value))
		}
	}
	return c, nil
}

// prefix returns what the start of a text becomes, and the length of that start:
// the longest that the trie has, or one rune that stays itself. The text is not
// empty, and valid UTF-8.
func (c *charsmap) prefix(text string) (becomes string, n int) {
	if c != nil {
		if at, n := c.longest(text); n > 0 {
			value := c.values[min(at, len(c.values)):]
			if end := bytes.IndexByte(value, 0); end >= 0 {
				value = value[:end]
			}
			return strings.ToValidUTF8(string(value), string(utf8.RuneError)), n
		}
	}
	_, n = utf8.DecodeRuneInString(text)
	return text[:n], n
}

// longest returns the value and length of the longest prefix in the trie.
func (c *charsmap) longest(text string) (value, n int) {
	offset := func(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }
	at := offset(c.units[0])
	for i := range len(text) {
		at ^= uint32(text[i])
		if int64(at) >= int64(len(c.units)) {
			break
		}
		unit := c.units[at]
		if unit&(1<<31|0xff) != uint32(text[i]) {
			break
		}
		at ^= offset(unit)
		if int64(at) >= int64(len(c.units)) {
			break
		}
		if unit>>8&1 != 0 {
			value, n = int(c.units[at]&(1<<31-1)), i+1
		}
	}
	return value, n
}

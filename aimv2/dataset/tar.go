package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

const (
	tarBlock = 512     // bytes; headers are one, data is padded to whole ones
	maxMeta  = 1 << 20 // bytes of a pax header or of a long name
)

// Kinds of tar members that are told apart here.
const (
	tarFile   = '0'
	tarDir    = '5'
	tarSparse = 'S' // of GNU tar before pax
)

var (
	errTar  = errors.New("it is no tar file, or damaged (compressed shards are not read)")
	errCut  = errors.New("the shard is cut short")
	errMark = fmt.Errorf("%w: the mark of its end is missing", errCut)
)

// tarReader lists the members of a tar file, reading its headers and nothing of
// its data: V7, ustar, pax, GNU and star. The standard library's archive/tar
// would do, but needs os/user, which makes a binary dynamic where cgo is enabled.
// All that archive/tar refuses is refused here, but for damage in the map of a
// sparse member, which is not read.
//
// Memory: that of one name and of one pax header, each at most maxMeta.
// Source: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic
// Tar Format".
type tarReader struct {
	r      io.ReaderAt
	size   int64 // of the file
	at     int64 // offset of the header last read, which errors name
	offset int64 // of the next header
	block  tarHeader
}

// tarMember is a member less all that only unpacking would need.
type tarMember struct {
	name   string
	kind   byte
	sparse bool   // by its pax header
	header int64  // its offset
	data   extent // may end behind the file; the next member is then an error
}

// next returns the next member, or io.EOF behind the last one.
//
// Errors: a file that is cut short, the mark of its end missing; a header or a
// record that is malformed; a name or a pax header beyond maxMeta. They name the
// offset of the header.
func (t *tarReader) next() (tarMember, error) {
	m, err := t.member()
	if err != nil && err != io.EOF {
		err = fmt.Errorf("at byte %d: %w", t.at, err)
	}
	return m, err
}

// member is next, whose errors name no offset.
func (t *tarReader) member() (tarMember, error) {
	var (
		long   string            // name of the member that follows
		pax    map[string]string // likewise, its records
		sparse bool
		meta   bool // something of these has come
	)
	for {
		if err := t.read(); err != nil {
			if err == io.EOF && meta {
				err = fmt.Errorf("%w: the member that a header describes is missing", errTar)
			}
			return tarMember{}, err
		}
		name, kind, size, err := t.block.parse()
		if err != nil {
			return tarMember{}, err
		}
		data := extent{t.offset, size}
		switch kind {
		case 'L', 'K', 'x', 'g':
			text, err := t.meta(data)
			if err != nil {
				return tarMember{}, err
			}
			switch kind {
			case 'L':
				long = untilNUL(text)
			case 'x', 'g':
				records, holes, err := paxRecords(string(text))
				if err != nil {
					return tarMember{}, err
				}
				switch {
				case kind == 'x':
					pax, sparse = records, sparse || holes
				case meta: // of one member, which it would be lost to
					return tarMember{}, fmt.Errorf("%w: a global header between a pax header or a long name and its member", errTar)
				case holes:
					return tarMember{}, fmt.Errorf("%w: a sparse map in a global header", errTar)
				}
			}
			meta = meta || kind != 'g'
			t.skip(data)
			continue
		}
		if err := checkPAX(pax); err != nil {
			return tarMember{}, err
		}
		m := tarMember{name, kind, sparse, t.at, data}
		for _, other := range []string{pax["path"], long, pax["GNU.sparse.name"]} { // the last one counts
			if other != "" {
				m.name = other
			}
		}
		if text := pax["size"]; text != "" {
			m.data.size, _ = strconv.ParseInt(text, 10, 64) // checked above
		}
		if kind == 0 { // V7 marks directories by their names alone
			m.kind = tarFile
			if strings.HasSuffix(m.name, "/") {
				m.kind = tarDir
			}
		}
		switch {
		case m.kind >= '1' && m.kind <= '6': // links, devices, directories: no data, whatever size they tell
			m.data.size = 0
		case m.kind == tarSparse:
			if err := t.stepOverMap(); err != nil {
				return tarMember{}, err
			}
			m.data.offset = t.offset
		}
		t.skip(m.data)
		return m, nil
	}
}

// read reads the next header. It returns io.EOF at the two blocks of zeros that
// end a tar file; of the second, nothing at all need be there.
func (t *tarReader) read() error {
	if t.offset == t.size {
		t.at = t.offset
		return errMark
	}
	if err := t.readBlock(); err != nil || t.block != (tarHeader{}) {
		return err
	}
	if t.offset == t.size {
		return io.EOF
	}
	if err := t.readBlock(); err != nil {
		return err
	}
	if t.block != (tarHeader{}) {
		return fmt.Errorf("%w: a block of zeros between members", errTar)
	}
	return io.EOF
}

// readBlock reads the block at t.offset and moves on behind it.
func (t *tarReader) readBlock() error {
	if t.offset > t.size {
		return errCut // in the data of the member at t.at
	}
	t.at = t.offset
	n, err := t.r.ReadAt(t.block[:], t.offset)
	if n < tarBlock {
		return cutAtEOF(err)
	}
	t.offset += tarBlock
	return nil
}

// skip moves on to the header behind some data. Beyond the file all ends are
// alike, so that no size a header tells can overflow.
func (t *tarReader) skip(data extent) {
	t.offset = data.offset + (min(data.size, t.size)+tarBlock-1)/tarBlock*tarBlock
}

// meta returns the data of a member that describes the next one.
func (t *tarReader) meta(data extent) ([]byte, error) {
	if data.size > maxMeta {
		return nil, fmt.Errorf("a long name or pax header has %d bytes, more than %d", data.size, maxMeta)
	}
	if data.size > t.size-data.offset {
		return nil, errCut
	}
	text, err := data.read(t.r)
	return text, cutAtEOF(err)
}

// cutAtEOF says in words that a file ends before its size.
func cutAtEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCut
	}
	return err
}

// stepOverMap moves on to the data of a member of kind tarSparse: the blocks
// that continue the map of its header are not in its size.
func (t *tarReader) stepOverMap() error {
	const header, further = 482, 504 // where a block tells that one more follows
	if string(t.block[257:265]) != magicGNU {
		return fmt.Errorf("%w: a sparse member without the magic of GNU tar", errTar)
	}
	at := t.at // of the member, not of its last block
	defer func() { t.at = at }()
	for more := t.block[header]; more != 0; more = t.block[further] {
		if err := t.readBlock(); err != nil {
			return err
		}
	}
	return nil
}

// tarHeader is the block in front of a member.
type tarHeader [tarBlock]byte

// Magics with their versions; that of ustar may be any.
const (
	magicUstar = "ustar\x00"
	magicGNU   = "ustar  \x00"
)

// tarField is where a number stands in a header.
type tarField struct {
	name     string
	from, to int
}

// The numbers of headers beside the size. They tell nothing that counts here, but
// a header where they make no sense is damaged.
var (
	v7Numbers    = []tarField{{"mode", 100, 108}, {"uid", 108, 116}, {"gid", 116, 124}, {"mtime", 136, 148}}
	ustarNumbers = slices.Concat(v7Numbers, []tarField{{"devmajor", 329, 337}, {"devminor", 337, 345}})
	gnuNumbers   = slices.Concat(ustarNumbers, []tarField{{"atime", 345, 357}, {"ctime", 357, 369}})
	starNumbers  = slices.Concat(ustarNumbers, []tarField{{"atime", 476, 488}, {"ctime", 488, 500}})
)

// parse checks a header and returns what counts of it.
func (h *tarHeader) parse() (name string, kind byte, size int64, err error) {
	if err := h.checkSum(); err != nil {
		return "", 0, 0, err
	}
	numbers, prefix := v7Numbers, ""
	switch ustar := string(h[257:263]) == magicUstar; {
	case ustar && string(h[508:]) == "tar\x00":
		numbers, prefix = starNumbers, untilNUL(h[345:476])
	case ustar:
		numbers, prefix = ustarNumbers, untilNUL(h[345:500])
	case string(h[257:265]) == magicGNU:
		numbers = gnuNumbers
	}
	for _, f := range numbers {
		if _, err := tarNumber(h[f.from:f.to]); err != nil {
			return "", 0, 0, fmt.Errorf("%w: its %s: %w", errTar, f.name, err)
		}
	}
	size, err = tarNumber(h[124:136])
	if err == nil && size < 0 {
		err = errors.New("it is negative")
	}
	if err != nil {
		return "", 0, 0, fmt.Errorf("%w: its size: %w", errTar, err)
	}
	name = untilNUL(h[:100])
	if prefix != "" {
		name = prefix + "/" + name
	}
	return name, h[156], size, nil
}

// checkSum compares the sum of a header's bytes, those of the sum itself taken
// as spaces, with the one it tells. Some old writers took bytes as signed.
func (h *tarHeader) checkSum() error {
	const from, to = 148, 156
	told, err := tarOctal(h[from:to])
	if err != nil {
		return fmt.Errorf("%w: its checksum: %w", errTar, err)
	}
	unsigned, signed := int64(to-from)*' ', int64(to-from)*' '
	for i, b := range h {
		if i < from || i >= to {
			unsigned += int64(b)
			signed += int64(int8(b))
		}
	}
	if told != unsigned && told != signed {
		return fmt.Errorf("%w: a header has the checksum %d and tells %d", errTar, unsigned, told)
	}
	return nil
}

// tarNumber reads a number of a header: octal or, with the highest bit set,
// base 256 in two's complement, the highest bit left out.
func tarNumber(field []byte) (int64, error) {
	if field[0]&0x80 == 0 {
		return tarOctal(field)
	}
	var flip byte // negative numbers are read as their complements
	if field[0]&0x40 != 0 {
		flip = 0xff
	}
	var n int64
	for i, b := range field {
		if n >= 1<<55 {
			return 0, fmt.Errorf("%x is beyond 63 bits", field)
		}
		b ^= flip
		if i == 0 {
			b &= 0x7f
		}
		n = n<<8 | int64(b)
	}
	if flip != 0 {
		n = ^n
	}
	return n, nil
}

// tarOctal reads octal digits between any NULs and spaces; none are 0.
func tarOctal(field []byte) (int64, error) {
	digits := untilNUL(bytes.Trim(field, " \x00"))
	if digits == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(digits, 8, 63)
	if err != nil {
		return 0, fmt.Errorf("%q is no octal number", digits)
	}
	return int64(n), nil
}

// untilNUL returns a field up to its first NUL or, without one, all of it.
func untilNUL(field []byte) string {
	text, _, _ := bytes.Cut(field, []byte{0})
	return string(text)
}

// paxKeys are the keys of a pax header that are kept: name and size, and numbers
// that checkPAX wants to make sense.
var paxKeys = []string{"path", "size", "GNU.sparse.name", "uid", "gid", "atime", "mtime", "ctime"}

// paxRecords parses the records of a pax header, "length key=value\n" each, the
// length that of the whole record. Of equal keys the last one counts. sparse
// tells that there are records of a sparse file.
func paxRecords(text string) (records map[string]string, sparse bool, err error) {
	records = map[string]string{}
	for len(text) > 0 {
		digits, _, _ := strings.Cut(text, " ")
		length, err := strconv.ParseUint(digits, 10, 31)
		if err != nil || length > uint64(len(text)) || length < uint64(len(digits)+len(" k=\n")) {
			return nil, false, fmt.Errorf("%w: a pax record has the length %.20q", errTar, digits)
		}
		record := text[len(digits)+1 : length]
		text = text[length:]
		record, ended := strings.CutSuffix(record, "\n")
		key, value, found := strings.Cut(record, "=")
		switch {
		case !ended:
			return nil, false, fmt.Errorf("%w: a pax record ends without a new line", errTar)
		case !found || key == "":
			return nil, false, fmt.Errorf("%w: a pax record is no key=value", errTar)
		case strings.Contains(key, "\x00"),
			slices.Contains([]string{"path", "linkpath", "uname", "gname"}, key) && strings.Contains(value, "\x00"):
			return nil, false, fmt.Errorf("%w: a NUL in the pax record %.20q", errTar, key)
		case slices.Contains(paxKeys, key):
			records[key] = value
		}
		sparse = sparse || strings.HasPrefix(key, "GNU.sparse.")
	}
	return records, sparse, nil
}

// checkPAX wants the numbers of a pax header to be ones. Empty values are none.
func checkPAX(records map[string]string) error {
	for _, key := range paxKeys {
		value := records[key]
		whole, fraction := value, ""
		switch key {
		case "path", "GNU.sparse.name":
			continue
		case "atime", "mtime", "ctime":
			whole, fraction, _ = strings.Cut(value, ".")
		}
		n, err := strconv.ParseInt(whole, 10, 64)
		bad := err != nil || strings.Trim(fraction, "0123456789") != "" || key == "size" && n < 0
		if bad && value != "" {
			return fmt.Errorf("%w: the pax record %s is %.30q", errTar, key, value)
		}
	}
	return nil
}

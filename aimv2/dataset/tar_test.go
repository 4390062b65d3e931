package dataset

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// block is a header as one writes it by hand, with a good checksum.
func block(name string, kind byte, size int64, change func(h []byte)) []byte {
	h := make([]byte, tarBlock)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x0000000000000\x00", size))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	if change != nil {
		change(h)
	}
	checksum(h)
	return h
}

// padded is data in whole blocks.
func padded(data string) []byte {
	return append([]byte(data), make([]byte, (tarBlock-len(data)%tarBlock)%tarBlock)...)
}

// tarOf is a tar file of blocks and, behind each, its data.
func tarOf(parts ...[]byte) []byte {
	return append(bytes.Join(parts, nil), make([]byte, 2*tarBlock)...)
}

func paxRecord(key, value string) string {
	n := len(key) + len(value) + 3
	for n != len(fmt.Sprint(n))+len(key)+len(value)+3 {
		n++
	}
	return fmt.Sprintf("%d %s=%s\n", n, key, value)
}

// meta is a member of a kind that describes the next one.
func meta(kind byte, text string) []byte {
	return append(block("meta", kind, int64(len(text)), nil), padded(text)...)
}

func magicOfGNU(h []byte) { copy(h[257:], magicGNU) }
func noMagic(h []byte)    { clear(h[257:265]) }

// written is a tar file by archive/tar.
func written(t testing.TB, h tar.Header, data string) []byte {
	h.Typeflag, h.Mode, h.Size = tar.TypeReg, 0o644, int64(len(data))
	return tarBytes(t, member{h, []byte(data)}, file("last", []byte("end")))
}

// goodTar is a tar file and the name of its first member.
type goodTar struct {
	name string
	data []byte
}

// goodTars are tar files that are read, by what is special about them.
func goodTars(t testing.TB) map[string]goodTar {
	deep := strings.Repeat("directory/", 14)
	fox := padded("fox")
	base256 := func(at int, value uint64) func(h []byte) {
		return func(h []byte) {
			magicOfGNU(h)
			clear(h[at : at+12])
			h[at] = 0x80
			binary.BigEndian.PutUint64(h[at+4:], value)
		}
	}
	sparse := block("holes.bin", 'S', 3, func(h []byte) {
		magicOfGNU(h)
		copy(h[386:], "00000000000\x0000000000003\x00")
		h[482] = 1
		copy(h[483:], "00000001000\x00")
	})
	moreMap := make([]byte, tarBlock)
	moreMap[504] = 1
	return map[string]goodTar{
		"ustar":             {"1.txt", written(t, tar.Header{Name: "1.txt", Format: tar.FormatUSTAR}, "fox")},
		"ustar with prefix": {deep + "1.txt", written(t, tar.Header{Name: deep + "1.txt", Format: tar.FormatUSTAR}, "fox")},
		"name without NUL":  {strings.Repeat("n", 100), written(t, tar.Header{Name: strings.Repeat("n", 100), Format: tar.FormatUSTAR}, "fox")},
		"whole block":       {"1", written(t, tar.Header{Name: "1"}, strings.Repeat("x", tarBlock))},
		"empty":             {"1", written(t, tar.Header{Name: "1"}, "")},
		"GNU":               {"1", written(t, tar.Header{Name: "1", Format: tar.FormatGNU}, "fox")},
		"GNU long name":     {strings.Repeat(deep, 9) + "1", written(t, tar.Header{Name: strings.Repeat(deep, 9) + "1", Format: tar.FormatGNU}, "fox")},
		"GNU long link":     {"1", tarOf(meta('K', "target\x00"), block("1", '2', 0, magicOfGNU))},
		"long names":        {"second", tarOf(meta('L', "first\x00"), meta('L', "second\x00junk"), block("1", '0', 3, magicOfGNU), fox)},
		"pax long name":     {strings.Repeat(deep, 9) + "1", written(t, tar.Header{Name: strings.Repeat(deep, 9) + "1", Format: tar.FormatPAX}, "fox")},
		"pax UTF-8 name":    {"füchse/1.txt", written(t, tar.Header{Name: "füchse/1.txt", Format: tar.FormatPAX, PAXRecords: map[string]string{"X.y": "z"}}, "fox")},
		"pax size":          {"1", tarOf(meta('x', paxRecord("size", "3")), block("1", '0', 0, nil), fox, block("2", '0', 0, nil))},
		"pax empty values":  {"1", tarOf(meta('x', paxRecord("path", "a")+paxRecord("path", "")+paxRecord("size", "")), block("1", '0', 3, nil), fox)},
		"pax numbers":       {"1", tarOf(meta('x', paxRecord("mtime", "-1.5")+paxRecord("atime", "7.")+paxRecord("uid", "-2")), block("1", '0', 3, nil), fox)},
		"pax twice":         {"1", tarOf(meta('x', paxRecord("path", "a")), meta('x', paxRecord("X", "y")), block("1", '0', 3, nil), fox)},
		"pax and long name": {"long", tarOf(meta('L', "long"), meta('x', paxRecord("path", "pax")), block("1", '0', 3, nil), fox)},
		"pax global":        {"1", tarOf(meta('g', paxRecord("path", "all")+paxRecord("size", "nonsense")), block("1", '0', 3, nil), fox)},
		"pax sparse":        {"real.bin", tarOf(meta('x', paxRecord("GNU.sparse.major", "1")+paxRecord("GNU.sparse.minor", "0")+paxRecord("GNU.sparse.name", "real.bin")+paxRecord("GNU.sparse.realsize", "9")), block("GNUSparseFile.0/real.bin", '0', 512+3, nil), padded("1\n6\n3\n"), fox, block("2", '0', 0, nil))},
		"GNU sparse":        {"holes.bin", tarOf(sparse, moreMap, make([]byte, tarBlock), fox, block("2", '0', 3, nil), fox)},
		"base 256":          {"1", tarOf(block("1", '0', 0, base256(124, 3)), fox, block("2", '0', 3, nil), fox)},
		"before 1970":       {"1", tarOf(block("1", '0', 3, func(h []byte) { copy(h[136:148], strings.Repeat("\xff", 12)) }), fox)},
		"V7":                {"1", tarOf(block("1", 0, 3, noMagic), fox, block("d/", 0, 3, noMagic), block("2", '0', 3, noMagic), fox)},
		"V7, no prefix":     {"1", tarOf(block("1", '0', 3, func(h []byte) { noMagic(h); copy(h[345:], "no prefix") }), fox)},
		"star": {strings.Repeat("p", 131) + "/1", tarOf(block("1", '0', 3, func(h []byte) {
			copy(h[345:], strings.Repeat("p", 131)+"00000000007\x0000000000007\x00")
			copy(h[508:], "tar\x00")
		}), fox)},
		"spaces":           {"1", tarOf(block("1", '0', 3, func(h []byte) { copy(h[124:], "          3 ") }), fox)},
		"signed checksum":  {"\xe9", signed(tarOf(block("\xe9", '0', 3, nil), fox))},
		"link with a size": {"1", tarOf(block("1", '1', 3, nil), block("2", '0', 3, nil), fox)},
		"contiguous":       {"1", tarOf(block("1", '7', 3, nil), fox, block("2", '0', 3, nil), fox)},
		"one block of end": {"1", append(block("1", '0', 0, nil), make([]byte, tarBlock)...)},
		"junk behind":      {"1", append(tarOf(block("1", '0', 0, nil)), "junk"...)},
	}
}

// signed takes the bytes of the first header as signed ones in its checksum.
func signed(data []byte) []byte {
	sum := 8 * int(' ')
	for i, b := range data[:tarBlock] {
		if i < 148 || i >= 156 {
			sum += int(int8(b))
		}
	}
	copy(data[148:], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

// TestTar reads every kind of tar file as archive/tar does, to its end.
func TestTar(t *testing.T) {
	for what, c := range goodTars(t) {
		members, err := compareTar(t, c.data)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if len(members) == 0 || members[0].name != c.name {
			t.Errorf("%s: %+v, want first %q", what, members, c.name)
		}
	}
}

// compareTar reads data here and with archive/tar, member by member: what both
// take is equal to the byte, and what archive/tar refuses is refused. It returns
// the members up to the error, nil at the end, of tarReader.
func compareTar(t *testing.T, data []byte) (members []tarMember, err error) {
	t.Helper()
	r := bytes.NewReader(data)
	theirs, ours := tar.NewReader(r), tarReader{r: bytes.NewReader(data), size: int64(len(data))}
	for {
		var h *tar.Header
		var theirErr error
		if theirs != nil {
			for h, theirErr = theirs.Next(); theirErr == nil && h.Typeflag == tar.TypeXGlobalHeader; {
				h, theirErr = theirs.Next()
			}
		}
		m, err := ours.next()
		sparse := err == nil && (m.sparse || m.kind == tarSparse)
		switch {
		case err == nil:
			members = append(members, m)
		case err != io.EOF && !strings.HasPrefix(err.Error(), "at byte "):
			t.Errorf("no offset in %v", err)
			fallthrough
		case err != io.EOF:
			return members, err
		}
		if sparse && theirErr != nil { // for a fault of its map
			theirs = nil
		}
		switch {
		case err == io.EOF && (theirs == nil || theirErr == io.EOF):
			return members, nil
		case theirs == nil:
			continue
		case err != nil || theirErr != nil:
			t.Fatalf("%+v, %v; archive/tar has %+v, %v", m, err, h, theirErr)
		case m.kind != h.Typeflag || m.name != h.Name && !sparse:
			t.Fatalf("member %q of kind %q; archive/tar has %q, %q", m.name, m.kind, h.Name, h.Typeflag)
		case m.kind != tarFile || sparse:
			continue
		}
		if at, _ := r.Seek(0, io.SeekCurrent); m.data != (extent{at, h.Size}) {
			t.Fatalf("member %q lies at %+v; archive/tar has %d, %d", m.name, m.data, at, h.Size)
		}
		if m.data.size == 0 || m.data.size > int64(len(data)) { // for which read would take as much memory
			continue
		}
		want, theirErr := io.ReadAll(theirs)
		got, err := m.data.read(bytes.NewReader(data))
		if (err == nil) != (theirErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("member %q: %d bytes, %v; archive/tar has %d, %v", m.name, len(got), err, len(want), theirErr)
		}
	}
}

// badTar is a tar file and what its error says.
type badTar struct {
	data []byte
	want string
}

// damagedTars are tar files that are not read, here and by archive/tar.
func damagedTars() map[string]badTar {
	good := block("1", '0', 3, nil)
	fox := padded("fox")
	put := func(at int, text string) []byte {
		return tarOf(block("1", '0', 3, func(h []byte) { copy(h[at:], text) }), fox)
	}
	pax := func(text string) []byte { return tarOf(good, fox, meta('x', text), good, fox) }
	sum := bytes.Clone(good)
	sum[0]++
	return map[string]badTar{
		"checksum":             {tarOf(sum, fox), "at byte 0: it is no tar file, or damaged (compressed shards are not read): a header has the checksum"},
		"no checksum":          {bytes.Repeat([]byte("x"), 1024), `at byte 0: it is no tar file, or damaged (compressed shards are not read): its checksum: "xxxxxxxx" is no octal number`},
		"size":                 {put(124, "0000000000x"), `its size: "0000000000x" is no octal number`},
		"size with a sign":     {put(124, "+0000000003"), "its size"},
		"negative size":        {put(124, strings.Repeat("\xff", 12)), "its size: it is negative"},
		"size beyond 63 bits":  {put(124, "\x80\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00"), "its size: 800000008000000000000000 is beyond 63 bits"},
		"size beyond 64 bits":  {put(124, "\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), "beyond 63 bits"},
		"mode":                 {put(100, "rw-r--r-"), "its mode"},
		"uid":                  {put(108, "9"), "its uid"},
		"gid":                  {put(116, "x"), "its gid"},
		"mtime":                {put(136, "x"), "its mtime"},
		"devmajor":             {put(329, "x"), "its devmajor"},
		"devminor":             {put(337, "x"), "its devminor"},
		"star atime":           {tarOf(block("1", '0', 3, func(h []byte) { copy(h[476:], "x"); copy(h[508:], "tar\x00") }), fox), "its atime"},
		"star ctime":           {tarOf(block("1", '0', 3, func(h []byte) { copy(h[488:], "x"); copy(h[508:], "tar\x00") }), fox), "its ctime"},
		"zeros between":        {append(append(make([]byte, 512), good...), tarOf(fox)...), "at byte 512: it is no tar file, or damaged (compressed shards are not read): a block of zeros"},
		"pax without length":   {pax("path=a\n"), "a pax record has the length"},
		"pax long length":      {pax("11 path=a\n"), `at byte 1024: it is no tar file, or damaged (compressed shards are not read): a pax record has the length "11"`},
		"pax short length":     {pax("4 a=\n"), "the length"},
		"pax length of itself": {pax("2 path=a\n"), "the length"},
		"pax negative length":  {pax("-9 path=a\n"), "the length"},
		"pax without end":      {pax("9 path=abc"), "without a new line"},
		"pax without value":    {pax("8 patha\n"), "no key=value"},
		"pax without key":      {pax("6 =ab\n"), "no key=value"},
		"pax NUL":              {pax(paxRecord("path", "a\x00b")), `a NUL in the pax record "path"`},
		"pax NUL in key":       {pax(paxRecord("a\x00b", "c")), "a NUL in the pax record"},
		"pax NUL in a user":    {pax(paxRecord("uname", "c\x00")), "a NUL in the pax record"},
		"pax size":             {pax(paxRecord("size", "three")), `the pax record size is "three"`},
		"pax negative size":    {pax(paxRecord("size", "-3")), `the pax record size is "-3"`},
		"pax size too large":   {pax(paxRecord("size", "9223372036854775808")), "the pax record size"},
		"pax uid":              {pax(paxRecord("uid", "root")), "the pax record uid"},
		"pax mtime":            {pax(paxRecord("mtime", "noon")), "the pax record mtime"},
		"pax fraction":         {pax(paxRecord("mtime", "1.-5")), "the pax record mtime"},
		"global":               {tarOf(meta('g', "x"), good, fox), "at byte 0: it is no tar file, or damaged (compressed shards are not read): a pax record"},
		"sparse of ustar":      {tarOf(block("1", 'S', 0, nil)), "a sparse member without the magic"},
		"long pax header":      {tarOf(meta('x', paxRecord("a", strings.Repeat("x", maxMeta))), good, fox), "a long name or pax header has 1048587 bytes, more than 1048576"},
		"long name":            {tarOf(meta('L', strings.Repeat("x", maxMeta+1)), good, fox), "at byte 0: a long name or pax header has 1048577 bytes, more than 1048576"},
		"cut long name":        {block("1", 'L', 1000, nil), "at byte 0: the shard is cut short"},
		"cut data":             {block("1", '0', 1000, nil), "at byte 0: the shard is cut short"},
		"all the data there is": {tarOf(block("1", '0', 0, func(h []byte) {
			copy(h[124:], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")
		})), "at byte 0: the shard is cut short"},
		"cut header":  {tarOf(good, fox)[:1024+3], "at byte 1024: the shard is cut short"},
		"cut end":     {tarOf(good, fox)[:1024+700], "at byte 1536: the shard is cut short"},
		"cut map":     {block("1", 'S', 0, func(h []byte) { magicOfGNU(h); h[482] = 1 }), "at byte 0: the shard is cut short"},
		"second half": {fox, "at byte 0: it is no tar file"},
	}
}

// strictTars are refused here and not by archive/tar, which would guess.
func strictTars() map[string]badTar {
	good, fox := block("1", '0', 3, nil), padded("fox")
	return map[string]badTar{
		"no end":                {append(bytes.Clone(good), fox...), "at byte 1024: the shard is cut short: the mark of its end is missing"},
		"no end behind zeros":   {append(block("1", '0', tarBlock, nil), make([]byte, tarBlock)...), "at byte 1024: the shard is cut short: the mark of its end is missing"},
		"nothing":               {nil, "at byte 0: the shard is cut short: the mark of its end is missing"},
		"cut padding":           {append(bytes.Clone(good), "fox"...), "at byte 0: the shard is cut short"},
		"long name of nothing":  {tarOf(meta('L', "name")), "the member that a header describes is missing"},
		"global behind a name":  {tarOf(meta('L', "name"), meta('g', ""), good, fox), "at byte 1024: it is no tar file, or damaged (compressed shards are not read): a global header between"},
		"global map":            {tarOf(meta('g', paxRecord("GNU.sparse.map", "0,1")), good, fox), "a sparse map in a global header"},
		"pax length with sign":  {tarOf(meta('x', "+9 path=a\n"), good, fox), "the length"},
		"negative size of link": {tarOf(block("1", '2', 0, func(h []byte) { copy(h[124:], strings.Repeat("\xff", 12)) })), "its size: it is negative"},
		"GNU atime":             {tarOf(block("1", '0', 3, func(h []byte) { magicOfGNU(h); copy(h[345:], "prefix") }), fox), "its atime"},
	}
}

// TestTarErrors: damage is refused with its offset and cause, where archive/tar
// refuses it and where that would guess.
func TestTarErrors(t *testing.T) {
	for what, c := range damagedTars() {
		if _, err := compareTar(t, c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
		theirs, err := tar.NewReader(bytes.NewReader(c.data)), error(nil)
		for err == nil {
			_, err = theirs.Next()
		}
		if err == io.EOF {
			t.Errorf("%s: archive/tar reads it", what)
		}
	}
	for what, c := range strictTars() {
		if _, err := compareTar(t, c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
}

// TestTarMemory: sizes that are claimed and not there take no memory.
func TestTarMemory(t *testing.T) {
	for _, size := range []int64{maxMeta, maxMeta + 1, 1 << 32} {
		for _, kind := range "LKxg0S" {
			data := tarOf(block("1", byte(kind), size, magicOfGNU))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r := tarReader{r: bytes.NewReader(data), size: int64(len(data))}
			var err error
			for err == nil {
				_, err = r.next()
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 || err == io.EOF {
				t.Errorf("%d bytes of kind %q: %v, and %d bytes of memory", size, kind, err, n)
			}
		}
	}
}

// FuzzTar wants of any bytes what compareTar does, also with good checksums, which
// no chance would find.
func FuzzTar(f *testing.F) {
	for _, c := range goodTars(f) {
		f.Add(c.data)
	}
	for _, c := range damagedTars() {
		if len(c.data) < 1<<16 {
			f.Add(c.data)
		}
	}
	for _, c := range strictTars() {
		f.Add(c.data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		compareTar(t, data)
		mended := bytes.Clone(data)
		for at := 0; at+tarBlock <= len(mended); at += tarBlock {
			if h := mended[at:][:tarBlock]; h[156] != 0 { // a header, or data, where it does no harm
				checksum(h)
			}
		}
		compareTar(t, mended)
	})
}

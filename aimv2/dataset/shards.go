package dataset

import (
	"errors"
	"fmt"
	"hash/fnv"
	"image"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"fuerte/aimv2/imagefile"
)

// Limits of one shard, so that a hostile one cannot take memory without end.
const (
	maxMembers = 1 << 20
	maxName    = 1 << 10 // bytes
)

// Shards are tar files of captioned pictures in the WebDataset convention: the
// members 0001.jpg and 0001.txt are one pair, by the name up to the first dot
// behind the last slash. The caption is that of the .txt or, without one, of
// the .json (see JSONL for its fields); further members of a pair are passed over.
//
// A shard is read forward, headers first: Scan tells where its pairs lie and
// steps over their bytes, which Read fetches when their turn comes. So the memory
// of a run is that of the headers of a shard, whatever its pictures take.
//
// Safe for concurrent use.
type Shards struct {
	files []shard
	bare  bool // pictures may have no caption
}

type shard struct {
	path string
	size int64
}

// OpenShards lists the shards of a pattern, or those of a directory, *.tar. The
// pattern may have braces, data-{0000..0099}.tar, and * ? [ ].
//
// Errors: a shard that is missing, empty, no regular file or named twice; a
// pattern of nothing. No shard is opened.
func OpenShards(pattern string, options ...Option) (*Shards, error) {
	files := []string{pattern}
	info, err := os.Stat(pattern)
	switch {
	case err == nil && info.IsDir():
		if files, err = filepath.Glob(filepath.Join(globQuote(pattern), "*.tar")); err == nil && len(files) == 0 {
			err = fmt.Errorf("%s: no *.tar", pattern)
		}
	case err != nil:
		files, err = expand(pattern)
	}
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	s := &Shards{bare: optional(options)}
	seen := map[string]bool{}
	for _, file := range files {
		info, err := os.Stat(file)
		switch {
		case err != nil:
		case !info.Mode().IsRegular():
			err = fmt.Errorf("%s: it is no regular file", file)
		case info.Size() == 0:
			err = fmt.Errorf("%s: it is empty", file)
		case seen[file]:
			err = fmt.Errorf("%s: it is named twice", file)
		}
		if err != nil {
			return nil, fmt.Errorf("dataset: %w", err)
		}
		seen[file] = true
		s.files = append(s.files, shard{file, info.Size()})
	}
	return s, nil
}

// globQuote makes a directory's name match itself.
func globQuote(dir string) string {
	return strings.NewReplacer(`*`, `[*]`, `?`, `[?]`, `[`, `[[]`).Replace(dir)
}

// Len returns -1: only the headers of all shards would tell.
func (s *Shards) Len() int { return -1 }

// Files returns the number of shards.
func (s *Shards) Files() int { return len(s.files) }

// Fingerprint tells collections apart by the names and sizes of their files:
// "12 shards, 0123456789abcdef".
func (s *Shards) Fingerprint() string {
	h := fnv.New64a()
	for _, f := range s.files {
		fmt.Fprintf(h, "%q %d\n", filepath.Base(f.path), f.size)
	}
	return fmt.Sprintf("%d shards, %016x", len(s.files), h.Sum64())
}

// Pair is where a picture and its caption lie.
type Pair struct {
	Name           string // of the picture, in its shard
	shard          int
	picture, words extent
	json           bool // the caption is in a JSON object
}

// extent is the bytes of one member.
type extent struct{ offset, size int64 }

// Scan returns the pairs of a shard in the order of their first members.
//
// Errors: a shard that is gone, has changed its size, is cut short or is no tar
// file; a member that is a link, is sparse, has a name that leads outside or more
// bytes than may be read; a picture or a caption alone, or two for one stem; no pair.
// Those of a header or a member name its offset.
func (s *Shards) Scan(shard int) ([]Pair, error) {
	f, err := s.open(shard)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pairs, err := scan(f, s.files[shard].size, s.bare)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", s.files[shard].path, err)
	}
	for i := range pairs {
		pairs[i].shard = shard
	}
	return pairs, nil
}

// open opens a shard that is still what it was when the collection was opened.
func (s *Shards) open(i int) (*os.File, error) {
	f, err := os.Open(s.files[i].path)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() != s.files[i].size {
		err = fmt.Errorf("%s: it has changed since it was opened: %d bytes, then %d", f.Name(), s.files[i].size, info.Size())
	}
	if err != nil {
		f.Close() // only read
		return nil, fmt.Errorf("dataset: %w", err)
	}
	return f, nil
}

// scan is Scan of a tar file of so many bytes, where bare pairs have no caption.
func scan(r io.ReaderAt, size int64, bare bool) ([]Pair, error) {
	var pairs []*Pair
	stems := map[string]*Pair{}
	members := tarReader{r: r, size: size}
	for count := 0; ; count++ {
		m, err := members.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if count == maxMembers {
			return nil, fmt.Errorf("more than %d members", maxMembers)
		}
		if m.kind == tarDir {
			continue
		}
		stem, ext := splitMember(m.name)
		picture := slices.Contains(imagefile.Extensions, ext)
		if !picture && ext != ".txt" && ext != ".json" {
			continue
		}
		p := stems[stem]
		if p == nil {
			p = &Pair{}
			stems[stem] = p
			pairs = append(pairs, p)
		}
		err = checkMember(m, size, picture)
		switch {
		case err != nil:
		case picture && p.Name != "":
			err = fmt.Errorf("%.100q is a picture of the same stem", p.Name)
		case picture:
			p.Name, p.picture = m.name, m.data
		case p.words.size > 0 && p.json == (ext == ".json"):
			err = errors.New("a second caption")
		case ext == ".txt" || p.words.size == 0:
			p.words, p.json = m.data, ext == ".json"
		}
		if err != nil {
			return nil, fmt.Errorf("member %.100q: %w (at byte %d)", m.name, err, m.header)
		}
	}
	for stem, p := range stems {
		if p.Name == "" {
			return nil, fmt.Errorf("member %.100q has a caption and no picture (looked for %s)", stem, strings.Join(imagefile.Extensions, " "))
		}
		if p.words.size == 0 && !bare {
			return nil, fmt.Errorf("member %.100q has no caption: neither .txt nor .json is there", p.Name)
		}
	}
	if len(pairs) == 0 {
		return nil, errors.New("it holds no pictures")
	}
	out := make([]Pair, len(pairs))
	for i, p := range pairs {
		out[i] = *p
	}
	return out, nil
}

// splitMember cuts a member's name at the first dot behind the last slash. Of
// the rest only the last ending, in lower case, tells the kind, and "0001.left.jpg"
// is no picture of "0001".
func splitMember(name string) (stem, ext string) {
	dir, base := path.Split(name)
	stem, ext, found := strings.Cut(base, ".")
	if !found || stem == "" { // hidden, or a directory
		return "", ""
	}
	return dir + stem, "." + strings.ToLower(ext)
}

// checkMember refuses what cannot be read as so many bytes at an offset, in a
// shard of a size.
func checkMember(m tarMember, size int64, picture bool) error {
	most := int64(maxCaption)
	if picture {
		most = imagefile.MaxBytes
	}
	switch {
	case m.sparse:
		return errors.New("it is sparse")
	case m.kind != tarFile:
		return fmt.Errorf("it is no regular file but of type %q", m.kind)
	case len(m.name) > maxName:
		return fmt.Errorf("its name is longer than %d bytes", maxName)
	// Nothing is ever written under these names, but a tar file that tries is not one to trust.
	case !filepath.IsLocal(filepath.FromSlash(m.name)):
		return errors.New("its name leads outside")
	case m.data.size == 0:
		return errors.New("it is empty")
	case m.data.size > most:
		return fmt.Errorf("it has %d bytes, more than %d", m.data.size, most)
	case m.data.size > size-m.data.offset:
		return fmt.Errorf("%w in it", errCut)
	}
	return nil
}

// Read returns the picture, upright and with its alpha, and its record.
//
// Errors: those of Scan about the shard; a damaged picture; a caption that is
// empty, not UTF-8 or no JSON object with one. They name shard and member.
func (s *Shards) Read(p Pair) (Record, image.Image, error) {
	f, err := s.open(p.shard)
	if err != nil {
		return Record{}, nil, err
	}
	defer f.Close()
	rec, err := record(f, p, s.bare)
	if err != nil {
		return rec, nil, s.wrap(p, err)
	}
	data, err := p.picture.read(f)
	if err != nil {
		return rec, nil, s.wrap(p, err)
	}
	img, err := imagefile.Decode(data)
	if err != nil {
		return rec, nil, s.wrap(p, err)
	}
	return rec, img, nil
}

func (s *Shards) wrap(p Pair, err error) error {
	return fmt.Errorf("dataset: %s: member %.100q: %w", s.files[p.shard].path, p.Name, err)
}

// record reads the caption of a pair; a bare one may have none.
func record(r io.ReaderAt, p Pair, bare bool) (Record, error) {
	if p.words.size == 0 {
		return Record{Name: p.Name}, nil
	}
	words, err := p.words.read(r)
	if err != nil {
		return Record{}, err
	}
	var caption string
	if p.json {
		_, caption, err = parseCaptioned(words)
		switch {
		case bare && errors.Is(err, errNoCaption):
			err = nil
		case err != nil:
			err = fmt.Errorf("its .json: %w", err)
		}
	} else {
		caption, err = cleanCaption(words)
	}
	return Record{Name: p.Name, Caption: caption}, err
}

func (e extent) read(r io.ReaderAt) ([]byte, error) {
	data := make([]byte, e.size)
	if _, err := r.ReadAt(data, e.offset); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return data, nil
}

// First returns the first n pairs, or as many as there are, as a Source. Their
// captions are read at once.
//
// Errors: those of Scan and Read.
func (s *Shards) First(n int) (Source, error) {
	out := &firstPairs{shards: s}
	for i := 0; i < len(s.files) && len(out.pairs) < n; i++ {
		pairs, err := s.Scan(i)
		if err != nil {
			return nil, err
		}
		pairs = pairs[:min(len(pairs), n-len(out.pairs))]
		f, err := s.open(i)
		if err != nil {
			return nil, err
		}
		for _, p := range pairs {
			rec, err := record(f, p, s.bare)
			if err != nil {
				f.Close() // only read
				return nil, s.wrap(p, err)
			}
			out.pairs, out.records = append(out.pairs, p), append(out.records, rec)
		}
		f.Close()
	}
	return out, nil
}

// firstPairs is some pairs of shards as a Source.
type firstPairs struct {
	shards  *Shards
	pairs   []Pair
	records []Record
}

func (s *firstPairs) Len() int            { return len(s.pairs) }
func (s *firstPairs) Record(i int) Record { return s.records[i] }

func (s *firstPairs) Encoded(i int) ([]byte, error) {
	f, err := s.shards.open(s.pairs[i].shard)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := s.pairs[i].picture.read(f)
	if err != nil {
		return nil, s.shards.wrap(s.pairs[i], err)
	}
	return data, nil
}

func (s *firstPairs) Image(i int) (image.Image, error) {
	_, img, err := s.shards.Read(s.pairs[i])
	return img, err
}

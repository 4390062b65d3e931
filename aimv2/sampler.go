package aimv2

import (
	"fmt"
	"image"
	"math/rand/v2"

	"fuerte/aimv2/dataset"
)

// Streams of random numbers, kept apart by the upper bits of the second half of a
// PCG seed; the lower ones count what is drawn.
const (
	orderStream   = 1 << 62            // of epochs: the order of pictures, or of shards
	sampleStream  = 2 << 62            // of samples: all that is drawn for one
	mixtureStream = 3 << 62            // of samples: which part of a mixture it comes from
	windowStream  = 1<<62 | 1<<61      // of a part's samples: the draw from the shuffle window
	evalStream    = 2<<62 | 1<<61      // of held-out pictures: their prefixes
	partSeed      = 0x9e3779b97f4a7c15 // times the part's number, into the first half: parts of one size shuffle apart
)

// sampler gives the pictures that a run takes from one set, in their order.
type sampler interface {
	// sample returns picture k. Going on with k+1 is cheap.
	sample(k int) (dataset.Record, image.Image, error)
}

// partsOf returns the parts of a mixture; any other set is one part.
func partsOf(set dataset.Set) []dataset.Part {
	if m, ok := set.(*dataset.Mixture); ok {
		return m.Parts()
	}
	return []dataset.Part{{Set: set, Weight: 1}}
}

// mixer gives the samples of a run. The part that sample n comes from is drawn
// for n alone; which of the part's pictures it is follows from how many samples
// before n came from there, which a resumed run counts again, without reading any.
type mixer struct {
	seed   uint64
	parts  []sampler
	upTo   []float64 // sums of the weights
	next   int       // sample to be drawn next
	counts []int     // samples before it, by part
}

func newMixer(set dataset.Set, seed uint64) *mixer {
	m := &mixer{seed: seed}
	cache := &imageCache{images: map[pictureKey]image.Image{}, room: imageRoom}
	sum := 0.0
	for i, p := range partsOf(set) {
		seed := seed ^ uint64(i)*partSeed
		switch set := p.Set.(type) {
		case *dataset.Shards:
			m.parts = append(m.parts, &shardSampler{shards: set, seed: seed, size: shuffleWindow})
		case dataset.Source:
			m.parts = append(m.parts, &sourceSampler{source: set, seed: seed, part: i, cache: cache, epoch: -1})
		default:
			panic(fmt.Sprintf("aimv2: %T is no set to train on", set))
		}
		sum += p.Weight
		m.upTo = append(m.upTo, sum)
	}
	m.counts = make([]int, len(m.parts))
	return m
}

// sample returns sample number n of the run.
func (m *mixer) sample(n int) (dataset.Record, image.Image, error) {
	if len(m.parts) == 1 {
		return m.parts[0].sample(n)
	}
	if n < m.next {
		m.next = 0
		clear(m.counts)
	}
	for ; m.next < n; m.next++ {
		m.counts[m.part(m.next)]++
	}
	part := m.part(n)
	return m.parts[part].sample(m.counts[part])
}

// part draws where sample n comes from.
func (m *mixer) part(n int) int {
	var g rand.PCG
	g.Seed(m.seed, mixtureStream|uint64(n))
	at := rand.New(&g).Float64() * m.upTo[len(m.upTo)-1]
	for i, upTo := range m.upTo {
		if at < upTo {
			return i
		}
	}
	return len(m.upTo) - 1 // the product may be rounded up to the sum
}

// imageRoom bounds the decoded pictures kept in memory, in bytes: the embedded
// set takes 25 MB of it.
const imageRoom = 256 << 20

// imageCache keeps decoded pictures of numbered sets, as far as the room goes.
type imageCache struct {
	images map[pictureKey]image.Image
	room   int
}

type pictureKey struct{ part, index int }

// get decodes a picture or finds it.
func (c *imageCache) get(key pictureKey, src dataset.Source) (image.Image, error) {
	if img, ok := c.images[key]; ok {
		return img, nil
	}
	img, err := src.Image(key.index)
	if err != nil {
		return nil, err
	}
	b := img.Bounds()
	if size := 4 * b.Dx() * b.Dy(); size <= c.room { // four bytes a pixel at most, but for 16-bit pictures
		c.room -= size
		c.images[key] = img
	}
	return img, nil
}

// sourceSampler goes through a numbered set: every epoch is a fresh permutation,
// and batches run on across its end.
type sourceSampler struct {
	source dataset.Source
	seed   uint64
	part   int
	cache  *imageCache
	order  []int // of one epoch
	epoch  int
}

func (s *sourceSampler) sample(k int) (dataset.Record, image.Image, error) {
	n := s.source.Len()
	if e := k / n; e != s.epoch {
		s.order = rand.New(rand.NewPCG(s.seed, orderStream|uint64(e))).Perm(n)
		s.epoch = e
	}
	at := s.order[k%n]
	img, err := s.cache.get(pictureKey{s.part, at}, s.source)
	return s.source.Record(at), img, err
}

// shuffleWindow is how many pairs of shards wait to be drawn from. They are
// places in files, about 100 bytes each, not pictures.
const shuffleWindow = 10_000

// shardSampler goes through shards: in every epoch they come in a fresh order,
// their pairs enter a window in theirs, and each sample is drawn from the window.
// The last pairs of an epoch leave it before the first of the next enter, so that
// every epoch has each pair once.
//
// Draw k depends on the seed and k alone. What a resumed run needs is the window
// before its first draw: it takes the draws of the epoch again without reading
// pictures, after a look at the headers of all shards where it is past the first.
type shardSampler struct {
	shards *dataset.Shards
	seed   uint64
	size   int // of the window

	k        int            // draw to come
	epoch    int            // that it belongs to
	taken    int            // draws of this epoch before it
	perEpoch int            // pairs of an epoch; 0 until the first has ended
	order    []int          // of the shards, in this epoch; nil before it has begun
	queue    []dataset.Pair // of the shard at hand, still to enter
	window   []dataset.Pair
}

func (s *shardSampler) sample(k int) (dataset.Record, image.Image, error) {
	if err := s.seek(k); err != nil {
		return dataset.Record{}, nil, err
	}
	p, err := s.draw()
	if err != nil {
		return dataset.Record{}, nil, err
	}
	return s.shards.Read(p)
}

// seek makes k the draw to come.
func (s *shardSampler) seek(k int) error {
	if k < s.k {
		s.begin(0)
	}
	for s.k < k {
		if s.perEpoch > 0 && k/s.perEpoch > s.epoch {
			s.begin(k / s.perEpoch)
			continue
		}
		if _, err := s.draw(); err != nil {
			return err
		}
	}
	return nil
}

// begin goes to the start of an epoch.
func (s *shardSampler) begin(epoch int) {
	s.epoch, s.k = epoch, epoch*s.perEpoch
	s.taken, s.order, s.queue, s.window = 0, nil, nil, s.window[:0]
}

// draw takes the next pair out of the window. After an error the same draw can be
// asked for again.
func (s *shardSampler) draw() (dataset.Pair, error) {
	if err := s.fill(); err != nil {
		return dataset.Pair{}, err
	}
	if len(s.window) == 0 { // the epoch has ended
		s.perEpoch = s.taken
		s.begin(s.epoch + 1)
		if err := s.fill(); err != nil {
			return dataset.Pair{}, err
		}
	}
	last := len(s.window) - 1
	at := rand.New(rand.NewPCG(s.seed, windowStream|uint64(s.k))).IntN(last + 1)
	p := s.window[at]
	s.window[at] = s.window[last]
	s.window = s.window[:last]
	s.k++
	s.taken++
	return p, nil
}

// fill lets pairs enter until the window is full or the epoch has no more.
func (s *shardSampler) fill() error {
	if s.order == nil {
		s.order = rand.New(rand.NewPCG(s.seed, orderStream|uint64(s.epoch))).Perm(s.shards.Files())
	}
	for len(s.window) < s.size {
		if len(s.queue) == 0 {
			if len(s.order) == 0 {
				return nil
			}
			pairs, err := s.shards.Scan(s.order[0])
			if err != nil {
				return err
			}
			s.queue, s.order = pairs, s.order[1:]
		}
		n := min(s.size-len(s.window), len(s.queue))
		s.window, s.queue = append(s.window, s.queue[:n]...), s.queue[n:]
	}
	return nil
}

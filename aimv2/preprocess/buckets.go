package preprocess

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Buckets plans training at native resolution: each batch has an area of its own,
// drawn, and as many pictures as make its patches about the same number in all;
// pictures keep their ratio of width to height.
//
//	t ~ N(0, 1) where |t| ≤ 1,  n = Least + (Most−Least)·(t+1)/2,  A = ⌊2ⁿ⌋,  B = ⌊Patches/A⌋
//
// Pictures of a batch share one grid of patches, so a loader fills it from one
// class of Ratios; what a picture does not fill is zero.
//
// Source: Fini et al. 2025, arXiv:2411.14402, native-resolution fine-tuning. It
// does not tell C = Patches, whether n is whole, nor how unlike ratios share a
// batch: those are choices made here.
type Buckets struct {
	Patch       int       // side of a patch in pixels
	Patches     int       // C: patches of a batch
	Least, Most float64   // exponents of the area; 7 and 12 are 128 and 4096 patches
	Ratios      []float64 // classes of width/height, in rising order
	Seed        uint64
}

// DefaultBuckets has the published areas, and ratios a half-step of 4/3 apart from
// 1:4 to 4:1.
func DefaultBuckets(patch, patches int, seed uint64) Buckets {
	b := Buckets{Patch: patch, Patches: patches, Least: 7, Most: 12, Seed: seed}
	for i := -10; i <= 10; i++ {
		b.Ratios = append(b.Ratios, math.Pow(4.0/3, float64(i)/2))
	}
	return b
}

// bucketStream keeps the draws of areas apart from others of the same seed.
const bucketStream = 3 << 62

// Batch returns the area, in patches, and the number of pictures of a step. It
// follows from the seed and the step alone.
func (b Buckets) Batch(step int) (area, count int) {
	r := rand.New(rand.NewPCG(b.Seed, bucketStream|uint64(step)))
	t := r.NormFloat64()
	for math.Abs(t) > 1 {
		t = r.NormFloat64()
	}
	area = int(math.Exp2(b.Least + (b.Most-b.Least)*(t+1)/2))
	return area, max(1, b.Patches/area)
}

// Class returns the class whose ratio is nearest to a picture's, by logarithm.
func (b Buckets) Class(width, height int) int {
	ratio := math.Log(float64(width) / float64(height))
	best := 0
	for i, r := range b.Ratios {
		if math.Abs(ratio-math.Log(r)) < math.Abs(ratio-math.Log(b.Ratios[best])) {
			best = i
		}
	}
	return best
}

// Grid returns the rows and columns of patches for an area and a class: of those
// whose product is at most the area, and that come nearest to the ratio, the ones
// with the most patches.
func (b Buckets) Grid(area, class int) (rows, columns int) {
	ratio := b.Ratios[class]
	ideal := math.Sqrt(float64(area) / ratio)
	rows, columns = 1, min(area, max(1, int(ratio)))
	least := math.Inf(1)
	for r := max(1, int(ideal)); r <= int(ideal)+1 && r <= area; r++ {
		exact := float64(r) * ratio
		for _, c := range []int{int(exact), int(exact) + 1} {
			c = min(max(c, 1), area/r)
			// Both faults as factors: patches that are not used, and a ratio that is off.
			fault := math.Log(float64(area)/float64(r*c)) + math.Abs(math.Log(float64(c)/float64(r)/ratio))
			if fault < least {
				rows, columns, least = r, c, fault
			}
		}
	}
	return rows, columns
}

// Apply scales src to the largest size that fits a grid of patches in its own
// ratio, and normalises it into the upper left corner; the rest is zero.
//
// Shapes: dst [3, rows·Patch, columns·Patch].
// Panics: if dst has another length.
func (b Buckets) Apply(dst []float32, src RGB, rows, columns int, n Norm, s *Scratch) {
	width, height := columns*b.Patch, rows*b.Patch
	if len(dst) != 3*width*height {
		panic(fmt.Sprintf("preprocess: native batch: dst has %d values, want 3·%d·%d", len(dst), height, width))
	}
	scale := min(float64(width)/float64(src.Width), float64(height)/float64(src.Height))
	inWidth := min(width, max(1, int(math.Round(scale*float64(src.Width)))))
	inHeight := min(height, max(1, int(math.Round(scale*float64(src.Height)))))
	s.out.Reset(inWidth, inHeight)
	s.Resize(&s.out, src, Box{0, 0, float32(src.Width), float32(src.Height)})
	s.normal = resized(s.normal, 3*inWidth*inHeight)
	n.Apply(s.normal, s.out, false)
	clear(dst)
	for c := range 3 {
		for y := range inHeight {
			copy(dst[(c*height+y)*width:][:inWidth], s.normal[(c*inHeight+y)*inWidth:])
		}
	}
}

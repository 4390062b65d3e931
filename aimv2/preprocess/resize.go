package preprocess

import "math"

// Box is a part of a picture in pixels, from (X0, Y0) to before (X1, Y1). It
// need not fall on whole pixels. float32 as in Pillow, whose bits are kept.
type Box struct{ X0, Y0, X1, Y1 float32 }

// Scratch is the memory of the functions here, kept from call to call. The zero
// value is ready. One goroutine may use it at a time.
type Scratch struct {
	columns, rows taps
	between       RGB       // after the horizontal pass
	resized       RGB       // Eval: before the centre crop
	out           RGB       // Eval, Augment, Buckets: before normalisation
	before        RGB       // RandAugment: what an operation reads while it writes
	normal        []float32 // Buckets: before it is laid out
}

// Resize sets dst, whose size is given, to the part box of src, by bicubic
// interpolation with antialiasing:
//
//	dst[i] = Σ_j w(s·(j + ½ − c_i))·src[j],  c_i = box₀ + (i+½)·scale,  s = 1/max(scale, 1)
//
// first along the rows, then along the columns, with the weights in fixed
// point and the value between rounded to 8 bits. It equals Pillow's
// Image.resize(size, BICUBIC, box) bit for bit, except that a machine which
// fuses multiply and add may put single values off by one. Pixels around the
// box take part as neighbours, as they do in Pillow; Crop first to hide them.
//
// Memory: dst must not overlap src.
// Panics: if the box is empty or leaves src.
// Source: Pillow, src/libImaging/Resample.c.
func (s *Scratch) Resize(dst *RGB, src RGB, box Box) {
	if !(box.X0 >= 0 && box.Y0 >= 0 && box.X1 <= float32(src.Width) && box.Y1 <= float32(src.Height) &&
		box.X0 < box.X1 && box.Y0 < box.Y1) {
		panic("preprocess: resize from an empty box or one outside the picture")
	}
	// Pillow skips a pass that would change nothing, and so does not even round.
	horizontal := dst.Width != src.Width || box.X0 != 0 || box.X1 != float32(dst.Width)
	vertical := dst.Height != src.Height || box.Y0 != 0 || box.Y1 != float32(dst.Height)
	if !horizontal && !vertical {
		for y := range dst.Height {
			copy(dst.row(y), src.row(y))
		}
		return
	}
	if vertical {
		s.rows.fill(src.Height, box.Y0, box.Y1, dst.Height)
	}
	if !horizontal {
		resizeRows(dst, &src, &s.rows, 0)
		return
	}
	s.columns.fill(src.Width, box.X0, box.X1, dst.Width)
	if !vertical {
		resizeColumns(dst, &src, &s.columns)
		return
	}
	// Only the rows that the vertical pass reads are made.
	last := len(s.rows.from) - 1
	first := s.rows.from[0]
	height := s.rows.from[last] + s.rows.count[last] - first
	s.between.Reset(dst.Width, height)
	source := src.Crop(0, first, src.Width, height)
	resizeColumns(&s.between, &source, &s.columns)
	resizeRows(dst, &s.between, &s.rows, first)
}

// precisionBits is the number of binary places of the weights. The sum of a
// negative lobe may reach beyond 255: 8 bits for the pixel and 2 to spare.
const precisionBits = 32 - 8 - 2

// taps holds the weights of one axis: output i is the sum of weight[i*width+k]
// times input from[i]+k, for k < count[i].
type taps struct {
	width  int
	from   []int
	count  []int
	weight []int32
	exact  []float64 // weights of one output before rounding
}

// fill computes the weights that take [in0, in1) of size pixels to out pixels.
func (t *taps) fill(size int, in0, in1 float32, out int) {
	scale := float64(in1-in0) / float64(out)
	filterScale := max(scale, 1) // enlarging interpolates, reducing averages
	support := 2 * filterScale   // bicubic reaches two pixels to each side
	t.width = 2*int(math.Ceil(support)) + 1
	t.from, t.count = resized(t.from, out), resized(t.count, out)
	t.weight, t.exact = resized(t.weight, out*t.width), resized(t.exact, t.width)
	for i := range out {
		center := float64(in0) + (float64(i)+0.5)*scale
		first := max(0, int(center-support+0.5))
		count := min(size, int(center+support+0.5)) - first
		sum := 0.0
		for k := range count {
			w := bicubic((float64(k+first) - center + 0.5) * (1 / filterScale))
			t.exact[k] = w
			sum += w
		}
		t.from[i], t.count[i] = first, count
		weight := t.weight[i*t.width:][:count]
		for k := range weight {
			w := t.exact[k]
			if sum != 0 {
				w /= sum
			}
			weight[k] = int32(math.Copysign(0.5, w) + w*(1<<precisionBits))
		}
	}
}

// bicubic is Keys' kernel with a = −½, which is zero for |x| ≥ 2.
func bicubic(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	switch {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return (((x-5)*x+8)*x - 4) * a
	default:
		return 0
	}
}

// resizeColumns applies the taps along each row: dst and src have equal height.
func resizeColumns(dst, src *RGB, t *taps) {
	for y := range dst.Height {
		in, out := src.row(y), dst.row(y)
		for x := range dst.Width {
			weight := t.weight[x*t.width:][:t.count[x]]
			pixels := in[3*t.from[x]:][:3*len(weight)]
			r, g, b := int32(half), int32(half), int32(half)
			for k, w := range weight {
				p := pixels[3*k : 3*k+3 : 3*k+3]
				r += int32(p[0]) * w
				g += int32(p[1]) * w
				b += int32(p[2]) * w
			}
			o := out[3*x : 3*x+3 : 3*x+3]
			o[0], o[1], o[2] = toByte(r), toByte(g), toByte(b)
		}
	}
}

// resizeRows applies the taps along each column: dst and src have equal width,
// and row 0 of src is row first of the taps.
func resizeRows(dst, src *RGB, t *taps, first int) {
	for y := range dst.Height {
		weight := t.weight[y*t.width:][:t.count[y]]
		out := dst.row(y)
		in := src.Pix[(t.from[y]-first)*src.Stride:]
		for x := range out {
			sum := int32(half)
			for k, w := range weight {
				sum += int32(in[k*src.Stride+x]) * w
			}
			out[x] = toByte(sum)
		}
	}
}

// half makes the shift of toByte round to nearest.
const half = 1 << (precisionBits - 1)

func toByte(sum int32) uint8 { return uint8(min(max(sum>>precisionBits, 0), 255)) }

// resized returns a slice of n elements, s itself if it has room.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

package preprocess

import (
	"math"
	"math/rand/v2"
	"slices"
)

// RandAugment changes a picture by Layers operations, each drawn from fifteen
// and then done with probability ½, with a magnitude of N(Magnitude, Std²) cut to
// [0, 10]. Its zero value changes nothing. {2, 9, 0.5} is what timm, the library
// that the paper's names are from, calls rand-m9-mstd0.5-inc1: inc1 says that
// every operation changes more the greater its magnitude.
//
// Source: Cubuk et al. 2019, arXiv:1909.13719; the operations and their scales
// are timm's. Its pictures are Pillow's to the bit, for the same draws.
type RandAugment struct {
	Layers         int
	Magnitude, Std float64
}

// fillColour stands where a shifted picture has nothing: ImageNet's mean.
var fillColour = Color{124, 116, 104}

// randOps are the operations. level is the magnitude in [0, 1]; sign is ±1, for
// those that go two ways.
var randOps = [...]func(p *RGB, level, sign float64, s *Scratch){
	func(p *RGB, _, _ float64, _ *Scratch) { p.autoContrast() },
	func(p *RGB, _, _ float64, _ *Scratch) { p.equalize() },
	func(p *RGB, _, _ float64, _ *Scratch) { p.lookUp(func(v int) int { return 255 - v }) },
	func(p *RGB, level, sign float64, s *Scratch) { p.rotate(sign*30*level, s) },
	func(p *RGB, level, _ float64, _ *Scratch) { p.posterize(4 - int(4*level)) },
	func(p *RGB, level, _ float64, _ *Scratch) { p.solarize(256 - min(256, int(256*level))) },
	func(p *RGB, level, _ float64, _ *Scratch) { p.solarizeAdd(min(128, int(110*level))) },
	func(p *RGB, level, sign float64, _ *Scratch) { p.color(enhanceFactor(level, sign)) },
	func(p *RGB, level, sign float64, _ *Scratch) { p.contrast(enhanceFactor(level, sign)) },
	func(p *RGB, level, sign float64, _ *Scratch) { p.brightness(enhanceFactor(level, sign)) },
	func(p *RGB, level, sign float64, s *Scratch) { p.sharpness(enhanceFactor(level, sign), s) },
	func(p *RGB, level, sign float64, s *Scratch) {
		p.affine([6]float64{1, sign * 0.3 * level, 0, 0, 1, 0}, s)
	},
	func(p *RGB, level, sign float64, s *Scratch) {
		p.affine([6]float64{1, 0, 0, sign * 0.3 * level, 1, 0}, s)
	},
	func(p *RGB, level, sign float64, s *Scratch) {
		p.affine([6]float64{1, 0, sign * 0.45 * level * float64(p.Width), 0, 1, 0}, s)
	},
	func(p *RGB, level, sign float64, s *Scratch) {
		p.affine([6]float64{1, 0, 0, 0, 1, sign * 0.45 * level * float64(p.Height)}, s)
	},
}

// enhanceFactor is 1 for no change.
func enhanceFactor(level, sign float64) float32 { return float32(max(0.1, 1+sign*0.9*level)) }

// Apply changes p in place. Every layer makes four draws of r, whatever comes of
// them.
func (a RandAugment) Apply(p *RGB, r *rand.Rand, s *Scratch) {
	for range a.Layers {
		op, done := r.IntN(len(randOps)), r.Float64() < 0.5
		magnitude, sign := a.Magnitude+a.Std*r.NormFloat64(), 1.0
		if r.Float64() < 0.5 {
			sign = -1
		}
		if done {
			randOps[op](p, min(max(magnitude, 0), 10)/10, sign, s)
		}
	}
}

// lookUp replaces every value of every channel.
func (p *RGB) lookUp(f func(v int) int) {
	var table [256]uint8
	for v := range table {
		table[v] = uint8(f(v))
	}
	for y := range p.Height {
		row := p.row(y)
		for x, v := range row {
			row[x] = table[v]
		}
	}
}

// lookUpChannels replaces the values of each channel by a table of its own, made
// from the counts of its values.
func (p *RGB) lookUpChannels(table func(count *[256]int) [256]uint8) {
	for c := range 3 {
		var count [256]int
		for y := range p.Height {
			row := p.row(y)
			for x := c; x < len(row); x += 3 {
				count[row[x]]++
			}
		}
		t := table(&count)
		for y := range p.Height {
			row := p.row(y)
			for x := c; x < len(row); x += 3 {
				row[x] = t[row[x]]
			}
		}
	}
}

// copyOf keeps the pixels of p.
func (s *Scratch) copyOf(p RGB) {
	s.before.Reset(p.Width, p.Height)
	for y := range p.Height {
		copy(s.before.row(y), p.row(y))
	}
}

// identity is the table that changes nothing.
var identity = func() (t [256]uint8) {
	for v := range t {
		t[v] = uint8(v)
	}
	return t
}()

// autoContrast spreads each channel over 0 … 255.
func (p *RGB) autoContrast() {
	p.lookUpChannels(func(count *[256]int) [256]uint8 {
		low, high := 0, 255
		for low < 255 && count[low] == 0 {
			low++
		}
		for high > 0 && count[high] == 0 {
			high--
		}
		if high <= low {
			return identity
		}
		scale := 255 / float64(high-low)
		offset := -float64(low) * scale
		var t [256]uint8
		for v := range t {
			t[v] = uint8(min(max(int(float64(v)*scale+offset), 0), 255))
		}
		return t
	})
}

// equalize gives each channel about as many pixels of every value.
func (p *RGB) equalize() {
	p.lookUpChannels(func(count *[256]int) [256]uint8 {
		last := 255
		for last > 0 && count[last] == 0 {
			last--
		}
		step := (p.Width*p.Height - count[last]) / 255 // 0, too, if all are of one value
		if step == 0 {
			return identity
		}
		var t [256]uint8
		sum := step / 2
		for v := range t {
			t[v] = uint8(min(sum/step, 255))
			sum += count[v]
		}
		return t
	})
}

// posterize keeps so many upper bits.
func (p *RGB) posterize(bits int) { p.lookUp(func(v int) int { return v &^ (1<<(8-bits) - 1) }) }

// solarize inverts the values from threshold on.
func (p *RGB) solarize(threshold int) {
	p.lookUp(func(v int) int {
		if v < threshold {
			return v
		}
		return 255 - v
	})
}

// solarizeAdd brightens the darker half.
func (p *RGB) solarizeAdd(add int) {
	p.lookUp(func(v int) int {
		if v < 128 {
			return min(255, v+add)
		}
		return v
	})
}

// blend is with + f·(v − with), cut towards 0 and to 0 … 255, as Pillow has it
// (and Jitter, which rounds, has not).
func blend(with, v uint8, f float32) uint8 {
	return uint8(min(max(float32(with)+f*(float32(v)-float32(with)), 0), 255))
}

// luma is Pillow's grey of a pixel.
func luma(c []uint8) uint8 {
	return uint8((19595*uint32(c[0]) + 38470*uint32(c[1]) + 7471*uint32(c[2]) + 0x8000) >> 16)
}

// color blends every pixel with its grey.
func (p *RGB) color(f float32) {
	for y := range p.Height {
		for c := range slices.Chunk(p.row(y), 3) {
			g := luma(c)
			c[0], c[1], c[2] = blend(g, c[0], f), blend(g, c[1], f), blend(g, c[2], f)
		}
	}
}

// contrast blends with the mean grey of the picture.
func (p *RGB) contrast(f float32) {
	sum := 0
	for y := range p.Height {
		for c := range slices.Chunk(p.row(y), 3) {
			sum += int(luma(c))
		}
	}
	mean := uint8(float64(sum)/float64(p.Width*p.Height) + 0.5)
	p.lookUp(func(v int) int { return int(blend(mean, uint8(v), f)) })
}

// brightness blends with black.
func (p *RGB) brightness(f float32) { p.lookUp(func(v int) int { return int(blend(0, uint8(v), f)) }) }

// sharpness blends with the picture smoothed by 1 1 1, 1 5 1, 1 1 1, whose border
// is as it was.
func (p *RGB) sharpness(f float32, s *Scratch) {
	if p.Width < 3 || p.Height < 3 {
		return // all border
	}
	s.copyOf(*p)
	old := &s.before
	for y := 1; y < p.Height-1; y++ {
		above, at, below, out := old.row(y-1), old.row(y), old.row(y+1), p.row(y)
		for x := 3; x < len(at)-3; x++ {
			sum := 4 * int(at[x])
			for _, row := range [][]uint8{above, at, below} {
				sum += int(row[x-3]) + int(row[x]) + int(row[x+3])
			}
			smooth := uint8(float32(sum)/13 + 0.5)
			out[x] = blend(smooth, at[x], f)
		}
	}
}

// rotate turns counter-clockwise about the centre, in degrees.
func (p *RGB) rotate(degrees float64, s *Scratch) {
	round := func(x float64) float64 { return math.Round(x*1e15) / 1e15 }
	angle := -degrees * math.Pi / 180
	cos, sin := round(math.Cos(angle)), round(math.Sin(angle))
	cx, cy := float64(p.Width)/2, float64(p.Height)/2
	p.affine([6]float64{cos, sin, cx - cos*cx - sin*cy, -sin, cos, cy + sin*cx - cos*cy}, s)
}

// affine sets pixel (x, y) to what was at
//
//	(m0·(x+½) + m1·(y+½) + m2, m3·(x+½) + m4·(y+½) + m5)
//
// by bicubic interpolation (a = −1, Pillow's when it does not resize) with the
// border repeated, and to fillColour where that is outside.
func (p *RGB) affine(m [6]float64, s *Scratch) {
	s.copyOf(*p)
	old := &s.before
	width, height := float64(p.Width), float64(p.Height)
	for y := range p.Height {
		out := p.row(y)
		for x := range p.Width {
			u := m[0]*(float64(x)+0.5) + m[1]*(float64(y)+0.5) + m[2]
			v := m[3]*(float64(x)+0.5) + m[4]*(float64(y)+0.5) + m[5]
			c := out[3*x : 3*x+3]
			if u < 0 || u >= width || v < 0 || v >= height {
				copy(c, fillColour[:])
				continue
			}
			fx, fy := math.Floor(u-0.5), math.Floor(v-0.5)
			du, dv := u-0.5-fx, v-0.5-fy
			var columns [4]int
			for i := range columns {
				columns[i] = 3 * min(max(int(fx)+i-1, 0), p.Width-1)
			}
			var rows [4][]uint8
			for i := range rows {
				rows[i] = old.row(min(max(int(fy)+i-1, 0), p.Height-1))
			}
			for ch := range c {
				var along [4]float64
				for i, row := range rows {
					along[i] = cubic(float64(row[columns[0]+ch]), float64(row[columns[1]+ch]), float64(row[columns[2]+ch]), float64(row[columns[3]+ch]), du)
				}
				c[ch] = uint8(min(max(cubic(along[0], along[1], along[2], along[3], dv), 0), 255))
			}
		}
	}
}

// cubic is the cubic through b at 0 and c at 1 with slopes c − a and d − b.
func cubic(a, b, c, d, t float64) float64 {
	return b + t*(c-a+t*(2*(a-b)+c-d+t*(b-a+d-c)))
}

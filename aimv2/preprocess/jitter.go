package preprocess

import "math/rand/v2"

// Jitter is how far ColorJitter may change the colours of a picture. Its zero
// value changes nothing.
type Jitter struct {
	Brightness, Contrast, Saturation float64 // factors are drawn from [1−x, 1+x], x in [0, 1]
	Hue                              float64 // a shift from [−x, x], in turns, x in [0, ½]
}

// DefaultJitter is that of AIM (v1); AIMv2 was pre-trained without.
var DefaultJitter = Jitter{Brightness: 0.4, Contrast: 0.4, Saturation: 0.2, Hue: 0.1}

// Apply changes, in random order and in place,
//
//	brightness  p ← f·p
//	contrast    p ← f·p + (1−f)·mean(grey)
//	saturation  p ← f·p + (1−f)·grey(p),  grey = 0.2989 R + 0.587 G + 0.114 B
//	hue         turned by f in HSV
//
// and after each cuts to 0 … 255 and rounds. Every call makes five draws of r.
//
// Source: torchvision, transforms.ColorJitter; it truncates where this rounds.
func (j Jitter) Apply(p RGB, r *rand.Rand) {
	draw := func(x float64) float32 { return float32(x * (2*r.Float64() - 1)) }
	brightness, contrast, saturation := 1+draw(j.Brightness), 1+draw(j.Contrast), 1+draw(j.Saturation)
	hue := draw(j.Hue)
	order := [...]int{0, 1, 2, 3}
	for i, code := len(order)-1, r.IntN(24); i > 0; i-- { // Fisher-Yates, from one draw
		k := code % (i + 1)
		code /= i + 1
		order[i], order[k] = order[k], order[i]
	}
	for _, op := range order {
		switch op {
		case 0:
			p.level(0, brightness)
		case 1:
			p.level(p.meanGrey(), contrast)
		case 2:
			p.saturate(saturation)
		case 3:
			p.turnHue(hue)
		}
	}
}

// byteOf cuts and rounds.
func byteOf(v float32) uint8 {
	return uint8(min(max(int32(v+0.5), 0), 255)) // int32 cuts towards zero: −0.4 becomes 0 as well
}

func grey(r, g, b uint8) float32 {
	return 0.2989*float32(r) + 0.587*float32(g) + 0.114*float32(b)
}

func (p *RGB) meanGrey() float32 {
	var sum float32
	for y := range p.Height {
		row := p.row(y)
		for x := 0; x+2 < len(row); x += 3 {
			sum += grey(row[x], row[x+1], row[x+2])
		}
	}
	return sum / float32(p.Width*p.Height)
}

// level blends every channel with one value, through a table.
func (p *RGB) level(with, f float32) {
	var table [256]uint8
	for v := range table {
		table[v] = byteOf(f*float32(v) + (1-f)*with)
	}
	for y := range p.Height {
		row := p.row(y)
		for x, v := range row {
			row[x] = table[v]
		}
	}
}

// saturate blends every pixel with its grey.
func (p *RGB) saturate(f float32) {
	for y := range p.Height {
		row := p.row(y)
		for x := 0; x+2 < len(row); x += 3 {
			c := row[x : x+3 : x+3]
			g := (1 - f) * grey(c[0], c[1], c[2])
			c[0], c[1], c[2] = byteOf(f*float32(c[0])+g), byteOf(f*float32(c[1])+g), byteOf(f*float32(c[2])+g)
		}
	}
}

// turnHue adds a part of a turn to the hue of every pixel; the greatest and the
// least of its channels (value, and value·(1−saturation)) stay.
func (p *RGB) turnHue(turn float32) {
	for y := range p.Height {
		row := p.row(y)
		for x := 0; x+2 < len(row); x += 3 {
			c := row[x : x+3 : x+3]
			r, g, b := int32(c[0]), int32(c[1]), int32(c[2])
			high, low := max(r, g, b), min(r, g, b)
			if high == low {
				continue
			}
			chroma := float32(high - low)
			var hue float32 // in sixths of a turn
			switch high {
			case r:
				hue = float32(g-b) / chroma
			case g:
				hue = 2 + float32(b-r)/chroma
			default:
				hue = 4 + float32(r-g)/chroma
			}
			hue += 6 * turn
			c[0], c[1], c[2] = fromHue(high, chroma, hue+5), fromHue(high, chroma, hue+3), fromHue(high, chroma, hue+1)
		}
	}
}

// fromHue is v − v·s·max(0, min(k, 4−k, 1)) of HSV to RGB, k modulo 6.
func fromHue(high int32, chroma, k float32) uint8 {
	switch { // −4 ≤ k < 13
	case k < 0:
		k += 6
	case k >= 12:
		k -= 12
	case k >= 6:
		k -= 6
	}
	if k > 2 {
		k = 4 - k
	}
	if k > 1 {
		k = 1
	} else if k < 0 {
		k = 0
	}
	return uint8(float32(high) - chroma*k + 0.5)
}

// Pad sets dst to src inside a border of one colour, as wide as given on all
// four sides.
//
// Memory: dst must not overlap src; it keeps its memory if that suffices.
func Pad(dst *RGB, src RGB, border int, c Color) {
	dst.Reset(src.Width+2*border, src.Height+2*border)
	for i := 0; i < len(dst.Pix); i += 3 {
		copy(dst.Pix[i:i+3], c[:])
	}
	for y := range src.Height {
		copy(dst.row(y + border)[3*border:], src.row(y))
	}
}

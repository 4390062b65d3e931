package main

import (
	"bytes"
	"image"
	"image/color"
	"slices"
	"sort"
)

// pixel is straight-alpha red, green, blue, alpha.
type pixel [4]uint8

// counted is a colour and how many pixels have it.
type counted struct {
	pixel
	count int
}

// box is a set of colours that becomes one entry of the palette.
type box []counted

// quantise reduces a picture to a palette of at most n colours with alpha, by
// median cut: it halves the box of largest variance at its mean, until there
// are n. No dither, which would cost more in the PNG than it gives at 48 pixels.
func quantise(img *image.NRGBA, n int) *image.Paletted {
	boxes := cutBoxes(colorsOf(img), n)
	out := image.NewPaletted(img.Rect, make(color.Palette, len(boxes)))
	index := map[pixel]uint8{}
	for i, b := range boxes {
		out.Palette[i] = b.mean()
		for _, c := range b {
			index[c.pixel] = uint8(i)
		}
	}
	for i := range out.Pix {
		out.Pix[i] = index[pixel(img.Pix[4*i:])]
	}
	return out
}

// colorsOf counts the colours of a picture, sorted by their bytes.
func colorsOf(img *image.NRGBA) box {
	counts := map[pixel]int{}
	for i := 0; i < len(img.Pix); i += 4 {
		counts[pixel(img.Pix[i:])]++
	}
	var all box
	for p, n := range counts {
		all = append(all, counted{p, n})
	}
	slices.SortFunc(all, func(a, b counted) int { return bytes.Compare(a.pixel[:], b.pixel[:]) })
	return all
}

// cutBoxes divides colours into at most n boxes.
func cutBoxes(all box, n int) []box {
	if len(all) <= n {
		boxes := make([]box, len(all))
		for i := range all {
			boxes[i] = all[i : i+1]
		}
		return boxes
	}
	boxes := []box{all}
	for len(boxes) < n {
		widest, channel, most := -1, 0, 0.0
		for i, b := range boxes {
			for c := range 4 {
				if v := b.variance(c); v > most {
					widest, channel, most = i, c, v
				}
			}
		}
		if widest < 0 {
			break
		}
		low, high := boxes[widest].cut(channel)
		boxes[widest] = low
		boxes = append(boxes, high)
	}
	return boxes
}

// sums returns Σn, Σn·v and Σn·v² of a channel.
func (b box) sums(channel int) (weight, sum, squares float64) {
	for _, c := range b {
		v, n := float64(c.pixel[channel]), float64(c.count)
		weight += n
		sum += v * n
		squares += v * v * n
	}
	return weight, sum, squares
}

// variance returns Σn·(v − mean)² of a channel.
func (b box) variance(channel int) float64 {
	if len(b) < 2 {
		return 0
	}
	weight, sum, squares := b.sums(channel)
	return squares - sum*sum/weight
}

// cut sorts the box along a channel and divides it at the mean.
func (b box) cut(channel int) (low, high box) {
	slices.SortStableFunc(b, func(x, y counted) int { return int(x.pixel[channel]) - int(y.pixel[channel]) })
	weight, sum, _ := b.sums(channel)
	at := sort.Search(len(b), func(i int) bool { return float64(b[i].pixel[channel]) > sum/weight })
	at = min(max(at, 1), len(b)-1)
	return b[:at:at], b[at:]
}

// mean returns the mean colour, rounded.
func (b box) mean() color.NRGBA {
	var m pixel
	for c := range m {
		weight, sum, _ := b.sums(c)
		m[c] = uint8(sum/weight + 0.5)
	}
	return color.NRGBA{m[0], m[1], m[2], m[3]}
}

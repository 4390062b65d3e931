// Package preprocess turns pictures into the input of the vision encoder.
//
//	ToRGB                     composite over a background, to 8-bit RGB
//	Scratch.Resize            Pillow's antialiased bicubic
//	Eval                      shortest side to S, centre crop S, normalise; or native size
//	Buckets                   batches of native size, of one area each
//	Augment                   random crop, flip and colours to S, normalise
//	RandAugment               a few of fifteen changes, drawn, as for probes
//	Pad                       a border of one colour
//	Norm                      8-bit RGB to float32 [3, S, S]
//
// The results are those of CLIPImageProcessor and torchvision, so that the
// published weights see what they were trained on. With a Scratch that is used
// again, nothing here allocates once the largest picture has been seen.
package preprocess

import (
	"image"
	"image/color"
)

// RGB is an 8-bit picture, interleaved: channel c of pixel (x, y) is
// Pix[y*Stride + 3*x + c].
type RGB struct {
	Width, Height int
	Stride        int // bytes from one row to the next
	Pix           []uint8
}

// Reset makes p a picture of the size without gaps, in its own memory if that
// suffices. The pixels are undefined.
func (p *RGB) Reset(width, height int) {
	p.Width, p.Height, p.Stride = width, height, 3*width
	if n := width * height * 3; cap(p.Pix) < n {
		p.Pix = make([]uint8, n)
	} else {
		p.Pix = p.Pix[:n]
	}
}

// Crop views a part of p; nothing is copied.
//
// Panics: if the part is not inside p.
func (p RGB) Crop(x, y, width, height int) RGB {
	if x < 0 || y < 0 || width <= 0 || height <= 0 || x+width > p.Width || y+height > p.Height {
		panic("preprocess: crop outside the picture")
	}
	return RGB{width, height, p.Stride, p.Pix[y*p.Stride+3*x:]}
}

// row returns the 3*Width bytes of row y.
func (p *RGB) row(y int) []uint8 { return p.Pix[y*p.Stride:][:3*p.Width] }

// Color is an opaque 8-bit colour: red, green, blue.
type Color [3]uint8

// White is the background to evaluate on.
var White = Color{255, 255, 255}

// ToRGB sets dst to img over a background:
//
//	dst = α·img + (1−α)·background, rounded to 8 bits
//
// Alpha is never dropped: what lies under transparent pixels is often black,
// and dark drawings would vanish in it.
//
// Memory: dst is reset to the size of img and keeps its memory if that suffices.
func ToRGB(dst *RGB, img image.Image, background Color) {
	b := img.Bounds()
	dst.Reset(b.Dx(), b.Dy())
	switch img := img.(type) {
	case *image.Paletted: // every emoji, and most GIF: composite the palette, then look up
		palettedToRGB(dst, img, background)
	case *image.NRGBA:
		for y := range dst.Height {
			src, out := img.Pix[img.PixOffset(b.Min.X, b.Min.Y+y):], dst.row(y)
			for x := range dst.Width {
				c := over(color.NRGBA{src[4*x], src[4*x+1], src[4*x+2], src[4*x+3]}, background)
				copy(out[3*x:3*x+3], c[:])
			}
		}
	case *image.YCbCr: // most JPEG
		for y := range dst.Height {
			out := dst.row(y)
			for x := range dst.Width {
				i, j := img.YOffset(b.Min.X+x, b.Min.Y+y), img.COffset(b.Min.X+x, b.Min.Y+y)
				out[3*x], out[3*x+1], out[3*x+2] = color.YCbCrToRGB(img.Y[i], img.Cb[j], img.Cr[j])
			}
		}
	case image.RGBA64Image: // the rest of the standard library
		for y := range dst.Height {
			out := dst.row(y)
			for x := range dst.Width {
				c := over16(img.RGBA64At(b.Min.X+x, b.Min.Y+y), background)
				copy(out[3*x:3*x+3], c[:])
			}
		}
	default:
		for y := range dst.Height {
			out := dst.row(y)
			for x := range dst.Width {
				c := over16(color.RGBA64Model.Convert(img.At(b.Min.X+x, b.Min.Y+y)).(color.RGBA64), background)
				copy(out[3*x:3*x+3], c[:])
			}
		}
	}
}

func palettedToRGB(dst *RGB, img *image.Paletted, background Color) {
	var table [256]Color
	for i, c := range img.Palette {
		if n, ok := c.(color.NRGBA); ok {
			table[i] = over(n, background)
			continue
		}
		r, g, b, a := c.RGBA()
		table[i] = over16(color.RGBA64{uint16(r), uint16(g), uint16(b), uint16(a)}, background)
	}
	for y := range dst.Height {
		src, out := img.Pix[y*img.Stride:], dst.row(y)
		for x := range dst.Width {
			copy(out[3*x:3*x+3], table[src[x]][:])
		}
	}
}

// over composites a colour with straight alpha, as Pillow's alpha_composite.
func over(c color.NRGBA, background Color) Color {
	mix := func(front, back uint8) uint8 {
		return uint8((uint32(c.A)*uint32(front) + uint32(255-c.A)*uint32(back) + 127) / 255)
	}
	return Color{mix(c.R, background[0]), mix(c.G, background[1]), mix(c.B, background[2])}
}

// over16 composites a 16-bit colour with premultiplied alpha. An opaque one is cut
// to its upper half, as Go's and Pillow's own conversions do: so a JPEG gives the
// same pixels through its EXIF orientation as without.
func over16(c color.RGBA64, background Color) Color {
	if c.A == 0xffff {
		return Color{uint8(c.R >> 8), uint8(c.G >> 8), uint8(c.B >> 8)}
	}
	mix := func(front uint16, back uint8) uint8 {
		return uint8(min(255, (uint64(front)*255+uint64(65535-c.A)*uint64(back)+32767)/65535))
	}
	return Color{mix(c.R, background[0]), mix(c.G, background[1]), mix(c.B, background[2])}
}

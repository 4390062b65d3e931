package imagefile

import "image"

// smoothChroma returns a JPEG with as many samples of colour as of brightness:
// those of a subsampled one are interpolated as libjpeg does it, and with it
// Pillow, torchvision and browsers. Go's own conversion repeats the nearest sample,
// which is off by up to a hundred steps at edges. Other pictures come back as they
// are, and ratios that libjpeg repeats as well.
//
// A sample lies in the middle of those it stands for, so that each output is
// three parts of the nearer and one of the farther: (3a + b)/4 along each axis.
//
// Source: libjpeg-turbo, jdsample.c.
func smoothChroma(img image.Image) image.Image {
	src, ok := img.(*image.YCbCr)
	if !ok {
		return img
	}
	var fill func(dst []uint8, width, height int, src []uint8, stride int)
	switch src.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		fill = doubleWidth
	case image.YCbCrSubsampleRatio420:
		fill = func(dst []uint8, width, height int, src []uint8, stride int) {
			doubleBoth(dst, width, height, src, stride, 1)
		}
	case image.YCbCrSubsampleRatio440:
		fill = doubleHeight
	default:
		return img
	}
	width, height := src.Rect.Dx(), src.Rect.Dy()
	if src.SubsampleRatio != image.YCbCrSubsampleRatio440 && (width+1)/2 <= 2 { // libjpeg repeats here
		return img
	}
	dst := &image.YCbCr{Y: src.Y, YStride: src.YStride, CStride: width, Rect: src.Rect,
		Cb: make([]uint8, width*height), Cr: make([]uint8, width*height)}
	fill(dst.Cb, width, height, src.Cb, src.CStride)
	fill(dst.Cr, width, height, src.Cr, src.CStride)
	return dst
}

// doubleWidth sets dst [height, width] from src [height, ⌈width/2⌉].
func doubleWidth(dst []uint8, width, height int, src []uint8, stride int) {
	n := (width + 1) / 2
	for y := range height {
		in, out := src[y*stride:][:n], dst[y*width:][:width]
		for x := range out {
			a := int(in[x/2])
			switch b := neighbour(x, n); {
			case b < 0:
				out[x] = uint8(a)
			case x%2 == 0: // 1 and 2 by turns, so that the mean stays
				out[x] = uint8((3*a + int(in[b]) + 1) >> 2)
			default:
				out[x] = uint8((3*a + int(in[b]) + 2) >> 2)
			}
		}
	}
}

// doubleHeight sets dst [height, width] from src [⌈height/2⌉, width].
func doubleHeight(dst []uint8, width, height int, src []uint8, stride int) {
	for y := range height {
		near, far := rows(src, stride, width, y, height)
		out := dst[y*width:][:width]
		for x := range out {
			out[x] = uint8((3*int(near[x]) + int(far[x]) + 1 + y%2) >> 2)
		}
	}
}

// doubleBoth sets dst [height, width] from src [⌈height/2⌉, ⌈width/2⌉]; of a half,
// odd is taken away in odd columns before it rounds.
func doubleBoth(dst []uint8, width, height int, src []uint8, stride, odd int) {
	n := (width + 1) / 2
	sums := make([]int, n)
	for y := range height {
		near, far := rows(src, stride, n, y, height)
		for x := range sums {
			sums[x] = 3*int(near[x]) + int(far[x])
		}
		out := dst[y*width:][:width]
		for x := range out {
			a := sums[x/2]
			b := a // at the ends
			if at := neighbour(x, n); at >= 0 {
				b = sums[at]
			}
			out[x] = uint8((3*a + b + 8 - odd*(x%2)) >> 4)
		}
	}
}

// neighbour returns which of n samples is the farther one of output x, or −1 at
// the ends.
func neighbour(x, n int) int {
	at := x/2 - 1 + x%2*2
	if at >= n {
		return -1
	}
	return at
}

// rows returns the nearer and the farther row of samples of output y; at the ends
// they are the same.
func rows(src []uint8, stride, width, y, height int) (near, far []uint8) {
	at := neighbour(y, (height+1)/2)
	if at < 0 {
		at = y / 2
	}
	return src[y/2*stride:][:width], src[at*stride:][:width]
}

package imagefile

import "image"

// fromVP8 returns a lossy WebP as red, green and blue. Its colours are those of
// video, black at 16 and white at 235, with one sample of colour for four pixels;
// Go's decoder gives them as if they were a JPEG's, of too little contrast.
//
// Source: RFC 6386; libwebp, src/dsp/yuv.h and src/dsp/upsampling.c.
func fromVP8(img image.Image) image.Image {
	var src *image.YCbCr
	var alpha []uint8
	alphaStride := 0
	switch img := img.(type) {
	case *image.YCbCr:
		src = img
	case *image.NYCbCrA:
		src, alpha, alphaStride = &img.YCbCr, img.A, img.AStride
	default: // lossless
		return img
	}
	if src.SubsampleRatio != image.YCbCrSubsampleRatio420 {
		return img
	}
	width, height := src.Rect.Dx(), src.Rect.Dy()
	u, v := make([]uint8, width*height), make([]uint8, width*height)
	doubleBoth(u, width, height, src.Cb, src.CStride, 0)
	doubleBoth(v, width, height, src.Cr, src.CStride, 0)
	dst := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			out := dst.Pix[y*dst.Stride+4*x:][:4]
			luma := int(src.Y[y*src.YStride+x]) * 19077 >> 8 // 255/219, in parts of 2¹⁴
			cb, cr := int(u[y*width+x]), int(v[y*width+x])
			out[0] = clip6(luma + cr*26149>>8 - 14234)
			out[1] = clip6(luma - cb*6419>>8 - cr*13320>>8 + 8708)
			out[2] = clip6(luma + cb*33050>>8 - 17685)
			out[3] = 255
			if alpha != nil {
				out[3] = alpha[y*alphaStride+x]
			}
		}
	}
	return dst
}

// clip6 takes six binary places away.
func clip6(v int) uint8 { return uint8(min(max(v>>6, 0), 255)) }

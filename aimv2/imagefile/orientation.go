package imagefile

import (
	"bytes"
	"image"
	"image/color"

	"github.com/bep/imagemeta"
)

// metaFormats maps the formats that can carry EXIF to imagemeta's names.
var metaFormats = map[string]imagemeta.ImageFormat{
	"jpeg": imagemeta.JPEG,
	"png":  imagemeta.PNG,
	"webp": imagemeta.WebP,
	"tiff": imagemeta.TIFF,
}

// orientation returns the EXIF orientation (tag 0x0112), 1 to 8. Without the
// tag, with a value that EXIF does not define, or with damaged metadata it is
// 1: the picture itself has decoded, and is more likely upright than not.
func orientation(data []byte, format string) int {
	metaFormat, ok := metaFormats[format]
	if !ok {
		return 1
	}
	value := 1
	_, err := imagemeta.Decode(imagemeta.Options{
		R:           bytes.NewReader(data),
		ImageFormat: metaFormat,
		Sources:     imagemeta.EXIF,
		ShouldHandleTag: func(tag imagemeta.TagInfo) bool {
			// IFD1 describes the thumbnail, and may have an orientation too.
			return tag.Tag == "Orientation" && tag.Namespace == "IFD0"
		},
		HandleTag: func(tag imagemeta.TagInfo) error {
			if v, ok := tag.Value.(uint16); ok {
				value = int(v)
			}
			return imagemeta.ErrStopWalking
		},
	})
	if err != nil || value < 1 || value > 8 {
		return 1
	}
	return value
}

// upright returns img as it is meant to be seen, given its EXIF orientation.
func upright(img image.Image, orientation int) image.Image {
	if orientation == 1 {
		return img
	}
	return turned{img, orientation}
}

// turned views a picture under one of the eight orientations, without a copy:
// every picture is read once, by the conversion that follows.
type turned struct {
	image.Image
	orientation int
}

func (t turned) Bounds() image.Rectangle {
	size := t.Image.Bounds().Size()
	if t.orientation >= 5 { // 5 to 8 lie on their side
		size.X, size.Y = size.Y, size.X
	}
	return image.Rectangle{Max: size}
}

// At returns the pixel that lies at (x, y) once upright.
func (t turned) At(x, y int) color.Color {
	x, y = t.stored(x, y)
	return t.Image.At(x, y)
}

// RGBA64At is At without the allocation; it makes turned an image.RGBA64Image.
func (t turned) RGBA64At(x, y int) color.RGBA64 {
	x, y = t.stored(x, y)
	if img, ok := t.Image.(image.RGBA64Image); ok {
		return img.RGBA64At(x, y)
	}
	return color.RGBA64Model.Convert(t.Image.At(x, y)).(color.RGBA64)
}

// stored returns where the file holds the pixel that lies at (x, y) once
// upright. In the words of the EXIF standard, orientation 6 has its row 0 on
// the right-hand side and its column 0 at the top: so upright (x, y) is stored
// in column y, and in row height-1-x.
func (t turned) stored(x, y int) (int, int) {
	b := t.Image.Bounds()
	right, bottom := b.Dx()-1, b.Dy()-1
	switch t.orientation {
	case 2:
		x = right - x
	case 3:
		x, y = right-x, bottom-y
	case 4:
		y = bottom - y
	case 5:
		x, y = y, x
	case 6:
		x, y = y, bottom-x
	case 7:
		x, y = right-y, bottom-x
	case 8:
		x, y = right-y, x
	}
	return b.Min.X + x, b.Min.Y + y
}

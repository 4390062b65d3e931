// Package imagefile reads the picture files that people have: PNG, JPEG, GIF,
// WebP, BMP and TIFF, turned upright as their EXIF orientation says.
//
// The input is not trusted. Every bad file gives one error that names file and
// cause; none panics, and none may ask for more than MaxPixels of memory.
//
// The formats beyond the standard library's are golang.org/x/image's; EXIF is
// read by github.com/bep/imagemeta, which knows the tag in JPEG, PNG, WebP and
// TIFF, with limits on what it reads.
package imagefile

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/draw"
	_ "image/gif"
	_ "image/jpeg"
	_ "image/png"
	"io"
	"os"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"
)

// Extensions are the file name endings of the formats read here, in lower case.
var Extensions = []string{".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"}

// MaxPixels is the largest picture that is decoded: 100 megapixels, 400 MB in
// memory, or 800 MB with 16-bit channels. A file of a few kilobytes can claim far
// more.
const MaxPixels = 100_000_000

// Config is what the header of a picture file says, before orientation.
type Config struct {
	Format        string // "png", "jpeg", "gif", "webp", "bmp", "tiff"
	Width, Height int
}

// Open decodes the picture in a file. See Decode.
//
// Errors: name the file and the cause.
func Open(path string) (image.Image, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err // names path already
	}
	img, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return img, nil
}

// ReadConfig reads the header of a picture file, and refuses what Open would
// refuse by its header alone.
func ReadConfig(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, err
	}
	defer f.Close()
	c, err := decodeConfig(f)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Decode decodes a whole picture file and turns it upright. Alpha and depth
// stay as in the file. Of an animation it gives the first frame, on the whole
// canvas.
//
// Errors: an unknown format, a picture of more than MaxPixels, damaged data.
func Decode(data []byte) (img image.Image, err error) {
	// The decoders of x/image have had panics on hand-made files. One bad
	// picture must not end a training.
	defer func() {
		if cause := recover(); cause != nil {
			img, err = nil, fmt.Errorf("imagefile: damaged picture: decoder failed: %v", cause)
		}
	}()
	config, err := decodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	img, _, err = image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("imagefile: damaged %s picture: %w", config.Format, cut(err))
	}
	if config.Format == "gif" {
		img = onCanvas(img, config.Width, config.Height)
	}
	return upright(img, orientation(data, config.Format)), nil
}

// decodeConfig reads the header and checks the size it claims.
func decodeConfig(r io.Reader) (c Config, err error) {
	defer func() { // as in Decode: the same decoders read the header
		if cause := recover(); cause != nil {
			c, err = Config{}, fmt.Errorf("imagefile: damaged picture: decoder failed: %v", cause)
		}
	}()
	header, format, err := image.DecodeConfig(r)
	switch {
	case errors.Is(err, image.ErrFormat):
		return c, errors.New("imagefile: not a PNG, JPEG, GIF, WebP, BMP or TIFF picture")
	case err != nil && format != "":
		return c, fmt.Errorf("imagefile: damaged %s header: %w", format, cut(err))
	case err != nil:
		return c, fmt.Errorf("imagefile: damaged header: %w", cut(err))
	}
	c = Config{format, header.Width, header.Height}
	if c.Width <= 0 || c.Height <= 0 {
		return c, fmt.Errorf("imagefile: %s picture is empty: %dx%d", format, c.Width, c.Height)
	}
	if int64(c.Width)*int64(c.Height) > MaxPixels {
		return c, fmt.Errorf("imagefile: %s picture of %dx%d has more than %d pixels", format, c.Width, c.Height, MaxPixels)
	}
	return c, nil
}

// cut says in words what io.EOF and io.ErrUnexpectedEOF mean for a whole file.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the file ends too early")
	}
	return err
}

// onCanvas places a GIF frame, which may cover only a part of the picture, on
// the transparent canvas of the whole.
func onCanvas(frame image.Image, width, height int) image.Image {
	whole := image.Rect(0, 0, width, height)
	if frame.Bounds() == whole {
		return frame
	}
	canvas := image.NewNRGBA(whole)
	draw.Draw(canvas, frame.Bounds(), frame, frame.Bounds().Min, draw.Src)
	return canvas
}

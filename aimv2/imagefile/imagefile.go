// Package imagefile reads the picture files that people have: PNG, JPEG, GIF,
// WebP, BMP and TIFF, turned upright as their EXIF orientation says.
//
// The input is not trusted. Every bad file gives one error that names file and
// cause; none panics, and none may ask for more memory than MaxPixels and
// MaxBytes take.
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
	"io/fs"
	"os"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"
)

// Extensions are the file name endings of the formats read here, in lower case.
var Extensions = []string{".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"}

// MaxPixels is the largest picture that is decoded, the size at which Pillow warns
// of a decompression bomb: 358 MB in memory, or twice that with 16-bit channels. A
// file of a few kilobytes can claim far more.
const MaxPixels = (1 << 30) / 4 / 3

// MaxBytes is the largest file that is decoded, 1 GiB: a device or a pipe may
// have no end.
const MaxBytes = 1 << 30

var errFormat = errors.New("imagefile: not a PNG, JPEG, GIF, WebP, BMP or TIFF picture")

// Config is what the header of a picture file says, before orientation.
type Config struct {
	Format        string // "png", "jpeg", "gif", "webp", "bmp", "tiff"
	Width, Height int
}

// Open decodes the picture in a file. See Read.
//
// Errors: name the file and the cause.
func Open(path string) (image.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img, err := Read(f)
	if err != nil && !errors.As(err, new(*fs.PathError)) { // which names path already
		err = fmt.Errorf("%s: %w", path, err)
	}
	return img, err
}

// Read decodes the picture file that r gives, to its end. See Decode. What does
// not begin as a picture is not read further.
//
// Errors: those of r and of Decode; more than MaxBytes.
func Read(r io.Reader) (image.Image, error) { return readUpTo(r, MaxBytes) }

// readUpTo is Read of at most that many bytes.
func readUpTo(r io.Reader, most int64) (image.Image, error) {
	const begin = 4 << 10
	var data bytes.Buffer
	if _, err := io.CopyN(&data, r, begin); err != nil && err != io.EOF {
		return nil, err
	}
	if _, err := decodeConfig(bytes.NewReader(data.Bytes())); errors.Is(err, errFormat) {
		return nil, err
	}
	if _, err := data.ReadFrom(io.LimitReader(r, most-begin+1)); err != nil {
		return nil, err
	}
	if int64(data.Len()) > most {
		return nil, fmt.Errorf("imagefile: a file of more than %d bytes", most)
	}
	return Decode(data.Bytes())
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
// stay as in the file. Colours are those that libjpeg and libwebp give, but for a
// step or two where Go's JPEG decoder rounds otherwise. Of an animation it gives the first frame, on the whole
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
	switch config.Format {
	case "gif":
		img = onCanvas(img, config.Width, config.Height)
	case "jpeg":
		img = smoothChroma(img)
	case "webp":
		img = fromVP8(img)
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
		return c, errFormat
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

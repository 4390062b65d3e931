package imagefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func decode(t *testing.T, data []byte) image.Image {
	t.Helper()
	img, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// mustShow fails unless got shows want: each channel, as 16-bit premultiplied
// colour, within tolerance.
func mustShow(t *testing.T, got, want image.Image, tolerance int) {
	t.Helper()
	g, w := got.Bounds(), want.Bounds()
	if g.Size() != w.Size() {
		t.Fatalf("picture is %v, want %v", g.Size(), w.Size())
	}
	for y := range w.Dy() {
		for x := range w.Dx() {
			a := color.RGBA64Model.Convert(got.At(g.Min.X+x, g.Min.Y+y)).(color.RGBA64)
			b := color.RGBA64Model.Convert(want.At(w.Min.X+x, w.Min.Y+y)).(color.RGBA64)
			for _, d := range []int{int(a.R) - int(b.R), int(a.G) - int(b.G), int(a.B) - int(b.B), int(a.A) - int(b.A)} {
				if max(d, -d) > tolerance {
					t.Fatalf("pixel (%d,%d) is %v, want %v", x, y, a, b)
				}
			}
		}
	}
}

// exifSegment is a JPEG APP1 segment with the orientation as its only tag.
func exifSegment(order binary.AppendByteOrder, value uint16) []byte {
	mark := "II"
	if order == binary.AppendByteOrder(binary.BigEndian) {
		mark = "MM"
	}
	tiff := []byte(mark)
	tiff = order.AppendUint16(tiff, 42)
	tiff = order.AppendUint32(tiff, 8)      // offset of IFD0
	tiff = order.AppendUint16(tiff, 1)      // one tag
	tiff = order.AppendUint16(tiff, 0x0112) // Orientation
	tiff = order.AppendUint16(tiff, 3)      // SHORT
	tiff = order.AppendUint32(tiff, 1)      // count
	tiff = order.AppendUint16(tiff, value)
	tiff = order.AppendUint16(tiff, 0) // padding of the value
	tiff = order.AppendUint32(tiff, 0) // no IFD1
	body := append([]byte("Exif\x00\x00"), tiff...)
	segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(body)+2))
	return append(segment, body...)
}

// withOrientation inserts an EXIF orientation into a JPEG.
func withOrientation(jpeg []byte, order binary.AppendByteOrder, value uint16) []byte {
	out := append([]byte{}, jpeg[:2]...) // start of image
	out = append(out, exifSegment(order, value)...)
	return append(out, jpeg[2:]...)
}

// flipped and transposed build every orientation from two moves, without the
// arithmetic of the code under test.
func flipped(img image.Image) image.Image {
	b := img.Bounds()
	out := image.NewRGBA64(image.Rect(0, 0, b.Dx(), b.Dy()))
	for y := range b.Dy() {
		for x := range b.Dx() {
			out.Set(b.Dx()-1-x, y, img.At(b.Min.X+x, b.Min.Y+y))
		}
	}
	return out
}

func transposed(img image.Image) image.Image {
	b := img.Bounds()
	out := image.NewRGBA64(image.Rect(0, 0, b.Dy(), b.Dx()))
	for y := range b.Dy() {
		for x := range b.Dx() {
			out.Set(y, x, img.At(b.Min.X+x, b.Min.Y+y))
		}
	}
	return out
}

// What must be done to the stored picture to see it upright, per the EXIF
// standard (and Pillow's ImageOps.exif_transpose).
var toUpright = [9]func(image.Image) image.Image{
	1: func(p image.Image) image.Image { return p },
	2: flipped,
	3: func(p image.Image) image.Image { return transposed(flipped(transposed(flipped(p)))) }, // half turn
	4: func(p image.Image) image.Image { return transposed(flipped(transposed(p))) },          // top to bottom
	5: transposed,
	6: func(p image.Image) image.Image { return flipped(transposed(p)) },          // quarter turn clockwise
	7: func(p image.Image) image.Image { return flipped(transposed(flipped(p))) }, // other diagonal
	8: func(p image.Image) image.Image { return transposed(flipped(p)) },          // quarter turn counter-clockwise
}

func TestOrientation(t *testing.T) {
	photo := read(t, "video-001.jpeg")
	raw := decode(t, photo)
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for value := uint16(1); value <= 8; value++ {
			mustShow(t, decode(t, withOrientation(photo, order, value)), toUpright[value](raw), 0)
		}
		for _, invalid := range []uint16{0, 9, 65535} {
			mustShow(t, decode(t, withOrientation(photo, order, invalid)), raw, 0)
		}
	}
}

// The upper left corner of the upright picture, in words of the standard, so
// that toUpright is not its own witness: where row 0 and column 0 are seen.
func TestOrientationCorners(t *testing.T) {
	stored := image.NewGray(image.Rect(0, 0, 3, 2)) // 0 1 2 / 3 4 5
	for i := range stored.Pix {
		stored.Pix[i] = uint8(i)
	}
	for value, want := range map[int][]uint8{
		1: {0, 1, 2, 3, 4, 5}, // row 0 top, column 0 left
		2: {2, 1, 0, 5, 4, 3}, // top, right
		3: {5, 4, 3, 2, 1, 0}, // bottom, right
		4: {3, 4, 5, 0, 1, 2}, // bottom, left
		5: {0, 3, 1, 4, 2, 5}, // left, top
		6: {3, 0, 4, 1, 5, 2}, // right, top
		7: {5, 2, 4, 1, 3, 0}, // right, bottom
		8: {2, 5, 1, 4, 0, 3}, // left, bottom
	} {
		seen := upright(stored, value)
		var got []uint8
		for y := range seen.Bounds().Dy() {
			for x := range seen.Bounds().Dx() {
				got = append(got, color.GrayModel.Convert(seen.At(x, y)).(color.Gray).Y)
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("orientation %d shows %v, want %v", value, got, want)
		}
	}
}

// A picture with metadata that cannot be parsed is still a picture.
func TestDamagedEXIF(t *testing.T) {
	photo := read(t, "video-001.jpeg")
	turned := withOrientation(photo, binary.LittleEndian, 6)
	damaged := bytes.Replace(turned, []byte("II*\x00"), []byte("XX*\x00"), 1)
	mustShow(t, decode(t, damaged), decode(t, photo), 0)
}

func TestFormats(t *testing.T) {
	photo := decode(t, read(t, "video-001.jpeg"))
	rgba := image.NewRGBA(photo.Bounds())
	draw.Draw(rgba, rgba.Bounds(), photo, photo.Bounds().Min, draw.Src)

	var b, tf bytes.Buffer
	if err := bmp.Encode(&b, rgba); err != nil {
		t.Fatal(err)
	}
	if err := tiff.Encode(&tf, rgba, &tiff.Options{Compression: tiff.Deflate}); err != nil {
		t.Fatal(err)
	}
	const lossy = 10 << 8 // a JPEG against a PNG of it by another decoder
	for _, c := range []struct {
		name      string
		data      []byte
		want      image.Image
		tolerance int
	}{
		{"bmp", b.Bytes(), rgba, 0},
		{"tiff", tf.Bytes(), rgba, 0},
		{"webp", read(t, "gopher-doc.4bpp.lossless.webp"), decode(t, read(t, "gopher-doc.4bpp.png")), 0},
		{"lossy webp", read(t, "lossy.webp"), decode(t, read(t, "lossy.webp.png")), 0},
		{"lossy webp with alpha", read(t, "lossy-alpha.webp"), decode(t, read(t, "lossy-alpha.webp.png")), 0},
		{"CMYK jpeg", read(t, "video-001.cmyk.jpeg"), decode(t, read(t, "video-001.cmyk.png")), lossy},
		{"interlaced gif", read(t, "video-001.interlaced.gif"), decode(t, read(t, "video-001.gif")), 0},
	} {
		t.Run(c.name, func(t *testing.T) { mustShow(t, decode(t, c.data), c.want, c.tolerance) })
	}
}

// Depth and alpha must survive decoding: what follows composites them.
func TestDepthAndAlphaStay(t *testing.T) {
	if _, ok := decode(t, read(t, "basn6a16.png")).(*image.NRGBA64); !ok {
		t.Error("16-bit PNG with alpha lost its depth")
	}
	if _, ok := decode(t, read(t, "video-005.gray.jpeg")).(*image.Gray); !ok {
		t.Error("grey JPEG is not grey")
	}
	clear := false
	img := decode(t, read(t, "basn3p08-trns.png"))
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			_, _, _, a := img.At(x, y).RGBA()
			clear = clear || a < 0xffff
		}
	}
	if !clear {
		t.Error("palette with tRNS decodes without transparent pixels")
	}
}

// The first frame of an animation may be smaller than the picture.
func TestGIFFrameOnCanvas(t *testing.T) {
	red := color.RGBA{255, 0, 0, 255}
	frame := image.NewPaletted(image.Rect(1, 2, 3, 4), color.Palette{red})
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, &gif.GIF{
		Image: []*image.Paletted{frame}, Delay: []int{0},
		Config: image.Config{ColorModel: frame.Palette, Width: 5, Height: 6},
	}); err != nil {
		t.Fatal(err)
	}
	want := image.NewNRGBA(image.Rect(0, 0, 5, 6))
	draw.Draw(want, frame.Rect, image.NewUniform(red), image.Point{}, draw.Src)
	mustShow(t, decode(t, b.Bytes()), want, 0)
}

// bomb is the start of a PNG that claims width x height pixels.
func bomb(width, height uint32) []byte {
	header := binary.BigEndian.AppendUint32([]byte("IHDR"), width)
	header = binary.BigEndian.AppendUint32(header, height)
	header = append(header, 8, 2, 0, 0, 0)
	png := binary.BigEndian.AppendUint32([]byte("\x89PNG\r\n\x1a\n"), uint32(len(header)-4))
	png = append(png, header...)
	return binary.BigEndian.AppendUint32(png, crc32.ChecksumIEEE(header))
}

func TestErrors(t *testing.T) {
	jpeg := read(t, "video-001.jpeg")
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty.png", nil, "not a PNG"},
		{"text.png", []byte("hello, this is no picture"), "not a PNG"},
		{"header.jpg", jpeg[:10], "header"},
		{"half.jpg", jpeg[:len(jpeg)/2], "damaged jpeg"},
		{"half.png", read(t, "basn6a16.png")[:2000], "damaged png"},
		{"half.gif", read(t, "video-001.gif")[:5000], "damaged gif"},
		{"half.webp", read(t, "gopher-doc.4bpp.lossless.webp")[:1000], "damaged webp"},
		{"bomb.png", bomb(50_000, 50_000), "more than 89478485 pixels"},
		{"100 megapixels.png", bomb(10_000, 10_000), "picture of 10000x10000 has more than 89478485 pixels"},
		{"2^31 rows.png", bomb(1, 1<<31-1), "has more than 89478485 pixels"},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(path, c.data, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %q lacks the path or %q", c.name, err, c.want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "missing.png")); err == nil || !strings.Contains(err.Error(), "missing.png") {
		t.Errorf("missing file gave %v", err)
	}
}

// A header alone must not take memory for the pixels that it claims.
func TestBombTakesNoMemory(t *testing.T) {
	for _, size := range [][2]uint32{{10_000, 10_000}, {1<<31 - 1, 1<<31 - 1}} {
		data := bomb(size[0], size[1])
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(data)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; err == nil || n > 1<<20 {
			t.Errorf("%v: error %v, %d bytes", size, err, n)
		}
	}
}

// One colour stays one colour, and a step of brightness between two samples of
// colour becomes libjpeg's 3:1 mixtures.
func TestSmoothChroma(t *testing.T) {
	for _, ratio := range []image.YCbCrSubsampleRatio{image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio440} {
		for _, size := range [][2]int{{1, 1}, {4, 3}, {5, 5}, {8, 1}, {1, 8}, {17, 6}} {
			img := image.NewYCbCr(image.Rect(0, 0, size[0], size[1]), ratio)
			for i := range img.Cb {
				img.Cb[i], img.Cr[i] = 77, 201
			}
			smooth := smoothChroma(img).(*image.YCbCr)
			for y := range size[1] {
				for x := range size[0] {
					if at := smooth.COffset(x, y); smooth.Cb[at] != 77 || smooth.Cr[at] != 201 {
						t.Fatalf("%v %v: (%d,%d) is %d, %d", ratio, size, x, y, smooth.Cb[at], smooth.Cr[at])
					}
				}
			}
		}
	}
	img := image.NewYCbCr(image.Rect(0, 0, 7, 2), image.YCbCrSubsampleRatio422)
	copy(img.Cb, []uint8{0, 100, 200, 200, 0, 100, 200, 200})
	if got, want := smoothChroma(img).(*image.YCbCr).Cb[:7], []uint8{0, 25, 75, 125, 175, 200, 200}; !bytes.Equal(got, want) {
		t.Errorf("0 100 200 200 becomes %v, want %v", got, want)
	}
	column := image.NewYCbCr(image.Rect(0, 0, 1, 4), image.YCbCrSubsampleRatio440)
	copy(column.Cb, []uint8{0, 100})
	if got, want := smoothChroma(column).(*image.YCbCr).Cb, []uint8{0, 25, 75, 100}; !bytes.Equal(got, want) {
		t.Errorf("0 100 below each other becomes %v, want %v", got, want)
	}
}

// No prefix of a file may panic or hang.
func TestTruncatedAnywhere(t *testing.T) {
	for _, name := range []string{"basn3p08-trns.png", "gopher-doc.4bpp.lossless.webp", "video-005.gray.jpeg"} {
		data := read(t, name)
		for n := 0; n < len(data)-16; n += 37 {
			if _, err := Decode(data[:n]); err == nil {
				t.Errorf("%s cut to %d of %d bytes decodes", name, n, len(data))
			}
		}
	}
}

// Run it with -fuzzminimizetime 1x: Go would spend its time on shortening pictures.
func FuzzDecode(f *testing.F) {
	f.Add(withOrientation(read(f, "video-001.jpeg"), binary.BigEndian, 6))
	for _, name := range []string{"basn3p08-trns.png", "gopher-doc.4bpp.lossless.webp", "video-001.interlaced.gif"} {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeConfig(bytes.NewReader(data))
		if err != nil || c.Width*c.Height > 1<<20 {
			t.Skip() // large pictures only slow the search down
		}
		Decode(data) // must not panic
	})
}

// endless is a device without an end; it counts what is read.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	clear(p)
	e.n += len(p)
	return len(p), nil
}

// TestReadIsBounded reads what has no end: no picture at all, and one with a
// tail. An error of the reader comes back as it is.
func TestReadIsBounded(t *testing.T) {
	var zeros endless
	if _, err := Read(&zeros); err != errFormat {
		t.Errorf("zeros: %v", err)
	}
	if zeros.n > 64<<10 {
		t.Errorf("%d zeros were read to see that they are no picture", zeros.n)
	}
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 9, 9))); err != nil {
		t.Fatal(err)
	}
	const most = 100_000
	if _, err := readUpTo(io.MultiReader(bytes.NewReader(picture.Bytes()), &zeros), most); err == nil || !strings.Contains(err.Error(), "more than 100000 bytes") {
		t.Errorf("a picture with an endless tail: %v", err)
	}
	if _, err := readUpTo(io.MultiReader(bytes.NewReader(picture.Bytes()), bytes.NewReader(make([]byte, most-picture.Len()))), most); err != nil {
		t.Errorf("as long as allowed: %v", err)
	}
	boom := errors.New("boom")
	if _, err := Read(iotest.ErrReader(boom)); err != boom {
		t.Errorf("a reader that fails: %v", err)
	}
}

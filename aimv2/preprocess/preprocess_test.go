package preprocess

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func readPNG(t testing.TB, name string) image.Image {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func readRGB(t testing.TB, name string) RGB {
	t.Helper()
	var p RGB
	ToRGB(&p, readPNG(t, name), White)
	return p
}

// mustMatch allows one step in 255: weights may round otherwise where the
// machine fuses multiply and add.
func mustMatch(t *testing.T, name string, got, want RGB) {
	t.Helper()
	if got.Width != want.Width || got.Height != want.Height {
		t.Fatalf("%s: %dx%d, want %dx%d", name, got.Width, got.Height, want.Width, want.Height)
	}
	for y := range want.Height {
		g, w := got.row(y), want.row(y)
		for i := range w {
			if d := int(g[i]) - int(w[i]); d < -1 || d > 1 {
				t.Fatalf("%s: pixel (%d,%d) channel %d is %d, want %d", name, i/3, y, i%3, g[i], w[i])
			}
		}
	}
}

// spaced makes the name of a golden readable to Sscanf.
func spaced(name string) string {
	return strings.ReplaceAll(strings.TrimSuffix(name, ".png"), "_", " ")
}

// The goldens are Pillow's; testdata/golden.py wrote them.
func TestResizeEqualsPillow(t *testing.T) {
	input := readRGB(t, "input.png")
	goldens, _ := filepath.Glob("testdata/resize_*.png")
	if len(goldens) == 0 {
		t.Fatal("no goldens")
	}
	var s Scratch // one for all: nothing of one size may leak into the next
	for _, path := range goldens {
		name := filepath.Base(path)
		var w, h int
		var box Box
		if _, err := fmt.Sscanf(spaced(name), "resize %dx%d %g %g %g %g", &w, &h, &box.X0, &box.Y0, &box.X1, &box.Y1); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got RGB
		got.Reset(w, h)
		s.Resize(&got, input, box)
		mustMatch(t, name, got, readRGB(t, name))
	}
}

// A view must give what a copy of its pixels gives.
func TestResizeOfCrop(t *testing.T) {
	input := readRGB(t, "input.png")
	view := input.Crop(7, 5, 30, 20)
	var lone RGB
	lone.Reset(30, 20)
	for y := range 20 {
		copy(lone.row(y), view.row(y))
	}
	var s Scratch
	var a, b RGB
	a.Reset(48, 48)
	b.Reset(48, 48)
	s.Resize(&a, view, Box{0, 0, 30, 20})
	s.Resize(&b, lone, Box{0, 0, 30, 20})
	if !bytes.Equal(a.Pix, b.Pix) {
		t.Error("a view and its copy resize differently")
	}
}

func TestEvalEqualsCLIPImageProcessor(t *testing.T) {
	const size = 32
	want := readRGB(t, "clip_32.png")
	got := make([]float32, 3*size*size)
	Eval{Size: size, Norm: CLIP}.Apply(got, readRGB(t, "input.png"), new(Scratch))
	for c := range 3 {
		for y := range size {
			for x := range size {
				v := float64(want.row(y)[3*x+c])
				exact := (v/255 - float64(CLIP.Mean[c])) / float64(CLIP.Std[c])
				step := 1 / 255.0 / float64(CLIP.Std[c])
				if d := math.Abs(float64(got[(c*size+y)*size+x]) - exact); d > 1.001*step {
					t.Fatalf("channel %d, pixel (%d,%d) is %g, want %g", c, x, y, got[(c*size+y)*size+x], exact)
				}
			}
		}
	}
}

func TestEvalPortraitAndLandscape(t *testing.T) {
	for _, size := range [][2]int{{10, 30}, {30, 10}, {5, 7}, {48, 48}, {1, 100}} {
		var p RGB
		p.Reset(size[0], size[1])
		for i := range p.Pix {
			p.Pix[i] = 255
		}
		dst := make([]float32, 3*16*16)
		for _, shortest := range []int{0, 19} {
			clear(dst)
			Eval{Shortest: shortest, Size: 16, Norm: Norm{Std: [3]float32{1, 1, 1}}}.Apply(dst, p, new(Scratch))
			for i, v := range dst {
				if v != 1 {
					t.Fatalf("%v: white picture has value %g at %d", size, v, i)
				}
			}
		}
	}
}

// TestEvalVeryLong: a few bytes of PNG may claim a line of millions of pixels.
// The middle is what counts, and memory stays within reason.
func TestEvalVeryLong(t *testing.T) {
	const long, size = 2_000_000, 32
	for _, upright := range []bool{false, true} {
		line := RGB{Width: long, Height: 1, Stride: 3 * long, Pix: make([]uint8, 3*long)}
		if upright {
			line = RGB{Width: 1, Height: long, Stride: 3, Pix: line.Pix}
		}
		for i := 3 * (long/2 - 8); i < 3*(long/2+8); i++ {
			line.Pix[i] = 255
		}
		var s Scratch
		got := make([]float32, 3*size*size)
		Eval{Size: size, Norm: Norm{Std: [3]float32{1, 1, 1}}}.Apply(got, line, &s)
		for i, v := range got {
			if v < 0.999 {
				t.Fatalf("upright %v: value %d of the middle is %g, want 1", upright, i, v)
			}
		}
		if n := cap(s.resized.Pix); n > 3*size*size*longest {
			t.Errorf("upright %v: %d bytes for %d pixels", upright, n, size*size)
		}
	}
}

func TestToRGBEqualsPillow(t *testing.T) {
	alpha := readPNG(t, "alpha.png")
	for _, back := range []Color{White, {12, 200, 77}} {
		name := fmt.Sprintf("over_%d_%d_%d.png", back[0], back[1], back[2])
		var got RGB
		ToRGB(&got, alpha, back)
		mustMatch(t, name, got, readRGB(t, name))
	}
}

// plain hides the type of a picture, to reach the path of foreign pictures.
type plain struct{ image.Image }

// The same picture must give the same RGB in every memory layout that can hold
// it, also where it does not start at (0, 0).
func TestToRGBLayouts(t *testing.T) {
	bounds := image.Rect(3, 2, 11, 8)
	palette := color.Palette{color.NRGBA{}, color.NRGBA{255, 0, 0, 255}, color.NRGBA{0, 90, 255, 102}, color.NRGBA{9, 8, 7, 255}}
	paletted := image.NewPaletted(bounds, palette)
	nrgba, nrgba64, rgba64 := image.NewNRGBA(bounds), image.NewNRGBA64(bounds), image.NewRGBA64(bounds)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			paletted.SetColorIndex(x, y, uint8((x+2*y)%4))
			for _, img := range []draw.Image{nrgba, nrgba64, rgba64} {
				img.Set(x, y, paletted.At(x, y))
			}
		}
	}
	back := Color{200, 100, 50}
	var want, got RGB
	ToRGB(&want, paletted, back)
	for name, img := range map[string]image.Image{
		"nrgba": nrgba, "nrgba64": nrgba64, "rgba64": rgba64, "plain": plain{nrgba},
		"sub-picture": nrgba.SubImage(bounds),
	} {
		ToRGB(&got, img, back)
		mustMatch(t, name, got, want)
	}
	if c := want.row(0)[3*1 : 3*1+3]; (3+1+2*2)%4 != 0 || !bytes.Equal(c, back[:]) {
		t.Errorf("a transparent pixel shows %v, want the background %v", c, back)
	}
}

func TestToRGBGreyAndYCbCr(t *testing.T) {
	grey := image.NewGray16(image.Rect(0, 0, 2, 1))
	grey.SetGray16(0, 0, color.Gray16{0xffff})
	grey.SetGray16(1, 0, color.Gray16{0x8080})
	var got RGB
	ToRGB(&got, grey, Color{1, 2, 3})
	if want := []uint8{255, 255, 255, 128, 128, 128}; !bytes.Equal(got.Pix, want) {
		t.Errorf("16-bit grey gives %v, want %v", got.Pix, want)
	}
	ycc := image.NewYCbCr(image.Rect(0, 0, 3, 3), image.YCbCrSubsampleRatio420)
	for i := range ycc.Y {
		ycc.Y[i] = uint8(20 * i)
	}
	for i := range ycc.Cb {
		ycc.Cb[i], ycc.Cr[i] = uint8(90+20*i), uint8(200-20*i)
	}
	var want RGB
	part := ycc.SubImage(image.Rect(1, 1, 3, 3))
	ToRGB(&got, part, White)
	ToRGB(&want, plain{part}, White)
	if !bytes.Equal(got.Pix, want.Pix) {
		t.Errorf("4:2:0: %v, as a plain picture %v", got.Pix, want.Pix)
	}
}

func TestNormFlip(t *testing.T) {
	src := RGB{2, 1, 6, []uint8{0, 51, 102, 255, 204, 153}}
	n := Norm{Mean: [3]float32{0, 0.2, 0.4}, Std: [3]float32{1, 0.5, 2}}
	got := make([]float32, 6)
	for _, c := range []struct {
		flip bool
		want []float32
	}{
		{false, []float32{0, 1, 0, 1.2, 0, 0.1}},
		{true, []float32{1, 0, 1.2, 0, 0.1, 0}},
	} {
		n.Apply(got, src, c.flip)
		for i := range got {
			if d := math.Abs(float64(got[i] - c.want[i])); d > 1e-6 {
				t.Errorf("flip %v: value %d is %g, want %g", c.flip, i, got[i], c.want[i])
			}
		}
	}
}

// Crops stay inside the picture, and keep the promised area and ratio but for
// the rounding to pixels.
func TestCropIsWithinScaleAndRatio(t *testing.T) {
	a := Augment{Scale: [2]float64{0.2, 0.9}, Ratio: [2]float64{3.0 / 4, 4.0 / 3}}
	r := rand.New(rand.NewPCG(1, 2))
	var meanArea float64
	const draws = 2000
	for range draws {
		x, y, w, h := a.crop(400, 300, r)
		if x < 0 || y < 0 || w <= 0 || h <= 0 || x+w > 400 || y+h > 300 {
			t.Fatalf("crop %d,%d %dx%d leaves 400x300", x, y, w, h)
		}
		area, ratio := float64(w*h)/(400*300), float64(w)/float64(h)
		if area < 0.19 || area > 0.91 || ratio < 0.74 || ratio > 1.35 {
			t.Fatalf("crop %dx%d has area %.3f and ratio %.3f", w, h, area, ratio)
		}
		meanArea += area / draws
	}
	if math.Abs(meanArea-0.53) > 0.05 { // a little under 0.55: large crops fail more often
		t.Errorf("mean area %.3f, want about 0.53", meanArea)
	}
	// No crop of this ratio fits: the centre.
	for _, size := range [][2]int{{1000, 2}, {2, 1000}} {
		x, y, w, h := a.crop(size[0], size[1], r)
		if x < 0 || y < 0 || w <= 0 || h <= 0 || x+w > size[0] || y+h > size[1] {
			t.Errorf("crop %d,%d %dx%d leaves %v", x, y, w, h, size)
		}
	}
}

// A mirror image must never be shown under a caption that names a side.
func TestAugmentFlips(t *testing.T) {
	a := Augment{Size: 2, Scale: [2]float64{1, 1}, Ratio: [2]float64{1, 1}, Flip: 0.5, Norm: Norm{Std: [3]float32{1, 1, 1}}}
	src := RGB{2, 2, 6, []uint8{0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255}}
	dst := make([]float32, 12)
	for caption, mayFlip := range map[string]bool{"fox": true, "left arrow": false} {
		r := rand.New(rand.NewPCG(1, 2))
		flips := 0
		for range 400 {
			a.Apply(dst, src, caption, r, new(Scratch))
			if dst[0] == 1 {
				flips++
			}
		}
		if mayFlip && (flips < 150 || flips > 250) || !mayFlip && flips > 0 {
			t.Errorf("%q was mirrored %d times of 400", caption, flips)
		}
	}
}

func TestMirrorChanges(t *testing.T) {
	for caption, want := range map[string]bool{
		"fox": false, "": false, "bright sun": false, "wristwatch": false, "grapes": false, "🦊": false,
		"left arrow": true, "person running: facing right": true, "LEFT-facing fist": true, "clockwise vertical arrows": true,
		"three o’clock": true, "one-thirty": true, "waxing crescent moon": true, "flag: Ireland": true, "play button": true,
	} {
		if got := MirrorChanges(caption); got != want {
			t.Errorf("MirrorChanges(%q) = %v, want %v", caption, got, want)
		}
	}
}

// emoji48 is a picture of the size that training uses.
func emoji48() RGB {
	var p RGB
	p.Reset(48, 48)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range p.Pix {
		p.Pix[i] = uint8(r.IntN(256))
	}
	return p
}

func TestTrainingDoesNotAllocate(t *testing.T) {
	src, dst, s := emoji48(), make([]float32, 3*48*48), new(Scratch)
	r := rand.New(rand.NewPCG(1, 2))
	a := DefaultAugment(48, CLIP)
	a.Scale = [2]float64{1, 1} // the largest crops first, as the scratch grows with them
	a.Colour, a.Jitter, a.Rand = 1, DefaultJitter, RandAugment{Layers: 4, Magnitude: 9, Std: 0.5}
	for range 20 { // until every operation has had its turn
		a.Apply(dst, src, "fox", r, s)
	}
	if n := testing.AllocsPerRun(50, func() { a.Apply(dst, src, "fox with a hat", r, s) }); n != 0 {
		t.Errorf("Augment.Apply allocates %v times", n)
	}
	eval := Eval{Size: 48, Norm: CLIP}
	eval.Apply(dst, src, s)
	if n := testing.AllocsPerRun(50, func() { eval.Apply(dst, src, s) }); n != 0 {
		t.Errorf("Eval.Apply allocates %v times", n)
	}
	var out RGB
	img := image.NewPaletted(image.Rect(0, 0, 48, 48), color.Palette{color.NRGBA{1, 2, 3, 4}})
	ToRGB(&out, img, White)
	if n := testing.AllocsPerRun(50, func() { ToRGB(&out, img, White) }); n != 0 {
		t.Errorf("ToRGB allocates %v times", n)
	}
}

func BenchmarkAugment48(b *testing.B) {
	src, dst, s := emoji48(), make([]float32, 3*48*48), new(Scratch)
	r := rand.New(rand.NewPCG(1, 2))
	a := DefaultAugment(48, CLIP)
	for b.Loop() {
		a.Apply(dst, src, "fox", r, s)
	}
}

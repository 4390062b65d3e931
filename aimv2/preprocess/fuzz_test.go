package preprocess

import (
	"bytes"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"testing"
)

// fuzzPicture makes a picture of one of the kinds that decoders give, a view of a
// larger one whose strides and origin are not its own.
func fuzzPicture(kind uint8, width, height int, r *rand.Rand) image.Image {
	inner := image.Rect(0, 0, width, height).Add(image.Pt(r.IntN(9)-4, r.IntN(9)-4))
	outer := image.Rect(inner.Min.X-r.IntN(3), inner.Min.Y-r.IntN(3), inner.Max.X+r.IntN(3), inner.Max.Y+r.IntN(3))
	fill := func(planes ...[]uint8) {
		for _, p := range planes {
			for i := range p {
				p[i] = uint8(r.IntN(256))
			}
		}
	}
	switch kind % 8 {
	case 0:
		m := image.NewPaletted(outer, nil)
		for range 1 + r.IntN(256) {
			c := color.NRGBA{uint8(r.IntN(256)), uint8(r.IntN(256)), uint8(r.IntN(256)), uint8(r.IntN(256))}
			if r.IntN(2) == 0 {
				m.Palette = append(m.Palette, c)
			} else {
				m.Palette = append(m.Palette, color.RGBA64Model.Convert(c))
			}
		}
		for i := range m.Pix {
			m.Pix[i] = uint8(r.IntN(len(m.Palette)))
		}
		return m.SubImage(inner)
	case 1:
		m := image.NewNRGBA(outer)
		fill(m.Pix)
		return m.SubImage(inner)
	case 2:
		ratio := []image.YCbCrSubsampleRatio{image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420,
			image.YCbCrSubsampleRatio440, image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410}[r.IntN(6)]
		// Chroma is shared from even coordinates on, so negative ones would not do.
		m := image.NewYCbCr(outer.Add(image.Pt(8, 8)), ratio)
		fill(m.Y, m.Cb, m.Cr)
		return m.SubImage(inner.Add(image.Pt(8, 8)))
	case 3:
		m := image.NewNRGBA64(outer)
		fill(m.Pix)
		return m.SubImage(inner)
	case 4:
		m := image.NewGray(outer)
		fill(m.Pix)
		return m.SubImage(inner)
	case 5:
		m := image.NewCMYK(outer)
		fill(m.Pix)
		return m.SubImage(inner)
	case 6: // premultiplied: no channel is more than alpha
		m := image.NewRGBA(outer)
		fill(m.Pix)
		for i := 0; i < len(m.Pix); i += 4 {
			for k := range 3 {
				m.Pix[i+k] = min(m.Pix[i+k], m.Pix[i+3])
			}
		}
		return m.SubImage(inner)
	}
	m := image.NewNRGBA(outer)
	fill(m.Pix)
	return plain{m.SubImage(inner)}
}

// FuzzToRGB compares each pixel with α·img + (1−α)·background in float64, to one
// step of 255, and sees that the memory is used again.
func FuzzToRGB(f *testing.F) {
	f.Add(uint8(0), uint8(5), uint8(4), uint64(1))
	f.Fuzz(func(t *testing.T, kind, w, h uint8, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		width, height := int(w%40), int(h%40) // empty ones too
		img := fuzzPicture(kind, width, height, r)
		back := Color{uint8(r.IntN(256)), uint8(r.IntN(256)), uint8(r.IntN(256))}
		var got RGB
		got.Reset(1+r.IntN(50), 1+r.IntN(50))
		for i := range got.Pix {
			got.Pix[i] = 99
		}
		ToRGB(&got, img, back)
		b := img.Bounds()
		if got.Width != b.Dx() || got.Height != b.Dy() || len(got.Pix) != 3*b.Dx()*b.Dy() {
			t.Fatalf("%T %v becomes %dx%d of %d bytes", img, b, got.Width, got.Height, len(got.Pix))
		}
		for y := range got.Height {
			for x := range got.Width {
				red, green, blue, alpha := img.At(b.Min.X+x, b.Min.Y+y).RGBA()
				for c, front := range []uint32{red, green, blue} {
					want := float64(front)/257 + (1-float64(alpha)/0xffff)*float64(back[c])
					if d := float64(got.row(y)[3*x+c]) - want; math.Abs(d) > 1 {
						t.Fatalf("%T: pixel (%d,%d) channel %d is %d, want %.2f", img, x, y, c, got.row(y)[3*x+c], want)
					}
				}
			}
		}
	})
}

// fuzzRGB makes a picture and a view of the same pixels inside a larger one that
// is otherwise of another colour; and, of one colour, what every pixel is.
func fuzzRGB(width, height int, oneColour bool, r *rand.Rand) (lone, view RGB) {
	lone.Reset(width, height)
	for i := range lone.Pix {
		lone.Pix[i] = uint8(r.IntN(256))
		if oneColour {
			lone.Pix[i] = lone.Pix[i%3]
		}
	}
	var wide RGB
	x, y := r.IntN(4), r.IntN(4)
	wide.Reset(width+x+r.IntN(4), height+y+r.IntN(4))
	for i := range wide.Pix {
		wide.Pix[i] = uint8(r.IntN(256))
	}
	view = wide.Crop(x, y, width, height)
	for row := range height {
		copy(view.row(row), lone.row(row))
	}
	return lone, view
}

// mustBePixels checks that dst holds normalised 8-bit values, and, of a picture of
// one colour, that colour everywhere.
func mustBePixels(t *testing.T, dst []float32, size int, norm Norm, oneColour bool, colour []uint8) {
	t.Helper()
	for i, v := range dst {
		c := i / (size * size)
		pixel := (float64(v)*float64(norm.Std[c]) + float64(norm.Mean[c])) * 255
		if nearest := math.Round(pixel); !(math.Abs(pixel-nearest) < 0.01 && nearest >= 0 && nearest <= 255) || oneColour && nearest != float64(colour[c]) {
			t.Fatalf("value %d is %g, pixel %g of channel %d (one colour %t: %v)", i, v, pixel, c, oneColour, colour)
		}
	}
}

// plainResize is Resize along one axis in float64: each of out lines is a weighted
// mean of lines of pixels, rounded and cut to 8 bits.
func plainResize(lines [][]float64, in0, in1 float64, out int) (result [][]float64) {
	scale := (in1 - in0) / float64(out)
	stretch := max(scale, 1)
	for i := range out {
		center := in0 + (float64(i)+0.5)*scale
		sum, total := make([]float64, len(lines[0])), 0.0
		// Pillow's window: a pixel counts if its centre is within 2·stretch.
		for j := max(0, int(center-2*stretch+0.5)); j < min(len(lines), int(center+2*stretch+0.5)); j++ {
			d := math.Abs(float64(j)-center+0.5) / stretch
			w := 0.0
			if d < 1 {
				w = 1.5*d*d*d - 2.5*d*d + 1
			} else if d < 2 {
				w = -0.5*d*d*d + 2.5*d*d - 4*d + 2
			}
			total += w
			for k, v := range lines[j] {
				sum[k] += w * v
			}
		}
		for k := range sum {
			sum[k] = math.Round(min(max(sum[k]/total, 0), 255))
		}
		result = append(result, sum)
	}
	return result
}

// turned swaps rows and columns, pixel by pixel.
func turned(lines [][]float64) [][]float64 {
	out := make([][]float64, len(lines[0])/3)
	for x := range out {
		for _, line := range lines {
			out[x] = append(out[x], line[3*x:3*x+3]...)
		}
	}
	return out
}

// FuzzResize compares any size and box with two plain passes in float64, to a step
// for each pass (the rounded value between them is weighted again); and a view has
// the bits of a copy.
func FuzzResize(f *testing.F) {
	f.Add(uint8(9), uint8(7), uint8(9), uint8(5), uint8(0), uint64(1))
	f.Fuzz(func(t *testing.T, w, h, toW, toH, box uint8, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 5))
		width, height := 1+int(w%60), 1+int(h%60)
		lone, view := fuzzRGB(width, height, false, r)
		b := Box{0, 0, float32(width), float32(height)}
		if box&1 != 0 { // quarters of a pixel, which float32 has
			x, y := r.IntN(4*width), r.IntN(4*height)
			b = Box{float32(x) / 4, float32(y) / 4, float32(x+1+r.IntN(4*width-x)) / 4, float32(y+1+r.IntN(4*height-y)) / 4}
		}
		var s Scratch
		var got, same RGB
		got.Reset(1+int(toW%60), 1+int(toH%60))
		if box&2 != 0 {
			got.Reset(width, got.Height)
		}
		if box&4 != 0 {
			got.Reset(got.Width, height)
		}
		same.Reset(got.Width, got.Height)
		s.Resize(&got, lone, b)
		s.Resize(&same, view, b)
		if !bytes.Equal(got.Pix, same.Pix) {
			t.Fatal("a view and its copy resize differently")
		}
		var lines [][]float64
		for y := range height {
			line := make([]float64, 3*width)
			for i, v := range lone.row(y) {
				line[i] = float64(v)
			}
			lines = append(lines, line)
		}
		want := turned(plainResize(turned(lines), float64(b.X0), float64(b.X1), got.Width))
		want = plainResize(want, float64(b.Y0), float64(b.Y1), got.Height)
		for y := range want {
			for i, v := range want[y] {
				if d := math.Abs(float64(got.row(y)[i]) - v); d > 2 {
					t.Fatalf("%dx%d %v to %dx%d: pixel (%d,%d) channel %d is %d, want %g", width, height, b, got.Width, got.Height, i/3, y, i%3, got.row(y)[i], v)
				}
			}
		}
	})
}

// FuzzEval: whatever the size of a picture, a view and a copy give the same bits,
// values are pixels, one colour stays itself, and nothing is left of what the
// scratch memory was used for before.
func FuzzEval(f *testing.F) {
	f.Add(uint16(30), uint16(20), uint8(15), uint8(3), uint64(1), true)
	f.Fuzz(func(t *testing.T, w, h uint16, size, surplus uint8, seed uint64, oneColour bool) {
		width, height := 1+int(w%3000), 1+int(h%3000) // also a line
		if width*height > 20_000 {
			t.Skip("too slow")
		}
		r := rand.New(rand.NewPCG(seed, 2))
		e := Eval{Size: 1 + int(size%32), Norm: CLIP}
		if surplus > 0 {
			e.Shortest = e.Size + int(surplus%16)
		}
		lone, view := fuzzRGB(width, height, oneColour, r)
		var s Scratch
		a, b := make([]float32, 3*e.Size*e.Size), make([]float32, 3*e.Size*e.Size)
		e.Apply(a, lone, &s)
		_, other := fuzzRGB(1+r.IntN(60), 1+r.IntN(60), false, r)
		e.Apply(b, other, &s)
		e.Apply(b, view, &s)
		mustBePixels(t, a, e.Size, e.Norm, oneColour, lone.Pix)
		for i := range a {
			if a[i] != b[i] {
				t.Fatalf("value %d of the view is %g, of the copy %g", i, b[i], a[i])
			}
		}
		if max(width, height) <= longest*min(width, height) { // the definition, in plain steps
			shortest := max(e.Shortest, e.Size)
			var whole RGB
			whole.Reset(shortest*width/min(width, height), shortest*height/min(width, height))
			s.Resize(&whole, lone, Box{0, 0, float32(width), float32(height)})
			e.Norm.Apply(b, whole.Crop((whole.Width-e.Size)/2, (whole.Height-e.Size)/2, e.Size, e.Size), false)
			for i := range a {
				if a[i] != b[i] {
					t.Fatalf("value %d is %g, want %g", i, a[i], b[i])
				}
			}
		}
		if limit := 3 * (e.Size + 16) * (e.Size + 16) * longest; cap(s.resized.Pix) > limit {
			t.Fatalf("%d bytes between for %d pixels", cap(s.resized.Pix), e.Size*e.Size)
		}
	})
}

// FuzzAugment is FuzzEval for Augment; besides, the part kept lies inside the
// picture, the same generator gives the same result, and the picture stays as it
// was.
func FuzzAugment(f *testing.F) {
	f.Add(uint16(30), uint16(20), uint8(15), uint8(100), uint64(1), true)
	f.Fuzz(func(t *testing.T, w, h uint16, size, scale uint8, seed uint64, oneColour bool) {
		width, height := 1+int(w%3000), 1+int(h%3000)
		if width*height > 20_000 {
			t.Skip("too slow")
		}
		r := rand.New(rand.NewPCG(seed, 3))
		a := DefaultAugment(1+int(size%32), ImageNet)
		a.Scale = [2]float64{float64(1+scale%16) / 100, float64(20+scale/2) / 100} // 1.47 at most: may fail to fit
		a.Ratio = [2]float64{0.2 + r.Float64(), 1.2 + 3*r.Float64()}
		if !oneColour && scale%2 == 0 {
			a.Colour, a.Jitter = 0.8, DefaultJitter
		}
		if !oneColour && scale%3 == 0 {
			a.Rand = RandAugment{Layers: 3, Magnitude: 8, Std: 4}
		}
		for range 20 {
			if x, y, cw, ch := a.crop(width, height, r); x < 0 || y < 0 || cw < 1 || ch < 1 || x+cw > width || y+ch > height {
				t.Fatalf("of %dx%d the part %dx%d at (%d,%d) is kept", width, height, cw, ch, x, y)
			}
		}
		lone, view := fuzzRGB(width, height, oneColour, r)
		before := bytes.Clone(lone.Pix)
		var s Scratch
		one, two := make([]float32, 3*a.Size*a.Size), make([]float32, 3*a.Size*a.Size)
		a.Apply(one, lone, "a fox", rand.New(rand.NewPCG(seed, 4)), &s)
		a.Apply(two, view, "a fox", rand.New(rand.NewPCG(seed, 4)), &s)
		mustBePixels(t, one, a.Size, a.Norm, oneColour, lone.Pix)
		for i := range one {
			if one[i] != two[i] {
				t.Fatalf("value %d of the view is %g, of the copy %g", i, two[i], one[i])
			}
		}
		if !bytes.Equal(before, lone.Pix) {
			t.Fatal("the picture was changed")
		}
	})
}

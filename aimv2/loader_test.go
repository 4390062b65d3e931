package aimv2

import (
	"image"
	"image/color"
	"testing"

	"fuerte/tensor"
)

// red is drawings of one colour, all of them 16×16 and opaque.
type red struct{ drawings }

func (red) Image(int) (image.Image, error) {
	img := image.NewNRGBA(image.Rect(0, 0, 16, 16))
	for i := 0; i < len(img.Pix); i += 4 {
		copy(img.Pix[i:], []byte{200, 40, 40, 255})
	}
	return img, nil
}

// TestBorderAndJitter counts what the two settings of Augment do to pictures of
// one colour: a border lets the white background in, at the most to 8/9 of the
// picture, and a jitter changes the red.
func TestBorderAndJitter(t *testing.T) {
	const batch = 200
	for _, c := range []struct {
		border, jitter float64
		colours        int     // least number of different centres
		least, most    float64 // part of white, over all pictures
	}{
		{0, 0, 1, 0, 0},
		{1, 0, 1, 0.55, 0.75}, // sides grow to 1 … 3: the mean of 1 − 1/s² is 2/3
		{0, 0.8, 100, 0, 1},   // a bright red counts as white
	} {
		r := smallRecipe(10)
		r.Batch = batch
		r.Augment = Augment{CropMin: 1, Border: c.border, Jitter: c.jitter}
		l := smallTrainer(t, r, red{23}).loader
		b, err := l.Batch(0)
		if err != nil {
			t.Fatal(err)
		}
		x := tensor.Data[float32](b.Images)
		side := r.Model.ImageSize
		plane := side * side
		white, centres := 0, map[color.RGBA]int{}
		for i := range batch {
			level := func(ch, at int) uint8 {
				return uint8((x[(i*3+ch)*plane+at]*Norm.Std[ch]+Norm.Mean[ch])*255 + 0.5)
			}
			for at := range plane {
				if level(2, at) > 147 { // nearer to white than to the red
					white++
				}
			}
			middle := plane/2 + side/2
			centres[color.RGBA{level(0, middle), level(1, middle), level(2, middle), 255}]++
		}
		part := float64(white) / float64(batch*plane)
		if part < c.least || part > c.most {
			t.Errorf("border %g, jitter %g: %.3f of the pictures is white, want %g to %g", c.border, c.jitter, part, c.least, c.most)
		}
		if n := len(centres); n < c.colours || c.jitter == 0 && n > 3 {
			t.Errorf("border %g, jitter %g: %d colours in the middle", c.border, c.jitter, n)
		}
		if same := centres[color.RGBA{200, 40, 40, 255}]; c.jitter > 0 && (same < 20 || same > 70) {
			t.Errorf("jitter %g: %d of %d pictures keep their colour, want about 40", c.jitter, same, batch)
		}
		b.Release()
	}
}

func TestAugmentIsChecked(t *testing.T) {
	for _, a := range []Augment{
		{CropMin: 0}, {CropMin: 1.1}, {CropMin: 1, Border: -0.1}, {CropMin: 1, Border: 1.5},
		{CropMin: 1, Flip: 2}, {CropMin: 1, Background: -1}, {CropMin: 1, Jitter: 1.01},
	} {
		r := smallRecipe(10)
		if r.Augment = a; r.Validate() == nil {
			t.Errorf("%+v was let through", a)
		}
	}
}

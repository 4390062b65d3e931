package preprocess

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

// compact copies a picture into memory without gaps.
func compact(p RGB) RGB {
	var s Scratch
	s.copyOf(p)
	return s.before
}

// TestRandOps holds every operation to Pillow's picture, to the bit.
// testdata/randaugment.py wrote them.
func TestRandOps(t *testing.T) {
	const height = 19
	all := readRGB(t, "randaugment.png")
	if want := height * (1 + 2*len(randOps)); all.Height != want {
		t.Fatalf("the picture is %d high, %d operations want %d", all.Height, len(randOps), want)
	}
	part := func(i int) RGB { return compact(all.Crop(0, height*i, all.Width, height)) }
	var s Scratch
	for op := range randOps {
		for k, c := range []struct{ level, sign float64 }{{0.9, 1}, {0.37, -1}} {
			got, want := part(0), part(1+2*op+k)
			randOps[op](&got, c.level, c.sign, &s)
			worst, wrong := 0, 0
			for i := range got.Pix {
				d := int(math.Abs(float64(got.Pix[i]) - float64(want.Pix[i])))
				if worst = max(worst, d); d > 0 {
					wrong++
				}
			}
			if wrong > 0 {
				t.Errorf("operation %d at %g: %d of %d values differ, by up to %d", op, c.level*c.sign, wrong, len(got.Pix), worst)
			}
			if bytes.Equal(want.Pix, part(0).Pix) {
				t.Errorf("operation %d at %g changes nothing", op, c.level*c.sign)
			}
		}
	}
}

// TestRandOpsOdd: pictures of one colour, one pixel, one line, with gaps between
// their rows, at every level.
func TestRandOpsOdd(t *testing.T) {
	var s Scratch
	r := rand.New(rand.NewPCG(1, 1))
	for _, size := range [][2]int{{1, 1}, {7, 1}, {1, 7}, {2, 2}, {300, 3}} {
		for _, noise := range []int{1, 256} {
			var whole RGB
			whole.Reset(size[0]+3, size[1]+2)
			for i := range whole.Pix {
				whole.Pix[i] = uint8(100 + r.IntN(noise))
			}
			outside := bytes.Clone(whole.Pix)
			for op := range randOps {
				for _, level := range []float64{0, 0.5, 1} {
					gap := whole.Crop(1, 1, size[0], size[1])
					before := compact(gap)
					randOps[op](&gap, level, -1, &s)
					same := before
					randOps[op](&same, level, -1, &s)
					if !bytes.Equal(compact(gap).Pix, same.Pix) {
						t.Errorf("%v, operation %d: gaps between rows change the result", size, op)
					}
				}
			}
			for y := range whole.Height {
				for x := range whole.Width {
					inside := x >= 1 && x <= size[0] && y >= 1 && y <= size[1]
					if at := y*whole.Stride + 3*x; !inside && !bytes.Equal(whole.Pix[at:at+3], outside[at:at+3]) {
						t.Fatalf("%v: pixel %d, %d, outside of the part, has changed", size, x, y)
					}
				}
			}
		}
	}
}

// TestRandAugment: half of the layers act, the zero value draws nothing, and the
// same draws give the same picture.
func TestRandAugment(t *testing.T) {
	var s Scratch
	input := readRGB(t, "randaugment.png").Crop(0, 0, 23, 19)
	changed := 0
	const rounds = 2000
	r := rand.New(rand.NewPCG(1, 1))
	for range rounds {
		p := compact(input)
		RandAugment{Layers: 1, Magnitude: 9, Std: 0.5}.Apply(&p, r, &s)
		if !bytes.Equal(p.Pix, compact(input).Pix) {
			changed++
		}
	}
	if share := float64(changed) / rounds; math.Abs(share-0.5) > 0.05 {
		t.Errorf("%.3f of the pictures have changed, want half", share)
	}
	a, b := rand.New(rand.NewPCG(2, 2)), rand.New(rand.NewPCG(2, 2))
	p := compact(input)
	RandAugment{}.Apply(&p, a, &s)
	if a.Uint64() != b.Uint64() {
		t.Error("the zero value draws")
	}
	a, b = rand.New(rand.NewPCG(3, 3)), rand.New(rand.NewPCG(3, 3))
	for range 50 {
		p, q := compact(input), compact(input)
		RandAugment{2, 9, 0.5}.Apply(&p, a, &s)
		RandAugment{2, 9, 0.5}.Apply(&q, b, &s)
		if !bytes.Equal(p.Pix, q.Pix) {
			t.Fatal("the same draws give other pictures")
		}
	}
}

package preprocess

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func pixels(colors ...Color) RGB {
	var p RGB
	p.Reset(len(colors), 1)
	for i, c := range colors {
		copy(p.Pix[3*i:], c[:])
	}
	return p
}

// TestTurnHue compares with Python's colorsys.
func TestTurnHue(t *testing.T) {
	for _, c := range []struct {
		from Color
		turn float32
		to   Color
	}{
		{Color{200, 30, 90}, 0.1, Color{200, 72, 30}},
		{Color{10, 240, 77}, -0.1, Color{81, 240, 10}},
		{Color{0, 0, 255}, 0.5, Color{255, 255, 0}},
		{Color{250, 200, 10}, -0.3, Color{248, 10, 250}},
		{Color{255, 0, 0}, 1.0 / 3, Color{0, 255, 0}},
		{Color{77, 77, 77}, 0.4, Color{77, 77, 77}},
	} {
		p := pixels(c.from)
		p.turnHue(c.turn)
		if got := Color(p.Pix); got != c.to {
			t.Errorf("%v turned by %g: %v, want %v", c.from, c.turn, got, c.to)
		}
	}
}

func TestJitterParts(t *testing.T) {
	black, red, grey := Color{0, 0, 0}, Color{200, 0, 0}, Color{100, 100, 100}
	for name, c := range map[string]struct {
		change func(p *RGB)
		want   []uint8
	}{
		"brightness 0.5": {func(p *RGB) { p.level(0, 0.5) }, []uint8{0, 0, 0, 100, 0, 0, 50, 50, 50}},
		"brightness 1.4": {func(p *RGB) { p.level(0, 1.4) }, []uint8{0, 0, 0, 255, 0, 0, 140, 140, 140}},
		// The mean of grey is (0 + 0.2989·200 + 100)/3 = 53.2.
		"contrast 0":   {func(p *RGB) { p.level(p.meanGrey(), 0) }, []uint8{53, 53, 53, 53, 53, 53, 53, 53, 53}},
		"contrast 1.4": {func(p *RGB) { p.level(p.meanGrey(), 1.4) }, []uint8{0, 0, 0, 255, 0, 0, 119, 119, 119}},
		"saturation 0": {func(p *RGB) { p.saturate(0) }, []uint8{0, 0, 0, 60, 60, 60, 100, 100, 100}},
	} {
		p := pixels(black, red, grey)
		c.change(&p)
		if !slices.Equal(p.Pix, c.want) {
			t.Errorf("%s: %v, want %v", name, p.Pix, c.want)
		}
	}
}

// TestJitterApply: every order of the four is drawn, colours stay near, and a
// zero Jitter changes nothing but takes the same draws.
func TestJitterApply(t *testing.T) {
	src := pixels(Color{200, 100, 50}, Color{20, 120, 220}, Color{128, 128, 128})
	results := map[string]bool{}
	for seed := range uint64(50) {
		p := pixels(Color{200, 100, 50}, Color{20, 120, 220}, Color{128, 128, 128})
		r := rand.New(rand.NewPCG(seed, 1))
		DefaultJitter.Apply(p, r)
		results[string(p.Pix)] = true
		q := pixels(Color{200, 100, 50}, Color{20, 120, 220}, Color{128, 128, 128})
		s := rand.New(rand.NewPCG(seed, 1))
		Jitter{}.Apply(q, s)
		if !slices.Equal(q.Pix, src.Pix) {
			t.Fatalf("no jitter made %v of %v", q.Pix, src.Pix)
		}
		if r.Uint64() != s.Uint64() {
			t.Fatal("the number of draws depends on the strength")
		}
		if g := p.Pix[6:9]; g[0] != g[1] || g[1] != g[2] { // contrast and brightness keep greys grey
			t.Errorf("grey became %v", g)
		}
	}
	if len(results) < 45 {
		t.Errorf("50 draws made only %d pictures", len(results))
	}
}

func TestAugmentJitters(t *testing.T) {
	src, s := emoji48(), new(Scratch)
	a := DefaultAugment(48, CLIP)
	a.Scale, a.Ratio, a.Flip, a.Jitter = [2]float64{1, 1}, [2]float64{1, 1}, 0, DefaultJitter
	plain, dst := make([]float32, 3*48*48), make([]float32, 3*48*48)
	a.Apply(plain, src, "fox", rand.New(rand.NewPCG(1, 2)), s)
	a.Colour = 0.8
	r := rand.New(rand.NewPCG(1, 2))
	changed := 0
	for range 300 {
		if a.Apply(dst, src, "fox", r, s); !slices.Equal(dst, plain) {
			changed++
		}
	}
	if changed < 210 || changed > 270 {
		t.Errorf("%d of 300 pictures were changed, want about 240", changed)
	}
}

func TestPad(t *testing.T) {
	p := pixels(Color{1, 2, 3}, Color{4, 5, 6})
	var dst RGB
	Pad(&dst, p, 1, White)
	want := slices.Repeat([]uint8{255}, 3*4*3)
	copy(want[3*4+3:], p.Pix)
	if dst.Width != 4 || dst.Height != 3 || !slices.Equal(dst.Pix, want) {
		t.Errorf("%d×%d %v", dst.Width, dst.Height, dst.Pix)
	}
	Pad(&dst, p, 0, White)
	if !slices.Equal(dst.Pix, p.Pix) || dst.Width != 2 {
		t.Errorf("without a border: %v", dst.Pix)
	}
}

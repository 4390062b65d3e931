package report

import (
	"fmt"
	"image"
	"image/color"
	_ "image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/plot"
)

// The pictures of these tests are kept, to be looked at, by
//
//	go test -artifacts ./aimv2/report

// run is a training run as it looks: a fast start, a long slope, noise.
func run(n int) []Point {
	r := rand.New(rand.NewPCG(1, 2))
	points := make([]Point, n)
	for i := range points {
		at := float64(i) / float64(n)
		noise := func(size float64) float64 { return math.Exp(size * r.NormFloat64()) }
		pixel := (0.42 + 0.6*math.Exp(-at*12)) * noise(0.06)
		text := (1.6 + 7*math.Exp(-at*9)) * noise(0.09)
		points[i] = Point{Step: 10 * i, Pixel: pixel, Text: text, Total: text + 0.4*pixel}
	}
	return points
}

func decode(t *testing.T, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, format, err := image.Decode(f)
	if err != nil || format != "png" {
		t.Fatalf("%s: %s, %v", path, format, err)
	}
	return img
}

// count counts the pixels of a colour.
func count(img image.Image, c color.Color) int {
	want := color.RGBAModel.Convert(c)
	n := 0
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y++ {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x++ {
			if color.RGBAModel.Convert(img.At(x, y)) == want {
				n++
			}
		}
	}
	return n
}

func TestLossCurve(t *testing.T) {
	nan := math.NaN()
	broken := run(300)
	for i := 120; i < 150; i++ {
		broken[i] = Point{Step: broken[i].Step, Pixel: nan, Text: math.Inf(1), Total: nan}
	}
	flat := run(200)
	for i := range flat {
		flat[i].Pixel, flat[i].Text, flat[i].Total = 0, 2+0.001*flat[i].Text, 2+0.001*flat[i].Text
	}
	negative := run(100)
	for i := range negative {
		negative[i].Pixel -= 2
	}
	var (
		totalColor = color.RGBA{0x30, 0x30, 0x30, 0xff}
		textColor  = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
		pixelColor = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	)
	for name, c := range map[string]struct {
		points []Point
		pixel  bool // the pixel loss is drawn
	}{
		"run":      {run(500), true},
		"long":     {run(50_000), true},
		"few":      {run(12), true},
		"two":      {run(2), true},
		"one":      {run(1), true},
		"gap":      {broken, true},
		"flat":     {flat, false},
		"negative": {negative, true},
	} {
		path := filepath.Join(t.ArtifactDir(), "loss-"+name+".png")
		if err := LossCurve(path, c.points); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		img := decode(t, path)
		if size := img.Bounds().Size(); size != image.Pt(curveWidth, curveHeight) {
			t.Errorf("%s: size %v", name, size)
		}
		// A legend's line alone is 26 pixels long and 2 high.
		if n := count(img, totalColor); n < 20 {
			t.Errorf("%s: %d pixels in the colour of the total loss", name, n)
		}
		if n := count(img, textColor); n < 20 {
			t.Errorf("%s: %d pixels in the colour of the text loss", name, n)
		}
		if n := count(img, pixelColor); (n >= 20) != c.pixel {
			t.Errorf("%s: %d pixels in the colour of the pixel loss", name, n)
		}
	}
}

// TestValidationCurve: validations are drawn where they were taken, and only there.
func TestValidationCurve(t *testing.T) {
	points := run(300)
	green := color.RGBA{0x00, 0x9e, 0x73, 0xff}
	for _, every := range []int{0, 300, 25} { // none, one, twelve
		for i := range points {
			points[i].Validation = nil
			if every > 0 && (i+1)%every == 0 {
				loss := 2 * points[i].Total
				points[i].Validation = &loss
			}
		}
		path := filepath.Join(t.ArtifactDir(), fmt.Sprintf("validation%d.png", every))
		if err := LossCurve(path, points); err != nil {
			t.Fatal(err)
		}
		n := count(decode(t, path), green)
		if (n > 0) != (every > 0) || every == 25 && n < 500 {
			t.Errorf("validated every %d points: %d green pixels", every, n)
		}
	}
}

func TestLossCurveErrors(t *testing.T) {
	dir := t.TempDir()
	for name, points := range map[string][]Point{
		"none": nil,
		"zero": {{Step: 1}, {Step: 2}},
		"NaN":  {{Step: 1, Pixel: math.NaN(), Text: math.Inf(1), Total: math.NaN()}},
	} {
		if err := LossCurve(filepath.Join(dir, "x.png"), points); err == nil {
			t.Errorf("%s: a curve was drawn", name)
		}
	}
	if err := LossCurve(filepath.Join(dir, "no", "folder.png"), run(3)); err == nil {
		t.Error("drawn into a folder that is not there")
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left %v behind", left)
	}
}

// TestRunningMean compares with the sum that defines it, each run by itself, on
// a loss that falls and has a gap.
func TestRunningMean(t *testing.T) {
	points := run(500)
	points[100].Total = math.NaN()
	points[101].Total = 1e300 // no loss of a float32 model
	c := newCurve(points, func(p Point) float64 { return p.Total })
	if len(c.raw) != 2 || len(c.raw[0]) != 100 || len(c.raw[1]) != 398 {
		t.Fatalf("%d runs, want 100 and 398 points around the gap", len(c.raw))
	}
	for r, run := range c.raw {
		for i, v := range c.smooth[r] {
			sum, weight := 0.0, 0.0
			for j, u := range run {
				w := math.Exp2(-math.Abs(float64(i-j)) / (500.0 / halfLives))
				sum, weight = sum+w*u.y, weight+w
			}
			if v.x != run[i].x || math.Abs(v.y-sum/weight) > 1e-12 {
				t.Fatalf("at step %g: %g, want %g", v.x, v.y, sum/weight)
			}
		}
	}
	few := newCurve(points[:100], func(p Point) float64 { return p.Total })
	if diff := cmp.Diff(few.raw, few.smooth, cmp.AllowUnexported(xy{})); diff != "" {
		t.Error("a short run is smoothed:", diff)
	}
}

func TestThinKeepsSpikes(t *testing.T) {
	long := make([]xy, 10_007)
	for i := range long {
		long[i] = xy{float64(i), 1}
	}
	long[4321].y, long[4322].y = 99, -99
	got := thin(long, 100)
	if len(got) > 200 {
		t.Errorf("%d points for 100 columns", len(got))
	}
	if !slices.Contains(got, long[4321]) || !slices.Contains(got, long[4322]) {
		t.Error("a spike is lost")
	}
	if !slices.IsSortedFunc(got, func(a, b xy) int { return int(a.x - b.x) }) {
		t.Error("the points are out of order")
	}
}

func labels(ticks []plot.Tick) []string {
	var list []string
	for _, t := range ticks {
		if !t.IsMinor() {
			list = append(list, t.Label)
		}
	}
	return list
}

func TestTickLabels(t *testing.T) {
	for _, c := range []struct {
		marker plot.Ticker
		lo, hi float64
		want   []string
	}{
		{logTicks{}, 0.27, 9.5, []string{"0.5", "1", "2", "5"}},
		{logTicks{}, 0.001, 0.03, []string{"0.001", "0.002", "0.005", "0.01", "0.02"}},
		{logTicks{}, 0.01, 1000, []string{"0.01", "0.1", "1", "10", "100", "1000"}},
		{logTicks{}, 1e-3, 1e20, []string{"0.001", "1", "1000", "1e+06", "1e+09", "1e+12", "1e+15", "1e+18"}},
		{linearTicks{}, 1.9985, 2.0105, []string{"2.000", "2.002", "2.004", "2.006", "2.008", "2.010"}},
		{linearTicks{}, -3, 9, []string{"-2", "0", "2", "4", "6", "8"}},
		{linearTicks{}, 0.2, 0.9, []string{"0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"}},
		{stepTicks{}, 0, 1, []string{"0", "1"}},
		{stepTicks{}, 1, 7, []string{"1", "2", "3", "4", "5", "6", "7"}},
		{stepTicks{}, 0, 499, []string{"0", "100", "200", "300", "400"}},
		{stepTicks{}, 100, 250_000, []string{"50k", "100k", "150k", "200k", "250k"}},
		{stepTicks{}, 0, 2e6, []string{"0", "0.5M", "1.0M", "1.5M", "2.0M"}},
	} {
		if diff := cmp.Diff(c.want, labels(c.marker.Ticks(c.lo, c.hi))); diff != "" {
			t.Errorf("%T from %g to %g (-want +got): %s", c.marker, c.lo, c.hi, diff)
		}
	}
}

// TestLegendStaysLegible draws a loss from the upper left to the lower right
// corner and one from the lower left to the upper right, where the legend is:
// the second must be light there, but for its line in the legend.
func TestLegendStaysLegible(t *testing.T) {
	points := make([]Point, 90)
	for i := range points {
		points[i] = Point{Step: i, Pixel: 9 - float64(i)/10, Text: 1 + float64(i)/10, Total: 1}
	}
	path := filepath.Join(t.ArtifactDir(), "loss-crossing.png")
	if err := LossCurve(path, points); err != nil {
		t.Fatal(err)
	}
	img := decode(t, path).(interface {
		SubImage(image.Rectangle) image.Image
	})
	left, right := img.SubImage(image.Rect(66, 14, 200, 72)), img.SubImage(image.Rect(740, 14, 866, 72))
	if n := count(left, color.RGBA{0x00, 0x72, 0xb2, 0xff}); n < 50 {
		t.Errorf("%d pixels of the falling loss in the left corner", n)
	}
	if n := count(right, color.RGBA{0xd5, 0x5e, 0x00, 0xff}); n < 26 || n > 3*26 {
		t.Errorf("%d pixels of the rising loss behind the legend, want its line of 26×3 alone", n)
	}
}

// TestCompareRuns: each run has a line of its own colour, and its name stands beside it.
func TestCompareRuns(t *testing.T) {
	a, b := run(500), run(800)
	for i := range b {
		b[i].Total *= 1.5
		if i%40 == 0 {
			b[i].Validation = &b[i].Total
		}
	}
	path := filepath.Join(t.ArtifactDir(), "runs.png")
	if err := CompareRuns(path, "total", []Run{{"float32", a}, {"bfloat16", b}}); err != nil {
		t.Fatal(err)
	}
	img := decode(t, path)
	for i := range 3 {
		if n := count(img, palette[i]); (n > 500) != (i < 2) {
			t.Errorf("%d pixels of colour %d", n, i)
		}
	}
	if err := CompareRuns(path, "validation", []Run{{"a", a}, {"b", b}}); err != nil {
		t.Errorf("one run with a validation loss is enough: %v", err)
	}
	for name, err := range map[string]error{
		"unknown loss":  CompareRuns(path, "sum", []Run{{"a", a}}),
		"no such loss":  CompareRuns(path, "validation", []Run{{"a", a}}),
		"too many runs": CompareRuns(path, "total", make([]Run, len(palette)+1)),
		"no run":        CompareRuns(path, "total", nil),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

package report

import (
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// picture is a disc on a gradient.
func picture(side int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			u, v := float64(x)/float64(side), float64(y)/float64(side)
			c := color.RGBA{uint8(90 + 120*u), uint8(150 + 60*v), 0xe0, 0xff}
			if r := math.Hypot(u-0.5, v-0.52); r < 0.36 {
				c = color.RGBA{0xff, uint8(200 - 200*r), 0x20, 0xff}
				if math.Hypot(u-0.38, v-0.42) < 0.06 || math.Hypot(u-0.62, v-0.42) < 0.06 {
					c = color.RGBA{0x30, 0x20, 0x10, 0xff}
				}
			}
			img.SetRGBA(x, y, c)
		}
	}
	return img
}

// normalise returns the per-patch normalised values of a picture, as the pixel
// loss makes them.
func normalise(img *image.RGBA, patch int) []float32 {
	side := img.Rect.Dx()
	var values []float32
	for y := 0; y < side; y += patch {
		for x := 0; x < side; x += patch {
			var part []float64
			for dy := range patch {
				for dx := range patch {
					c := img.RGBAAt(x+dx, y+dy)
					part = append(part, float64(c.R)/255, float64(c.G)/255, float64(c.B)/255)
				}
			}
			mean, sum := 0.0, 0.0
			for _, v := range part {
				mean += v / float64(len(part))
			}
			for _, v := range part {
				sum += (v - mean) * (v - mean)
			}
			for _, v := range part {
				values = append(values, float32((v-mean)/math.Sqrt(sum/float64(len(part)-1)+1e-6)))
			}
		}
	}
	return values
}

func row(side, patch, prefix int, caption string) Row {
	img := picture(side)
	grid := side / patch
	values := normalise(img, patch)
	target := NormalisedImage(values, grid, grid, patch)
	for i := range values {
		values[i] *= 0.6
	}
	return Row{caption, img, target, NormalisedImage(values, grid, grid, patch), img, prefix, patch}
}

func TestTargets(t *testing.T) {
	path := filepath.Join(t.ArtifactDir(), "targets.png")
	err := Targets(path, []Row{
		row(48, 8, 9, "a grinning face"),
		row(48, 8, 30, "step 1200: a smiling face with sunglasses, drawn in the flat style, seen from the front, in front of a blue sky without any cloud"),
		row(48, 8, 1, ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	img := decode(t, path)
	want := 2*sheetEdge + 4*144 + 3*panelGap
	if got := img.Bounds().Dx(); got != want {
		t.Errorf("sheet is %d wide, want %d: 48 pixels magnified by 3", got, want)
	}
	if err := Targets(filepath.Join(t.ArtifactDir(), "targets-224.png"), []Row{row(224, 14, 100, "224 pixels are not magnified")}); err != nil {
		t.Fatal(err)
	}
}

// TestPrefixIsMarked looks at the middle and the edge of single patches.
func TestPrefixIsMarked(t *testing.T) {
	red := color.RGBA{0xff, 0, 0, 0xff}
	img := image.NewRGBA(image.Rect(5, 5, 53, 53)) // a picture may be part of another
	for i := range img.Pix {
		img.Pix[i] = []uint8{0xff, 0, 0, 0xff}[i%4]
	}
	sheet, err := contactSheet([]Row{{Image: img, Target: img, Prediction: img, PrefixPatches: 8, Patch: 8}})
	if err != nil {
		t.Fatal(err)
	}
	top := sheetEdge + lineHeight
	for column := range 3 {
		left := sheetEdge + column*(144+panelGap)
		at := func(patchX, patchY, dx, dy int) color.RGBA {
			return sheet.RGBAAt(left+24*patchX+dx, top+24*patchY+dy)
		}
		inside := red
		if column > 0 {
			inside = color.RGBA{0xff, 0xbf, 0xbf, 0xff}
		}
		// Eight patches of six a row: the first row and two of the second.
		for _, p := range []struct {
			name string
			got  color.RGBA
			want color.RGBA
		}{
			{"first patch", at(0, 0, 12, 12), inside},
			{"last of the prefix", at(1, 1, 12, 12), inside},
			{"next after the prefix", at(2, 1, 12, 12), red},
			{"last patch", at(5, 5, 12, 12), red},
			{"corner", at(0, 0, 0, 0), prefixColor},
			{"between two of the prefix", at(1, 0, 0, 12), inside},
			{"right end of the prefix", at(1, 1, 23, 12), prefixColor},
			{"below the first row", at(2, 0, 12, 23), prefixColor},
			{"below it, over the prefix", at(1, 0, 12, 23), inside},
		} {
			if p.got != p.want {
				t.Errorf("column %d, %s: %v, want %v", column, p.name, p.got, p.want)
			}
		}
	}
}

// TestNormalisedImage puts one value into each patch, at a place that differs.
func TestNormalisedImage(t *testing.T) {
	const rows, columns, patch = 2, 3, 4
	values := make([]float32, rows*columns*patch*patch*3)
	set := func(token, y, x, channel int, v float32) {
		values[((token*patch+y)*patch+x)*3+channel] = v
	}
	set(0, 0, 0, 0, 2.5)
	set(4, 3, 1, 1, -2.5) // second row, second column
	set(5, 2, 2, 2, 99)
	set(1, 0, 1, 0, float32(math.NaN()))
	img := NormalisedImage(values, rows, columns, patch)
	if got := img.Bounds(); got != image.Rect(0, 0, columns*patch, rows*patch) {
		t.Fatalf("bounds %v", got)
	}
	for at, want := range map[image.Point]color.RGBA{
		{0, 0}:  {255, 128, 128, 255},
		{5, 7}:  {128, 0, 128, 255},
		{10, 6}: {128, 128, 255, 255},
		{5, 0}:  {0, 128, 128, 255},
		{1, 0}:  {128, 128, 128, 255},
	} {
		if got := img.RGBAAt(at.X, at.Y); got != want {
			t.Errorf("at %v: %v, want %v", at, got, want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("values of a wrong length did not panic")
		}
	}()
	NormalisedImage(values[1:], rows, columns, patch)
}

func TestTargetsErrors(t *testing.T) {
	good := row(16, 4, 3, "")
	with := func(change func(*Row)) []Row {
		bad := good
		change(&bad)
		return []Row{good, bad}
	}
	for want, rows := range map[string][]Row{
		"no rows":                   nil,
		"row 1: no Target":          with(func(r *Row) { r.Target = nil }),
		"row 1: Prediction is":      with(func(r *Row) { r.Prediction = image.NewGray(image.Rectangle{}) }),
		"Target has the size":       with(func(r *Row) { r.Target = picture(8) }),
		"Restored has the size":     with(func(r *Row) { r.Restored = picture(8) }),
		"does not divide":           with(func(r *Row) { r.Patch = 5 }),
		"patch of 0 pixels":         with(func(r *Row) { r.Patch = 0 }),
		"prefix of 17 patches in a": with(func(r *Row) { r.PrefixPatches = 17 }),
		"prefix of -1 patches":      with(func(r *Row) { r.PrefixPatches = -1 }),
	} {
		dir := t.TempDir()
		err := Targets(filepath.Join(dir, "x.png"), rows)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: left %v behind", want, left)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"  \n ", nil},
		{"one two", []string{"one two"}},
		{"twelve chars", []string{"twelve chars"}},
		{"thirteen char", []string{"thirteen", "char"}},
		{"ñandú ñandúes", []string{"ñandú", "ñandúes"}},
		{"averyveryverylongword", []string{"averyvery..."}},
		{"aaaaaaa bbbbbbb ccccccc ddddddd", []string{"aaaaaaa", "bbbbbbb", "ccccccc..."}},
		{"aaaaaaaaaaaa bbbbbbbbbbbb cccccccccccc d", []string{"aaaaaaaaaaaa", "bbbbbbbbbbbb", "ccccccccc..."}},
	} {
		if diff := cmp.Diff(c.want, wrap(c.in, 12)); diff != "" {
			t.Errorf("%q (-want +got): %s", c.in, diff)
		}
	}
}

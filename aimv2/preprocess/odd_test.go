package preprocess

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fuerte/aimv2/imagefile"
)

// TestOddPicturesEqualPillow runs the odd pictures of Go's own tree, every depth
// and layout of PNG, GIF and JPEG, from the file to the crop.
func TestOddPicturesEqualPillow(t *testing.T) {
	const size = 16
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile("testdata/odd_16.txt")
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(list))
	want := readRGB(t, "odd_16.png")
	if len(names) == 0 || want.Height != size*len(names) {
		t.Fatalf("%d names, %d rows", len(names), want.Height)
	}
	for i, name := range names {
		img, err := imagefile.Open(filepath.Join(strings.TrimSpace(string(root)), "src/image", name))
		if err != nil {
			t.Error(err)
			continue
		}
		var rgb RGB
		ToRGB(&rgb, img, White)
		got := make([]float32, 3*size*size)
		Eval{Size: size, Norm: Norm{Std: [3]float32{1, 1, 1}}}.Apply(got, rgb, new(Scratch))
		worst := 0
		for y := range size {
			for x := range size {
				for c := range 3 {
					d := int(got[(c*size+y)*size+x]*255+0.5) - int(want.row(i*size + y)[3*x+c])
					worst = max(worst, d, -d)
				}
			}
		}
		// Go's inverse cosine transform and colour conversion round otherwise than
		// libjpeg's; a JPEG of red, green and blue has its channels repeated.
		bound := 1
		switch {
		case strings.HasSuffix(name, "rgb.jpeg"):
			bound = 3
		case strings.HasSuffix(name, ".jpeg"):
			bound = 2
		}
		if worst > bound {
			t.Errorf("%s: off by %d of 255, at most %d allowed", name, worst, bound)
		}
	}
}

package preprocess

import (
	"image"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// ramp is a picture whose pixel (x, y) is (x, y, 7).
func ramp(width, height int) RGB {
	var p RGB
	p.Reset(width, height)
	for y := range height {
		for x := range width {
			copy(p.row(y)[3*x:], []uint8{uint8(x), uint8(y), 7})
		}
	}
	return p
}

var unit = Norm{Std: [3]float32{1, 1, 1}}

// A surplus of 3 is what tells the two rules of the crop apart: Pillow's integer
// half is 1, torchvision's round(1.5) is 2; of 5 both are 2.
func TestCropOfBothRules(t *testing.T) {
	const size = 8
	for _, c := range []struct{ width, down, even int }{{8, 0, 0}, {9, 0, 0}, {11, 1, 2}, {12, 2, 2}, {13, 2, 2}, {15, 3, 4}} {
		for _, round := range []bool{false, true} {
			dst := make([]float32, 3*size*size)
			Eval{Size: size, RoundCrop: round, Norm: unit}.Apply(dst, ramp(c.width, size), new(Scratch))
			want := c.down
			if round {
				want = c.even
			}
			if got := int(math.Round(float64(dst[0]) * 255)); got != want {
				t.Errorf("%d wide, rounded %t: the crop starts at %d, want %d", c.width, round, got, want)
			}
		}
	}
}

func TestPublishedRules(t *testing.T) {
	for size, shortest := range map[int]int{224: 256, 336: 384, 448: 512} {
		if e := ReadmeEval(size); e.Shortest != shortest || e.Norm != ImageNet || e.Validate() != nil {
			t.Errorf("README at %d: %+v", size, e)
		}
		if e := HubEval(size); e.Shortest != 0 || e.Norm != CLIP || e.Validate() != nil {
			t.Errorf("Hub at %d: %+v", size, e)
		}
	}
	for name, e := range map[string]Eval{
		"patches of 0": {Native: true, Norm: CLIP}, "pictures of 0x0": {Norm: CLIP}, "a crop of 9": {Size: 9, Shortest: 8, Norm: CLIP},
		"deviation 0": {Size: 9}, "mean NaN": {Size: 9, Norm: Norm{Mean: [3]float32{float32(math.NaN())}, Std: [3]float32{1, 1, 1}}},
	} {
		if err := e.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// The published example: 640x480 gives 34 rows of 45 patches.
func TestNativeEval(t *testing.T) {
	e := NativeEval(14)
	width, height, err := e.OutputSize(640, 480)
	if err != nil || width != 45*14 || height != 34*14 {
		t.Fatalf("640x480 becomes %dx%d, %v", width, height, err)
	}
	e.Norm, e.Patch = unit, 4
	dst := make([]float32, 3*8*12)
	e.Apply(dst, ramp(15, 11), new(Scratch))
	for _, c := range []struct {
		at   int
		want float32
	}{{0, 0}, {11, 11}, {7*12 + 11, 11}, {8*12 + 7*12 + 11, 7}, {2 * 8 * 12, 7}} {
		if got := dst[c.at] * 255; math.Abs(float64(got-c.want)) > 1e-4 {
			t.Errorf("value %d is %g, want %g: rows and columns left over go at the right and below", c.at, got, c.want)
		}
	}
	if _, _, err := e.OutputSize(3, 100); err == nil || !strings.Contains(err.Error(), "3x100") {
		t.Errorf("a picture smaller than a patch gave %v", err)
	}
}

func TestBucketsOfArea(t *testing.T) {
	b := DefaultBuckets(14, 1<<15, 5)
	var logs []float64
	for step := range 4000 {
		area, count := b.Batch(step)
		again, _ := b.Batch(step)
		if area < 128 || area > 4096 || count != 1<<15/area || again != area {
			t.Fatalf("step %d: %d pictures of %d patches, then %d", step, count, area, again)
		}
		logs = append(logs, math.Log2(float64(area)))
	}
	mean, variance := moments(logs)
	// n = 9.5 + 2.5·t; t is a normal cut at ±1, whose variance is 0.2911.
	if math.Abs(mean-9.5) > 0.1 || math.Abs(variance-2.5*2.5*0.2911) > 0.1 {
		t.Errorf("exponents have mean %.3f and variance %.3f, want 9.5 and 1.819", mean, variance)
	}
	if area, count := (Buckets{Patches: 10, Least: 7, Most: 7}).Batch(0); area != 128 || count != 1 {
		t.Errorf("%d pictures of %d patches, want one of 128", count, area)
	}
}

func moments(x []float64) (mean, variance float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	return mean, variance
}

// A grid never exceeds its area, and of usual areas and ratios wastes little.
func TestBucketsGrid(t *testing.T) {
	b := DefaultBuckets(14, 1<<15, 5)
	for area := 1; area <= 4096; area += 1 + area/9 {
		for class, ratio := range b.Ratios {
			rows, columns := b.Grid(area, class)
			if rows < 1 || columns < 1 || rows*columns > area {
				t.Fatalf("%d patches at %.2f: %d rows of %d", area, ratio, rows, columns)
			}
			off := math.Abs(math.Log(float64(columns) / float64(rows) / ratio))
			if area >= 128 && (float64(rows*columns) < 0.8*float64(area) || off > 0.25) {
				t.Errorf("%d patches at %.2f: %d rows of %d", area, ratio, rows, columns)
			}
		}
	}
	for _, c := range []struct{ width, height int }{{640, 480}, {480, 640}, {1, 1}, {5000, 1}, {1, 5000}} {
		want := min(max(math.Log(float64(c.width)/float64(c.height)), -math.Log(16.0/3)), math.Log(16.0/3))
		if got := math.Log(b.Ratios[b.Class(c.width, c.height)]); math.Abs(got-want) > 0.3 {
			t.Errorf("%dx%d is in the class of ratio %.2f", c.width, c.height, math.Exp(got))
		}
	}
}

func TestBucketsApplyPadsWithZero(t *testing.T) {
	b := Buckets{Patch: 4}
	white := ramp(10, 20)
	for i := range white.Pix {
		white.Pix[i] = 255
	}
	const rows, columns = 3, 4 // 12 x 16 pixels: 10x20 becomes 6x12
	dst := make([]float32, 3*12*16)
	for i := range dst {
		dst[i] = 9
	}
	b.Apply(dst, white, rows, columns, unit, new(Scratch))
	for i, v := range dst {
		want := float32(0)
		if i%16 < 6 {
			want = 1
		}
		if v != want {
			t.Fatalf("value %d (x %d) is %g, want %g", i, i%16, v, want)
		}
	}
}

// Generators of neighbouring steps, samples and seeds must not resemble each
// other: every batch draws from PCG(seed, stream | index) afresh.
func TestStreamsOfNeighboursAreIndependent(t *testing.T) {
	const n, draws = 20000, 6
	for name, next := range map[string]func(i int) *rand.Rand{
		"index": func(i int) *rand.Rand { return rand.New(rand.NewPCG(1, bucketStream|uint64(i))) },
		"seed":  func(i int) *rand.Rand { return rand.New(rand.NewPCG(uint64(i), bucketStream|1)) },
	} {
		columns := make([][]float64, draws)
		for i := range n {
			r := next(i)
			for d := range draws {
				columns[d] = append(columns[d], r.Float64())
			}
		}
		for d, x := range columns {
			mean, variance := moments(x)
			var lag float64 // correlation of a draw with the same of the next index
			for i := 1; i < n; i++ {
				lag += (x[i] - mean) * (x[i-1] - mean) / variance / n
			}
			// 1/√n is 0.007; the mean of n draws has a deviation of 0.002.
			if math.Abs(mean-0.5) > 0.01 || math.Abs(variance-1.0/12) > 0.004 || math.Abs(lag) > 0.03 {
				t.Errorf("%s, draw %d: mean %.4f, variance %.4f, correlation with the next %.4f", name, d, mean, variance, lag)
			}
		}
	}
}

// An extreme picture costs no more than its grid.
func TestBucketsOfLine(t *testing.T) {
	var line RGB
	ToRGB(&line, image.NewGray(image.Rect(0, 0, 100_000, 1)), White)
	b := DefaultBuckets(14, 1<<12, 1)
	var s Scratch
	rows, columns := b.Grid(128, b.Class(100_000, 1))
	dst := make([]float32, 3*rows*columns*14*14)
	b.Apply(dst, line, rows, columns, CLIP, &s)
	if n := cap(s.out.Pix); n > 3*rows*columns*14*14 {
		t.Errorf("%d bytes between", n)
	}
}

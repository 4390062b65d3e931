package aimv2

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"fuerte/aimv2/dataset/emoji48"
	"fuerte/aimv2/preprocess"
	"fuerte/nn"
	"fuerte/tensor"
)

// accuracy returns the share of equal labels.
func accuracy(got, want []int32) float64 {
	n := 0
	for i := range want {
		if got[i] == want[i] {
			n++
		}
	}
	return float64(n) / float64(len(want))
}

// clusters returns n feature maps [n, patches, d]: noise, and in one patch of each
// the direction of its class.
func clusters(n, patches, d, classes int, r *rand.Rand) (*tensor.Tensor, []int32) {
	x, labels := tensor.New(tensor.CPU, tensor.Float32, n, patches, d), make([]int32, n)
	data := tensor.Data[float32](x)
	for i := range data {
		data[i] = float32(0.2 * r.NormFloat64())
	}
	for i := range labels {
		labels[i] = r.Int32N(int32(classes))
		data[(i*patches+r.IntN(patches))*d+int(labels[i])] += 5
	}
	return x, labels
}

// TestProbeGolden takes the steps that torch took (testdata/probe.py): same losses,
// weights, running moments and order of classes.
func TestProbeGolden(t *testing.T) {
	type run struct {
		Begin, End     map[string][]float32
		Losses         []float64
		Mean, Variance []float32
		Top            [][]int32
	}
	var golden struct {
		Rates             []float64
		Decay             float64
		Features          [][]float32
		Labels            [][]int32
		Attentive, Linear run
	}
	data, err := os.ReadFile("testdata/probe.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	const batch, patches, d, heads, classes = 6, 5, 8, 2, 3
	near := func(what string, got, want []float32) {
		t.Helper()
		for i := range want {
			if math.Abs(float64(got[i]-want[i])) > 2e-5*(1+math.Abs(float64(want[i]))) {
				t.Errorf("%s: value %d is %g, torch has %g", what, i, got[i], want[i])
				return
			}
		}
	}
	for kind, want := range map[ProbeKind]run{Attentive: golden.Attentive, Linear: golden.Linear} {
		norm := newBatchNorm(d)
		p := newProbe(ProbeTask{Kind: kind, Classes: classes}, d, heads, norm, 2, golden.Decay, 1)
		for _, param := range nn.Params(p.head) {
			if len(want.Begin[param.Name]) != param.Value.Len() {
				t.Fatalf("kind %d: torch has no %s of %d", kind, param.Name, param.Value.Len())
			}
			copy(tensor.Data[float32](param.Value), want.Begin[param.Name])
		}
		for i, rate := range golden.Rates {
			x := tensor.From(tensor.CPU, golden.Features[i], batch, patches, d)
			in := kind.input(x)
			normalised := norm.train(in)
			labels := tensor.From(tensor.CPU, golden.Labels[i], batch)
			if loss := p.step(normalised, labels, rate); math.Abs(loss-want.Losses[i]) > 1e-5*(1+want.Losses[i]) {
				t.Errorf("kind %d: step %d has a loss of %g, torch of %g", kind, i, loss, want.Losses[i])
			}
		}
		for _, param := range nn.Params(p.head) {
			near(param.Name, tensor.Data[float32](param.Value), want.End[param.Name])
		}
		near("running mean", tensor.Data[float32](norm.mean), want.Mean)
		near("running variance", tensor.Data[float32](norm.variance), want.Variance)
		first := tensor.From(tensor.CPU, golden.Features[0], batch, patches, d)
		if got := p.Predict(first, classes); fmt.Sprint(got) != fmt.Sprint(want.Top) {
			t.Errorf("kind %d: the classes are in the order %v, in torch %v", kind, got, want.Top)
		}
		if one := p.Predict(first, 1); len(one) != batch || len(one[0]) != 1 || one[2][0] != want.Top[2][0] {
			t.Errorf("kind %d: the best class alone: %v", kind, one)
		}
	}
}

// sweep trains on stored features.
func sweep(t *testing.T, x *tensor.Tensor, r ProbeRecipe, tasks ...ProbeTask) [][]*Probe {
	t.Helper()
	probes, err := Sweep(StoredFeatures{x}, tasks, 2, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return probes
}

// first takes the best of each list.
func first(top [][]int32) []int32 {
	out := make([]int32, len(top))
	for i := range top {
		out[i] = top[i][0]
	}
	return out
}

// TestSweep: what can be told apart is, on pictures not seen, by attention though
// not by a linear map where only one patch tells; what cannot is not; and a probe
// comes out of a grid as it does alone.
func TestSweep(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const patches, d, classes = 4, 12, 5
	train, labels := clusters(200, patches, d, classes, r)
	test, truth := clusters(150, patches, d, classes, r) // more than one batch of features
	noise := make([]int32, len(labels))
	for i := range noise {
		noise[i] = r.Int32N(classes)
	}
	for _, norm := range []bool{false, true} {
		recipe := ProbeRecipe{Epochs: 30, Warmup: 2, Batch: 50, Peaks: []float64{2e-2, 1e-6}, Decays: []float64{0.05, 0.1}, BatchNorm: norm, Seed: 1}
		attentive, linear, random := ProbeTask{Attentive, labels, classes}, ProbeTask{Linear, labels, classes}, ProbeTask{Attentive, noise, classes}
		before := tensor.Live()
		probes := sweep(t, train, recipe, attentive, linear, random)
		// Parameters and moments of 2·4 attentive probes and 4 linear ones, and two
		// moments for the norm of each kind.
		blocks := 3 * (8*5 + 4*2)
		if norm {
			blocks += 4
		}
		if n := tensor.Live() - before; n != int64(blocks) {
			t.Errorf("%d blocks are in use after it, %d are parameters, moments and norms", n, blocks)
		}
		for _, i := range []int{0, 1} {
			for kind, p := range [][]*Probe{probes[0], probes[1]} {
				if a, b := accuracy(first(p[i].Predict(train, 1)), labels), accuracy(first(p[i].Predict(test, 1)), truth); a != 1 || b != 1 {
					t.Errorf("norm %v: the probe %d of kind %d tells %.3f of the training set and %.3f of the test set", norm, i, kind, a, b)
				}
			}
		}
		for i, p := range probes[0] {
			if p.Peak != recipe.Peaks[i/2] || p.Decay != recipe.Decays[i%2] || p.Kind != Attentive || probes[1][i].Kind != Linear {
				t.Errorf("probe %d is of peak %g and decay %g", i, p.Peak, p.Decay)
			}
		}
		if a := accuracy(first(probes[0][2].Predict(test, 1)), truth); a > 0.6 {
			t.Errorf("norm %v: a probe that hardly learns tells %.3f", norm, a)
		}
		if a := accuracy(first(probes[2][0].Predict(test, 1)), truth); a > 0.5 {
			t.Errorf("norm %v: a probe of random labels tells %.3f", norm, a)
		}
		alone := recipe
		alone.Peaks, alone.Decays = recipe.Peaks[:1], recipe.Decays[1:]
		one := sweep(t, train, alone, attentive)[0][0]
		for i, p := range nn.Params(one.head) {
			if !slices.Equal(tensor.Data[float32](p.Value), tensor.Data[float32](nn.Params(probes[0][1].head)[i].Value)) {
				t.Errorf("norm %v: %s comes out of the grid otherwise than alone", norm, p.Name)
			}
		}
	}
}

// TestSweepStops: an error of the source or of the caller ends it.
func TestSweepStops(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	train, labels := clusters(20, 2, 4, 3, r)
	recipe := ProbeRecipe{Epochs: 3, Batch: 7, Peaks: []float64{1}, Decays: []float64{0}, Seed: 1}
	epochs, stop := 0, errors.New("enough")
	_, err := Sweep(StoredFeatures{train}, []ProbeTask{{Linear, labels, 3}}, 1, recipe, func(int) error {
		if epochs++; epochs == 2 {
			return stop
		}
		return nil
	})
	if err != stop || epochs != 2 {
		t.Errorf("%v after %d epochs", err, epochs)
	}
	_, err = Sweep(brokenFeatures{StoredFeatures{train}}, []ProbeTask{{Linear, labels, 3}}, 1, recipe, nil)
	if err == nil || err.Error() != "broken" {
		t.Errorf("a source that fails: %v", err)
	}
}

type brokenFeatures struct{ StoredFeatures }

func (brokenFeatures) Batch(int, []int32) (*tensor.Tensor, error) { return nil, errors.New("broken") }

// TestAugmentedFeatures: a picture of an epoch is the same in any batch, other in
// another epoch, and without augmentation what ExtractFeatures gives.
func TestAugmentedFeatures(t *testing.T) {
	m := wideModel(t, writerConfig, rand.New(rand.NewPCG(7, 8)))
	src, err := emoji48.Open(emoji48.TestConcept)
	if err != nil {
		t.Fatal(err)
	}
	a := AugmentedFeatures{Model: m, Source: src, Augment: ProbeAugment(m.Config.ImageSize), Seed: 3}
	batch := func(epoch int, ids ...int32) []float32 {
		x, err := a.Batch(epoch, ids)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Release()
		return slices.Clone(tensor.Data[float32](x))
	}
	size := m.Config.Tokens() * m.Config.Encoder.Width
	// Not to the bit: how a product is cut up depends on its rows.
	same := func(x, y []float32) bool {
		return slices.EqualFunc(x, y, func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-4*(1+math.Abs(float64(a))) })
	}
	two := batch(1, 8, 5)
	if one := batch(1, 5); !same(one, two[size:]) {
		t.Error("a picture depends on its batch")
	}
	if other := batch(2, 8); same(other, two[:size]) {
		t.Error("another epoch shows the same picture")
	}
	a.Augment = preprocess.Augment{Size: m.Config.ImageSize, Scale: [2]float64{1, 1}, Ratio: [2]float64{1, 1}, Norm: Norm}
	all, err := m.ExtractFeatures(src)
	if err != nil {
		t.Fatal(err)
	}
	if whole := tensor.Data[float32](all)[8*size : 9*size]; !same(whole, batch(1, 8)) || same(whole, two[:size]) {
		t.Error("without augmentation the features are not those of the picture, or with it they are")
	}
	if a.Len() != src.Len() || a.Width() != m.Config.Encoder.Width {
		t.Errorf("%d pictures of width %d", a.Len(), a.Width())
	}
	pub := PublishedProbe
	if pub.Epochs != 100 || pub.Batch != 512 || pub.Warmup != 0 || len(pub.Peaks)*len(pub.Decays) != 14 || pub.Peaks[6] != 2e-3 || !pub.Augment {
		t.Errorf("the published recipe is %+v", pub)
	}
}

func TestKNN(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const classes = 5
	a, labels := clusters(200, 1, 8, classes, r)
	b, truth := clusters(150, 1, 8, classes, r)
	train, query := MeanPool(a), MeanPool(b)
	noise := make([]int32, len(labels))
	for i := range noise {
		noise[i] = r.Int32N(classes)
	}
	for _, how := range []Neighbours{{K: 1}, {K: 1, Cosine: true}, {K: 20, Cosine: true, Temperature: 0.07}, {K: 7}, {K: 20, Temperature: 2}} {
		if acc := accuracy(KNN(train, labels, classes, query, how), truth); acc != 1 {
			t.Errorf("%+v tells %.3f of what is apart", how, acc)
		}
		if acc := accuracy(KNN(train, noise, classes, query, how), truth); acc > 0.5 {
			t.Errorf("%+v with random labels tells %.3f", how, acc)
		}
		if acc := accuracy(KNN(train, noise, classes, train, how), noise); how.K == 1 && acc != 1 {
			t.Errorf("%+v: a vector is not its own neighbour, %.3f", how, acc)
		}
	}
	// By hand: distances 1, 2, 3; cosines turn the order.
	x := tensor.From(tensor.CPU, []float32{2, 0, 0, 2.5, 10, 10}, 3, 2)
	q := tensor.From(tensor.CPU, []float32{1, 1}, 1, 2)
	for _, c := range []struct {
		Neighbours
		want int32
	}{{Neighbours{K: 1}, 0}, {Neighbours{K: 1, Cosine: true}, 2}, {Neighbours{K: 3}, 1}, {Neighbours{K: 3, Cosine: true, Temperature: 0.01}, 2}, {Neighbours{K: 99}, 1}} {
		labels := []int32{0, 1, 2}
		if c.want == 1 {
			labels = []int32{0, 1, 1} // two votes against the nearest
		}
		if got := KNN(x, labels, 3, q, c.Neighbours)[0]; got != c.want {
			t.Errorf("%+v: class %d, want %d", c.Neighbours, got, c.want)
		}
	}
}

func TestStandardise(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const n, patches, d = 40, 3, 5
	build := func(n int) *tensor.Tensor {
		x := tensor.New(tensor.CPU, tensor.Float32, n, patches, d)
		for i := range tensor.Data[float32](x) {
			ch := float64(i % d)
			tensor.Data[float32](x)[i] = float32(10*ch + (ch+0.1)*r.NormFloat64())
		}
		return x
	}
	train, other := build(n), build(7)
	turned := other.Transpose(0, 1).Clone().Transpose(0, 1) // the same, strided
	Standardise(train, train, other, turned)
	for ch := range d {
		var mean, ss float64
		for i := ch; i < n*patches*d; i += d {
			v := float64(tensor.Data[float32](train)[i])
			mean, ss = mean+v, ss+v*v
		}
		const k = n * patches
		if math.Abs(mean/k) > 1e-4 || math.Abs(ss/k-1) > 1e-3 {
			t.Errorf("channel %d has mean %g and variance %g", ch, mean/k, ss/k)
		}
	}
	if !slices.Equal(tensor.Data[float32](turned.Compact()), tensor.Data[float32](other)) {
		t.Error("a strided view comes out otherwise")
	}
	var worst float64
	for _, v := range tensor.Data[float32](other) {
		worst = max(worst, math.Abs(float64(v)))
	}
	if worst > 6 {
		t.Errorf("the other set reaches %g: it was not standardised by the training set", worst)
	}
}

package aimv2

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"fuerte/aimv2/dataset"
	"fuerte/tensor"
)

// writeShards puts drawings into tar files of uneven lengths and opens them.
func writeShards(t *testing.T, dir string, lengths ...int) *dataset.Shards {
	t.Helper()
	n := 0
	for shard, length := range lengths {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		add := func(name string, data []byte) {
			err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))})
			if _, err2 := w.Write(data); errors.Join(err, err2) != nil {
				t.Fatal(err, err2)
			}
		}
		for range length {
			img, err := drawings(n + 1).Image(n)
			if err != nil {
				t.Fatal(err)
			}
			var picture bytes.Buffer
			if err := png.Encode(&picture, img); err != nil {
				t.Fatal(err)
			}
			add(fmt.Sprintf("%04d.png", n), picture.Bytes())
			add(fmt.Sprintf("%04d.txt", n), fmt.Appendf(nil, "box %d", n%7))
			n++
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("s%02d.tar", shard)), b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	s, err := dataset.OpenShards(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestShardSampler: every epoch has every pair once, each in another order, mixed
// over shards; and any draw is the same from a sampler that begins there.
func TestShardSampler(t *testing.T) {
	const pairs, window = 23, 6
	shards := writeShards(t, t.TempDir(), 5, 11, 1, 6)
	straight := &shardSampler{shards: shards, seed: 3, size: window}
	var all []string
	for k := range 4*pairs + 5 {
		rec, _, err := straight.sample(k)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rec.Name)
	}
	seen := map[string]bool{}
	for e := range 4 {
		epoch := all[e*pairs : (e+1)*pairs]
		sorted := slices.Sorted(slices.Values(epoch))
		if len(slices.Compact(sorted)) != pairs {
			t.Errorf("epoch %d misses pairs: %q", e, epoch)
		}
		if key := strings.Join(epoch, " "); seen[key] {
			t.Errorf("epoch %d repeats an order", e)
		} else {
			seen[key] = true
		}
		if slices.Equal(epoch, sorted) {
			t.Errorf("epoch %d is not shuffled", e)
		}
	}
	for k := range all {
		s := &shardSampler{shards: shards, seed: 3, size: window}
		for _, at := range []int{k, (k + 31) % len(all), k} { // also forward and back
			rec, _, err := s.sample(at)
			if err != nil || rec.Name != all[at] {
				t.Fatalf("begun at %d, draw %d is %q, %v; want %q", k, at, rec.Name, err, all[at])
			}
		}
	}
	other := &shardSampler{shards: shards, seed: 4, size: window}
	same := 0
	for k := range pairs {
		if rec, _, err := other.sample(k); err == nil && rec.Name == all[k] {
			same++
		}
	}
	if same > pairs/2 {
		t.Errorf("another seed draws %d of %d alike", same, pairs)
	}
}

// TestOneShard: the window alone shuffles a single shard, in every epoch anew.
func TestOneShard(t *testing.T) {
	const pairs = 12
	s := &shardSampler{shards: writeShards(t, t.TempDir(), pairs), seed: 3, size: 6}
	var epochs [3]string
	for k := range len(epochs) * pairs {
		rec, _, err := s.sample(k)
		if err != nil {
			t.Fatal(err)
		}
		epochs[k/pairs] += rec.Name + " "
	}
	if epochs[0] == epochs[1] || epochs[1] == epochs[2] {
		t.Errorf("epochs repeat: %q", epochs)
	}
}

// mixed is a mixture of a numbered set and shards.
func mixed(t *testing.T, dir string) *dataset.Mixture {
	t.Helper()
	m, err := dataset.Mix(dataset.Part{Set: drawings(23), Weight: 0.3}, dataset.Part{Set: writeShards(t, dir, 4, 9), Weight: 0.7})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestMixer: the parts get their shares, each goes through its own sequence
// without a gap, and any sample is the same from a mixer that begins there.
func TestMixer(t *testing.T) {
	set := mixed(t, t.TempDir())
	const n = 4000
	m := newMixer(set, 5)
	first := 0
	for k := range n {
		if m.part(k) == 0 {
			first++
		}
	}
	if share := float64(first) / n; math.Abs(share-0.3) > 4*math.Sqrt(0.3*0.7/n) {
		t.Errorf("a weight of 0.3 gives a share of %.3f", share)
	}
	alone := newMixer(set, 5).parts
	counts := make([]int, len(alone))
	var names []string
	for k := range 200 {
		rec, _, err := m.sample(k)
		if err != nil {
			t.Fatal(err)
		}
		part := m.part(k)
		want, _, err := alone[part].sample(counts[part])
		if err != nil || rec.Name != want.Name {
			t.Fatalf("sample %d is %q, %v; picture %d of part %d is %q", k, rec.Name, err, counts[part], part, want.Name)
		}
		counts[part]++
		names = append(names, rec.Name)
	}
	for _, k := range []int{199, 0, 77, 76, 120} {
		if rec, _, err := newMixer(set, 5).sample(k); err != nil || rec.Name != names[k] {
			t.Errorf("begun at %d: %q, %v; want %q", k, rec.Name, err, names[k])
		}
		if rec, _, err := m.sample(k); err != nil || rec.Name != names[k] {
			t.Errorf("gone to %d: %q, %v; want %q", k, rec.Name, err, names[k])
		}
	}
	// Two parts of one set do not go through it in step.
	twins, err := dataset.Mix(dataset.Part{Set: drawings(23), Weight: 1}, dataset.Part{Set: drawings(23), Weight: 1})
	if err != nil {
		t.Fatal(err)
	}
	m = newMixer(twins, 5)
	same := 0
	for k := range 23 {
		a, _, _ := m.parts[0].sample(k)
		if b, _, _ := m.parts[1].sample(k); a.Name == b.Name {
			same++
		}
	}
	if same > 10 {
		t.Errorf("equal parts draw %d of 23 alike", same)
	}
}

// variants are the recipes whose bits the tests below want.
var variants = map[string]func(r *Recipe){
	"accumulate":    func(r *Recipe) { r.Accumulate = 5 },
	"image":         func(r *Recipe) { r.Objective, r.Attention = ImageOnly, CausalAttention },
	"caption":       func(r *Recipe) { r.Objective, r.Attention = CaptionOnly, BidirectionalAttention },
	"original":      func(r *Recipe) { r.Original, r.Accumulate = true, 2 },
	"weight, decay": func(r *Recipe) { r.PixelWeight, r.Decay = 0.7, 0 },
}

// TestVariantBits trains each variant on a mixture with shards: the bits are the
// same for any number of threads and when the run is stopped twice, with and
// without validations between.
func TestVariantBits(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	const n = 6
	set := mixed(t, t.TempDir())
	for name, change := range variants {
		r := smallRecipe(n)
		change(&r)
		var want []byte
		var all []Metrics
		for _, threads := range []int{1, 3} {
			runtime.GOMAXPROCS(threads)
			tr := smallTrainer(t, r, set)
			m := steps(t, tr, n)
			if want == nil {
				want, all = state(t, tr), m
			}
			sameMetrics(t, threads, m, all)
			if !bytes.Equal(state(t, tr), want) {
				t.Errorf("%s: %d threads end with other bits than 1", name, threads)
			}
		}
		dir := t.TempDir()
		tr := smallTrainer(t, r, set)
		if err := tr.SaveSetup(dir); err != nil {
			t.Fatal(err)
		}
		for _, stop := range []int{2, 5} {
			steps(t, tr, stop)
			if _, err := tr.Validate(drawings(7)); err != nil {
				t.Fatal(err)
			}
			err := tr.SaveState(dir)
			if err == nil {
				tr, err = Resume(tensor.CPU, dir, 0, set)
			}
			if err != nil {
				t.Fatal(err)
			}
			if tr.Recipe.Data == "" || tr.Recipe.Accumulate != r.Accumulate || tr.Recipe.Objective != r.Objective || tr.Recipe.Original != r.Original {
				t.Errorf("%s: resumed as %+v", name, tr.Recipe)
			}
		}
		if m := steps(t, tr, n); m[0] != all[5] || !bytes.Equal(state(t, tr), want) {
			t.Errorf("%s: the resumed run ends with other bits", name)
		}
		for _, loss := range []struct {
			value float64
			there bool
		}{{all[n-1].Pixel, r.Objective != CaptionOnly}, {all[n-1].Text, r.Objective != ImageOnly}} {
			if (loss.value > 0) != loss.there {
				t.Errorf("%s: losses %+v", name, all[n-1])
			}
		}
	}
	other, err := dataset.Mix(dataset.Part{Set: drawings(23), Weight: 0.5}, set.Parts()[1])
	if err != nil {
		t.Fatal(err)
	}
	if Fingerprint(other) == Fingerprint(set) {
		t.Error("other weights have the same fingerprint")
	}
}

// TestShardVanishes takes a shard away in the middle of a run: the run ends with
// its name, at a state from which it goes on to the same bits when it is back.
func TestShardVanishes(t *testing.T) {
	const n = 6
	data, dir := t.TempDir(), t.TempDir()
	set := writeShards(t, data, 12, 11)
	straight := smallTrainer(t, smallRecipe(n), set)
	steps(t, straight, n)
	want := state(t, straight)

	tr := smallTrainer(t, smallRecipe(n), set)
	if err := tr.SaveSetup(dir); err != nil {
		t.Fatal(err)
	}
	gone, away := filepath.Join(data, "s01.tar"), filepath.Join(dir, "s01.tar")
	err := tr.Run(t.Context(), func(Metrics) error {
		if tr.Step == 2 {
			return os.Rename(gone, away)
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), gone) || !errors.Is(err, os.ErrNotExist) || tr.Step < 2 || tr.Step > 4 {
		t.Fatalf("the run ended at step %d with %v", tr.Step, err)
	}
	if err := errors.Join(tr.SaveState(dir), os.Rename(away, gone)); err != nil {
		t.Fatal(err)
	}
	if tr, err = Resume(tensor.CPU, dir, 0, set); err != nil {
		t.Fatal(err)
	}
	steps(t, tr, n)
	if !bytes.Equal(state(t, tr), want) {
		t.Error("the mended run ends with other bits")
	}
}

// sided is drawings whose captions speak of a side.
type sided struct{ drawings }

func (s sided) Record(i int) dataset.Record {
	return dataset.Record{Name: fmt.Sprint(i), Caption: "a box on the left"}
}

// TestOriginal holds what Recipe.Original brings back of the loader: prefixes that
// four batches share, whatever the seed, and mirror images against the caption.
func TestOriginal(t *testing.T) {
	prefixes := func(seed uint64, original bool) (all [][]int32) {
		r := smallRecipe(10)
		r.Seed, r.Original = seed, original
		l := smallTrainer(t, r, drawings(23)).loader
		for step := range 8 {
			b, err := l.Batch(step)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, slices.Clone(tensor.Data[int32](b.Prefix)))
			b.Release()
		}
		return all
	}
	for _, original := range []bool{false, true} {
		a, b := prefixes(1, original), prefixes(2, original)
		for step := range a {
			if same := slices.Equal(a[step], b[step]); same != original {
				t.Errorf("original %t: step %d has the same prefixes for two seeds: %t", original, step, same)
			}
			if step > 0 {
				if same := slices.Equal(a[step], a[step-1]); same != (original && step%4 != 0) {
					t.Errorf("original %t: step %d repeats the prefixes before: %t", original, step, same)
				}
			}
		}
	}

	for _, original := range []bool{false, true} {
		r := smallRecipe(10)
		r.Original, r.Augment = original, Augment{CropMin: 1, Flip: 1}
		b, err := smallTrainer(t, r, sided{23}).loader.Batch(0)
		if err != nil {
			t.Fatal(err)
		}
		images := tensor.Data[float32](b.Images)
		size := len(images) / r.Batch
		mirrored := 0
		for i := range r.Batch {
			// The boxes are at the left of their ground; mirrored, they are at the right.
			side := r.Model.ImageSize
			var left, right float64
			for at, v := range images[i*size : i*size+side*side] {
				if d := math.Abs(float64(v - images[i*size])); at%side < side/2 {
					left += d
				} else {
					right += d
				}
			}
			if right > left {
				mirrored++
			}
		}
		b.Release()
		if original != (mirrored > r.Batch/2) {
			t.Errorf("original %t: %d of %d pictures are mirrored against their caption", original, mirrored, r.Batch)
		}
	}
}

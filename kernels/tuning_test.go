package kernels

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// keepTuning sets the Tuning back after a test.
func keepTuning(t *testing.T) {
	t.Cleanup(func() { tuning.Store(nil) })
}

// tunings are the default, what caches of other sizes give, and the ends of the ranges,
// one field at a time and all together.
func tunings() []Tuning {
	d := DefaultTuning()
	out := []Tuning{d}
	for _, l2 := range []int{0, 256 << 10, 1 << 20, 4 << 20, 1 << 30} {
		out = append(out, tuningFor(l2))
	}
	out = append(out, Tuning{leastBlockRows, leastTasks, leastTaskFLOP, leastThinElements}, Tuning{mostBlockRows, mostTasks, mostTaskFLOP, mostThinElements},
		Tuning{leastBlockRows, mostTasks, leastTaskFLOP, leastThinElements}, Tuning{100, 7, 100_000, 3001})
	for _, change := range []func(*Tuning){
		func(t *Tuning) { t.BlockRows = leastBlockRows }, func(t *Tuning) { t.BlockRows = mostBlockRows },
		func(t *Tuning) { t.Tasks = leastTasks }, func(t *Tuning) { t.Tasks = mostTasks },
		func(t *Tuning) { t.TaskFLOP = leastTaskFLOP }, func(t *Tuning) { t.TaskFLOP = mostTaskFLOP },
		func(t *Tuning) { t.ThinElements = leastThinElements }, func(t *Tuning) { t.ThinElements = mostThinElements },
	} {
		c := d
		change(&c)
		out = append(out, c)
	}
	return out
}

// TestTuningBits: a Tuning reaches the blocks of C and not a bit of it, whichever way
// the product takes.
func TestTuningBits(t *testing.T) {
	keepTuning(t)
	const workers = 3 // a single one gets no more tasks than it must
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(workers))
	r := rand.New(rand.NewPCG(9, 1))
	for _, s := range usable() {
		mr, nr := s.Tile.MR, s.Tile.NR
		plans := map[string]map[gemmPlan]bool{}
		for _, shape := range [][3]int{
			{1, 20011, 30}, {3, 1203, 200}, {dotsRows, 1999, 70}, {3, 20, 4 * gemmPart}, // few rows of A
			{mr, 20 * nr, 2 * gemmPart}, {mr + 1, 3, 8 * gemmPart}, // sums in parts
			{30, 1000, 20}, {2*mr + 1, 9*nr + 5, 300}, {303, 5*nr + 1, 40}, {700, nr - 1, 33},
		} {
			m, n, k := shape[0], shape[1], shape[2]
			a, b, before := make([]float32, m*k), make([]float32, k*n), make([]float32, m*n)
			fractions.fill(r, a)
			fractions.fill(r, b)
			fractions.fill(r, before)
			for way := range 8 {
				transA, transB, accumulate := way&1 != 0, way&2 != 0, way&4 != 0
				lda, ldb := k, n
				if transA {
					lda = m
				}
				if transB {
					ldb = k
				}
				var first []float32
				for _, tuned := range tunings() {
					if err := SetTuning(tuned); err != nil {
						t.Fatal(err)
					}
					p := planGemm(&s.Tile, gemmShape{transA: transA, transB: transB, batch: 1, m: m, n: n, k: k, lda: lda, ldb: ldb, workers: workers})
					path := [...]string{"tiles", "dots", "rows"}[p.path]
					if p.parts > 1 {
						path = "parts"
					}
					if plans[path] == nil {
						plans[path] = map[gemmPlan]bool{}
					}
					plans[path][p] = true
					c := bitsClone(before)
					Gemm(s, transA, transB, m, n, k, a, lda, b, ldb, c, n, accumulate)
					if first == nil {
						first = c
					} else if !same(first, c) {
						t.Errorf("%s %v, transposed %v %v, accumulate %v: other bits with %+v", s.Name, shape, transA, transB, accumulate, tuned)
					}
				}
			}
		}
		for _, path := range []string{"tiles", "dots", "rows", "parts"} {
			if len(plans[path]) < 4 {
				t.Errorf("%s: only %d plans by %s: these Tunings try nothing", s.Name, len(plans[path]), path)
			}
		}
	}
}

// TestTuningBitsOfAll: nor a bit of the other functions that multiply.
func TestTuningBitsOfAll(t *testing.T) {
	keepTuning(t)
	for _, row := range bitsRows[float32]() {
		if testing.Short() && !strings.Contains(row.name, "[3 20 ") { // TestTuningBits tries the plans
			continue
		}
		if !strings.HasPrefix(row.name, "Gemm") && !strings.HasPrefix(row.name, "Pack") && !strings.HasPrefix(row.name, "Attention") {
			continue
		}
		for _, s := range usable() {
			var first [][]float32
			for _, tuned := range tunings()[6:10] {
				if err := SetTuning(tuned); err != nil {
					t.Fatal(err)
				}
				got := row.run(s)
				if first == nil {
					first = got
					continue
				}
				for i := range got {
					if !same(first[i], got[i]) {
						t.Errorf("%s %s: other bits of result %d with %+v", s.Name, row.name, i, tuned)
					}
				}
			}
		}
	}
}

// TestTuningParts: the parts of k, on which the bits depend, are the same for every
// shape.
func TestTuningParts(t *testing.T) {
	keepTuning(t)
	for _, s := range usable() {
		for m := 1; m < 200; m += 7 {
			for n := 1; n < 3000; n += 61 {
				first := 0
				for _, tuned := range tunings()[6:10] {
					if err := SetTuning(tuned); err != nil {
						t.Fatal(err)
					}
					parts := planGemm(&s.Tile, gemmShape{transA: true, batch: 1, m: m, n: n, k: 4 * gemmPart, lda: m, ldb: n}).parts
					if first == 0 {
						first = parts
					} else if parts != first {
						t.Fatalf("%s m=%d n=%d: %d parts with one Tuning, %d with %+v", s.Name, m, n, first, parts, tuned)
					}
				}
			}
		}
	}
}

// TestSetTuning: what is out of range is refused by name and changes nothing.
func TestSetTuning(t *testing.T) {
	keepTuning(t)
	if got := CurrentTuning(); got != DefaultTuning() {
		t.Errorf("at start the Tuning is %+v, want the default, %+v", got, DefaultTuning())
	}
	good := Tuning{100, 7, 100_000, 3001}
	if err := SetTuning(good); err != nil || CurrentTuning() != good {
		t.Fatalf("set %+v: %v, Tuning %+v", good, err, CurrentTuning())
	}
	const huge = int(^uint(0) >> 1)
	for name, fields := range map[string]struct {
		set         func(t *Tuning, v int)
		least, most int
	}{
		"BlockRows":    {func(t *Tuning, v int) { t.BlockRows = v }, leastBlockRows, mostBlockRows},
		"Tasks":        {func(t *Tuning, v int) { t.Tasks = v }, leastTasks, mostTasks},
		"TaskFLOP":     {func(t *Tuning, v int) { t.TaskFLOP = v }, leastTaskFLOP, mostTaskFLOP},
		"ThinElements": {func(t *Tuning, v int) { t.ThinElements = v }, leastThinElements, mostThinElements},
	} {
		for _, v := range []int{0, -1, -huge - 1, huge, fields.least - 1, fields.most + 1} {
			bad := good
			fields.set(&bad, v)
			if err := SetTuning(bad); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s is %d", name, v)) {
				t.Errorf("%s = %d: error %v", name, v, err)
			}
		}
	}
	if CurrentTuning() != good {
		t.Errorf("a refused Tuning left %+v", CurrentTuning())
	}
}

// TestTuningWhileMultiplying sets Tunings while products are under way; the race
// detector looks on.
func TestTuningWhileMultiplying(t *testing.T) {
	keepTuning(t)
	s := usable()[len(usable())-1]
	const m, n, k = 200, 90, 50
	r := rand.New(rand.NewPCG(9, 2))
	a, b, want := make([]float32, m*k), make([]float32, k*n), make([]float32, m*n)
	fractions.fill(r, a)
	fractions.fill(r, b)
	Gemm(s, false, false, m, n, k, a, k, b, n, want, n, false)
	var wait sync.WaitGroup
	for g := range 4 {
		wait.Go(func() {
			c := make([]float32, m*n)
			for i := range 40 {
				if g == 0 {
					if err := SetTuning(tunings()[i%len(tunings())]); err != nil {
						t.Error(err)
					}
					continue
				}
				Gemm(s, false, false, m, n, k, a, k, b, n, c, n, false)
				if !same(want, c) {
					t.Error("other bits while the Tuning changes")
				}
			}
		})
	}
	wait.Wait()
}

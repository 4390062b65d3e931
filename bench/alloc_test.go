package bench

import (
	"runtime"
	"runtime/debug"
	"testing"

	"fuerte/aimv2"
)

// allocConfig is the preset tiny in the small: the same ops on shorter sequences.
var allocConfig = aimv2.Config{ImageSize: 24, PatchSize: 8, Encoder: aimv2.Stack{Width: 32, Depth: 2, Heads: 2, Hidden: 48},
	Decoder: aimv2.Stack{Width: 32, Depth: 1, Heads: 2, Hidden: 48}, Vocab: 64, Context: 6, NormEps: 1e-5}

// maxAllocations bounds the heap allocations of one step of allocConfig: 1.3
// times the 2996 that it takes, all of them headers (tensors, nodes of the tape,
// closures), 78 bytes each on average. Lower it with every one that goes.
const maxAllocations = 3900

// TestAllocations holds a steady training step to a constant number of small
// allocations, whatever the batch, and memory to what the first steps took.
func TestAllocations(t *testing.T) {
	if raced {
		t.Skip("the race detector makes pools leak")
	}
	few, many := measureSteps(t, 4), measureSteps(t, 16)
	t.Logf("batch 4: %+v", few)
	t.Logf("batch 16: %+v", many)
	if few.count > maxAllocations {
		t.Errorf("a step makes %d allocations, %d are the bound", few.count, maxAllocations)
	}
	// A few may come and go with what the workers find in their pools.
	const slack = 1.05
	if float64(many.count) > slack*float64(few.count) {
		t.Errorf("a step makes %d allocations for 4 images and %d for 16", few.count, many.count)
	}
	for _, m := range []allocations{few, many} {
		const scratch = 32 << 10 // what one more worker at a time would borrow
		if m.late > m.early+scratch {
			t.Errorf("allocations grow: %d bytes a step first, %d later", m.early, m.late)
		}
		if m.growth > scratch {
			t.Errorf("the live heap has grown by %d bytes in %d steps", m.growth, allocationSteps)
		}
	}
}

const allocationSteps = 30

// allocations is what steady steps take from the heap.
type allocations struct {
	count       uint64 // objects a step
	early, late uint64 // bytes a step, of the first and of the second half
	growth      int64  // of the live heap, in bytes, over all steps
}

func measureSteps(t *testing.T, batch int) allocations {
	tr := newTrainer(t, allocConfig, batch, false)
	const half = allocationSteps / 2
	steps := func(n int) {
		for range n {
			tr.step()
		}
	}
	// The collector empties pools of scratch memory; without it every allocation
	// seen is one of the step.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	steps(5)
	liveBefore := live()
	steps(5) // fill the pools again
	var begin, middle, end runtime.MemStats
	runtime.ReadMemStats(&begin)
	steps(half)
	runtime.ReadMemStats(&middle)
	steps(half)
	runtime.ReadMemStats(&end)
	a := allocations{
		count:  (end.Mallocs - begin.Mallocs) / allocationSteps,
		early:  (middle.TotalAlloc - begin.TotalAlloc) / half,
		late:   (end.TotalAlloc - middle.TotalAlloc) / half,
		growth: int64(live()) - int64(liveBefore),
	}
	runtime.KeepAlive(tr) // else its weights are gone by then, and hide a leak
	return a
}

// live returns the bytes of reachable objects. What a pool holds survives one
// collection, not two.
func live() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

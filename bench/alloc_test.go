package bench

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"

	"fuerte/aimv2"
	"fuerte/tensor"
)

// allocConfig is the preset tiny in the small: the same ops on shorter sequences.
var allocConfig = aimv2.Config{ImageSize: 24, PatchSize: 8, Encoder: aimv2.Stack{Width: 32, Depth: 2, Heads: 2, Hidden: 48},
	Decoder: aimv2.Stack{Width: 32, Depth: 1, Heads: 2, Hidden: 48}, Vocab: 64, Context: 6, NormEps: 1e-5}

// TestAllocations holds a steady training step to no heap allocation, whatever
// model, batch and number of threads.
func TestAllocations(t *testing.T) {
	if raced {
		t.Skip("the race detector makes pools leak")
	}
	for _, c := range []struct {
		name  string
		model aimv2.Config
		batch int
		bf16  bool
	}{{"small", allocConfig, 4, false}, {"small", allocConfig, 16, false}, {"small in bf16", allocConfig, 4, true}, {"tiny", aimv2.Presets["tiny"], 1, false}} {
		for _, threads := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s/batch=%d/threads=%d", c.name, c.batch, threads), func(t *testing.T) {
				setThreads(t, threads)
				tr := newTrainer(t, c.model, c.batch, c.bf16)
				// The collector empties pools of scratch memory; without it every
				// allocation seen is one of the step.
				defer debug.SetGCPercent(debug.SetGCPercent(-1))
				// Each thread has pools of its own, which fill as the work moves between
				// them; then a round goes by without one.
				const rounds, steps = 10, 10
				var made uint64
				for range rounds {
					var begin, end runtime.MemStats
					runtime.ReadMemStats(&begin)
					tr.steps(steps)
					runtime.ReadMemStats(&end)
					if made = end.Mallocs - begin.Mallocs; made < steps { // as testing.AllocsPerRun counts
						return
					}
				}
				t.Errorf("%d steps make %d allocations", steps, made)
			})
		}
	}
}

// TestFlatMemory: after 1,000 steps as much memory is reachable, and as many
// blocks are in use, as before them.
func TestFlatMemory(t *testing.T) {
	if raced {
		t.Skip("the race detector makes pools leak")
	}
	tr := newTrainer(t, allocConfig, 4, false)
	tr.steps(10)
	heap, blocks := live(), tensor.Live()
	tr.steps(1000)
	if n := tensor.Live() - blocks; n != 0 {
		t.Errorf("1000 steps left %d blocks", n)
	}
	const noise = 16 << 10 // of the runtime and of the test itself: 16 bytes a step
	if n := int64(live()) - int64(heap); n > noise {
		t.Errorf("the live heap has grown by %d bytes in 1000 steps", n)
	}
	runtime.KeepAlive(tr) // else its weights are gone by then, and hide a leak
}

func (t *trainer) steps(n int) {
	for range n {
		t.step()
	}
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

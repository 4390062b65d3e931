package kernels

import (
	"fmt"
	"sync/atomic"

	"github.com/klauspost/cpuid/v2"
)

// Tuning is how products are cut into tasks, as far as no bit of a result depends on it:
// what is best follows from the caches and cores of a machine, and is for a program to
// measure and to set.
type Tuning struct {
	// BlockRows are the most rows of C of a task: with 256 columns of A they should leave
	// room in L2. From 64, below which a block of B is packed for too few rows, to 2048,
	// above which a call of the micro-kernel would hold up the garbage collector.
	BlockRows int
	// Tasks is how many tasks a product is cut into for each worker, where there are
	// several and it is large enough: enough that one which comes late costs little. 1…64.
	Tasks int
	// TaskFLOP is the least work of a task, which should be longer than its hand-out.
	// 2^14…2^28.
	TaskFLOP int
	// ThinElements is the least part of B of a task where B is read once, because A has
	// few rows. 2^10…2^17, above which a call would be long too.
	ThinElements int
}

// The ranges of the fields of a Tuning.
const (
	leastBlockRows, mostBlockRows       = 64, 2048
	leastTasks, mostTasks               = 1, 64
	leastTaskFLOP, mostTaskFLOP         = 1 << 14, 1 << 28
	leastThinElements, mostThinElements = 1 << 10, 1 << 17
)

// Check returns an error that names the first field out of its range, and the range.
func (t Tuning) Check() error {
	for _, f := range []struct {
		name               string
		value, least, most int
	}{
		{"BlockRows", t.BlockRows, leastBlockRows, mostBlockRows},
		{"Tasks", t.Tasks, leastTasks, mostTasks},
		{"TaskFLOP", t.TaskFLOP, leastTaskFLOP, mostTaskFLOP},
		{"ThinElements", t.ThinElements, leastThinElements, mostThinElements},
	} {
		if f.value < f.least || f.value > f.most {
			return fmt.Errorf("kernels: tuning: %s is %d, not %d…%d", f.name, f.value, f.least, f.most)
		}
	}
	return nil
}

// DefaultTuning is the Tuning of a program that sets none. Its BlockRows fill half of
// this CPU's L2.
func DefaultTuning() Tuning { return tuningFor(cpuid.CPU.Cache.L2) }

func tuningFor(l2 int) Tuning {
	if l2 <= 0 { // unknown
		l2 = 512 << 10
	}
	return Tuning{
		BlockRows:    min(max(l2/2/4/gemmKC, 128), mostBlockRows),
		Tasks:        4,
		TaskFLOP:     1 << 18,
		ThinElements: 1 << 15,
	}
}

// tuning is nil for the default.
var tuning atomic.Pointer[Tuning]

var defaultTuning = DefaultTuning()

// CurrentTuning is the Tuning of the products that begin now.
func CurrentTuning() Tuning {
	if t := tuning.Load(); t != nil {
		return *t
	}
	return defaultTuning
}

// SetTuning sets the Tuning of the products that begin from now on, at every level and
// in every goroutine; those under way keep theirs.
//
// Bits: the same for any Tuning.
// Errors: those of Tuning.Check; nothing is set then.
func SetTuning(t Tuning) error {
	if err := t.Check(); err != nil {
		return err
	}
	tuning.Store(&t)
	return nil
}

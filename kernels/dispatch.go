package kernels

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// Sets lists the float32 levels compiled into this binary, weakest first; the
// reference is always the first. A level that this CPU cannot run is listed
// too, with Missing set.
func Sets() []*Set[float32] { return append([]*Set[float32]{Reference[float32]()}, archSets()...) }

// ISAError reports a level forced by FUERTE_ISA that cannot be used.
type ISAError struct {
	Level  string // what was asked
	Reason string // why not
}

func (e *ISAError) Error() string {
	return fmt.Sprintf("kernels: FUERTE_ISA=%s: %s", e.Level, e.Reason)
}

var choose = sync.OnceValues(func() (*Set[float32], error) {
	return choice(os.Getenv("FUERTE_ISA"), Sets())
})

// choice returns the strongest usable set, or the one named by level.
func choice(level string, sets []*Set[float32]) (*Set[float32], error) {
	var best *Set[float32]
	var names []string
	for _, s := range sets {
		names = append(names, s.Name)
		switch {
		case level == "" && s.Missing == "":
			best = s
		case level == s.Name && s.Missing != "":
			return nil, &ISAError{level, "this CPU lacks " + s.Missing}
		case level == s.Name:
			return s, nil
		}
	}
	if best == nil {
		return nil, &ISAError{level, "no such level in this build; there are " + strings.Join(names, ", ")}
	}
	return best, nil
}

// Choose returns the float32 level in use: the strongest that the CPU has, or
// the one that the environment variable FUERTE_ISA forces. The choice is made
// once. Errors: *ISAError for a forced level that is unknown or unusable.
func Choose() (*Set[float32], error) { return choose() }

// F32 is Choose for code that cannot return an error; it panics with the
// *ISAError. Programs call Choose first.
func F32() *Set[float32] {
	s, err := choose()
	if err != nil {
		panic(err)
	}
	return s
}

// F64 returns the float64 level, which is the reference.
func F64() *Set[float64] { return reference64() }

var reference64 = sync.OnceValue(Reference[float64])

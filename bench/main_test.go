package bench

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/cpuid/v2"

	"fuerte/kernels"
	"fuerte/nn/tuning"
)

// TestMain heads the output of a benchmark run with what the numbers depend on.
func TestMain(m *testing.M) {
	flag.Parse()
	set, err := kernels.Choose()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if flag.Lookup("test.bench").Value.String() != "" {
		if err := tuning.Apply(set.Name); err != nil {
			fmt.Fprintln(os.Stderr, "ignored:", err)
		}
		describe(os.Stdout)
	}
	os.Exit(m.Run())
}

// describe writes the machine as "key: value" lines, by which benchstat keeps
// results of different machines apart, and the run as a comment, which it skips.
func describe(w io.Writer) {
	c := cpuid.CPU
	var usable, missing []string
	for _, s := range kernels.Sets() {
		if s.Missing == "" {
			usable = append(usable, s.Name)
		} else {
			missing = append(missing, s.Name+" (no "+s.Missing+")")
		}
	}
	size := func(bytes int) string {
		if bytes <= 0 {
			return "unknown"
		}
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	tuned := "" // is the default, of which the lines of older files say nothing
	if t := kernels.CurrentTuning(); t != kernels.DefaultTuning() {
		tuned = fmt.Sprintf("%+v", t)
	}
	fmt.Fprintf(w, "# %s%s\n", time.Now().Format(time.DateOnly), flags())
	for _, l := range [][2]string{
		{"cpu-model", c.BrandName},
		{"cores", fmt.Sprintf("%d physical, %d logical, %d usable", c.PhysicalCores, c.LogicalCores, runtime.NumCPU())},
		{"cache", fmt.Sprintf("L1d %s, L2 %s, L3 %s, line %d", size(c.Cache.L1D), size(c.Cache.L2), size(c.Cache.L3), c.CacheLine)},
		{"isa", strings.Join(usable, " ")},
		{"isa-missing", strings.Join(missing, ", ")},
		{"isa-chosen", kernels.F32().Name},
		{"gemm-tuning", tuned},
		{"go", runtime.Version()},
	} {
		if l[1] != "" {
			fmt.Fprintf(w, "%s: %s\n", l[0], l[1])
		}
	}
	for _, unit := range []string{"GFLOP/s", "GB/s", "%peak", "%roof", "images/s", "elem/ns", "elem/cycle"} {
		fmt.Fprintf(w, "Unit %s better=higher\n", unit)
	}
}

// flags returns the test flags that were set.
func flags() string {
	var s strings.Builder
	flag.Visit(func(f *flag.Flag) {
		switch name := strings.TrimPrefix(f.Name, "test."); name {
		case "bench", "benchtime", "count", "cpu", "short":
			fmt.Fprintf(&s, " -%s=%s", name, f.Value)
		}
	})
	return s.String()
}

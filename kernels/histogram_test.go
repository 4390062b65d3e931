package kernels

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"testing"
)

var histogram = flag.Bool("histogram", false, "print for each kernel and level how far errors stay below their stated bound")

// TestMain prints the histograms behind everything else.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if *histogram {
		printHistograms()
	}
	os.Exit(code)
}

// edges are the upper ends of the classes of error/bound; what lies above the
// last is a failure.
var edges = [...]float64{0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 1}

// errorCount counts the errors of one kernel on one level.
type errorCount struct {
	kernel, level string
	class         [len(edges) + 1]int
	worst         float64 // error/bound
	where         string
}

var errorCounts struct {
	sync.Mutex
	all map[[2]string]*errorCount
}

// observe counts one result if histograms are asked for. Results that are not
// finite, and those without a promise, have no error.
func observe(kernel, level string, got, want, bound float64, where func() string) {
	if !*histogram || got-got != 0 || want-want != 0 || bound == noPromise {
		return
	}
	errorCounts.Lock()
	defer errorCounts.Unlock()
	key := [2]string{kernel, level}
	c := errorCounts.all[key]
	if c == nil {
		if errorCounts.all == nil {
			errorCounts.all = map[[2]string]*errorCount{}
		}
		c = &errorCount{kernel: kernel, level: level}
		errorCounts.all[key] = c
	}
	ratio := 0.0
	if e := math.Abs(got - want); e > 0 {
		ratio = e / bound
	}
	i, _ := slices.BinarySearch(edges[:], ratio)
	c.class[i]++
	if ratio > c.worst {
		c.worst = ratio
		c.where = fmt.Sprintf("%s: %g, want %g, %.2f ULP off", where(), got, want, math.Abs(got-want)/ulp(want))
	}
}

func printHistograms() {
	var all []*errorCount
	for _, c := range errorCounts.all {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *errorCount) int {
		return cmp.Or(cmp.Compare(a.kernel, b.kernel), cmp.Compare(a.level, b.level))
	})
	fmt.Printf("\nerror/bound, per cent of results\n%-18s %-10s %10s %7s", "kernel", "level", "results", "0")
	for _, e := range edges[1:] {
		fmt.Printf(" %6s", fmt.Sprintf("≤%g", e))
	}
	fmt.Printf(" %6s  worst\n", ">1")
	for _, c := range all {
		n := 0
		for _, k := range c.class {
			n += k
		}
		fmt.Printf("%-18s %-10s %10d ", c.kernel, c.level, n)
		for _, k := range c.class {
			fmt.Printf(" %6.2f", 100*float64(k)/float64(n))
		}
		fmt.Printf("  %.3f", c.worst)
		if c.where != "" {
			fmt.Printf(" at %s", c.where)
		}
		fmt.Println()
	}
}

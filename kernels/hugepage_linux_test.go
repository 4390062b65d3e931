package kernels

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestAdviseHuge: a large block comes to lie in huge pages, where the system gives them
// to those who ask.
func TestAdviseHuge(t *testing.T) {
	const setting = "/sys/kernel/mm/transparent_hugepage/enabled"
	if text, err := os.ReadFile(setting); err != nil || strings.Contains(string(text), "[never]") {
		t.Skipf("%s: %s %v", setting, text, err)
	}
	huge := func() (kb int) {
		text, err := os.ReadFile("/proc/self/smaps_rollup")
		if err != nil {
			t.Skip(err)
		}
		m := regexp.MustCompile(`AnonHugePages: +(\d+) kB`).FindSubmatch(text)
		if m == nil {
			t.Skip("the kernel does not count huge pages")
		}
		kb, _ = strconv.Atoi(string(m[1]))
		return kb
	}
	before := huge()
	b := make([]float32, 64<<20/4)
	AdviseHuge(b)
	for i := range b {
		b[i] = 1
	}
	if got := huge() - before; got < 32<<10 {
		t.Errorf("%d kB of 64 MB are in huge pages", got)
	}
	AdviseHuge(b[:0])
	AdviseHuge([]byte(nil))
}

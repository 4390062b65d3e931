package kernels

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAdviseHuge: a large block comes to lie in huge pages, where a mapping that asks for
// them itself gets them: not in an emulator, and not where the system says never.
func TestAdviseHuge(t *testing.T) {
	huge := func() (kb int) {
		text, _ := os.ReadFile("/proc/self/smaps_rollup")
		if m := regexp.MustCompile(`AnonHugePages: +(\d+) kB`).FindSubmatch(text); m != nil {
			kb, _ = strconv.Atoi(string(m[1]))
		}
		return kb
	}
	const size = 32 << 20
	before := huge()
	own, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(own)
	asked := unix.Madvise(own, unix.MADV_HUGEPAGE)
	for i := 0; i < size; i += 4096 {
		own[i] = 1
	}
	given := huge() - before

	before = huge()
	b := make([]float32, size/4)
	AdviseHuge(b)
	for i := range b {
		b[i] = 1
	}
	got := huge() - before
	t.Logf("%d kB of 32 MB in huge pages, of a mapping %d kB (%v)", got, given, asked)
	if given >= size>>11 && got < size>>12 {
		t.Errorf("%d kB of 32 MB are in huge pages, of a mapping %d kB", got, given)
	}
	AdviseHuge(b[:0])
	AdviseHuge([]byte(nil))
}

package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"fuerte/kernels"
)

// level is one way to run the kernel tests.
type level struct {
	name string
	// set is the kernels.Set under test; its tests are subtests of that name.
	// The subtests of other sets are left out.
	set string
	// witness is the test that passes only where the level is really in use. Each
	// process of the tests begins or ends with it.
	witness string

	goarch, tags string   // of the build; goarch "": of this machine
	packages     []string // below kernels; "": kernels itself
	env          []string
	wrapper      []string // runs the test binary
	short        bool     // -test.short: the wrapper is slow

	// split cuts the tests into processes, each of the top-level tests that match
	// one of its patterns; the last takes the rest. Empty: one process.
	split [][]string
	// without are tests that mean nothing on the level, with the reason.
	without map[string]string
	needs   []need
	// emulator: the wrapper is to be prepared.
	emulator bool
	// lacking says why this machine cannot run the level, or nothing.
	lacking func() string
}

// need is a file, or a command, and the Debian package that has it.
type need struct{ file, pkg string }

func (n need) met() bool {
	if !filepath.IsAbs(n.file) {
		return inPath(n.file)
	}
	found, err := filepath.Glob(n.file)
	return err == nil && len(found) > 0
}

// sets are the names of all sets, on whatever machine.
var sets = []string{"reference", "avx2", "avx512", "neon"}

const (
	setWitness    = "TestSets/*/FMALoopFLOP" // fails where FUERTE_REQUIRE is not met
	openglWitness = "opengl.TestInfo"
)

var (
	emulatorNeeds = []need{
		{"xorriso", "xorriso"}, {"cpio", "cpio"}, {"/usr/lib/ISOLINUX/isolinux.bin", "isolinux"},
		{"/usr/lib/syslinux/modules/bios/ldlinux.c32", "syslinux-common"},
		{"/usr/share/bochs/BIOS-bochs-latest", "bochsbios"}, {"/usr/share/vgabios/vgabios.bin", "vgabios"},
	}
	// buildNeeds are for building the emulator.
	buildNeeds  = []need{{"g++", "g++"}, {"make", "make"}, {"xz", "xz-utils"}}
	qemuNeeds   = []need{{"qemu-aarch64-static", "qemu-user-static"}}
	openglNeeds = []need{{"/usr/lib*/*/libEGL.so.1", "libegl1"}, {"/usr/lib*/*/dri/swrast_dri.so", "libgl1-mesa-dri"}, {"glslangValidator", "glslang-tools"}}
)

// clocks are tests that measure time.
var clocks = map[string]string{
	"TestStopTheWorld": "times mean nothing under an emulator",
	"TestCallLength":   "times mean nothing under an emulator",
}

// levels are all of them, in the order of the table's columns.
func levels(root string) []*level {
	// optional are fields of Set that the CPU must have kernels for; others do without.
	cpu := func(set string, l level, optional ...string) *level {
		l.set, l.witness, l.packages = set, setWitness, append([]string{""}, l.packages...)
		require := set
		for _, field := range optional {
			require += "," + set + "." + field
		}
		l.env = []string{"FUERTE_ISA=" + set, "FUERTE_REQUIRE=" + require}
		return &l
	}
	qemu := maps.Clone(clocks)
	qemu["TestForcedLevel"] = "qemu-user cannot start itself again"
	neon := func(model string, optional ...string) *level {
		return cpu("neon", level{name: "neon-" + model, goarch: "arm64", packages: []string{"arm64"}, short: true,
			wrapper: []string{"qemu-aarch64-static", "-cpu", model}, without: qemu, needs: qemuNeeds, lacking: linux}, optional...)
	}
	emulator := filepath.Join(root, "bench", "cmd", "prove", "bochs", "run.sh")
	return []*level{
		cpu("reference", level{name: "reference"}),
		cpu("avx2", level{name: "avx2", goarch: "amd64", lacking: cpuLacks("avx2")}),
		// Always the emulator, so that the proof is the same on every machine.
		cpu("avx512", level{name: "avx512", goarch: "amd64", wrapper: []string{emulator}, short: true, without: clocks,
			needs: emulatorNeeds, emulator: true, lacking: linuxAMD64,
			split: [][]string{{"TestAttention*", "FuzzAttention"}, {"TestSets"}, {"TestGemm*", "FuzzGemm"}}}),
		cpu("avx512", level{name: "avx512-native", goarch: "amd64", lacking: cpuLacks("avx512")}),
		neon("max", "TileBF16"), neon("neoverse-n1"), neon("cortex-a72"),
		cpu("reference", level{name: "purego", tags: "purego"}),
		{name: "opengl", witness: openglWitness, tags: "opengl", packages: []string{"opengl"},
			env: []string{"FUERTE_OPENGL=software"}, needs: openglNeeds, lacking: linux},
	}
}

// leavesOut tells whether a pattern is of a test that the level is without.
func (l *level) leavesOut(pattern string) bool {
	top, _, _ := strings.Cut(pattern, "/")
	return l.without[top] != ""
}

// skips is the -test.skip that leaves out the subtests of other sets.
func (l *level) skips() string {
	others := slices.DeleteFunc(slices.Clone(sets), func(s string) bool { return s == l.set })
	if l.set == "" {
		return ""
	}
	return "/^(" + strings.Join(others, "|") + ")$"
}

// unmet says why the level cannot run here, or nothing.
func (l *level) unmet() string {
	if l.lacking != nil {
		if why := l.lacking(); why != "" {
			return why
		}
	}
	if missing := packagesOf(l.needs); len(missing) > 0 {
		return fmt.Sprintf("not installed: %s (-install does)", strings.Join(missing, ", "))
	}
	if l.emulator && !emulatorReady() {
		return "the emulator is not built (-install does)"
	}
	return ""
}

// packagesOf names the packages of the needs that are not met.
func packagesOf(needs []need) (missing []string) {
	for _, n := range needs {
		if !n.met() {
			missing = append(missing, n.pkg)
		}
	}
	return missing
}

// emulatorCache is where run.sh keeps kernel and Bochs.
func emulatorCache() string {
	if dir := os.Getenv("BOCHS_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "fuerte", "bochs")
}

func emulatorReady() bool {
	for _, name := range []string{"vmlinuz", "bochs-3.0"} {
		if _, err := os.Stat(filepath.Join(emulatorCache(), name)); err != nil {
			return false
		}
	}
	return true
}

// cpuLacks says why this machine cannot run a set without an emulator.
func cpuLacks(set string) func() string {
	return func() string {
		for _, s := range kernels.Sets() {
			switch {
			case s.Name == set && s.Missing != "":
				return "this CPU lacks " + s.Missing
			case s.Name == set:
				return ""
			}
		}
		return "this is a machine of " + runtime.GOARCH
	}
}

func linux() string {
	if runtime.GOOS != "linux" {
		return "this is " + runtime.GOOS + ", not linux"
	}
	return ""
}

func linuxAMD64() string {
	if why := linux(); why != "" {
		return why
	}
	if runtime.GOARCH != "amd64" {
		return "the emulator asks for an amd64 machine"
	}
	return ""
}

// choose returns the levels that a list names, in the order of all. A name is
// that of a level, or of a family: neon is neon-max and all others that begin
// with neon-.
func choose(all []*level, list string) ([]*level, error) {
	if list == "all" {
		return all, nil
	}
	var chosen []*level
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		is := func(l *level) bool { return l.name == name }
		if !slices.ContainsFunc(all, is) {
			is = func(l *level) bool { return strings.HasPrefix(l.name, name+"-") }
		}
		before := len(chosen)
		for _, l := range all {
			if is(l) {
				chosen = append(chosen, l)
			}
		}
		if len(chosen) == before {
			var names []string
			for _, l := range all {
				names = append(names, l.name)
			}
			return nil, fmt.Errorf("no level is called %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(l *level) bool { return !slices.Contains(chosen, l) }), nil
}

package main

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/klauspost/cpuid/v2"

	"fuerte/kernels"
)

// fact is a line about the machine.
type fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// machine tells what the numbers depend on.
func machine() []fact {
	c := cpuid.CPU
	size := func(bytes int) string {
		if bytes <= 0 {
			return "unknown"
		}
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	var usable []string
	for _, s := range kernels.Sets() {
		if s.Missing == "" {
			usable = append(usable, s.Name)
		}
	}
	virtual := ""
	if c.Has(cpuid.HYPERVISOR) {
		virtual = ", under a hypervisor"
	}
	return []fact{
		{"CPU", cmp.Or(c.BrandName, "unknown") + virtual},
		{"cores", fmt.Sprintf("%d physical, %d logical, %d usable", c.PhysicalCores, c.LogicalCores, runtime.NumCPU())},
		{"caches", fmt.Sprintf("L1d %s, L2 %s, L3 %s, line %d", size(c.Cache.L1D), size(c.Cache.L2), size(c.Cache.L3), c.CacheLine)},
		{"levels", strings.Join(usable, " ") + ", in use " + kernels.F32().Name},
		{"GEMM tuning", fmt.Sprintf("%+v", kernels.CurrentTuning())},
		{"governor", firstLine("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")},
		{"huge pages", firstLine("/sys/kernel/mm/transparent_hugepage/enabled")},
		{"load before", firstLine("/proc/loadavg")},
		{"system", runtime.GOOS + "/" + runtime.GOARCH + ", " + runtime.Version()},
	}
}

// busyLoad is the load above which a machine is not idle.
const busyLoad = 0.3

// load is the mean number of running processes in the last minute; −1 if the
// system does not tell.
func load() float64 {
	f, _, _ := strings.Cut(firstLine("/proc/loadavg"), " ")
	v, err := strconv.ParseFloat(f, 64)
	if err != nil {
		return -1
	}
	return v
}

func firstLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// availableMemory is what a program can take without swapping, in bytes; +Inf if
// the system does not tell.
func availableMemory() float64 {
	if kib := procField("/proc/meminfo", "MemAvailable:"); kib > 0 {
		return 1024 * kib
	}
	return math.Inf(1)
}

// procField is a number of a file of /proc, 0 if it is not there.
func procField(path, name string) float64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			v, _ := strconv.ParseFloat(f[1], 64)
			return v
		}
	}
	return 0
}

package main

import "regexp"

// cpu is a CPU that llvm-mca is asked about.
type cpu struct {
	name string // as -mcpu has it
	arch string
	core string // as people call it

	// prefix starts the names of the resources of LLVM's own model; another prefix
	// means that LLVM has none and borrows another CPU's.
	prefix string

	fmas   map[int]float64 // vector width in bits to vector FMAs started per cycle
	pairs  map[int]float64 // the same of products of pairs of BF16; nil: the CPU or LLVM's model has none
	source string          // of both

	corrections []correction
}

// starts is how many FMAs of a loop's kind the CPU starts per cycle.
func (c *cpu) starts(l *loop) float64 {
	if l.pairs {
		return c.pairs[l.width]
	}
	return c.fmas[l.width]
}

// correction is an error of LLVM's model of a CPU, put right by writing another
// instruction, which the model has right and which the silicon would run on the
// units that it really uses. It leaves every dependency and every address.
type correction struct {
	match   *regexp.Regexp
	replace string
	why     string
}

const (
	intelManual = "Intel 64 and IA-32 Architectures Optimization Reference Manual, the chapter of the core: 512-bit FMA on port 0 (fused with port 1) and on port 5; 256-bit on ports 0 and 1"
	amdGuide    = "AMD, Software Optimization Guide for the AMD Zen4 Microarchitecture, 57647: FMA on pipes 0 and 1, 256 bits wide; 512 bits take both for a cycle"
)

// loads512 is an error that Skylake-X and Ice Lake share.
var loads512 = correction{
	match:   regexp.MustCompile(`^(?:vmovups|vbroadcastss)(\s+[^%,]*\([^)]*\), %zmm\d+)$`),
	replace: "vmovntdqa$1",
	why: "The model gives each EVEX load a second micro-operation on ports 0, 1 or 5, which then competes with the FMAs. " +
		"A load needs ports 2 and 3 alone, which is what the same model gives the VEX forms and VMOVNTDQA of 512 bits; " +
		"https://github.com/andreas-abel/uiCA/issues/7 sees the same difference for broadcasts. (OSACA 0.7.1 gives the broadcast, " +
		"not the plain load, such a micro-operation too.) The loads are written as VMOVNTDQA.",
}

// fmas512 is an error of the models of the server cores that come after Skylake-X.
var fmas512 = correction{
	match:   regexp.MustCompile(`^(vfn?m(?:add|sub)\d+ps\s+)%zmm(\d+), %zmm(\d+), %zmm(\d+)$`),
	replace: "$1%ymm$2, %ymm$3, %ymm$4",
	why: "The model runs 512-bit FMAs on port 0 alone, as client cores do (for Ice Lake LLVM 16 still had both ports; " +
		"https://github.com/llvm/llvm-project/issues/81504 reports measurements of client cores); the server core has a second unit on port 5. " +
		"The FMAs are written with 256 bits, of which the model starts two a cycle, on ports 0 and 1, with the same latency.",
}

var cpus = []*cpu{
	{
		name: "skylake-avx512", arch: "amd64", core: "Skylake-X, Cascade Lake", prefix: "SKX",
		fmas: map[int]float64{128: 2, 256: 2, 512: 2}, source: intelManual,
		corrections: []correction{loads512},
	},
	{
		name: "icelake-server", arch: "amd64", core: "Ice Lake-SP", prefix: "ICX",
		fmas: map[int]float64{128: 2, 256: 2, 512: 2}, source: intelManual,
		corrections: []correction{loads512, fmas512},
	},
	{
		name: "sapphirerapids", arch: "amd64", core: "Sapphire Rapids", prefix: "SPR",
		fmas: map[int]float64{128: 2, 256: 2, 512: 2}, source: intelManual,
		corrections: []correction{fmas512},
	},
	{
		name: "znver4", arch: "amd64", core: "Zen 4", prefix: "Zn4",
		fmas: map[int]float64{128: 2, 256: 2, 512: 1}, source: amdGuide,
		corrections: []correction{{
			match:   regexp.MustCompile(`^vbroadcastss(\s+[^%,]*\([^)]*\), %zmm\d+)$`),
			replace: "vmovups$1",
			why: "The model runs a broadcasting load of 512 bits on FMA pipe 1 for a cycle. Measured on a Zen 4 " +
				"(gen/amd64/gemm.go), the tile of 14×32 with a broadcast for each two FMAs runs at 99 % of the register-only " +
				"loop, so the load takes no FMA pipe. The broadcasts are written as VMOVUPS, which the model gives the load units alone.",
		}},
	},
	{
		name: "neoverse-n1", arch: "arm64", core: "Neoverse N1", prefix: "N1",
		fmas:   map[int]float64{128: 2},
		source: "Arm Neoverse N1 Software Optimization Guide: FMLA on pipes V0 and V1",
	},
	{
		name: "neoverse-v1", arch: "arm64", core: "Neoverse V1", prefix: "V1",
		fmas:   map[int]float64{128: 4},
		pairs:  map[int]float64{128: 4},
		source: "Arm Neoverse V1 Software Optimization Guide: FMLA and BFDOT of ASIMD on pipes V0 to V3",
	},
}

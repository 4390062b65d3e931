package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// twoLoops is a loop of three FMAs, one of two behind it, and one around both.
const twoLoops = `
try:	file format elf64-x86-64

0000000000001000 <fuerte/kernels/amd64.Try.abi0>:
  1000:      	movq	0x8(%rsp), %rax
  1004:      	jb	0x1030 <fuerte/kernels/amd64.Try.abi0+0x30>
  1008:      	vbroadcastss	(%rcx), %zmm14
  100c:      	vfmadd231ps	%zmm12, %zmm14, %zmm0 # zmm0 = (zmm14 * zmm12) + zmm0
  1010:      	vfmadd231ps	%zmm13, %zmm14, %zmm1 # zmm1 = (zmm14 * zmm13) + zmm1
  1014:      	vfnmadd213ps	(%rdx), %zmm14, %zmm2 # zmm2 = -(zmm14 * zmm2) + mem
  1018:      	addq	$0x100, %rdx            # imm = 0x100
  101c:      	jae	0x1008 <fuerte/kernels/amd64.Try.abi0+0x8>
  1020:      	vfmadd231ps	%ymm12, %ymm14, %ymm0 # ymm0 = (ymm14 * ymm12) + ymm0
  1024:      	vfmadd231ps	%ymm12, %ymm14, %ymm1 # ymm1 = (ymm14 * ymm12) + ymm1
  1028:      	jne	0x1020 <fuerte/kernels/amd64.Try.abi0+0x20>
  102c:      	jne	0x1004 <fuerte/kernels/amd64.Try.abi0+0x4>
  1030:      	retq
`

const neonLoop = `
00000000001a57d0 <fuerte/kernels/arm64.Try.abi0>:
  1a57d0:      	subs	x0, x0, #0x1
  1a57d4:      	b.lt	0x1a57e8 <fuerte/kernels/arm64.Try.abi0+0x18>
  1a57d8:      	fmla	v0.4s, v24.4s, v25.s[1]
  1a57dc:      	add	x1, x1, #0x1, lsl #12   // =0x1000
  1a57e0:      	fmls	v1.4s, v24.4s, v24.4s
  1a57e4:      	cbnz	x0, 0x1a57d8 <fuerte/kernels/arm64.Try.abi0+0x8>
  1a57e8:      	ret
`

const neonPairs = `
00000000001a57d0 <fuerte/kernels/arm64.Try.abi0>:
  1a57d0:      	bfdot	v0.4s, v24.8h, v25.2h[1]
  1a57d4:      	bfdot	v1.4s, v24.8h, v24.8h
  1a57d8:      	cbnz	x0, 0x1a57d0 <fuerte/kernels/arm64.Try.abi0>
`

func TestInnerLoop(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       loop
	}{
		{"amd64", twoLoops, loop{fmas: 3, width: 512, code: []string{
			"vbroadcastss (%rcx), %zmm14",
			"vfmadd231ps %zmm12, %zmm14, %zmm0",
			"vfmadd231ps %zmm13, %zmm14, %zmm1",
			"vfnmadd213ps (%rdx), %zmm14, %zmm2",
			"addq $0x100, %rdx",
			"jae loop",
		}}},
		{"arm64", neonLoop, loop{fmas: 2, width: 128, code: []string{
			"fmla v0.4s, v24.4s, v25.s[1]",
			"add x1, x1, #0x1, lsl #12",
			"fmls v1.4s, v24.4s, v24.4s",
			"cbnz x0, loop",
		}}},
		{"arm64 pairs", neonPairs, loop{fmas: 2, width: 128, pairs: true, code: []string{
			"bfdot v0.4s, v24.8h, v25.2h[1]",
			"bfdot v1.4s, v24.8h, v24.8h",
			"cbnz x0, loop",
		}}},
	} {
		code, err := parseCode(c.text)
		if err != nil {
			t.Fatal(err)
		}
		got := innerLoop(code)
		if got == nil {
			t.Errorf("%s: no loop found", c.name)
			continue
		}
		if got.fmas != c.want.fmas || got.width != c.want.width || got.pairs != c.want.pairs || !slices.Equal(got.code, c.want.code) {
			t.Errorf("%s: got %d FMAs of %d bits in\n%s\nwant %d of %d in\n%s", c.name,
				got.fmas, got.width, strings.Join(got.code, "\n"), c.want.fmas, c.want.width, strings.Join(c.want.code, "\n"))
		}
	}
	code, err := parseCode("  10:\tvmovups\t(%rax), %ymm0\n  14:\tjne\t0x10 <f>\n")
	if err != nil {
		t.Fatal(err)
	}
	if l := innerLoop(code); l != nil {
		t.Errorf("a loop without FMAs is taken: %v", l.code)
	}
}

func TestParseSimulation(t *testing.T) {
	const text = `{"CodeRegions": [{"Instructions": ["fmla", "subs"],
		"SummaryView": {"Iterations": 100, "TotalCycles": 1250},
		"ResourcePressureView": {"ResourcePressureInfo": [
			{"InstructionIndex": 0, "ResourceIndex": 0, "ResourceUsage": 99},
			{"InstructionIndex": 2, "ResourceIndex": 0, "ResourceUsage": 3},
			{"InstructionIndex": 2, "ResourceIndex": 1, "ResourceUsage": 12.04}]}}],
		"TargetInfo": {"CPUName": "neoverse-n1", "Resources": ["N1UnitB", "N1UnitD.\u0001"]}}`
	s, resource, err := parseSimulation([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if s.cycles != 12.5 || s.busiest != "N1UnitD 12.0" || resource != "N1UnitB" {
		t.Errorf("got %+v and %q", s, resource)
	}
	for _, bad := range []string{"", "{}", `{"CodeRegions": [{}], "TargetInfo": {"Resources": ["x"]}}`} {
		if _, _, err := parseSimulation([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a simulation", bad)
		}
	}
}

func TestProblem(t *testing.T) {
	l := &loop{fmas: 48, width: 256}
	c := &cpu{fmas: map[int]float64{256: 2}}
	for _, x := range []struct {
		row  row
		want string
	}{
		{row{loop: l, cpu: c, plain: &simulation{cycles: 25.2}}, ""},
		{row{loop: l, cpu: c, plain: &simulation{cycles: 25.4}}, "94.5 %"},
		{row{loop: l, cpu: c, plain: &simulation{cycles: 23}}, "too many"},
		{row{loop: l, cpu: c, plain: &simulation{cycles: 48}, corrected: &simulation{cycles: 24}}, ""},
		{row{loop: l, cpu: c, plain: &simulation{cycles: 48}, corrected: &simulation{cycles: 30}}, "80.0 %"},
		{row{loop: l, cpu: c, plain: &simulation{cycles: 24}, borrowed: "A57UnitB"}, "A57UnitB"},
		{row{loop: &loop{}, cpu: c}, "no loop"},
	} {
		if got := x.row.problem(); (got == "") != (x.want == "") || !strings.Contains(got, x.want) {
			t.Errorf("got %q, want %q", got, x.want)
		}
	}
}

// TestCorrections holds every correction to an example, and to leaving what it
// does not mean.
func TestCorrections(t *testing.T) {
	same := []string{
		"vmovups (%rdx), %ymm12", "vbroadcastss (%rcx), %ymm14", "vmovups %zmm1, (%rdx)", "vmovups %zmm1, %zmm2",
		"vbroadcastss %xmm1, %zmm2", "vfmadd231ps %ymm12, %ymm14, %ymm0", "addq $0x60, %rcx", "jae loop",
	}
	for _, c := range cpus {
		if out, applied := correct(same, c.corrections); len(applied) > 0 || !slices.Equal(out, same) {
			t.Errorf("%s: corrections changed what has no error: %q", c.name, out)
		}
	}
	code := []string{"vmovups 0x40(%rdx), %zmm28", "vbroadcastss 0x4(%rcx,%rax,8), %zmm30", "vfmadd231ps %zmm28, %zmm30, %zmm2"}
	for name, want := range map[string][]string{
		"skylake-avx512": {"vmovntdqa 0x40(%rdx), %zmm28", "vmovntdqa 0x4(%rcx,%rax,8), %zmm30", code[2]},
		"icelake-server": {"vmovntdqa 0x40(%rdx), %zmm28", "vmovntdqa 0x4(%rcx,%rax,8), %zmm30", "vfmadd231ps %ymm28, %ymm30, %ymm2"},
		"sapphirerapids": {code[0], code[1], "vfmadd231ps %ymm28, %ymm30, %ymm2"},
		"znver4":         {code[0], "vmovups 0x4(%rcx,%rax,8), %zmm30", code[2]},
	} {
		i := slices.IndexFunc(cpus, func(c *cpu) bool { return c.name == name })
		got, applied := correct(code, cpus[i].corrections)
		if !slices.Equal(got, want) || len(applied) != len(cpus[i].corrections) {
			t.Errorf("%s: got %q by %d corrections, want %q", name, got, len(applied), want)
		}
	}
}

func TestReport(t *testing.T) {
	why := correction{why: "a reason"}
	c := &cpu{name: "chip", core: "Chip", source: "its guide", fmas: map[int]float64{512: 2}}
	r := &report{Command: "go run ./bench/cmd/mca -o x.md", Date: "2026-11-23", Version: "LLVM version 19", Rows: []*row{
		{loop: &loop{function: "F", fmas: 24, width: 512}, cpu: c, modelFMAs: 2, plain: &simulation{24, "P0 24.0"},
			corrected: &simulation{12, "P0 12.0"}, applied: []correction{why}},
		{loop: &loop{function: "G", fmas: 24, width: 512}, cpu: c, modelFMAs: 2, plain: &simulation{24, "P0 24.0"}},
		{loop: &loop{function: "H"}, cpu: c},
	}}
	var b bytes.Buffer
	if err := r.write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| F | chip | its own, 2.0 | 24 | 512 | 2 | 12.0 | 24.00 | 50.0 % | P0 24.0 | 12.00 | 100.0 % | ok, corrected 1 |\n",
		"| G | chip | its own, 2.0 | 24 | 512 | 2 | 12.0 | 24.00 | 50.0 % | P0 24.0 |  |  | 50.0 % of the FMA units' bound |\n",
		"no loop with FMAs |\n", "\n1. a reason\n", "\n- chip (Chip): its guide\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, &b)
		}
	}
	if !strings.HasPrefix(b.String(), "`go run ./bench/cmd/mca -o x.md`, ") {
		t.Error("the report does not begin with its command")
	}
	if p := r.problems(); len(p) != 2 {
		t.Errorf("got %d problems, want 2: %q", len(p), p)
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{{"-cpu", "z80"}, {"-kernel", "("}, {"-nonsense"}, {"argument"}} {
		if status := run(context.Background(), args, &bytes.Buffer{}, &bytes.Buffer{}); status != 2 {
			t.Errorf("%q: status %d, want 2", args, status)
		}
	}
	if got, want := quote("^(GemmTile|x)"), "'^(GemmTile|x)'"; got != want {
		t.Errorf("quote: got %s, want %s", got, want)
	}
}

// needLLVM finds the programs, or skips: the models of all CPUs came with LLVM 19.
func needLLVM(t *testing.T) *tools {
	t.Helper()
	tl := &tools{}
	if err := tl.find(t.Context()); err != nil {
		t.Skip("not run: ", err)
	}
	var major int
	if _, after, ok := strings.Cut(tl.version, "LLVM version "); ok {
		fmt.Sscanf(after, "%d.", &major)
	}
	if major < 19 {
		t.Skipf("not run: %s, want 19 or later", tl.version)
	}
	if _, err := exec.LookPath(filepath.Join(tl.dir, "llvm-objdump")); err != nil {
		t.Skip("not run: ", err)
	}
	return tl
}

// TestSlowLoop sees that a loop which waits for its sums fails on every CPU, with
// corrections too.
func TestSlowLoop(t *testing.T) {
	tl := needLLVM(t)
	for _, c := range cpus {
		for width := range c.fmas {
			l := &loop{function: "slow", arch: c.arch, width: width, fmas: 2}
			if c.arch == "arm64" {
				l.code = []string{"fmla v0.4s, v2.4s, v3.4s", "fmla v1.4s, v2.4s, v3.4s", "subs x0, x0, #1", "b.ge loop"}
			} else {
				letter := map[int]string{128: "x", 256: "y", 512: "z"}[width]
				l.code = []string{"vbroadcastss (%rcx), %Rmm2", "vfmadd231ps %Rmm2, %Rmm3, %Rmm0", "vfmadd231ps %Rmm2, %Rmm3, %Rmm1", "subq $1, %rax", "jae loop"}
				for i := range l.code {
					l.code[i] = strings.ReplaceAll(l.code[i], "%R", "%"+letter)
				}
			}
			r, err := measure(t.Context(), tl, l, c)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(r.problem(), "of the FMA units' bound") {
				t.Errorf("%s, %d bits: %.2f cycles pass: %q", c.name, width, r.best().cycles, r.problem())
			}
			// What the corrections of 512 bits must bring about is the silicon's rate.
			if width < 512 && math.Abs(r.modelFMAs-c.fmas[width]) > 0.01 {
				t.Errorf("%s, %d bits: the model starts %.2f FMAs per cycle, want %g", c.name, width, r.modelFMAs, c.fmas[width])
			}
		}
	}
}

// TestMicroKernels sees that the command finds the loop of every tile and that all
// reach the wanted share.
func TestMicroKernels(t *testing.T) {
	if testing.Short() {
		t.Skip("not run: it builds two programs")
	}
	tl := needLLVM(t)
	r := &report{}
	if err := analyse(t.Context(), tl, cpus, regexp.MustCompile(microKernels), r); err != nil {
		t.Fatal(err)
	}
	for _, p := range r.problems() {
		t.Error(p)
	}
	for arch, perCPU := range map[string]int{"amd64": 4, "arm64": 2} {
		names, err := functions(filepath.Join("..", "..", "..", "kernels", arch))
		if err != nil {
			t.Fatal(err)
		}
		want, rows := 0, 0
		for _, n := range names {
			switch {
			case !regexp.MustCompile(microKernels).MatchString(n):
			case strings.Contains(n, "BF16"):
				want++ // the N1 has no BFDOT
			default:
				want += perCPU
			}
		}
		for _, row := range r.Rows {
			if row.loop.arch == arch {
				rows++
			}
		}
		if want == 0 || rows != want {
			t.Errorf("%s: %d rows, want %d", arch, rows, want)
		}
	}
}

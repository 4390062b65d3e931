package main

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

func TestMain(m *testing.M) {
	if err := enterModule(); err != nil {
		panic(err)
	}
	m.Run()
}

const sampleAMD64 = `//go:build amd64 && !purego

#include "textflag.h"

// func TryAVX2(y []float32, x []float32)
TEXT ·TryAVX2(SB), NOSPLIT, $0-48
	MOVQ    y_base+0(FP), AX
	MOVQ    x_base+24(FP), CX
	MOVQ    y_len+8(FP), DX
	XORQ    BX, BX
	MOVQ       CX, DI
	ADDQ       BX, DI
	PREFETCHT0 (DI)
	SUBQ    $0x00000008, DX
	JB      done2
	PCALIGN $0x20

loop1:
	VMOVUPS      (CX)(BX*4), Y0
	VSUBPS       Y1, Y0, Y2
	VFMADD213PS  one<>+0(SB), Y0, Y1
	VMOVAPS      Y0, Y1
	VADDPS       Y0, Y2, Y2
	VMOVAPS      X0, X2
	VMOVUPS      X2, (AX)
	VCMPPS       $0x1d, Y0, Y1, Y2
	VMOVUPS      Y0, (AX)(BX*4)
	SUBQ         $0x00000008, DX
	JAE          loop1

done2:
	ADDQ    $0x00000008, DX
	VZEROUPPER
	RET

DATA one<>+0(SB)/4, $0x3f800000
DATA one<>+4(SB)/4, $0x3f800000
GLOBL one<>(SB), RODATA|NOPTR, $8

DATA prefix<>+0(SB)/4, $0xffffffff
DATA prefix<>+4(SB)/4, $0x00000000
GLOBL prefix<>(SB), RODATA|NOPTR, $8
`

// mutationsOf lists "operator: mutated" for the first instruction that starts
// with text.
func mutationsOf(t *testing.T, asm, arch, text string) (list []string) {
	t.Helper()
	s, err := parseText("try.s", asm)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.funcs[0].body, func(l line) bool { return strings.HasPrefix(l.text, text) })
	if i < 0 {
		t.Fatalf("no instruction %s", text)
	}
	for _, m := range mutants(s, s.funcs[0], arch) {
		if m.data == nil && m.index == i {
			list = append(list, m.Operator+": "+m.Mutated)
		}
	}
	return list
}

func TestOperatorsAMD64(t *testing.T) {
	for _, c := range []struct {
		instruction string
		want        []string
	}{
		{"MOVQ y_base", []string{"drop: (none)", "argument: MOVQ y_base+8(FP), AX"}},
		{"MOVQ y_len", []string{"drop: (none)", "argument: MOVQ y_len+16(FP), DX", "argument: MOVQ y_len+32(FP), DX"}},
		{"XORQ BX", []string{"drop: (none)"}},
		{"MOVQ CX, DI", nil}, // for PREFETCHT0 alone
		{"PREFETCHT0", nil},
		{"SUBQ", []string{"drop: (none)", "opposite: ADDQ $0x00000008, DX", "immediate: SUBQ $9, DX"}},
		{"JB", []string{"jump: JAE done2", "jump: (none)"}},
		{"VMOVUPS (CX)", []string{"drop: (none)", "offset: VMOVUPS -4(CX)(BX*4), Y0", "base: VMOVUPS (AX)(BX*4), Y0", "scale: VMOVUPS (CX)(BX*8), Y0", "narrow: VMOVUPS (CX)(BX*4), X0"}},
		{"VSUBPS", []string{"drop: (none)", "opposite: VADDPS Y1, Y0, Y2", "swap: VSUBPS Y0, Y1, Y2", "register 1: VSUBPS Y2, Y0, Y2", "register 2: VSUBPS Y1, Y1, Y2", "narrow: VSUBPS X1, X0, X2"}},
		{"VFMADD213PS", []string{"drop: (none)", "opposite: VFNMADD213PS one<>+0(SB), Y0, Y1", "swap: VFMADD231PS one<>+0(SB), Y0, Y1", "register 2: VFMADD213PS one<>+0(SB), Y1, Y1", "narrow: VFMADD213PS one<>+0(SB), X0, X1"}},
		// Y1 is a copy of Y0 here, so that the wrong register is Y2.
		{"VADDPS", []string{"drop: (none)", "opposite: VSUBPS Y0, Y2, Y2", "register 1: VADDPS Y2, Y2, Y2", "register 2: VADDPS Y0, Y0, Y2", "narrow: VADDPS X0, X2, X2"}},
		// X0, X1 and X2 are the same, and no other is used; of Y2 the upper half is not Y0's.
		{"VMOVUPS X2", []string{"drop: (none)", "offset: VMOVUPS X2, -4(AX)", "base: VMOVUPS X2, (CX)", "widen: VMOVUPS Y2, (AX)"}},
		{"VCMPPS", []string{"drop: (none)", "immediate: VCMPPS $25, Y0, Y1, Y2", "immediate: VCMPPS $30, Y0, Y1, Y2", "register 2: VCMPPS $0x1d, Y2, Y1, Y2", "register 3: VCMPPS $0x1d, Y0, Y2, Y2", "narrow: VCMPPS $0x1d, X0, X1, X2"}},
		{"VZEROUPPER", nil},
		{"RET", nil},
	} {
		got := mutationsOf(t, sampleAMD64, "amd64", c.instruction)
		slices.Sort(got)
		want := slices.Clone(c.want)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", c.instruction, got, want)
		}
	}
}

func TestConstants(t *testing.T) {
	s, err := parseText("try.s", sampleAMD64)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range mutants(s, s.funcs[0], "amd64") {
		if m.data != nil {
			got = append(got, m.Mutated)
		}
	}
	// The function does not read prefix.
	if len(got) != 3 || got[0] != "$0xbf800000 in every lane" || got[1] != "$0x3f808000 in every lane" || !strings.HasSuffix(got[2], "this lane") {
		t.Errorf("constants: %q", got)
	}
	if !s.symbol("prefix").mask() || s.symbol("one").mask() {
		t.Error("prefix is a mask and one is not")
	}
}

func TestOperatorsARM64(t *testing.T) {
	const asm = `TEXT ·TryNEON(SB), NOSPLIT, $0-48
	MOVD y_len+8(FP), R0
	FMOVQ.P 16(R1), F5
	FMOVS.P F5, 4(R2)
	FLDPQ.P 32(R1), (F6, F7)
	FMOVS (R1)(R2), F5
	VST1 V5.S[1], (R2)
	VFMLA V9.S4, V5.S4, V0.S4
	VMOV V9.B16, V24.B16
	VMOV V9.B16, V26.B16
	VFMLA V24.S4, V5.S4, V3.S4
	VUZP2 V9.H8, V5.H8, V5.H8
	MOVHU.P 2(R1), R3
	FMOVS R3, F5
	FMOVD.P F5, 8(R2)
	WORD $0x4e217801 // fcvtl2 v1.4s, v0.8h
	WORD $0x4ea5d421 // fsub v1.4s, v1.4s, v5.4s
	WORD $0x4fb81343 // fmla v3.4s, v26.4s, v24.s[1]
	WORD $0x4e25d421 // fsub v1.4s, v1.4s, v5.4s
	SUBS $1, R0, R0
	BLT done
done:
	RET
`
	for _, c := range []struct {
		instruction string
		want        []string
	}{
		{"FMOVQ.P", []string{"drop: (none)", "offset: FMOVQ.P 20(R1), F5", "base: FMOVQ.P 16(R2), F5", "narrow: FMOVD.P 16(R1), F5"}},
		{"FMOVS.P", []string{"drop: (none)", "register 1: FMOVS.P F6, 4(R2)", "offset: FMOVS.P F5, 8(R2)", "base: FMOVS.P F5, 4(R1)", "widen: FMOVD.P F5, 4(R2)"}},
		{"FLDPQ.P", []string{"drop: (none)", "swap: FLDPQ.P 32(R1), (F7, F6)", "offset: FLDPQ.P 48(R1), (F6, F7)", "base: FLDPQ.P 32(R2), (F6, F7)"}},
		{"FMOVS (", []string{"drop: (none)", "base: FMOVS (R2)(R2), F5", "index: FMOVS (R1)(R3), F5", "index: FMOVS (R1), F5", "widen: FMOVD (R1)(R2), F5"}},
		{"VST1", []string{"drop: (none)", "base: VST1 V5.S[1], (R1)", "lane: VST1 V5.S[0], (R2)"}},
		{"VFMLA", []string{"drop: (none)", "opposite: VFMLS V9.S4, V5.S4, V0.S4", "register 1: VFMLA V24.S4, V5.S4, V0.S4", "register 2: VFMLA V9.S4, V6.S4, V0.S4", "narrow: VFMLA V9.S2, V5.S2, V0.S2"}},
		// V26 is a copy of what V24 is one of, so that the wrong register is V0.
		{"VFMLA V24", []string{"drop: (none)", "opposite: VFMLS V24.S4, V5.S4, V3.S4", "register 1: VFMLA V0.S4, V5.S4, V3.S4", "register 2: VFMLA V24.S4, V6.S4, V3.S4", "narrow: VFMLA V24.S2, V5.S2, V3.S2"}},
		{"VUZP2", []string{"drop: (none)", "opposite: VUZP1 V9.H8, V5.H8, V5.H8", "swap: VUZP2 V5.H8, V9.H8, V5.H8", "register 1: VUZP2 V0.H8, V5.H8, V5.H8", "register 2: VUZP2 V9.H8, V6.H8, V5.H8", "narrow: VUZP2 V9.H4, V5.H4, V5.H4"}},
		{"MOVHU.P", []string{"drop: (none)", "offset: MOVHU.P 6(R1), R3", "base: MOVHU.P 2(R2), R3", "widen: MOVWU.P 2(R1), R3"}},
		{"FMOVS R3", []string{"drop: (none)", "register 1: FMOVS R0, F5"}},
		{"FMOVD.P", []string{"drop: (none)", "register 1: FMOVD.P F6, 8(R2)", "offset: FMOVD.P F5, 12(R2)", "base: FMOVD.P F5, 8(R1)", "narrow: FMOVS.P F5, 8(R2)", "widen: FMOVQ.P F5, 8(R2)"}},
		// fcvtl, which is the narrow one too.
		{"WORD $0x4e217801", []string{"drop: (none)", "opposite: WORD $0x0e217801", "register 1: WORD $0x4e217821"}},
		// fadd, n+1, m+1, n and m exchanged, two lanes.
		{"WORD $0x4ea5", []string{"drop: (none)", "opposite: WORD $0x4e25d421", "register 1: WORD $0x4ea5d461", "register 2: WORD $0x4ea6d421", "swap: WORD $0x4ea1d4a1", "narrow: WORD $0x0ea5d421"}},
		// fmls, the register behind the last is the first and so is that behind v26,
		// which holds the same as v24; lane 0.
		{"WORD $0x4fb8", []string{"drop: (none)", "opposite: WORD $0x4fb85343", "register 1: WORD $0x4fb81003", "register 2: WORD $0x4fa01343", "lane: WORD $0x4f981343", "narrow: WORD $0x0fb81343"}},
		{"WORD $0x4e25", []string{"unknown: UNKNOWN fsub v1.4s, v1.4s, v5.4s"}}, // it is an fadd
		{"BLT", []string{"jump: BGE done", "jump: (none)", "tail: JMP done"}},
	} {
		got := mutationsOf(t, asm, "arm64", c.instruction)
		slices.Sort(got)
		want := slices.Clone(c.want)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", c.instruction, got, want)
		}
	}
}

// TestParse refuses what would otherwise be left out unseen.
func TestParse(t *testing.T) {
	for _, bad := range []string{
		"\tADDQ AX, BX\n",
		"TEXT something else\n",
		"TEXT ·A(SB), NOSPLIT, $0-0\nDATA x<>+4(SB)/4, $0x00000000\n",
		"TEXT ·A(SB), NOSPLIT, $0-0\nDATA x<>+0(SB)/8, $0x00000000\n",
		"",
	} {
		if _, err := parseText("try.s", bad); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
	l := parseLine(1, "VMASKMOVPS (CX)(SI*4), Y0, Y1")
	if want := []string{"(CX)(SI*4)", "Y0", "Y1"}; !slices.Equal(l.args, want) {
		t.Errorf("operands %q, want %q", l.args, want)
	}
}

// TestTree holds for the files in the tree: each parses, each function that the
// sets use has mutants, no encoding is unknown, and no operator makes the
// instruction that stands there.
func TestTree(t *testing.T) {
	for _, l := range allLevels {
		fields, err := fieldsOf(filepath.Join("kernels", "dispatch_"+l.arch+".go"), l.arch)
		if err != nil {
			t.Fatal(err)
		}
		paths, _ := filepath.Glob(filepath.Join("kernels", l.arch, "*_"+l.arch+".s"))
		found := 0
		for _, path := range paths {
			if isCandidates(path) {
				continue
			}
			s, err := parse(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range s.funcs {
				if !strings.HasSuffix(f.name, l.suffix) {
					continue
				}
				found++
				if len(fields[f.name]) == 0 {
					t.Errorf("%s fills no field", f.name)
				}
				list := mutants(s, f, l.arch)
				if len(list) < 20 {
					t.Errorf("%s has only %d mutants", f.name, len(list))
				}
				for i, m := range list {
					if m.ID != i+1 || m.Operator == "unknown" || m.Original == m.Mutated {
						t.Errorf("%s: %+v", f.name, m)
					}
				}
			}
		}
		if found < 20 {
			t.Errorf("%s: %d functions", l.name, found)
		}
	}
}

func TestFields(t *testing.T) {
	fields, err := fieldsOf(filepath.Join("kernels", "dispatch_amd64.go"), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"AddAVX2": "Add", "GemmTile6x16AVX2": "Tile", "PackRows32AVX2": "PackRows", "PackCols8AVX2": "PackCols",
		"AdamWAVX512": "AdamW", "FMAPeakAVX2": "FMALoop",
	} {
		if got := fields[name]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s fills %v, want %s", name, got, want)
		}
	}
}

func TestSample(t *testing.T) {
	s, err := parseText("try.s", sampleAMD64)
	if err != nil {
		t.Fatal(err)
	}
	list := mutants(s, s.funcs[0], "amd64")
	a, b, c := sample(list, 9, 1), sample(list, 9, 1), sample(list, 9, 2)
	if len(a) != 9 || !slices.Equal(a, b) || slices.Equal(a, c) {
		t.Error("the sample depends on more, or less, than the seed")
	}
	if got := sample(list, -1, 1); len(got) != len(list) {
		t.Errorf("all are %d of %d", len(got), len(list))
	}
}

// TestWrite applies a mutant to its own copy only.
func TestWrite(t *testing.T) {
	s, err := parseText("try.s", sampleAMD64)
	if err != nil {
		t.Fatal(err)
	}
	f := s.funcs[0]
	list := mutants(s, f, "amd64")
	i := slices.IndexFunc(list, func(m *mutant) bool { return m.Mutated == "VSUBPS Y0, Y1, Y2" })
	k := slices.IndexFunc(list, func(m *mutant) bool { return m.data != nil })
	var plain, swapped, constant strings.Builder
	f.write(&plain, 0, nil, nil)
	f.write(&swapped, list[i].ID, list[i], nil)
	f.write(&constant, list[k].ID, list[k], nil)
	normal := func(b *strings.Builder, m *mutant) string {
		return strings.Replace(b.String(), variant("·TryAVX2", m.ID), variant("·TryAVX2", 0), 1)
	}
	if want := strings.Replace(plain.String(), "VSUBPS Y1, Y0", "VSUBPS Y0, Y1", 1); normal(&swapped, list[i]) != want {
		t.Errorf("got\n%s\nwant\n%s", normal(&swapped, list[i]), want)
	}
	if want := strings.Replace(plain.String(), "one<>", variant("one_TryAVX2", list[k].ID)+"<>", 1); normal(&constant, list[k]) != want {
		t.Errorf("got\n%s\nwant\n%s", normal(&constant, list[k]), want)
	}
}

func TestTally(t *testing.T) {
	r := &record{Functions: []*tally{{Function: "TryAVX2", Level: "avx2"}}}
	sum := r.Functions[0]
	m := &mutant{Func: "TryAVX2", ID: 1, Operator: "drop", Original: "SUBQ $1, AX", Mutated: "(none)"}
	for _, o := range []outcome{failed, failed, faulted, timedOut, survived} {
		sum.count(m, o)
	}
	if sum.Mutants != 5 || sum.caught() != 4 || len(sum.Survived) != 1 || sum.share() != 0.8 {
		t.Errorf("tally %+v", sum)
	}
	if got := r.markdown(); !strings.Contains(got, "SUBQ $1, AX") {
		t.Errorf("the record does not name the survivor:\n%s", got)
	}
	if len(sum.Contradicted) != 0 {
		t.Errorf("no row fits %v, and yet it is contradicted", m)
	}
	m = &mutant{Func: "TryAVX2", ID: 2, Operator: "jump", Original: "JZ end5", Mutated: "(none)"}
	sum.count(m, survived)
	if len(sum.Equivalent) != 1 || len(sum.Contradicted) != 0 {
		t.Errorf("tally %+v of an equivalent mutant", sum)
	}
	sum.count(m, failed)
	if len(sum.Contradicted) != 1 || !strings.Contains(r.summary(), "too broad") {
		t.Errorf("a caught mutant with a reason to be equivalent is not reported: %s", r.summary())
	}
}

// TestEquivalences says why for every row, in patterns that compile.
func TestEquivalences(t *testing.T) {
	for _, e := range equivalences {
		if e.reason == "" || e.original == "" {
			t.Errorf("%+v: needs an instruction and a reason", e)
		}
		for _, p := range []string{e.function, e.operator, e.nth, e.before, e.original, e.mutated} {
			matches(p, "")
		}
	}
}

func TestEach(t *testing.T) {
	var n atomic.Int32
	stop := errors.New("stop")
	if err := each(3, make([]int, 100), func(int) error { n.Add(1); return nil }); err != nil || n.Load() != 100 {
		t.Errorf("%v after %d calls", err, n.Load())
	}
	if err := each(3, make([]int, 100), func(int) error { return stop }); err != stop {
		t.Errorf("error %v", err)
	}
}

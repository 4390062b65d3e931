package gen

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// encodings tells which CPU features an opcode needs in each of its encodings;
// an empty one does not exist. Source: Intel 64 and IA-32 Architectures Software
// Developer's Manual, volume 2, the column "CPUID Feature Flag" of each opcode.
type encodings struct {
	always string // one encoding, whatever the operands
	x, y   string // VEX.128 (and scalars), VEX.256
	evex   string // EVEX, at 512 bits; narrower ones need AVX512VL too …
	fixed  bool   // … but for scalars and what has one width
}

const every = "every amd64 CPU"

var (
	general  = encodings{always: every}
	avx      = encodings{x: "AVX", y: "AVX", evex: "AVX512F"}
	avxOnly  = encodings{x: "AVX", y: "AVX"}
	logic    = encodings{x: "AVX", y: "AVX", evex: "AVX512DQ"}
	integers = encodings{x: "AVX", y: "AVX2", evex: "AVX512F"}
	fma      = encodings{x: "FMA3", y: "FMA3", evex: "AVX512F"}
	scalar   = encodings{x: "AVX", evex: "AVX512F", fixed: true}
	newer    = encodings{evex: "AVX512F"}
	f16c     = encodings{x: "F16C", y: "F16C", evex: "AVX512F"}
	words    = encodings{x: "AVX", y: "AVX2", evex: "AVX512BW"}
)

// amd64Opcodes holds every opcode that kernels may use. One that is not here
// fails: legacy SSE mixes badly with VEX, CALL leaves the function, PUSH
// and POP move the stack, STD turns the direction of string instructions.
var amd64Opcodes = map[string]encodings{
	"ADDQ": general, "SUBQ": general, "NEGQ": general, "LEAQ": general, "MOVQ": general, "MOVL": general, "MOVB": general,
	"XORQ": general, "ORQ": general, "NOTL": general, "SHLL": general, "SHLQ": general, "ANDQ": general, "TESTQ": general, "TESTL": general, "TESTB": general,
	"JZ": general, "JNZ": general, "JB": general, "JMP": general, "CMPQ": general, "JAE": general, "RET": general,
	"PCALIGN":    general,          // no instruction: pads with no-ops
	"PREFETCHT0": {always: "MMX+"}, // avo's word; the SDM asks for SSE
	"PREFETCHT1": {always: "MMX+"},
	"PREFETCHT2": {always: "MMX+"},
	"VDPBF16PS":  {evex: "AVX512BF16"},

	"VADDPS": avx, "VSUBPS": avx, "VMULPS": avx, "VDIVPS": avx, "VSQRTPS": avx, "VMAXPS": avx, "VMINPS": avx, "VCMPPS": avx,
	"VMOVUPS": avx, "VMOVAPS": avx, "VMOVNTPS": avx, "VMOVSHDUP": avx, "VCVTDQ2PS": avx,
	"VUNPCKLPS": avx, "VUNPCKHPS": avx, "VUNPCKLPD": avx, "VUNPCKHPD": avx,
	"VBROADCASTSS": avx, "VBROADCASTSS X": {x: "AVX2", y: "AVX2", evex: "AVX512F"}, // from memory, from a register
	"VANDPS": logic, "VORPS": logic, "VXORPS": logic,
	"VADDSS": scalar, "VMULSS": scalar, "VDIVSS": scalar, "VSQRTSS": scalar, "VMOVSS": scalar, "VMOVSD": scalar, "VCVTSI2SSQ": scalar,
	"VMOVHLPS": scalar, "VMOVLPS": scalar, // 128 bits only
	"VBLENDVPS": avxOnly, "VMASKMOVPS": avxOnly, "VMOVMSKPS": avxOnly, "VINSERTF128": avxOnly, "VHADDPS": avxOnly, "VEXTRACTF128": avxOnly,
	"VZEROUPPER": {always: "AVX"},
	"VPADDD":     integers, "VPSUBD": integers, "VPSLLD": integers, "VPSRAD": integers,
	"VPCMPGTD": integers, "VPERMPS": {y: "AVX2", evex: "AVX512F"},
	"VPSRLD": integers, "VPMOVZXWD": integers, "VPMOVSXBD": integers,
	"VPACKUSDW": words, "VPBROADCASTW": {x: "AVX2", y: "AVX2", evex: "AVX512BW"}, "VPBROADCASTB": {x: "AVX2", y: "AVX2", evex: "AVX512BW"}, "VPEXTRW": {x: "AVX", evex: "AVX512BW", fixed: true},
	"VCVTPH2PS": f16c, "VCVTPS2PH": f16c,
	"VFMADD213PS": fma, "VFMADD231PS": fma, "VFNMADD213PS": fma, "VFNMADD231PS": fma, "VFMSUB213PS": fma,

	"VBLENDMPS": newer, "VSCALEFPS": newer, "VPXORD": newer, "VPMOVDW": newer, "VEXTRACTF64X4": newer,
	"VPMOVD2M": {evex: "AVX512DQ"},
	"KMOVW":    {always: "AVX512F"}, "KORW": {always: "AVX512F"}, "KXORW": {always: "AVX512F"}, // of bytes DQ, of double and quad words BW
}

var (
	vectorRegister = regexp.MustCompile(`^([XYZ])(\d+)$`)
	maskRegister   = regexp.MustCompile(`^K\d$`)
)

// row finds the opcode's row: "VBROADCASTSS X" is that with an X register first.
func (i instruction) row() (key string, row encodings, ok bool) {
	key = i.op
	if len(i.args) > 0 && strings.HasPrefix(i.args[0], "X") {
		if row, ok = amd64Opcodes[key+" X"]; ok {
			return key + " X", row, true
		}
	}
	row, ok = amd64Opcodes[key]
	return key, row, ok
}

// needs returns the features of one amd64 instruction. EVEX is what reaches
// beyond the 16 registers of AVX, to 512 bits, or takes a mask.
func (i instruction) needs() ([]string, error) {
	_, row, ok := i.row()
	if !ok {
		return nil, fmt.Errorf("opcode %s is not in the table", i.op)
	}
	if row.always == every {
		return nil, nil
	}
	if row.always != "" {
		return []string{row.always}, nil
	}
	evex, width := len(i.suffix) > 0, byte('X')
	for _, a := range i.args {
		if maskRegister.MatchString(a) {
			evex = true
		}
		if m := vectorRegister.FindStringSubmatch(a); m != nil {
			width = max(width, m[1][0])
			evex = evex || m[1] == "Z" || len(m[2]) == 2 && m[2] >= "16"
		}
	}
	var need string
	switch {
	case evex && row.evex != "" && width < 'Z' && !row.fixed:
		return []string{row.evex, "AVX512VL"}, nil
	case evex || row.x == "" && row.y == "":
		need = row.evex
	case width == 'Y':
		need = row.y
	default:
		need = row.x
	}
	if need == "" {
		return nil, fmt.Errorf("the table has no such encoding of %s %v", i.op, i.args)
	}
	return []string{need}, nil
}

// TestNeeds: the rule of the encodings on examples from the manual, and that it
// can fail.
func TestNeeds(t *testing.T) {
	for line, want := range map[string]string{
		"VADDPS X1, X2, X3":           "[AVX]",
		"VADDPS Y1, Y2, Y15":          "[AVX]",
		"VADDPS Y1, Y2, Y16":          "[AVX512F AVX512VL]",
		"VADDPS X1, X2, K1, X3":       "[AVX512F AVX512VL]",
		"VADDPS Z1, Z2, Z3":           "[AVX512F]",
		"VADDPS.Z (AX), Z2, K1, Z3":   "[AVX512F]",
		"VPADDD X1, X2, X3":           "[AVX]",
		"VPADDD Y1, Y2, Y3":           "[AVX2]",
		"VBROADCASTSS (AX), Y3":       "[AVX]",
		"VBROADCASTSS X0, Y3":         "[AVX2]",
		"VBROADCASTSS X0, Z3":         "[AVX512F]",
		"VXORPS Y1, Y1, Y1":           "[AVX]",
		"VXORPS Z1, Z1, Z1":           "[AVX512DQ]",
		"VFMADD231PS (AX), Y1, Y2":    "[FMA3]",
		"VFMADD231PS X1, X2, X20":     "[AVX512F AVX512VL]",
		"VADDSS X1, X2, X20":          "[AVX512F]",
		"VCMPPS $0, Z1, Z2, K1":       "[AVX512F]",
		"VCVTPH2PS (AX), Y1":          "[F16C]",
		"VCVTPH2PS X1, X17":           "[AVX512F AVX512VL]",
		"VCVTPS2PH $0, Z1, K1, (AX)":  "[AVX512F]",
		"VPACKUSDW X1, X2, X3":        "[AVX]",
		"VPACKUSDW Z1, Z2, Z3":        "[AVX512BW]",
		"VPEXTRW $0, X1, (AX)":        "[AVX]",
		"VEXTRACTF64X4 $1, Z1, Y2":    "[AVX512F]",
		"VPMOVD2M Z1, K1":             "[AVX512DQ]",
		"VMASKMOVPS (AX), Y1, Y2":     "[AVX]",
		"VMASKMOVPS (AX), Y1, Y17":    "error",
		"VINSERTF128 $1, X1, Z1, Z2":  "error",
		"VPERMB Z1, Z2, Z3":           "error",
		"ADDPS X1, X2":                "error",
		"PUSHQ AX":                    "error",
		"ADDQ $1, AX":                 "[]",
		"VMOVUPS sym<>+0(SB), Y1":     "[AVX]",
		"VMOVUPS Z1, K1, (AX)(BX*4)":  "[AVX512F]",
		"VBROADCASTSS eps+72(FP), Z1": "[AVX512F]",
	} {
		got := "error"
		if need, err := parse(t, "", "TEXT ·F(SB)\n\t"+line)[0].code[0].needs(); err == nil {
			got = fmt.Sprint(need)
		}
		if got != want {
			t.Errorf("%s needs %s, want %s", line, got, want)
		}
	}
}

// TestFeatures computes what each function needs from its instructions and
// compares it with avo's comment and with what the sets that use it ask for.
func TestFeatures(t *testing.T) {
	d, seen := readDispatch(t, "amd64"), map[string]bool{}
	for _, f := range functions(t, "amd64") {
		need := map[string]int{} // feature → the first line that needs it
		for _, i := range f.code {
			if i.label != "" {
				continue
			}
			key, _, _ := i.row()
			seen[key] = true
			list, err := i.needs()
			if err != nil {
				t.Errorf("%s:%d: %v", f.file, i.line, err)
			}
			for _, feature := range list {
				if need[feature] == 0 {
					need[feature] = i.line
				}
			}
		}
		computed := slices.Sorted(maps.Keys(need))
		if !slices.Equal(computed, slices.Sorted(slices.Values(f.requires))) {
			t.Errorf("%s: %s needs %v, avo's comment says %v", f.file, f.name, computed, f.requires)
		}
		delete(need, "MMX+") // prefetches: every amd64 CPU
		for _, set := range d.uses[f.name] {
			for feature, line := range need {
				if !slices.Contains(d.guard[set], feature) && !slices.Contains(d.extra[f.name], feature) {
					t.Errorf("%s:%d: %s needs %s, but the set %s, which uses it, does not ask for it", f.file, line, f.name, feature, set)
				}
			}
		}
	}
	for key := range amd64Opcodes {
		if !seen[key] {
			t.Errorf("no kernel uses %s: take it out of the table", key)
		}
	}
}

// arm64Extensions are the features that WORDs beyond ARMv8.0-A need. Source: Arm
// Architecture Reference Manual, DDI 0487, C7.2.
var arm64Extensions = map[string]string{"bfdot": "BF16"}

// TestExtensions: the sets that use a function ask for the extensions that its
// instructions need.
func TestExtensions(t *testing.T) {
	d, seen := readDispatch(t, "arm64"), map[string]bool{}
	for _, f := range functions(t, "arm64") {
		for _, i := range f.code {
			name, _, _ := strings.Cut(i.comment, " ")
			feature := arm64Extensions[name]
			if i.op != "WORD" || feature == "" || seen[f.name+name] {
				continue
			}
			seen[name], seen[f.name+name] = true, true
			for _, set := range d.uses[f.name] {
				if !slices.Contains(d.guard[set], feature) && !slices.Contains(d.extra[f.name], feature) {
					t.Errorf("%s:%d: %s needs %s, but the set %s, which uses it, does not ask for it", f.file, i.line, f.name, feature, set)
				}
			}
		}
	}
	for name := range arm64Extensions {
		if !seen[name] {
			t.Errorf("no kernel uses %s: take it out of the table", name)
		}
	}
}

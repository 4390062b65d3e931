package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	anyARMVector = regexp.MustCompile(`\b[VFvs](\d+)\b`)
	armVector    = regexp.MustCompile(`^([VF])(\d+)(\.\w+)?$`)
	armWord      = regexp.MustCompile(`^R\d+$`)
	armPair      = regexp.MustCompile(`^\(F(\d+), F(\d+)\)$`)
	armMemory    = regexp.MustCompile(`^(\d*)\((R\d+)\)$`)
	armIndexed   = regexp.MustCompile(`^\((R\d+)\)\((R\d+)\)$`)
	anyARMWord   = regexp.MustCompile(`\bR(\d+)\b`)
	anyARMBase   = regexp.MustCompile(`\(R(\d+)\)`)
	arrangement  = regexp.MustCompile(`\.(S4|H8|B16)\b`)
	laneIndex    = regexp.MustCompile(`\[(\d)\]`)
)

var arm64Opposite = map[string]string{
	"VFMLA": "VFMLS", "VFMLS": "VFMLA", "VADD": "VSUB", "VSUB": "VADD", "VAND": "VORR", "VBIT": "VBIF", "VBIF": "VBIT",
	"VZIP1": "VZIP2", "VZIP2": "VZIP1", "VTRN1": "VTRN2", "VTRN2": "VTRN1", "VUZP2": "VUZP1", "VUSHR": "VSHL", "VORR": "VAND",
	"FADDS": "FSUBS", "FADDD": "FSUBD", "FMULD": "FADDD", "FDIVD": "FMULD", "FMADDS": "FMSUBS", "FMAXS": "FMINS",
	"ADD": "SUB", "SUB": "ADD", "BLT": "BGE", "BGE": "BLT", "CBZ": "CBNZ",
}

// arm64Ordered are the instructions whose first two operands may not be
// exchanged.
var arm64Ordered = []string{"VSUB", "VZIP1", "VZIP2", "VTRN1", "VTRN2", "VUZP2", "VBIT", "VBIF", "FDIVD", "SUB"}

// arm64Edits returns a function that lists the edits of instruction i of f.
func arm64Edits(f *function) func(i int) []edit {
	vectors, words, bases := f.numbers(anyARMVector), f.numbers(anyARMWord), f.numbers(anyARMBase)
	scalar := f.scalarLoops()
	return func(i int) (list []edit) {
		l := f.body[i]
		add := func(operator, text string) {
			if operator != "narrow" || !scalar[i] {
				list = append(list, edit{operator, text})
			}
		}
		switch {
		case slices.Contains(kept, l.op):
			return nil
		case l.op == "WORD":
			for _, e := range wordEdits(l, func(r int) int { return f.otherVector(i, vectors, "V", r) }) {
				add(e.operator, e.text)
			}
			return list
		case l.op == "BLT" || l.op == "BGE" || l.op == "CBZ":
			add("jump", join(arm64Opposite[l.op], l.args))
			if !f.narrowerFollows(i) && !f.runsOnce(i) {
				add("jump", "")
			}
			if l.op == "BLT" && counts(f.body[i-1], 1) || l.op == "CBZ" {
				add("tail", join("JMP", l.args[len(l.args)-1:]))
			}
			return list
		}
		if l.op != "VMOV" || l.args[0] != l.args[1] {
			add("drop", "")
		}
		if zeroes(l) {
			return list
		}
		if o, ok := arm64Opposite[l.op]; ok {
			add("opposite", join(o, l.args))
		}
		last := len(l.args) - 1
		if slices.Contains(arm64Ordered, l.op) && last >= 2 && l.args[0] != l.args[1] && !strings.HasPrefix(l.args[0], "$") {
			add("swap", l.swapped(0, 1))
		}
		for k, a := range l.args {
			if m := armVector.FindStringSubmatch(a); m != nil && k < last {
				to := f.otherVector(i, vectors, m[1], atoi(m[2]))
				add(fmt.Sprintf("register %d", k+1), l.with(k, m[1]+strconv.Itoa(to)+m[3]))
			}
			if armWord.MatchString(a) && k < last {
				add(fmt.Sprintf("register %d", k+1), l.with(k, "R"+strconv.Itoa(next(words, atoi(a[1:])))))
			}
			if m := armPair.FindStringSubmatch(a); m != nil {
				add("swap", l.with(k, "(F"+m[2]+", F"+m[1]+")"))
			}
			if m := armMemory.FindStringSubmatch(a); m != nil {
				step := 4
				if strings.Contains(l.op, "PQ") { // pairs of 16 bytes
					step = 16
				}
				// VLD1 and VST1 have no offset, and VLD1R can only step by what it loads.
				if !strings.HasPrefix(l.op, "VLD1") && l.op != "VST1" {
					add("offset", l.with(k, strconv.Itoa(atoi(m[1])+step)+"("+m[2]+")"))
				}
				add("base", l.with(k, m[1]+"(R"+strconv.Itoa(next(bases, atoi(m[2][1:])))+")"))
			}
			if m := armIndexed.FindStringSubmatch(a); m != nil {
				add("base", l.with(k, "(R"+strconv.Itoa(next(bases, atoi(m[1][1:])))+")("+m[2]+")"))
				add("index", l.with(k, "("+m[1]+")(R"+strconv.Itoa(next(words, atoi(m[2][1:])))+")"))
				add("index", l.with(k, "("+m[1]+")"))
			}
			if m := immediate.FindStringSubmatch(a); m != nil {
				add("immediate", l.with(k, "$"+strconv.Itoa(atoi(m[1])+1)))
			}
			if m := laneIndex.FindStringSubmatch(a); m != nil {
				add("lane", l.with(k, strings.Replace(a, m[0], fmt.Sprintf("[%d]", atoi(m[1])^1), 1)))
			}
			list = append(list, parameterEdits(f, l, k)...)
		}
		if t := arrangement.ReplaceAllStringFunc(l.text, func(s string) string {
			return map[string]string{".S4": ".S2", ".H8": ".H4", ".B16": ".B8"}[s]
		}); t != l.text {
			add("narrow", t)
		}
		switch op, step, _ := strings.Cut(l.op, "."); op {
		case "FMOVQ": // 8 of 16 bytes; a step stays what it is
			add("narrow", join(strings.TrimSuffix("FMOVD."+step, "."), l.args))
		case "FMOVS", "FMOVD", "MOVHU", "MOVH":
			if op == "FMOVD" && strings.Contains(l.text, "(R") {
				add("narrow", join(strings.TrimSuffix("FMOVS."+step, "."), l.args))
			}
			if strings.Contains(l.text, "(R") && !f.readsOn(i) { // neither a parameter nor a register
				wide := map[string]string{"FMOVS": "FMOVD.", "FMOVD": "FMOVQ.", "MOVHU": "MOVWU.", "MOVH": "MOVW."}[op]
				add("widen", join(strings.TrimSuffix(wide+step, "."), l.args))
			}
		}
		return list
	}
}

// readsOn tells whether load i is followed, before the next label, by another one
// through the same pointer. That one lies behind it, so that what a wider load would
// read as well is data; it comes into lanes that nobody reads.
func (f *function) readsOn(i int) bool {
	base := anyARMBase.FindString(f.body[i].args[0])
	for _, l := range f.body[i+1:] {
		switch {
		case base == "" || l.label:
			return false
		case len(l.args) == 2 && strings.HasPrefix(l.op, "F") && anyARMBase.FindString(l.args[0]) == base:
			return true
		}
	}
	return false
}

// scalarLoops marks the instructions of the loops that handle one element a
// pass, in lane 0 of the vectors: there a narrower instruction does the same.
func (f *function) scalarLoops() []bool {
	marks := make([]bool, len(f.body))
	for i, l := range f.body {
		if l.label || l.op != "BGE" || !counts(f.body[i-1], 1) {
			continue
		}
		start := slices.IndexFunc(f.body, func(o line) bool { return o.label && o.text == l.args[0]+":" })
		if start < 0 || start > i {
			continue
		}
		loop := f.body[start+1 : i]
		moves := func(prefixes ...string) bool {
			return slices.ContainsFunc(loop, func(o line) bool {
				return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(o.op, p) })
			})
		}
		if moves("FMOVS") && !moves("FMOVQ", "FLDPQ", "FSTPQ") {
			for k := start; k < i; k++ {
				marks[k] = true
			}
		}
	}
	return marks
}

// Encodings of the Arm Architecture Reference Manual, C4.1.96: the fixed bits
// of a group, and the instructions of the group without their registers.
const (
	threeSame   = 0xffe0fc00 // Vd, Vn, Vm of one arrangement
	twoMisc     = 0xfffffc00 // Vd, Vn
	byElement   = 0xffc0f400 // Vd, Vn, one lane of Vm: lane in bits 11 and 21
	byImmediate = 0xff80fc00 // Vd, Vn and a shift in bits 16…22
)

// encoding is one instruction on words and what a slip would make of it.
type encoding struct {
	mask, bits, opposite uint32
	ordered              bool
}

// encodings are the instructions that the generator writes as WORD.
var encodings = map[string][]encoding{
	"fadd":   {{threeSame, 0x4e20d400, 0x4ea0d400, false}},
	"fsub":   {{threeSame, 0x4ea0d400, 0x4e20d400, true}},
	"fmul":   {{threeSame, 0x6e20dc00, 0x4e20d400, false}, {byElement, 0x4f809000, 0x4f801000, false}},
	"fdiv":   {{threeSame, 0x6e20fc00, 0x6e20dc00, true}},
	"fmax":   {{threeSame, 0x4e20f400, 0x4ea0f400, false}},
	"fmin":   {{threeSame, 0x4ea0f400, 0x4e20f400, false}},
	"faddp":  {{threeSame, 0x6e20d400, 0x4e20d400, true}},
	"fcmgt":  {{threeSame, 0x6ea0e400, 0x6e20e400, true}},
	"fcmeq":  {{threeSame, 0x4e20e400, 0x6e20e400, false}},
	"bic":    {{threeSame, 0x4e601c00, 0x4e201c00, true}},
	"fmla":   {{byElement, 0x4f801000, 0x4f805000, false}},
	"fmls":   {{byElement, 0x4f805000, 0x4f801000, false}},
	"bfdot":  {{byElement, 0x4f40f000, 0x4fc0f000, false}}, // bfmlalt
	"fneg":   {{twoMisc, 0x6ea0f800, 0x4ea0f800, false}},
	"fabs":   {{twoMisc, 0x4ea0f800, 0x6ea0f800, false}},
	"frintn": {{twoMisc, 0x4e218800, 0x4e219800, false}},
	"fcvtns": {{twoMisc, 0x4e21a800, 0x4e21d800, false}},
	"scvtf":  {{twoMisc, 0x4e21d800, 0x4e21a800, false}},
	"fsqrt":  {{twoMisc, 0x6ea1f800, 0x4ea0f800, false}},
	"fcvtl":  {{twoMisc, 0x0e217800, 0x4e217800, false}},
	"fcvtl2": {{twoMisc, 0x4e217800, 0x0e217800, false}},
	"fcvtn":  {{twoMisc, 0x0e216800, 0x4e216800, false}},
	"fcvtn2": {{twoMisc, 0x4e216800, 0x0e216800, false}},
	"fmaxv":  {{twoMisc, 0x6e30f800, 0x6eb0f800, false}},
	"sshr":   {{byImmediate, 0x4f000400, 0x6f000400, false}},
}

// wordEdits breaks an instruction that is written as its encoding. A word that
// is not what its comment says yields an edit that no assembler accepts, so
// that it is seen; a test in gen/arm64 compares the two. For a register other
// gives a wrong one.
func wordEdits(l line, other func(r int) int) []edit {
	name, _, _ := strings.Cut(l.comment, " ")
	w := uint32(atoi(strings.TrimPrefix(l.args[0], "$")))
	i := slices.IndexFunc(encodings[name], func(e encoding) bool { return w&e.mask == e.bits })
	if i < 0 {
		return []edit{{"unknown", "UNKNOWN " + l.comment}}
	}
	e := encodings[name][i]
	list := []edit{{"drop", ""}}
	add := func(operator string, w uint32) {
		list = append(list, edit{operator, fmt.Sprintf("WORD $0x%08x", w)})
	}
	add("opposite", w&^e.mask|e.opposite)
	field := func(operand int, shift uint) {
		add(fmt.Sprintf("register %d", operand), w&^(31<<shift)|uint32(other(int(w>>shift&31)))<<shift)
	}
	field(1, 5)
	if e.mask == threeSame || e.mask == byElement {
		field(2, 16)
		if n, m := w>>5&31, w>>16&31; e.ordered && n != m {
			add("swap", w&^(31<<5|31<<16)|m<<5|n<<16)
		}
	}
	switch e.mask {
	case byElement:
		add("lane", w^1<<21)
	case byImmediate:
		add("immediate", w+1<<16)
	}
	if name != "fmaxv" { // it has no arrangement of two lanes
		add("narrow", w&^(1<<30))
	}
	return list
}

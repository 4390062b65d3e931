package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Operands are written in Go's order: sources first, the destination last.
var (
	vectorReg = regexp.MustCompile(`^([XYZ])(\d+)$`)
	anyVector = regexp.MustCompile(`\b[XYZ](\d+)\b`)
	maskReg   = regexp.MustCompile(`^K(\d)$`)
	anyMask   = regexp.MustCompile(`\bK(\d)\b`)
	wordReg   = regexp.MustCompile(`^(AX|BX|CX|DX|SI|DI|BP|R\d+)$`)
	anyWord   = regexp.MustCompile(`\b(AX|BX|CX|DX|SI|DI|BP|R\d+)\b`)
	memory    = regexp.MustCompile(`^(-?\d*)\((\w+)\)(?:\((\w+)\*(\d)\))?$`)
	immediate = regexp.MustCompile(`^\$(-?(?:0x[0-9a-f]+|\d+))$`)
)

// amd64Opposite is the instruction that a slip of the pen would write.
var amd64Opposite = map[string]string{
	"VADDPS": "VSUBPS", "VSUBPS": "VADDPS", "VMULPS": "VADDPS", "VDIVPS": "VMULPS",
	"VADDSS": "VSUBSS", "VSUBSS": "VADDSS", "VMULSS": "VADDSS", "VDIVSS": "VMULSS",
	"VFMADD213PS": "VFNMADD213PS", "VFNMADD213PS": "VFMADD213PS", "VFMSUB213PS": "VFMADD213PS",
	"VFMADD231PS": "VFNMADD231PS", "VFNMADD231PS": "VFMADD231PS", "VFMSUB231PS": "VFMADD231PS",
	"VMAXPS": "VMINPS", "VMINPS": "VMAXPS", "VANDPS": "VORPS", "VORPS": "VANDPS", "VXORPS": "VORPS", "VPXORD": "VPORD",
	"VPADDD": "VPSUBD", "VPSUBD": "VPADDD", "VPSLLD": "VPSRLD", "VPSRAD": "VPSRLD", "VPSRLD": "VPSLLD", "VPACKUSDW": "VPACKSSDW", "VPMOVZXWD": "VPMOVZXBD", "VPMOVSXBD": "VPMOVZXBD", "VSCALEFPS": "VMULPS",
	"VUNPCKLPS": "VUNPCKHPS", "VUNPCKHPS": "VUNPCKLPS", "VUNPCKLPD": "VUNPCKHPD", "VUNPCKHPD": "VUNPCKLPD",
	"VMOVSHDUP": "VMOVSLDUP", "ADDQ": "SUBQ", "SUBQ": "ADDQ", "KORW": "KANDW", "KXORW": "KORW", "NOTL": "NEGL",
	"JB": "JAE", "JAE": "JB", "JZ": "JNZ", "JNZ": "JZ", "JNE": "JEQ", "JEQ": "JNE",
}

// amd64Ordered are the instructions whose first two operands may not be
// exchanged; of the fused ones only the addend matters, see swapAddend.
var amd64Ordered = []string{"VSUBPS", "VDIVPS", "VSUBSS", "VDIVSS", "VPSUBD", "VSCALEFPS", "VMAXPS", "VMINPS",
	"VUNPCKLPS", "VUNPCKHPS", "VUNPCKLPD", "VUNPCKHPD", "VMOVHLPS", "VBLENDVPS", "VBLENDMPS", "VPACKUSDW"}

// kept are never touched: VZEROUPPER is checked by reading, the rest has no
// effect on a result or is no fault of a kernel.
var kept = []string{"RET", "VZEROUPPER", "PCALIGN", "PREFETCHT0", "PREFETCHT1", "PREFETCHT2", "FUNCDATA", "PCDATA"}

// amd64Edits returns a function that lists the edits of instruction i of f.
func amd64Edits(f *function) func(i int) []edit {
	vectors, masks := f.numbers(anyVector), f.numbers(anyMask)
	var words, bases []string
	for _, l := range f.body {
		if l.label {
			continue
		}
		for _, a := range l.args {
			words = append(words, anyWord.FindAllString(a, -1)...)
			if m := memory.FindStringSubmatch(a); m != nil && !prefetches(l) {
				bases = append(bases, m[2])
			}
		}
	}
	for _, list := range []*[]string{&words, &bases} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	other := func(list []string, r string) string {
		i, _ := slices.BinarySearch(list, r+"\x00")
		return list[i%len(list)]
	}
	return func(i int) (list []edit) {
		l := f.body[i]
		add := func(operator, text string) { list = append(list, edit{operator, text}) }
		if slices.Contains(kept, l.op) || f.onlyPrefetched(l) {
			return nil
		}
		if strings.HasPrefix(l.op, "J") {
			return amd64Jump(f, i)
		}
		if !redundant(f.body[max(i-1, 0)], l) {
			add("drop", "")
		}
		if zeroes(l) {
			return list
		}
		if o, ok := amd64Opposite[l.op]; ok {
			add("opposite", join(o, l.args))
		}
		last := len(l.args) - 1
		if slices.Contains(amd64Ordered, l.op) && last >= 2 {
			a, b := 0, 1
			if l.op == "VBLENDVPS" { // the mask comes first
				a, b = 1, 2
			}
			if vectorReg.MatchString(l.args[a]) && l.args[a] != l.args[b] {
				add("swap", l.swapped(a, b))
			}
		}
		if t := swapAddend(l); t != "" {
			add("swap", t)
		}
		for k, a := range l.args {
			if k < last {
				switch {
				case vectorReg.MatchString(a):
					m := vectorReg.FindStringSubmatch(a)
					to := f.otherVector(i, vectors, m[1], atoi(m[2]))
					add(fmt.Sprintf("register %d", k+1), l.with(k, m[1]+strconv.Itoa(to)))
				case maskReg.MatchString(a):
					add(fmt.Sprintf("register %d", k+1), l.with(k, "K"+strconv.Itoa(next(masks, atoi(a[1:])))))
				case wordReg.MatchString(a) && !strings.HasPrefix(l.op, "SHL"):
					add(fmt.Sprintf("register %d", k+1), l.with(k, other(words, a)))
				}
			}
			if m := memory.FindStringSubmatch(a); m != nil {
				rest := a[strings.IndexByte(a, '('):]
				step := 4
				if i%2 == 1 && strings.HasPrefix(l.op, "V") {
					step = -4
				}
				add("offset", l.with(k, strconv.Itoa(atoi(m[1])+step)+rest))
				add("base", l.with(k, strings.Replace(a, "("+m[2]+")", "("+other(bases, m[2])+")", 1)))
				if m[4] != "" {
					scale := map[string]string{"8": "4", "4": "8", "2": "4", "1": "2"}[m[4]]
					add("scale", l.with(k, strings.Replace(a, "*"+m[4]+")", "*"+scale+")", 1)))
				}
			}
			if m := immediate.FindStringSubmatch(a); m != nil {
				list = append(list, immediateEdits(l, k, atoi(m[1]))...)
			}
			list = append(list, parameterEdits(f, l, k)...)
		}
		return append(list, amd64Widths(l)...)
	}
}

// zeroes tells whether l is the idiom that clears a register, of which only the
// absence is a fault.
func zeroes(l line) bool {
	switch l.op {
	case "VXORPS", "VPXORD", "XORQ", "KXORW", "VEOR":
		return !slices.ContainsFunc(l.args, func(a string) bool { return a != l.args[0] })
	}
	return false
}

// redundant tells whether l, behind before, changes nothing: a move of a
// register to itself, or a test for zero of a sum whose flags say it already.
func redundant(before, l line) bool {
	switch l.op {
	case "VMOVUPS", "VMOVAPS":
		return l.args[0] == l.args[1]
	case "TESTQ":
		return before.op == "ADDQ" && l.args[0] == l.args[1] && before.args[1] == l.args[0]
	}
	return false
}

func prefetches(l line) bool { return strings.HasPrefix(l.op, "PREFETCH") }

// onlyPrefetched tells whether l computes nothing but an address for
// prefetches: no other instruction reads its destination.
func (f *function) onlyPrefetched(l line) bool {
	if len(l.args) == 0 {
		return false
	}
	dest := l.args[len(l.args)-1]
	if !wordReg.MatchString(dest) || !slices.Contains([]string{"MOVQ", "ADDQ", "LEAQ"}, l.op) {
		return false
	}
	prefetched := false
	for _, o := range f.body {
		if o.label {
			continue
		}
		for k, a := range o.args {
			if !slices.Contains(anyWord.FindAllString(a, -1), dest) {
				continue
			}
			switch {
			case prefetches(o):
				prefetched = true
			case k < len(o.args)-1 || a != dest || o.op != "MOVQ" && o.op != "ADDQ" && o.op != "LEAQ":
				return false
			}
		}
	}
	return prefetched
}

// swapAddend exchanges the addend with a factor by changing the form of a fused
// instruction: 213 is s2·d+s3, 231 is s2·s3+d. The two factors commute.
func swapAddend(l line) string {
	op := ""
	switch {
	case strings.Contains(l.op, "213"):
		op = strings.Replace(l.op, "213", "231", 1)
	case strings.Contains(l.op, "231"):
		op = strings.Replace(l.op, "231", "213", 1)
	}
	if op == "" || l.args[0] == l.args[len(l.args)-1] {
		return ""
	}
	return join(op, l.args)
}

// immediateEdits changes operand k, the constant v, by one: a step, a count, a
// shift, a lane, a predicate.
func immediateEdits(l line, k, v int) []edit {
	to := func(n int) edit { return edit{"immediate", l.with(k, "$"+strconv.Itoa(n))} }
	switch l.op {
	case "VCMPPS":
		// Bit 2 of a predicate negates it; 1↔2, 5↔6, 9↔10, 13↔14 are strict or not.
		switch list := []edit{to(v ^ 4)}; v & 3 {
		case 1:
			return append(list, to(v+1))
		case 2:
			return append(list, to(v-1))
		default:
			return list
		}
	case "VEXTRACTF128", "VINSERTF128", "VEXTRACTF64X4":
		return []edit{to(v ^ 1)}
	case "TESTQ", "TESTL":
		return []edit{to(v * 2)}
	}
	return []edit{to(v + 1)}
}

// amd64Jump breaks a jump: never taken, taken on the opposite, and, where it
// leads round a tail, always taken.
func amd64Jump(f *function, i int) (list []edit) {
	l := f.body[i]
	if o, ok := amd64Opposite[l.op]; ok {
		list = append(list, edit{"jump", join(o, l.args)})
	}
	if !f.narrowerFollows(i) && !f.runsOnce(i) {
		list = append(list, edit{"jump", ""})
	}
	if l.op == "JZ" || l.op == "JB" && counts(f.body[i-1], 1) {
		list = append(list, edit{"tail", join("JMP", l.args)})
	}
	return list
}

// counts tells whether l takes n from a counter.
func counts(l line, n int) bool {
	m := immediate.FindStringSubmatch(strings.Join(l.args[:min(1, len(l.args))], ""))
	return m != nil && (l.op == "SUBQ" || l.op == "SUBS") && atoi(m[1]) == n
}

// narrowerFollows tells whether jump i closes a loop behind which a loop with a
// smaller step takes all that is left: then a jump that is missing costs time
// and changes nothing else.
func (f *function) narrowerFollows(i int) bool {
	var rest []line
	for _, l := range f.body[i+1:] {
		if !l.label {
			rest = append(rest, l)
		}
	}
	if !strings.HasPrefix(f.body[i].args[0], "loop") || len(rest) < 3 {
		return false
	}
	back, again, skip := rest[0], rest[1], rest[2]
	return strings.HasPrefix(back.op, "ADD") && strings.HasPrefix(again.op, "SUB") && (skip.op == "JB" || skip.op == "BLT") &&
		back.args[len(back.args)-1] == again.args[len(again.args)-1]
}

// runsOnce tells whether jump i closes a loop that takes half the step of the
// loop in front of it, which leaves less than two such steps.
func (f *function) runsOnce(i int) bool {
	label := f.body[i].args[0]
	start := slices.IndexFunc(f.body, func(l line) bool { return l.label && l.text == label+":" })
	if start > i || start < 4 { // ADD $wide; SUB $step; JB done; PCALIGN; loop:
		return false
	}
	back, first := f.body[start-4], f.body[start-3]
	if back.label || first.label || !strings.HasPrefix(back.op, "ADD") || !strings.HasPrefix(first.op, "SUB") {
		return false
	}
	wide, step := immediate.FindStringSubmatch(back.args[0]), immediate.FindStringSubmatch(first.args[0])
	return wide != nil && step != nil && atoi(wide[1]) == 2*atoi(step[1])
}

// amd64Widths makes loads and stores wider, and vector instructions narrower:
// the upper half of the lanes is then not done.
func amd64Widths(l line) (list []edit) {
	add := func(operator, text string) { list = append(list, edit{operator, text}) }
	last := len(l.args) - 1
	if last < 1 {
		return nil
	}
	load, store := memory.MatchString(l.args[0]), memory.MatchString(l.args[last])
	switch {
	case l.op == "VMOVSS" && load, l.op == "VBROADCASTSS" && load:
		add("widen", join("VMOVUPS", l.args))
	case l.op == "VMOVSS" && store:
		add("widen", join("VMOVLPS", l.args))
	case l.op == "VMOVSD" && load:
		add("widen", join("VMOVUPS", l.args))
	case l.op == "VPBROADCASTW" && load:
		add("widen", join("VPBROADCASTD", l.args))
	case l.op == "VPBROADCASTB" && load:
		add("widen", join("VPBROADCASTW", l.args))
	case l.op == "VPEXTRW" && store:
		add("widen", join("VMOVSS", l.args[1:]))
	case l.op == "VMOVLPS" && store:
		add("widen", join("VMOVUPS", l.args))
	case l.op == "VMASKMOVPS" && load:
		add("unmask", join("VMOVUPS", []string{l.args[0], l.args[2]}))
	case l.op == "VMASKMOVPS" && store:
		add("unmask", join("VMOVUPS", []string{l.args[0], l.args[2]}))
	case l.op == "VMOVUPS" && (load || store) && strings.Contains(l.text, "X"):
		for k, a := range l.args {
			if m := vectorReg.FindStringSubmatch(a); m != nil && m[1] == "X" {
				add("widen", l.with(k, "Y"+m[2]))
			}
		}
	}
	for k, a := range l.args[1:] {
		if maskReg.MatchString(a) && k+1 < last && (strings.HasPrefix(l.op, "VMOV") || load || store) {
			args := slices.Delete(slices.Clone(l.args), k+1, k+2)
			add("unmask", join(strings.TrimSuffix(l.op, ".Z"), args))
		}
	}
	// Narrower, where all registers are of one width.
	from := byte(0)
	args := slices.Clone(l.args)
	for k, a := range args {
		m := vectorReg.FindStringSubmatch(a)
		if m == nil {
			continue
		}
		if from != 0 && m[1][0] != from || m[1] == "X" {
			return list
		}
		from = m[1][0]
		args[k] = map[string]string{"Y": "X", "Z": "Y"}[m[1]] + m[2]
	}
	if from != 0 && !slices.Contains([]string{"VEXTRACTF128", "VINSERTF128", "VEXTRACTF64X4"}, l.op) {
		add("narrow", join(l.op, args))
	}
	return list
}

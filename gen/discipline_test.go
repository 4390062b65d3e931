package gen

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// arm64Opcodes holds the opcodes that NEON kernels may use beside WORD: all of
// them base instructions or Advanced SIMD of ARMv8.0-A, which GNU as is told to
// hold the WORDs to, but for arm64Extensions. One that is not here fails, and so do calls and anything on
// the stack.
var arm64Opcodes = strings.Fields(`WORD PCALIGN RET BLT BGE CBZ
	MOVD MOVBU MOVHU MOVH ADD SUB SUBS LSL LSR
	FMOVS FMOVD FMOVQ FLDPQ FSTPQ FADDS FADDD FMULD FDIVD FMADDS FMAXS FSQRTD FCVTSD FCVTDS SCVTFD
	VMOV VDUP VLD1 VLD1R VST1 VADD VSUB VSHL VUSHR VAND VORR VEOR VBIT VBIF VFMLA VFMLS VTRN1 VTRN2 VZIP1 VZIP2 VUZP2 VTBL VTBX`)

// rules is the discipline of one architecture.
type rules struct {
	// reserved are registers that belong to Go, the assembler or the system. SP
	// and the frame pointer are among them: a kernel has no frame, so it neither
	// saves nor spills, and what it wrote below SP a signal would overwrite.
	reserved *regexp.Regexp
	// A loop ends: it goes back by back, right after count has taken a constant
	// off the counter, which nothing else in the loop writes; by backToZero only
	// where that constant is 1; and by always only to a comparison of the counter
	// that leaves the loop.
	back, backToZero, always, count string
	jumps                           []string
	upper                           *regexp.Regexp // registers that ask for VZEROUPPER
}

var disciplines = map[string]rules{
	"amd64": {
		reserved: regexp.MustCompile(`\b(SP|BP|R14|R15)\b`), // R14 holds g under ABIInternal, R15 the GOT when linked dynamically
		back:     "JAE", backToZero: "JNZ", always: "JMP", count: "SUBQ", jumps: []string{"JAE", "JB", "JZ", "JNZ", "JMP"},
		upper: regexp.MustCompile(`\b[YZ]\d`),
	},
	"arm64": {
		// Linker veneers, the platform, closure context, assembler's temporary, g,
		// frame, link.
		reserved: regexp.MustCompile(`(?i)\b([RXW]1[678]|[RXW]2[6789]|[RXW]30|g|RSP|W?SP|LR)\b`),
		back:     "BGE", count: "SUBS", jumps: []string{"BGE", "BLT", "CBZ"},
	},
}

var (
	frameless = regexp.MustCompile(`^TEXT ·\w+\(SB\), NOSPLIT, \$0-\d+$`) // go vet checks the number
	one       = regexp.MustCompile(`^\$(0x0*)?1$`)
	positive  = regexp.MustCompile(`^\$(0x0*[1-9a-f][0-9a-f]*|[1-9]\d*)$`)
	// The WORDs are vector instructions without exception: no integer register can
	// hide in one.
	vectorWord = regexp.MustCompile(`^[a-z]+2? ([vs]\d+\S*(, )?|#\d+(, )?)+$`)
)

// breaches lists what a function does against the rules.
func (r rules) breaches(f function) (bad []string) {
	say := func(i instruction, format string, args ...any) {
		bad = append(bad, fmt.Sprintf("%s:%d: %s: ", f.file, i.line, f.name)+fmt.Sprintf(format, args...))
	}
	if !frameless.MatchString(f.text) {
		say(instruction{}, "not NOSPLIT without a frame: %s", f.text)
	}
	labels, wide := map[string]int{}, false
	for n, i := range f.code {
		if i.label != "" {
			labels[i.label] = n
		}
		wide = wide || r.upper != nil && r.upper.MatchString(strings.Join(i.args, " "))
	}
	if n := len(f.code); n == 0 || f.code[n-1].op != "RET" {
		say(instruction{}, "does not end in RET")
	}
	for n, i := range f.code {
		if i.label != "" {
			continue
		}
		var before instruction // a label is one too: control may come from elsewhere
		if n > 0 {
			before = f.code[n-1]
		}
		if m := r.reserved.FindString(strings.Join(i.args, " ") + " " + i.comment); m != "" {
			say(i, "%s is reserved", m)
		}
		if i.op == "WORD" && !vectorWord.MatchString(i.comment) {
			say(i, "not a vector instruction: %s", i.comment)
		}
		if a := len(i.args); a > 1 && strings.Contains(i.args[a-1], "(SB)") {
			say(i, "writes to a constant")
		}
		if i.op == "RET" && wide && before.op != "VZEROUPPER" {
			say(i, "RET without VZEROUPPER right before it")
		}
		if !slices.Contains(r.jumps, i.op) {
			continue
		}
		to, ok := labels[i.args[len(i.args)-1]]
		switch {
		case !ok:
			say(i, "jumps out of the function")
		case to > n:
		case before.op != r.count || !positive.MatchString(before.args[0]) || !r.ends(i, before, f.code[to:]):
			say(i, "jumps back by other than %s after %s of a constant", r.back, r.count)
		default:
			counter := before.args[len(before.args)-1]
			for _, w := range f.code[to : n-1] {
				if len(w.args) > 0 && written(w, counter) {
					say(w, "writes %s, the counter of the loop at %s", counter, f.code[to].label)
				}
			}
		}
	}
	return bad
}

// ends tells whether a loop that goes back by jump, after count, ends.
func (r rules) ends(jump, count instruction, loop []instruction) bool {
	switch jump.op {
	case r.back:
		return true
	case r.backToZero:
		return one.MatchString(count.args[0])
	case r.always:
		return len(loop) > 2 && loop[1].op == "CMPQ" && loop[1].args[0] == count.args[1] && loop[2].op == "JB"
	}
	return false
}

// written tells whether an instruction may write a register: it is the last
// operand, whole or in part, or an address that is advanced.
func written(i instruction, register string) bool {
	last := i.args[len(i.args)-1]
	if slices.Contains(i.suffix, "P") && strings.Contains(strings.Join(i.args, " "), "("+register+")") {
		return true
	}
	return last == register || len(register) == 2 && len(last) == 2 && last[1] == 'L' && last[0] == register[0]
}

// TestDiscipline: no kernel has a frame, calls, jumps out, touches what is
// Go's, loops without end, or leaves the upper halves of vector registers dirty.
func TestDiscipline(t *testing.T) {
	for arch, rules := range disciplines {
		for _, f := range functions(t, arch) {
			for _, bad := range rules.breaches(f) {
				t.Error(bad)
			}
		}
	}
	seen := map[string]bool{}
	for _, f := range functions(t, "arm64") {
		for _, i := range f.code {
			seen[i.op] = true
			if i.label == "" && !slices.Contains(arm64Opcodes, i.op) {
				t.Errorf("%s:%d: opcode %s is not in the table", f.file, i.line, i.op)
			}
		}
	}
	for _, op := range arm64Opcodes {
		if !seen[op] {
			t.Errorf("no kernel uses %s: take it out of the table", op)
		}
	}
}

// TestDisciplineSees plants one breach of each kind in a good function.
func TestDisciplineSees(t *testing.T) {
	good := map[string]string{
		"amd64": "TEXT ·F(SB), NOSPLIT, $0-8\n\tMOVQ n+0(FP), CX\n\tSUBQ $8, CX\n\tJB done\n\nloop:\n\tVADDPS Y0, Y1, Y1\n\tSUBQ $8, CX\n\tJAE loop\n\ndone:\n\tVZEROUPPER\n\tRET\n",
		"arm64": "TEXT ·F(SB), NOSPLIT, $0-8\n\tMOVD n+0(FP), R0\n\tSUBS $4, R0, R0\n\tBLT done\n\nloop:\n\tFMOVQ.P 16(R1), F0\n\tWORD $0x4e25d400 // fadd v0.4s, v0.4s, v5.4s\n\tSUBS $4, R0, R0\n\tBGE loop\n\ndone:\n\tRET\n",
	}
	for _, c := range [][4]string{ // architecture, what to replace, by what, what is said
		{"amd64", "NOSPLIT, $0-8", "NOSPLIT, $16-8", "without a frame"},
		{"amd64", "NOSPLIT, ", "0, ", "without a frame"},
		{"amd64", "VADDPS Y0", "VADDPS -32(SP)", "SP is reserved"},
		{"amd64", "CX", "R14", "R14 is reserved"},
		{"amd64", "CX", "BP", "BP is reserved"},
		{"amd64", "\tVZEROUPPER\n", "", "without VZEROUPPER"},
		{"amd64", "\tRET", "end:\n\tRET", "without VZEROUPPER"},
		{"amd64", "\tVZEROUPPER\n\tRET", "\tVZEROUPPER", "does not end in RET"},
		{"amd64", "\tJB done", "\tJB elsewhere", "jumps out"},
		{"amd64", "\tJAE loop", "\tJZ loop", "jumps back by other"},
		{"amd64", "\tSUBQ $8, CX\n\tJAE", "\tSUBQ $0, CX\n\tJAE", "jumps back by other"},
		{"amd64", "\tJAE loop", "\tJNZ loop", "jumps back by other"}, // 8 at a time may miss 0
		{"amd64", "\tJAE loop", "\tJMP loop", "jumps back by other"},
		{"amd64", "\tJAE loop", "\tJMP elsewhere", "jumps out"},
		{"amd64", "\tVADDPS Y0, Y1, Y1", "\tADDQ $8, CX", "the counter"},
		{"amd64", "\tVADDPS Y0, Y1, Y1", "\tMOVB (AX), CL", "the counter"},
		{"amd64", "Y1, Y1", "Y1, k<>+0(SB)", "writes to a constant"},
		{"arm64", "NOSPLIT, $0-8", "NOSPLIT, $16-8", "without a frame"},
		{"arm64", "R1)", "R27)", "R27 is reserved"},
		{"arm64", "16(R1)", "-16(RSP)", "RSP is reserved"},
		{"arm64", "fadd v0.4s, v0.4s, v5.4s", "mov x18, v0.d[0]", "x18 is reserved"},
		{"arm64", "fadd v0.4s, v0.4s, v5.4s", "mov x3, v0.d[0]", "not a vector instruction"},
		{"arm64", "\tBGE loop", "\tBLT loop", "jumps back by other"},
		{"arm64", "16(R1)", "16(R0)", "the counter"},
		{"arm64", "\tRET", "", "does not end in RET"},
	} {
		arch, text := c[0], good[c[0]]
		rules := disciplines[arch]
		if bad := rules.breaches(parse(t, "good", text)[0]); bad != nil {
			t.Fatalf("the good function breaks the rules: %v", bad)
		}
		for _, loop := range []string{"SUBQ $1, CX\n\tJNZ loop", "CMPQ CX, $8\n\tJB done\n\tSUBQ $8, CX\n\tJMP loop"} {
			text := strings.Replace(good["amd64"], "SUBQ $8, CX\n\tJAE loop", loop, 1)
			if head, exit, split := strings.Cut(loop, "\n\tJB done"); split {
				text = strings.Replace(good["amd64"], "loop:\n", "loop:\n\t"+head+"\n\tJB done\n", 1)
				text = strings.Replace(text, "\tSUBQ $8, CX\n\tJAE loop", exit[1:], 1)
			}
			if bad := disciplines["amd64"].breaches(parse(t, "good", text)[0]); bad != nil {
				t.Fatalf("a good loop breaks the rules: %v\n%s", bad, text)
			}
		}
		bad := strings.Join(rules.breaches(parse(t, "bad", strings.ReplaceAll(text, c[1], c[2]))[0]), "\n")
		if !strings.Contains(bad, c[3]) {
			t.Errorf("%s, %q for %q: said %q, want %q", arch, c[2], c[1], bad, c[3])
		}
	}
}

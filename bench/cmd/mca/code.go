package main

import (
	"context"
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// loop is the innermost loop of a function that has the most FMAs.
type loop struct {
	function string
	arch     string
	code     []string // without the labels; the last one jumps to the first
	fmas     int
	width    int  // of the FMAs, in bits
	pairs    bool // of BF16 is what the FMAs multiply
}

// instruction is a line of llvm-objdump.
type instruction struct {
	address uint64
	text    string
	target  uint64 // of a jump, else 0
}

var (
	textLine  = regexp.MustCompile(`(?m)^TEXT ·(\w+)\(SB\)`)
	codeLine  = regexp.MustCompile(`^\s*([0-9a-f]+):\s+(.*)$`)
	comment   = regexp.MustCompile(`\s+(?:# |// ).*$`) // a # of A64 has no space behind it
	jump      = regexp.MustCompile(`^(?:j[a-z]+|b|b\.[a-z]+|cbn?z|tbn?z)\s(?:.*\s)?(?:0x)?([0-9a-f]+) <[^>]*>$`)
	jumpLabel = regexp.MustCompile(`(?:0x)?[0-9a-f]+ <[^>]*>$`)
	fma       = regexp.MustCompile(`^(?:vfn?m(?:add|sub)\d+p[sd]|fml[as]|bfdot)\s`)
	register  = regexp.MustCompile(`%([xyz])mm\d+`)
)

// loopsOf builds the assembly of an architecture and finds the loops of the
// functions that match.
func loopsOf(ctx context.Context, t *tools, root, arch string, kernel *regexp.Regexp) ([]*loop, error) {
	names, err := functions(filepath.Join(root, "kernels", arch))
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "mca")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	binary, err := build(ctx, root, tmp, arch, names)
	if err != nil {
		return nil, err
	}
	var loops []*loop
	for _, name := range names {
		if !kernel.MatchString(name) {
			continue
		}
		code, err := disassemble(ctx, t, binary, arch, name)
		if err != nil {
			return nil, err
		}
		l := innerLoop(code)
		if l == nil {
			l = &loop{}
		}
		l.function, l.arch = name, arch
		loops = append(loops, l)
	}
	return loops, nil
}

// functions lists what the assembly of a folder defines.
func functions(dir string) (names []string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.s"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		source, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		for _, m := range textLine.FindAllStringSubmatch(string(source), -1) {
			names = append(names, m[1])
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s defines no function in assembly", dir)
	}
	return names, nil
}

// build links a program that holds the functions: the linker drops what nothing
// names, so it is a main of its own, which exists in an overlay only.
func build(ctx context.Context, root, tmp, arch string, names []string) (binary string, err error) {
	var source strings.Builder
	fmt.Fprintf(&source, "package main\n\nimport kernels \"fuerte/kernels/%s\"\n\nvar functions = []any{\n", arch)
	for _, n := range names {
		fmt.Fprintf(&source, "\tkernels.%s,\n", n)
	}
	source.WriteString("}\n\nfunc main() { println(len(functions)) }\n")
	file, overlay := filepath.Join(tmp, "main.go"), filepath.Join(tmp, "overlay.json")
	if err := os.WriteFile(file, []byte(source.String()), 0o600); err != nil {
		return "", err
	}
	const pkg = "bench/cmd/mca/linked"
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, pkg, "main.go"): file}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		return "", err
	}
	binary = filepath.Join(tmp, arch)
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", binary, "./"+pkg)
	cmd.Dir = root
	cmd.Env = append(cmd.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return binary, nil
}

// disassemble decodes one function of a binary.
func disassemble(ctx context.Context, t *tools, binary, arch, name string) ([]instruction, error) {
	f, err := elf.Open(binary)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		return nil, err
	}
	symbol := fmt.Sprintf("fuerte/kernels/%s.%s.abi0", arch, name)
	i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == symbol })
	if i < 0 {
		return nil, fmt.Errorf("the linked program lacks %s", symbol)
	}
	out, err := t.output(ctx, "", "llvm-objdump", "--disassemble", "--no-show-raw-insn",
		fmt.Sprintf("--start-address=%#x", symbols[i].Value),
		fmt.Sprintf("--stop-address=%#x", symbols[i].Value+symbols[i].Size), binary)
	if err != nil {
		return nil, err
	}
	return parseCode(string(out))
}

// parseCode reads the output of llvm-objdump.
func parseCode(text string) (code []instruction, err error) {
	for line := range strings.Lines(text) {
		m := codeLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		var in instruction
		if in.address, err = strconv.ParseUint(m[1], 16, 64); err != nil {
			return nil, err
		}
		in.text = strings.Join(strings.Fields(comment.ReplaceAllString(m[2], "")), " ")
		if j := jump.FindStringSubmatch(in.text); j != nil {
			if in.target, err = strconv.ParseUint(j[1], 16, 64); err != nil {
				return nil, err
			}
		}
		code = append(code, in)
	}
	return code, nil
}

// innerLoop finds, of the loops that hold no other, the one with the most FMAs,
// the first of equals; nil if none has any. A loop is what lies between a jump
// backwards and its target; a jump forwards inside it counts as not taken.
func innerLoop(code []instruction) *loop {
	var best *loop
	for end, in := range code {
		if in.target == 0 || in.target > in.address {
			continue
		}
		start := slices.IndexFunc(code, func(x instruction) bool { return x.address == in.target })
		if start < 0 {
			continue
		}
		outer := slices.ContainsFunc(code[start:end], func(x instruction) bool {
			return x.target != 0 && x.target <= x.address && x.target >= in.target
		})
		if outer {
			continue
		}
		l := &loop{}
		for _, x := range code[start : end+1] {
			if fma.MatchString(x.text) {
				l.fmas, l.width, l.pairs = l.fmas+1, width(x.text), strings.HasPrefix(x.text, "bfdot")
			}
			text := x.text
			if x.target != 0 {
				text = jumpLabel.ReplaceAllString(text, "loop")
			}
			l.code = append(l.code, text)
		}
		if l.fmas > 0 && (best == nil || l.fmas > best.fmas) {
			best = l
		}
	}
	return best
}

// width tells how many bits an FMA computes.
func width(text string) int {
	if m := register.FindStringSubmatch(text); m != nil {
		return map[string]int{"x": 128, "y": 256, "z": 512}[m[1]]
	}
	return 128 // A64
}

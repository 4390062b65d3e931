package main

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// source is one generated assembly file.
type source struct {
	path    string   // relative to the module
	header  []string // build constraint and includes
	funcs   []*function
	symbols []*symbol
}

// function is one TEXT of a file.
type function struct {
	name  string
	frame string // what stands behind the name: ", NOSPLIT, $0-48"
	body  []line
}

// line is one instruction or label of a function.
type line struct {
	number  int // in the file, from 1
	text    string
	label   bool
	op      string
	args    []string
	comment string // behind a WORD: what it encodes
}

// symbol is one constant or table of the file, of 32-bit lanes.
type symbol struct {
	name  string
	flags string // what stands between name and size in GLOBL
	line  int    // of the first lane
	lanes []uint32
}

var (
	textLine  = regexp.MustCompile(`^TEXT ·(\w+)\(SB\)(.*)$`)
	dataLine  = regexp.MustCompile(`^DATA (\w+)<>\+(\d+)\(SB\)/(\d+), \$(0x[0-9a-f]+)$`)
	globlLine = regexp.MustCompile(`^GLOBL (\w+)<>\(SB\)(.*), \$\d+$`)
	dataRef   = regexp.MustCompile(`\b(\w+)<>`)
)

// parse reads an assembly file of kernels/amd64 or kernels/arm64. Errors: a
// line that it does not understand, so that nothing is left out unseen.
func parse(path string) (*source, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseText(path, string(text))
}

func parseText(path, text string) (*source, error) {
	s := &source{path: path}
	for i, raw := range strings.Split(text, "\n") {
		fail := func(what string) error { return fmt.Errorf("%s:%d: %s: %s", path, i+1, what, raw) }
		trimmed := strings.TrimSpace(raw)
		switch {
		case trimmed == "":
		case strings.HasPrefix(raw, "//go:build"), strings.HasPrefix(raw, "#include"):
			s.header = append(s.header, raw, "")
		case strings.HasPrefix(trimmed, "//"):
		case strings.HasPrefix(raw, "TEXT"):
			m := textLine.FindStringSubmatch(raw)
			if m == nil {
				return nil, fail("unknown TEXT")
			}
			s.funcs = append(s.funcs, &function{name: m[1], frame: m[2]})
		case strings.HasPrefix(raw, "DATA"):
			m := dataLine.FindStringSubmatch(raw)
			if m == nil || m[3] != "4" {
				return nil, fail("unknown DATA")
			}
			y := s.symbol(m[1])
			if y == nil {
				y = &symbol{name: m[1], line: i + 1}
				s.symbols = append(s.symbols, y)
			}
			v, err := strconv.ParseUint(m[4], 0, 32)
			if err != nil || m[2] != strconv.Itoa(4*len(y.lanes)) {
				return nil, fail("DATA out of order")
			}
			y.lanes = append(y.lanes, uint32(v))
		case strings.HasPrefix(raw, "GLOBL"):
			m := globlLine.FindStringSubmatch(raw)
			if m == nil || s.symbol(m[1]) == nil {
				return nil, fail("unknown GLOBL")
			}
			s.symbol(m[1]).flags = m[2]
		case len(s.funcs) == 0:
			return nil, fail("instruction outside a function")
		default:
			f := s.funcs[len(s.funcs)-1]
			f.body = append(f.body, parseLine(i+1, trimmed))
		}
	}
	if len(s.funcs) == 0 {
		return nil, fmt.Errorf("%s: no functions", path)
	}
	return s, nil
}

// symbol returns the symbol of that name, or nil.
func (s *source) symbol(name string) *symbol {
	i := slices.IndexFunc(s.symbols, func(y *symbol) bool { return y.name == name })
	if i < 0 {
		return nil
	}
	return s.symbols[i]
}

func parseLine(number int, text string) line {
	l := line{number: number}
	text, l.comment, _ = strings.Cut(text, "//")
	l.comment = strings.TrimSpace(l.comment)
	op, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	if name, ok := strings.CutSuffix(op, ":"); ok {
		l.label, l.op, l.text = true, name, op
		return l
	}
	l.op, l.args = op, operands(rest)
	l.text = join(op, l.args)
	return l
}

// operands cuts at the commas outside brackets.
func operands(s string) (list []string) {
	depth, start := 0, 0
	for i, r := range s {
		switch r {
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		case ',':
			if depth == 0 {
				list, start = append(list, strings.TrimSpace(s[start:i])), i+1
			}
		}
	}
	if s = strings.TrimSpace(s[start:]); s != "" {
		list = append(list, s)
	}
	return list
}

func join(op string, args []string) string {
	return strings.TrimSpace(op + " " + strings.Join(args, ", "))
}

// with returns the instruction with operand i replaced.
func (l line) with(i int, arg string) string {
	args := slices.Clone(l.args)
	args[i] = arg
	return join(l.op, args)
}

// swapped returns the instruction with operands i and j exchanged.
func (l line) swapped(i, j int) string {
	args := slices.Clone(l.args)
	args[i], args[j] = args[j], args[i]
	return join(l.op, args)
}

// uniform tells whether all lanes hold the same value.
func (y *symbol) uniform() bool {
	return !slices.ContainsFunc(y.lanes, func(v uint32) bool { return v != y.lanes[0] })
}

// mask tells whether the lanes are masks, of which only the sign bit is read.
func (y *symbol) mask() bool {
	return !slices.ContainsFunc(y.lanes, func(v uint32) bool { return v != 0 && v != math.MaxUint32 })
}

// guard lanes behind every symbol hold a NaN whose sign bit is clear, so that a
// mutant which reads beyond a table does not find the next one there.
const (
	guard     = 32
	guardBits = 0x7fc0dead
)

// write appends DATA and GLOBL of the symbol under another name.
func (y *symbol) write(b *strings.Builder, name string, lanes []uint32) {
	lanes = append(slices.Clone(lanes), slices.Repeat([]uint32{guardBits}, guard)...)
	for i, v := range lanes {
		fmt.Fprintf(b, "DATA %s<>+%d(SB)/4, $0x%08x\n", name, 4*i, v)
	}
	fmt.Fprintf(b, "GLOBL %s<>(SB)%s, $%d\n\n", name, y.flags, 4*len(lanes))
}

// write appends the function as variant id: with m applied, or as it is where m
// is nil. It starts with the poison of its architecture.
func (f *function) write(b *strings.Builder, id int, m *mutant, poison []string) {
	fmt.Fprintf(b, "TEXT ·%s(SB)%s\n", variant(f.name, id), f.frame)
	for _, text := range poison {
		fmt.Fprintf(b, "\t%s\n", text)
	}
	for i, l := range f.body {
		text := l.text
		if m != nil && m.data == nil && m.index == i {
			text = m.text
		}
		if m != nil && m.data != nil {
			text = strings.ReplaceAll(text, m.data.name+"<>", variant(m.data.name+"_"+f.name, id)+"<>")
		}
		if text == "" {
			continue
		}
		if !l.label {
			b.WriteByte('\t')
		}
		b.WriteString(text)
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
}

// variant names a mutated copy of a function or symbol.
func variant(name string, id int) string { return fmt.Sprintf("%s_m%d", name, id) }

// otherVector returns the vector register behind r in the sorted list of used
// ones that holds another value before line i, which reads it as class, X, Y, Z,
// V or F; r where there is none.
func (f *function) otherVector(i int, used []int, class string, r int) int {
	to := next(used, r)
	for to != r && f.value(i, class, to) == f.value(i, class, r) {
		to = next(used, to)
	}
	return to
}

// value names what vector register r holds before line i: the line that set it,
// copies followed, or the register itself at the label in front.
func (f *function) value(i int, class string, r int) string {
	name := fmt.Sprintf("V%d", r)
	for i--; i >= 0 && !f.body[i].label; i-- {
		switch from, set := f.body[i].sets(name, class); {
		case set && from == "":
			return fmt.Sprintf("%s of line %d", name, i)
		case set:
			name = from
		}
	}
	return name
}

var (
	registerName = regexp.MustCompile(`^[XYZVFv](\d+)`)
	pairOfNames  = regexp.MustCompile(`^\((\w+), (\w+)\)$`)
)

// registerOf names a vector register whatever its width: V5.S4, F5, v5.4s and Y5
// are V5. It is "" for anything else.
func registerOf(operand string) string {
	if m := registerName.FindStringSubmatch(operand); m != nil {
		return "V" + m[1]
	}
	return ""
}

// sets tells whether l writes register name, and which one it copies there, if
// that is all it does and the copy is as wide as class.
func (l line) sets(name, class string) (from string, set bool) {
	args := l.args
	if l.op == "WORD" { // the comment has the destination first
		_, rest, _ := strings.Cut(l.comment, " ")
		args = operands(rest)[:1]
	}
	if len(args) == 0 {
		return "", false
	}
	dest := args[len(args)-1]
	if m := pairOfNames.FindStringSubmatch(dest); m != nil {
		return "", registerOf(m[1]) == name || registerOf(m[2]) == name
	}
	if registerOf(dest) != name {
		return "", false
	}
	if len(args) == 2 && slices.Contains([]string{"VMOVAPS", "VMOVUPS", "VMOV"}, l.op) && !strings.Contains(l.text, "[") && registerOf(args[0]) != "" &&
		(dest[0] == 'V' || dest[0] >= class[0]) {
		return registerOf(args[0]), true
	}
	return "", true
}

// next returns the element behind v in the sorted list of used numbers, round
// the end; v itself where there is no other.
func next(used []int, v int) int {
	i, _ := slices.BinarySearch(used, v+1)
	return used[i%len(used)]
}

// numbers returns, sorted, the first group of every match of re in the function.
func (f *function) numbers(re *regexp.Regexp) (list []int) {
	for _, l := range f.body {
		for _, m := range re.FindAllStringSubmatch(l.text+" "+l.comment, -1) {
			n, _ := strconv.Atoi(m[1])
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// atoi is for text that a pattern has found to be a number.
func atoi(s string) int {
	n, _ := strconv.ParseInt(s, 0, 64)
	return int(n)
}

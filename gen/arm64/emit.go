package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"math"
	"slices"
	"strings"
)

// Glossary: a family is one generated file; a function is a list of
// instructions over virtual registers V (vector) and R (integer); allocate.go
// maps them to real ones; isa.go has a method for each instruction. Operands
// stand in the order of the Arm manual: destination first.

// V is a virtual vector register, R a virtual integer register; 0 is neither.
type (
	V int
	R int
)

// Label is a place in a function, unique within it.
type Label string

// File collects the functions of one family.
type File struct {
	name  string
	funcs []*Func
}

// Func is a function under construction.
type Func struct {
	name, signature string
	doc             []string
	params          []param
	argSize         int
	code            []instr
	consts          []uint32 // this function's table of float32 constants
	vs, rs, labels  int      // how many there are
}

// instr is one line of assembly: what it does to registers and control, and how
// to print it once the registers are known.
type instr struct {
	label      Label // a label, not an instruction
	jump       Label // control may continue there
	ends       bool  // control does not continue on the next line
	pure       bool  // no effect beside rdef: dropped if nobody reads that
	vuse, vdef []V
	ruse, rdef []R
	text       func(*registers) string
}

// Func starts a function with the given Go signature, such as
// "func(y, x []float32, alpha float32)". doc lines go above the Go stub.
func (file *File) Func(name, signature string, doc ...string) *Func {
	f := &Func{name: name, signature: signature, doc: doc}
	f.layout()
	file.funcs = append(file.funcs, f)
	return f
}

// param is a parameter or result: where it lies above FP.
type param struct {
	name, kind string
	offset     int
	result     bool
}

// sizes are the types that kernels take; all on an arm64 frame.
var sizes = map[string]struct{ size, align int }{
	"[]float32": {24, 8}, "[]uint16": {24, 8}, "*float32": {8, 8}, "*[7]float32": {8, 8},
	"int": {8, 8}, "float32": {4, 4}, "bool": {1, 1},
}

// layout gives every parameter its ABI0 offset; results start on a word.
func (f *Func) layout() {
	e, err := parser.ParseExpr(f.signature)
	if err != nil {
		panic(f.name + ": " + err.Error())
	}
	t := e.(*ast.FuncType)
	off := 0
	add := func(list *ast.FieldList, result bool) {
		if list == nil {
			return
		}
		off = (off + 7) &^ 7
		for _, field := range list.List {
			src := f.signature[field.Type.Pos()-1 : field.Type.End()-1]
			s, ok := sizes[src]
			if !ok {
				panic(f.name + ": no layout for type " + src)
			}
			names := field.Names
			if names == nil {
				names = []*ast.Ident{{Name: "ret"}}
			}
			for _, n := range names {
				off = (off + s.align - 1) &^ (s.align - 1)
				f.params = append(f.params, param{n.Name, src, off, result})
				off += s.size
			}
		}
	}
	add(t.Params, false)
	add(t.Results, true)
	f.argSize = off
}

func (f *Func) param(name string) param {
	for _, p := range f.params {
		if p.name == name {
			return p
		}
	}
	panic(f.name + " has no parameter " + name)
}

// V returns a new vector register, R a new integer register.
func (f *Func) V() V { f.vs++; return V(f.vs) }
func (f *Func) R() R { f.rs++; return R(f.rs) }

// Vs returns n new vector registers.
func (f *Func) Vs(n int) []V {
	v := make([]V, n)
	for i := range v {
		v[i] = f.V()
	}
	return v
}

// Ptr loads the pointer name: a pointer, or the base of a slice.
func (f *Func) Ptr(name string) R {
	p, r := f.param(name), f.R()
	if strings.HasPrefix(p.kind, "[]") {
		name += "_base"
	}
	f.ins(fmt.Sprintf("MOVD %s+%d(FP), %%s", name, p.offset), defR(r))
	return r
}

// Len loads the length of the slice name.
func (f *Func) Len(name string) R {
	p, r := f.param(name), f.R()
	f.ins(fmt.Sprintf("MOVD %s_len+%d(FP), %%s", name, p.offset+8), defR(r))
	return r
}

// Int loads an int, Bool a bool.
func (f *Func) Int(name string) R {
	r := f.R()
	f.ins(fmt.Sprintf("MOVD %s+%d(FP), %%s", name, f.param(name).offset), defR(r))
	return r
}

func (f *Func) Bool(name string) R {
	r := f.R()
	f.ins(fmt.Sprintf("MOVBU %s+%d(FP), %%s", name, f.param(name).offset), defR(r))
	return r
}

// Float loads a float32 into lane 0; the other lanes become 0.
func (f *Func) Float(name string) V {
	v := f.V()
	f.ins(fmt.Sprintf("FMOVS %s+%d(FP), %%s", name, f.param(name).offset), def(v, "F%d"))
	return v
}

// Broadcast loads a float32 into all lanes.
func (f *Func) Broadcast(name string) V { return f.DUP(f.Float(name), 0) }

// Result stores lane 0 of v as the result name ("ret" if it has none).
func (f *Func) Result(name string, v V) {
	f.ins(fmt.Sprintf("FMOVS %%s, %s+%d(FP)", name, f.param(name).offset), use(v, "F%d"))
}

// Consts loads constants: four into the lanes of one register, for by-element
// instructions, and each of the others into all lanes of its own. A function
// loads all of its constants at once.
func (f *Func) Consts(lanes [4]float32, others ...float32) (packed V, v []V) {
	p := f.table(append(lanes[:], others...))
	packed = f.LoadQP(p)
	return packed, f.dups(p, len(others))
}

// Broadcasts loads constants, each into all lanes of a register.
func (f *Func) Broadcasts(x ...float32) []V { return f.dups(f.table(x), len(x)) }

// table makes x the function's constants and returns their address.
func (f *Func) table(x []float32) R {
	if f.consts != nil {
		panic(f.name + " loads constants twice")
	}
	for _, v := range x {
		f.consts = append(f.consts, math.Float32bits(v))
	}
	r := f.R()
	f.ins(fmt.Sprintf("MOVD $%s(SB), %%s", f.tableName()), defR(r))
	return r
}

func (f *Func) dups(p R, n int) []V {
	v := make([]V, n)
	for i := range v {
		v[i] = f.LoadDup(p)
	}
	return v
}

func (f *Func) tableName() string { return "constants" + f.name + "<>" }

// NewLabel makes a label from a word; Here places it.
func (f *Func) NewLabel(word string) Label {
	f.labels++
	return Label(fmt.Sprintf("%s%d", word, f.labels))
}

func (f *Func) Here(l Label) { f.code = append(f.code, instr{label: l}) }

// Loop runs body while n ≥ step, taking step off n each time; what is left of n
// is below step afterwards.
func (f *Func) Loop(n R, step int, body func()) {
	head, done := f.NewLabel("loop"), f.NewLabel("done")
	f.SUBS(n, step)
	f.Branch("BLT", done)
	f.code = append(f.code, instr{text: func(*registers) string { return "PCALIGN $16" }})
	f.Here(head)
	body()
	f.SUBS(n, step)
	f.Branch("BGE", head)
	f.Here(done)
	f.code = append(f.code, instr{pure: true, ruse: []R{n}, rdef: []R{n}, text: func(g *registers) string {
		return fmt.Sprintf("ADD $%d, R%d, R%d", step, g.r[n], g.r[n])
	}})
}

// operand is a register in an instruction: how it prints and what happens to it.
type operand struct {
	v           V
	r           R
	form        string
	read, write bool
}

func use(v V, form string) operand    { return operand{v: v, form: form, read: true} }
func def(v V, form string) operand    { return operand{v: v, form: form, write: true} }
func modify(v V, form string) operand { return operand{v: v, form: form, read: true, write: true} }
func useR(r R) operand                { return operand{r: r, form: "R%d", read: true} }
func defR(r R) operand                { return operand{r: r, form: "R%d", write: true} }
func modifyR(r R) operand             { return operand{r: r, form: "R%d", read: true, write: true} }

func (o operand) number(g *registers) int {
	if o.v != 0 {
		return g.v[o.v]
	}
	return g.r[o.r]
}

// effects is an instruction that does to registers what its operands say.
func effects(ops []operand) (i instr) {
	for _, o := range ops {
		if (o.v == 0) == (o.r == 0) {
			panic("an operand is no register")
		}
		switch {
		case o.v != 0 && o.read:
			i.vuse = append(i.vuse, o.v)
		case o.r != 0 && o.read:
			i.ruse = append(i.ruse, o.r)
		}
		switch {
		case o.v != 0 && o.write:
			i.vdef = append(i.vdef, o.v)
		case o.r != 0 && o.write:
			i.rdef = append(i.rdef, o.r)
		}
	}
	return i
}

// ins appends an instruction in the words of Go's assembler, with a %s for each
// operand.
func (f *Func) ins(format string, ops ...operand) {
	i := effects(ops)
	i.text = func(g *registers) string {
		args := make([]any, len(ops))
		for j, o := range ops {
			args[j] = fmt.Sprintf(o.form, o.number(g))
		}
		return fmt.Sprintf(format, args...)
	}
	f.code = append(f.code, i)
}

// word appends an instruction that Go's assembler lacks: base with the numbers
// of the operands, in order, in the fields Rd, Rn and Rm; a64 is its text in
// the Arm manual's syntax, with a %d for each operand.
func (f *Func) word(base uint32, a64 string, ops ...operand) {
	i := effects(ops)
	i.text = func(g *registers) string {
		w, args := base, make([]any, len(ops))
		for j, o := range ops {
			n := o.number(g)
			w |= uint32(n) << []int{0, 5, 16}[j]
			args[j] = n
		}
		return fmt.Sprintf("WORD $0x%08x // %s", w, fmt.Sprintf(a64, args...))
	}
	f.code = append(f.code, i)
}

// header is the top of every generated file.
func (file *File) header() string {
	return fmt.Sprintf("// Code generated by \"go generate ./kernels/arm64\" from gen/arm64/%s.go. DO NOT EDIT.\n\n//go:build arm64 && !purego\n\n", file.name)
}

// Assembly prints the .s file.
func (file *File) Assembly() []byte {
	var b strings.Builder
	b.WriteString(file.header())
	b.WriteString("#include \"textflag.h\"\n")
	for _, f := range file.funcs {
		b.WriteByte('\n')
		for i, c := range f.consts {
			fmt.Fprintf(&b, "DATA %s+%d(SB)/4, $0x%08x\n", f.tableName(), 4*i, c)
		}
		if f.consts != nil {
			fmt.Fprintf(&b, "GLOBL %s(SB), RODATA|NOPTR, $%d\n\n", f.tableName(), 4*len(f.consts))
		}
		fmt.Fprintf(&b, "// func %s%s\n", f.name, strings.TrimPrefix(f.signature, "func"))
		fmt.Fprintf(&b, "TEXT ·%s(SB), NOSPLIT, $0-%d\n", f.name, f.argSize)
		g := f.allocate()
		for _, i := range f.code {
			if i.label != "" {
				fmt.Fprintf(&b, "\n%s:\n", i.label)
				continue
			}
			fmt.Fprintf(&b, "\t%s\n", i.text(g))
		}
	}
	return []byte(b.String())
}

// Stubs prints the Go declarations.
func (file *File) Stubs() []byte {
	var b strings.Builder
	b.WriteString(file.header())
	b.WriteString("package arm64\n")
	for _, f := range file.funcs {
		b.WriteByte('\n')
		for _, d := range f.doc {
			b.WriteString(strings.TrimRight("// "+d, " ") + "\n")
		}
		fmt.Fprintf(&b, "//\n//go:noescape\nfunc %s%s\n", f.name, strings.TrimPrefix(f.signature, "func"))
	}
	return []byte(b.String())
}

// each applies a three-operand instruction lane block by lane block:
// d[i] = op(n[i], m[i]) in new registers. A one-element m serves every block.
func (f *Func) each(op func(f *Func, d, n, m V), n, m []V) []V {
	d := f.Vs(len(n))
	for i := range d {
		op(f, d[i], n[i], m[min(i, len(m)-1)])
	}
	return d
}

// eachTo is each for instructions that update their destination.
func (f *Func) eachTo(op func(f *Func, d, n, m V), d, n, m []V) {
	for i := range d {
		op(f, d[i], n[min(i, len(n)-1)], m[min(i, len(m)-1)])
	}
}

// map1 applies a two-operand instruction to each block, into new registers.
func (f *Func) map1(op func(f *Func, d, n V), n []V) []V {
	d := f.Vs(len(n))
	for i := range d {
		op(f, d[i], n[i])
	}
	return d
}

// clone returns a copy of each block, to be updated.
func (f *Func) clone(n []V) []V { return f.map1((*Func).MOV, n) }

// fill returns n copies of v, to be updated.
func (f *Func) fill(v V, n int) []V {
	return f.clone(slices.Repeat([]V{v}, n))
}

package main

import "fmt"

// The instructions. Forms that Go's assembler knows are printed by its name,
// the others as WORD; encoding_test.go compares every word with GNU as. All
// vectors are four float32 (.4S) unless the name says otherwise.

// three and two are the common WORD forms.
func (f *Func) three(base uint32, name string, d, n, m V) {
	f.word(base, name+" v%d.4s, v%d.4s, v%d.4s", def(d, ""), use(n, ""), use(m, ""))
}

func (f *Func) two(base uint32, name string, d, n V) {
	f.word(base, name+" v%d.4s, v%d.4s", def(d, ""), use(n, ""))
}

func (f *Func) FADD(d, n, m V)  { f.three(0x4e20d400, "fadd", d, n, m) }
func (f *Func) FSUB(d, n, m V)  { f.three(0x4ea0d400, "fsub", d, n, m) }
func (f *Func) FMUL(d, n, m V)  { f.three(0x6e20dc00, "fmul", d, n, m) }
func (f *Func) FDIV(d, n, m V)  { f.three(0x6e20fc00, "fdiv", d, n, m) }
func (f *Func) FMAX(d, n, m V)  { f.three(0x4e20f400, "fmax", d, n, m) }
func (f *Func) FMIN(d, n, m V)  { f.three(0x4ea0f400, "fmin", d, n, m) }
func (f *Func) FADDP(d, n, m V) { f.three(0x6e20d400, "faddp", d, n, m) }
func (f *Func) FCMGT(d, n, m V) { f.three(0x6ea0e400, "fcmgt", d, n, m) }
func (f *Func) FCMEQ(d, n, m V) { f.three(0x4e20e400, "fcmeq", d, n, m) }

func (f *Func) FABS(d, n V)   { f.two(0x4ea0f800, "fabs", d, n) }
func (f *Func) FNEG(d, n V)   { f.two(0x6ea0f800, "fneg", d, n) }
func (f *Func) FSQRT(d, n V)  { f.two(0x6ea1f800, "fsqrt", d, n) }
func (f *Func) FRINTN(d, n V) { f.two(0x4e218800, "frintn", d, n) }
func (f *Func) FCVTNS(d, n V) { f.two(0x4e21a800, "fcvtns", d, n) }

func (f *Func) SCVTF(d, n V) { f.two(0x4e21d800, "scvtf", d, n) }

// SSHR shifts int32 lanes right, keeping their sign.
func (f *Func) SSHR(d, n V, bits int) {
	f.word(0x4f000400|uint32(64-bits)<<16, fmt.Sprintf("sshr v%%d.4s, v%%d.4s, #%d", bits), def(d, ""), use(n, ""))
}

// FCVTL widens the four float16 in the lower half of n, FCVTL2 those in the upper;
// FCVTN rounds n to float16 in the lower half of d and clears the upper, FCVTN2
// sets the upper half alone.
func (f *Func) FCVTL(d, n V) {
	f.word(0x0e217800, "fcvtl v%d.4s, v%d.4h", def(d, ""), use(n, ""))
}

func (f *Func) FCVTL2(d, n V) {
	f.word(0x4e217800, "fcvtl2 v%d.4s, v%d.8h", def(d, ""), use(n, ""))
}

func (f *Func) FCVTN(d, n V) {
	f.word(0x0e216800, "fcvtn v%d.4h, v%d.4s", def(d, ""), use(n, ""))
}

func (f *Func) FCVTN2(d, n V) {
	f.word(0x4e216800, "fcvtn2 v%d.8h, v%d.4s", modify(d, ""), use(n, ""))
}

// FMAXV sets lane 0 of d to the largest lane of n.
func (f *Func) FMAXV(d, n V) {
	f.word(0x6e30f800, "fmaxv s%d, v%d.4s", def(d, ""), use(n, ""))
}

// BIC sets d = n and not m, bit by bit.
func (f *Func) BIC(d, n, m V) {
	f.word(0x4e601c00, "bic v%d.16b, v%d.16b, v%d.16b", def(d, ""), use(n, ""), use(m, ""))
}

// element puts lane i of Rm into the fields L (bit 21) and H (bit 11).
func element(base uint32, i int) uint32 {
	return base | uint32(i&1)<<21 | uint32(i>>1)<<11
}

// FMULE sets d = n·m[i], FMLAE d += n·m[i], FMLSE d −= n·m[i].
func (f *Func) FMULE(d, n, m V, i int) {
	f.word(element(0x4f809000, i), fmt.Sprintf("fmul v%%d.4s, v%%d.4s, v%%d.s[%d]", i), def(d, ""), use(n, ""), use(m, ""))
}

func (f *Func) FMLAE(d, n, m V, i int) {
	f.word(element(0x4f801000, i), fmt.Sprintf("fmla v%%d.4s, v%%d.4s, v%%d.s[%d]", i), modify(d, ""), use(n, ""), use(m, ""))
}

func (f *Func) FMLSE(d, n, m V, i int) {
	f.word(element(0x4f805000, i), fmt.Sprintf("fmls v%%d.4s, v%%d.4s, v%%d.s[%d]", i), modify(d, ""), use(n, ""), use(m, ""))
}

// BFDOTE adds to each lane of d the two products of the pair of bfloat16 in that lane
// of n and the pair in lane i of m. It is of ARMv8.6, or FEAT_BF16 before.
func (f *Func) BFDOTE(d, n, m V, i int) {
	f.word(element(0x4f40f000, i), fmt.Sprintf("bfdot v%%d.4s, v%%d.8h, v%%d.2h[%d]", i), modify(d, ""), use(n, ""), use(m, ""))
}

// FMLA sets d += n·m, FMLS d −= n·m, each rounded once.
func (f *Func) FMLA(d, n, m V) {
	f.ins("VFMLA %[3]s, %[2]s, %[1]s", modify(d, "V%d.S4"), use(n, "V%d.S4"), use(m, "V%d.S4"))
}

func (f *Func) FMLS(d, n, m V) {
	f.ins("VFMLS %[3]s, %[2]s, %[1]s", modify(d, "V%d.S4"), use(n, "V%d.S4"), use(m, "V%d.S4"))
}

// ADD4 and SUB4 add and subtract int32 lanes; SHL shifts them left, USHR right.
func (f *Func) ADD4(d, n, m V) {
	f.ins("VADD %[3]s, %[2]s, %[1]s", def(d, "V%d.S4"), use(n, "V%d.S4"), use(m, "V%d.S4"))
}

func (f *Func) SUB4(d, n, m V) {
	f.ins("VSUB %[3]s, %[2]s, %[1]s", def(d, "V%d.S4"), use(n, "V%d.S4"), use(m, "V%d.S4"))
}

func (f *Func) SHL(d, n V, bits int) {
	f.ins(fmt.Sprintf("VSHL $%d, %%[2]s, %%[1]s", bits), def(d, "V%d.S4"), use(n, "V%d.S4"))
}

func (f *Func) USHR(d, n V, bits int) {
	f.ins(fmt.Sprintf("VUSHR $%d, %%[2]s, %%[1]s", bits), def(d, "V%d.S4"), use(n, "V%d.S4"))
}

// AND sets d = n and m, bit by bit, ORR d = n or m.
func (f *Func) AND(d, n, m V) {
	f.ins("VAND %[3]s, %[2]s, %[1]s", def(d, "V%d.B16"), use(n, "V%d.B16"), use(m, "V%d.B16"))
}

func (f *Func) ORR(d, n, m V) {
	f.ins("VORR %[3]s, %[2]s, %[1]s", def(d, "V%d.B16"), use(n, "V%d.B16"), use(m, "V%d.B16"))
}

// EOR sets d to the bits in which n and m differ.
func (f *Func) EOR(d, n, m V) {
	f.ins("VEOR %[3]s, %[2]s, %[1]s", def(d, "V%d.B16"), use(n, "V%d.B16"), use(m, "V%d.B16"))
}

// TBL sets each byte of d to that of n which the byte of m counts to, 0 from 16 on;
// TBX keeps it there.
func (f *Func) TBL(d, n, m V) {
	f.ins("VTBL %[3]s, [%[2]s], %[1]s", def(d, "V%d.B16"), use(n, "V%d.B16"), use(m, "V%d.B16"))
}

func (f *Func) TBX(d, n, m V) {
	f.ins("VTBX %[3]s, [%[2]s], %[1]s", modify(d, "V%d.B16"), use(n, "V%d.B16"), use(m, "V%d.B16"))
}

// BIT copies to d the bits of n that are set in m, BIF those that are not.
func (f *Func) BIT(d, n, m V) {
	f.ins("VBIT %[3]s, %[2]s, %[1]s", modify(d, "V%d.B16"), use(n, "V%d.B16"), use(m, "V%d.B16"))
}

func (f *Func) BIF(d, n, m V) {
	f.ins("VBIF %[3]s, %[2]s, %[1]s", modify(d, "V%d.B16"), use(n, "V%d.B16"), use(m, "V%d.B16"))
}

// TRN1 and TRN2 take the even and the odd float32 lanes of n and m in turn;
// ZIP1D and ZIP2D join their low and their high halves.
func (f *Func) TRN1(d, n, m V) {
	f.ins("VTRN1 %[3]s, %[2]s, %[1]s", def(d, "V%d.S4"), use(n, "V%d.S4"), use(m, "V%d.S4"))
}

func (f *Func) TRN2(d, n, m V) {
	f.ins("VTRN2 %[3]s, %[2]s, %[1]s", def(d, "V%d.S4"), use(n, "V%d.S4"), use(m, "V%d.S4"))
}

func (f *Func) ZIP1D(d, n, m V) {
	f.ins("VZIP1 %[3]s, %[2]s, %[1]s", def(d, "V%d.D2"), use(n, "V%d.D2"), use(m, "V%d.D2"))
}

func (f *Func) ZIP2D(d, n, m V) {
	f.ins("VZIP2 %[3]s, %[2]s, %[1]s", def(d, "V%d.D2"), use(n, "V%d.D2"), use(m, "V%d.D2"))
}

// ZIP1H and ZIP2H take the 16-bit lanes of the low and of the high halves of n and
// m in turn; UZP2H joins the odd ones.
func (f *Func) ZIP1H(d, n, m V) {
	f.ins("VZIP1 %[3]s, %[2]s, %[1]s", def(d, "V%d.H8"), use(n, "V%d.H8"), use(m, "V%d.H8"))
}

func (f *Func) ZIP2H(d, n, m V) {
	f.ins("VZIP2 %[3]s, %[2]s, %[1]s", def(d, "V%d.H8"), use(n, "V%d.H8"), use(m, "V%d.H8"))
}

func (f *Func) UZP2H(d, n, m V) {
	f.ins("VUZP2 %[3]s, %[2]s, %[1]s", def(d, "V%d.H8"), use(n, "V%d.H8"), use(m, "V%d.H8"))
}

// MOV copies a vector; ZERO clears one.
func (f *Func) MOV(d, n V) { f.ins("VMOV %[2]s, %[1]s", def(d, "V%d.B16"), use(n, "V%d.B16")) }

func (f *Func) ZERO(d V) { f.ins("VEOR %[1]s, %[1]s, %[1]s", def(d, "V%d.B16")) }

// DUP copies a lane of n to all lanes.
func (f *Func) DUP(n V, lane int) V {
	d := f.V()
	f.ins(fmt.Sprintf("VDUP %%[2]s[%d], %%[1]s", lane), def(d, "V%d.S4"), use(n, "V%d.S"))
	return d
}

// Scalars: lane 0, the other lanes become 0. S is float32, D float64.

func (f *Func) FADDS(d, n, m V) {
	f.ins("FADDS %[3]s, %[2]s, %[1]s", def(d, "F%d"), use(n, "F%d"), use(m, "F%d"))
}

func (f *Func) FMAXS(d, n, m V) {
	f.ins("FMAXS %[3]s, %[2]s, %[1]s", def(d, "F%d"), use(n, "F%d"), use(m, "F%d"))
}

// FMADDS sets d = a + n·m, rounded once.
func (f *Func) FMADDS(d, n, m, a V) {
	f.ins("FMADDS %[3]s, %[4]s, %[2]s, %[1]s", def(d, "F%d"), use(n, "F%d"), use(m, "F%d"), use(a, "F%d"))
}

func (f *Func) FADDD(d, n, m V) {
	f.ins("FADDD %[3]s, %[2]s, %[1]s", def(d, "F%d"), use(n, "F%d"), use(m, "F%d"))
}

func (f *Func) FMULD(d, n, m V) {
	f.ins("FMULD %[3]s, %[2]s, %[1]s", def(d, "F%d"), use(n, "F%d"), use(m, "F%d"))
}

func (f *Func) FDIVD(d, n, m V) {
	f.ins("FDIVD %[3]s, %[2]s, %[1]s", def(d, "F%d"), use(n, "F%d"), use(m, "F%d"))
}

func (f *Func) FSQRTD(d, n V) { f.ins("FSQRTD %[2]s, %[1]s", def(d, "F%d"), use(n, "F%d")) }

// ToDouble and ToSingle convert; FromInt converts an integer to float64.
func (f *Func) ToDouble(n V) V {
	d := f.V()
	f.ins("FCVTSD %[2]s, %[1]s", def(d, "F%d"), use(n, "F%d"))
	return d
}

func (f *Func) ToSingle(n V) V {
	d := f.V()
	f.ins("FCVTDS %[2]s, %[1]s", def(d, "F%d"), use(n, "F%d"))
	return d
}

func (f *Func) FromInt(n R) V {
	d := f.V()
	f.ins("SCVTFD %[2]s, %[1]s", def(d, "F%d"), useR(n))
	return d
}

// OneD is the float64 1.
func (f *Func) OneD() V {
	d := f.V()
	f.ins("FMOVD $1.0, %s", def(d, "F%d"))
	return d
}

// Memory. The forms ending in P add the size to the pointer afterwards. None
// needs alignment.

func (f *Func) LoadQ(p R, off int) V {
	d := f.V()
	f.ins(fmt.Sprintf("FMOVQ %d(%%s), %%s", off), useR(p), def(d, "F%d"))
	return d
}

func (f *Func) LoadQP(p R) V {
	d := f.V()
	f.ins("FMOVQ.P 16(%s), %s", modifyR(p), def(d, "F%d"))
	return d
}

// LoadPair loads eight floats.
func (f *Func) LoadPair(p R, off int) (V, V) {
	d, e := f.V(), f.V()
	f.ins(fmt.Sprintf("FLDPQ %d(%%s), (%%s, %%s)", off), useR(p), def(d, "F%d"), def(e, "F%d"))
	return d, e
}

func (f *Func) LoadPairP(p R) (V, V) {
	d, e := f.V(), f.V()
	f.ins("FLDPQ.P 32(%s), (%s, %s)", modifyR(p), def(d, "F%d"), def(e, "F%d"))
	return d, e
}

// LoadD loads two floats into lanes 0 and 1 and clears the others.
func (f *Func) LoadD(p R, off int) V {
	d := f.V()
	f.ins(fmt.Sprintf("FMOVD %d(%%s), %%s", off), useR(p), def(d, "F%d"))
	return d
}

// LoadS loads one float into lane 0 and clears the others; LoadSAt finds it off
// bytes behind p.
func (f *Func) LoadS(p R, off int) V {
	d := f.V()
	f.ins(fmt.Sprintf("FMOVS %d(%%s), %%s", off), useR(p), def(d, "F%d"))
	return d
}

func (f *Func) LoadSAt(p, off R) V {
	d := f.V()
	f.ins("FMOVS (%s)(%s), %s", useR(p), useR(off), def(d, "F%d"))
	return d
}

// LoadLane loads one float into a lane of d, StoreLane stores it.
func (f *Func) LoadLane(p R, d V, lane int) {
	f.ins("VLD1 (%s), %s", useR(p), modify(d, fmt.Sprintf("V%%d.S[%d]", lane)))
}

func (f *Func) StoreLane(p R, v V, lane int) {
	f.ins("VST1 %s, (%s)", use(v, fmt.Sprintf("V%%d.S[%d]", lane)), useR(p))
}

func (f *Func) LoadSP(p R) V {
	d := f.V()
	f.ins("FMOVS.P 4(%s), %s", modifyR(p), def(d, "F%d"))
	return d
}

// LoadDP loads the lower half of a register, LoadHP its lowest 16 bits, by way of
// an integer register, and both clear the rest; StoreDP and StoreHP write as much.
func (f *Func) LoadDP(p R) V {
	d := f.V()
	f.ins("FMOVD.P 8(%s), %s", modifyR(p), def(d, "F%d"))
	return d
}

func (f *Func) LoadHP(p R) V {
	bits, d := f.R(), f.V()
	f.ins("MOVHU.P 2(%s), %s", modifyR(p), defR(bits))
	f.ins("FMOVS %s, %s", useR(bits), def(d, "F%d"))
	return d
}

func (f *Func) StoreDP(p R, v V) { f.ins("FMOVD.P %s, 8(%s)", use(v, "F%d"), modifyR(p)) }

func (f *Func) StoreHP(p R, v V) {
	bits := f.R()
	f.ins("FMOVS %s, %s", use(v, "F%d"), defR(bits))
	f.ins("MOVH.P %s, 2(%s)", useR(bits), modifyR(p))
}

// LoadDup loads one float into all lanes and steps past it.
func (f *Func) LoadDup(p R) V {
	d := f.V()
	f.ins("VLD1R.P 4(%s), [%s]", modifyR(p), def(d, "V%d.S4"))
	return d
}

func (f *Func) StoreQ(p R, off int, v V) {
	f.ins(fmt.Sprintf("FMOVQ %%s, %d(%%s)", off), use(v, "F%d"), useR(p))
}

func (f *Func) StoreQP(p R, v V) { f.ins("FMOVQ.P %s, 16(%s)", use(v, "F%d"), modifyR(p)) }

func (f *Func) StorePair(p R, off int, v, w V) {
	f.ins(fmt.Sprintf("FSTPQ (%%s, %%s), %d(%%s)", off), use(v, "F%d"), use(w, "F%d"), useR(p))
}

func (f *Func) StorePairP(p R, v, w V) {
	f.ins("FSTPQ.P (%s, %s), 32(%s)", use(v, "F%d"), use(w, "F%d"), modifyR(p))
}

func (f *Func) StoreS(p R, off int, v V) {
	f.ins(fmt.Sprintf("FMOVS %%s, %d(%%s)", off), use(v, "F%d"), useR(p))
}

func (f *Func) StoreSP(p R, v V) { f.ins("FMOVS.P %s, 4(%s)", use(v, "F%d"), modifyR(p)) }

// Integers.

// Copy returns a copy of n.
func (f *Func) Copy(n R) R {
	d := f.R()
	f.ins("MOVD %[2]s, %[1]s", defR(d), useR(n))
	return d
}

// Bytes returns 4·n: elements to bytes.
func (f *Func) Bytes(n R) R {
	d := f.R()
	f.ins("LSL $2, %[2]s, %[1]s", defR(d), useR(n))
	return d
}

// Half returns ⌊n/2⌋, Minus n less a constant.
func (f *Func) Half(n R) R {
	d := f.R()
	f.ins("LSR $1, %[2]s, %[1]s", defR(d), useR(n))
	return d
}

func (f *Func) Minus(n R, c int) R {
	d := f.R()
	f.ins(fmt.Sprintf("SUB $%d, %%[2]s, %%[1]s", c), defR(d), useR(n))
	return d
}

// Sum returns n + m, Diff n − m.
func (f *Func) Sum(n, m R) R {
	d := f.R()
	f.ins("ADD %[3]s, %[2]s, %[1]s", defR(d), useR(n), useR(m))
	return d
}

func (f *Func) Diff(n, m R) R {
	d := f.R()
	f.ins("SUB %[3]s, %[2]s, %[1]s", defR(d), useR(n), useR(m))
	return d
}

// Add adds m to d, AddImm a constant.
func (f *Func) Add(d, m R) { f.ins("ADD %[2]s, %[1]s, %[1]s", modifyR(d), useR(m)) }

func (f *Func) AddImm(d R, c int) { f.ins(fmt.Sprintf("ADD $%d, %%[1]s, %%[1]s", c), modifyR(d)) }

// SUBS takes a constant off d and sets the flags.
func (f *Func) SUBS(d R, c int) { f.ins(fmt.Sprintf("SUBS $%d, %%[1]s, %%[1]s", c), modifyR(d)) }

// Branch jumps on a condition of the flags (BLT, BGE, …); BranchZero if r is 0.
func (f *Func) Branch(condition string, to Label) {
	f.code = append(f.code, instr{jump: to, text: func(*registers) string { return condition + " " + string(to) }})
}

func (f *Func) BranchZero(r R, to Label) {
	f.ins("CBZ %s, "+string(to), useR(r))
	f.code[len(f.code)-1].jump = to
}

func (f *Func) RET() {
	f.code = append(f.code, instr{ends: true, text: func(*registers) string { return "RET" }})
}

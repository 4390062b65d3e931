package main

import (
	"fmt"
	"math/big"
	"slices"
)

// registers is an allocation: the number of every virtual register.
type registers struct {
	v map[V]int
	r map[R]int
}

// integer lists the integer registers that a kernel may use. Not among them:
// R16, R17 (linker veneers), R18 (the platform's), R26 (closure context), R27
// (assembler's temporary), R28 (g), R29 (frame), R30 (link).
var integer = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 19, 20, 21, 22, 23, 24, 25}

// allocate drops dead pure instructions and gives every virtual register a real
// one by a linear scan over live ranges. Registers are never spilled: too many
// live at once is a bug of the kernel, as is reading before writing or an
// unplaced label; all panic.
func (f *Func) allocate() *registers {
	live := f.liveness()
	for {
		n := len(f.code)
		var kept []instr
		for i, in := range f.code {
			dead := in.pure
			for _, r := range in.rdef {
				dead = dead && live.after[i].Bit(f.bitR(r)) == 0
			}
			if !dead {
				kept = append(kept, in)
			}
		}
		if f.code = kept; len(kept) == n {
			break
		}
		live = f.liveness()
	}
	if b := live.before[0]; b.BitLen() != 0 {
		panic(fmt.Sprintf("%s: register %d (0…%d vector) is read before it is written", f.name, b.TrailingZeroBits(), f.vs))
	}

	// Position 2i is where instruction i reads, 2i+1 where it writes: a result
	// may take the register of an operand that dies there.
	type span struct{ bit, from, to int }
	spans := make([]span, f.vs+f.rs+2)
	for b := range spans {
		spans[b] = span{b, -1, -1}
	}
	touch := func(bit, at int) {
		if spans[bit].from < 0 {
			spans[bit].from = at
		}
		spans[bit].to = at
	}
	for i, in := range f.code {
		for b := range spans {
			if live.before[i].Bit(b) != 0 {
				touch(b, 2*i)
			}
		}
		for _, v := range in.vdef {
			touch(f.bitV(v), 2*i+1)
		}
		for _, r := range in.rdef {
			touch(f.bitR(r), 2*i+1)
		}
		for b := range spans {
			if live.after[i].Bit(b) != 0 {
				touch(b, 2*i+1)
			}
		}
	}
	g := &registers{map[V]int{}, map[R]int{}}
	slices.SortFunc(spans, func(a, b span) int {
		if a.from != b.from {
			return a.from - b.from
		}
		return a.bit - b.bit
	})
	vectors := make([]int, 32)
	for i := range vectors {
		vectors[i] = i
	}
	type held struct{ span, number int }
	for _, class := range []struct {
		numbers []int
		ours    func(bit int) bool
		set     func(bit, number int)
	}{
		{vectors, func(b int) bool { return b >= 1 && b <= f.vs }, func(b, n int) { g.v[V(b)] = n }},
		{integer, func(b int) bool { return b > f.vs+1 }, func(b, n int) { g.r[R(b-f.vs-1)] = n }},
	} {
		var active []held
		for s, sp := range spans {
			if sp.from < 0 || !class.ours(sp.bit) {
				continue
			}
			active = slices.DeleteFunc(active, func(h held) bool { return spans[h.span].to < sp.from })
			number := -1
			for _, n := range class.numbers {
				if !slices.ContainsFunc(active, func(h held) bool { return h.number == n }) {
					number = n
					break
				}
			}
			if number < 0 {
				panic(fmt.Sprintf("%s: no register left at instruction %d", f.name, sp.from/2))
			}
			active = append(active, held{s, number})
			class.set(sp.bit, number)
		}
	}
	return g
}

// bitV and bitR number the virtual registers of both kinds in one set.
func (f *Func) bitV(v V) int { return int(v) }
func (f *Func) bitR(r R) int { return f.vs + 1 + int(r) }

// live is the set of registers whose value is still wanted, before and after
// each instruction.
type live struct{ before, after []*big.Int }

// liveness solves before = use ∪ (after − def), after = ∪ before of successors,
// by going backwards until nothing changes.
func (f *Func) liveness() live {
	at := map[Label]int{}
	for i, in := range f.code {
		if in.label != "" {
			if _, twice := at[in.label]; twice {
				panic(f.name + ": label " + string(in.label) + " is placed twice")
			}
			at[in.label] = i
		}
	}
	n := len(f.code)
	l := live{make([]*big.Int, n), make([]*big.Int, n)}
	for i := range n {
		l.before[i], l.after[i] = new(big.Int), new(big.Int)
	}
	for changed := true; changed; {
		changed = false
		for i := n - 1; i >= 0; i-- {
			in, after := f.code[i], new(big.Int)
			if !in.ends {
				if i+1 == n {
					panic(f.name + " runs off its end")
				}
				after.Or(after, l.before[i+1])
			}
			if in.jump != "" {
				to, ok := at[in.jump]
				if !ok {
					panic(f.name + ": label " + string(in.jump) + " is not placed")
				}
				after.Or(after, l.before[to])
			}
			before := new(big.Int).Set(after)
			for _, v := range in.vdef {
				before.SetBit(before, f.bitV(v), 0)
			}
			for _, r := range in.rdef {
				before.SetBit(before, f.bitR(r), 0)
			}
			for _, v := range in.vuse {
				before.SetBit(before, f.bitV(v), 1)
			}
			for _, r := range in.ruse {
				before.SetBit(before, f.bitR(r), 1)
			}
			if before.Cmp(l.before[i]) != 0 {
				changed = true
			}
			l.before[i], l.after[i] = before, after
		}
	}
	return l
}

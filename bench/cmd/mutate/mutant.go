package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mutant is one function with one fault in it.
type mutant struct {
	Func     string `json:"function"`
	ID       int    `json:"id"` // in the list of all mutants of the function, from 1
	File     string `json:"file"`
	Line     int    `json:"line"`
	Operator string `json:"operator"`
	Original string `json:"original"`
	Mutated  string `json:"mutated"`

	before string  // the instruction in front of it
	nth    int     // of the instructions that read like it, from 1
	index  int     // the line of the body that text replaces
	text   string  // empty: dropped
	data   *symbol // or the constant that is replaced for this function
	lanes  []uint32
}

func (m *mutant) String() string {
	return fmt.Sprintf("%s:%d %s:%d %s: %s → %s", m.Func, m.ID, m.File, m.Line, m.Operator, m.Original, m.Mutated)
}

// edit is one way to break an instruction; an empty text drops it.
type edit struct{ operator, text string }

// mutants lists every mutant of f: its operators on each instruction, and the
// constants it reads. The list depends on the file only.
func mutants(s *source, f *function, arch string) (list []*mutant) {
	edits := amd64Edits(f)
	if arch == "arm64" {
		edits = arm64Edits(f)
	}
	add := func(m *mutant) {
		m.Func, m.File, m.ID = f.name, s.path, len(list)+1
		list = append(list, m)
	}
	before, same := "", map[string]int{}
	for i, l := range f.body {
		if l.label {
			continue
		}
		seen := []string{l.text}
		same[l.text]++
		for _, e := range edits(i) {
			if slices.Contains(seen, e.text) {
				continue
			}
			seen = append(seen, e.text)
			original, mutated := l.text, e.text
			if l.comment != "" {
				original += " // " + l.comment
			}
			if mutated == "" {
				mutated = "(none)"
			}
			add(&mutant{Line: l.number, Operator: e.operator, Original: original, Mutated: mutated, before: before, nth: same[l.text], index: i, text: e.text})
		}
		before = l.text
	}
	for _, y := range s.symbols {
		used := 0
		for _, l := range f.body {
			for _, m := range dataRef.FindAllStringSubmatch(l.text, -1) {
				if m[1] == y.name {
					used = max(used, lanesRead(l, arch, len(y.lanes)))
				}
			}
		}
		if used == 0 {
			continue
		}
		change := func(what string, lanes []int, to func(uint32) uint32) {
			m := &mutant{Line: y.line + lanes[0], Operator: "constant", data: y, lanes: slices.Clone(y.lanes)}
			for _, i := range lanes {
				m.lanes[i] = to(y.lanes[i])
			}
			m.Original = fmt.Sprintf("DATA %s+%d $%#08x", y.name, 4*lanes[0], y.lanes[lanes[0]])
			m.Mutated = fmt.Sprintf("$%#08x in %s", m.lanes[lanes[0]], what)
			add(m)
		}
		if y.uniform() {
			all := make([]int, len(y.lanes))
			for i := range all {
				all[i] = i
			}
			change("every lane", all, flipSign)
			change("every lane", all, nudge)
			if used > 1 {
				// The lane depends on the names alone, so that a record can be repeated.
				r := rand.New(rand.NewPCG(uint64(len(f.name)), uint64(y.line)))
				lane := r.IntN(used)
				change("this lane", []int{lane}, flipSign)
			}
			continue
		}
		for i := range used {
			change("this lane", []int{i}, flipSign)
			if !y.mask() {
				change("this lane", []int{i}, nudge)
			}
		}
	}
	return list
}

// lanesRead is how many lanes of a symbol the instruction can reach.
func lanesRead(l line, arch string, lanes int) int {
	if arch == "arm64" || strings.HasPrefix(l.op, "LEA") {
		return lanes
	}
	switch {
	case l.op == "VBROADCASTSS", strings.HasSuffix(l.op, "SS"):
		return 1
	case strings.Contains(l.text, "Z"):
		return min(lanes, 16)
	case regexp.MustCompile(`\bY\d`).MatchString(l.text):
		return min(lanes, 8)
	}
	return min(lanes, 4)
}

func flipSign(v uint32) uint32 { return v ^ 1<<31 }

// nudge changes a normal number by 2^-8 of itself, which is far beyond every
// bound of kernels.Set; a change of 1 ULP might not be. Masks and special
// values lose or gain the bit next to the sign.
func nudge(v uint32) uint32 {
	x := math.Float32frombits(v)
	if e := v >> 23 & 0xff; e == 0 || e == 0xff {
		return v ^ 1<<30
	}
	return math.Float32bits(x * (1 + 0x1p-8))
}

var parameter = regexp.MustCompile(`^(\w+)\+(\d+)\(FP\)$`)

// parameterEdits moves an operand in the argument frame: a pointer to the word
// before it, a length to the capacity and to the length of the next slice.
func parameterEdits(f *function, l line, i int) (list []edit) {
	m := parameter.FindStringSubmatch(l.args[i])
	if m == nil {
		return nil
	}
	name, offset := m[1], atoi(m[2])
	at := func(o int) edit {
		return edit{"argument", l.with(i, name+"+"+strconv.Itoa(o)+"(FP)")}
	}
	switch {
	case strings.HasSuffix(name, "_len"):
		list = append(list, at(offset+8))
		following := regexp.MustCompile(`_base\+` + strconv.Itoa(offset+16) + `\(FP\)`)
		if slices.ContainsFunc(f.body, func(l line) bool { return following.MatchString(l.text) }) {
			list = append(list, at(offset+24))
		}
	case offset >= 8:
		list = append(list, at(offset-8))
	default:
		list = append(list, at(offset+8))
	}
	return list
}

// sample returns n mutants of the list, chosen by the seed and the name of the
// function, in the order of the list; all of them where n is negative.
func sample(list []*mutant, n int, seed uint64) []*mutant {
	if n < 0 || n >= len(list) {
		return list
	}
	var name uint64
	for _, c := range list[0].Func {
		name = name*31 + uint64(c)
	}
	r := rand.New(rand.NewPCG(seed, name))
	chosen := make([]*mutant, n)
	for i, k := range r.Perm(len(list))[:n] {
		chosen[i] = list[k]
	}
	slices.SortFunc(chosen, func(a, b *mutant) int { return a.ID - b.ID })
	return chosen
}

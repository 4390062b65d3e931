package tensor

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// A viewModel is a tensor as a list: for every element, in row-major order, its
// number in the storage. It knows nothing of strides.
type viewModel struct {
	shape []int
	from  []int
}

// rebuild makes the model whose element ix is the element f(ix) of m.
func (m viewModel) rebuild(shape []int, f func(ix []int) []int) viewModel {
	out := viewModel{shape: slices.Clone(shape)}
	each(shape, func(ix []int) {
		at := 0
		for a, k := range f(slices.Clone(ix)) {
			at = at*m.shape[a] + k
		}
		out.from = append(out.from, m.from[at])
	})
	return out
}

// viewStep applies the view op that the dice choose to tensor and model.
func viewStep(dice func(n int) int, x *Tensor, m viewModel) (string, *Tensor, viewModel) {
	rank := len(m.shape)
	shape := slices.Clone(m.shape)
	if rank == 0 {
		return "unsqueeze 0", x.Unsqueeze(0), viewModel{[]int{1}, m.from}
	}
	a := dice(rank)
	negative := a
	if dice(2) == 0 {
		negative = a - rank
	}
	d := shape[a]
	switch dice(8) {
	case 0:
		start := dice(d + 1)
		n := dice(d - start + 1)
		shape[a] = n
		return fmt.Sprintf("narrow %d %d %d", negative, start, n), x.Narrow(negative, start, n),
			m.rebuild(shape, func(ix []int) []int { ix[a] += start; return ix })
	case 1:
		start := dice(d + 1)
		stop := start + dice(d-start+1)
		step := 1 + dice(4)
		shape[a] = 0
		for i := start; i < stop; i += step {
			shape[a]++
		}
		return fmt.Sprintf("slice %d %d:%d:%d", negative, start, stop, step), x.Slice(negative, start, stop, step),
			m.rebuild(shape, func(ix []int) []int { ix[a] = start + ix[a]*step; return ix })
	case 2:
		if d == 0 {
			return "view", x.view(), m
		}
		i := dice(d)
		return fmt.Sprintf("index %d %d", negative, i), x.Index(negative, i),
			m.rebuild(slices.Delete(shape, a, a+1), func(ix []int) []int { return slices.Insert(ix, a, i) })
	case 3:
		order := make([]int, rank)
		for i := range order {
			order[i] = i
			j := dice(i + 1)
			order[i], order[j] = order[j], order[i]
		}
		for i, o := range order {
			shape[i] = m.shape[o]
		}
		return fmt.Sprint("permute ", order), x.Permute(order...), m.rebuild(shape, func(ix []int) []int {
			back := make([]int, rank)
			for i, o := range order {
				back[o] = ix[i]
			}
			return back
		})
	case 4:
		b := dice(rank)
		shape[a], shape[b] = shape[b], shape[a]
		return fmt.Sprintf("transpose %d %d", negative, b), x.Transpose(negative, b),
			m.rebuild(shape, func(ix []int) []int { ix[a], ix[b] = ix[b], ix[a]; return ix })
	case 5:
		if rank == maxRank || size(shape) > 4000 {
			return "view", x.view(), m
		}
		for i := range shape {
			if shape[i] == 1 {
				shape[i] = dice(4)
			}
		}
		lead := dice(2)
		wide := append(slices.Repeat([]int{2}, lead), shape...)
		return fmt.Sprint("expand ", wide), x.Expand(wide...), m.rebuild(wide, func(ix []int) []int {
			ix = ix[lead:]
			for i, d := range m.shape {
				if d == 1 {
					ix[i] = 0
				}
			}
			return ix
		})
	case 6:
		if rank == maxRank {
			return "view", x.view(), m
		}
		at := dice(rank + 1)
		return fmt.Sprint("unsqueeze ", at), x.Unsqueeze(at), viewModel{slices.Insert(shape, at, 1), m.from}
	default:
		// Split or join axes at random, keeping the number of elements.
		if a+1 < rank && dice(2) == 0 {
			shape[a] *= shape[a+1]
			shape = slices.Delete(shape, a+1, a+2)
		} else if rank < maxRank && d > 0 {
			p := 1 + dice(d)
			for d%p != 0 {
				p--
			}
			shape[a] = p
			shape = slices.Insert(shape, a+1, d/p)
		}
		asked := slices.Clone(shape)
		if dice(2) == 0 && size(shape) > 0 {
			asked[dice(len(asked))] = -1
		}
		return fmt.Sprint("reshape ", asked), x.Reshape(asked...), viewModel{shape, m.from}
	}
}

// checkViews makes a chain of views and compares every link with its model.
func checkViews(t *testing.T, dice func(n int) int) {
	shape := make([]int, 1+dice(4))
	for i := range shape {
		shape[i] = 1 + dice(6)
	}
	data := make([]int32, size(shape))
	for i := range data {
		data[i] = int32(i)
	}
	x := From(CPU, data, shape...)
	m := viewModel{shape: shape}
	for i := range data {
		m.from = append(m.from, i)
	}
	story := fmt.Sprint(shape)
	for range 1 + dice(8) {
		var step string
		step, x, m = viewStep(dice, x, m)
		story += " | " + step
		want := array{shape: m.shape, v: make([]float64, len(m.from))}
		for i, v := range m.from {
			want.v[i] = float64(v)
		}
		mustEqual(t, story, x, want)
		clone := x.Clone()
		mustEqual(t, story+" | clone", clone, want)
		if !clone.Contiguous() {
			t.Errorf("%s: the clone is not contiguous", story)
		}
		if compact := x.Compact(); !slices.Equal(Data[int32](compact), Data[int32](clone)) {
			t.Errorf("%s: Compact and Clone differ", story)
		}
		cast := Cast(x, Float32) // another walk over the strides
		mustEqual(t, story+" | cast", cast, want)
		if t.Failed() {
			return
		}
	}
}

// TestViews checks random chains of views, index by index.
func TestViews(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		if checkViews(t, r.IntN); t.Failed() {
			return
		}
	}
}

// FuzzView is TestViews with the fuzzer's bytes as dice.
func FuzzView(f *testing.F) {
	f.Add([]byte{3, 1, 2, 3, 0, 3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9})
	f.Add([]byte{0, 0, 7, 5, 0, 1, 5, 1, 1, 1})
	f.Add([]byte{0x10, 0x21, 0x32, 0x43, 0x54, 0x65, 0x76, 0x87, 0x98})
	f.Fuzz(func(t *testing.T, data []byte) {
		checkViews(t, func(n int) int {
			if len(data) == 0 {
				return 0
			}
			v := int(data[0])
			data = data[1:]
			return v % n
		})
	})
}

// TestReshapeView tells where Reshape shares storage: exactly where strides can
// express the new shape.
func TestReshapeView(t *testing.T) {
	base := Zeros(CPU, Float32, 4, 3, 6)
	for _, c := range []struct {
		name  string
		x     *Tensor
		shape []int
		view  bool
	}{
		{"contiguous", base, []int{12, 6}, true},
		{"contiguous, open axis", base, []int{2, -1, 9}, true},
		{"transposed", base.Transpose(0, 1), []int{12, 6}, false},
		{"split of a transposed axis", base.Transpose(0, 2), []int{2, 3, 3, 4}, true},
		{"narrow inside", base.Narrow(2, 1, 3), []int{12, 3}, true},
		{"narrow inside, joined", base.Narrow(2, 1, 3), []int{36}, false},
		{"narrow outside", base.Narrow(0, 1, 2), []int{36}, true},
		{"heads", base.Permute(1, 0, 2), []int{3, 4, 2, 3}, true},
		{"expanded", base.Narrow(0, 0, 1).Expand(5, 3, 6), []int{5, 18}, true},
		{"expanded, joined", base.Narrow(0, 0, 1).Expand(5, 3, 6), []int{90}, false},
		{"axes of 1 between", base.Narrow(2, 0, 1).Unsqueeze(1).Unsqueeze(1), []int{12}, true},
		{"regrouped", base.Slice(2, 0, 6, 2).Reshape(12, 3), []int{2, 2, 3, 3}, true},
		{"regrouped across", base.Slice(2, 0, 6, 2), []int{6, 2, 3}, true},
		{"every second", base.Slice(2, 0, 6, 2), []int{36}, true},
		{"ones only", base.Narrow(0, 3, 1).Narrow(1, 2, 1).Narrow(2, 5, 1), []int{}, true},
		{"empty", base.Narrow(1, 3, 0), []int{0, 7}, true},
	} {
		before := c.x.store.refs.Load()
		y := c.x.Reshape(c.shape...)
		if shared := y.store == c.x.store; shared != c.view {
			t.Errorf("%s: shared %v, want %v (strides %v)", c.name, shared, c.view, c.x.Strides())
		}
		y.Release()
		if after := c.x.store.refs.Load(); after != before {
			t.Errorf("%s: %d references before and %d after", c.name, before, after)
		}
	}
}

// TestViewsShare checks that a write through a view is seen through all others.
func TestViewsShare(t *testing.T) {
	x := Zeros(CPU, Float32, 3, 4)
	Copy(x.Transpose(0, 1).Index(0, 2), Full(CPU, Float32, 7, 3))
	mustEqual(t, "x", x, array{[]int{3, 4}, []float64{0, 0, 7, 0, 0, 0, 7, 0, 0, 0, 7, 0}})
	Fill(x.Narrow(0, 1, 1), 2)
	mustEqual(t, "row", x.Reshape(12).Narrow(0, 4, 5), array{[]int{5}, []float64{2, 2, 2, 2, 0}})
}

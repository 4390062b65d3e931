package nn

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"fuerte/autograd"
	"fuerte/tensor"
)

func names(ps []Named) (out []string) {
	for _, p := range ps {
		out = append(out, p.Name)
	}
	return out
}

// TestParams: names are paths of tags, in the order of fields; what is nil or
// untagged is absent; an empty tag adds no level.
func TestParams(t *testing.T) {
	type inner struct {
		B *Var `param:"b"`
		A *Var `param:"a"`
	}
	m := &struct {
		Skipped *Linear
		Last    *Linear  `param:"z"`
		Through inner    `param:""`
		List    []*inner `param:"list"`
		None    *inner   `param:"none"`
		Plain   []struct {
			L *Linear `param:"linear"`
		} `param:"plain"`
		secret *Var
	}{
		Skipped: NewLinear(tensor.CPU, 2, 2, true),
		Last:    NewLinear(tensor.CPU, 2, 3, true),
		Through: inner{NewParam(tensor.CPU, 4), nil},
		List:    []*inner{{A: NewParam(tensor.CPU, 1)}, nil, {NewParam(tensor.CPU, 1), NewParam(tensor.CPU, 1)}},
		Plain: make([]struct {
			L *Linear `param:"linear"`
		}, 1),
		secret: NewParam(tensor.CPU, 7),
	}
	m.Plain[0].L = NewLinear(tensor.CPU, 1, 1, false)
	want := []string{"z.weight", "z.bias", "b", "list.0.a", "list.2.b", "list.2.a", "plain.0.linear.weight"}
	if got := names(Params(m)); !slices.Equal(got, want) {
		t.Errorf("the parameters are %q, want %q", got, want)
	}
	if got := Count(Params(m)); got != 6+3+4+1+2+1 {
		t.Errorf("%d elements", got)
	}
	if Params(m)[0].Var != m.Last.Weight {
		t.Error("a parameter is not the module's own")
	}
	defer func() {
		if recover() == nil {
			t.Error("a tag on an int is accepted")
		}
	}()
	Params(&struct {
		N int `param:"n"`
	}{})
}

// fill gives every parameter of a module normal values of the given deviation.
func fill(module any, std float64) {
	for _, p := range Params(module) {
		Normal(p.Var, Rand(1, p.Name), std)
	}
}

// TestModules compares each module with its formula in plain float64 loops.
func TestModules(t *testing.T) {
	const rows, d, f = 5, 6, 9
	x := NewParam(tensor.CPU, rows, d)
	Normal(x, Rand(2, "x"), 1)
	in := func() *Var { return autograd.NewInferenceTape().Input(x.Value) }
	xs := tensor.Data[float32](x.Value)
	linear := func(l *Linear, x []float64) []float64 {
		w := tensor.Data[float32](l.Weight.Value)
		n, k := l.Weight.Shape()[0], l.Weight.Shape()[1]
		y := make([]float64, n)
		for i := range n {
			if l.Bias != nil {
				y[i] = float64(tensor.Data[float32](l.Bias.Value)[i])
			}
			for j := range k {
				y[i] += float64(w[i*k+j]) * x[j]
			}
		}
		return y
	}
	check := func(what string, got *Var, want func(x []float64) []float64) {
		t.Helper()
		y := tensor.Data[float32](got.Value)
		for r := range rows {
			row := make([]float64, d)
			for j := range row {
				row[j] = float64(xs[r*d+j])
			}
			for j, w := range want(row) {
				if g := float64(y[r*len(y)/rows+j]); !(math.Abs(g-w) <= 1e-5*(1+math.Abs(w))) {
					t.Fatalf("%s: [%d, %d] is %g, want %g", what, r, j, g, w)
				}
			}
		}
	}
	for _, bias := range []bool{false, true} {
		l := NewLinear(tensor.CPU, d, f, bias)
		fill(l, 1)
		check("linear", l.Forward(in()), func(x []float64) []float64 { return linear(l, x) })
	}
	n := NewRMSNorm(tensor.CPU, d, 1e-5)
	if w := tensor.Data[float32](n.Weight.Value); slices.Min(w) != 1 || slices.Max(w) != 1 {
		t.Errorf("a new norm's weights are %v", w)
	}
	fill(n, 1)
	check("norm", n.Forward(in()), func(x []float64) []float64 {
		var ss float64
		for _, v := range x {
			ss += v * v
		}
		y := make([]float64, d)
		for j := range y {
			y[j] = x[j] * float64(tensor.Data[float32](n.Weight.Value)[j]) / math.Sqrt(ss/d+1e-5)
		}
		return y
	})
	m := NewSwiGLU(tensor.CPU, d, f)
	fill(m, 0.5)
	if got, want := names(Params(m)), []string{"fc1.weight", "fc2.weight", "fc3.weight"}; !slices.Equal(got, want) {
		t.Errorf("SwiGLU has %q", got)
	}
	check("swiglu", m.Forward(in()), func(x []float64) []float64 {
		g, u := linear(m.Gate, x), linear(m.Up, x)
		for i := range g {
			g[i] *= u[i] / (1 + math.Exp(-g[i]))
		}
		return linear(m.Down, g)
	})
	e := NewEmbedding(tensor.CPU, 4, d)
	fill(e, 1)
	id := []int32{3, 0, 3, 1, 2}
	y := e.Forward(autograd.NewInferenceTape().Input(tensor.From(tensor.CPU, id, rows)))
	for r, i := range id {
		if !slices.Equal(tensor.Data[float32](y.Value)[r*d:(r+1)*d], tensor.Data[float32](e.Weight.Value)[int(i)*d:(int(i)+1)*d]) {
			t.Errorf("row %d is not the embedding of %d", r, i)
		}
	}
}

// TestMaskRows reads the attention mask off: with equal scores a query averages
// the values that it sees, and the values are unit vectors.
func TestMaskRows(t *testing.T) {
	const n = 5
	for _, c := range []struct {
		mask   tensor.Mask
		prefix int32 // −1: none
		want   string
	}{
		{tensor.NoMask, -1, "11111 11111 11111 11111 11111"},
		{tensor.Causal, -1, "10000 11000 11100 11110 11111"},
		{tensor.Causal, 1, "10000 11000 11100 11110 11111"},
		{tensor.Causal, 3, "11100 11100 11100 11110 11111"},
		{tensor.Causal, 5, "11111 11111 11111 11111 11111"},
	} {
		q := tensor.Zeros(tensor.CPU, tensor.Float32, 1, n, 1, n)
		v := tensor.Zeros(tensor.CPU, tensor.Float32, 1, n, 1, n)
		for i := range n {
			tensor.Data[float32](v)[i*n+i] = 1
		}
		var prefix *tensor.Tensor
		if c.prefix >= 0 {
			prefix = tensor.From(tensor.CPU, []int32{c.prefix}, 1)
		}
		o, _ := tensor.Attention(q, q, v, c.mask, prefix)
		var rows []string
		for i := range n {
			row, sum := "", float32(0)
			for _, w := range tensor.Data[float32](o)[i*n : (i+1)*n] {
				bit := "0"
				if w != 0 {
					bit = "1"
				}
				row, sum = row+bit, sum+w
			}
			if rows = append(rows, row); math.Abs(float64(sum)-1) > 1e-6 {
				t.Errorf("the weights of row %d add up to %g", i, sum)
			}
		}
		if got := strings.Join(rows, " "); got != c.want {
			t.Errorf("mask %d, prefix %d: %s, want %s", c.mask, c.prefix, got, c.want)
		}
	}
}

// TestDenseMask: a dense mask that says what a fused one does gives what it gives,
// as bool and as scores, for all heads or each; and so does its gradient.
func TestDenseMask(t *testing.T) {
	const b, n, d, heads = 2, 5, 12, 3
	a := NewAttention(tensor.CPU, d, heads)
	fill(a, 0.4)
	x := NewParam(tensor.CPU, b, n, d)
	Normal(x, rand.New(rand.NewPCG(1, 1)), 1)
	prefix := []int32{1, 3}
	run := func(m Mask) (y, gw []float32) {
		tape := autograd.NewTape()
		out := a.Forward(tape.Input(x.Value), m)
		y = slices.Clone(tensor.Data[float32](out.Value))
		tape.Backward(autograd.Sum(autograd.Mul(out, out), false))
		gw = slices.Clone(tensor.Data[float32](a.QKV.Weight.Grad))
		a.QKV.Weight.ZeroGrad()
		return y, gw
	}
	allowed, scores, each := make([]bool, b*n*n), make([]float32, b*n*n), make([]bool, b*heads*n*n)
	for i := range allowed {
		row, q, k := i/n/n, i/n%n, i%n
		if allowed[i] = k <= q || k < int(prefix[row]); !allowed[i] {
			scores[i] = float32(math.Inf(-1))
		}
		for h := range heads {
			each[(row*heads+h)*n*n+i%(n*n)] = allowed[i]
		}
	}
	y, gw := run(Mask{Causal: true, Prefix: tensor.From(tensor.CPU, prefix, b)})
	for name, mask := range map[string]*tensor.Tensor{
		"bool":      tensor.From(tensor.CPU, allowed, b, 1, n, n),
		"scores":    tensor.From(tensor.CPU, scores, b, 1, n, n),
		"each head": tensor.From(tensor.CPU, each, b, heads, n, n),
	} {
		gy, ggw := run(Mask{Dense: mask})
		for i := range y {
			if math.Abs(float64(gy[i]-y[i])) > 1e-5 {
				t.Fatalf("%s: element %d is %g, fused %g", name, i, gy[i], y[i])
			}
		}
		for i := range gw {
			if math.Abs(float64(ggw[i]-gw[i])) > 1e-4 {
				t.Fatalf("%s: gradient %d is %g, fused %g", name, i, ggw[i], gw[i])
			}
		}
	}
	full := tensor.Zeros(tensor.CPU, tensor.Float32, n, n)
	open, _ := run(Mask{})
	if got, _ := run(Mask{Dense: full}); slices.Equal(got, y) || math.Abs(float64(got[0]-open[0])) > 1e-5 {
		t.Error("scores of 0 do not let every token see every other")
	}
}

// TestExtend: attention piece by piece through the cache is causal attention.
func TestExtend(t *testing.T) {
	const b, n, d = 2, 7, 12
	a := NewAttention(tensor.CPU, d, 3)
	fill(a, 0.4)
	x := NewParam(tensor.CPU, b, n, d)
	Normal(x, rand.New(rand.NewPCG(1, 1)), 1)
	tape := autograd.NewInferenceTape()
	before := tensor.Live()
	want := a.Forward(tape.Input(x.Value), Mask{Causal: true})
	cache, at := a.NewCache(b, n), 0
	for _, k := range []int{3, 1, 1, 2} {
		got := a.Extend(autograd.Narrow(tape.Input(x.Value), 1, at, k), cache)
		diff := autograd.Sub(got, autograd.Narrow(want, 1, at, k))
		if worst := tensor.SumSquares(diff.Value); !(worst < 1e-10) {
			t.Errorf("tokens %d to %d differ by %g", at, at+k, math.Sqrt(worst))
		}
		at += k
	}
	func() {
		defer func() {
			if _, ok := recover().(*tensor.ShapeError); !ok {
				t.Error("a full cache does not panic with a *tensor.ShapeError")
			}
		}()
		a.Extend(autograd.Narrow(tape.Input(x.Value), 1, 0, 1), cache)
	}()
	if cache.Len != n {
		t.Errorf("the cache holds %d tokens, not %d", cache.Len, n)
	}
	tape.Reset()
	cache.K.Release()
	cache.V.Release()
	if left := tensor.Live() - before; left > 1 { // the refused token's view keeps the cache from being freed
		t.Errorf("%d blocks were not released", left)
	}
	func() {
		defer func() {
			if _, ok := recover().(*tensor.ShapeError); !ok {
				t.Error("5 heads of a width of 12 do not panic with a *tensor.ShapeError")
			}
		}()
		NewAttention(tensor.CPU, 12, 5)
	}()
}

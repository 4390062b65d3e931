package kernels

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

const (
	ulp1 = 0x1p-24 // u, the unit round-off of float32
	// canary floats beside every fenced slice hold a NaN that no kernel makes.
	canary     = 64
	canaryBits = 0x7fc0dead
)

// TestSets holds every usable level to the contract of every field of Set. A
// field without an entry in contracts fails, and so does a level that this CPU
// lacks where FUERTE_REQUIRE names it, or level.Field where that is nil.
func TestSets(t *testing.T) {
	required := strings.FieldsFunc(os.Getenv("FUERTE_REQUIRE"), func(r rune) bool { return r == ',' })
	for _, s := range append(Sets(), candidatesOf(os.Getenv("FUERTE_ISA"))...) {
		required = slices.DeleteFunc(required, func(name string) bool {
			level, field, _ := strings.Cut(name, ".")
			if level != s.Name {
				return false
			}
			if lacks := cmp.Or(s.Missing, absent(s, field)); lacks != "" {
				t.Errorf("FUERTE_REQUIRE=%s, but this CPU lacks %s", name, lacks)
			}
			return true
		})
		if s.Missing != "" {
			fmt.Printf("%s: not run, this CPU lacks %s\n", s.Name, s.Missing)
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			v := reflect.ValueOf(s).Elem()
			for i := range v.NumField() {
				field := v.Type().Field(i).Name
				if field == "Name" || field == "Missing" {
					continue
				}
				t.Run(field, func(t *testing.T) {
					debug.SetPanicOnFault(true) // for this goroutine, which is this test's
					test, ok := contracts[field]
					if !ok {
						t.Fatalf("Set.%s has no entry in contracts: no test holds it to its comment", field)
					}
					test(t, s)
				})
			}
		})
	}
	if len(required) > 0 {
		t.Errorf("FUERTE_REQUIRE names %v, which this build does not have", required)
	}
}

// absent says that the level has no kernel in a field, unless it has; no field is "".
func absent(s *Set[float32], field string) string {
	if field == "" {
		return ""
	}
	v := reflect.ValueOf(s).Elem().FieldByName(field)
	if v.Kind() == reflect.Struct {
		v = v.FieldByName("Run")
	}
	if v.Kind() == reflect.Func && !v.IsNil() {
		return ""
	}
	return "what " + field + " needs"
}

// contracts says for each field of Set how its comment is tested.
var contracts = map[string]func(*testing.T, *Set[float32]){
	"Tile":     testTile,
	"PackRows": testPackRows,
	"PackCols": testPackCols,
	"Dots":     testDots,
	"Gemv":     testGemv,
	"FMALoop": func(_ *testing.T, s *Set[float32]) {
		for _, n := range []int{1, 2, 1000} {
			s.FMALoop(n) // it has no result: that it ends is all there is to see
		}
	},
	"FMALoopFLOP": func(t *testing.T, s *Set[float32]) {
		if !(s.FMALoopFLOP > 0) {
			t.Errorf("a pass of FMALoop is %g FLOP", s.FMALoopFLOP)
		}
	},
}

// testStreaming holds the kernels of s.Streaming that are not those of s to the
// contracts of their fields.
func testStreaming(t *testing.T, s *Set[float32]) {
	if s.Streaming == nil {
		return
	}
	level, other := reflect.ValueOf(s).Elem(), reflect.ValueOf(s.Streaming).Elem()
	found := 0
	for i := range level.NumField() {
		field := level.Type().Field(i)
		if field.Type.Kind() != reflect.Func || level.Field(i).Pointer() == other.Field(i).Pointer() {
			continue
		}
		found++
		t.Run(field.Name, func(t *testing.T) {
			debug.SetPanicOnFault(true)
			contracts[field.Name](t, s.Streaming)
		})
	}
	if found == 0 {
		t.Error("it has no kernel of its own")
	}
}

func init() {
	for _, row := range vectorRows {
		contracts[row.field] = row.test
	}
	contracts["Streaming"] = testStreaming
}

// place returns n floats at the end (or, if not, at the start) of the fence, and
// a check that what lies beside them is unchanged.
func (f *fence) place(n int, end bool) (x []float32, intact func() bool) {
	var band []float32
	if end {
		x = f.mem[len(f.mem)-n:]
		band = f.mem[len(f.mem)-n-canary : len(f.mem)-n]
	} else {
		x, band = f.mem[:n:n], f.mem[n:n+canary]
	}
	for i := range band {
		band[i] = math.Float32frombits(canaryBits)
	}
	return x, func() bool {
		for _, v := range band {
			if math.Float32bits(v) != canaryBits {
				return false
			}
		}
		return true
	}
}

// vectorRow is the contract of one kernel on vectors, in a form that the test
// can measure. The kernel reads in and writes (or reads and writes) out.
type vectorRow struct {
	field   string
	in, out int
	min     int // smallest length
	// fill makes the operands where normal numbers of all sizes will not do.
	fill func(r *rand.Rand, in, out [][]float32)
	run  func(s *Set[float32], out, in [][]float32) []float32
	// model turns want from the initial into the final outputs, sets the largest
	// error of each element, and returns the same for the scalar results.
	model func(want, tol, in [][]float64) (res, resTol []float64)
	// inPlace lists pairs of an output and an input that may be the same memory.
	inPlace [][2]int
	// special: elementwise, also for NaN, ±Inf, −0, denormals and huge values.
	special bool
	skip    func(in []float64) bool // specials without a promise
}

func (row vectorRow) test(t *testing.T, s *Set[float32]) {
	r := rand.New(rand.NewPCG(7, 11))
	const most = 4099
	fences := make([]*fence, row.in+row.out)
	for i := range fences {
		fences[i] = newFence(t, most)
	}
	lengths := []int{1000, most}
	for n := row.min; n <= 130; n++ {
		lengths = append(lengths, n)
	}
	for _, n := range lengths {
		in, out := vectorsOf(row.in, n), vectorsOf(row.out, n)
		row.draw(r, in, out)
		for _, end := range []bool{true, false} {
			if !row.check(t, s, fences, in, out, end) {
				return
			}
		}
	}
	if row.special {
		row.testSpecial(t, s)
	}
}

// check runs the kernel on fenced copies of the operands, then in place.
func (row vectorRow) check(t *testing.T, s *Set[float32], fences []*fence, in, out [][]float32, end bool) bool {
	t.Helper()
	n := len(append(slices.Clone(in), out...)[0])
	fencedIn, fencedOut := make([][]float32, row.in), make([][]float32, row.out)
	var intact []func() bool
	place := func(i int, x []float32) []float32 {
		p, ok := fences[i].place(n, end)
		copy(p, x)
		intact = append(intact, ok)
		return p
	}
	for i, x := range in {
		fencedIn[i] = place(i, x)
	}
	for i, x := range out {
		fencedOut[i] = place(row.in+i, x)
	}
	label := fmt.Sprintf("n=%d", n)
	res, ok := row.guarded(t, s, label, fencedOut, fencedIn)
	if !ok {
		return false
	}
	for _, f := range intact {
		if !f() {
			t.Errorf("%s: wrote beside an operand", label)
			return false
		}
	}
	for i, x := range in {
		if !same(x, fencedIn[i]) {
			t.Errorf("%s: changed input %d", label, i)
			return false
		}
	}
	if !row.compare(t, s.Name, label, in, out, fencedOut, res) {
		return false
	}
	want := make([][]float32, row.out)
	for k, x := range fencedOut {
		want[k] = slices.Clone(x)
	}
	if !row.checkLonger(t, s, label, in, out, want, res) {
		return false
	}
	for _, pair := range row.inPlace {
		o, i := pair[0], pair[1]
		got := slices.Clone(fencedOut)
		for k, x := range out {
			copy(got[k], x)
		}
		for k, x := range in {
			copy(fencedIn[k], x)
		}
		got[o] = fencedIn[i]
		if _, ok := row.guarded(t, s, label, got, fencedIn); !ok {
			return false
		}
		for k := range got {
			if !same(got[k], want[k]) {
				t.Errorf("%s: output %d in place of input %d: other bits in output %d", label, o, i, k)
				return false
			}
		}
	}
	return true
}

// checkLonger runs the kernel with room behind the first operand, which alone
// tells the length, and with other operands that are longer: the same bits, and
// nothing beyond the length is read or written.
func (row vectorRow) checkLonger(t *testing.T, s *Set[float32], label string, in, out, want [][]float32, res []float32) bool {
	t.Helper()
	n := len(append(slices.Clone(in), out...)[0])
	first := true
	var whole [][]float32
	longer := func(list [][]float32, beyond float32) (long [][]float32) {
		for _, x := range list {
			mem := append(slices.Clone(x), slices.Repeat([]float32{beyond}, canary)...)
			whole = append(whole, mem)
			if first {
				long = append(long, mem[:n])
			} else {
				long = append(long, mem[:n+5+8*len(whole)])
			}
			first = false
		}
		return long
	}
	// Numbers, and others for inputs: NaN of NaN would be the same NaN.
	longOut := longer(out, 3.25)
	longIn := longer(in, 2.25)
	got, ok := row.guarded(t, s, label, longOut, longIn)
	if !ok {
		return false
	}
	if !same(got, res) {
		t.Errorf("%s: %g with longer operands, %g without", label, got, res)
		return false
	}
	for k, mem := range whole {
		for i, v := range mem[n:] {
			if k < row.out && v != 3.25 || k >= row.out && v != 2.25 {
				t.Errorf("%s: wrote %d beyond the length of operand %d of %d", label, i+1, k, len(whole))
				return false
			}
		}
	}
	for k, x := range want {
		if !same(x, longOut[k][:n]) {
			t.Errorf("%s: other bits in output %d with longer operands", label, k)
			return false
		}
	}
	return true
}

// guarded turns a fault of the kernel into a failure.
func (row vectorRow) guarded(t *testing.T, s *Set[float32], label string, out, in [][]float32) (res []float32, ok bool) {
	t.Helper()
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("%s: %v", label, v)
		}
	}()
	return row.run(s, out, in), true
}

func (row vectorRow) compare(t *testing.T, level, label string, in, out, got [][]float32, res []float32) bool {
	t.Helper()
	want, in64 := widen(out), widen(in)
	tol := widen(out)
	wantRes, resTol := row.model(want, tol, in64)
	good := true
	for k := range got {
		for i, g := range got[k] {
			where := func() string {
				args := []float64{}
				for _, x := range in64 {
					args = append(args, x[i])
				}
				return fmt.Sprintf("%s, output %d[%d], inputs %g, before %g", label, k, i, args, out[k][i])
			}
			tol[k][i] = classBound(want[k][i], tol[k][i])
			observe(row.field, level, float64(g), want[k][i], tol[k][i], where)
			if !within(g, want[k][i], tol[k][i]) {
				t.Errorf("%s: %g, want %g ± %g (%.2f ULP off)", where(), g, want[k][i], tol[k][i], math.Abs(float64(g)-want[k][i])/ulp(want[k][i]))
				good = false
				break
			}
		}
	}
	for i, g := range res {
		where := func() string { return fmt.Sprintf("%s, result %d", label, i) }
		resTol[i] = classBound(wantRes[i], resTol[i])
		observe(row.field, level, float64(g), wantRes[i], resTol[i], where)
		if !within(g, wantRes[i], resTol[i]) {
			t.Errorf("%s = %g, want %g ± %g", where(), g, wantRes[i], resTol[i])
			good = false
		}
	}
	return good
}

// noPromise as a bound says that a result may be anything: an operation on the
// way to it overflows.
const noPromise = -1

// classBound replaces a bound that NaN or Inf has made senseless: a result that
// is not finite must be just that one, another may be anything.
func classBound(want, tol float64) float64 {
	switch {
	case tol-tol == 0:
		return tol
	case want-want != 0:
		return 0
	}
	return noPromise
}

// TestPlacedValues puts a NaN, an Inf, a −0 and denormals in every place of each
// operand of the kernels that sum up, so that every lane and tail has one; and
// fills whole operands with them.
func TestPlacedValues(t *testing.T) {
	lengths := []int{1, 5, 16, 45, 150} // 45 is two pairs of AVX2 vectors, one alone, and a tail
	if testing.Short() {
		lengths = []int{1, 45}
	}
	for _, s := range usable() {
		for _, row := range vectorRows {
			if row.special {
				continue // testSpecial has
			}
			t.Run(s.Name+"/"+row.field, func(t *testing.T) {
				r := rand.New(rand.NewPCG(13, 17))
				for _, n := range lengths {
					row.testPlaced(t, s, r, n)
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}

func (row vectorRow) testPlaced(t *testing.T, s *Set[float32], r *rand.Rand, n int) {
	t.Helper()
	values := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.Copysign(0, -1)), 1e-45, -1e-39}
	in0, out0 := vectorsOf(row.in, n), vectorsOf(row.out, n)
	row.draw(r, in0, out0)
	for k := range row.in + row.out {
		for _, v := range values {
			for at := range n + 1 {
				in, out, got := clones(in0), clones(out0), clones(out0)
				x := append(slices.Clone(in), out...)[k]
				if at < n {
					x[at] = v
				} else {
					for i := range x {
						x[i] = v
					}
				}
				for i := range got {
					copy(got[i], out[i])
				}
				label := fmt.Sprintf("n=%d, %g at %d of operand %d", n, v, at, k)
				if !row.compare(t, s.Name, label, in, out, got, row.run(s, got, in)) {
					return
				}
			}
		}
	}
}

// draw makes the operands of one call.
func (row vectorRow) draw(r *rand.Rand, in, out [][]float32) {
	if row.fill != nil {
		row.fill(r, in, out)
		return
	}
	for _, x := range append(slices.Clone(in), out...) {
		mixed(r, x)
	}
}

func clones(v [][]float32) [][]float32 {
	w := make([][]float32, len(v))
	for i, x := range v {
		w[i] = slices.Clone(x)
	}
	return w
}

// specials are met by every elementwise kernel in every combination; among them
// are the least x with a normal eˣ, −87.33654, and other cuts of the kernels.
var specials = []float32{0, float32(math.Copysign(0, -1)), 1, -1, 0.5, -2, 3, 7, 1e-45, -1e-45, 1e-39, -1e-39, 0x1p-126, -0x1p-126,
	1e-20, -1e-20, 0.625, -0.625, 10, -10, 13.04, -13.04, 20, -20, 50, -50, 86, -86, 87.3, -87.3, -87.33654, -87.33655, 88, -88, 88.72283, 88.72284, 89, -89, -103.9, -104, 110, -110,
	1e5, -1e5, 1e19, -1e19, 1e30, -1e30, math.MaxFloat32, -math.MaxFloat32,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}

func (row vectorRow) testSpecial(t *testing.T, s *Set[float32]) {
	t.Helper()
	n := 1
	for range row.in {
		n *= len(specials)
	}
	switch {
	case row.in == 1: // so often that each meets every lane
		n *= 64
		if len(specials)%2 == 0 {
			t.Fatal("the number of special values must be odd")
		}
	case row.in > 2: // too many: random combinations
		n = 1 << 15
	}
	r := rand.New(rand.NewPCG(3, 5))
	in, out := vectorsOf(row.in, n), vectorsOf(row.out, n)
	for i := range n {
		c := i
		for k := range in {
			if row.in > 2 {
				c = r.IntN(len(specials))
			}
			in[k][i] = specials[c%len(specials)]
			c /= len(specials)
		}
		args := make([]float64, row.in)
		for k := range in {
			args[k] = float64(in[k][i])
		}
		if row.skip != nil && row.skip(args) {
			for k := range in {
				in[k][i] = 1
			}
		}
	}
	got := make([][]float32, row.out)
	for k := range got {
		got[k] = slices.Clone(out[k])
	}
	row.compare(t, s.Name, "special values", in, out, got, row.run(s, got, in))
	for range 4 { // in short calls too: what a tail does is other code
		inParts(in, got, func(n int) int { return min(1+r.IntN(15), n) }, func(in, got [][]float32) { row.run(s, got, in) })
		row.compare(t, s.Name, "special values, in parts", in, out, got, nil)
	}
	// The first operand over all exponents and signs, evenly spaced in the order
	// of the bits, then densely where the functions bend and where most of their
	// arguments are.
	stride := 1<<16 - 15
	if testing.Short() {
		stride = 1<<20 - 3
	}
	count := 1 << 32 / stride
	row.scan(t, s, r, "all exponents", count, func(i int) float32 { return math.Float32frombits(uint32(i * stride)) })
	for _, most := range []float32{90, 3, 1} {
		row.scan(t, s, r, fmt.Sprintf("−%g…%g", most, most), count, func(i int) float32 { return most * (2*float32(i)/float32(count) - 1) })
	}
}

// scan runs the kernel on count values of the first operand, with normal numbers
// as the others: in one call, and in calls so short that most are in a tail.
func (row vectorRow) scan(t *testing.T, s *Set[float32], r *rand.Rand, label string, count int, x func(i int) float32) {
	t.Helper()
	in, out := vectorsOf(row.in, count), vectorsOf(row.out, count)
	row.draw(r, in, nil)
	for i := range in[0] {
		in[0][i] = x(i)
		if row.skip != nil && row.skip([]float64{float64(in[0][i])}) {
			in[0][i] = 1
		}
	}
	for _, length := range []int{count, 15} {
		got := clones(out)
		inParts(in, got, func(n int) int { return min(length, n) }, func(in, got [][]float32) { row.run(s, got, in) })
		row.compare(t, s.Name, fmt.Sprintf("%s in parts of %d", label, length), in, out, got, nil)
	}
}

// inParts calls run on one part of the operands after the other, of the lengths
// that length gives for what is left.
func inParts(in, out [][]float32, length func(left int) int, run func(in, out [][]float32)) {
	n := len(in[0])
	for at := 0; at < n; {
		next := at + length(n-at)
		cut := func(v [][]float32) (part [][]float32) {
			for _, x := range v {
				part = append(part, x[at:next])
			}
			return part
		}
		run(cut(in), cut(out))
		at = next
	}
}

func vectorsOf(count, n int) [][]float32 {
	v := make([][]float32, count)
	for i := range v {
		v[i] = make([]float32, n)
	}
	return v
}

// mixed fills x with normal numbers of varied size, the sizes activations have.
func mixed(r *rand.Rand, x []float32) {
	for i := range x {
		x[i] = float32(r.NormFloat64() * []float64{0.01, 1, 1, 10, 30}[r.IntN(5)])
	}
}

func widen(v [][]float32) [][]float64 {
	w := make([][]float64, len(v))
	for i, x := range v {
		w[i] = make([]float64, len(x))
		for j := range x {
			w[i][j] = float64(x[j])
		}
	}
	return w
}

func same(x, y []float32) bool {
	for i := range x {
		if math.Float32bits(x[i]) != math.Float32bits(y[i]) {
			return false
		}
	}
	return true
}

// ulp is the spacing of float32 at x.
func ulp(x float64) float64 {
	x = math.Abs(x)
	if x < 0x1p-126 || math.IsNaN(x) {
		return 0x1p-149
	}
	return math.Float64frombits(math.Float64bits(min(x, math.MaxFloat32))&^(1<<52-1)) * 0x1p-23
}

// within tells whether got is want to the tolerance.
func within(got float32, want, tol float64) bool {
	const overflow = 0x1p128 - 0x1p103 // rounds to Inf
	g := float64(got)
	switch {
	case tol == noPromise:
		return true
	case math.IsNaN(want):
		return math.IsNaN(g)
	case math.IsInf(g, 0):
		return math.Signbit(g) == math.Signbit(want) && math.Abs(want)+tol >= overflow
	case math.Abs(want)-tol >= overflow:
		return false
	}
	return math.Abs(g-want) <= tol
}

package main

import (
	"path"
	"reflect"
	"strings"

	"fuerte/kernels"
)

// op is a row of the table: what the tests of its patterns prove.
//
// A pattern is the name of a test, its elements between slashes as in the
// -test.run flag, each a glob, and takes the subtests below along. A test of
// another package than kernels has that package's name and a dot in front.
type op struct {
	name  string
	tests []string
}

// itself is the row of the level: that it was in use, and that its processes
// ended by themselves, as their tests say.
const itself = "the level itself"

// fieldTests are the tests of a field of Set beside TestSets/*/Field, which is
// there for every field.
var fieldTests = map[string][]string{
	"Add":      {"opengl.TestBinary/add*"},
	"Sub":      {"opengl.TestBinary/sub*"},
	"Mul":      {"opengl.TestBinary/mul*"},
	"Div":      {"opengl.TestBinary/div*"},
	"Scale":    {"opengl.TestUnary/scale_*"},
	"Axpy":     {"opengl.TestUnary/axpy_*"},
	"Exp":      {"opengl.TestUnary/exp_*", "arm64.TestSweep/Exp"},
	"Log":      {"opengl.TestUnary/log_*", "arm64.TestSweep/Log"},
	"Sqrt":     {"opengl.TestUnary/sqrt_*"},
	"Tanh":     {"opengl.TestUnary/tanh_*", "arm64.TestSweep/Tanh"},
	"Erf":      {"opengl.TestUnary/erf_*", "arm64.TestSweep/Erf"},
	"Sigmoid":  {"opengl.TestUnary/sigmoid_*", "arm64.TestSweep/Sigmoid"},
	"SiLU":     {"opengl.TestUnary/silu_*", "arm64.TestSweep/SiLU"},
	"SiLUGrad": {"opengl.TestActivationGrad/silu-grad_*", "arm64.TestSweep/SiLUGrad"},
	// One case runs SwiGLU and its VJP.
	"SwiGLU":     {"opengl.TestActivationGrad/swiglu_*", "arm64.TestSweep/SwiGLU"},
	"SwiGLUGrad": {"opengl.TestActivationGrad/swiglu_*"},
	"GELU":       {"opengl.TestUnary/gelu_*", "arm64.TestSweep/GELU"},
	"GELUGrad":   {"opengl.TestActivationGrad/gelu-grad_*", "arm64.TestSweep/GELUGrad"},
}

// above are the ops above the sets, and those that only a device has.
var above = []op{
	{"Gemm", []string{"TestGemm*", "FuzzGemm", "opengl.TestGemm"}},
	{"GemmFused", []string{"TestGemmFused"}},
	{"GemmPacked", []string{"TestGemmFused", "TestPackedB"}},
	// The tests run forward and VJP on the same case.
	{"Attention", []string{"TestAttention*", "FuzzAttention", "opengl.TestAttention"}},
	{"AttentionGrad", []string{"TestAttention*", "FuzzAttention", "opengl.TestAttention"}},
	{"RMSNorm", []string{"TestRMSNorm", "opengl.TestRMSNorm"}},
	{"RMSNormGrad", []string{"TestRMSNormGrad", "opengl.TestRMSNorm"}},
	{"LayerNorm", []string{"TestLayerNorm", "opengl.TestLayerNorm"}},
	{"LayerNormGrad", []string{"TestLayerNormGrad", "opengl.TestLayerNorm"}},
	{"Softmax", []string{"TestSoftmax", "opengl.TestSoftmax"}},
	{"SoftmaxGrad", []string{"TestSoftmaxGrad", "opengl.TestSoftmax"}},
	{"CrossEntropy", []string{"TestCrossEntropy", "opengl.TestCrossEntropy"}},
	{"CrossEntropyGrad", []string{"TestCrossEntropy", "opengl.TestCrossEntropy"}},
	{"GatherRows", []string{"TestGatherScatter", "opengl.TestGatherScatter"}},
	{"ScatterAddRows", []string{"TestGatherScatter", "opengl.TestGatherScatter"}},
	{"ReduceSum, ReduceMax", []string{"TestReduce", "opengl.TestReduce"}},
	{"SumSquares", []string{"TestSumSquares", "opengl.TestReduce/sumsq_*"}},
	{"AdamW, parallel", []string{"TestAdamWParallel", "opengl.TestAdamW"}},
	{"Parallel", []string{"TestParallel*", "TestChunksRows"}},
	{"Neg, AddScalar", []string{"opengl.TestUnary/neg_*", "opengl.TestUnary/add-scalar_*"}},
	{"Copy, Fill", []string{"opengl.TestCopy", "opengl.TestFill"}},
	{"Compare, Where", []string{"opengl.TestCompareWhere"}},
	{"index ops", []string{"opengl.TestIndexOps"}},
}

// ops returns the rows that are known before the tests are listed. Tests that no
// row claims get a row each, of the test's name.
func ops() []op {
	var rows []op
	set := reflect.TypeFor[kernels.Set[float32]]()
	for i := range set.NumField() {
		if name := set.Field(i).Name; name != "Name" && name != "Missing" {
			rows = append(rows, op{name, append([]string{"TestSets/*/" + name}, fieldTests[name]...)})
		}
	}
	return append(rows, above...)
}

// packageOf cuts the package off a pattern or a test: "" for kernels itself.
func packageOf(test string) (pkg, name string) {
	first, _, _ := strings.Cut(test, "/")
	if pkg, _, ok := strings.Cut(first, "."); ok {
		return pkg, test[len(pkg)+1:]
	}
	return "", test
}

// covers tells whether a test is of a pattern: the test that it names, or one
// below.
func covers(pattern, test string) bool {
	n := strings.Count(pattern, "/") + 1
	elements := strings.SplitN(test, "/", n+1)
	if len(elements) < n {
		return false
	}
	ok, err := path.Match(pattern, strings.Join(elements[:n], "/"))
	if err != nil {
		panic(err) // a pattern of the tables above
	}
	return ok
}

// expand returns the pattern once for each top-level test that it matches, with
// the name of that in place of the glob.
func expand(pattern string, listed []string) (patterns []string) {
	top, below, deep := strings.Cut(pattern, "/")
	for _, test := range listed {
		if covers(top, test) {
			if deep {
				test += "/" + below
			}
			patterns = append(patterns, test)
		}
	}
	return patterns
}

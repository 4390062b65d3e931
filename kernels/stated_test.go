package kernels

import (
	"embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The bounds that these tests hold the kernels to are the numbers in the Error
// lines of their comments: whoever edits a comment changes what is tested. The
// sources are embedded, for an emulated machine has none.

//go:embed kernels.go gemm.go gemm_mixed.go gemm_bf16.go int8.go attention.go rows.go linear_crossentropy.go parallel.go
var embedded embed.FS

var sourceFiles = sync.OnceValue(func() (files []*ast.File) {
	entries, err := embedded.ReadDir(".")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		text, err := embedded.ReadFile(e.Name())
		if err != nil {
			panic(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), e.Name(), text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			panic(err)
		}
		files = append(files, f)
	}
	return files
})

// errorLine is what follows "Error:" in a comment, in one line, and the parts of
// it that some test has read.
type errorLine struct {
	text string
	read [][]int
}

// errorLines are those of functions and types by name, and of the fields of Set
// by "Set.name".
var errorLines = sync.OnceValue(func() map[string]*errorLine {
	lines := map[string]*errorLine{}
	put := func(name string, doc *ast.CommentGroup) {
		if _, after, ok := strings.Cut(doc.Text(), "Error:"); ok {
			after = nextLabel.Split(after, 2)[0]
			lines[name] = &errorLine{text: strings.Join(strings.Fields(after), " ")}
		}
	}
	for _, f := range sourceFiles() {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				put(d.Name.Name, d.Doc)
			case *ast.GenDecl:
				for _, s := range d.Specs {
					t, ok := s.(*ast.TypeSpec)
					if !ok {
						continue
					}
					put(t.Name.Name, d.Doc)
					if fields, ok := t.Type.(*ast.StructType); ok && t.Name.Name == "Set" {
						for _, field := range fields.Fields.List {
							put("Set."+field.Names[0].Name, field.Doc)
						}
					}
				}
			}
		}
	}
	return lines
})

var nextLabel = regexp.MustCompile(`\b(Bits|Cost|Memory|Panics|Source|Values):`)

// stated returns the numbers of a bound as the Error line of a comment states
// it: text is a part of that line with # in place of each number. It panics where
// the line does not say that, or not just once.
func stated(of, text string) []float64 {
	line := errorLines()[of]
	if line == nil {
		panic(fmt.Sprintf("the comment of %s has no Error line", of))
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(text), "#", `([−-]?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)`)
	found := regexp.MustCompile(pattern).FindAllStringSubmatchIndex(line.text, -1)
	if len(found) != 1 {
		panic(fmt.Sprintf("the Error line of %s is %q, where %q is found %d times", of, line.text, text, len(found)))
	}
	at := found[0]
	line.read = append(line.read, at[:2])
	var numbers []float64
	for i := 2; i < len(at); i += 2 {
		v, err := strconv.ParseFloat(strings.Replace(line.text[at[i]:at[i+1]], "−", "-", 1), 64)
		if err != nil {
			panic(err)
		}
		numbers = append(numbers, v)
	}
	return numbers
}

// one is stated for a bound with a single number.
func one(of, text string) float64 { return stated(of, text)[0] }

// The bounds; the last ones have no numbers, but are words that a test relies on.
var (
	expULP       = one("Set.Exp", "≤ # ULP, also where it is denormal")
	logULP       = one("Set.Log", "≤ # ULP; −Inf at 0")
	tanhULP      = one("Set.Tanh", "≤ # ULP")
	erfULP       = one("Set.Erf", "≤ # ULP")
	sigmoidULP   = one("Set.Sigmoid", "≤ # ULP, also where it is denormal")
	siluBound    = stated("Set.SiLU", "≤ # ULP for x ≥ #, an absolute # below")
	siluGradULP  = one("Set.SiLUGrad", "≤ # ULP of |gy|·max(1, |dy/dx|)")
	swigluBound  = stated("Set.SwiGLU", "≤ # ULP + #·|u| for g ≥ #, # ULP + #·|u| below")
	geluBound    = stated("Set.GELU", "≤ #·|x| + #")
	geluGrad     = stated("Set.GELUGrad", "≤ #·|gy|·(1+|x|) + #")
	sumBound     = stated("Set.Sum", "≤ (n/#+#)·u·Σ|x|")
	dotBound     = stated("Set.Dot", "≤ (n/#+#)·u·Σ|x·y| + #·n")
	expSubBound  = stated("Set.ExpSub", "element ≤ # ULP + u·|x−m| relative, and # where it is less than that")
	expSubSum    = stated("Set.ExpSub", "sum ≤ (n/#+#)·u·Σ y beside that of the elements")
	rmsBound     = stated("Set.RMSNormRow", "of y and r ≤ # ULP + D/#·u relative, and of y #·(|w|+r) for underflow")
	rmsGrad      = stated("Set.RMSNormGradRow", "of gx ≤ (D/#+#)·u·r·(|gy·w| + |x̂|·mean|gy·w·x̂|), and #·(1+r)·(1+|x̂|) for underflow, of gw ≤ # ULP of the sum and # of the addend")
	layerBound   = stated("Set.LayerNormRow", "with e = (D/#+#)·u, of y ≤ e·(|x−mean|·r·|w| + |b| + max|x|·r·|w|), of mean ≤ e·max|x|, of r ≤ e·r·(# + e·(r·max|x|)²)")
	layerGrad    = stated("Set.LayerNormGradRow", "of gx ≤ (D/#+#)·u·r·(|h| + mean|h| + |x̂|·mean|h·x̂|), and #·(1+r)·(1+|x̂|) for underflow, of gw ≤ # ULP of the sum and # of the addend, of gb correctly rounded")
	adamBound    = stated("Set.AdamW", "with a = Beta1·|m|+(1−Beta1)·|g|, m without cancellation, of p ≤ # ULP + # ULP of Rate·a/(√v·RSqrtC2 + Eps), of m ≤ # ULP of a, of v ≤ # ULP")
	tileBound    = stated("Tile", "≤ k·u·Σ|a||b| + #·k per element, u the unit round-off (and # ULP more if accumulate)")
	bf16Bound    = stated("GemmBF16", "≤ (k+⌈k/#⌉+#)·u·Σ|a·b| + #·(k+Σ|a|+Σ|b|) per element, and ⌈k/#⌉·u·|C| more if accumulate")
	_            = stated("Set.TileBF16", "≤ (#·k+#)·u·Σ|a||b| + #·(#·k+Σ|a|+Σ|b|), and # ULP more if accumulate") // a part of GemmBF16's
	_            = stated("Set.ZipBF16", "exact")
	dotsBound    = stated("Set.Dots", "≤ (k/#+#)·u·Σ|a||b| + #·k, and # ULP more if accumulate")
	gemvBound    = one("Set.Gemv", "≤ k·u·(|y| + Σ|a||b|) + #·k, k = len(a)")
	int8Bound    = stated("Quantize", "|ŵ−w| ≤ #·Scale + # per element")
	gemmBound    = stated("Gemm", "≤ (k+⌈k/#⌉)·u·Σ|a·b| + #·k per element, and ⌈k/#⌉·u·|C| more if accumulate")
	rmsGradTree  = one("RMSNormGrad", "gx as Set.RMSNormGradRow; gw ≤ (p+#)·u·Σ_i|gy·x̂|")
	layerTree    = stated("LayerNormGrad", "gx as Set.LayerNormGradRow; gw ≤ (p+#)·u·Σ_i|gy·x̂|, gb ≤ (p+#)·u·Σ_i|gy|")
	softmaxBound = stated("Softmax", "≤ (d/#+#)·u + u·|x−m| relative, and # for underflow")
	softmaxGrad  = stated("SoftmaxGrad", "≤ y·((d/#+#)·u·Σ_j|gy·y| + #·u·|gy|), and # for underflow")
	crossBound   = stated("CrossEntropy", "of lse ≤ (d/#+#)·u + #·u·(|m|+|lse|), m = max_j x, of loss #·u·|loss| more")
	crossGrad    = stated("CrossEntropyGrad", "≤ u·|gy|·(p·(#+|x−lse|) + #·[j = target]), and #·(1+|gy|) for underflow")
	linearRow    = stated("LinearCrossEntropy", "R_i = u·((#·d+#)·A_i + v/# + #) below #, |err loss_i| ≤ R_i")
	linearGrad   = stated("LinearCrossEntropy", "|err gx_ik| ≤ #·Σ_j ((R_i + v·u)·q_ij + #·(1+|weight_i|))·|w_jk| |err gw_jk| ≤ #·Σ_i ((R_i + #·n·u)·q_ij + #·(1+|weight_i|))·|x_ik| and #·(v+n) for underflow")
	reduceBound  = stated("ReduceSum", "≤ (n/#+#)·u·Σ|x| for inner = 1; ≤ (n+#)·u·Σ|x| for inner ≥ #; between them ≤ (max(n/#, #/inner)+#)·u·Σ|x| or, where that is less, the former")
	squaresBound = stated("SumSquares", "≤ (#/#+#)·u relative, beside underflow of x²: sums of # elements")
	attnRow      = stated("Attention", "R_i = u·(Tq + Tk + (Dh+#)·(#+a_i) + #)")
	attnBound    = stated("Attention", "|err o_id| ≤ #·Σ_j (R_i·p_ij + #)·|v_jd| |err lse_i| ≤ R_i + #·u·|lse_i| and # for underflow")
	attnGrad     = stated("AttentionGrad", "|err gv_jd| ≤ #·Σ_i (R_i·p_ij + #)·|gO_id| |err gq_id| ≤ #·|Scale|·G_i·Σ_j (R_i·p_ij + #)·|k_jd| |err gk_jd| ≤ #·|Scale|·Σ_i G_i·(R_i·p_ij + #)·|q_id| and # for underflow")
	toF16Inf     = one("Set.ToF16", "correctly rounded, ties to even, also to denormals, and to ±Inf from # on; a NaN is made quiet and keeps its sign and the upper bits of its payload")
	_            = stated("Set.FromBF16", "exact; a NaN is made quiet and keeps its sign and its payload")
	_            = stated("Set.ToBF16", "correctly rounded, ties to even, also to ±Inf and to denormals; a NaN is made quiet and keeps its sign and the upper bits of its payload")
	_            = stated("Set.FromF16", "exact; a NaN is made quiet and keeps its sign and its payload")
	_            = stated("Set.Max", "exact")
	_            = stated("Set.SwiGLUGrad", "gg as SiLUGrad with gy·u for gy, gu as SwiGLU")
	_            = stated("GatherRows", "exact")
	_            = stated("ScatterAddRows", "≤ t·u·Σ|gy|")
	_            = stated("ReduceMax", "exact")
	_            = stated("RMSNorm", "as Set.RMSNormRow")
	_            = stated("LayerNorm", "as Set.LayerNormRow")
	_            = stated("AdamW", "as Set.AdamW")
	_            = stated("GemmFused", "as Gemm. Each step of the epilogue adds its own, see Epilogue")
	_            = stated("GemmPacked", "as GemmFused")
	_            = stated("GemmBatched", "as Gemm")
	_            = stated("GemmMixed", "as Gemm")
	_            = stated("PackMixed", "exact")
	_            = stated("Set.DotsBF16", "as Dots")
	_            = stated("Set.DotsF16", "as Dots")
	_            = stated("Set.DotsInt8", "as Dots")
	_            = stated("Set.FromInt8", "correctly rounded")
	_            = stated("Dequantize", "correctly rounded")
	_            = stated("GemmInt8", "as GemmFused with Ŵ, whose elements are correctly rounded, for B; against the weights that Quantize was given, Σ|a|·|ŵ−w| more")
	_            = stated("PackInt8", "correctly rounded")
)

// roundedBound is the bound of one correct rounding, in ULP: a half, and room for
// the rounding of the float64 model. The comment must say so.
func roundedBound(field string) float64 {
	stated("Set."+field, "correctly rounded")
	return 0.500001
}

// TestStated: no Error line holds a number that no test reads, every kernel on
// vectors has a line that its test reads, and so has every function that takes
// slices.
func TestStated(t *testing.T) {
	number := regexp.MustCompile(`\b[0-9]`)
	for name, line := range errorLines() {
		if len(line.read) == 0 {
			t.Errorf("%s: no test reads %q", name, line.text)
			continue
		}
		rest := []byte(line.text)
		for _, r := range line.read {
			for i := r[0]; i < r[1]; i++ {
				rest[i] = ' '
			}
		}
		if at := number.FindIndex(rest); at != nil {
			t.Errorf("%s: no test reads the number at %q", name, line.text[at[0]:])
		}
	}
	for _, row := range vectorRows {
		if errorLines()["Set."+row.field] == nil {
			t.Errorf("Set.%s has no Error line", row.field)
		}
	}
	for name := range sliceFunctions() {
		if errorLines()[name] == nil {
			t.Errorf("%s has no Error line", name)
		}
	}
}

// sliceFunctions are the exported functions of this package that take slices.
func sliceFunctions() map[string]bool {
	names := map[string]bool{}
	for _, f := range sourceFiles() {
		for _, d := range f.Decls {
			d, ok := d.(*ast.FuncDecl)
			if !ok || d.Recv != nil || !d.Name.IsExported() {
				continue
			}
			for _, p := range d.Type.Params.List {
				if a, ok := p.Type.(*ast.ArrayType); ok && a.Len == nil {
					names[d.Name.Name] = true
				}
			}
		}
	}
	return names
}

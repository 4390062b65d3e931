package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v3"

	"fuerte/aimv2"
	"fuerte/aimv2/dataset"
	"fuerte/aimv2/dataset/emoji48"
	"fuerte/aimv2/tokenizer"
	"fuerte/nn/atomicfile"
	"fuerte/tensor"
)

type probeCommand struct {
	model  string
	epochs int
	json   string // "": the table alone
}

func (c *probeCommand) describe() *cli.Command {
	return &cli.Command{
		Name:  "probe",
		Usage: "Measure frozen features and captions on the embedded drawings, beside what raw pixels reach.",
		Flags: []cli.Flag{
			modelFlag(&c.model),
			&cli.IntFlag{Name: "epochs", Destination: &c.epochs, Value: 20, Usage: "let the attentive probe pass over the training pictures `N` times"},
			&cli.StringFlag{Name: "json", Destination: &c.json, Usage: "write the numbers to `FILE`, too"},
		},
	}
}

func (c *probeCommand) check(*cli.Command) error {
	if c.epochs < 1 {
		return fmt.Errorf("-epochs %d: at least 1 is needed", c.epochs)
	}
	return nil
}

// column is the pictures that a column of the table speaks of.
type column struct {
	name, key, split string                    // on the table, in JSON, of the set
	keep             func(dataset.Record) bool // nil: all of the split
}

// columns are the splits of emoji48. Women and men of a trade, and some flags,
// are near copies between concepts: the last column goes without them.
var columns = []column{
	{"val-style", "val-style", emoji48.ValStyle, nil},
	{"test-style", "test-style", emoji48.TestStyle, nil},
	{"test-concept", "test-concept", emoji48.TestConcept, nil},
	{"without people, flags", "test-concept without people-body and flags", emoji48.TestConcept, func(r dataset.Record) bool { return r.Group != "people-body" && r.Group != "flags" }},
}

// score is one row of the table: a share for each column, NaN where the
// question makes no sense.
type score struct {
	key, task, method string // key: the task in JSON
	values            []float64
}

// k of the neighbours and the temperature of their votes are those of Wu et al.
// 2018, arXiv:1805.01978, with k for a small set.
const (
	neighbours  = 20
	temperature = 0.07
	pixelSide   = 24
	beams       = 5
)

// run measures and prints the table.
func (c *probeCommand) run() error {
	m, tok, err := loadModel(c.model)
	if err != nil {
		return err
	}
	train, err := newProbeSplit(m, emoji48.Train)
	if err != nil {
		return err
	}
	tests := map[string]*probeSplit{}
	for _, name := range []string{emoji48.ValStyle, emoji48.TestStyle, emoji48.TestConcept} {
		if tests[name], err = newProbeSplit(m, name); err != nil {
			return err
		}
	}
	var scores []score
	fmt.Fprintln(os.Stderr, "captions")
	captions := captionScores(m, tok, train, tests)
	// From here on the features are standardised; captions needed them as they are.
	splits := append(slices.Collect(maps.Values(tests)), train)
	var all []*tensor.Tensor
	for _, s := range splits {
		all = append(all, s.features)
	}
	aimv2.Standardise(train.features, all...)
	for _, s := range splits {
		s.pooled = aimv2.MeanPool(s.features)
	}
	for _, task := range []struct {
		name  string
		field func(dataset.Record) string
	}{
		{"group", func(r dataset.Record) string { return r.Group }},
		{"subgroup", func(r dataset.Record) string { return r.Subgroup }},
	} {
		s, err := c.classScores(m, task.name, task.field, train, tests)
		if err != nil {
			return err
		}
		scores = append(scores, s...)
	}
	scores = append(scores, captions...)
	if c.json != "" {
		if err := c.writeJSON(scores); err != nil {
			return err
		}
	}
	return printScores(os.Stdout, scores)
}

// probeSplit is a split and what is known of its pictures.
type probeSplit struct {
	dataset.Source
	name     string
	features *tensor.Tensor // [n, N, D]
	pooled   *tensor.Tensor // [n, D], of the standardised features
	pixels   *tensor.Tensor // [n, 3·24·24]
}

func newProbeSplit(m *aimv2.Model, name string) (*probeSplit, error) {
	src, err := emoji48.Open(name)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "features of %d pictures of %s\n", src.Len(), name)
	s := &probeSplit{Source: src, name: name}
	if s.features, err = m.ExtractFeatures(src); err != nil {
		return nil, err
	}
	s.pixels, err = aimv2.RawPixels(src, pixelSide)
	return s, err
}

// classScores measures what the features tell of a label.
func (c *probeCommand) classScores(m *aimv2.Model, task string, field func(dataset.Record) string, train *probeSplit, tests map[string]*probeSplit) ([]score, error) {
	known := map[string]int32{}
	labels, err := aimv2.Labels(train, field, known)
	if err != nil {
		return nil, err
	}
	classes := len(known)
	fmt.Fprintf(os.Stderr, "attentive probe of %d epochs for %s, %d classes\n", c.epochs, task, classes)
	recipe := aimv2.DefaultProbe
	recipe.Epochs = c.epochs
	probe := aimv2.TrainProbe(train.features, labels, classes, m.Config.Encoder.Heads, recipe)
	knn := func(k int, at func(*probeSplit) *tensor.Tensor, how aimv2.Neighbours) func(*probeSplit) []int32 {
		how.K = k
		return func(s *probeSplit) []int32 { return aimv2.KNN(at(train), labels, classes, at(s), how) }
	}
	pooled := func(s *probeSplit) *tensor.Tensor { return s.pooled }
	whole := func(s *probeSplit) *tensor.Tensor { return s.features.Reshape(s.Len(), -1) } // a view: [n, N·D]
	pixels := func(s *probeSplit) *tensor.Tensor { return s.pixels }
	cosine := aimv2.Neighbours{Cosine: true, Temperature: temperature}
	what := fmt.Sprintf("%s, %d classes", task, classes)
	var out []score
	for _, method := range []struct {
		name    string
		predict func(*probeSplit) []int32
	}{
		{"attentive probe", func(s *probeSplit) []int32 { return probe.Predict(s.features) }},
		{fmt.Sprintf("%d nearest mean features", neighbours), knn(neighbours, pooled, cosine)},
		{"nearest mean feature", knn(1, pooled, cosine)},
		{fmt.Sprintf("%d nearest feature maps", neighbours), knn(neighbours, whole, cosine)},
		{"nearest feature map", knn(1, whole, cosine)},
		{fmt.Sprintf("nearest %d×%d pixels", pixelSide, pixelSide), knn(1, pixels, aimv2.Neighbours{})},
		{"most frequent class", func(s *probeSplit) []int32 { return slices.Repeat([]int32{mostFrequent(labels, classes)}, s.Len()) }},
	} {
		guesses := map[string][]int32{}
		row := score{key: task, task: what, method: method.name}
		for _, col := range columns {
			s := tests[col.split]
			if guesses[s.name] == nil {
				guesses[s.name] = method.predict(s)
			}
			want, err := aimv2.Labels(s, field, known)
			if err != nil {
				return nil, err
			}
			row.values = append(row.values, mean(s, col, func(i int) float64 { return truth(guesses[s.name][i] == want[i]) }))
		}
		out = append(out, row)
	}
	return out, nil
}

func mostFrequent(labels []int32, classes int) int32 {
	counts := make([]int, classes)
	for _, l := range labels {
		counts[l]++
	}
	return int32(slices.Index(counts, slices.Max(counts)))
}

// captionScores compares greedy captions, and those of the training pictures
// nearest in pixels, with the true ones.
func captionScores(m *aimv2.Model, tok *tokenizer.Tokenizer, train *probeSplit, tests map[string]*probeSplit) []score {
	greedy, searched, nearest := map[string][]string{}, map[string][]string{}, map[string][]string{}
	// As a tokenizer gives it back: in lower case, without spaces around a dash.
	name := func(s *probeSplit, i int) string { return tok.Decode(tok.Encode(s.Record(i).Caption)) }
	rows := make([]int32, train.Len()) // every training picture is a class
	for i := range rows {
		rows[i] = int32(i)
	}
	for split, s := range tests {
		for lo := 0; lo < s.Len(); lo += 64 {
			part := s.features.Narrow(0, lo, min(64, s.Len()-lo))
			for _, how := range []struct {
				aimv2.Sampling
				texts map[string][]string
			}{{aimv2.Sampling{}, greedy}, {aimv2.Sampling{Beams: beams}, searched}} {
				for _, ids := range m.Generate(part, how.Sampling, tok.EOS()) {
					how.texts[split] = append(how.texts[split], tok.Decode(ids))
				}
			}
			part.Release()
		}
		for _, i := range aimv2.KNN(train.pixels, rows, len(rows), s.pixels, aimv2.Neighbours{K: 1}) {
			nearest[split] = append(nearest[split], name(train, int(i)))
		}
	}
	var exacts, f1s []score
	for _, method := range []struct {
		name  string
		texts map[string][]string
	}{
		{"greedy", greedy},
		{fmt.Sprintf("%d beams", beams), searched},
		{fmt.Sprintf("of nearest %d×%d pixels", pixelSide, pixelSide), nearest},
	} {
		exact := score{key: "caption exact", task: "caption, exact", method: method.name}
		f1 := score{key: "caption word F1", task: "caption, F1 of words", method: method.name}
		for _, col := range columns {
			s := tests[col.split]
			text := method.texts[s.name]
			want := func(i int) string { return name(s, i) }
			share := math.NaN() // a concept that was never seen has a name that was never read
			if col.split != emoji48.TestConcept {
				share = mean(s, col, func(i int) float64 { return truth(text[i] == want(i)) })
			}
			exact.values = append(exact.values, share)
			f1.values = append(f1.values, mean(s, col, func(i int) float64 { return wordF1(text[i], want(i)) }))
		}
		exacts, f1s = append(exacts, exact), append(f1s, f1)
	}
	return append(exacts, f1s...)
}

// wordF1 is the harmonic mean of precision and recall of the words of got, each
// word of want counting once.
func wordF1(got, want string) float64 {
	left := map[string]int{}
	w := strings.Fields(want)
	for _, word := range w {
		left[word]++
	}
	g := strings.Fields(got)
	hits := 0
	for _, word := range g {
		if left[word] > 0 {
			left[word]--
			hits++
		}
	}
	return 2 * float64(hits) / float64(max(1, len(g)+len(w)))
}

// mean averages f over the pictures of a column.
func mean(s *probeSplit, col column, f func(i int) float64) float64 {
	sum, n := 0.0, 0
	for i := range s.Len() {
		if col.keep == nil || col.keep(s.Record(i)) {
			sum, n = sum+f(i), n+1
		}
	}
	return sum / float64(n)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// printScores prints a block for each task, its numbers under the columns.
func printScores(w io.Writer, scores []score) error {
	first := 0
	for _, s := range scores {
		first = max(first, utf8.RuneCountInString(s.task), utf8.RuneCountInString(s.method))
	}
	var b strings.Builder
	task := ""
	for _, s := range scores {
		if s.task != task {
			if task != "" {
				b.WriteByte('\n')
			}
			task = s.task
			fmt.Fprintf(&b, "%-*s", first, task)
			for _, c := range columns {
				fmt.Fprintf(&b, "  %s", c.name)
			}
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%-*s", first, s.method)
		for i, v := range s.values {
			cell := "–"
			if !math.IsNaN(v) {
				cell = fmt.Sprintf("%.1f %%", 100*v)
			}
			fmt.Fprintf(&b, "  %*s", len(columns[i].name), cell)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeJSON writes the scores as {task: {method: {column: share}}}.
func (c *probeCommand) writeJSON(scores []score) error {
	table := map[string]map[string]map[string]float64{}
	for _, s := range scores {
		if table[s.key] == nil {
			table[s.key] = map[string]map[string]float64{}
		}
		row := map[string]float64{}
		for i, v := range s.values {
			if !math.IsNaN(v) {
				row[columns[i].key] = v
			}
		}
		table[s.key][s.method] = row
	}
	model := c.model
	if model == "" {
		model = "built-in"
	}
	data, err := json.MarshalIndent(map[string]any{"model": model, "epochs": c.epochs, "scores": table}, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFileAtomic(c.json, func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
}

package main

import (
	"errors"
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
	"fuerte/aimv2/metric"
	"fuerte/aimv2/tokenizer"
	"fuerte/tensor"
)

type probeCommand struct {
	model       string
	json        string // "": the table alone
	published   bool
	recipe      aimv2.ProbeRecipe
	neighbours  int
	temperature float64
}

func (c *probeCommand) describe() *cli.Command {
	c.recipe = aimv2.DefaultProbe
	return &cli.Command{
		Name:        "probe",
		Usage:       "Measure frozen features and captions on the embedded drawings, beside what raw pixels reach.",
		Description: "Attentive and linear probes are trained for every -lr and -wd at once; the best on val-style speaks for them.",
		Flags: []cli.Flag{
			modelFlag(&c.model),
			&cli.BoolFlag{Name: "published", Destination: &c.published, Usage: "train the probes as published (" + publishedProbe() + "), but for what other options say"},
			&cli.IntFlag{Name: "epochs", Destination: &c.recipe.Epochs, Value: c.recipe.Epochs, Usage: "let the probes pass over the training pictures `N` times"},
			&cli.IntFlag{Name: "warmup", Destination: &c.recipe.Warmup, Value: c.recipe.Warmup, Usage: "let the learning rate rise over the first `N` of them"},
			&cli.IntFlag{Name: "batch", Destination: &c.recipe.Batch, Value: c.recipe.Batch, Usage: "train on `N` pictures a step"},
			&cli.FloatSliceFlag{Name: "lr", Destination: &c.recipe.Peaks, Value: c.recipe.Peaks, Usage: "try the peak learning rates `RATE,…`"},
			&cli.FloatSliceFlag{Name: "wd", Destination: &c.recipe.Decays, Value: c.recipe.Decays, Usage: "try the weight decays `DECAY,…`, which count times the learning rate"},
			&cli.BoolFlag{Name: "batch-norm", Destination: &c.recipe.BatchNorm, Value: c.recipe.BatchNorm, Usage: "normalise what the probes see, batch by batch: as a rule; -batch-norm=false does not"},
			&cli.BoolFlag{Name: "augment", Destination: &c.recipe.Augment, Value: c.recipe.Augment, Usage: "change the training pictures every time, and run the encoder anew"},
			&cli.IntFlag{Name: "k", Destination: &c.neighbours, Value: 20, Usage: "let the `K` nearest training pictures vote"},
			&cli.FloatFlag{Name: "temperature", Destination: &c.temperature, Value: 0.07, Usage: "with the weight e^(cosine/`T`)"},
			seedFlag(&c.recipe.Seed, "probes and intervals"),
			jsonFlag(&c.json),
		},
	}
}

// publishedProbe describes the published recipe.
func publishedProbe() string {
	p := aimv2.PublishedProbe
	return fmt.Sprintf("%d epochs of batches of %d, %d rates, %d decays, augmentation", p.Epochs, p.Batch, len(p.Peaks), len(p.Decays))
}

func (c *probeCommand) check(given *cli.Command) error {
	if c.published {
		asked := c.recipe
		c.recipe = aimv2.PublishedProbe
		for name, take := range map[string]func(){
			"epochs":     func() { c.recipe.Epochs = asked.Epochs },
			"warmup":     func() { c.recipe.Warmup = asked.Warmup },
			"batch":      func() { c.recipe.Batch = asked.Batch },
			"lr":         func() { c.recipe.Peaks = asked.Peaks },
			"wd":         func() { c.recipe.Decays = asked.Decays },
			"batch-norm": func() { c.recipe.BatchNorm = asked.BatchNorm },
			"augment":    func() { c.recipe.Augment = asked.Augment },
			"seed":       func() { c.recipe.Seed = asked.Seed },
		} {
			if given.IsSet(name) {
				take()
			}
		}
	}
	r := c.recipe
	switch {
	case r.Epochs < 1:
		return fmt.Errorf("-epochs %d: at least 1 is needed", r.Epochs)
	case r.Warmup < 0 || r.Warmup >= r.Epochs:
		return fmt.Errorf("-warmup %d: it must be less than the %d epochs, and not negative", r.Warmup, r.Epochs)
	case r.Batch < 2:
		return fmt.Errorf("-batch %d: at least 2 are needed", r.Batch)
	case len(r.Peaks) == 0 || slices.ContainsFunc(r.Peaks, func(x float64) bool { return !(x > 0) || math.IsInf(x, 0) }):
		return fmt.Errorf("-lr %v: the rates must be positive", r.Peaks)
	case len(r.Decays) == 0 || slices.ContainsFunc(r.Decays, func(x float64) bool { return !(x >= 0) || math.IsInf(x, 0) }):
		return fmt.Errorf("-wd %v: the decays must not be negative", r.Decays)
	case c.neighbours < 1:
		return fmt.Errorf("-k %d: at least 1 is needed", c.neighbours)
	case !(c.temperature > 0):
		return errors.New("-temperature must be positive")
	}
	return nil
}

// column is the pictures that a column of the table speaks of.
type column struct {
	name, key, split string                    // on the table, in JSON, of the set
	keep             func(dataset.Record) bool // nil: all of the split
}

// columns are the splits of emoji48. Women and men of a trade, and some flags,
// are near copies between concepts: the last column goes without them. The first
// chooses between the probes of a sweep.
var columns = []column{
	{"val-style", "val-style", emoji48.ValStyle, nil},
	{"test-style", "test-style", emoji48.TestStyle, nil},
	{"test-concept", "test-concept", emoji48.TestConcept, nil},
	{"without people, flags", "test-concept without people-body and flags", emoji48.TestConcept, func(r dataset.Record) bool { return r.Group != "people-body" && r.Group != "flags" }},
}

// score is one row of the table: a number for each column, NaN where the
// question makes no sense. It is printed a hundredfold.
type score struct {
	key, task      string // the task in JSON, on the table
	method, metric string
	unit           string // of what is printed: " %"
	values         []metric.Estimate
}

// first is the number that a sweep is judged by.
func (s score) first() float64 { return s.values[0].Value }

const (
	pixelSide = 24
	beams     = 5
	topFive   = 5
)

// run measures and prints the table.
func (c *probeCommand) run() error {
	m, tok, err := loadModel(c.model)
	if err != nil {
		return err
	}
	settings := struct {
		Probes      aimv2.ProbeRecipe `json:"probes"`
		Neighbours  int               `json:"neighbours"`
		Temperature float64           `json:"temperature"`
		Beams       int               `json:"beams"`
	}{c.recipe, c.neighbours, c.temperature, beams}
	report := newEvaluation("probe", c.model, m.Config, c.recipe.Seed, settings)
	train, err := newProbeSplit(m, emoji48.Train)
	if err != nil {
		return err
	}
	report.on("emoji48", train.name, train)
	tests := map[string]*probeSplit{}
	for _, name := range []string{emoji48.ValStyle, emoji48.TestStyle, emoji48.TestConcept} {
		if tests[name], err = newProbeSplit(m, name); err != nil {
			return err
		}
		report.on("emoji48", name, tests[name])
	}
	fmt.Fprintln(os.Stderr, "captions")
	captions := c.captionScores(m, tok, train, tests)
	tasks, err := classTasks(train, tests)
	if err != nil {
		return err
	}
	probes, swept, err := c.probeScores(m, tasks, train, tests)
	if err != nil {
		return err
	}
	// From here on the features are standardised; the decoder and the probes needed
	// them as they are.
	splits := append(slices.Collect(maps.Values(tests)), train)
	var all []*tensor.Tensor
	for _, s := range splits {
		all = append(all, s.features)
	}
	aimv2.Standardise(train.features, all...)
	for _, s := range splits {
		s.pooled = aimv2.MeanPool(s.features)
	}
	var scores []score
	for i, task := range tasks {
		scores = append(append(scores, probes[i]...), c.neighbourScores(task, train, tests)...)
	}
	scores = append(scores, captions...)
	for _, s := range append(slices.Clone(scores), swept...) {
		for i, v := range s.values {
			report.add(measurement{s.key, s.method, s.metric, columns[i].key, v})
		}
	}
	if err := report.write(c.json); err != nil {
		return err
	}
	if len(c.recipe.Peaks)*len(c.recipe.Decays) > 1 {
		scores = append(scores, swept...)
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

// classTask is a label to be told from the features.
type classTask struct {
	key, name string // in JSON; on the table
	classes   int
	labels    map[string][]int32 // by split
}

// classTasks numbers the labels.
func classTasks(train *probeSplit, tests map[string]*probeSplit) ([]classTask, error) {
	var out []classTask
	for _, task := range []struct {
		name  string
		field func(dataset.Record) string
	}{
		{"group", func(r dataset.Record) string { return r.Group }},
		{"subgroup", func(r dataset.Record) string { return r.Subgroup }},
	} {
		known := map[string]int32{}
		t := classTask{key: task.name, labels: map[string][]int32{}}
		for _, s := range append([]*probeSplit{train}, slices.Collect(maps.Values(tests))...) {
			labels, err := aimv2.Labels(s, task.field, known)
			if err != nil {
				return nil, err
			}
			t.labels[s.name] = labels
		}
		t.classes = len(known)
		t.name = fmt.Sprintf("%s, %d classes", task.name, t.classes)
		out = append(out, t)
	}
	return out, nil
}

// score measures how often the class is among the first k guesses; guess gives
// the guesses of a split, the best first.
func (t classTask) score(method string, k int, tests map[string]*probeSplit, guess func(*probeSplit) [][]int32) score {
	out := score{key: t.key, task: t.name, method: method, metric: fmt.Sprintf("top-%d", k), unit: " %"}
	if k > 1 {
		out.method += fmt.Sprintf(", among %d", k)
	}
	guesses := map[string][][]int32{}
	for _, col := range columns {
		s := tests[col.split]
		if guesses[s.name] == nil {
			guesses[s.name] = guess(s)
		}
		var hit []bool
		for i, g := range guesses[s.name] {
			if col.keep == nil || col.keep(s.Record(i)) {
				hit = append(hit, slices.Contains(g[:min(k, len(g))], t.labels[s.name][i]))
			}
		}
		out.values = append(out.values, metric.ShareOf(hit))
	}
	return out
}

// probeScores trains the probes of all tasks and measures them. The best of each
// task and kind is for its block of the table; swept has a row for each of all.
func (c *probeCommand) probeScores(m *aimv2.Model, tasks []classTask, train *probeSplit, tests map[string]*probeSplit) (best [][]score, swept []score, err error) {
	kinds := []struct {
		name string
		aimv2.ProbeKind
	}{{"attentive probe", aimv2.Attentive}, {"linear probe", aimv2.Linear}}
	var sweep []aimv2.ProbeTask
	for _, t := range tasks {
		for _, kind := range kinds {
			sweep = append(sweep, aimv2.ProbeTask{Kind: kind.ProbeKind, Labels: t.labels[train.name], Classes: t.classes})
		}
	}
	r := c.recipe
	var src aimv2.FeatureSource = aimv2.StoredFeatures{Features: train.features}
	if r.Augment {
		src = aimv2.AugmentedFeatures{Model: m, Source: train, Augment: aimv2.ProbeAugment(m.Config.ImageSize), Seed: r.Seed}
	}
	fmt.Fprintf(os.Stderr, "%d probes, %d epochs\n", len(sweep)*len(r.Peaks)*len(r.Decays), r.Epochs)
	probes, err := aimv2.Sweep(src, sweep, m.Config.Encoder.Heads, r, func(epoch int) error {
		if done := epoch + 1; done%10 == 0 && done < r.Epochs {
			fmt.Fprintf(os.Stderr, "epoch %d\n", done)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for i, t := range tasks {
		var rows []score
		for j, kind := range kinds {
			var top [2]score
			for n, p := range probes[i*len(kinds)+j] {
				guesses := map[string][][]int32{}
				guess := func(s *probeSplit) [][]int32 {
					if guesses[s.name] == nil {
						guesses[s.name] = p.Predict(s.features, topFive)
					}
					return guesses[s.name]
				}
				one, five := t.score(kind.name, 1, tests, guess), t.score(kind.name, topFive, tests, guess)
				if n == 0 || one.first() > top[0].first() {
					top = [2]score{one, five}
				}
				both := []score{one, five}
				if t.classes <= 4*topFive { // of 9 classes five are no feat
					both = both[:1]
				}
				for _, s := range both {
					s.task = "sweep of " + t.name
					s.method += fmt.Sprintf(", lr %g, wd %g", p.Peak, p.Decay)
					swept = append(swept, s)
				}
			}
			if rows = append(rows, top[0]); t.classes > 4*topFive {
				rows = append(rows, top[1])
			}
		}
		best = append(best, rows)
	}
	return best, swept, nil
}

// neighbourScores measures what the nearest training pictures tell, and the
// floors: raw pixels and the most frequent class.
func (c *probeCommand) neighbourScores(t classTask, train *probeSplit, tests map[string]*probeSplit) []score {
	labels := t.labels[train.name]
	knn := func(k int, at func(*probeSplit) *tensor.Tensor, how aimv2.Neighbours) func(*probeSplit) []int32 {
		how.K = k
		return func(s *probeSplit) []int32 { return aimv2.KNN(at(train), labels, t.classes, at(s), how) }
	}
	pooled := func(s *probeSplit) *tensor.Tensor { return s.pooled }
	whole := func(s *probeSplit) *tensor.Tensor { return s.features.Reshape(s.Len(), -1) } // a view: [n, N·D]
	pixels := func(s *probeSplit) *tensor.Tensor { return s.pixels }
	// Votes weighed by e^(cosine/T) are those of Wu et al. 2018, arXiv:1805.01978, as
	// DINO evaluates with; k is for a small set.
	cosine := aimv2.Neighbours{Cosine: true, Temperature: c.temperature}
	var out []score
	for _, method := range []struct {
		name    string
		predict func(*probeSplit) []int32
	}{
		{fmt.Sprintf("%d nearest mean features", c.neighbours), knn(c.neighbours, pooled, cosine)},
		{"nearest mean feature", knn(1, pooled, cosine)},
		{fmt.Sprintf("%d nearest feature maps", c.neighbours), knn(c.neighbours, whole, cosine)},
		{"nearest feature map", knn(1, whole, cosine)},
		{fmt.Sprintf("nearest %d×%d pixels", pixelSide, pixelSide), knn(1, pixels, aimv2.Neighbours{})},
		{"most frequent class", func(s *probeSplit) []int32 { return slices.Repeat([]int32{mostFrequent(labels, t.classes)}, s.Len()) }},
	} {
		out = append(out, t.score(method.name, 1, tests, func(s *probeSplit) [][]int32 {
			var guesses [][]int32
			for _, g := range method.predict(s) {
				guesses = append(guesses, []int32{g})
			}
			return guesses
		}))
	}
	return out
}

func mostFrequent(labels []int32, classes int) int32 {
	counts := make([]int, classes)
	for _, l := range labels {
		counts[l]++
	}
	return int32(slices.Index(counts, slices.Max(counts)))
}

// captionScores compares captions, and those of the training pictures nearest in
// pixels, with the true ones.
func (c *probeCommand) captionScores(m *aimv2.Model, tok *tokenizer.Tokenizer, train *probeSplit, tests map[string]*probeSplit) []score {
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
	var exacts, f1s, ciders []score
	for _, method := range []struct {
		name  string
		texts map[string][]string
	}{
		{"greedy", greedy},
		{fmt.Sprintf("%d beams", beams), searched},
		{fmt.Sprintf("of nearest %d×%d pixels", pixelSide, pixelSide), nearest},
	} {
		exact := score{key: "caption", task: "caption, exact", method: method.name, metric: "exact", unit: " %"}
		f1 := score{key: "caption", task: "caption, F1 of words", method: method.name, metric: "word F1", unit: " %"}
		cider := score{key: "caption", task: "caption, CIDEr-D", method: method.name, metric: "CIDEr-D"}
		for _, col := range columns {
			s := tests[col.split]
			var got, want []string
			for i := range s.Len() {
				if col.keep == nil || col.keep(s.Record(i)) {
					got, want = append(got, method.texts[s.name][i]), append(want, name(s, i))
				}
			}
			share, overlap, agreement := captionMetrics(got, want, c.recipe.Seed)
			if col.split == emoji48.TestConcept { // a concept that was never seen has a name that was never read
				share = metric.Share(0, 0)
			}
			exact.values = append(exact.values, share)
			f1.values = append(f1.values, overlap)
			cider.values = append(cider.values, agreement)
		}
		exacts, f1s, ciders = append(exacts, exact), append(f1s, f1), append(ciders, cider)
	}
	return slices.Concat(exacts, f1s, ciders)
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
			if !math.IsNaN(v.Value) {
				cell = fmt.Sprintf("%.1f%s", 100*v.Value, s.unit)
			}
			fmt.Fprintf(&b, "  %*s", len(columns[i].name), cell)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

package main

import (
	"bufio"
	"cmp"
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
)

type zeroshotCommand struct {
	images   []string
	model    string
	classes  string
	prompts  string
	perToken bool
	top      int
	data     evalData
	field    string
	members  bool
	json     string
}

// fields are the labels that the data can be told apart by.
var fields = map[string]func(dataset.Record) string{
	"group":    func(r dataset.Record) string { return r.Group },
	"subgroup": func(r dataset.Record) string { return r.Subgroup },
	"caption":  func(r dataset.Record) string { return r.Caption },
}

func (c *zeroshotCommand) describe() *cli.Command {
	images := imageArguments(&c.images)
	return &cli.Command{
		Name:  "zeroshot",
		Usage: "Tell classes apart by their names alone, of pictures or, with -data, of labelled data.",
		Description: "A class is as probable as its prompts are likely captions. FILE has a class a line: its name or,\n" +
			"after tabs, what the prompts shall call it.",
		Arguments: images,
		Flags: append([]cli.Flag{
			modelFlag(&c.model),
			&cli.StringFlag{Name: "classes", Destination: &c.classes, Usage: "choose between the classes in `FILE`", DefaultText: "with -data, its labels"},
			&cli.StringFlag{Name: "prompts", Destination: &c.prompts, Value: "plain", Usage: "put names into `PROMPTS`: plain, photo, clip-7, or a text with {} for the name"},
			&cli.BoolFlag{Name: "per-token", Destination: &c.perToken, Usage: "divide the log-likelihood of a prompt by its number of tokens"},
			&cli.IntFlag{Name: "top", Destination: &c.top, Value: 5, Usage: "print the `N` most probable classes of a picture"},
			&cli.StringFlag{Name: "field", Destination: &c.field, Value: "group", Usage: "with -data, tell the `LABEL` group, subgroup or caption"},
			&cli.BoolFlag{Name: "members", Destination: &c.members, Usage: "with -data, call a group or subgroup by the captions of its training drawings, not by its name"},
			jsonFlag(&c.json),
		}, c.data.flags("", 0)...),
	}
}

func (c *zeroshotCommand) check(given *cli.Command) error {
	switch {
	case c.data.name == "" && len(c.images) == 0:
		return errNoImage
	case c.data.name != "" && len(c.images) > 0:
		return errors.New("-data goes without IMAGE")
	case c.data.name == "" && c.classes == "":
		return errors.New("-classes is missing: a file with a class a line")
	case c.data.name == "" && (given.IsSet("json") || given.IsSet("field") || given.IsSet("pictures") || c.members):
		return errors.New("-json, -field, -members and -pictures need -data")
	case c.members && (!c.embedded() || c.field == "caption" || c.classes != ""):
		return errors.New("-members needs -data of the embedded drawings, their groups or subgroups, and no -classes")
	case c.top < 1:
		return fmt.Errorf("-top %d: at least 1 is needed", c.top)
	case fields[c.field] == nil:
		return fmt.Errorf("-field %s: it must be group, subgroup or caption", c.field)
	}
	_, err := aimv2.ClassPrompts(c.prompts, nil)
	return errors.Join(err, c.data.check())
}

func (c *zeroshotCommand) run() error {
	scorer, config, err := loadScorer(c.model, c.perToken)
	if err != nil {
		return err
	}
	if c.data.name != "" {
		return c.measure(config, scorer)
	}
	classes, err := readClasses(c.classes)
	if err != nil {
		return err
	}
	score, err := c.prepare(scorer, classes)
	if err != nil {
		return err
	}
	return eachImage(config, c.images, func(file string, image []float32) error {
		p := softmax(score(image)[0])
		var best []string
		for _, i := range order(p)[:min(c.top, len(p))] {
			best = append(best, fmt.Sprintf("%s %.1f %%", classes[i].name, 100*p[i]))
		}
		fmt.Printf("%s: %s\n", file, strings.Join(best, ", "))
		return nil
	})
}

// class is a name and what prompts call it.
type class struct {
	name  string
	calls []string
}

// longestLine bounds the lines of a file of classes.
const longestLine = 1 << 16

// readClasses reads the classes of a file. Errors: of the file; those of
// parseClasses, with its name.
func readClasses(file string) ([]class, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	classes, err := parseClasses(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return classes, nil
}

// parseClasses reads a class a line, empty lines left out. Errors: a class named
// twice; a line that is too long or not UTF-8; no classes.
func parseClasses(r io.Reader) ([]class, error) {
	var out []class
	names := map[string]bool{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestLine)
	for n := 1; lines.Scan(); n++ {
		if !utf8.ValidString(lines.Text()) {
			return nil, fmt.Errorf("line %d is not UTF-8", n)
		}
		parts := strings.Split(strings.TrimSpace(lines.Text()), "\t")
		name := strings.TrimSpace(parts[0])
		if name == "" {
			continue
		}
		if names[name] {
			return nil, fmt.Errorf("the class %q is named twice", name)
		}
		names[name] = true
		c := class{name: name}
		for _, call := range parts[1:] {
			if call = strings.TrimSpace(call); call != "" {
				c.calls = append(c.calls, call)
			}
		}
		if c.calls == nil {
			c.calls = []string{name}
		}
		out = append(out, c)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, errors.New("there are no classes")
	}
	return out, nil
}

// prepare makes the prompts of the classes.
func (c *zeroshotCommand) prepare(s aimv2.Scorer, classes []class) (aimv2.Score, error) {
	texts := make([][]string, len(classes))
	for i, class := range classes {
		prompts, err := aimv2.ClassPrompts(c.prompts, class.calls)
		if err != nil {
			return nil, err
		}
		texts[i] = slices.Concat(prompts...)
	}
	return s.Prepare(texts)
}

// measure prints how often the label of a picture is the most probable class, and
// among the five most probable ones.
func (c *zeroshotCommand) measure(config aimv2.Config, s aimv2.Scorer) error {
	src, data, split, err := c.data.open()
	if err != nil {
		return err
	}
	field, at := fields[c.field], c.data.at(src)
	classes, err := c.labels(src, at)
	if err != nil {
		return err
	}
	number := map[string]int{}
	for i, class := range classes {
		number[class.name] = i
	}
	counts := make([]int, len(classes))
	for _, p := range at {
		label := field(src.Record(p))
		i, ok := number[label]
		if !ok {
			return fmt.Errorf("%s has no class %q, which %s has", c.classes, label, src.Record(p).Name)
		}
		counts[i]++
	}
	score, err := c.prepare(s, classes)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d pictures, %d classes\n", len(at), len(classes))
	var similarity [][]float64
	var want []int
	bad := c.data.each(config, src, at, func(i int, image []float32) error {
		similarity, want = append(similarity, score(image)[0]), append(want, number[field(src.Record(at[i]))])
		return nil
	})
	if bad != nil && !errors.Is(bad, failed) {
		return bad
	}
	if len(want) == 0 {
		return bad
	}
	report := newEvaluation("zeroshot", c.model, config, 0, struct {
		Field    string `json:"field"`
		Classes  int    `json:"classes"`
		Members  bool   `json:"members"`
		Prompts  string `json:"prompts"`
		PerToken bool   `json:"per_token"`
	}{c.field, len(classes), c.members, c.prompts, c.perToken})
	report.on(data, split, src)
	ranks := metric.Ranks(similarity, func(picture, class int) bool { return want[picture] == class })
	for _, k := range []int{1, 5} {
		e := metric.Recall(ranks, k)
		fmt.Printf("top-%d  %.1f %% (%.1f–%.1f) of %d pictures\n", k, 100*e.Value, 100*e.Low, 100*e.High, e.N)
		report.add(measurement{c.field, "zero-shot", fmt.Sprintf("top-%d", k), split, e})
	}
	fmt.Printf("floor  %.1f %%: always %s\n", 100*float64(slices.Max(counts))/float64(len(at)), classes[slices.Index(counts, slices.Max(counts))].name)
	if err := report.write(c.json); err != nil {
		return err
	}
	return bad
}

// embedded reports whether the data is a split of the embedded drawings.
func (c *zeroshotCommand) embedded() bool { return slices.Contains(emoji48.Splits, c.data.name) }

// labels returns the classes of the file, or the labels of the data: of groups and
// subgroups of the embedded drawings those of every split.
func (c *zeroshotCommand) labels(src dataset.Source, at []int) ([]class, error) {
	if c.classes != "" {
		return readClasses(c.classes)
	}
	var records []dataset.Record
	for _, p := range at {
		records = append(records, src.Record(p))
	}
	if c.embedded() && c.field != "caption" {
		all, err := emoji48.Open()
		if err != nil {
			return nil, err
		}
		for i := range all.Len() {
			records = append(records, all.Record(i))
		}
	}
	field := fields[c.field]
	calls := map[string][]string{}
	seen := map[[2]string]bool{}
	for _, r := range records {
		label := field(r)
		if label == "" {
			return nil, fmt.Errorf("%s has no %s", r.Name, c.field)
		}
		call := label
		switch {
		case c.members && r.Split != emoji48.Train:
			continue // other splits' names are not for the model to know
		case c.members:
			call = r.Caption
		case c.field != "caption":
			call = strings.ReplaceAll(label, "-", " ")
		}
		if key := [2]string{label, call}; !seen[key] {
			seen[key] = true
			calls[label] = append(calls[label], call)
		}
	}
	var out []class
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		out = append(out, class{name, calls[name]})
	}
	return out, nil
}

// softmax returns the probabilities of scores.
func softmax(x []float64) []float64 {
	m, sum := slices.Max(x), 0.0
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = math.Exp(v - m)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// order returns the numbers of values, the greatest first.
func order(x []float64) []int {
	out := make([]int, len(x))
	for i := range out {
		out[i] = i
	}
	slices.SortStableFunc(out, func(a, b int) int { return cmp.Compare(x[b], x[a]) })
	return out
}

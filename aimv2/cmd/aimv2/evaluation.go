package main

import (
	"encoding/json"
	"fmt"
	"image"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"fuerte/aimv2"
	"fuerte/aimv2/dataset"
	"fuerte/aimv2/dataset/emoji48"
	"fuerte/aimv2/metric"
	"fuerte/nn/atomicfile"
)

// jsonFlag is the option -json of the verbs that measure.
func jsonFlag(file *string) cli.Flag {
	return &cli.StringFlag{Name: "json", Destination: file, Usage: "write the numbers with their confidence intervals to `FILE`, too"}
}

// seedFlag is the option -seed of the verbs that measure.
func seedFlag(seed *uint64, what string) cli.Flag {
	return &cli.Uint64Flag{Name: "seed", Destination: seed, Value: 1, Usage: "seed `S` of " + what}
}

// evaluation is what -json writes: numbers, and all that it takes to get them
// again.
type evaluation struct {
	Task     string            `json:"task"`
	Model    string            `json:"model"` // its folder, or "built-in"
	Config   aimv2.Config      `json:"config"`
	Data     string            `json:"data"`   // the folder, or "emoji48"
	Splits   map[string]string `json:"splits"` // name: fingerprint
	Seed     uint64            `json:"seed"`
	Settings any               `json:"settings"`
	Metrics  []measurement     `json:"metrics"`
	Command  string            `json:"command"`
	Date     string            `json:"date"`
}

// measurement is one number.
type measurement struct {
	Task   string `json:"task"` // what is asked: "group", "caption"
	Method string `json:"method"`
	Metric string `json:"metric"` // "top-1", "R@5", "CIDEr-D"
	Split  string `json:"split"`
	metric.Estimate
}

// newEvaluation notes what does not depend on the numbers.
func newEvaluation(task, model string, config aimv2.Config, seed uint64, settings any) *evaluation {
	if model == "" {
		model = "built-in"
	}
	words := []string{"aimv2"}
	for _, a := range os.Args[1:] {
		words = append(words, quote(a))
	}
	return &evaluation{Task: task, Model: model, Config: config, Splits: map[string]string{}, Seed: seed, Settings: settings,
		Command: strings.Join(words, " "), Date: time.Now().UTC().Format(time.RFC3339)}
}

// on notes the pictures that are measured on.
func (e *evaluation) on(data, split string, src dataset.Source) {
	e.Data, e.Splits[split] = data, aimv2.Fingerprint(src)
}

// add notes a number, unless it is none.
func (e *evaluation) add(m measurement) {
	if !math.IsNaN(m.Value) {
		e.Metrics = append(e.Metrics, m)
	}
}

// write writes the evaluation whole or not at all; to no file, nothing.
func (e *evaluation) write(file string) error {
	if file == "" {
		return nil
	}
	data, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFileAtomic(file, func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
}

// evalData is the data that verbs measure on.
type evalData struct {
	name string // a split of emoji48, or a folder
	n    int    // pictures of it; 0: all
}

// flags are the options.
func (d *evalData) flags(name string, n int) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "data", Destination: &d.name, Value: name, Usage: "measure on `DATA`: " + fmt.Sprint(emoji48.Splits) + " of the embedded drawings, or a folder of pictures and captions"},
		&cli.IntFlag{Name: "pictures", Destination: &d.n, Value: n, Usage: "take `N` pictures of them, evenly spread; 0 takes all"},
	}
}

// open returns the data and where they are from: the data set and the split.
func (d *evalData) open() (src dataset.Source, data, split string, err error) {
	if slices.Contains(emoji48.Splits, d.name) {
		src, err = emoji48.Open(d.name)
		return src, "emoji48", d.name, err
	}
	src, err = dataset.Folder(d.name)
	return src, d.name, "all", err
}

// at returns the numbers of the pictures to take.
func (d *evalData) at(src dataset.Source) []int {
	if d.n == 0 {
		return spread(src, src.Len())
	}
	return spread(src, d.n)
}

// each calls f with the pictures of the source that at names, as eachReadable does,
// and says every ten seconds how far it is.
func (d *evalData) each(c aimv2.Config, src dataset.Source, at []int, f func(i int, image []float32) error) error {
	told := time.Now()
	return eachReadable(c, len(at), func(i int) (image.Image, error) { return src.Image(at[i]) }, func(i int, image []float32) error {
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			fmt.Fprintf(os.Stderr, "picture %d of %d\n", i+1, len(at))
		}
		return f(i, image)
	})
}

// check looks at the values.
func (d *evalData) check() error {
	if d.n < 0 {
		return fmt.Errorf("-pictures %d: it must not be negative", d.n)
	}
	return nil
}

// loadScorer reads the model in a folder, or the built-in one, to score texts.
func loadScorer(dir string, perToken bool) (aimv2.Scorer, aimv2.Config, error) {
	m, tok, err := loadModel(dir)
	if err != nil {
		return nil, aimv2.Config{}, err
	}
	return aimv2.CaptionScorer{Model: m, Tok: tok, PerToken: perToken}, m.Config, nil
}

// captionMetrics compares captions with the true ones: the share of equal ones,
// the F1 of their words, and CIDEr-D.
func captionMetrics(got, want []string, seed uint64) (exact, f1, cider metric.Estimate) {
	hit, overlap := make([]bool, len(got)), make([]float64, len(got))
	words, references := make([][]string, len(got)), make([][][]string, len(got))
	for i := range got {
		reference := metric.Words(want[i])
		words[i], references[i] = metric.Words(got[i]), [][]string{reference}
		hit[i], overlap[i] = got[i] == want[i], metric.WordF1(words[i], reference)
	}
	return metric.ShareOf(hit), metric.Mean(overlap, seed), metric.Mean(metric.CIDEr(words, references), seed)
}

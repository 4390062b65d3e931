package main

import (
	"encoding/json"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"fuerte/aimv2"
	"fuerte/aimv2/dataset"
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

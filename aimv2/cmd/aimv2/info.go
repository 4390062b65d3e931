package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"fuerte/aimv2"
	"fuerte/nn/safetensors"
)

type infoCommand struct{ checkpoint string }

func (c *infoCommand) describe() *cli.Command {
	return &cli.Command{
		Name:        "info",
		Usage:       "Show configuration and tensors of a checkpoint.",
		Description: "CHECKPOINT is the folder of a model or a run, a .safetensors file, or OWNER/NAME[@REVISION] of the Hugging Face hub.",
		Arguments:   []cli.Argument{&cli.StringArg{Name: "CHECKPOINT", Required: true, Destination: &c.checkpoint}},
	}
}

func (c *infoCommand) check(*cli.Command) error { return nil }

// file is an open checkpoint with its name.
type file struct {
	name string
	*safetensors.File
}

// run prints what a checkpoint is and what is in it.
func (c *infoCommand) run() error {
	at, err := locate(c.checkpoint)
	if err != nil {
		return err
	}
	about, err := os.Stat(at)
	if err != nil {
		return err
	}
	if !about.IsDir() && !strings.HasSuffix(at, safetensors.IndexSuffix) {
		f, err := safetensors.Open(at)
		if err != nil {
			return err
		}
		defer f.Close()
		return printAll(at, nil, file{filepath.Base(at), f})
	}
	var r aimv2.Recipe
	config := filepath.Join(at, aimv2.ConfigFile)
	if data, err := os.ReadFile(config); err == nil {
		if err := json.Unmarshal(data, &r); err != nil {
			return fmt.Errorf("%s: %w", config, err)
		}
	}
	if r.Model == (aimv2.Config{}) { // no run's
		return c.printCheckpoint(at)
	}
	var files []file
	for _, name := range []string{aimv2.ModelFile, aimv2.StateFile} {
		path := filepath.Join(at, name)
		if _, err := os.Stat(path); os.IsNotExist(err) {
			continue
		}
		f, err := safetensors.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		files = append(files, file{name, f})
	}
	return printAll(at, &r, files...)
}

// printAll prints the recipe, each file in a line, and the tensors of the first.
func printAll(name string, r *aimv2.Recipe, files ...file) error {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, name)
	for _, f := range files { // the recipe and the step of a state
		meta := f.Metadata()
		if recipe, ok := meta["recipe"]; ok && r == nil {
			r = new(aimv2.Recipe)
			if err := json.Unmarshal([]byte(recipe), r); err != nil {
				return fmt.Errorf("%s: the recipe in its metadata: %w", name, err)
			}
		}
	}
	if r != nil {
		printRecipe(out, r)
	}
	for _, f := range files {
		printFile(out, f)
	}
	if len(files) > 0 {
		printTensors(out, files[0])
	}
	return out.Flush()
}

func printTensors(out io.Writer, files ...file) {
	fmt.Fprintln(out, "\ntensor\tdtype\tshape")
	for _, f := range files {
		for _, t := range f.Names() {
			info, _ := f.Info(t)
			fmt.Fprintf(out, "%s\t%s\t%s\n", t, info.DType, dims(info.Shape))
		}
	}
}

// printCheckpoint prints a checkpoint that is no run's: its configuration, each
// file in a line, and all tensors.
func (c *infoCommand) printCheckpoint(at string) error {
	ckpt, err := aimv2.OpenCheckpoint(at)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s holds no model: %w", at, err)
	}
	if err != nil {
		return err
	}
	defer ckpt.Close()
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, c.checkpoint)
	fmt.Fprintf(out, "  names\tof %s\n", ckpt.Family.Name)
	part := func(name string, a aimv2.Architecture, s aimv2.Stack) { printStack(out, name, s, a.Parameters()) }
	if v := ckpt.Vision; v != nil {
		size := "any number of"
		if !v.Native {
			size = fmt.Sprintf("%d×%d", v.ImageSize, v.ImageSize)
		}
		fmt.Fprintf(out, "  pictures\t%s pixels, patches of %d\n", size, v.PatchSize)
		part("encoder", aimv2.Architecture{Vision: v}, v.Stack)
	}
	if t := ckpt.Text; t != nil {
		part("text tower", aimv2.Architecture{Text: t}, t.Stack)
		fmt.Fprintf(out, "  text\tvocabulary of %d, up to %d tokens\n", t.Vocab, t.Context)
	}
	if d := ckpt.Decoder; d != nil {
		printStack(out, "decoder", d.Stack, ckpt.Parameters()-aimv2.Architecture{Vision: ckpt.Vision}.Parameters())
		fmt.Fprintf(out, "  text\tvocabulary of %d, up to %d tokens\n", d.Vocab, d.Context)
	}
	if ckpt.Projection > 0 {
		fmt.Fprintf(out, "  both\tprojected to %d: %d parameters in all\n", ckpt.Projection, ckpt.Parameters())
	}
	var files []file
	for _, f := range ckpt.Files() {
		files = append(files, file{filepath.Base(f.Path()), f})
		printFile(out, files[len(files)-1])
	}
	printTensors(out, files...)
	return out.Flush()
}

func printStack(out io.Writer, name string, s aimv2.Stack, parameters int) {
	fmt.Fprintf(out, "  %s\twidth %d, depth %d, %d heads, hidden %d: %d parameters\n", name, s.Width, s.Depth, s.Heads, s.Hidden, parameters)
}

func printRecipe(out io.Writer, r *aimv2.Recipe) {
	c := r.Model
	fmt.Fprintf(out, "  pictures\t%d×%d pixels, patches of %d\n", c.ImageSize, c.ImageSize, c.PatchSize)
	printStack(out, "encoder", c.Encoder, c.EncoderParameters())
	printStack(out, "decoder", c.Decoder, c.Parameters()-c.EncoderParameters())
	fmt.Fprintf(out, "  text\tvocabulary of %d, up to %d tokens\n", c.Vocab, c.Context)
	if r.Steps > 0 {
		fmt.Fprintf(out, "  training\t%d steps of %d pictures, learning rate up to %g, seed %d\n", r.Steps, r.Batch, r.Peak, r.Seed)
	}
	if r.Data != "" {
		fmt.Fprintf(out, "  data\t%s\n", r.Data)
	}
}

// printFile sums up one file: its parts by the first word of the tensors' names.
func printFile(out io.Writer, f file) {
	elements, size := map[string]int{}, int64(0)
	dtypes := map[string]bool{}
	total := 0
	for _, name := range f.Names() {
		info, _ := f.Info(name)
		n := info.Elements()
		b, _ := f.Bytes(name) // not closed, and the name is its own
		part, _, _ := strings.Cut(name, ".")
		elements[part] += n
		total, size = total+n, size+int64(len(b))
		dtypes[info.DType] = true
	}
	step := ""
	if s, ok := f.Metadata()["step"]; ok {
		step = fmt.Sprintf("step %s; ", s)
	}
	fmt.Fprintf(out, "  %s\t%s%d tensors of %s, %d elements, %s\n", f.name, step, len(f.Names()),
		strings.Join(slices.Sorted(maps.Keys(dtypes)), " and "), total, amount(size))
	if len(elements) <= 8 {
		for _, part := range slices.Sorted(maps.Keys(elements)) {
			what := map[string]string{"m": " (first moments)", "v": " (second moments)"}[part]
			fmt.Fprintf(out, "    %s%s\t%d elements\n", part, what, elements[part])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(f.Metadata())) {
		if key != "recipe" && key != "step" { // shown in words
			fmt.Fprintf(out, "    %s\t%s\n", key, f.Metadata()[key])
		}
	}
}

func dims(shape []int) string {
	if len(shape) == 0 {
		return "scalar"
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", "×")
}

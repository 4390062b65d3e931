// Aimv2 pre-trains AIMV2 models and uses them:
//
//	go run ./aimv2/cmd/aimv2 pretrain
//
// Results go to standard output, progress and errors to standard error. The exit
// status is 0, 1 for an error, 2 for a wrong command line, 130 after Ctrl-C.
//
// The command line is parsed by github.com/alecthomas/kong, which takes options
// before and behind arguments (package flag stops at the first argument); the
// progress line asks golang.org/x/term for a terminal and its width.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"fuerte/aimv2"
	"fuerte/kernels"
)

// commands are the verbs; their fields are the options.
type commands struct {
	Pretrain pretrainCommand `cmd:"" help:"Train a model: on the embedded drawings, or on a folder of pictures."`
	Caption  captionCommand  `cmd:"" help:"Write a caption for each picture."`
	Probe    probeCommand    `cmd:"" help:"Measure frozen features and captions on the embedded drawings, beside what raw pixels reach."`
	Embed    embedCommand    `cmd:"" help:"Write the features of pictures to a file."`
	Info     infoCommand     `cmd:"" help:"Show configuration and tensors of a checkpoint."`
	Export   exportCommand   `cmd:"" help:"Write the model of a run to a folder of its own, in any precision."`
}

func main() { os.Exit(run(os.Args[1:])) }

// exitCode ends the program with a status and no further message.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

const (
	failed      exitCode = 1 // and every line about it is written
	wrongUsage  exitCode = 2
	interrupted exitCode = 130 // as a shell reports SIGINT
)

// run executes a command line and returns the exit status.
func run(args []string) int {
	var helped *exitCode // kong's help ends the program by itself
	parser, err := kong.New(&commands{},
		kong.Name("aimv2"),
		kong.Description("Multimodal autoregressive pre-training of vision encoders.\n\nOptions are written with one dash or two."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Exit(func(status int) { code := exitCode(status); helped = &code }),
		kong.Vars{"presets": strings.Join(aimv2.PresetNames(), ", ")},
	)
	if err != nil {
		panic(err) // the tags above are wrong
	}
	command, err := parser.Parse(doubleDashes(args))
	if helped != nil {
		return int(*helped)
	}
	if err != nil {
		complain(err)
		fmt.Fprintf(os.Stderr, "Try: %s -h\n", strings.Join(append([]string{self()}, verbOf(err)...), " "))
		return int(wrongUsage)
	}
	if _, err := kernels.Choose(); err != nil {
		complain(err)
		return int(failed)
	}
	err = command.Run()
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	complain(err)
	return int(failed)
}

// doubleDashes writes -steps as --steps, the way kong knows long options.
func doubleDashes(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		if a == "--" {
			copy(out[i:], args[i:])
			break
		}
		if len(a) > 2 && a[0] == '-' && (a[1] >= 'a' && a[1] <= 'z' || a[1] >= 'A' && a[1] <= 'Z') && a[2] != '=' {
			a = "-" + a
		}
		out[i] = a
	}
	return out
}

// verbOf names the verb on whose command line the parser stopped.
func verbOf(err error) []string {
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context.Selected() != nil {
		return []string{parse.Context.Selected().Name}
	}
	return nil
}

// complain writes an error to standard error. Joined errors have a line each; of
// many, the first ones.
func complain(err error) {
	const most = 10
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	for i, line := range lines {
		if i == most {
			fmt.Fprintf(os.Stderr, "aimv2: and %d more\n", len(lines)-i)
			return
		}
		fmt.Fprintf(os.Stderr, "aimv2: %s\n", strings.TrimPrefix(line, "aimv2: "))
	}
}

// self is how the user starts this program.
func self() string {
	if strings.Contains(filepath.ToSlash(os.Args[0]), "/go-build") {
		return "go run ./aimv2/cmd/aimv2"
	}
	return quote(os.Args[0])
}

// quote makes a word for a shell.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./,:=+@%", r) || r > 127
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Aimv2 pre-trains AIMV2 models and uses them:
//
//	go run ./aimv2/cmd/aimv2 pretrain
//
// Results go to standard output, progress and errors to standard error. The exit
// status is 0, 1 for an error, 2 for a wrong command line, 130 after Ctrl-C.
//
// The command line is parsed by github.com/urfave/cli/v3, which takes options
// with one dash or two, before and behind arguments (package flag stops at the
// first argument), and needs no os/user. Package aimv2/hub needs net: built with
// CGO_ENABLED=0 the binary is static, but where cgo is on, Go takes net's resolver
// from the C library. The progress line asks golang.org/x/term for a terminal and
// its width.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"fuerte/kernels"
	"fuerte/nn/tuning"
)

// verb is a command of the program. Its fields are the options.
type verb interface {
	// describe says what the verb is and takes, and where the values go.
	describe() *cli.Command
	// check looks at the values; given tells which of them the user gave. Its
	// errors are errors of usage.
	check(given *cli.Command) error
	run() error
}

// verbs returns all of them, in the order of the help.
func verbs() []verb {
	return []verb{&pretrainCommand{}, &captionCommand{}, &probeCommand{}, &retrieveCommand{}, &zeroshotCommand{}, &embedCommand{}, &infoCommand{}, &exportCommand{}, &convertCommand{}, &plotCommand{}}
}

// help is the text of -h, of the program and of each verb.
const help = `Usage: {{.FullName}} {{if .VisibleCommands}}COMMAND {{end}}[options]{{range .Arguments}} {{.Usage}}{{end}}

{{.Usage}}{{with .Description}}
{{.}}{{end}}
{{if .VisibleCommands}}
Commands:{{template "visibleCommandTemplate" .}}
{{end}}
Options:{{template "visibleFlagTemplate" .}}
`

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
	v, err := parse(args)
	if err != nil {
		complain(err)
		hint := []string{self(), "-h"}
		if len(args) > 0 && slices.ContainsFunc(verbs(), func(v verb) bool { return v.describe().Name == args[0] }) {
			hint = []string{self(), args[0], "-h"}
		}
		fmt.Fprintln(os.Stderr, "Try:", strings.Join(hint, " "))
		return int(wrongUsage)
	}
	if v == nil {
		return 0 // help was asked for, and is written
	}
	set, err := kernels.Choose()
	if err != nil {
		complain(err)
		return int(failed)
	}
	if err := tuning.Apply(set.Name); err != nil {
		complain(fmt.Errorf("ignored: %w", err))
	}
	err = v.run()
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

// parse returns the verb of a command line with its options filled in, or nil
// where the command line asks for help.
func parse(args []string) (chosen verb, err error) {
	root := &cli.Command{
		Name:            "aimv2",
		Usage:           "Multimodal autoregressive pre-training of vision encoders.",
		Description:     "Options are written with one dash or two, before or behind arguments.",
		HideHelpCommand: true,
		ExitErrHandler:  func(context.Context, *cli.Command, error) {}, // main ends the program

		CustomRootCommandHelpTemplate: help,
	}
	var names []string
	for _, v := range verbs() {
		c := v.describe()
		c.OnUsageError = func(_ context.Context, _ *cli.Command, err error, _ bool) error { return err } // and no help
		c.CustomHelpTemplate = help
		// Beside -h an argument is taken for a command of the verb, which has none.
		c.CommandNotFound = func(_ context.Context, c *cli.Command, _ string) { cli.HelpPrinter(c.Writer, help, c) }
		c.Action = func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return fmt.Errorf("unexpected argument %q", c.Args().First())
			}
			chosen = v
			return v.check(c)
		}
		root.Commands = append(root.Commands, c)
		names = append(names, c.Name)
	}
	root.OnUsageError = func(_ context.Context, _ *cli.Command, err error, _ bool) error { return err }
	root.Action = func(_ context.Context, c *cli.Command) error {
		if c.Args().Present() {
			return fmt.Errorf("there is no command %q; there are %s", c.Args().First(), strings.Join(names, ", "))
		}
		return fmt.Errorf("a command is missing: one of %s", strings.Join(names, ", "))
	}
	err = root.Run(context.Background(), append([]string{root.Name}, args...))
	return chosen, err
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

// Prove runs the tests of the kernels on every instruction set and prints which
// op ran on which level, or why not:
//
//	go run ./bench/cmd/prove                            # what this machine can run
//	go run ./bench/cmd/prove -install                   # fetch the emulators first (Debian, as root or by sudo)
//	go run ./bench/cmd/prove -levels avx512,neon        # these alone
//	go run ./bench/cmd/prove -require avx512            # what did not run is an error
//	go run ./bench/cmd/prove -levels avx512 -run Exp    # the tests of these ops alone
//
// AVX-512 runs on an emulated CPU (Bochs 3.0, built once into the user's cache),
// which boots the test binary under a Linux kernel of its own; NEON in
// qemu-user. So both are proven on any amd64 machine with Linux.
//
// The last line counts the cells of the table. The status is 0, 1 if a test
// failed or a required level has an op that did not run, 2 for a wrong command
// line, 130 after Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes a command line and returns the status.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("prove", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("levels", "all", "the `levels` to run, comma-separated; neon is neon-max and its like")
	require := flags.String("require", "", "the `levels`, or all, of which every op must run")
	install := flags.Bool("install", false, "install missing packages through apt and build the emulator")
	filter := flags.String("run", "", "only the ops whose name matches this `expression`")
	timeout := flags.Duration("timeout", 20*time.Minute, "end a process of tests after this")
	parallel := flags.Int("parallel", runtime.NumCPU(), "processes at a time")
	verbose := flags.Bool("v", false, "write the output of the tests to standard error")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	complain := func(format string, a ...any) { fmt.Fprintf(stderr, "prove: "+format+"\n", a...) }
	if flags.NArg() > 0 {
		complain("unexpected argument %q", flags.Arg(0))
		return 2
	}
	p := &prover{timeout: *timeout, parallel: max(1, *parallel), verbose: *verbose, log: complain}
	var err error
	if *filter != "" {
		if p.filter, err = regexp.Compile(*filter); err != nil {
			complain("-run: %v", err)
			return 2
		}
	}
	if p.root, err = moduleRoot(); err != nil {
		complain("%v", err)
		return 1
	}
	chosen, required, err := choice(levels(p.root), *only, *require)
	if err != nil {
		complain("%v", err)
		return 2
	}
	if p.tmp, err = os.MkdirTemp("", "prove"); err != nil {
		complain("%v", err)
		return 1
	}
	defer os.RemoveAll(p.tmp)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *install {
		if err := installNeeds(ctx, chosen, p.root, stderr); err != nil {
			complain("%v", err) // and the levels say what they lack
		}
	}
	columns, rows := p.prove(ctx, chosen)
	if ctx.Err() != nil {
		complain("interrupted")
		return 130
	}
	if !report(stdout, columns, rows, p.filter != nil, required) {
		return 1
	}
	return 0
}

// choice reads the lists of levels: those to run, and of them those that must.
func choice(all []*level, only, require string) (chosen, required []*level, err error) {
	if chosen, err = choose(all, only); err != nil {
		return nil, nil, fmt.Errorf("-levels: %w", err)
	}
	switch require {
	case "":
		return chosen, nil, nil
	case "all":
		return chosen, chosen, nil
	}
	if required, err = choose(all, require); err != nil {
		return nil, nil, fmt.Errorf("-require: %w", err)
	}
	for _, l := range required {
		if !slices.Contains(chosen, l) {
			return nil, nil, fmt.Errorf("-require names %s, which -levels leaves out", l.name)
		}
	}
	return chosen, required, nil
}

// moduleRoot is the folder of go.mod.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	dir := filepath.Dir(strings.TrimSpace(string(out)))
	if _, err := os.Stat(filepath.Join(dir, "kernels", "kernels.go")); err != nil {
		return "", errors.New("run this in the folder of the repository")
	}
	return dir, nil
}

func inPath(command string) bool {
	_, err := exec.LookPath(command)
	return err == nil
}

// installNeeds brings in what the levels need that this machine could run.
func installNeeds(ctx context.Context, chosen []*level, root string, log io.Writer) error {
	var needs []need
	prepare := false
	for _, l := range chosen {
		if l.lacking != nil && l.lacking() != "" {
			continue
		}
		needs = append(needs, l.needs...)
		if l.emulator && !emulatorReady() {
			needs, prepare = append(needs, buildNeeds...), true
		}
	}
	missing := packagesOf(needs)
	command := func(line ...string) error {
		if os.Getuid() != 0 && line[0] == "apt-get" {
			line = append([]string{"sudo", "-n"}, line...)
		}
		cmd := exec.CommandContext(ctx, line[0], line[1:]...)
		grouped(cmd)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.Env = append(cmd.Environ(), "DEBIAN_FRONTEND=noninteractive", "BOCHS_CACHE="+emulatorCache())
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(line, " "), err)
		}
		return nil
	}
	if len(missing) > 0 || prepare { // the kernel's package comes through apt too
		if err := command("apt-get", "-o", "DPkg::Lock::Timeout=600", "-qq", "update"); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		line := []string{"apt-get", "-o", "DPkg::Lock::Timeout=600", "-qq", "-y", "--no-install-recommends", "install"}
		if err := command(append(line, slices.Compact(missing)...)...); err != nil {
			return err
		}
	}
	if prepare {
		return command(filepath.Join(root, "bench", "cmd", "prove", "bochs", "run.sh"), "-prepare")
	}
	return nil
}

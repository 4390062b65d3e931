package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// level is one instruction-set level of this run.
type level struct {
	name    string   // of the Set
	suffix  string   // of its functions
	arch    string   // GOARCH, and the folder below kernels
	wrapper []string // emulator, if any
}

var allLevels = []level{
	{name: "avx2", suffix: "AVX2", arch: "amd64"},
	{name: "avx512", suffix: "AVX512", arch: "amd64"},
	{name: "neon", suffix: "NEON", arch: "arm64"},
}

// contractTests hold a field of a Set to its comment, in subtests level/field;
// TestSets has one for every field.
const contractTests = "TestSets|TestPlacedValues"

// outcome is how a mutant ended.
type outcome string

const (
	failed   outcome = "failed"    // a test saw a wrong result
	faulted  outcome = "faulted"   // memory, a bad instruction: the process died, or the test recovered
	timedOut outcome = "timed out" // it did not end
	survived outcome = "survived"
)

// runner runs the contract test of some fields of a level.
type runner struct {
	binary  string
	level   level
	fields  []string
	seconds uint64        // of processor time for a mutant
	wall    time.Duration // for a process that waits
}

func (r *runner) command(ctx context.Context, mutant string) *exec.Cmd {
	args := append(append([]string{}, r.level.wrapper...), r.binary,
		"-test.run=^("+contractTests+")$/^"+r.level.name+"$/^("+strings.Join(r.fields, "|")+")$", "-test.failfast", "-test.v", "-test.timeout=0")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = "kernels"
	cmd.Env = append(os.Environ(), "FUERTE_REQUIRE="+r.level.name, "FUERTE_ISA=", "FUERTE_MUTANT="+mutant, "GOMAXPROCS=1")
	if r.seconds > 0 {
		cmd.Env = append(cmd.Env, "FUERTE_MUTANT_SECONDS="+strconv.FormatUint(r.seconds, 10))
	}
	return cmd
}

// unmutated runs the tests on the kernels as they are, sets the limits from what
// they took, and fails where they do not pass or a field has no test.
func (r *runner) unmutated(ctx context.Context) error {
	cmd := r.command(ctx, "")
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("the tests fail without a mutant: %v\n%s", err, out)
	}
	for _, f := range r.fields {
		if !bytes.Contains(out, []byte("--- PASS: TestSets/"+r.level.name+"/"+f+" ")) {
			return fmt.Errorf("no test TestSets/%s/%s:\n%s", r.level.name, f, out)
		}
	}
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	r.seconds = 2 + uint64(4*used.Seconds())
	r.wall = 30*time.Second + 10*max(time.Since(start), time.Duration(r.seconds)*time.Second)
	return nil
}

func (r *runner) run(ctx context.Context, m *mutant) (outcome, error) {
	limited, cancel := context.WithTimeout(ctx, r.wall)
	defer cancel()
	cmd := r.command(limited, m.Func+":"+strconv.Itoa(m.ID))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err == nil:
		return survived, nil
	case !errors.As(err, &exit):
		return "", err
	case limited.Err() != nil, !exit.Exited() && cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime() >= time.Duration(r.seconds-1)*time.Second:
		return timedOut, nil
	case bytes.Contains(out, []byte("no mutant "+m.Func)):
		return "", fmt.Errorf("the binary lacks %s:%d", m.Func, m.ID)
	case bytes.Contains(out, []byte("runtime error: invalid memory address")): // also where the test has recovered
		return faulted, nil
	case bytes.Contains(out, []byte("--- FAIL: Test")):
		return failed, nil
	}
	return faulted, nil
}

// each calls do for every element of list on some workers and returns the first
// error.
func each[T any](workers int, list []T, do func(T) error) error {
	var wg sync.WaitGroup
	work := make(chan T)
	errs := make(chan error, 1)
	var once sync.Once
	stop := make(chan struct{})
	for range workers {
		wg.Go(func() {
			for x := range work {
				if err := do(x); err != nil {
					once.Do(func() { errs <- err; close(stop) })
				}
			}
		})
	}
	func() {
		defer close(work)
		for _, x := range list {
			select {
			case work <- x:
			case <-stop:
				return
			}
		}
	}()
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// program is what is measured: ours or a peer, as a command that speaks the
// protocol.
type program struct {
	name string
	line []string // command line
	env  []string // beside ours
}

// threadVars say to every library how many threads a process has. How long
// their workers spin for the next call is bounded to about a millisecond, which
// is longer than the time between two calls and over when another program's
// turn begins (see settle): never to spin would make each call wake them anew.
func threadVars(threads int) []string {
	n := strconv.Itoa(threads)
	return []string{
		"GOMAXPROCS=" + n, "OMP_NUM_THREADS=" + n, "OPENBLAS_NUM_THREADS=" + n, "BLIS_NUM_THREADS=" + n, "MKL_NUM_THREADS=" + n,
		"OMP_DYNAMIC=FALSE", "MKL_DYNAMIC=FALSE", "COMPARE_THREADS=" + n,
		"KMP_BLOCKTIME=1",            // ms; Intel's OpenMP spins for 200 else
		"OPENBLAS_THREAD_TIMEOUT=21", // 2²¹ cycles, 2²⁶ else
		"GOMP_SPINCOUNT=300000",      // some ms at most, what GNU's OpenMP takes without a policy
	}
}

// process is a program at work.
type process struct {
	program
	version string
	in      io.WriteCloser
	answers chan string // closed at the end of the output
	stderr  *tail
	cmd     *exec.Cmd
	ended   chan struct{}
	end     error
}

// start runs a program for a number of threads.
//
// Errors: it cannot be started, or does not tell its version within the limit.
func (p program) start(ctx context.Context, threads int, limit time.Duration) (*process, error) {
	cmd := exec.Command(p.line[0], p.line[1:]...)
	cmd.Env = append(append(os.Environ(), p.env...), threadVars(threads)...)
	q := &process{program: p, answers: make(chan string, 8), stderr: &tail{}, cmd: cmd, ended: make(chan struct{})}
	cmd.Stderr = q.stderr
	cmd.WaitDelay = time.Second
	var err error
	if q.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	// A pipe of our own: Wait closes that of StdoutPipe, perhaps before the last
	// answer was read.
	out, childs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = childs
	err = cmd.Start()
	childs.Close()
	if err != nil {
		out.Close()
		return nil, err
	}
	go func() {
		defer out.Close()
		defer close(q.answers)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			q.answers <- lines.Text()
		}
	}()
	go func() {
		q.end = cmd.Wait()
		close(q.ended)
	}()
	if q.version, err = q.ask(ctx, "version", limit); err != nil {
		q.stop()
		return nil, err
	}
	return q, nil
}

// refusal is an error that a program answered; it can be asked again.
type refusal string

func (r refusal) Error() string { return string(r) }

// ask sends a request and returns what follows "ok" in the answer. After an
// error other than a refusal the process is of no use.
func (q *process) ask(ctx context.Context, request string, limit time.Duration) (string, error) {
	if _, err := io.WriteString(q.in, request+"\n"); err != nil {
		return "", q.died()
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case line, ok := <-q.answers:
		if !ok {
			return "", q.died()
		}
		if line == "ok" {
			return "", nil
		}
		if rest, ok := strings.CutPrefix(line, "ok "); ok {
			return rest, nil
		}
		if rest, ok := strings.CutPrefix(line, "error "); ok {
			return "", refusal(rest)
		}
		return "", fmt.Errorf("answered %.80q", line)
	case <-t.C:
		return "", fmt.Errorf("no answer within %v", limit)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// died tells how the process ended.
func (q *process) died() error {
	select {
	case <-q.ended:
	case <-time.After(time.Second): // its output is closed, but it lives
		return errors.New("closed its output")
	}
	reason := "ended"
	if q.end != nil {
		reason = "died: " + q.end.Error()
	}
	if last := q.stderr.last(); last != "" {
		reason += ": " + last
	}
	return errors.New(reason)
}

// clearPeak lets the high-water mark of the process's memory begin anew, where
// the system has one.
func (q *process) clearPeak() {
	// Linux: 5 resets VmHWM. Elsewhere, and where it is forbidden, the mark stays.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", q.cmd.Process.Pid), []byte("5"), 0)
}

// peakMemory is that mark in bytes, 0 where the system does not tell.
func (q *process) peakMemory() float64 {
	return 1024 * procField(fmt.Sprintf("/proc/%d/status", q.cmd.Process.Pid), "VmHWM:")
}

// stop ends the process and waits for it.
func (q *process) stop() {
	q.in.Close()
	select {
	case <-q.ended:
	case <-time.After(200 * time.Millisecond):
		q.cmd.Process.Kill()
		<-q.ended
	}
	for range q.answers { // lets its reader end
	}
}

// tail keeps the end of what is written to it.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if cut := len(t.text) - 4096; cut > 0 {
		t.text = t.text[cut:]
	}
	return len(p), nil
}

// last is the line that says why: the last one, or that of a Go panic.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	for _, l := range lines {
		if strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") {
			return l
		}
	}
	return lines[len(lines)-1]
}

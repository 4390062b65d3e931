package main

import (
	"bufio"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"fuerte/kernels"
)

// serve answers requests for our kernels, so that they are measured by the rule
// of all programs; bench/peers/README.md has the protocol.
func serve(in io.Reader, out io.Writer) error {
	s := &server{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		answer, err := s.answer(lines.Text())
		if err != nil {
			fmt.Fprintln(out, "error", err)
			continue
		}
		fmt.Fprintln(out, "ok", answer)
	}
	return lines.Err()
}

type server struct {
	args    string // op and arguments of the problem at hand
	problem problem
	call    time.Duration // of the last measurement
}

func (s *server) answer(line string) (string, error) {
	r, err := parseRequest(line)
	if err != nil {
		return "", err
	}
	if r.verb == "version" {
		return ourVersion(), nil
	}
	runtime.GOMAXPROCS(r.threads)
	if args := r.op.name + " " + r.args; args != s.args {
		*s = server{}
		debug.FreeOSMemory() // the next operands may be as large
		if s.problem, err = r.op.serve(r.args); err != nil {
			return "", err
		}
		s.args = args
	}
	if r.verb == "check" {
		var out []string
		for _, v := range s.problem.check() {
			out = append(out, strconv.FormatFloat(v, 'g', 17, 64))
		}
		debug.FreeOSMemory() // what making and checking took is not the op's
		return strings.Join(out, " "), nil
	}
	if s.call < time.Second {
		s.problem.run() // wakes the workers
	}
	begin := time.Now()
	for range r.repetitions {
		s.problem.run()
	}
	elapsed := time.Since(begin)
	s.call = elapsed / time.Duration(r.repetitions)
	return fmt.Sprintf("%.9g", elapsed.Seconds()), nil
}

func ourVersion() string {
	return fmt.Sprintf("level %s, %s", kernels.F32().Name, runtime.Version())
}

// request is a line of the protocol.
type request struct {
	verb                 string
	threads, repetitions int
	op                   operation
	args                 string
}

// parseRequest reads version, check THREADS OP ARGUMENTS… or
// time THREADS REPETITIONS OP ARGUMENTS….
func parseRequest(line string) (r request, err error) {
	f := strings.Fields(line)
	if len(f) == 1 && f[0] == "version" {
		return request{verb: f[0]}, nil
	}
	numbers := map[string]int{"check": 1, "time": 2}
	if len(f) == 0 || numbers[f[0]] == 0 || len(f) < numbers[f[0]]+2 {
		return r, fmt.Errorf("not understood: %s", line)
	}
	r.verb = f[0]
	for i, to := range []*int{&r.threads, &r.repetitions}[:numbers[r.verb]] {
		if *to, err = strconv.Atoi(f[i+1]); err != nil || *to < 1 {
			return r, fmt.Errorf("not understood: %s", line)
		}
	}
	f = f[1+numbers[r.verb]:]
	if r.op, err = findOp(f[0]); err != nil {
		return r, err
	}
	r.args = strings.Join(f[1:], " ")
	return r, nil
}

func (r request) String() string {
	switch r.verb {
	case "check":
		return fmt.Sprintf("check %d %s %s", r.threads, r.op.name, r.args)
	case "time":
		return fmt.Sprintf("time %d %d %s %s", r.threads, r.repetitions, r.op.name, r.args)
	}
	return r.verb
}

// parseValues reads the numbers of an answer.
func parseValues(answer string) (values []float64, err error) {
	for f := range strings.FieldsSeq(answer) {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", f)
		}
		values = append(values, v)
	}
	return values, nil
}

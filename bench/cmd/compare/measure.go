package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"fuerte/bench/internal/stats"
)

// comparison is how programs are measured. The first of them is ours.
type comparison struct {
	op       operation
	programs []program
	rounds   int
	least    time.Duration             // of a measurement, unless it is one call
	settle   time.Duration             // between two, in which the workers of the last go to sleep
	limit    time.Duration             // of an answer
	budget   time.Duration             // for one number of threads; 0: none
	peak     func(threads int) float64 // FLOP/s or bytes/s: the op's ceiling
	// available is the memory for all programs together, in bytes.
	available func() float64
	log       func(format string, a ...any)
}

// slow is how many times slower than the fastest a peer may be to be measured in
// every round. Else it is in the first alone: a table of hundreds of sizes would
// take hours for what cannot be the best. One that is hopeless is not even in
// that.
const slow, hopeless = 4, 10

// failures end a program's part: after so many deaths and hangs it is not
// started again.
const failures = 3

// peakEvery is how often the ceiling is measured again; the best counts.
const peakEvery = 5 * time.Second

// measurement is a row with what the programs did.
type measurement struct {
	Op      string  `json:"op"`
	Role    string  `json:"role"`
	Shape   string  `json:"shape"`
	Args    string  `json:"args"` // of the protocol
	Threads int     `json:"threads"`
	FLOP    float64 `json:"flop,omitempty"`
	Bytes   float64 `json:"bytes,omitempty"`
	Images  float64 `json:"images,omitempty"`
	// Alone: the programs were too large for turns, and each ran all its rounds
	// while no other was there.
	Alone   bool               `json:"alone,omitempty"`
	Timings map[string]*timing `json:"programs"`

	Best     string  `json:"best_peer,omitempty"` // the peer with the least median
	Ratio    float64 `json:"ratio,omitempty"`     // median over the rounds of its time relative to ours
	Low      float64 `json:"low,omitempty"`       // the interval of that median
	High     float64 `json:"high,omitempty"`
	Coverage float64 `json:"coverage,omitempty"`
	Percent  float64 `json:"percent_of_ceiling,omitempty"` // ours
}

// timing is what a program did for a row.
type timing struct {
	Repetitions int       `json:"repetitions,omitempty"`
	Seconds     []float64 `json:"seconds,omitempty"` // of a call, by round
	Median      float64   `json:"median,omitempty"`
	Rate        float64   `json:"rate,omitempty"` // in the op's unit
	Memory      float64   `json:"peak_rss_bytes,omitempty"`
	Once        bool      `json:"once,omitempty"` // too slow for every round
	Lost        string    `json:"lost,omitempty"` // why there is no number
	Wrong       bool      `json:"wrong,omitempty"`
}

// pass is the work on one number of threads.
type pass struct {
	*comparison
	threads   int
	processes []*process // nil: not running
	versions  []string   // of those that ran
	failed    []int
	gone      []string // why a program takes no more part
}

// passResult is what came of it.
type passResult struct {
	rows     []*measurement
	peak     float64           // FLOP/s or bytes/s
	versions map[string]string // of the programs that ran
	gone     map[string]string // of those that ended before the end
	left     int               // rows for which the budget was too small
}

// run measures rows on a number of threads. Errors: ctx ended, and with it the
// result is what there is.
func (c *comparison) run(ctx context.Context, threads int, rows []row) (res passResult, err error) {
	n := len(c.programs)
	p := &pass{comparison: c, threads: threads, processes: make([]*process, n), versions: make([]string, n), failed: make([]int, n), gone: make([]string, n)}
	res = passResult{versions: map[string]string{}, gone: map[string]string{}}
	defer func() {
		for i := range p.processes {
			p.end(i)
			if p.gone[i] != "" {
				res.gone[c.programs[i].name] = p.gone[i]
			}
		}
		for _, m := range res.rows {
			m.summarize(c.op, c.programs, res.peak) // the best of all ceilings
		}
	}()
	begin, measured := time.Now(), time.Time{}
	for i := range rows {
		if c.budget > 0 && time.Since(begin) > c.budget {
			res.left = len(rows) - i
			return res, nil
		}
		if time.Since(measured) > peakEvery {
			res.peak = max(res.peak, c.peak(threads))
			measured = time.Now()
		}
		m, err := p.row(ctx, rows[i])
		for j, v := range p.versions {
			if v != "" {
				res.versions[c.programs[j].name] = v
			}
		}
		if err != nil {
			return res, err
		}
		res.rows = append(res.rows, m)
		m.summarize(c.op, c.programs, res.peak)
		c.log("threads %d, row %d of %d: %s", threads, i+1, len(rows), m.line())
	}
	return res, nil
}

// ask starts program i, unless it runs, and sends a request. Errors: the
// program's; what it did wrong is counted.
func (p *pass) ask(ctx context.Context, i int, request string) (string, error) {
	if p.gone[i] != "" {
		return "", errors.New(p.gone[i])
	}
	var answer string
	var err error
	if p.processes[i] == nil {
		if p.processes[i], err = p.programs[i].start(ctx, p.threads, p.limit); err == nil {
			p.versions[i] = p.processes[i].version
		}
	}
	if err == nil {
		answer, err = p.processes[i].ask(ctx, request, p.limit)
	}
	if _, ok := errors.AsType[refusal](err); err == nil || ok {
		return answer, err
	}
	started := p.processes[i] != nil
	p.end(i)
	if p.failed[i]++; ctx.Err() == nil && (!started || p.failed[i] == failures) {
		p.gone[i] = err.Error()
	}
	return "", err
}

// row measures every program for a row. Errors: of ctx alone; a program that
// fails loses the row.
func (p *pass) row(ctx context.Context, r row) (*measurement, error) {
	m := &measurement{
		Op: p.op.name, Role: r.role, Shape: r.shape, Args: r.args, Threads: p.threads,
		FLOP: r.flop, Bytes: r.bytes, Images: r.images, Timings: map[string]*timing{},
	}
	for _, q := range p.programs {
		m.Timings[q.name] = &timing{}
	}
	if all := r.memory * float64(len(p.programs)); all > 0 && all > p.available() {
		for i := range p.programs {
			p.end(i) // what they hold is of earlier rows
		}
		have := p.available()
		if r.memory > have {
			for i := range p.programs {
				p.timing(m, i).Lost = fmt.Sprintf("needs %.1f GB of memory, %.1f are available", r.memory/1e9, have/1e9)
			}
			return m, nil
		}
		m.Alone = all > have
	}
	verify := r.verifier()
	if m.Alone {
		return m, p.alone(ctx, r, m, verify)
	}
	return m, p.byTurns(ctx, r, m, verify)
}

// timing is what program i has done for a row.
func (p *pass) timing(m *measurement, i int) *timing { return m.Timings[p.programs[i].name] }

// end stops program i, if it runs.
func (p *pass) end(i int) {
	if p.processes[i] != nil {
		p.processes[i].stop()
		p.processes[i] = nil
	}
}

// alone measures one program after the other.
func (p *pass) alone(ctx context.Context, r row, m *measurement, verify func([]float64) error) error {
	for i := range p.programs {
		if _, err := p.prepare(ctx, i, r, m, verify); err != nil {
			return err
		}
		for range p.rounds {
			if err := p.turn(ctx, i, r, m); err != nil {
				return err
			}
		}
		p.remember(i, m)
		p.end(i)
	}
	return nil
}

// byTurns measures every program once a round, so that what the machine does
// slowly happens to all.
func (p *pass) byTurns(ctx context.Context, r row, m *measurement, verify func([]float64) error) error {
	calls := make([]float64, len(p.programs)) // the least seconds of one, calibration included
	for i := range p.programs {
		var err error
		if calls[i], err = p.prepare(ctx, i, r, m, verify); err != nil {
			return err
		}
	}
	p.dismiss(m, calls)
	for round := range p.rounds {
		for turn := range p.programs {
			i := (round + turn) % len(p.programs)
			if err := p.turn(ctx, i, r, m); err != nil {
				return err
			}
			if t := p.timing(m, i); len(t.Seconds) > round {
				calls[i] = min(calls[i], t.Seconds[round])
			}
		}
		if round > 0 || p.rounds == 1 {
			continue
		}
		fastest := p.fastestPeer(m, calls)
		for i, call := range calls[1:] { // ours is measured in every round
			if t := p.timing(m, 1+i); call > slow*fastest {
				t.Once = true
			}
		}
	}
	for i := range p.programs {
		p.remember(i, m)
	}
	return nil
}

// prepare checks and calibrates program i, and returns the seconds of a call.
// Errors: as row.
func (p *pass) prepare(ctx context.Context, i int, r row, m *measurement, verify func([]float64) error) (call float64, err error) {
	t := p.timing(m, i)
	err = p.check(ctx, i, r, verify)
	if _, wrong := errors.AsType[wrongAnswer](err); wrong {
		t.Wrong = true
	}
	if err == nil {
		t.Repetitions, call, err = p.calibrate(ctx, i, r)
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil {
		t.Lost = err.Error()
	} else {
		p.processes[i].clearPeak() // what compiling and checking took is not the op's
	}
	return call, nil
}

// turn measures program i once, unless it has lost the row. Errors: as row.
func (p *pass) turn(ctx context.Context, i int, r row, m *measurement) error {
	t := p.timing(m, i)
	if t.Lost != "" || t.Once {
		return nil
	}
	time.Sleep(p.settle)
	s, err := p.time(ctx, i, r, t.Repetitions)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		t.Lost = err.Error()
		return nil
	}
	t.Seconds = append(t.Seconds, s/float64(t.Repetitions))
	return nil
}

// remember notes how much memory program i took.
func (p *pass) remember(i int, m *measurement) {
	if t := p.timing(m, i); t.Lost == "" && p.processes[i] != nil {
		t.Memory = p.processes[i].peakMemory()
	}
}

// dismiss takes the calibration of a peer for its measurement if it is so slow
// that no disturbance explains it.
func (p *pass) dismiss(m *measurement, calls []float64) {
	fastest := p.fastestPeer(m, calls)
	for i, call := range calls[1:] {
		if t := m.Timings[p.programs[1+i].name]; t.Lost == "" && call > hopeless*fastest {
			t.Once, t.Seconds = true, []float64{call}
		}
	}
}

// fastestPeer is the least of the calls of the peers that still take part: one
// of them is always measured in full.
func (p *pass) fastestPeer(m *measurement, calls []float64) float64 {
	fastest := math.Inf(1)
	for i, call := range calls[1:] {
		if m.Timings[p.programs[1+i].name].Lost == "" {
			fastest = min(fastest, call)
		}
	}
	return fastest
}

// wrongAnswer is the error of a program that computed something else.
type wrongAnswer string

func (w wrongAnswer) Error() string { return "wrong: " + string(w) }

func (p *pass) check(ctx context.Context, i int, r row, verify func([]float64) error) error {
	answer, err := p.ask(ctx, i, request{verb: "check", threads: p.threads, op: p.op, args: r.args}.String())
	if err != nil {
		return err
	}
	values, err := parseValues(answer)
	if err == nil {
		err = verify(values)
	}
	if err != nil {
		return wrongAnswer(err.Error())
	}
	return nil
}

// time returns the seconds of a number of calls.
func (p *pass) time(ctx context.Context, i int, r row, repetitions int) (float64, error) {
	answer, err := p.ask(ctx, i, request{verb: "time", threads: p.threads, repetitions: repetitions, op: p.op, args: r.args}.String())
	if err != nil {
		return 0, err
	}
	values, err := parseValues(answer)
	if err != nil || len(values) != 1 || !(values[0] > 0) {
		return 0, fmt.Errorf("answered %.80q for a time", answer)
	}
	return values[0], nil
}

// calibrate finds how many calls take the least time of a measurement, and the
// seconds of one. A single call says too little where it is short, so it is
// asked for more until they take a tenth.
func (p *pass) calibrate(ctx context.Context, i int, r row) (repetitions int, call float64, err error) {
	least := p.least.Seconds()
	for n := 1; ; {
		s, err := p.time(ctx, i, r, n)
		if err != nil {
			return 0, 0, err
		}
		call = s / float64(n)
		if want := int(math.Ceil(least / call)); s >= least/10 || want <= n {
			return max(1, want), call, nil
		}
		n = min(64*n, max(2*n, int(math.Ceil(least/5/call))))
	}
}

// summarize fills in what follows from the timings; peak is in FLOP/s or, where
// memory is the op's ceiling, in bytes/s. Our rate
// and the ratio are medians, which one disturbed round does not move.
func (m *measurement) summarize(op operation, programs []program, peak float64) {
	for _, t := range m.Timings {
		if t.Lost != "" || len(t.Seconds) == 0 {
			continue
		}
		t.Median = stats.Median(t.Seconds)
		t.Rate = op.unit.amount(m) / t.Median
	}
	ours := m.Timings[programs[0].name]
	if ours.Median == 0 {
		return
	}
	m.Percent = 100 * op.unit.work(m) / ours.Median / peak
	var best *timing
	for _, p := range programs[1:] {
		if t := m.Timings[p.name]; t.Median > 0 && !t.Once && (best == nil || t.Median < best.Median) {
			best, m.Best = t, p.name
		}
	}
	if best == nil {
		return
	}
	// A round's measurements are neighbours in time, so their ratio is without
	// what the machine does slowly.
	ratios := make([]float64, min(len(best.Seconds), len(ours.Seconds)))
	for r := range ratios {
		ratios[r] = best.Seconds[r] / ours.Seconds[r]
	}
	m.Ratio = stats.Median(ratios)
	m.Low, m.High, m.Coverage = stats.MedianInterval(ratios)
}

// line is the row for the log.
func (m *measurement) line() string {
	if m.Ratio == 0 {
		return m.Shape + ": nothing to compare"
	}
	return fmt.Sprintf("%s: %.2f × %s", m.Shape, m.Ratio, m.Best)
}

// lostNames are the programs without a number, in order.
func (m *measurement) lostNames() (names []string) {
	for name, t := range m.Timings {
		if t.Lost != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"fuerte/aimv2"
)

// progress reports the steps of a run on standard error: on a terminal as one
// line that is written over, else as a line every few seconds.
type progress struct {
	mu     sync.Mutex
	out    *os.File
	live   bool // a terminal
	total  int
	batch  int
	flop   float64 // of one image
	peak   float64 // FLOP/s
	window []mark  // the last seconds, for the rates
	from   mark    // the beginning, for the time left
	shown  time.Time
	open   bool // the cursor stands behind a line that will be written over
}

// mark is a moment of the run.
type mark struct {
	at   time.Time
	step int
}

const (
	liveEvery  = 100 * time.Millisecond
	plainEvery = 5 * time.Second
	rateOver   = 5 * time.Second
)

// begin is called before the first step.
func (p *progress) begin(t *aimv2.Trainer, peak float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live = term.IsTerminal(int(p.out.Fd()))
	p.total, p.batch = t.Recipe.Steps, t.Recipe.Batch
	p.flop, p.peak = t.Recipe.TrainFLOP(), peak
	p.from = mark{time.Now(), t.Step}
	p.window = []mark{p.from}
}

// step reports the step just taken. The first and the last are always shown.
func (p *progress) step(m aimv2.Metrics) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := mark{time.Now(), m.Step + 1}
	p.window = append(p.window, now)
	for len(p.window) > 2 && now.at.Sub(p.window[1].at) >= rateOver {
		p.window = p.window[1:]
	}
	every := plainEvery
	if p.live {
		every = liveEvery
	}
	if now.at.Sub(p.shown) < every && now.step < p.total {
		return
	}
	p.shown = now.at
	if !p.live {
		fmt.Fprintln(p.out, p.line(m, now, math.MaxInt))
		return
	}
	width, _, err := term.GetSize(int(p.out.Fd()))
	if err != nil || width < 1 {
		width = 80
	}
	fmt.Fprintf(p.out, "\r%s\x1b[K", p.line(m, now, width-1))
	p.open = true
}

// line writes all that is known, or as much as has room: the last items go
// first, and what room is left becomes a bar.
func (p *progress) line(m aimv2.Metrics, now mark, width int) string {
	first := p.window[0]
	rate := float64((now.step-first.step)*p.batch) / now.at.Sub(first.at).Seconds()
	left := time.Duration(float64(now.at.Sub(p.from.at)) / float64(now.step-p.from.step) * float64(p.total-now.step))
	digits := len(fmt.Sprint(p.total))
	head := fmt.Sprintf("step %*d/%d", digits, now.step, p.total)
	items := []string{
		fmt.Sprintf("  pixel %.4f  text %.4f", m.Pixel, m.Text),
		fmt.Sprintf("  %s left", left.Round(time.Second)),
		fmt.Sprintf("  %.0f images/s", rate),
		fmt.Sprintf("  %.1f GFLOP/s", rate*p.flop/1e9),
		fmt.Sprintf(" (%.0f %% of peak)", 100*rate*p.flop/p.peak),
	}
	const order = "02341" // on the line; above by importance
	kept, used := make([]bool, len(items)), len(head)
	for i, s := range items {
		if used+len(s) > width {
			break
		}
		kept[i], used = true, used+len(s)
	}
	var b strings.Builder
	b.WriteString(head)
	const barMost, barLeast = 40, 8
	if room := width - used - 2; width < math.MaxInt && room >= barLeast {
		room = min(room, barMost)
		done := room * now.step / p.total
		b.WriteString("  " + strings.Repeat("━", done) + strings.Repeat("┄", room-done))
	}
	for _, c := range order {
		if i := int(c - '0'); kept[i] {
			b.WriteString(items[i])
		}
	}
	return b.String()
}

// say writes a line of its own.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		fmt.Fprintln(p.out)
		p.open = false
	}
	fmt.Fprintf(p.out, format+"\n", args...)
}

// end leaves the last line standing.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		fmt.Fprintln(p.out)
		p.open = false
	}
}

// interruptible returns a context that ends at the first SIGINT or SIGTERM,
// after a call of note; the second one ends the program.
func interruptible(note func()) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		note()
		<-signals
		os.Exit(int(interrupted))
	}()
	return ctx
}

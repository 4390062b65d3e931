package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"fuerte/bench/internal/stats"
	"fuerte/kernels"
)

// field is a field of a Tuning, and what its default is multiplied by to vary it.
type field struct {
	of      func(t *kernels.Tuning) *int
	factors []float64
}

var fields = []field{
	{func(t *kernels.Tuning) *int { return &t.BlockRows }, []float64{0.5, 0.75, 1.5, 2}},
	{func(t *kernels.Tuning) *int { return &t.Tasks }, []float64{0.5, 2, 4}},
	{func(t *kernels.Tuning) *int { return &t.TaskFLOP }, []float64{0.25, 4}},
	{func(t *kernels.Tuning) *int { return &t.ThinElements }, []float64{0.25, 4}},
}

// candidate is a Tuning with one field varied.
type candidate struct {
	field  field
	tuning kernels.Tuning
}

// candidates varies the fields of d, as far as their ranges allow.
func candidates(d kernels.Tuning) (out []candidate) {
	for _, f := range fields {
		for _, factor := range f.factors {
			t := d
			*f.of(&t) = int(factor * float64(*f.of(&d)))
			if t.Check() == nil {
				out = append(out, candidate{f, t})
			}
		}
	}
	return out
}

// tuner chooses a Tuning by what time says.
type tuner struct {
	products int
	// time returns the seconds of a product under a Tuning.
	time    func(product int, t kernels.Tuning) (float64, error)
	shuffle func(n int, swap func(i, j int))
	now     func() time.Time
}

// gain is how many times faster than the default a Tuning was: the median of the rounds,
// and the interval that holds it with the probability coverage.
type gain struct {
	median, low, high, coverage float64
}

// tune varies the fields one by one until the time half, and then holds what was best
// against the default, until end. It writes a table of both, and returns the choice and
// whether it is better by more than the noise.
//
// Errors: those of time and of ctx; not one round done in the time.
func (t *tuner) tune(ctx context.Context, half, end time.Time, w io.Writer) (chosen kernels.Tuning, better bool, err error) {
	chosen = kernels.DefaultTuning()
	list := []kernels.Tuning{chosen}
	varied := candidates(chosen)
	for _, c := range varied {
		list = append(list, c.tuning)
	}
	gains, rounds, err := t.gains(ctx, list, half)
	if err != nil {
		return chosen, false, err
	}
	fmt.Fprintf(w, "One field varied, %d rounds of %d products:\n\n", rounds, t.products)
	head(w)
	row(w, list[0], "default")
	best := map[*int]float64{}
	for i, c := range varied {
		g := gains[i+1]
		row(w, c.tuning, g.String())
		to := c.field.of(&chosen)
		if g.low > 1 && g.median > best[to] {
			best[to] = g.median
			*to = *c.field.of(&c.tuning)
		}
	}
	if len(best) == 0 {
		return chosen, false, nil
	}

	if gains, rounds, err = t.gains(ctx, []kernels.Tuning{list[0], chosen, list[0]}, end); err != nil {
		return chosen, false, err
	}
	fmt.Fprintf(w, "\nThe best of them together, measured anew, %d rounds:\n\n", rounds)
	head(w)
	row(w, chosen, gains[1].String())
	row(w, list[0], "default against itself: "+gains[2].String())
	return chosen, beats(gains[1], gains[2]), nil
}

// beats tells whether the gain of a choice is more than the noise, which is what the
// default gains, or loses, on itself. An interval of too few rounds proves nothing.
func beats(choice, itself gain) bool {
	noise := max(1, itself.high, 1/itself.low)
	return choice.coverage >= 0.95 && choice.low > noise
}

// gains measures Tunings against the first of them, by turns in a changing order, for as
// many rounds as end before the time.
func (t *tuner) gains(ctx context.Context, list []kernels.Tuning, end time.Time) (gains []gain, rounds int, err error) {
	ratios := make([][]float64, len(list)) // of each, a geometric mean a round
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	for {
		logs, seconds := make([]float64, len(list)), make([]float64, len(list))
		for p := range t.products {
			t.shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			for _, i := range order {
				if err := ctx.Err(); err != nil {
					return nil, 0, err
				}
				if !t.now().Before(end) {
					return summary(ratios, rounds)
				}
				if seconds[i], err = t.time(p, list[i]); err != nil {
					return nil, 0, err
				}
			}
			for i := range list {
				logs[i] += math.Log(seconds[0] / seconds[i])
			}
		}
		for i := range list {
			ratios[i] = append(ratios[i], math.Exp(logs[i]/float64(t.products)))
		}
		rounds++
	}
}

// summary turns the ratios of the rounds into gains.
func summary(ratios [][]float64, rounds int) (gains []gain, _ int, err error) {
	if rounds == 0 {
		return nil, 0, fmt.Errorf("no round was done in the time: -time is too short")
	}
	for _, r := range ratios {
		g := gain{median: stats.Median(r)}
		g.low, g.high, g.coverage = stats.MedianInterval(r)
		gains = append(gains, g)
	}
	return gains, rounds, nil
}

func (g gain) String() string {
	return fmt.Sprintf("%.3f [%.3f, %.3f], %.0f %%", g.median, g.low, g.high, 100*g.coverage)
}

func head(w io.Writer) {
	fmt.Fprintln(w, "| BlockRows | Tasks | TaskFLOP | ThinElements | gain |\n|---|---|---|---|---|")
}

func row(w io.Writer, t kernels.Tuning, gain string) {
	fmt.Fprintf(w, "| %d | %d | %d | %d | %s |\n", t.BlockRows, t.Tasks, t.TaskFLOP, t.ThinElements, gain)
}

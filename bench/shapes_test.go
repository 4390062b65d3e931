package bench

import (
	"math"
	"testing"

	"fuerte/aimv2"
)

// TestFLOP holds the list of linear maps, from which shapes and counts of the
// benchmarks come, to the model's own count.
func TestFLOP(t *testing.T) {
	for name, c := range aimv2.Presets {
		const batch = 3
		got, want := 3*(EncoderFLOP(c, batch)+decoderFLOP(c, batch)), batch*c.TrainFLOP()
		if math.Abs(got-want) > 1e-12*want {
			t.Errorf("%s: the linear maps and attention of a training step are %g FLOP, TrainFLOP is %g", name, got, want)
		}
	}
}

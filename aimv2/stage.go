package aimv2

import (
	"fmt"
	"slices"

	"fuerte/tensor"
)

// StartFrom sets the weights of a fresh run to those of a model. Where the run's
// grid of patches is another, the positions of the model are interpolated first,
// and the model is one for that grid from then on.
//
// Errors: a parameter that the model lacks or has in another shape.
func (t *Trainer) StartFrom(m *Model) error {
	if t.Step > 0 {
		return fmt.Errorf("aimv2: the run is at step %d, its weights are its own", t.Step)
	}
	from := map[string]*Var{}
	for _, p := range m.Params() {
		from[p.Name] = p.Var
	}
	grid := func(c Config) int { return c.ImageSize / c.PatchSize }
	if n := grid(t.Recipe.Model); n != grid(m.Config) {
		m.Encoder.InterpolatePositions(n, n)
	}
	for _, p := range t.Model.Params() {
		v, ok := from[p.Name]
		if !ok {
			return fmt.Errorf("aimv2: the model to start from has no %s", p.Name)
		}
		if !slices.Equal(v.Shape(), p.Shape()) {
			return fmt.Errorf("aimv2: the model to start from has %s as %v, this run as %v", p.Name, v.Shape(), p.Shape())
		}
		tensor.Copy(p.Value, v.Value)
	}
	return nil
}

package nn

import (
	"hash/fnv"
	"math"
	"math/rand/v2"

	"fuerte/tensor"
)

// Rand returns the generator of a parameter: a function of the seed and the
// name alone, so that the order of initialisation does not matter.
func Rand(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// fillRandom sets every element of a float32 parameter from next.
func fillRandom(v *Var, next func() float64) {
	x := make([]float32, v.Value.Len())
	for i := range x {
		x[i] = float32(next())
	}
	t := tensor.From(v.Value.Device(), x, v.Shape()...)
	tensor.Copy(v.Value, t)
	t.Release()
}

// Uniform draws from U(−bound, bound).
func Uniform(v *Var, r *rand.Rand, bound float64) {
	fillRandom(v, func() float64 { return (2*r.Float64() - 1) * bound })
}

// Normal draws from N(0, std²).
func Normal(v *Var, r *rand.Rand, std float64) {
	fillRandom(v, func() float64 { return r.NormFloat64() * std })
}

// XavierUniform draws from U(±√(6/(fanIn+fanOut))) for a weight seen as
// [out, rest]. Source: Glorot & Bengio 2010.
func XavierUniform(v *Var, r *rand.Rand) {
	out := v.Shape()[0]
	Uniform(v, r, math.Sqrt(6/float64(out+v.Value.Len()/out)))
}

// TruncatedNormal draws from N(0, 1) cut at ±2 and scales the result to have
// the given standard deviation; 0.8796… is that of the cut distribution.
func TruncatedNormal(v *Var, r *rand.Rand, std float64) {
	const cutStd = 0.87962566103423978
	fillRandom(v, func() float64 {
		for {
			if x := r.NormFloat64(); math.Abs(x) <= 2 {
				return x * std / cutStd
			}
		}
	})
}

package main

import "math"

func halfFamily(file *File) {
	f := file.Func("FromBF16NEON", "func(y []float32, x []uint16)",
		"FromBF16NEON sets y = x, exactly. Contract: kernels.Set.FromBF16.")
	y, x, n := f.Ptr("y"), f.Ptr("x"), f.Len("y")
	// That −0 is added changes nothing but makes a NaN quiet.
	negativeZero := f.Broadcasts(float32(math.Copysign(0, -1)))
	zero := f.V()
	f.ZERO(zero)
	f.blocks(n, 4, func(b block) {
		v := b.widen(b.loadHalves(x), func(d, n V) { f.ZIP1H(d, zero, n) }, func(d, n V) { f.ZIP2H(d, zero, n) })
		b.store(y, f.each((*Func).FADD, v, negativeZero))
	})
	f.RET()

	f = file.Func("ToBF16NEON", "func(y []uint16, x []float32)",
		"ToBF16NEON sets y = x, rounded to nearest, ties to even. Contract: kernels.Set.ToBF16.")
	y, x, n = f.Ptr("y"), f.Ptr("x"), f.Len("y")
	c := f.Broadcasts(math.Float32frombits(1), math.Float32frombits(0x7fff), math.Float32frombits(0x00400000))
	f.blocks(n, 4, func(b block) {
		v := b.load(x)
		for i := range v {
			v[i] = f.roundBF16(v[i], c[0], c[1], c[2])
		}
		b.storeHalves(y, v, f.UZP2H)
	})
	f.RET()

	f = file.Func("FromF16NEON", "func(y []float32, x []uint16)",
		"FromF16NEON sets y = x, exactly. Contract: kernels.Set.FromF16.")
	y, x, n = f.Ptr("y"), f.Ptr("x"), f.Len("y")
	f.blocks(n, 4, func(b block) { b.store(y, b.widen(b.loadHalves(x), f.FCVTL, f.FCVTL2)) })
	f.RET()

	f = file.Func("ToF16NEON", "func(y []uint16, x []float32)",
		"ToF16NEON sets y = x, rounded to nearest, ties to even. Contract: kernels.Set.ToF16.")
	y, x, n = f.Ptr("y"), f.Ptr("x"), f.Len("y")
	f.blocks(n, 4, func(b block) {
		b.storeHalves(y, b.load(x), func(d, low, high V) {
			f.FCVTN(d, low)
			if high != low {
				f.FCVTN2(d, high)
			}
		})
	})
	f.RET()

	zipBF16(file)
}

// zipBF16 emits pairs of BF16, which multiply as gemmTile says.
func zipBF16(file *File) {
	f := file.Func("ZipBF16NEON", "func(y []float32, lo, hi []uint16)",
		"ZipBF16NEON sets y[i] to the pair of lo[i] and hi[i], the upper half.",
		"Contract: kernels.Set.ZipBF16.")
	y, lo, hi, n := f.Ptr("y"), f.Ptr("lo"), f.Ptr("hi"), f.Len("y")
	f.blocks(n, 4, func(b block) {
		l, h := b.loadHalves(lo), b.loadHalves(hi)
		d := f.Vs(b.n)
		for i := range d {
			zip := f.ZIP1H
			if i%2 != 0 {
				zip = f.ZIP2H
			}
			zip(d[i], l[i/2], h[i/2])
		}
		b.store(y, d)
	})
	f.RET()
}

// roundBF16 returns what has the bfloat16 nearest to each lane of x in its upper
// half: half an ULP is added, less if the result would be even; a NaN is made
// quiet instead. BFCVTN is of ARMv8.6.
func (f *Func) roundBF16(x, lastBit, belowHalf, quietBit V) V {
	odd, sum, nan, number := f.V(), f.V(), f.V(), f.V()
	f.USHR(odd, x, 16)
	f.AND(odd, odd, lastBit)
	f.ADD4(sum, x, belowHalf)
	f.ADD4(sum, sum, odd)
	f.ORR(nan, x, quietBit)
	f.FCMEQ(number, x, x)
	f.BIF(sum, nan, number)
	return sum
}

// loadHalves reads the 16-bit elements of a block, eight in a register, and steps
// past them; of a block of four, or of one, the rest is zeros.
func (b block) loadHalves(p R) []V {
	switch {
	case b.scalar:
		return []V{b.LoadHP(p)}
	case b.n == 1:
		return []V{b.LoadDP(p)}
	}
	v, w := b.LoadPairP(p)
	return []V{v, w}
}

// widen gives the floats of a block: low those of the lower half of a register,
// high those of the upper.
func (b block) widen(x []V, low, high func(d, n V)) []V {
	d := b.Vs(b.n)
	for i := range d {
		if i%2 == 0 {
			low(d[i], x[i/2])
		} else {
			high(d[i], x[i/2])
		}
	}
	return d
}

// storeHalves writes the floats of a block as 16-bit elements and steps past them.
// join makes one register of two, or, where there is only one, the lower half of
// a register of twice the same.
func (b block) storeHalves(p R, x []V, join func(d, low, high V)) {
	var h []V
	for i := 0; i < b.n; i += 2 {
		d := b.V()
		join(d, x[i], x[min(i+1, b.n-1)])
		h = append(h, d)
	}
	switch {
	case b.scalar:
		b.StoreHP(p, h[0])
	case b.n == 1:
		b.StoreDP(p, h[0])
	default:
		b.StorePairP(p, h[0], h[1])
	}
}

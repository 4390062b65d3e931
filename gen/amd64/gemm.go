package main

import (
	"fmt"

	op "github.com/mmcloughlin/avo/operand"
)

func gemmFamily(e *emitter) {
	e.gemmTile(avx2, 6, 2, 4)
	e.gemmTile(avx512, 14, 2, 4)
}

// gemmTile emits C[mr×nr] = A·B or += A·B on packed micro-panels, nr being cols
// vectors; the model is kernels.refTile4x4 with another tile.
//
// Contract:  kernels.Tile.
// Registers: mr·cols sums; cols vectors of one row of B; one element of A in all
// lanes, of which renaming makes as many as are in flight.
// 6×16: 12 + 2 + 1 = 15 Y. 14×32: 28 + 2 + 1 = 31 Z.
// Loop:      unroll steps of k a pass, then 1 a pass; per step mr broadcasts,
// cols loads and mr·cols FMAs. C is prefetched first, so that the adds at the
// end find it. Needs: AVX and FMA3, or AVX512F.
//
// On Zen 4, k = 256, operands in L1 and L2: 6×16 and 4×24 run at 99.8 % of the
// register-only loop, 14×32 at 99.0, 12×32, 9×48, 8×48 and 6×64 at 99.2 … 99.4;
// unrolling by 2 or 8 changes nothing that can be measured.
func (e *emitter) gemmTile(v vectors, mr, cols, unroll int) {
	nr := cols * v.lanes
	name := fmt.Sprintf("GemmTile%dx%d%s", mr, nr, v.suffix)
	e.text(name, "func(k int, a, b, c *float32, ldc int, accumulate bool)",
		fmt.Sprintf("%s sets the %d×%d block C[i·ldc+j] = Σ_p a[p·%d+i]·b[p·%d+j], p < k,", name, mr, nr, mr, nr),
		"or adds to it if accumulate. It works like kernels.refTile4x4, see kernels.Tile.")
	k, a, b, c, ldc := e.gp("k"), e.gp("a"), e.gp("b"), e.gp("c"), e.gp("ldc")
	e.SHLQ(op.Imm(2), ldc)

	row := e.GP64()
	e.MOVQ(c, row)
	for i := range mr {
		e.PREFETCHT0(at(row, 0))
		e.PREFETCHT0(at(row, nr-1))
		if i < mr-1 {
			e.ADDQ(ldc, row)
		}
	}
	sum := v.take(e, mr*cols)
	for _, s := range sum {
		v.zero(e, s)
	}
	bs, a0 := v.take(e, cols), v.take(e, 1)[0]
	step := func(p int) {
		for j := range cols {
			e.VMOVUPS(at(b, p*nr+j*v.lanes), bs[j])
		}
		for i := range mr {
			e.VBROADCASTSS(at(a, p*mr+i), a0)
			for j := range cols {
				e.VFMADD231PS(bs[j], a0, sum[i*cols+j])
			}
		}
	}
	for _, n := range []int{unroll, 1} {
		e.repeat(k, n, func() {
			for p := range n {
				step(p)
			}
			e.ADDQ(op.U32(uint32(4*mr*n)), a)
			e.ADDQ(op.U32(uint32(4*nr*n)), b)
		})
	}

	accumulate := e.GP8()
	e.Load(e.Param("accumulate"), accumulate)
	store := func(add bool) {
		for i := range mr {
			for j := range cols {
				s := sum[i*cols+j]
				if add {
					e.VADDPS(at(c, j*v.lanes), s, s)
				}
				e.VMOVUPS(s, at(c, j*v.lanes))
			}
			if i < mr-1 {
				e.ADDQ(ldc, c)
			}
		}
		e.ret()
	}
	set := e.label("set")
	e.TESTB(accumulate, accumulate)
	e.JZ(op.LabelRef(set))
	store(true)
	e.Label(set)
	store(false)
}

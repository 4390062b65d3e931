package kernels

import (
	"math"
	"sync"
)

// logitsAtOnce bounds the logits that LinearCrossEntropy holds, in elements: 16 MiB
// of float32. Whatever vocabulary, all logits of a row must be there before its
// gradient is, so rows are what the work is cut by. With r of them at a time w is
// read twice, and gw read and written once, for 6·r·v·d FLOP: 3/8·r FLOP a byte, 32
// with v = 49408, where a core does about 6 in the time of a byte. To cut v instead
// would take a fourth product, since gw needs the whole sum of each row before its
// first term.
var logitsAtOnce = 1 << 22

// LinearCrossEntropy sets loss[i] = ln Σ_j e^z[i,j] − z[i,target[i]] for the logits
// z = x·wᵀ, or 0 where target[i] is negative (an ignored row), and the gradients of
// Σ_i weight[i]·loss[i]: with
//
//	g[i,j] = weight[i]·(e^z[i,j]/Σ_j e^z[i,j] − [j = target[i]]),  0 in ignored rows,
//
// gx = g·w and gw = gᵀ·x. Neither z nor g is ever whole in memory.
//
// Shapes: x, gx [n, d], w, gw [v, d], contiguous; loss, target, weight [n]. gx and gw
// may be nil: what is not asked for is not computed.
// Memory: results overlap neither each other nor operands. Scratch for 2²² logits, or
// one row of them where that is more, besides that of Gemm.
// Error: with A_i = max_j Σ|x_i·w_j|, p the softmax of z, q = |weight_i|·(p_ij +
// [j = target_i]) and R_i = u·((3·d+8)·A_i + v/16 + 64) below 1,
//
//	|err loss_i| ≤ R_i
//	|err gx_ik| ≤ 2·Σ_j ((R_i + v·u)·q_ij + 1.2e-38·(1+|weight_i|))·|w_jk|
//	|err gw_jk| ≤ 2·Σ_i ((R_i + 2·n·u)·q_ij + 1.2e-38·(1+|weight_i|))·|x_ik|
//
// and 1.5e-45·(v+n) for underflow.
// Values: as CrossEntropy of z: NaN or Inf in x reaches gx of its row and all of gw,
// NaN in w all rows. What an ignored row holds reaches nothing.
// Bits: the same for any GOMAXPROCS; they follow from the level, the shape, and which
// rows are ignored.
// Panics: *ShapeError as CrossEntropy, if a slice is short or a size is below 1 (n: 0).
// Cost: 2·v·d FLOP for each row that is not ignored, and as many for gx and for gw.
func LinearCrossEntropy[T Float](s *Set[T], loss, gx, gw, x, w []T, target []int32, weight []T, n, d, v int) {
	const op = "linear-crossentropy"
	checkRows(op, n, d, len(x))
	checkRows(op, v, d, len(w))
	if gx != nil {
		checkRows(op, n, d, len(gx))
	}
	if gw != nil {
		checkRows(op, v, d, len(gw))
	}
	if v < 1 || len(loss) < n || len(target) < n || len(weight) < n {
		shapeCheck(false, op, "%d classes, or short loss, target or weight", v)
	}
	target = target[:n]
	checkTargets(op, target, v)

	list, ok := rowLists.Get().(*[]int)
	if !ok {
		list = new([]int)
	}
	defer rowLists.Put(list)
	counted := (*list)[:0] // rows that are not ignored
	for i, t := range target {
		if t >= 0 {
			counted = append(counted, i)
			continue
		}
		loss[i] = 0
		if gx != nil {
			clear(gx[i*d : (i+1)*d])
		}
	}
	*list = counted // which may have grown
	if gw != nil && len(counted) == 0 {
		clear(gw[:v*d])
	}
	if len(counted) == 0 {
		return
	}
	// Chunks of one size, in whole tiles.
	most, mr := max(1, logitsAtOnce/max(v, d)), s.Tile.MR
	if most >= mr {
		most = wholeTiles(most, mr)
	}
	chunks := (len(counted) + most - 1) / most
	most = min(most, roundUp((len(counted)+chunks-1)/chunks, mr), len(counted))

	logits, packed := scratch[T](most*v), scratch[T](most*d)
	defer logits.free()
	defer packed.free()
	for lo := 0; lo < len(counted); lo += most {
		rows := counted[lo:min(lo+most, len(counted))]
		m := len(rows)
		z, xs := logits.mem[:m*v], packed.mem[:m*d]
		for r, i := range rows {
			copy(xs[r*d:(r+1)*d], x[i*d:])
		}
		Gemm(s, false, true, m, v, d, xs, d, w, d, z, v, false)
		RowsOf(m, v, linearLosses[T]{s, z, loss, weight, target, rows, v, gx != nil || gw != nil})
		if gw != nil {
			Gemm(s, true, false, v, d, m, z, v, xs, d, gw, d, lo > 0)
		}
		if gx != nil {
			Gemm(s, false, false, m, d, v, z, v, w, d, xs, d, false)
			for r, i := range rows {
				copy(gx[i*d:(i+1)*d], xs[r*d:])
			}
		}
	}
}

// rowLists are lists of rows to be used again.
var rowLists sync.Pool // of *[]int

// linearLosses are the rows of a chunk of logits z, which become the gradients for them.
type linearLosses[T Float] struct {
	s               *Set[T]
	z, loss, weight []T
	target          []int32
	rows            []int // of loss, weight and target
	v               int
	grad            bool
}

// Run does rows lo…hi of the chunk.
func (c *linearLosses[T]) Run(lo, hi int) {
	for r := lo; r < hi; r++ {
		i := c.rows[r]
		row, t := c.z[r*c.v:(r+1)*c.v], c.target[i]
		top, at := maxVector(c.s, row), row[t]
		sum := expSubVector(c.s, row, row, top)
		c.loss[i] = top + T(math.Log(float64(sum))) - at
		if !c.grad {
			continue
		}
		eachChunk(c.v, func(lo, hi int) { c.s.Scale(row[lo:hi], row[lo:hi], c.weight[i]/sum) })
		row[t] -= c.weight[i]
	}
}

package kernels

import (
	"fmt"
	"math"
)

// Int8Matrix is W [N, K] as integers times scales:
//
//	Ŵ[i,j] = Scale[i·⌈K/Group⌉ + ⌊j/Group⌋] · Data[i·K + j]
//
// Shapes: Data [N, K], Scale [N, ⌈K/Group⌉], without gaps; Group ≥ 1 columns of a row
// share a scale.
type Int8Matrix struct {
	N, K, Group int
	Data        []int8
	Scale       []float32
}

// WeightError is a weight that has no nearest integer: NaN or ±Inf.
type WeightError struct {
	Row, Column int
	Value       float32
}

func (e *WeightError) Error() string {
	return fmt.Sprintf("kernels: quantize: weight [%d, %d] is %v", e.Row, e.Column, e.Value)
}

// Quantize returns W with the nearest integers, ties to even, and for each group of
// columns of a row, or for each row if group is 0,
//
//	Scale = max|w|/127      Data = w/Scale, 0 where Scale is
//
// Shapes: W [n, k], ld its row stride.
// Error: |ŵ−w| ≤ 0.50001·Scale + 9e-44 per element: a half, what ŵ is rounded by, and
// what a denormal Scale is.
// Errors: *WeightError if a weight is NaN or ±Inf.
// Panics: *ShapeError if a slice is short, a stride is smaller than a row, a size is
// negative, or the group is or has more than k columns.
func Quantize(w []float32, n, k, ld, group int) (*Int8Matrix, error) {
	const op = "quantize"
	if n < 0 || k < 0 || group < 0 || group > k {
		shapeCheck(false, op, "n=%d k=%d in groups of %d", n, k, group)
	}
	checkMatrix(op, "W", n, k, ld, len(w))
	if group == 0 {
		group = max(k, 1)
	}
	q := &Int8Matrix{N: n, K: k, Group: group}
	if k == 0 {
		return q, nil
	}
	q.Data, q.Scale = make([]int8, n*k), make([]float32, n*q.groups())
	for i := range n {
		row := w[i*ld:][:k]
		for from := 0; from < k; from += group {
			part := row[from:min(from+group, k)]
			largest := float32(0)
			for j, v := range part {
				if v-v != 0 {
					return nil, &WeightError{i, from + j, v}
				}
				largest = max(largest, v, -v)
			}
			scale := largest / 127
			if scale*127 > math.MaxFloat32 { // rounded up, of the largest float32
				scale = math.Nextafter32(scale, 0)
			}
			q.Scale[i*q.groups()+from/group] = scale
			if scale == 0 {
				continue
			}
			for j, v := range part {
				x := math.RoundToEven(float64(v) / float64(scale))
				q.Data[i*k+from+j] = int8(min(max(x, -127), 127)) // beyond only by the rounding of a denormal scale
			}
		}
	}
	return q, nil
}

// groups counts the scales of a row.
func (w *Int8Matrix) groups() int { return (w.K-1)/w.Group + 1 }

// check panics unless w has the shape that it says.
func (w *Int8Matrix) check(op string) {
	switch {
	case w == nil:
		shapeCheck(false, op, "no matrix of int8")
	case w.N < 0 || w.K < 0 || w.Group < 1:
		shapeCheck(false, op, "%d×%d of int8 in groups of %d", w.N, w.K, w.Group)
	case w.K > 0:
		checkMatrix(op, "int8", w.N, w.K, w.K, len(w.Data))
		checkMatrix(op, "scales", w.N, w.groups(), w.groups(), len(w.Scale))
	}
}

// widen sets dst to what is stored from at on, within a row.
func (w *Int8Matrix) widen(s *Set[float32], dst []float32, at int) {
	scales, j := w.Scale[at/w.K*w.groups():], at%w.K
	for len(dst) > 0 {
		n := min(len(dst), w.Group-j%w.Group)
		s.FromInt8(dst[:n], w.Data[at:], scales[j/w.Group])
		dst, at, j = dst[n:], at+n, j+n
	}
}

// Dequantize sets the matrix dst, with row stride ld, to Ŵ.
//
// Error: correctly rounded. Panics: *ShapeError if a slice is short or a stride is
// smaller than a row.
func (w *Int8Matrix) Dequantize(s *Set[float32], dst []float32, ld int) {
	const op = "dequantize"
	w.check(op)
	checkMatrix(op, "the result", w.N, w.K, ld, len(dst))
	if w.K == 0 {
		return
	}
	Rows(w.N, w.K, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			w.widen(s, dst[i*ld:][:w.K], i*w.K)
		}
	})
}

// int8Rows are the most rows of A for which Ŵ is widened in registers, and not once
// for all of them: two conversions and a product are more than a load.
const int8Rows = 4

// GemmInt8 sets C = e(A·Ŵᵀ), or C = A·Ŵᵀ where e is nil. Ŵ is widened a block in
// cache at a time, or in registers where A has few rows.
//
// Shapes: A [m, K], C [m, N]; lda, ldc are their row strides.
// Memory: as Gemm.
// Error: as GemmFused with Ŵ, whose elements are correctly rounded, for B; against the
// weights that Quantize was given, Σ|a|·|ŵ−w| more.
// Bits: those of GemmFused on what Dequantize gives.
// Panics: as GemmFused, and if w has not the shape that it says.
func GemmInt8(s *Set[float32], m int, a []float32, lda int, w *Int8Matrix, c []float32, ldc int, e *Epilogue[float32]) {
	const op = "gemm-int8"
	w.check(op)
	e.check(op, m, w.N)
	g := newGemm(s, op, false, m, w.N, w.K, len(a), lda, c, ldc)
	g.setB(op, true, len(w.Data), w.K)
	g.a, g.epilogue = a, e
	g.wideB = func(dst []float32, at int) { w.widen(s, dst, at) }
	if s.DotsInt8 != nil && m <= int8Rows && (w.Group%8 == 0 || w.Group == w.K) {
		g.narrowDots = func(m, n int, a *float32, lda, j int, c *float32, ldc int) {
			s.DotsInt8(m, n, w.K, a, lda, &w.Data[j*w.K], w.K, &w.Scale[j*w.groups()], w.groups(), w.Group, c, ldc, false)
		}
	}
	g.run()
}

// PackInt8 is PackedB.Pack for Ŵᵀ.
//
// Error: correctly rounded.
// Panics: *ShapeError if w has not the shape that it says.
func PackInt8(p *PackedB[float32], s *Set[float32], w *Int8Matrix) {
	const op = "pack-b"
	w.check(op)
	g := newGemm(s, op, false, 0, w.N, w.K, 0, w.K, nil, w.N)
	g.m = 1 // B is read, whatever rows come
	g.setB(op, true, len(w.Data), w.K)
	g.wideB = func(dst []float32, at int) { w.widen(s, dst, at) }
	p.pack(g)
}

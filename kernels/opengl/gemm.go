//go:build opengl

package opengl

import (
	_ "embed"
	"fmt"
)

//go:embed gemm.comp
var gemmSource string

var gemmShaders = [2][2]*shader{ // [transA][transB]
	{newShader("gemm-nn", gemmSource, ""), newShader("gemm-nt", gemmSource, "#define TRANS_B")},
	{newShader("gemm-tn", gemmSource, "#define TRANS_A"), newShader("gemm-tt", gemmSource, "#define TRANS_A\n#define TRANS_B")},
}

// Gemm sets C = op(A)·op(B), or C += op(A)·op(B) if accumulate; op transposes if
// transA or transB is set. Model: kernels.refGemm.
//
// Shapes: op(A) [m, k], op(B) [k, n], C [m, n]; lda, ldb, ldc are the row strides
// of the matrices as stored, in elements.
// Memory: C overlaps neither input; its gaps are neither read nor written.
// Error: |err| ≤ (k+1)·u·Σ|a·b| (+ u·|C| if accumulate).
// Cost: 2·m·n·k FLOP.
func (c *Context) Gemm(transA, transB bool, m, n, k int, a Buffer, lda int, b Buffer, ldb int, out Buffer, ldc int, accumulate bool) error {
	return c.GemmBatch(1, transA, transB, m, n, k, a, lda, 0, b, ldb, 0, out, ldc, 0, accumulate)
}

// GemmBatch is Gemm for every z < batch on matrices that start batchA·z,
// batchB·z and batchC·z elements into their buffers. A stride of 0 shares A or B
// among all z.
func (c *Context) GemmBatch(batch int, transA, transB bool, m, n, k int, a Buffer, lda, batchA int, b Buffer, ldb, batchB int, out Buffer, ldc, batchC int, accumulate bool) error {
	if m < 0 || n < 0 || k < 0 || batch < 0 || batchA < 0 || batchB < 0 || batchC < 0 {
		return fmt.Errorf("opengl: gemm: negative size or stride: m=%d n=%d k=%d batch=%d", m, n, k, batch)
	}
	if m == 0 || n == 0 || batch == 0 {
		return nil
	}
	if k == 0 {
		a, b = out, out // not read
	} else {
		aRows, aCols := m, k
		if transA {
			aRows, aCols = k, m
		}
		bRows, bCols := k, n
		if transB {
			bRows, bCols = n, k
		}
		if err := needMatrix("gemm", batch, batchA, aRows, aCols, lda, a); err != nil {
			return err
		}
		if err := needMatrix("gemm", batch, batchB, bRows, bCols, ldb, b); err != nil {
			return err
		}
	}
	if err := needMatrix("gemm", batch, batchC, m, n, ldc, out); err != nil {
		return err
	}
	s := gemmShaders[index(transA)][index(transB)]
	return c.dispatch(s, (n+63)/64, (m+63)/64, min(batch, maxGroups), []Buffer{out, a, b},
		integer(m), integer(n), integer(k), integer(lda), integer(ldb), integer(ldc), boolean(accumulate),
		integer(batch), integer(batchA), integer(batchB), integer(batchC))
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// needMatrix returns an error unless batch matrices of rows×cols, with row
// stride ld, lie in b.
func needMatrix(op string, batch, step, rows, cols, ld int, b Buffer) error {
	if ld < cols {
		return fmt.Errorf("opengl: %s: row stride %d is smaller than the %d columns", op, ld, cols)
	}
	return need(op, (batch-1)*step+(rows-1)*ld+cols, b)
}

//go:build opengl

package opengl

import _ "embed"

//go:embed argmax.comp
var argmaxSource string

//go:embed topk.comp
var topkSource string

//go:embed cumsum.comp
var cumsumSource string

//go:embed take.comp
var takeSource string

//go:embed put.comp
var putSource string

// Shaders in two types: [int32].
var (
	argmaxShaders = [2]*shader{newShader("argmax", argmaxSource, ofFloat), newShader("argmax-int", argmaxSource, ofInt)}
	topkShaders   = [2]*shader{newShader("topk", topkSource, ofFloat), newShader("topk-int", topkSource, ofInt)}
	cumsumShaders = [2]*shader{newShader("cumsum", cumsumSource, ofFloat), newShader("cumsum-int", cumsumSource, ofInt)}
	putShaders    = [2]*shader{newShader("put", putSource, ofFloat), newShader("put-int", putSource, ofInt)}
	takeShader    = newShader("take", takeSource, "")
)

// The ops below see x as [outer, n, inner], contiguous, of float32 or, if ints
// is set, of int32. Models: the ops of package tensor on the CPU.

// ArgMax sets y[o,i] (int32) to the j of the largest x[o,j,i]: the first of
// equals, the first NaN if there is one. n ≥ 1.
func (c *Context) ArgMax(ints bool, y, x Buffer, outer, n, inner int) error {
	if outer*inner == 0 {
		return nil
	}
	if err := needAll("argmax", []int{outer * inner, outer * max(n, 1) * inner}, y, x); err != nil {
		return err
	}
	return c.dispatch(argmaxShaders[index(ints)], groups(outer*inner, 64), 1, 1, []Buffer{y, x}, integer(outer), integer(n), integer(inner))
}

// TopK sets y [rows, k] to the k largest of every row of x [rows, n], in falling
// order, and id (int32) to where they stand. NaN counts as the largest; of
// equals the one that stands first comes first. k ≤ n. Cost: k passes over x.
func (c *Context) TopK(ints bool, y, id, x Buffer, rows, n, k int) error {
	if rows*k == 0 {
		return nil
	}
	if err := needAll("topk", []int{rows * k, rows * k, rows * max(n, k)}, y, id, x); err != nil {
		return err
	}
	return c.dispatch(topkShaders[index(ints)], groups(rows, 64), 1, 1, []Buffer{y, id, x}, integer(rows), integer(n), integer(k))
}

// CumSum sets y[o,j,i] = Σ x[o,l,i] over l ≤ j, or over l ≥ j if reverse. y may
// be x. Error: float32 ≤ 2u·|y| + n²·u²·Σ|x|; int32 wraps.
func (c *Context) CumSum(ints bool, y, x Buffer, outer, n, inner int, reverse bool) error {
	if outer*n*inner == 0 {
		return nil
	}
	if err := need("cumsum", outer*n*inner, y, x); err != nil {
		return err
	}
	return c.dispatch(cumsumShaders[index(ints)], groups(outer*inner, 64), 1, 1, []Buffer{y, x},
		integer(outer), integer(n), integer(inner), boolean(reverse))
}

// TakeAlong sets y[o,j,i] = x[o,id[o,j,i],i] for y and id (int32) of [outer, m,
// inner]; 4-byte elements are moved as they are. An id outside [0, n), which the
// host cannot see, gives NaN.
func (c *Context) TakeAlong(y, x, id Buffer, outer, m, n, inner int) error {
	total := outer * m * inner
	if total == 0 {
		return nil
	}
	if err := needAll("take", []int{total, outer * n * inner, total}, y, x, id); err != nil {
		return err
	}
	if n == 0 {
		x = y // not read
	}
	return c.dispatch(takeShader, groups(total, 256), 1, 1, []Buffer{y, x, id}, integer(total), integer(m), integer(n), integer(inner))
}

// PutAlongAdd sets gx [outer, n, inner] to zero and adds gy[o,l,i] to
// gx[o,id[o,l,i],i] in order of l, for gy and id (int32) of [outer, m, inner].
// Ids outside [0, n) are passed over. Cost: m reads for each element of gx.
func (c *Context) PutAlongAdd(ints bool, gx, gy, id Buffer, outer, m, n, inner int) error {
	total := outer * n * inner
	if total == 0 {
		return nil
	}
	if err := needAll("put", []int{total, outer * m * inner, outer * m * inner}, gx, gy, id); err != nil {
		return err
	}
	return c.dispatch(putShaders[index(ints)], groups(total, 256), 1, 1, []Buffer{gx, gy, id}, integer(total), integer(m), integer(n), integer(inner))
}

package kernels

import "unsafe"

// refTile keeps sixteen sums in locals, in the order of p: as fast as plain Go
// gets without spilling, and the micro-kernel of the purego build. MR = NR = 4.
func refTile[T Float](m, n, k int, a *T, strip, row, col int, b *T, ldb int, c *T, ldc int, accumulate bool) {
	const mr = 4
	for i := 0; i < m; i += mr {
		h := min(mr, m-i)
		as := unsafe.Slice(offset(a, i/mr*strip), (h-1)*row+(k-1)*col+1)
		bs := unsafe.Slice(b, (k-1)*ldb+n)
		var s [4][4]T
		if h == mr && n == 4 && row == 1 {
			for {
				a0, b0 := as[:mr], bs[:4]
				for r, v := range a0 {
					s[r][0] += v * b0[0]
					s[r][1] += v * b0[1]
					s[r][2] += v * b0[2]
					s[r][3] += v * b0[3]
				}
				if len(as) <= col || len(bs) <= ldb {
					break
				}
				as, bs = as[col:], bs[ldb:]
			}
		} else {
			for p := range k {
				for r := range h {
					v := as[r*row+p*col]
					for j, x := range bs[p*ldb : p*ldb+n] {
						s[r][j] += v * x
					}
				}
			}
		}
		for r := range h {
			dst := unsafe.Slice(offset(c, (i+r)*ldc), n)
			for j := range dst {
				if accumulate {
					dst[j] += s[r][j]
				} else {
					dst[j] = s[r][j]
				}
			}
		}
	}
}

func refDots[T Float](m, n, k int, a *T, lda int, b *T, ldb int, c *T, ldc int, accumulate bool) {
	for j := range n {
		y := unsafe.Slice(offset(b, j*ldb), k)
		for i := range m {
			to, sum := offset(c, i*ldc+j), refDot(unsafe.Slice(offset(a, i*lda), k), y)
			if accumulate {
				sum += *to
			}
			*to = sum
		}
	}
}

// offset is the address n elements behind p.
func offset[T any](p *T, n int) *T {
	return (*T)(unsafe.Add(unsafe.Pointer(p), uintptr(n)*unsafe.Sizeof(*p)))
}

func refPackRows[T Float](dst, src []T, ld, k, w, width int) {
	for p := range k {
		d := dst[p*width : p*width+width]
		clear(d[copy(d, src[p*ld:p*ld+w]):])
	}
}

func refPackCols[T Float](dst, src []T, ld, k, w, width int) {
	for i := range w {
		for p, v := range src[i*ld : i*ld+k] {
			dst[p*width+i] = v
		}
	}
	for i := w; i < width; i++ {
		for p := range k {
			dst[p*width+i] = 0
		}
	}
}

// refGemm is the definition of Gemm: one float64 sum per element, in order of p.
func refGemm[T Float](transA, transB bool, m, n, k int, a []T, lda int, b []T, ldb int, c []T, ldc int, accumulate bool) {
	for i := range m {
		for j := range n {
			var s float64
			for p := range k {
				ai, bi := i*lda+p, p*ldb+j
				if transA {
					ai = p*lda + i
				}
				if transB {
					bi = j*ldb + p
				}
				s += float64(a[ai]) * float64(b[bi])
			}
			if accumulate {
				s += float64(c[i*ldc+j])
			}
			c[i*ldc+j] = T(s)
		}
	}
}

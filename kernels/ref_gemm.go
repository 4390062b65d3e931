package kernels

import "unsafe"

// refTile4x4 keeps sixteen sums in locals, in the order of p: as fast as plain
// Go gets without spilling, and the micro-kernel of the purego build.
func refTile4x4[T Float](k int, a, b, c *T, ldc int, accumulate bool) {
	as, bs := unsafe.Slice(a, 4*k), unsafe.Slice(b, 4*k)
	var s [4][4]T
	for len(as) >= 4 && len(bs) >= 4 {
		b0, b1, b2, b3 := bs[0], bs[1], bs[2], bs[3]
		for i := range 4 {
			ai := as[i]
			s[i][0] += ai * b0
			s[i][1] += ai * b1
			s[i][2] += ai * b2
			s[i][3] += ai * b3
		}
		as, bs = as[4:], bs[4:]
	}
	for i := range 4 {
		row := unsafe.Slice((*T)(unsafe.Add(unsafe.Pointer(c), uintptr(i*ldc)*unsafe.Sizeof(*c))), 4)
		for j := range 4 {
			if accumulate {
				row[j] += s[i][j]
			} else {
				row[j] = s[i][j]
			}
		}
	}
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

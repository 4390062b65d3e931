package kernels

import (
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// TestExplain: what is told is what happens, by counting calls of each kernel.
func TestExplain(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, s := range usable() {
		for _, c := range []Call{
			{M: 1, N: 40, K: 30, TransB: true}, {M: 1, N: 40, K: 30}, {M: 5, N: 40, K: 30}, {M: dotsRows + 1, N: 40, K: 30, TransB: true},
			{M: 50, N: 40, K: 300}, {M: 50, N: 40, K: 300, TransA: true}, {M: 60, N: 70, K: 20, Packed: true}, {M: 40, N: 700, K: 20}, {M: 60, N: 70, K: 40, TransB: true},
			{M: 40, N: 1, K: 300}, {M: 40, N: 1, K: 300, TransA: true, TransB: true}, {M: 20, N: 40, K: 1}, {M: 20, N: 40, K: 1, TransA: true, TransB: true},
		} {
			c.Op = "gemm"
			var tile, onTheWay, aside, dots, gemv, scale, rows, cols atomic.Int32
			w := *s
			w.Tile.Run = func(m, n, k int, a *float32, strip, row, col int, b *float32, ldb int, c *float32, ldc int, accumulate bool) {
				tile.Add(1)
				s.Tile.Run(m, n, k, a, strip, row, col, b, ldb, c, ldc, accumulate)
			}
			if run := s.Tile.RunPack; run != nil {
				w.Tile.RunPack = func(k int, a *float32, row, col int, b *float32, ldb int, c *float32, ldc int, accumulate bool, panel *float32) {
					onTheWay.Add(1)
					run(k, a, row, col, b, ldb, c, ldc, accumulate, panel)
				}
			}
			if run := s.Tile.RunAside; run != nil {
				w.Tile.RunAside = func(k int, a *float32, row, col int, b, c *float32, ldc int, accumulate bool, src *float32, ld int, panel *float32) {
					aside.Add(1)
					run(k, a, row, col, b, c, ldc, accumulate, src, ld, panel)
				}
			}
			w.Dots = func(m, n, k int, a *float32, lda int, b *float32, ldb int, c *float32, ldc int, accumulate bool) {
				dots.Add(1)
				s.Dots(m, n, k, a, lda, b, ldb, c, ldc, accumulate)
			}
			w.Gemv = func(y, a, b []float32, ldb int) { gemv.Add(1); s.Gemv(y, a, b, ldb) }
			w.Scale = func(y, x []float32, alpha float32) { scale.Add(1); s.Scale(y, x, alpha) }
			w.PackRows = func(dst, src []float32, ld, k, w, width int) { rows.Add(1); s.PackRows(dst, src, ld, k, w, width) }
			w.PackCols = func(dst, src []float32, ld, k, w, width int) { cols.Add(1); s.PackCols(dst, src, ld, k, w, width) }
			text, err := Explain(&w, c)
			if err != nil {
				t.Fatal(err)
			}
			a, b, y := make([]float32, c.M*c.K), make([]float32, c.K*c.N), make([]float32, c.M*c.N)
			lda, ldb := c.K, c.N
			if c.TransA {
				lda = c.M
			}
			if c.TransB {
				ldb = c.K
			}
			if c.Packed {
				var p PackedB[float32]
				p.Pack(s, false, c.K, c.N, b, ldb)
				GemmPacked(&w, c.TransA, c.M, a, lda, &p, y, c.N, nil)
			} else {
				Gemm(&w, c.TransA, c.TransB, c.M, c.N, c.K, a, lda, b, ldb, y, c.N, false)
			}
			packsA, packsB := cols.Load(), rows.Load()
			if c.TransA {
				packsA, packsB = rows.Load(), 0
			}
			if c.TransB {
				packsB = cols.Load()
			}
			for fact, happened := range map[string]bool{
				"kernel: Tile": tile.Load() > 0, "kernel: Dots": dots.Load() > 0, "kernel: Gemv": gemv.Load() > 0, "kernel: Scale": scale.Load() > 0,
				"packs each panel on the way": onTheWay.Load() > 0, "and while it multiplies it the next one": aside.Load() > 0,
			} {
				if strings.Contains(text, fact) != happened {
					t.Errorf("%s %+v: %q is told: %t; it happened: %t\n%s", s.Name, c, fact, !happened, happened, text)
				}
			}
			if !c.TransA && !c.TransB && strings.Contains(text, "A: packed first") != (packsA > 0) {
				t.Errorf("%s %+v: A was packed by %d calls, but\n%s", s.Name, c, packsA, text)
			}
			if !c.TransA && (strings.Contains(text, "B: each task packs") || strings.Contains(text, "B: packed a panel")) != (packsB > 0) {
				t.Errorf("%s %+v: B was packed by %d calls, but\n%s", s.Name, c, packsB, text)
			}
		}
	}
	s := F32()
	a := &AttentionShape{B: 2, H: 3, Tq: 500, Tk: 500, Dh: 64}
	for want, c := range map[string]Call{
		"sums: in 4 parts":           {Op: "gemm", M: 3, N: 3, K: 4 * gemmPart},
		"tasks: 12, 2 of each":       {Op: "attention", Attention: a},
		"tasks: 6, a head":           {Op: "attention_grad", Attention: a},
		"row by row":                 {Op: "attention", Attention: &AttentionShape{B: 1, H: 1, Tq: 1, Tk: 9, Dh: 8}},
		"tasks: 7 of 16 rows":        {Op: "rows", M: 100, N: 1024},
		"tasks: 2 of 16384":          {Op: "elementwise", N: chunk + 1},
		"level: " + F32().Name + " ": {Op: "elementwise", N: 1},
	} {
		if text, err := Explain(s, c); err != nil || !strings.Contains(text, want) {
			t.Errorf("%+v: %v, no %q in\n%s", c, err, want, text)
		}
	}
	for want, c := range map[string]Call{
		"unknown op": {Op: "convolution"}, "gemm: bad size": {Op: "gemm", M: 1, N: 1}, "rows: bad size": {Op: "rows"},
		"bad length": {Op: "elementwise"}, "no shape": {Op: "attention"},
	} {
		if _, err := Explain(s, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", c, err, want)
		}
	}
}

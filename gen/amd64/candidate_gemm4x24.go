package main

// GemmTile4x24AVX2 is the worked example of bench/CANDIDATES.md: the other tile
// that fills the 16 registers of AVX2, with 12 sums, 3 vectors of B and 1 of A.
// Per step of k it loads 28 floats for 96 multiply-adds, and 6×16 loads 22.
func (candidates) GemmTile4x24AVX2(e *emitter) candidate {
	e.gemmTiles(avx2, 4, 3)
	e.packRows(4)
	e.packRows(24)
	e.packCols(24)
	return candidate{level: "avx2", field: "Tile", mr: 4, nr: 24, packRows: []int{4, 24}, packCols: []int{24}}
}

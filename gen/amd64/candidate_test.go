package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mmcloughlin/avo/build"
)

// Types with one method each, as candidates has them.
type (
	wrongType   struct{}
	wrongLevel  struct{}
	wrongSuffix struct{}
	noField     struct{}
	noTile      struct{}
	notAlone    struct{}
	notEmitted  struct{}
	notSaid     struct{}
	fine        struct{}
)

func (wrongType) SiLUPadeAVX2()                     {}
func (wrongLevel) SiLUPadeSSE(*emitter) candidate   { return candidate{level: "sse", field: "SiLU"} }
func (wrongSuffix) SiLUPadeAVX2(*emitter) candidate { return candidate{level: "avx512", field: "SiLU"} }
func (noField) SiLUPadeAVX2(*emitter) candidate     { return candidate{level: "avx2"} }
func (noTile) GemmTileAVX2(*emitter) candidate      { return candidate{level: "avx2", field: "Tile"} }
func (notAlone) FMAPeakLongAVX2(*emitter) candidate {
	return candidate{level: "avx2", field: "FMALoop"}
}
func (notEmitted) SiLUPadeAVX2(*emitter) candidate { return candidate{level: "avx2", field: "SiLU"} }
func (notSaid) GemmTile4x16AVX2(e *emitter) candidate {
	e.gemmTiles(avx2, 4, 2)
	e.packRows(4)
	return candidate{level: "avx2", field: "Tile", mr: 4, nr: 16}
}
func (fine) GemmTile4x16AVX512(e *emitter) candidate {
	e.gemmTiles(avx512, 4, 1)
	return candidate{level: "avx512", field: "Tile", mr: 4, nr: 16}
}

// TestCandidateErrors names what is wrong with a candidate, and with which.
func TestCandidateErrors(t *testing.T) {
	for _, c := range []struct {
		of   any
		want string // "": no error
	}{
		{wrongType{}, "SiLUPadeAVX2 is func(), not func(*emitter) candidate"},
		{wrongLevel{}, `SiLUPadeSSE: level "sse"`},
		{wrongSuffix{}, "SiLUPadeAVX2: the name does not end in AVX512"},
		{noField{}, "SiLUPadeAVX2: no field"},
		{noTile{}, "GemmTileAVX2: a Tile of 0×0"},
		{notAlone{}, "FMAPeakLongAVX2: the field FMALoop: it is the ceiling"},
		{notEmitted{}, "no candidate emits SiLUPadeAVX2"},
		{notSaid{}, "PackRows4AVX2 is emitted, but no candidate says so"},
		{fine{}, ""},
	} {
		e := &emitter{Context: build.NewContext()}
		list, err := emitCandidates(e, c.of)
		if err == nil {
			f, result := e.Result()
			if result != nil {
				t.Fatal(result)
			}
			err = checkFunctions(list, f)
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%T: error %v, want %q", c.of, err, c.want)
		}
	}
}

// TestCandidateFields: how a kernel gets into its field.
func TestCandidateFields(t *testing.T) {
	dir := t.TempDir()
	list := []kernel{
		{candidate{level: "avx512", field: "Tile", mr: 9, nr: 48, packCols: []int{48}}, "GemmTile9x48AVX512"},
		{candidate{level: "avx2", field: "AdamW"}, "AdamWShortAVX2"},
		{candidate{level: "avx2", field: "SiLU"}, "SiLUPadeAVX2"},
	}
	if err := writeCandidates(list, []string{"make"}, filepath.Join(dir, "amd64")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "candidates_amd64.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`candidate("avx512", "Tile", "GemmTile9x48AVX512", func(s *Set[float32]) {`,
		"s.Tile = Tile[float32]{MR: 9, NR: 48, InPlace: true, Run: byWidth(16, amd64.GemmTile9x48AVX512, amd64.GemmTile9x16TailAVX512, amd64.GemmTile9x32TailAVX512, amd64.GemmTile9x48TailAVX512)}",
		"s.PackCols = packColsOf(48, amd64.PackCols48AVX2, s.PackCols)",
		"s.AdamW = adamW(amd64.AdamWShortAVX2)",
		"s.SiLU = amd64.SiLUPadeAVX2",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

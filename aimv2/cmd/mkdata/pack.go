package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
)

// indexLine is one line of index.jsonl.gz. The keys are in alphabetical order;
// package emoji48 reads them.
type indexLine struct {
	Caption    string   `json:"c"`
	Codepoints string   `json:"cp"`
	Family     string   `json:"f"`
	Group      string   `json:"g"`
	Keywords   []string `json:"k"`
	Length     int      `json:"n"`
	Offset     int      `json:"o"`
	Subgroup   string   `json:"s"`
	Split      string   `json:"sp"`
	Style      string   `json:"st"`
}

// pack writes images.bin, the PNG files end to end, and index.jsonl.gz, and
// returns the drawings in them. Left out are drawings without a rendering,
// blank ones, and exact copies of an earlier one.
func pack(drawings []*drawing, o options) ([]*drawing, error) {
	var kept []*drawing
	var blob, index bytes.Buffer
	zip, err := gzip.NewWriterLevel(&index, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	lines := json.NewEncoder(zip)
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	seen := map[[sha256.Size]byte]bool{}
	for _, d := range drawings {
		img, err := readRendering(d.pngPath(o), o)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(img.Pix); isBlank(img) || seen[sum] {
			continue
		} else {
			seen[sum] = true
		}
		var out image.Image = img
		if o.colors > 0 {
			out = quantise(img, o.colors)
		}
		offset := blob.Len()
		if err := encoder.Encode(&blob, out); err != nil {
			return nil, fmt.Errorf("%s/%s: %w", d.style.name, d.codepoints, err)
		}
		if err := lines.Encode(indexLine{
			Caption: d.caption, Codepoints: d.codepoints, Family: d.style.family, Group: d.group, Keywords: d.keywords,
			Length: blob.Len() - offset, Offset: offset, Subgroup: d.subgroup, Split: d.split, Style: d.style.name,
		}); err != nil {
			return nil, err
		}
		kept = append(kept, d)
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(o.out, "images.bin"), blob.Bytes(), 0o644); err != nil {
		return nil, err
	}
	return kept, os.WriteFile(filepath.Join(o.out, "index.jsonl.gz"), index.Bytes(), 0o644)
}

// readRendering reads a PNG onto a canvas of the right size: transparent, or
// white without o.alpha.
func readRendering(path string, o options) (*image.NRGBA, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	canvas := image.NewNRGBA(image.Rect(0, 0, o.size, o.size))
	op := draw.Src
	if !o.alpha {
		draw.Draw(canvas, canvas.Bounds(), image.White, image.Point{}, draw.Src)
		op = draw.Over
	}
	draw.Draw(canvas, canvas.Bounds(), img, img.Bounds().Min, op)
	return canvas, nil
}

// isBlank reports whether all pixels are equal.
func isBlank(img *image.NRGBA) bool {
	return bytes.Equal(img.Pix[4:], img.Pix[:len(img.Pix)-4])
}

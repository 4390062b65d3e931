// Mkdata builds the data set that package aimv2/dataset/emoji48 embeds: it
// renders openly licensed emoji artwork to small PNGs and packs them with their
// names and labels.
//
//	go run ./aimv2/cmd/mkdata -src icons -work render -out aimv2/dataset/emoji48
//
// It is for those who change the data; nobody else needs it. It calls
// rsvg-convert (Debian: librsvg2-bin), and reads npm packages unpacked under
// -src, one folder each, named as in the styles table and emojibaseDir:
//
//	npm pack @iconify-json/noto@1.2.9    →  icons/iconify-json-noto-1.2.9/
//
// The same packages and the same rsvg-convert give the same bytes.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
)

// style is one set of drawings: an npm package of iconify.
//
// licence is that of the artwork. Where iconify's info.json differs, the
// artists' own statement counts: it calls fxemoji Apache-2.0, but Mozilla's
// LICENSE.md says that the visual design is CC BY 4.0.
type style struct{ name, dir, family, licence string }

// styles lists what is packed, in the order of the index. Styles of one family
// are near-twins by one vendor, and never straddle train and test.
var styles = []style{
	{"noto", "iconify-json-noto-1.2.9", "noto", "Apache-2.0"},
	{"noto-v1", "iconify-json-noto-v1-1.2.5", "noto", "Apache-2.0"},
	{"twemoji", "iconify-json-twemoji-1.2.5", "twemoji", "CC-BY-4.0"},
	{"fluent-flat", "iconify-json-fluent-emoji-flat-1.2.6", "fluent", "MIT"},
	{"fluent", "iconify-json-fluent-emoji-1.2.7", "fluent", "MIT"},
	{"emojione", "iconify-json-emojione-1.2.3", "emojione", "CC-BY-4.0"},
	{"fxemoji", "iconify-json-fxemoji-1.2.2", "fxemoji", "CC-BY-4.0"},
}

// emojibaseDir holds names, keywords and groups.
const emojibaseDir = "emojibase-data-17.0.0"

// drawing is one emoji in one style.
type drawing struct {
	style           style
	codepoints      string // "1f98a", joined by "-"
	caption         string
	keywords        []string
	group, subgroup string
	split           string
	svg             string
}

// options are the flags.
type options struct {
	src, work, out string
	size, colors   int
	alpha          bool
}

func main() {
	var o options
	flag.StringVar(&o.src, "src", "icons", "folder of the unpacked npm packages")
	flag.StringVar(&o.work, "work", "render", "folder for rendered pictures; what is there is not rendered again")
	flag.StringVar(&o.out, "out", "out", "folder for images.bin and index.jsonl.gz")
	flag.IntVar(&o.size, "size", 48, "width and height in pixels")
	flag.IntVar(&o.colors, "colors", 64, "size of the palette, 1 to 256; 0 keeps full colour")
	flag.BoolVar(&o.alpha, "alpha", true, "keep the alpha; else composite on white")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "mkdata:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.size < 1 || o.colors < 0 || o.colors > 256 {
		return fmt.Errorf("-size %d must be positive and -colors %d between 0 and 256", o.size, o.colors)
	}
	drawings, err := matchAll(o.src, o.size)
	if err != nil {
		return err
	}
	failed, err := renderAll(drawings, o)
	if err != nil {
		return err
	}
	assignSplits(drawings)
	kept, err := pack(drawings, o)
	if err != nil {
		return err
	}

	bySplit, byStyle := map[string]int{}, map[string]int{}
	for _, d := range kept {
		bySplit[d.split]++
		byStyle[d.style.name]++
	}
	fmt.Printf("%d matched, %d failed to render, %d packed\n", len(drawings), failed, len(kept))
	for _, count := range []map[string]int{bySplit, byStyle} {
		for _, key := range slices.Sorted(maps.Keys(count)) {
			fmt.Printf("  %-14s %5d\n", key, count[key])
		}
	}
	return nil
}

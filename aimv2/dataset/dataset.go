// Package dataset defines what Fuerte trains on: pictures with captions.
//
// A Source gives them by number: package dataset/emoji48 embeds one, Folder reads
// one from a directory and JSONL one from a list. Shards are tar files too large
// to number. A Mixture is several of these with weights. Text draws the words to
// train on for a record.
//
// What is read is not trusted. Every fault gives an error that names file and
// cause, and no file may ask for more memory than its own bytes and the limits
// stated here.
package dataset

import (
	"image"
	"slices"
)

// Record describes one picture. Fields that a source does not know are empty.
type Record struct {
	Name       string   // unique in its source: "noto/1f98a", "holiday.jpg"
	Caption    string   // "fox"
	Keywords   []string // further words for the picture: "animal", "face"
	Style      string   // who drew it: "noto-v1"
	Family     string   // styles of one hand share a family: "noto"
	Group      string   // coarse class: "animals-nature"
	Subgroup   string   // fine class: "animal-mammal"
	Codepoints string   // the emoji in hexadecimal, joined by "-": "1f98a"
	Split      string   // "train", "val-style", ...
}

// Set is what training draws from: a Source, a *Shards or a *Mixture of these.
type Set interface {
	// Len returns the number of pictures, or -1 where only reading all of them
	// would tell.
	Len() int
}

// Option changes what is asked of pictures.
type Option int

// CaptionsOptional lets pictures without a caption through, for objectives that
// read none: theirs is "". A caption that is there must still be one.
const CaptionsOptional Option = 1

func optional(options []Option) bool { return slices.Contains(options, CaptionsOptional) }

// Source is a numbered collection of captioned pictures. Implementations are
// safe for concurrent use. An index outside [0, Len()) panics.
type Source interface {
	Len() int
	Record(i int) Record

	// Encoded returns the picture as a file of its original format. The caller
	// must not change the bytes.
	Encoded(i int) ([]byte, error)

	// Image decodes the picture, upright and with its alpha.
	Image(i int) (image.Image, error)
}

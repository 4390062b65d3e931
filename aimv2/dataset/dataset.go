// Package dataset defines what Fuerte trains on: pictures with captions.
//
// A Source gives them by number. Package dataset/emoji48 embeds one; Folder
// reads one from a directory. Text draws the words to train on for a record.
package dataset

import "image"

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

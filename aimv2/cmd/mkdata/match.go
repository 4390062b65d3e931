package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Groups of emojibase that are treated apart.
const (
	groupComponents = 2 // skin tones, hair: no pictures of their own
	groupFlags      = 9
)

// emoji is an entry of emojibase.
type emoji struct {
	Label           string
	Hexcode         string
	Tags            []string
	Group, Subgroup *int
}

// names is what emojibase knows.
type names struct {
	emoji             []emoji
	groups, subgroups map[string]string // by number
	unicode           map[string]string // Unicode's own name, by code points
}

// iconSet is the icons.json of an iconify package: bodies of SVG by name.
type iconSet struct {
	Width, Height float64
	Icons         map[string]icon
	Aliases       map[string]struct{ Parent string }
}

type icon struct {
	Body                     string
	Width, Height, Left, Top float64
}

// matchAll finds every emoji in every style, in the order of styles and of
// emojibase. An emoji that a style lacks is passed over.
func matchAll(src string, size int) ([]*drawing, error) {
	n, err := readNames(filepath.Join(src, emojibaseDir))
	if err != nil {
		return nil, err
	}
	var all []*drawing
	for _, st := range styles {
		found, err := matchStyle(filepath.Join(src, st.dir), st, n, size)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func readNames(dir string) (*names, error) {
	var n names
	if err := readJSON(filepath.Join(dir, "en", "data.json"), &n.emoji); err != nil {
		return nil, err
	}
	var meta struct{ Groups, Subgroups map[string]string }
	if err := readJSON(filepath.Join(dir, "meta", "groups.json"), &meta); err != nil {
		return nil, err
	}
	n.groups, n.subgroups = meta.Groups, meta.Subgroups
	var byHexcode map[string]string
	if err := readJSON(filepath.Join(dir, "meta", "unicode-names.json"), &byHexcode); err != nil {
		return nil, err
	}
	n.unicode = make(map[string]string, len(byHexcode))
	for hexcode, name := range byHexcode {
		n.unicode[normalizeHexcode(hexcode)] = name
	}
	return &n, nil
}

func matchStyle(dir string, st style, n *names, size int) ([]*drawing, error) {
	var set iconSet
	if err := readJSON(filepath.Join(dir, "icons.json"), &set); err != nil {
		return nil, err
	}
	// chars.json, where a package has it, maps code points to names of icons.
	byHexcode := map[string]string{}
	var chars map[string]string
	switch err := readJSON(filepath.Join(dir, "chars.json"), &chars); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	}
	for hexcode, name := range chars {
		byHexcode[normalizeHexcode(hexcode)] = name
	}
	byName := map[string]string{}
	keys := slices.AppendSeq(slices.Collect(maps.Keys(set.Icons)), maps.Keys(set.Aliases))
	slices.Sort(keys) // where two squash alike, the last one wins every time
	for _, key := range keys {
		byName[squash(key)] = key
	}

	var found []*drawing
	for _, e := range n.emoji {
		if e.Group == nil || e.Subgroup == nil || *e.Group == groupComponents {
			continue
		}
		codepoints := normalizeHexcode(e.Hexcode)
		key, ok := byHexcode[codepoints]
		if len(byHexcode) == 0 {
			key, ok = matchByName(byName, e, n.unicode[codepoints])
		}
		if !ok {
			continue
		}
		body, ok := set.Icons[key]
		if !ok {
			body, ok = set.Icons[set.Aliases[key].Parent]
		}
		if !ok {
			continue
		}
		found = append(found, &drawing{
			style:      st,
			codepoints: codepoints,
			caption:    e.Label,
			keywords:   e.Tags,
			group:      n.groups[fmt.Sprint(*e.Group)],
			subgroup:   n.subgroups[fmt.Sprint(*e.Subgroup)],
			svg:        svgOf(set, body, size),
		})
	}
	return found, nil
}

// matchByName looks an emoji up by its CLDR name, by Unicode's, and if it is a
// flag by "flag for ...".
func matchByName(byName map[string]string, e emoji, unicodeName string) (key string, ok bool) {
	candidates := []string{e.Label, unicodeName}
	if *e.Group == groupFlags {
		candidates = append(candidates, "flag for "+strings.TrimPrefix(e.Label, "flag: "))
	}
	for _, name := range candidates {
		if key, ok = byName[squash(name)]; ok {
			return key, true
		}
	}
	return "", false
}

// svgOf makes a whole SVG file of an icon.
func svgOf(set iconSet, i icon, size int) string {
	width, height := i.Width, i.Height
	if width == 0 {
		width = set.Width
	}
	if height == 0 {
		height = set.Height
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="%g %g %g %g" width="%d" height="%d">%s</svg>`,
		i.Left, i.Top, width, height, size, size, i.Body)
}

// squash reduces a name to its ASCII letters and digits, so that "Côte d’Ivoire"
// and "cote-d-ivoire" agree.
func squash(name string) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(strings.ToLower(strings.ReplaceAll(name, "&", "and"))) {
		if unicode.IsLetter(r) && r < 128 || unicode.IsDigit(r) {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// normalizeHexcode writes code points alike for all sources: lower case,
// without leading zeros and without FE0F, which only asks for colour.
func normalizeHexcode(hexcode string) string {
	var out []string
	for part := range strings.SplitSeq(strings.ToLower(hexcode), "-") {
		if part != "fe0f" {
			out = append(out, strings.TrimLeft(part, "0"))
		}
	}
	return strings.Join(out, "-")
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

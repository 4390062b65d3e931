package report

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"strings"

	xdraw "golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"fuerte/nn/atomicfile"
)

// Row is one example of a sheet. The pictures have one size, which Patch divides.
type Row struct {
	Caption       string      // ASCII; other characters are drawn as a box
	Image         image.Image // the input
	Target        image.Image // what the pixel loss compares with: see NormalisedImage
	Prediction    image.Image // in the colours of Target
	Restored      image.Image // nil, or the prediction in the colours of the input
	PrefixPatches int         // how many patches, in raster order, were given
	Patch         int         // pixels along the side of a patch
}

const (
	panelSide  = 144 // smaller pictures are magnified to about this many pixels
	sheetEdge  = 14
	panelGap   = 10
	rowGap     = 18
	outline    = 2
	lineHeight = 16 // of Face7x13, with air
	glyphWidth = 7
	maxLines   = 3 // of a caption
)

var (
	ink         = color.Gray{0x30}
	paper       = color.Gray{0xff}
	prefixColor = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
	// veil dims the patches that were given: 3/4 paper over the picture.
	veil = color.NRGBA{0xff, 0xff, 0xff, 0xbf}
)

// Targets draws a sheet of examples as a PNG, one row each: input, target and
// prediction, and the restored picture where there is one, with the caption below.
// Pictures of less than 144 pixels are magnified by a whole number, each pixel a
// square. The prefix patches are outlined, and dimmed but in the input, where they
// do not count.
//
// Errors: no rows; a picture that is missing, empty or of another size than the
// input; a Patch that does not divide it or a prefix of more patches than there
// are; those of the file system.
func Targets(path string, rows []Row) error {
	sheet, err := contactSheet(rows)
	if err != nil {
		return fmt.Errorf("report: %s: %w", path, err)
	}
	return atomicfile.WriteFileAtomic(path, func(w io.Writer) error { return png.Encode(w, sheet) })
}

// NormalisedImage colours per-patch normalised pixels for viewing: 0, the mean
// of the patch, becomes middle grey, and ±2.5 standard deviations become black
// and white in each channel. What lies beyond is clipped.
//
// Shapes: values [rows·columns, patch·patch·3], patches in raster order, inside
// a patch (row, column, channel), as the pixel loss has them.
// Panics: if len(values) is another.
func NormalisedImage(values []float32, rows, columns, patch int) *image.RGBA {
	if want := rows * columns * patch * patch * 3; len(values) != want {
		panic(fmt.Sprintf("report: %d values for %d×%d patches of %d×%d×3, want %d", len(values), rows, columns, patch, patch, want))
	}
	img := image.NewRGBA(image.Rect(0, 0, columns*patch, rows*patch))
	for i := 0; i < len(values); i += 3 {
		pixel := i / 3
		token, inside := pixel/(patch*patch), pixel%(patch*patch)
		x := token%columns*patch + inside%patch
		y := token/columns*patch + inside/patch
		img.SetRGBA(x, y, color.RGBA{level(values[i]), level(values[i+1]), level(values[i+2]), 0xff})
	}
	return img
}

// level maps -2.5…2.5 to 0…255. NaN becomes 0: its comparisons are all false.
func level(v float32) uint8 {
	scaled := 127.5 + v*(127.5/2.5) + 0.5
	if !(scaled > 0) {
		return 0
	}
	return uint8(min(scaled, 255))
}

// panel is one picture of a row, by the name of its field.
type panel struct {
	name string
	img  image.Image
}

// panels lists the pictures of a row from left to right.
func (r Row) panels() []panel {
	all := []panel{{"Image", r.Image}, {"Target", r.Target}, {"Prediction", r.Prediction}}
	if r.Restored != nil {
		all = append(all, panel{"Restored", r.Restored})
	}
	return all
}

// check finds what is wrong with a row.
func (r Row) check() error {
	var size image.Point
	for i, p := range r.panels() {
		if p.img == nil {
			return fmt.Errorf("no %s", p.name)
		}
		if p.img.Bounds().Empty() {
			return fmt.Errorf("%s is empty", p.name)
		}
		if i == 0 {
			size = p.img.Bounds().Size()
		}
		if s := p.img.Bounds().Size(); s != size {
			return fmt.Errorf("%s has the size %v, Image %v", p.name, s, size)
		}
	}
	if r.Patch <= 0 || size.X%r.Patch != 0 || size.Y%r.Patch != 0 {
		return fmt.Errorf("a patch of %d pixels does not divide a picture of %v", r.Patch, size)
	}
	if n := size.X / r.Patch * (size.Y / r.Patch); r.PrefixPatches < 0 || r.PrefixPatches > n {
		return fmt.Errorf("a prefix of %d patches in a picture of %d", r.PrefixPatches, n)
	}
	return nil
}

// scale is the whole number by which a row is magnified.
func (r Row) scale() int {
	size := r.Image.Bounds().Size()
	return max(1, panelSide/max(size.X, size.Y))
}

// contactSheet lays out the rows, each as high as its pictures and caption.
func contactSheet(rows []Row) (*image.RGBA, error) {
	if len(rows) == 0 {
		return nil, errors.New("no rows to draw")
	}
	titles := []string{"input", "target, normalised", "prediction", "restored"}
	side, columns := 0, 0 // the width of a column and how many there are
	for i, r := range rows {
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
		side, columns = max(side, r.Image.Bounds().Dx()*r.scale()), max(columns, len(r.panels()))
	}
	titles = titles[:columns]
	for _, t := range titles {
		side = max(side, len(t)*glyphWidth)
	}
	column := func(i int) int { return sheetEdge + i*(side+panelGap) }
	width := column(len(titles)) - panelGap + sheetEdge

	footer := "outlined: prefix patches, given to the model and not predicted"
	if columns == 4 {
		footer += "; restored: the prediction with the mean and the deviation of each true patch"
	}
	captions := make([][]string, len(rows))
	height := sheetEdge + lineHeight
	for i, r := range rows {
		captions[i] = wrap(r.Caption, (width-2*sheetEdge)/glyphWidth)
		height += r.Image.Bounds().Dy()*r.scale() + len(captions[i])*lineHeight + rowGap
	}
	footerLines := wrap(footer, (width-2*sheetEdge)/glyphWidth)
	height += len(footerLines)*lineHeight + sheetEdge/2

	sheet := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(sheet, sheet.Bounds(), image.NewUniform(paper), image.Point{}, draw.Src)
	y := sheetEdge
	for i, t := range titles {
		text(sheet, column(i), y, t, ink)
	}
	y += lineHeight
	for i, r := range rows {
		size := r.Image.Bounds().Size().Mul(r.scale())
		for j, p := range r.panels() {
			at := image.Rectangle{Max: size}.Add(image.Pt(column(j), y))
			xdraw.NearestNeighbor.Scale(sheet, at, p.img, p.img.Bounds(), draw.Over, nil)
			markPrefix(sheet, at, r, j > 0)
		}
		y += size.Y
		for _, line := range captions[i] {
			y += lineHeight
			text(sheet, sheetEdge, y-lineHeight+3, line, ink)
		}
		y += rowGap
	}
	for i, line := range footerLines {
		text(sheet, sheetEdge, y+i*lineHeight, line, prefixColor)
	}
	return sheet, nil
}

// markPrefix outlines the prefix of the picture drawn at the rectangle, along
// every side of a patch where the next patch is none of it.
func markPrefix(sheet draw.Image, at image.Rectangle, r Row, dim bool) {
	side := r.Patch * r.scale()
	columns := at.Dx() / side
	given := func(row, col int) bool {
		return row >= 0 && col >= 0 && col < columns && row*columns+col < r.PrefixPatches
	}
	fill := func(rect image.Rectangle, c color.Color) {
		draw.Draw(sheet, rect, image.NewUniform(c), image.Point{}, draw.Over)
	}
	for i := range r.PrefixPatches {
		row, col := i/columns, i%columns
		box := image.Rect(0, 0, side, side).Add(at.Min).Add(image.Pt(col*side, row*side))
		if dim {
			fill(box, veil)
		}
		for _, edge := range []struct {
			next  bool
			strip image.Rectangle
		}{
			{given(row-1, col), image.Rect(box.Min.X, box.Min.Y, box.Max.X, box.Min.Y+outline)},
			{given(row+1, col), image.Rect(box.Min.X, box.Max.Y-outline, box.Max.X, box.Max.Y)},
			{given(row, col-1), image.Rect(box.Min.X, box.Min.Y, box.Min.X+outline, box.Max.Y)},
			{given(row, col+1), image.Rect(box.Max.X-outline, box.Min.Y, box.Max.X, box.Max.Y)},
		} {
			if !edge.next {
				fill(edge.strip, prefixColor)
			}
		}
	}
}

// text draws one line with its upper left corner at x, y.
func text(dst draw.Image, x, y int, s string, c color.Color) {
	face := basicfont.Face7x13
	d := font.Drawer{Dst: dst, Src: image.NewUniform(c), Face: face, Dot: fixed.P(x, y+face.Ascent)}
	d.DrawString(s)
}

// wrap breaks s between words into at most maxLines lines of at most width
// characters. Words that are longer are cut, and so is what finds no room.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		letters := []rune(word)
		if len(letters) > width {
			word = string(letters[:width-3]) + "..."
		}
		switch joined := line + " " + word; {
		case line == "":
			line = word
		case len([]rune(joined)) <= width:
			line = joined
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	if len(lines) > maxLines {
		lines = lines[:maxLines]
		last := []rune(lines[maxLines-1])
		lines[maxLines-1] = string(last[:min(len(last), width-3)]) + "..."
	}
	return lines
}

package report

import (
	"errors"
	"fmt"
	"image/color"
	"image/png"
	"io"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"fuerte/nn/atomicfile"
)

// Point is the losses of one step. The tags are those of the metrics file, so
// that ReadMetrics[Point] gives what LossCurve takes.
type Point struct {
	Step  int     `json:"step"`
	Pixel float64 `json:"pixel"`
	Text  float64 `json:"text"`
	Total float64 `json:"total"`
	// Validation is the total on held-out pictures after the step, where it was taken.
	Validation *float64 `json:"val_total"`
}

const (
	curveWidth, curveHeight = 900, 600 // pixels

	dpi = 96
	px  = vg.Inch / dpi

	// halfLives is the length of a run in half-lives of the smoothing. A run
	// with fewer points than that is not smoothed.
	halfLives = 100
)

// LossCurve draws the total, pixel and text loss against the step as a PNG of
// 900×600 pixels: every value as a light line, over it the running mean, whose
// last value stands in the legend. Validations are joined as they are. Points
// must be in ascending order of Step.
//
// The mean at point i weighs point j by 2^(-|i-j|/h), h a hundredth of the
// points. It looks both ways, because a mean of the past alone runs visibly
// above a loss that falls.
//
// The loss axis is logarithmic when all losses are positive and the largest is
// at least 10 times the smallest. Losses that are NaN or beyond float32 leave
// gaps, and a loss that is 0 throughout, as of an objective that is switched
// off, is left out.
// Errors: no finite loss at all; those of the file system.
func LossCurve(path string, points []Point) error {
	return write(path, ownCurves(points))
}

// Run is the points of a run under a name.
type Run struct {
	Name   string
	Points []Point
}

// CompareRuns lays one loss of several runs over each other: their running means, as
// LossCurve draws one, under the runs' names; loss is "total", "text", "pixel" or
// "validation".
// Errors: as LossCurve; an unknown loss, no run with one, more than 8 runs.
func CompareRuns(path, loss string, runs []Run) error {
	of, ok := map[string]func(Point) float64{
		"total": func(p Point) float64 { return p.Total }, "text": func(p Point) float64 { return p.Text },
		"pixel": func(p Point) float64 { return p.Pixel }, "validation": func(p Point) float64 { return *p.Validation },
	}[loss]
	if !ok {
		return fmt.Errorf("report: there is no loss %q", loss)
	}
	if len(runs) > len(palette) {
		return fmt.Errorf("report: %d runs, and %d colours to tell them apart by", len(runs), len(palette))
	}
	var curves []*curve
	for i, r := range runs {
		points := r.Points
		if loss == "validation" {
			points = validated(points)
		}
		if c := newCurve(points, of); c != nil {
			c.name, c.strong, c.light, c.width = r.Name, palette[i], color.RGBA{}, 2*px
			curves = append(curves, c)
		}
	}
	return write(path, curves)
}

// palette is Okabe and Ito's: told apart by colour-blind eyes, too.
var palette = []color.RGBA{{0x00, 0x72, 0xb2, 0xff}, {0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x9e, 0x73, 0xff}, {0xcc, 0x79, 0xa7, 0xff},
	{0xe6, 0x9f, 0x00, 0xff}, {0x56, 0xb4, 0xe9, 0xff}, {0x30, 0x30, 0x30, 0xff}, {0xb0, 0xa0, 0x20, 0xff}}

// validated returns the points that have a validation loss.
func validated(points []Point) (held []Point) {
	for _, p := range points {
		if p.Validation != nil {
			held = append(held, p)
		}
	}
	return held
}

// write draws curves into a file.
func write(path string, curves []*curve) error {
	p, err := lossPlot(curves)
	if err != nil {
		return fmt.Errorf("report: %s: %w", path, err)
	}
	canvas := vgimg.NewWith(vgimg.UseWH(curveWidth*px, curveHeight*px), vgimg.UseDPI(dpi))
	// The right edge needs room for half of the last tick's label.
	p.Draw(draw.Crop(draw.New(canvas), 14*px, -26*px, 12*px, -14*px))
	return atomicfile.WriteFileAtomic(path, func(w io.Writer) error { return png.Encode(w, canvas.Image()) })
}

// ownCurves are the losses of one run.
func ownCurves(points []Point) (curves []*curve) {
	for _, s := range []struct {
		name          string
		strong, light color.RGBA
		width         vg.Length
		of            func(Point) float64
	}{
		// Thin and, below, drawn last: with one objective the total lies on it.
		{"total", color.RGBA{0x30, 0x30, 0x30, 0xff}, color.RGBA{0xc9, 0xc9, 0xc9, 0xff}, 1.5 * px, func(p Point) float64 { return p.Total }},
		{"text", palette[1], color.RGBA{0xf4, 0xcf, 0xae, 0xff}, 3 * px, func(p Point) float64 { return p.Text }},
		{"pixel", palette[0], color.RGBA{0xb0, 0xd5, 0xec, 0xff}, 3 * px, func(p Point) float64 { return p.Pixel }},
	} {
		c := newCurve(points, s.of)
		if c == nil {
			continue
		}
		c.name, c.strong, c.light, c.width = s.name, s.strong, s.light, s.width
		curves = append(curves, c)
	}
	if c := newCurve(validated(points), func(p Point) float64 { return *p.Validation }); c != nil {
		c.name, c.width = "validation", 2*px
		c.strong, c.light = palette[2], palette[2]
		c.smooth = c.raw
		curves = append(curves, c)
	}
	return curves
}

func lossPlot(curves []*curve) (*plot.Plot, error) {
	if len(curves) == 0 {
		return nil, errors.New("no loss to draw: every one is zero, NaN or infinite")
	}

	lo, hi, first, last := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, c := range curves {
		lo, hi = min(lo, c.lo), max(hi, c.hi)
		first, last = min(first, c.raw[0][0].x), max(last, c.last().x)
	}
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "step", "loss"
	p.X.Min, p.X.Max = first, last
	p.X.Tick.Marker = stepTicks{}
	p.Y.Tick.Marker = linearTicks{}
	if logarithmic := lo > 0 && hi/lo >= 10; logarithmic {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, logTicks{}
		p.Y.Label.Text = "loss (log scale)"
		p.Y.Min, p.Y.Max = lo/1.1, hi*1.1
	} else {
		margin := 0.05 * (hi - lo)
		p.Y.Min, p.Y.Max = lo-margin, hi+margin
	}
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Padding = 0
		axis.Label.TextStyle.Font.Variant, axis.Tick.Label.Font.Variant = "Sans", "Sans"
		axis.Label.TextStyle.Font.Size, axis.Tick.Label.Font.Size = 16*px, 14*px
		axis.Label.Padding = 8 * px
	}
	p.Legend.Top = true
	p.Legend.TextStyle.Font.Variant, p.Legend.TextStyle.Font.Size = "Sans", 15*px
	p.Legend.ThumbnailWidth = 26 * px
	p.Legend.Padding = 4 * px
	p.Legend.XOffs, p.Legend.YOffs = -10*px, -6*px

	p.Add(grid{})
	for _, c := range curves {
		if c.light.A > 0 {
			p.Add(plotterFunc(c.drawRaw))
		}
	}
	for _, c := range slices.Backward(curves) { // over all the light ones
		p.Add(plotterFunc(c.drawSmooth))
	}
	for _, c := range curves {
		p.Legend.Add(fmt.Sprintf("%s  %#.4g", c.name, c.last().y), c)
	}
	p.Add(plotterFunc(veilLegend))
	return p, nil
}

type xy struct{ x, y float64 }

// curve is one loss: runs of points between the gaps.
type curve struct {
	name          string
	strong, light color.RGBA // of the running mean, and of the values unless transparent
	width         vg.Length
	raw, smooth   [][]xy
	lo, hi        float64 // of raw
}

// newCurve collects the values that can be drawn and their running mean, or
// returns nil if all of them are 0.
func newCurve(points []Point, of func(Point) float64) *curve {
	c := &curve{lo: math.Inf(1), hi: math.Inf(-1)}
	gap := true
	for _, p := range points {
		y := of(p)
		if !(math.Abs(y) <= math.MaxFloat32) { // or NaN
			gap = true
			continue
		}
		if gap {
			c.raw = append(c.raw, nil)
			gap = false
		}
		last := &c.raw[len(c.raw)-1]
		*last = append(*last, xy{float64(p.Step), y})
		c.lo, c.hi = min(c.lo, y), max(c.hi, y)
	}
	if len(c.raw) == 0 || c.lo == 0 && c.hi == 0 {
		return nil
	}
	decay := 0.0
	if halfLife := float64(len(points)) / halfLives; halfLife > 1 {
		decay = math.Exp2(-1 / halfLife)
	}
	for _, run := range c.raw {
		c.smooth = append(c.smooth, runningMean(run, decay))
	}
	return c
}

// runningMean returns m[i] = Σ_j decay^|i-j|·y[j] / Σ_j decay^|i-j|, in one walk
// from each end.
func runningMean(run []xy, decay float64) []xy {
	mean := slices.Clone(run)
	weights := make([]float64, len(run))
	sum, weight := 0.0, 0.0
	for i, v := range run {
		sum, weight = decay*sum+v.y, decay*weight+1
		mean[i].y, weights[i] = sum, weight
	}
	sum, weight = 0, 0
	for i, v := range slices.Backward(run) {
		sum, weight = decay*sum, decay*weight // of the points behind i
		mean[i].y = (mean[i].y + sum) / (weights[i] + weight)
		sum, weight = sum+v.y, weight+1
	}
	return mean
}

// last is the end of the smooth line.
func (c *curve) last() xy {
	run := c.smooth[len(c.smooth)-1]
	return run[len(run)-1]
}

func (c *curve) drawRaw(canvas draw.Canvas, p *plot.Plot) {
	stroke(canvas, p, draw.LineStyle{Color: c.light, Width: px}, c.raw)
}

func (c *curve) drawSmooth(canvas draw.Canvas, p *plot.Plot) {
	stroke(canvas, p, c.style(), c.smooth)
	x, y := p.Transforms(&canvas)
	end := c.last()
	canvas.DrawGlyph(draw.GlyphStyle{Color: c.strong, Radius: 3.5 * px, Shape: draw.CircleGlyph{}}, vg.Point{X: x(end.x), Y: y(end.y)})
}

func (c *curve) style() draw.LineStyle { return draw.LineStyle{Color: c.strong, Width: c.width} }

// Thumbnail draws the line of the legend.
func (c *curve) Thumbnail(canvas *draw.Canvas) {
	y := canvas.Center().Y
	canvas.StrokeLine2(c.style(), canvas.Min.X, y, canvas.Max.X, y)
}

func stroke(canvas draw.Canvas, p *plot.Plot, style draw.LineStyle, runs [][]xy) {
	x, y := p.Transforms(&canvas)
	for _, run := range runs {
		var line []vg.Point
		for _, v := range thin(run, curveWidth) {
			line = append(line, vg.Point{X: x(v.x), Y: y(v.y)})
		}
		canvas.StrokeLines(style, line)
	}
}

// thin returns at most two points for each of so many columns, the lowest and
// the highest: the same picture, in time that a long run does not stretch.
func thin(run []xy, columns int) []xy {
	if len(run) <= 2*columns {
		return run
	}
	kept := make([]xy, 0, 2*columns)
	for i := range columns {
		part := run[i*len(run)/columns : (i+1)*len(run)/columns]
		lo, hi := 0, 0
		for j, v := range part {
			if v.y < part[lo].y {
				lo = j
			}
			if v.y > part[hi].y {
				hi = j
			}
		}
		kept = append(kept, part[min(lo, hi)], part[max(lo, hi)])
	}
	return kept
}

// plotterFunc makes a plot.Plotter of a function.
type plotterFunc func(draw.Canvas, *plot.Plot)

func (f plotterFunc) Plot(c draw.Canvas, p *plot.Plot) { f(c, p) }

// veilLegend lightens what has been drawn where the legend will be written.
func veilLegend(c draw.Canvas, p *plot.Plot) {
	const air = 6 * px
	// Its place is computed here: Rectangle's is that of a legend on the left.
	size := p.Legend.Rectangle(c).Size()
	corner := vg.Point{X: c.Max.X + p.Legend.XOffs + air, Y: c.Max.Y}
	box := vg.Rectangle{
		Min: vg.Point{X: corner.X - size.X - 2*air, Y: corner.Y + p.Legend.YOffs - size.Y - air},
		Max: corner,
	}
	c.SetColor(color.NRGBA{0xff, 0xff, 0xff, 0xd0})
	c.Fill(box.Path())
}

// grid draws a faint line at every labelled tick.
type grid struct{}

func (grid) Plot(c draw.Canvas, p *plot.Plot) {
	style := draw.LineStyle{Color: color.Gray{0xe6}, Width: px}
	x, y := p.Transforms(&c)
	for _, t := range p.X.Tick.Marker.Ticks(p.X.Min, p.X.Max) {
		if at := x(t.Value); !t.IsMinor() && c.ContainsX(at) {
			c.StrokeLine2(style, at, c.Min.Y, at, c.Max.Y)
		}
	}
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		if at := y(t.Value); !t.IsMinor() && c.ContainsY(at) {
			c.StrokeLine2(style, c.Min.X, at, c.Max.X, at)
		}
	}
}

// linearTicks labels about six round values with just the digits they need.
// plot.DefaultTicks labels three, and near 2 all of them "2".
type linearTicks struct{}

func (linearTicks) Ticks(lo, hi float64) []plot.Tick { return roundTicks(lo, hi, 0, 1, "") }

// stepTicks labels whole steps as people write them: 250k, not 2.5e+05.
type stepTicks struct{}

func (stepTicks) Ticks(lo, hi float64) []plot.Tick {
	switch {
	case hi >= 2e6:
		return roundTicks(lo, hi, 1, 1e6, "M")
	case hi >= 2e4:
		return roundTicks(lo, hi, 1, 1e3, "k")
	}
	return roundTicks(lo, hi, 1, 1, "")
}

// roundTicks returns ticks at the multiples of 1, 2 or 5 times a power of ten,
// but not closer than least, labelled in units.
func roundTicks(lo, hi, least, unit float64, suffix string) []plot.Tick {
	rough := max(least, (hi-lo)/7)
	step := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, factor := range []float64{2, 2.5, 2} { // to 2, 5 and 10
		if step < rough {
			step *= factor
		}
	}
	digits := max(0, -int(math.Floor(math.Log10(step/unit)+1e-9)))
	var ticks []plot.Tick
	for i := math.Ceil(lo / step); i*step <= hi; i++ {
		label := strconv.FormatFloat(i*step/unit, 'f', digits, 64) + suffix
		if i == 0 {
			label = "0"
		}
		ticks = append(ticks, plot.Tick{Value: i * step, Label: label})
	}
	return ticks
}

// logTicks marks 1 to 9 times each power of ten. It labels 1, 2 and 5, since a
// loss seldom spans the decades that plot.LogTicks labels; from three decades on
// only 1, and from eight on (a loss that explodes) not every decade.
type logTicks struct{}

func (logTicks) Ticks(lo, hi float64) []plot.Tick {
	first, last := int(math.Floor(math.Log10(lo))), int(math.Ceil(math.Log10(hi)))
	decades := math.Log10(hi / lo)
	var ticks []plot.Tick
	for exp := first; exp <= last; exp++ {
		for digit := 1; digit <= 9; digit++ {
			// Parsed, not multiplied: 3·0.1 is labelled 0.30000000000000004.
			text := fmt.Sprintf("%de%d", digit, exp)
			value, err := strconv.ParseFloat(text, 64)
			if err != nil || value < lo || value > hi {
				continue
			}
			tick := plot.Tick{Value: value}
			if digit == 1 && exp%(1+int(decades/8)) == 0 || (digit == 2 || digit == 5) && decades < 3 {
				tick.Label = strconv.FormatFloat(value, 'g', -1, 64)
			}
			ticks = append(ticks, tick)
		}
	}
	return ticks
}

package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The picture, in pixels: a panel for each number of threads, side by side, and
// the legend below. The ground is white, on dark pages too.
const (
	panelWidth, panelHeight           = 560.0, 420.0
	left, right, top, bottom, lineGap = 64.0, 16.0, 40.0, 52.0, 20.0
	perLegendLine                     = 4
)

// colours are Okabe and Ito's, told apart by colour-blind eyes, too. A level has
// its own; candidates take the others in turn.
var (
	levelColours     = map[string]string{"reference": "#000000", "avx2": "#0072b2", "avx512": "#d55e00", "neon": "#009e73"}
	candidateColours = []string{"#cc79a7", "#e69f00", "#56b4e9", "#b8a800"}
)

// marks draw an op's points, as SVG paths around the origin.
var marks = []string{
	"M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z",                // circle
	"M-3.5,-3.5H3.5V3.5H-3.5Z",                           // square
	"M0,-5L4.5,3.5H-4.5Z",                                // triangle
	"M0,-5L5,0L0,5L-5,0Z",                                // diamond
	"M0,5L4.5,-3.5H-4.5Z",                                // triangle, point down
	"M-4,-1.3H-1.3V-4H1.3V-1.3H4V1.3H1.3V4H-1.3V1.3H-4Z", // cross
}

// element is a node of the SVG file.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []*element `xml:",any"`
}

// node makes an element from pairs of attribute and value.
func node(name string, attrs ...any) *element {
	e := &element{XMLName: xml.Name{Local: name}}
	for i := 0; i < len(attrs); i += 2 {
		value := fmt.Sprint(attrs[i+1])
		if v, ok := attrs[i+1].(float64); ok {
			value = strconv.FormatFloat(math.Round(10*v)/10, 'f', -1, 64)
		}
		e.Attrs = append(e.Attrs, xml.Attr{Name: xml.Name{Local: attrs[i].(string)}, Value: value})
	}
	return e
}

func (e *element) add(children ...*element) *element {
	e.Children = append(e.Children, children...)
	return e
}

func (e *element) with(text string) *element {
	e.Text = text
	return e
}

// axis maps the values from lo to hi to pixels, by their logarithm.
type axis struct{ lo, hi, from, to float64 }

func (a axis) at(v float64) float64 {
	return a.from + (a.to-a.from)*math.Log(v/a.lo)/math.Log(a.hi/a.lo)
}

// ticks are the powers of ten, and 2 and 5 times these on a short axis.
func (a axis) ticks() (list []float64) {
	for d := math.Floor(math.Log10(a.lo)); d <= math.Log10(a.hi); d++ {
		for _, m := range []float64{1, 2, 5} {
			v := m * math.Pow(10, d)
			if v >= a.lo && v <= a.hi && (m == 1 || a.hi/a.lo < 2000) {
				list = append(list, v)
			}
		}
	}
	return list
}

// draw makes the SVG file of the points under their roofs.
func draw(points []*benchmark, c *ceilings) ([]byte, error) {
	if len(points) == 0 {
		return nil, errors.New("nothing to draw: no benchmark has both GFLOP/s and flop/B")
	}
	x, y := ranges(points, c)
	var isas, ops []string
	for _, p := range points {
		if !slices.Contains(isas, p.isa) {
			isas = append(isas, p.isa)
		}
		if !slices.Contains(ops, p.op) {
			ops = append(ops, p.op)
		}
	}
	colours := colour(isas)
	legend := float64((len(isas)+perLegendLine-1)/perLegendLine+(len(ops)+perLegendLine-1)/perLegendLine)*lineGap + lineGap
	width, height := panelWidth*float64(len(c.threads)), panelHeight+legend
	svg := node("svg", "xmlns", "http://www.w3.org/2000/svg", "width", width, "height", height,
		"viewBox", fmt.Sprintf("0 0 %g %g", width, height), "font-family", "sans-serif", "font-size", "12")
	svg.add(node("rect", "width", "100%", "height", "100%", "fill", "#ffffff"))
	for i, threads := range c.threads {
		g := node("g", "transform", fmt.Sprintf("translate(%g,0)", float64(i)*panelWidth))
		panel(g, points, c, threads, x, y, colours, ops)
		svg.add(g)
	}
	at := panelHeight + lineGap/2
	entries := func(names []string, mark func(name string) *element) {
		for i, name := range names {
			spot := fmt.Sprintf("translate(%g,%g)", left+float64(i%perLegendLine)*220, at+float64(i/perLegendLine)*lineGap)
			svg.add(node("g", "transform", spot).add(mark(name), node("text", "x", 14, "y", 4).with(name)))
		}
		at += float64((len(names)+perLegendLine-1)/perLegendLine) * lineGap
	}
	entries(isas, func(isa string) *element {
		return node("path", "d", "M-8,0H8", "stroke", colours[isa], "stroke-width", 3)
	})
	entries(ops, func(op string) *element {
		return node("path", "d", marks[slices.Index(ops, op)%len(marks)], "fill", "#555555")
	})
	text, err := xml.MarshalIndent(svg, "", "\t")
	if err != nil {
		return nil, err
	}
	return append([]byte(xml.Header), append(text, '\n')...), nil
}

// colour gives each level its own and each candidate one of the others.
func colour(isas []string) map[string]string {
	colours := map[string]string{}
	n := 0
	for _, isa := range isas {
		if colours[isa] = levelColours[isa]; colours[isa] == "" {
			colours[isa] = candidateColours[n%len(candidateColours)]
			n++
		}
	}
	return colours
}

// ranges are the axes, of intensity and rate, which all panels share: all points,
// the peaks of their levels, and where these meet the memory's slope.
func ranges(points []*benchmark, c *ceilings) (x, y axis) {
	x, y = axis{lo: math.Inf(1)}, axis{lo: math.Inf(1)}
	for _, p := range points {
		rate, _ := p.metric("GFLOP/s")
		intensity, _ := p.metric("flop/B")
		peak := c.peaks[peakKey{p.level(), p.threads}]
		ridge := peak / c.streams[streamKey{"memory", p.threads}]
		x.lo, x.hi = min(x.lo, intensity, ridge), max(x.hi, intensity, ridge)
		y.lo, y.hi = min(y.lo, rate), max(y.hi, rate, peak)
	}
	x.lo, x.hi, x.from, x.to = x.lo/2, x.hi*2, left, panelWidth-right
	y.lo, y.hi, y.from, y.to = y.lo/2, y.hi*2, panelHeight-bottom, top
	return x, y
}

// panel draws the points of one number of threads.
func panel(g *element, points []*benchmark, c *ceilings, threads int, x, y axis, colours map[string]string, ops []string) {
	title := fmt.Sprintf("%d threads", threads)
	if threads == 1 {
		title = "1 thread"
	}
	g.add(node("text", "x", left, "y", top-14, "font-weight", "bold").with(title))
	line := func(x1, y1, x2, y2 float64, attrs ...any) *element {
		return node("line", append([]any{"x1", x1, "y1", y1, "x2", x2, "y2", y2}, attrs...)...)
	}
	for _, v := range x.ticks() {
		g.add(line(x.at(v), y.from, x.at(v), y.to, "stroke", "#e6e6e6"),
			node("text", "x", x.at(v), "y", y.from+16, "text-anchor", "middle").with(strconv.FormatFloat(v, 'g', 3, 64)))
	}
	for _, v := range y.ticks() {
		g.add(line(x.from, y.at(v), x.to, y.at(v), "stroke", "#e6e6e6"),
			node("text", "x", x.from-6, "y", y.at(v)+4, "text-anchor", "end").with(strconv.FormatFloat(v, 'g', 6, 64)))
	}
	g.add(node("text", "x", (x.from+x.to)/2, "y", y.from+36, "text-anchor", "middle").with("flop/B"),
		node("text", "x", 14, "y", (y.from+y.to)/2, "text-anchor", "middle", "transform", fmt.Sprintf("rotate(-90,14,%g)", (y.from+y.to)/2)).with("GFLOP/s"))

	var levels []string
	highest := 0.0
	for _, p := range points {
		if p.threads == threads && !slices.Contains(levels, p.level()) {
			levels = append(levels, p.level())
			highest = max(highest, c.peaks[peakKey{p.level(), threads}])
		}
	}
	for i, place := range places {
		// The slope, y = rate·x, from the left or the lower edge to the highest roof.
		rate := c.streams[streamKey{place, threads}]
		from, to := max(x.lo, y.lo/rate), min(x.hi, highest/rate)
		if from >= to {
			continue
		}
		dash := []string{"2,3", "6,3", ""}[i]
		g.add(line(x.at(from), y.at(rate*from), x.at(to), y.at(rate*to), "stroke", "#777777", "stroke-dasharray", dash).add(
			node("title").with(fmt.Sprintf("%s: %s GB/s", place, number(rate)))))
		angle := math.Atan2(y.at(rate*to)-y.at(rate*from), x.at(to)-x.at(from)) * 180 / math.Pi
		mx, my := x.at(math.Sqrt(from*to)), y.at(rate*math.Sqrt(from*to))-4
		g.add(node("text", "x", mx, "y", my, "text-anchor", "middle", "font-size", "10", "fill", "#555555",
			"transform", fmt.Sprintf("rotate(%.1f,%.1f,%.1f)", angle, mx, my)).with(fmt.Sprintf("%s %s GB/s", place, number(rate))))
	}
	fastest := c.streams[streamKey{places[0], threads}]
	for _, p := range places {
		fastest = max(fastest, c.streams[streamKey{p, threads}])
	}
	for _, level := range levels {
		peak := c.peaks[peakKey{level, threads}]
		col := levelColours[level]
		if col == "" {
			col = "#000000"
		}
		g.add(line(x.at(max(x.lo, peak/fastest)), y.at(peak), x.to, y.at(peak), "stroke", col, "stroke-width", 2).add(
			node("title").with(fmt.Sprintf("%s: %s GFLOP/s", level, number(peak)))))
		g.add(node("text", "x", x.to, "y", y.at(peak)-5, "text-anchor", "end", "font-size", "10", "fill", col).with(
			fmt.Sprintf("%s peak %s GFLOP/s", level, number(peak))))
	}
	for _, p := range points {
		if p.threads != threads {
			continue
		}
		rate, _ := p.metric("GFLOP/s")
		intensity, _ := p.metric("flop/B")
		tip := []string{strings.TrimPrefix(p.name, "Benchmark"), number(rate) + " GFLOP/s at " + number(intensity) + " flop/B"}
		if share := p.cell("%roof"); share != "" {
			tip = append(tip, share+" % of roof")
		}
		g.add(node("path", "d", marks[slices.Index(ops, p.op)%len(marks)], "transform", fmt.Sprintf("translate(%.1f,%.1f)", x.at(intensity), y.at(rate)),
			"fill", colours[p.isa], "fill-opacity", "0.75", "stroke", "#ffffff", "stroke-width", "0.5").add(node("title").with(strings.Join(tip, "\n"))))
	}
}

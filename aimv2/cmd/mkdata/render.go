package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// pngPath is where the rendered picture of a drawing lies.
func (d *drawing) pngPath(o options) string {
	return filepath.Join(o.work, d.style.name, fmt.Sprint(o.size), d.codepoints+".png")
}

// renderAll renders what is not in o.work yet. A drawing that rsvg-convert
// refuses is left out and counted: a few of thousands are malformed.
//
// Errors: rsvg-convert is missing, or a folder cannot be made.
func renderAll(drawings []*drawing, o options) (failed int, err error) {
	if _, err := exec.LookPath("rsvg-convert"); err != nil {
		return 0, fmt.Errorf("%w (Debian: librsvg2-bin)", err)
	}
	for _, st := range styles {
		if err := os.MkdirAll(filepath.Join(o.work, st.name, fmt.Sprint(o.size)), 0o755); err != nil {
			return 0, err
		}
	}
	queue := make(chan *drawing)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for d := range queue {
				if err := render(d, d.pngPath(o)); err != nil {
					mu.Lock()
					failed++
					mu.Unlock()
					fmt.Fprintf(os.Stderr, "mkdata: %s/%s left out: %v\n", d.style.name, d.codepoints, err)
				}
			}
		})
	}
	for _, d := range drawings {
		queue <- d
	}
	close(queue)
	workers.Wait()
	return failed, nil
}

// render writes one PNG, unless it is there.
func render(d *drawing, path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	partial := path + ".partial" // an interrupted run must not leave half a picture
	defer os.Remove(partial)
	convert := exec.Command("rsvg-convert", "-f", "png", "-o", partial)
	convert.Stdin = strings.NewReader(d.svg)
	if output, err := convert.CombinedOutput(); err != nil {
		return fmt.Errorf("rsvg-convert: %w: %s", err, strings.TrimSpace(string(output)))
	}
	return os.Rename(partial, path)
}

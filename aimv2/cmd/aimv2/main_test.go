package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fuerte/aimv2"
	"fuerte/aimv2/report"
	"fuerte/kernels"
	"fuerte/nn/npy"
	"fuerte/nn/safetensors"
	"fuerte/nn/tuning"
	"fuerte/tensor"
)

// The tests start this very binary as the program: a process of its own, with
// its own signals, exit status and folder.
const asProgram = "AIMV2_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program prepares a command line to be run in dir.
func program(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), asProgram+"=1")
	return c
}

// result is how a command ended.
type result struct {
	stdout, stderr string
	status         int
}

func finished(t *testing.T, c *exec.Cmd, out, diagnostics *bytes.Buffer, err error) result {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r := result{out.String(), diagnostics.String(), c.ProcessState.ExitCode()}
	if strings.Contains(r.stderr, "goroutine ") {
		t.Errorf("%q panicked: %s", c.Args[1:], r.stderr)
	}
	return r
}

// start runs a command line in the background; the result comes from wait.
func start(t *testing.T, dir string, args ...string) (c *exec.Cmd, wait func() result) {
	t.Helper()
	c = program(t, dir, args...)
	var out, diagnostics bytes.Buffer
	c.Stdout, c.Stderr = &out, &diagnostics
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, func() result { return finished(t, c, &out, &diagnostics, c.Wait()) }
}

// do runs a command line to its end.
func do(t *testing.T, dir string, args ...string) result {
	t.Helper()
	_, wait := start(t, dir, args...)
	return wait()
}

// must runs a command line that succeeds.
func must(t *testing.T, dir string, args ...string) result {
	t.Helper()
	r := do(t, dir, args...)
	if r.status != 0 {
		t.Fatalf("%q: status %d: %s", args, r.status, r.stderr)
	}
	return r
}

// pictures fills a folder with a few captioned pictures.
func pictures(t *testing.T, dir string) {
	t.Helper()
	for i := range 7 {
		img := image.NewNRGBA(image.Rect(0, 0, 30, 24+i))
		for y := range 20 {
			for x := i; x < 14+2*i; x++ {
				img.SetNRGBA(x, y, color.NRGBA{uint8(40 * i), uint8(12 * y), uint8(250 - 9*x), 255})
			}
		}
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, fmt.Sprintf("p%d.png", i)), b.Bytes())
		write(t, filepath.Join(dir, fmt.Sprintf("p%d.txt", i)), fmt.Appendf(nil, "box number %d", i))
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// names lists a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// tiny is the preset that the tests train.
var tiny = aimv2.Presets["tiny"]

// TestRuns walks the life of a run: straight, interrupted, killed, used.
func TestRuns(t *testing.T) {
	dir := t.TempDir()
	pictures(t, filepath.Join(dir, "data"))
	const steps = 120 // enough to be stopped in the middle of, on a fast machine, too
	pretrain := func(args ...string) []string {
		return append([]string{"pretrain", "-steps", fmt.Sprint(steps), "-batch", "2", "-data", "data"}, args...)
	}
	r := must(t, dir, pretrain("-out", "straight")...)
	model := read(t, filepath.Join(dir, "straight", aimv2.ModelFile))

	t.Run("files", func(t *testing.T) {
		want := []string{"captions.txt", "config.json", "loss.png", "metrics.jsonl", "model.safetensors", "state.safetensors", "targets.png", "tokenizer.json"}
		if got := names(t, filepath.Join(dir, "straight")); !slices.Equal(got, want) {
			t.Errorf("the run left %q, want %q", got, want)
		}
		if !strings.Contains(r.stdout, "caption -model straight ") || !strings.Contains(r.stdout, "probe -model straight") {
			t.Errorf("nothing on what to run next: %q", r.stdout)
		}
		for _, want := range []string{fmt.Sprintf("step %d/%d", steps, steps), "pixel", "text", "images/s", "GFLOP/s", "% of peak", "left"} {
			if !strings.Contains(r.stderr, want) {
				t.Errorf("no %q in the progress %q", want, r.stderr)
			}
		}
		if text := string(read(t, filepath.Join(dir, "straight", captionsFile))); !strings.Contains(text, "box number 3") {
			t.Errorf("the captions lack the true ones: %q", text)
		}
		for _, name := range []string{lossFile, targetsFile} {
			if _, err := png.Decode(bytes.NewReader(read(t, filepath.Join(dir, "straight", name)))); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		checkMetrics(t, filepath.Join(dir, "straight"), steps)
	})

	t.Run("no overwriting", func(t *testing.T) {
		r := do(t, dir, pretrain("-out", "straight")...)
		if r.status != 1 || !strings.Contains(r.stderr, "-resume straight") || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("status %d, %q", r.status, r.stderr)
		}
		if !bytes.Equal(read(t, filepath.Join(dir, "straight", aimv2.ModelFile)), model) {
			t.Error("the model has changed")
		}
	})

	t.Run("interrupt", func(t *testing.T) {
		c, wait := start(t, dir, pretrain("-out", "interrupted")...)
		waitForSteps(t, filepath.Join(dir, "interrupted"), 3)
		if err := c.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		r := wait()
		if r.status != 130 || !strings.Contains(r.stdout, "pretrain -resume interrupted -data data\n") {
			t.Fatalf("status %d, %q, %q", r.status, r.stdout, r.stderr)
		}
		if got := do(t, dir, "caption", "-model", "interrupted", "data/p0.png"); got.status != 1 || !strings.Contains(got.stderr, "not finished") {
			t.Errorf("captions of an unfinished run: status %d, %q", got.status, got.stderr)
		}
		must(t, dir, "pretrain", "-resume", "interrupted", "-data", "data")
		if !bytes.Equal(read(t, filepath.Join(dir, "interrupted", aimv2.ModelFile)), model) {
			t.Error("the resumed run ends with other weights than the straight one")
		}
		checkMetrics(t, filepath.Join(dir, "interrupted"), steps)
	})

	t.Run("terminate in double-dash style", func(t *testing.T) {
		c, wait := start(t, dir, "pretrain", "--steps=10000", "--batch", "2", "--data=data", "--out", "terminated")
		waitForSteps(t, filepath.Join(dir, "terminated"), 3)
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if r := wait(); r.status != 130 {
			t.Errorf("status %d, %q", r.status, r.stderr)
		}
	})

	t.Run("kill", func(t *testing.T) {
		c, wait := start(t, dir, pretrain("-out", "killed", "-every", "4")...)
		waitForSteps(t, filepath.Join(dir, "killed"), 11)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		wait()
		// What a kill in the middle of a line and of a state would leave.
		metrics := filepath.Join(dir, "killed", aimv2.MetricsFile)
		write(t, metrics, append(read(t, metrics), `{"step":1`...))
		write(t, filepath.Join(dir, "killed", "."+aimv2.StateFile+".0123abcd.tmp"), []byte("half"))
		r := must(t, dir, "pretrain", "-resume", "killed", "-data", "data")
		if !strings.Contains(r.stderr, "from step ") {
			t.Errorf("resumed from the beginning: %q", r.stderr)
		}
		if !bytes.Equal(read(t, filepath.Join(dir, "killed", aimv2.ModelFile)), model) {
			t.Error("the resumed run ends with other weights than the straight one")
		}
		checkMetrics(t, filepath.Join(dir, "killed"), steps)
	})

	t.Run("longer", func(t *testing.T) {
		must(t, dir, "pretrain", "-resume", "killed", "-data", "data", "-steps", fmt.Sprint(steps+3))
		checkMetrics(t, filepath.Join(dir, "killed"), steps+3)
		if r := do(t, dir, "pretrain", "-resume", "killed", "-data", "data", "-steps", "9"); r.status != 1 || !strings.Contains(r.stderr, "past 9") {
			t.Errorf("to a step behind: status %d, %q", r.status, r.stderr)
		}
	})

	t.Run("diverged", func(t *testing.T) {
		r := do(t, dir, pretrain("-out", "diverged", "-peak-lr", "1e8")...)
		if r.status != 1 || !strings.Contains(r.stderr, "not finite") {
			t.Errorf("status %d, %q", r.status, r.stderr)
		}
		sf, err := safetensors.Open(filepath.Join(dir, "diverged", aimv2.StateFile))
		if err != nil {
			t.Fatal(err)
		}
		defer sf.Close()
		if sf.Metadata()["step"] != "0" {
			t.Errorf("the state is of step %s", sf.Metadata()["step"])
		}
	})

	t.Run("damaged picture", func(t *testing.T) {
		path := filepath.Join(dir, "data", "p4.png")
		whole := read(t, path)
		write(t, path, whole[:len(whole)-30])
		defer write(t, path, whole)
		r := do(t, dir, pretrain("-out", "damaged")...)
		if r.status != 1 || !strings.Contains(r.stderr, "aimv2: dataset: "+filepath.Join("data", "p4.png")+": ") {
			t.Errorf("status %d, %q", r.status, r.stderr)
		}
		write(t, path, whole)
		must(t, dir, "pretrain", "-resume", "damaged", "-data", "data")
		if !bytes.Equal(read(t, filepath.Join(dir, "damaged", aimv2.ModelFile)), model) {
			t.Error("the mended run ends with other weights than the straight one")
		}
	})

	t.Run("info", func(t *testing.T) {
		for checkpoint, want := range map[string][]string{
			"straight":                   {fmt.Sprintf("%d×%d pixels", tiny.ImageSize, tiny.ImageSize), fmt.Sprintf("step %d;", steps), "model.safetensors", "image_encoder.preprocessor.pos_embed", fmt.Sprintf("1×%d×%d", tiny.Tokens(), tiny.Encoder.Width), "F32"},
			"straight/state.safetensors": {fmt.Sprintf("step %d;", steps), "first moments", "v.text_decoder"},
			"straight/model.safetensors": {"image_encoder.preprocessor.pos_embed", "format"},
		} {
			r := must(t, dir, "info", checkpoint)
			for _, w := range want {
				if !strings.Contains(r.stdout, w) {
					t.Errorf("info %s does not say %q", checkpoint, w)
				}
			}
		}
	})

	t.Run("export", func(t *testing.T) {
		must(t, dir, "export", "straight", "small", "-dtype", "BF16")
		if got, full := len(read(t, filepath.Join(dir, "small", aimv2.ModelFile))), len(model); got > full*6/10 {
			t.Errorf("BF16 takes %d bytes, F32 %d", got, full)
		}
		must(t, dir, "caption", "-model", "small", "data/p0.png")
		if r := do(t, dir, "export", "small", "straight"); r.status != 1 {
			t.Errorf("exported over a run: status %d", r.status)
		}
	})

	t.Run("use", func(t *testing.T) { testUse(t, dir) })
	for _, name := range []string{"straight", "interrupted", "killed", "damaged"} {
		for _, f := range names(t, filepath.Join(dir, name)) {
			if strings.HasPrefix(f, ".") {
				t.Errorf("%s is left in %s", f, name)
			}
		}
	}
}

// testUse captions and embeds with the model in dir/straight.
func testUse(t *testing.T, dir string) {
	tokens, width := tiny.Tokens(), tiny.Encoder.Width
	write(t, filepath.Join(dir, "text.png"), []byte("hello"))
	good, bad := filepath.Join("data", "p1.png"), "text.png"

	r := do(t, dir, "caption", "-model", "straight", good, bad, "none.png", "data/p2.png")
	if r.status != 1 {
		t.Errorf("caption with bad files: status %d", r.status)
	}
	if lines := strings.Split(r.stdout, "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], good+": ") || !strings.HasPrefix(lines[1], "data/p2.png: ") {
		t.Errorf("captions: %q", r.stdout)
	}
	if lines := strings.Split(r.stderr, "\n"); len(lines) != 3 || !strings.Contains(lines[0], bad) || !strings.Contains(lines[1], "none.png") {
		t.Errorf("complaints: %q", r.stderr)
	}

	// The same seed draws the same, alone and beside others.
	draw := []string{"caption", "-model", "straight", "-top-p", "0.95", "-seed", "7", "-n", "3"}
	two := must(t, dir, append(draw, good, "data/p2.png")...).stdout
	if one := must(t, dir, append(draw, "data/p2.png")...).stdout; !strings.HasSuffix(two, one) || strings.Count(one, "\n") != 3 {
		t.Errorf("three captions of one picture: %q, beside another: %q", one, two)
	}

	c := program(t, dir, "caption", "-model", "straight", "-")
	c.Stdin = bytes.NewReader(read(t, filepath.Join(dir, good)))
	if out, err := c.Output(); err != nil || !strings.HasPrefix(string(out), "-: ") {
		t.Errorf("standard input: %q, %v", out, err)
	}

	r = do(t, dir, "embed", "-model", "straight", good, bad, "data/p2.png", "-out", "f.npy")
	if r.status != 1 || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("embed with a bad file: status %d, %q", r.status, r.stderr)
	}
	shape, array, err := npy.Read(bytes.NewReader(read(t, filepath.Join(dir, "f.npy"))))
	if err != nil || !slices.Equal(shape, []int{2, width}) {
		t.Fatalf("f.npy has shape %v, %v", shape, err)
	}
	must(t, dir, "embed", "-model", "straight", good, "data/p2.png", good, "-pool", "none", "-out", "f.safetensors")
	sf, err := safetensors.Open(filepath.Join(dir, "f.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer sf.Close()
	if got := sf.Names(); !slices.Equal(got, []string{good, "data/p2.png"}) {
		t.Errorf("tensors %q", got)
	}
	patches := make([]float32, tokens*width)
	if err := sf.Float32s("data/p2.png", patches); err != nil {
		t.Fatal(err)
	}
	for d := range width { // the mean of the patches is what -pool mean gives
		sum := 0.0
		for k := range tokens {
			sum += float64(patches[k*width+d])
		}
		if got := float64(array[width+d]); math.Abs(got-sum/float64(tokens)) > 1e-5*(1+math.Abs(got)) {
			t.Fatalf("feature %d is %g, the mean of the patches %g", d, got, sum/float64(tokens))
		}
	}

	before := names(t, dir)
	if r := do(t, dir, "embed", "-model", "straight", bad, "-out", "none.npy"); r.status != 1 {
		t.Errorf("embed of nothing: status %d", r.status)
	}
	if r := do(t, dir, "embed", "-model", "straight", good, "-out", "no/folder.npy"); r.status != 1 {
		t.Errorf("embed into no folder: status %d", r.status)
	}
	if after := names(t, dir); !slices.Equal(before, after) {
		t.Errorf("embed left %q beside %q", after, before)
	}
}

// waitForSteps waits until so many steps of a run are reported.
func waitForSteps(t *testing.T, dir string, n int) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(2 * time.Millisecond) {
		if data, err := os.ReadFile(filepath.Join(dir, aimv2.MetricsFile)); err == nil && bytes.Count(data, []byte("\n")) >= n {
			return
		}
	}
	t.Fatalf("no %d steps in half a minute", n)
}

// checkMetrics wants each step once, in order.
func checkMetrics(t *testing.T, dir string, n int) {
	t.Helper()
	lines, err := report.ReadMetrics[aimv2.Metrics](filepath.Join(dir, aimv2.MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range lines {
		if m.Step != i || !(m.Total > 0) {
			t.Fatalf("line %d is %+v", i, m)
		}
	}
	if len(lines) != n {
		t.Errorf("%d lines of metrics, want %d", len(lines), n)
	}
}

// TestBadInput wants one clear line that names the culprit, and the status.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	pictures(t, filepath.Join(dir, "data"))
	whole := read(t, filepath.Join(dir, "data", "p0.png"))
	write(t, filepath.Join(dir, "cut.png"), whole[:len(whole)-25])
	write(t, filepath.Join(dir, "text.png"), []byte("This is no picture.\n"))
	write(t, filepath.Join(dir, "huge.safetensors"), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, '{', '}'})
	write(t, filepath.Join(dir, "text.safetensors"), []byte("hello"))
	write(t, filepath.Join(dir, "badconfig", "config.json"), []byte("{"))
	write(t, filepath.Join(dir, "badstate", "state.safetensors"), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, '{', '}'})
	write(t, filepath.Join(dir, "nocaption", "a.png"), whole)
	write(t, filepath.Join(dir, "file"), nil)
	write(t, filepath.Join(dir, "bad.jsonl"), []byte("{}\n"))
	write(t, filepath.Join(dir, "bad.json"), []byte(`[{"data":"data"}]`))
	shards(t, filepath.Join(dir, "data"), dir)
	tars := read(t, filepath.Join(dir, "s-0.tar"))
	write(t, filepath.Join(dir, "cut.tar"), tars[:len(tars)/2])
	if err := os.Mkdir(filepath.Join(dir, "folder.png"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"caption none.png", 1, "none.png: no such file"},
		{"caption cut.png", 1, "cut.png: imagefile: damaged png picture: "},
		{"caption text.png", 1, "text.png: imagefile: not a PNG"},
		{"caption folder.png", 1, "folder.png: is a directory"},
		{"caption " + os.DevNull, 1, os.DevNull + ": imagefile: not a PNG"},
		{"caption -model none data/p0.png", 1, "none/config.json"},
		{"caption -model badconfig data/p0.png", 1, "badconfig/config.json"},
		{"caption -model file data/p0.png", 1, "file/config.json"},
		{"caption -- -n", 1, "-n: no such file"},
		{"embed -out x.npy text.png", 1, "text.png"},
		{"embed text.png -out x.npy", 1, "text.png"},
		{"info none", 1, "none: no such file"},
		{"plot none", 1, "none/metrics.jsonl"},
		{"info data", 1, "data holds no model"},
		{"info huge.safetensors", 1, "huge.safetensors: header of 9223372036854775807 bytes"},
		{"info text.safetensors", 1, "text.safetensors: truncated"},
		{"info badconfig", 1, "badconfig/config.json"},
		{"export data x", 1, "data/config.json"},
		{"pretrain -tokenizer none", 1, "-tokenizer: tokenizer: stat none: no such file"},
		{"pretrain -tokenizer badconfig", 1, "badconfig: no tokenizer.json"},
		{"pretrain -resume none", 1, "none holds no run"},
		{"pretrain -resume data", 1, "data holds no run"},
		{"pretrain -resume badstate", 1, "badstate/state.safetensors"},
		{"pretrain -data none -out x", 1, "none: no such file"},
		{"pretrain -data file -out x", 1, "file: not a directory"},
		{"pretrain -data nocaption -out x", 1, "a.png: no caption"},
		{"pretrain -data data -steps 1 -out file", 1, "file"},
		{"pretrain -data data -peak-lr Inf -out x", 1, "rate"},
		{"pretrain -data cut.tar -out x", 1, "cut.tar: member \"p2.png\": the shard is cut short"},
		{"pretrain -data none-{0..3}.tar -out x", 1, "none-0.tar: no such file"},
		{"pretrain -data bad.jsonl -out x", 1, "bad.jsonl: line 1: "},
		{"pretrain -data bad.json -out x", 1, "bad.json: entry 1"},
		{"pretrain -data data=-1 -data data -out x", 1, "weight of -1"},
		{"pretrain -data emoji48:none -out x", 1, `no split "none"`},
		{"pretrain -data data -eval-data none -out x", 1, "none: no such file"},
		{"pretrain -data data -eval-every 5 -out x", 1, "-eval-every needs -eval-data"},
		{"pretrain -batch 3 -accumulate 2 -out x", 1, "a batch of 3 does not divide into 2"},
		{"pretrain -objective contrast -out x", 1, `no objective "contrast"`},
		{"pretrain -attention sparse -out x", 1, `no attention "sparse"`},
		{"pretrain -pixel-weight 0 -out x", 1, "the pixel loss has weight 0"},
		{"pretrain -image-size 50 -out x", 1, "50 pixels do not divide"},
		{"pretrain -init none -out x", 1, "none/config.json"},
		{"pretrain -init none -preset tiny", 2, "-preset cannot be given with -init"},
		{"pretrain -accumulate 0", 2, "-accumulate 0"},
		{"pretrain -eval-every -1", 2, "-eval-every -1"},
		{"pretrain -image-size 0", 2, "-image-size 0"},
		{"pretrain -resume x -objective image", 2, "-objective cannot be given with -resume"},
		{"pretrain -preset gigantic", 2, "gigantic"},
		{"pretrain -steps 0", 2, "-steps 0"},
		{"pretrain -steps many", 2, "-steps"},
		{"pretrain -steps", 2, "-steps"},
		{"pretrain data", 2, "data"},
		{"pretrain -batch -3", 2, "-batch"},
		{"pretrain -peak-lr 0", 2, "-peak-lr 0"},
		{"pretrain -every -1", 2, "-every"},
		{"pretrain -resume x -batch 4", 2, "-batch cannot be given with -resume"},
		{"pretrain -stepz 3", 2, "-stepz"},
		{"caption", 2, "IMAGE"},
		{"caption -n 2 data/p0.png", 2, "-n without -top-p"},
		{"caption -top-p 2 data/p0.png", 2, "top-p 2"},
		{"caption -top-p 0.5 -temperature 0 data/p0.png", 2, "-temperature 0"},
		{"embed -out x.txt data/p0.png", 2, "x.txt"},
		{"embed -pool max data/p0.png", 2, "-pool max"},
		{"probe -epochs 0", 2, "-epochs 0"},
		{"export data", 2, "DEST"},
		{"export data x y", 2, "y"},
		{"info", 2, "CHECKPOINT"},
		{"plot", 2, "RUN"},
		{"plot -loss sum none", 2, "-loss sum"},
		{"export data x -dtype I8", 2, "-dtype I8"},
		{"train", 2, "train"},
		{"", 2, "pretrain"},
	} {
		before := names(t, dir)
		r := do(t, dir, strings.Fields(c.args)...)
		if r.status != c.status || !strings.Contains(r.stderr, c.want) || r.stdout != "" {
			t.Errorf("aimv2 %s: status %d, %q on standard output, %q on standard error; want status %d and %q", c.args, r.status, r.stdout, r.stderr, c.status, c.want)
		}
		// An error of usage has a second line, on where help is.
		if lines := strings.Count(r.stderr, "\n"); lines != c.status {
			t.Errorf("aimv2 %s: %d lines of errors: %q", c.args, lines, r.stderr)
		}
		if after := names(t, dir); !slices.Equal(before, after) {
			t.Errorf("aimv2 %s leaves %q", c.args, after)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range []string{"-h", "--help", "pretrain -h", "caption -help", "probe -h", "retrieve -h", "zeroshot x.png -h", "embed x.png -h", "info -h", "export -h", "plot -h"} {
		r := do(t, t.TempDir(), strings.Fields(args)...)
		if r.status != 0 || !strings.HasPrefix(r.stdout, "Usage: aimv2") || r.stderr != "" {
			t.Errorf("aimv2 %s: status %d, %q, %q", args, r.status, r.stdout, r.stderr)
		}
	}
}

// TestMemory asks for more than any machine has, and for what every one has.
func TestMemory(t *testing.T) {
	if err := fits(1 << 20); err != nil {
		t.Error(err)
	}
	if availableMemory() == 0 {
		t.Skip("the system does not tell how much memory there is")
	}
	if err := fits(1 << 50); err == nil {
		t.Error("a model of 18 PB is said to fit")
	}
}

// TestISA forces a level that there is not, and one that there always is.
func TestISA(t *testing.T) {
	dir := t.TempDir()
	pictures(t, dir)
	for level, status := range map[string]int{"nonsense": 1, "reference": 0} {
		c := program(t, dir, "caption", "p0.png")
		c.Env = append(c.Env, "FUERTE_ISA="+level)
		var out, diagnostics bytes.Buffer
		c.Stdout, c.Stderr = &out, &diagnostics
		r := finished(t, c, &out, &diagnostics, c.Run())
		if r.status != status {
			t.Errorf("FUERTE_ISA=%s: status %d, %q", level, r.status, r.stderr)
		}
		if status != 0 && (strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, "FUERTE_ISA="+level)) {
			t.Errorf("FUERTE_ISA=%s: %q", level, r.stderr)
		}
	}
}

// TestTuning: a stored Tuning is applied and changes no output; one that is broken is
// reported in a line and ignored.
func TestTuning(t *testing.T) {
	dir := t.TempDir()
	pictures(t, dir)
	set, err := kernels.Choose()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "tuning.json")
	t.Setenv("FUERTE_TUNING", file)
	if _, err := tuning.Store(set.Name, kernels.Tuning{BlockRows: 64, Tasks: 64, TaskFLOP: 1 << 14, ThinElements: 1 << 10}); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, "broken.json")
	if err := os.WriteFile(broken, []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	first := ""
	for _, name := range []string{"off", file, broken} {
		c := program(t, dir, "embed", "-out", "out.npy", "p0.png")
		c.Env = append(c.Env, "FUERTE_TUNING="+name)
		var out, diagnostics bytes.Buffer
		c.Stdout, c.Stderr = &out, &diagnostics
		r := finished(t, c, &out, &diagnostics, c.Run())
		features, err := os.ReadFile(filepath.Join(dir, "out.npy"))
		if r.status != 0 || err != nil {
			t.Fatalf("FUERTE_TUNING=%s: status %d, %q, %v", name, r.status, r.stderr, err)
		}
		if strings.Contains(r.stderr, "aimv2: ignored: tuning: "+broken) != (name == broken) {
			t.Errorf("FUERTE_TUNING=%s: %q", name, r.stderr)
		}
		if first == "" {
			first = string(features)
		} else if string(features) != first {
			t.Errorf("FUERTE_TUNING=%s: other features", name)
		}
	}
}

// TestProbe needs the features of 9,829 pictures.
func TestProbe(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute on one core")
	}
	dir := t.TempDir()
	r := must(t, dir, "probe", "-epochs", "1", "-lr", "1e-5,2e-3", "-json", "p.json")
	for _, want := range []string{"group, 9 classes", "subgroup, 98 classes", "attentive probe", "linear probe, among 5", "CIDEr-D", "sweep of group", "nearest 24×24 pixels", "most frequent class", "val-style", "test-style", "test-concept", "greedy"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in %s", want, r.stdout)
		}
	}
	got := readEvaluation(t, filepath.Join(dir, "p.json"))
	// The floor that raw pixels set, as it was measured by another program.
	for column, want := range map[string]float64{"val-style": 0.719, "test-style": 0.715, "test-concept": 0.515} {
		if share := got.value(t, "group", "nearest 24×24 pixels", "top-1", column); math.Abs(share-want) > 0.015 {
			t.Errorf("nearest pixels, group, %s: %.3f, want about %.3f", column, share, want)
		}
	}
	checkSweep(t, got, r.stdout)
}

// TestRestore restores the targets of the loss themselves, which gives the input.
func TestRestore(t *testing.T) {
	c := aimv2.Config{ImageSize: 12, PatchSize: 4, Context: 2}
	input := make([]float32, 3*12*12)
	for i := range input {
		input[i] = float32(i*i%97)/30 - 1
	}
	b := aimv2.NewBatch(tensor.CPU, c, input, [][]int32{{1}}, []int32{2}, 0)
	defer b.Release()
	got := restore(c, input, tensor.Data[float32](b.PixelTarget), 2)
	for i := range got {
		if math.Abs(float64(got[i]-input[i])) > 1e-5 {
			t.Fatalf("value %d is %g, was %g", i, got[i], input[i])
		}
	}
	nothing := restore(c, input, make([]float32, 8*48), 2)
	for i, v := range nothing { // patches 0 and 1 are rows 0 to 3, columns 0 to 7
		if given := i%144/12 < 4 && i%12 < 8; given != (v == input[i]) {
			t.Fatalf("value %d: given %v, yet %g of %g", i, given, v, input[i])
		}
	}
}

// TestOptions writes the same command line in every style.
func TestOptions(t *testing.T) {
	want := &captionCommand{images: []string{"a.png", "-", "-3"}, model: "m", topP: 0.5, temperature: 2, seed: 7, n: 3, beams: 1}
	for _, args := range []string{
		"caption -model m -top-p 0.5 -temperature 2 -seed 7 -n 3 a.png - -3",
		"caption -model m -top-p 0.5 a.png -temperature 2 - -seed 7 -n 3 -- -3",
		"caption a.png --model=m - -top-p=0.5 --temperature 2 -seed=7 -n=3 -3",
		"caption a.png - --n 3 -seed 7 -temperature=2 -top-p .5 -model m -- -3",
	} {
		got, err := parse(strings.Fields(args))
		if diff := cmp.Diff(verb(want), got, cmp.AllowUnexported(captionCommand{}, evalData{})); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got): %s", args, err, diff)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"runs/tiny": "runs/tiny", "my run": "'my run'", "": "''", "it's": `'it'\''s'`, "$HOME": "'$HOME'"} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}

// TestProgressLine wants the line to fit, and the loss to be what stays longest.
func TestProgressLine(t *testing.T) {
	begin := time.Now().Add(-10 * time.Second)
	p := &progress{total: 600, batch: 64, flop: 1e9, peak: 2e12, from: mark{begin, 0}, window: []mark{{begin, 0}}}
	now := mark{begin.Add(10 * time.Second), 150}
	m := aimv2.Metrics{Step: 149, Pixel: 0.5, Text: 3.25}
	full := "step 150/600  pixel 0.5000  text 3.2500  960 images/s  960.0 GFLOP/s (48 % of peak)  30s left"
	if got := p.line(m, now, math.MaxInt); got != full {
		t.Errorf("got  %q\nwant %q", got, full)
	}
	for width := range 160 {
		line := p.line(m, now, width)
		if n := len([]rune(line)); n > max(width, len("step 150/600")) {
			t.Errorf("%d characters for a width of %d: %q", n, width, line)
		}
		if width >= 40 && !strings.Contains(line, "text 3.2500") {
			t.Errorf("no loss at a width of %d: %q", width, line)
		}
	}
}

package tuning

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fuerte/kernels"
)

const level = "avx2"

var some = kernels.Tuning{BlockRows: 192, Tasks: 24, TaskFLOP: 1 << 21, ThinElements: 1 << 14}

// file makes FUERTE_TUNING name a file of this text, or of none where it is "".
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tuning.json")
	if text != "" {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("FUERTE_TUNING", path)
	return path
}

func TestStoreLoad(t *testing.T) {
	dir := t.TempDir()
	for _, variable := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
		t.Setenv(variable, dir)
	}
	t.Setenv("FUERTE_TUNING", "")
	if _, err := Load(level); !errors.Is(err, ErrNone) {
		t.Errorf("of no file: %v, want ErrNone", err)
	}
	path, err := Store(level, some)
	if err != nil {
		t.Fatal(err)
	}
	if rel, err := filepath.Rel(dir, path); err != nil || strings.HasPrefix(rel, "..") || !strings.HasSuffix(path, filepath.Join("fuerte", "tuning.json")) {
		t.Errorf("stored in %s, not below %s", path, dir)
	}
	if got, err := Load(level); err != nil || got != some {
		t.Errorf("loaded %+v, %v, want %+v", got, err, some)
	}
	if _, err := Load("avx512"); !errors.Is(err, ErrNone) {
		t.Errorf("of another level: %v, want ErrNone", err)
	}
}

// TestStoreKeeps: a second entry leaves the first, and those of other machines, also
// such as this version does not understand.
func TestStoreKeeps(t *testing.T) {
	path := file(t, `{"another CPU": {"New": [1, 2]}}`)
	other := some
	other.Tasks = 9
	for l, tuned := range map[string]kernels.Tuning{"avx2": some, "neon": other} {
		if got, err := Store(l, tuned); err != nil || got != path {
			t.Fatal(got, err)
		}
	}
	for l, want := range map[string]kernels.Tuning{"avx2": some, "neon": other} {
		if got, err := Load(l); err != nil || got != want {
			t.Errorf("%s: loaded %+v, %v, want %+v", l, got, err, want)
		}
	}
	entries, err := read(path)
	if err != nil || len(entries) != 3 || strings.Join(strings.Fields(string(entries["another CPU"])), "") != `{"New":[1,2]}` {
		t.Errorf("the file holds %s, %v", entries, err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestStoreErrors: what cannot be stored leaves everything as it was.
func TestStoreErrors(t *testing.T) {
	for _, text := range []string{"not JSON", "[]", "null"} {
		path := file(t, text)
		if _, err := Store(level, some); err == nil {
			t.Errorf("stored over %q", text)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
	path := file(t, "")
	if _, err := Store(level, kernels.Tuning{}); err == nil {
		t.Error("stored zeros")
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused Tuning left a file: %v", err)
	}
	t.Setenv("FUERTE_TUNING", "off")
	if _, err := Store(level, some); !errors.Is(err, ErrNone) {
		t.Errorf("stored although switched off: %v", err)
	}
}

// TestIgnored: whatever is in the file, Apply leaves the Tuning alone where it is not a
// whole Tuning in range for this CPU and level, and says why where that is a fault.
func TestIgnored(t *testing.T) {
	entry := func(value string) string { return fmt.Sprintf("{%q: %s}", Key(level), value) }
	fields := func(rows, tasks string) string {
		return entry(fmt.Sprintf(`{"BlockRows": %s, "Tasks": %s, "TaskFLOP": 1048576, "ThinElements": 32768}`, rows, tasks))
	}
	before := kernels.CurrentTuning()
	for text, want := range map[string]string{ // "" for ErrNone
		"":                                      "",
		"{}":                                    "",
		fmt.Sprintf(`{%q: {}}`, "x"+Key(level)): "",
		fmt.Sprintf(`{%q: {}}`, Key("avx512")):  "",
		"{":                                     "unexpected end",
		entry("{}") + "x":                       "invalid character",
		"\x00\xff":                              "invalid character",
		"[1]":                                   "cannot unmarshal",
		"null":                                  "no JSON object",
		entry("null"):                           "BlockRows is 0",
		entry("{}"):                             "BlockRows is 0",
		entry("7"):                              "cannot unmarshal",
		entry(`"avx2"`):                         "cannot unmarshal",
		entry(`{"BlockRows": 192, "Threads": 2}`):  "unknown field",
		entry(`{"BlockRows": 192, "Tasks": 16}`):   "TaskFLOP is 0",
		fields("0", "16"):                          "BlockRows is 0",
		fields("-192", "16"):                       "BlockRows is -192",
		fields("192", "1000000000"):                "Tasks is 1000000000",
		fields("192", "-9223372036854775808"):      "Tasks is -9223372036854775808",
		fields("192", "1e30"):                      "cannot unmarshal",
		fields("192.5", "16"):                      "cannot unmarshal",
		fields(`"192"`, "16"):                      "cannot unmarshal",
		strings.Repeat(" ", mostBytes) + "{}":      "above",
		entry(strings.Repeat("[", 20_000)):         "max depth",
		`{"a": ` + strings.Repeat("[", 20_000):     "max depth",
		strings.Repeat(`{"a":`, 20_000):            "max depth",
		entry(strings.Repeat("9", 100_000)):        "cannot unmarshal",
		entry(`{"` + strings.Repeat("a", 9) + `"`): "invalid character",
	} {
		file(t, text)
		short := text[:min(len(text), 100)]
		got, err := Load(level)
		switch {
		case err == nil || got != kernels.Tuning{}:
			t.Errorf("%s: loaded %+v, %v", short, got, err)
		case want == "" && !errors.Is(err, ErrNone), want != "" && (errors.Is(err, ErrNone) || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: error %v, want %q", short, err, want)
		}
		if err := Apply(level); (err == nil) != (want == "") {
			t.Errorf("%s: Apply says %v", short, err)
		}
		if got := kernels.CurrentTuning(); got != before {
			t.Fatalf("%s: the Tuning became %+v", short, got)
		}
	}
	t.Setenv("FUERTE_TUNING", t.TempDir())
	if err := Apply(level); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a folder: %v", err)
	}
}

func TestApply(t *testing.T) {
	t.Cleanup(func() {
		if err := kernels.SetTuning(kernels.DefaultTuning()); err != nil {
			t.Error(err)
		}
	})
	file(t, "")
	if _, err := Store(level, some); err != nil {
		t.Fatal(err)
	}
	path := os.Getenv("FUERTE_TUNING")
	t.Setenv("FUERTE_TUNING", "off")
	if err := Apply(level); err != nil || kernels.CurrentTuning() != kernels.DefaultTuning() {
		t.Errorf("off: %v, %+v", err, kernels.CurrentTuning())
	}
	t.Setenv("FUERTE_TUNING", path)
	if err := Apply(level); err != nil || kernels.CurrentTuning() != some {
		t.Errorf("applied: %v, %+v, want %+v", err, kernels.CurrentTuning(), some)
	}
}

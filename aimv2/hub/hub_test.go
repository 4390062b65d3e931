package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// site serves one model as the hub does: a list of files, small ones in place,
// large ones by a redirect to another host.
type site struct {
	hub, cdn *httptest.Server
	small    map[string][]byte
	large    map[string][]byte

	mu       sync.Mutex
	requests []string          // method, path and range
	tokens   map[string]string // host to Authorization
	cut      int               // so many answers with contents end after cutAt bytes
	cutAt    int
	noRange  bool
	status   int               // instead of any answer
	etag     map[string]string // instead of the true one
	commit   string            // of X-Repo-Commit
}

func newSite(t *testing.T) *site {
	s := &site{tokens: map[string]string{}, etag: map[string]string{}, commit: commit,
		small: map[string][]byte{"config.json": []byte(`{"model_type": "aimv2"}`), "sub/é x.json": []byte("{}"), "README.md": []byte("no")},
		large: map[string][]byte{"model.safetensors": bytes.Repeat([]byte("weights!"), 40_000)}}
	s.hub = httptest.NewServer(http.HandlerFunc(s.serveHub))
	s.cdn = httptest.NewServer(http.HandlerFunc(s.serveCDN))
	t.Cleanup(s.hub.Close)
	t.Cleanup(s.cdn.Close)
	return s
}

func (s *site) note(r *http.Request) (cut int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
	s.tokens[r.Host] = r.Header.Get("Authorization")
	if s.cut > 0 && strings.HasPrefix(r.URL.Path, "/cdn/") {
		s.cut--
		return s.cutAt
	}
	return -1
}

func (s *site) serveHub(w http.ResponseWriter, r *http.Request) {
	s.note(r)
	if s.status != 0 {
		w.Header().Set("X-Error-Message", "because")
		w.WriteHeader(s.status)
		return
	}
	switch {
	case r.URL.Path == "/api/models/apple/m/revision/main", r.URL.Path == "/api/models/apple/m/revision/refs/pr/1", r.URL.Path == "/api/models/apple/m/revision/"+commit:
		var list struct {
			SHA      string              `json:"sha"`
			Siblings []map[string]string `json:"siblings"`
		}
		list.SHA = commit
		for _, files := range []map[string][]byte{s.small, s.large} {
			for name := range files {
				list.Siblings = append(list.Siblings, map[string]string{"rfilename": name})
			}
		}
		json.NewEncoder(w).Encode(list)
	case strings.HasPrefix(r.URL.Path, "/apple/m/resolve/"+commit+"/"):
		name := strings.TrimPrefix(r.URL.Path, "/apple/m/resolve/"+commit+"/")
		w.Header().Set("X-Repo-Commit", s.commit)
		if data, ok := s.small[name]; ok {
			w.Header().Set("ETag", `W/"`+s.tag(name, fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(data), data))))+`"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
			return
		}
		data, ok := s.large[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("X-Linked-Etag", `"`+s.tag(name, fmt.Sprintf("%x", sha256.Sum256(data)))+`"`)
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(data)))
		w.Header().Set("ETag", `"of the redirect"`)
		http.Redirect(w, r, s.cdn.URL+"/cdn/"+name, http.StatusFound)
	default:
		http.NotFound(w, r)
	}
}

func (s *site) tag(name, truth string) string {
	if e, ok := s.etag[name]; ok {
		return e
	}
	return truth
}

func (s *site) serveCDN(w http.ResponseWriter, r *http.Request) {
	cut := s.note(r)
	data := s.large[strings.TrimPrefix(r.URL.Path, "/cdn/")]
	if s.noRange {
		r.Header.Del("Range")
	}
	if cut >= 0 {
		w = &cutting{w, cut}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// cutting breaks the connection after so many bytes.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) <= c.left {
		c.left -= len(p)
		return c.ResponseWriter.Write(p)
	}
	c.ResponseWriter.Write(p[:c.left])
	c.ResponseWriter.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// open returns a hub with a cache of its own.
func (s *site) open(t *testing.T) *Hub {
	for _, v := range []string{"HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "XDG_CACHE_HOME"} {
		t.Setenv(v, "")
	}
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_ENDPOINT", s.hub.URL+"/")
	h, err := FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	h.pause = time.Millisecond
	return h
}

func (s *site) asked(request string) (n int) {
	for _, r := range s.requests {
		if strings.HasPrefix(r, request) {
			n++
		}
	}
	return n
}

var model = Model{"apple", "m", "main"}

func wanted(file string) bool { return file != "README.md" }

// holds compares a snapshot with what the site has.
func (s *site) holds(t *testing.T, dir string) {
	t.Helper()
	for _, files := range []map[string][]byte{s.small, s.large} {
		for name, want := range files {
			got, err := os.ReadFile(filepath.Join(dir, name))
			if wanted(name) != (err == nil) || err == nil && !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
	}
}

// TestSnapshot fetches a model into the layout of the cache, and again: only the
// list is asked for. Offline and without a network the cache serves.
func TestSnapshot(t *testing.T) {
	s := newSite(t)
	h := s.open(t)
	h.Token = "secret"
	told := int64(0)
	h.Progress = func(file string, done, total int64) {
		if file == "model.safetensors" && total == 320_000 {
			told = done
		}
	}
	dir, err := h.Snapshot(t.Context(), model, wanted)
	if err != nil {
		t.Fatal(err)
	}
	s.holds(t, dir)
	if told != 320_000 {
		t.Errorf("told of %d bytes", told)
	}
	repo := filepath.Join(os.Getenv("HF_HOME"), "hub", "models--apple--m")
	if want := filepath.Join(repo, "snapshots", commit); dir != want {
		t.Errorf("the snapshot is %s, want %s", dir, want)
	}
	if ref, err := os.ReadFile(filepath.Join(repo, "refs", "main")); err != nil || string(ref) != commit {
		t.Errorf("refs/main is %q, %v", ref, err)
	}
	link, err := os.Readlink(filepath.Join(dir, "model.safetensors"))
	if want := filepath.Join("..", "..", "blobs", fmt.Sprintf("%x", sha256.Sum256(s.large["model.safetensors"]))); err != nil || link != want {
		t.Errorf("the weights are a link to %s, %v; want %s", link, err, want)
	}
	filepath.WalkDir(repo, func(path string, d fs.DirEntry, err error) error {
		if err != nil || strings.HasSuffix(path, ".incomplete") {
			t.Errorf("%s, %v", path, err)
		}
		return nil
	})
	if got := s.tokens[strings.TrimPrefix(s.hub.URL, "http://")]; got != "Bearer secret" {
		t.Errorf("the hub got the token %q", got)
	}

	s.requests = nil
	if got, err := h.Snapshot(t.Context(), model, wanted); err != nil || got != dir {
		t.Errorf("again: %s, %v", got, err)
	}
	if len(s.requests) != 1 {
		t.Errorf("the second time asks %q", s.requests)
	}
	for _, revision := range []string{commit, "refs/pr/1"} {
		if got, err := h.Snapshot(t.Context(), Model{"apple", "m", revision}, wanted); err != nil || got != dir {
			t.Errorf("%s: %s, %v", revision, got, err)
		}
	}

	s.hub.Close() // no network
	s.requests = nil
	for _, offline := range []bool{false, true} {
		h.Offline = offline
		for _, revision := range []string{"main", commit, "refs/pr/1"} {
			if got, err := h.Snapshot(t.Context(), Model{"apple", "m", revision}, wanted); err != nil || got != dir {
				t.Errorf("offline %v: %s: %s, %v", offline, revision, got, err)
			}
		}
		want := "cannot be reached"
		if offline {
			want = "HF_HUB_OFFLINE"
		}
		for _, revision := range []string{"v2", strings.Repeat("a", 40)} {
			if _, err := h.Snapshot(t.Context(), Model{"apple", "m", revision}, wanted); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "not in the cache") {
				t.Errorf("offline %v: %s: %v", offline, revision, err)
			}
		}
	}
	if len(s.requests) > 0 {
		t.Errorf("asked %q", s.requests)
	}
}

// TestTokenStays: a redirect to another host name does not get the token.
func TestTokenStays(t *testing.T) {
	s := newSite(t)
	s.cdn.URL = strings.Replace(s.cdn.URL, "127.0.0.1", "localhost", 1)
	h := s.open(t)
	h.Token = "secret"
	if _, err := h.Snapshot(t.Context(), model, wanted); err != nil {
		t.Fatal(err)
	}
	if got, ok := s.tokens[strings.TrimPrefix(s.cdn.URL, "http://")]; !ok || got != "" {
		t.Errorf("the other host got the token %q", got)
	}
}

// TestResume: connections that break are made again from where they broke, within
// a call and in the next one, with and without ranges.
func TestResume(t *testing.T) {
	for _, noRange := range []bool{false, true} {
		s := newSite(t)
		s.noRange = noRange
		h := s.open(t)
		s.cut, s.cutAt = 3, 100_003 // no multiple of the pattern
		dir, err := h.Snapshot(t.Context(), model, wanted)
		if err != nil {
			t.Fatal(err)
		}
		s.holds(t, dir)
		if n := s.asked("GET /cdn/model.safetensors bytes="); n != 3 {
			t.Errorf("%d requests for a rest: %q", n, s.requests)
		}
	}

	s := newSite(t)
	h := s.open(t)
	s.cut, s.cutAt = 1000, 100
	h.Progress = func(_ string, done, _ int64) {
		if done >= 500 { // no more bytes from now on
			s.mu.Lock()
			s.cutAt = 0
			s.mu.Unlock()
		}
	}
	_, err := h.Snapshot(t.Context(), model, wanted)
	if err == nil || !strings.Contains(err.Error(), "model.safetensors") || !strings.Contains(err.Error(), "of 320000 bytes are kept") {
		t.Fatalf("%v", err)
	}
	part := filepath.Join(h.Cache, "models--apple--m", "blobs", fmt.Sprintf("%x.incomplete", sha256.Sum256(s.large["model.safetensors"])))
	info, err := os.Stat(part)
	if err != nil || info.Size() < 500 || info.Size() > 700 {
		t.Fatalf("%v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(h.Cache, "models--apple--m", "refs", "main")); err == nil {
		t.Error("main names a snapshot that is not whole")
	}
	s.cut, s.requests = 0, nil
	dir, err := h.Snapshot(t.Context(), model, wanted)
	if err != nil {
		t.Fatal(err)
	}
	s.holds(t, dir)
	if n := s.asked(fmt.Sprintf("GET /cdn/model.safetensors bytes=%d-", info.Size())); n != 1 || s.asked("HEAD /apple/m/resolve/"+commit+"/config.json") != 0 {
		t.Errorf("the second call asks %q", s.requests)
	}
}

// TestDamaged: what has not the hash or the size that the hub says is never used,
// nor are leftovers of it.
func TestDamaged(t *testing.T) {
	s := newSite(t)
	h := s.open(t)
	wrong := strings.Repeat("0", 64)
	s.etag["model.safetensors"] = wrong
	blobs := filepath.Join(h.Cache, "models--apple--m", "blobs")
	_, err := h.Snapshot(t.Context(), model, wanted)
	if err == nil || !strings.Contains(err.Error(), "model.safetensors: its hash is") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(blobs, wrong)); err == nil {
		t.Error("the damaged file is in the cache")
	}
	delete(s.etag, "model.safetensors")
	// A beginning that is not the file's: noticed, thrown away, and fetched anew.
	part := filepath.Join(blobs, fmt.Sprintf("%x.incomplete", sha256.Sum256(s.large["model.safetensors"])))
	if err := os.WriteFile(part, []byte("garbage"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Snapshot(t.Context(), model, wanted); err == nil {
		t.Error("took garbage for the beginning")
	}
	dir, err := h.Snapshot(t.Context(), model, wanted)
	if err != nil {
		t.Fatal(err)
	}
	s.holds(t, dir)

	for what, spoil := range map[string]func(s *site){
		"etag":       func(s *site) { s.etag["config.json"] = "../../../x" },
		"no hash":    func(s *site) { s.etag["config.json"] = "abc" },
		"git's hash": func(s *site) { s.etag["config.json"] = strings.Repeat("a", 40) },
		"commit":     func(s *site) { s.commit = strings.Repeat("b", 40) },
		"file name":  func(s *site) { s.small["../x"] = nil },
	} {
		s := newSite(t)
		h := s.open(t)
		spoil(s)
		if _, err := h.Snapshot(t.Context(), model, func(string) bool { return true }); err == nil {
			t.Errorf("%s: no error", what)
		}
		if _, err := os.Stat(filepath.Join(h.Cache, "models--apple--m", "refs")); err == nil {
			t.Errorf("%s: there is a ref", what)
		}
	}
}

// TestRefused: what the hub answers is said in words.
func TestRefused(t *testing.T) {
	for status, want := range map[int]string{401: "HF_TOKEN is not set: because", 403: "HF_TOKEN is not set", 404: "no such model", 500: "500"} {
		s := newSite(t)
		h := s.open(t)
		s.status = status
		if _, err := h.Snapshot(t.Context(), model, wanted); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "apple/m@main") {
			t.Errorf("%d: %v", status, err)
		}
		if h.Token = "x"; status == 401 {
			if _, err := h.Snapshot(t.Context(), model, wanted); err == nil || !strings.Contains(err.Error(), "the token has no right") {
				t.Errorf("with a token: %v", err)
			}
		}
	}
	s := newSite(t)
	h := s.open(t)
	if _, err := h.Snapshot(t.Context(), Model{"apple", "other", "main"}, wanted); err == nil || !strings.Contains(err.Error(), "no such model") {
		t.Errorf("another model: %v", err)
	}
	if _, err := h.Snapshot(t.Context(), model, func(string) bool { return false }); err == nil {
		t.Error("a model without a file that is wanted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Snapshot(ctx, model, wanted); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestTogether: two at once fetch each file once.
func TestTogether(t *testing.T) {
	s := newSite(t)
	h := s.open(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			own := *h
			if dir, err := own.Snapshot(t.Context(), model, wanted); err != nil {
				t.Error(err)
			} else if _, err := os.Stat(filepath.Join(dir, "model.safetensors")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := s.asked("GET /cdn/model.safetensors"); n != 1 {
		t.Errorf("the weights are fetched %d times", n)
	}
}

// TestFromEnv reads where the cache is and the token.
func TestFromEnv(t *testing.T) {
	home := t.TempDir()
	for _, v := range []string{"HF_HOME", "HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "HF_ENDPOINT", "XDG_CACHE_HOME"} {
		t.Setenv(v, "")
	}
	t.Setenv("HOME", home)
	check := func(what, cache, token string, offline bool) {
		t.Helper()
		h, err := FromEnv()
		if err != nil || h.Cache != cache || h.Token != token || h.Offline != offline || h.Endpoint != "https://huggingface.co" {
			t.Errorf("%s: %+v, %v", what, h, err)
		}
	}
	check("HOME", filepath.Join(home, ".cache", "huggingface", "hub"), "", false)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "x"))
	check("XDG_CACHE_HOME", filepath.Join(home, "x", "huggingface", "hub"), "", false)
	t.Setenv("HF_HOME", filepath.Join(home, "h"))
	if err := errors.Join(os.MkdirAll(filepath.Join(home, "h"), 0o777), os.WriteFile(filepath.Join(home, "h", "token"), []byte("stored\n"), 0o666)); err != nil {
		t.Fatal(err)
	}
	check("HF_HOME", filepath.Join(home, "h", "hub"), "stored", false)
	t.Setenv("HF_TOKEN", "given")
	t.Setenv("HF_HUB_CACHE", filepath.Join(home, "c"))
	t.Setenv("HF_HUB_OFFLINE", "true")
	check("all", filepath.Join(home, "c"), "given", true)
}

// FuzzParseModel: what is taken for a model stays inside the cache.
func FuzzParseModel(f *testing.F) {
	for _, s := range []string{"apple/aimv2-large-patch14-224", "apple/m@refs/pr/1", "../x", "a/b/c", "a/..", "a/b@../../x", "./a", "/a/b", "a--b/c", "a/b@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := ParseModel(s)
		if !ok {
			return
		}
		for _, path := range []string{"models--" + m.Owner + "--" + m.Name, filepath.Join("refs", m.Revision)} {
			if !filepath.IsLocal(path) {
				t.Errorf("%q leads to %s", s, path)
			}
		}
		if again, ok := ParseModel(m.String()); !ok || again != m {
			t.Errorf("%q is %v, and that is %v", s, m, again)
		}
	})
}

// TestParseModel: folders are no models.
func TestParseModel(t *testing.T) {
	for s, want := range map[string]Model{
		"apple/aimv2-large-patch14-224":        {"apple", "aimv2-large-patch14-224", "main"},
		"apple/aimv2-3B-patch14-448@" + commit: {"apple", "aimv2-3B-patch14-448", commit},
		"a/b@refs/pr/1":                        {"a", "b", "refs/pr/1"},
	} {
		if m, ok := ParseModel(s); !ok || m != want {
			t.Errorf("%s: %v %v", s, m, ok)
		}
	}
	for _, s := range []string{"", "apple", "a/b/c", "./a", "../a", "/a/b", "a/b@", "a/b@/x", "a/b@../x", "a b/c", "a/b@x/../../y"} {
		if m, ok := ParseModel(s); ok {
			t.Errorf("%q is %v", s, m)
		}
	}
}

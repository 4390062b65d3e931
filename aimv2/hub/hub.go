// Package hub fetches models from the Hugging Face hub into the cache that the
// Python world shares:
//
//	$HF_HOME/hub/models--apple--aimv2-large-patch14-224/
//	  refs/main                      the commit that main is
//	  snapshots/<commit>/<file>      links into blobs
//	  blobs/<etag>                   contents, by SHA-256 or by git's hash
//	  blobs/<etag>.incomplete        as much as has arrived
//
// What has been fetched is used without a network. A download that broke off goes
// on where it was, and nothing is in a snapshot that has not the size and the hash
// that the hub names.
//
// It stands alone since the Go libraries that there are neither resume, nor check
// hashes, nor work offline; see the commit that added it.
//
// Source: huggingface.co/docs/huggingface_hub, "Understand caching" and
// "Environment variables".
package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"fuerte/nn/atomicfile"
)

// Hub is where models come from and where they are kept.
type Hub struct {
	Endpoint string // "https://huggingface.co"
	Cache    string // the folder of models--…
	Token    string // for what is not public; sent to the endpoint only
	Offline  bool   // use the cache alone
	// Progress, if not nil, is told now and then how much of a file is there.
	Progress func(file string, done, total int64)

	client http.Client
	pause  time.Duration // before the second of several attempts; it doubles
}

// attempts is how often a broken connection is made again without a byte gained.
const attempts = 5

// FromEnv returns the hub that the variables name which huggingface_hub reads:
// HF_ENDPOINT, HF_HUB_CACHE or HF_HOME or XDG_CACHE_HOME, HF_TOKEN or the file
// token in HF_HOME, HF_HUB_OFFLINE. Proxies are those of HTTPS_PROXY.
//
// Errors: there is no home folder for the cache.
func FromEnv() (*Hub, error) {
	h := &Hub{Endpoint: "https://huggingface.co", Token: strings.TrimSpace(os.Getenv("HF_TOKEN")), pause: time.Second}
	if e := os.Getenv("HF_ENDPOINT"); e != "" {
		h.Endpoint = strings.TrimRight(e, "/")
	}
	switch strings.ToUpper(os.Getenv("HF_HUB_OFFLINE")) {
	case "1", "ON", "YES", "TRUE":
		h.Offline = true
	}
	home := os.Getenv("HF_HOME")
	if home == "" {
		cache := os.Getenv("XDG_CACHE_HOME")
		if cache == "" {
			user, err := os.UserHomeDir()
			if err != nil {
				return nil, fmt.Errorf("hub: no folder for the cache: set HF_HOME: %w", err)
			}
			cache = filepath.Join(user, ".cache")
		}
		home = filepath.Join(cache, "huggingface")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 30 * time.Second // else a silent server is waited for without end
	h.client.Transport = transport
	if h.Cache = os.Getenv("HF_HUB_CACHE"); h.Cache == "" {
		h.Cache = filepath.Join(home, "hub")
	}
	if h.Token == "" {
		if data, err := os.ReadFile(filepath.Join(home, "token")); err == nil {
			h.Token = strings.TrimSpace(string(data))
		}
	}
	return h, nil
}

// Model is a repository of the hub at a branch, tag or commit.
type Model struct{ Owner, Name, Revision string }

var modelForm = regexp.MustCompile(`^([A-Za-z0-9][\w.-]{0,95})/([A-Za-z0-9][\w.-]{0,95})(?:@([\w][\w./-]{0,127}))?$`)

// ParseModel reads "owner/name" or "owner/name@revision"; without a revision it is
// main. ok is false for anything else.
func ParseModel(s string) (m Model, ok bool) {
	p := modelForm.FindStringSubmatch(s)
	if p == nil || strings.Contains(s, "..") || strings.Contains(s, "--") {
		return Model{}, false
	}
	m = Model{p[1], p[2], p[3]}
	if m.Revision == "" {
		m.Revision = "main"
	}
	return m, true
}

func (m Model) String() string { return m.Owner + "/" + m.Name + "@" + m.Revision }

// path is the model's in URLs.
func (m Model) path() string { return m.Owner + "/" + m.Name }

var (
	commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)
	etagForm   = regexp.MustCompile(`^[0-9A-Za-z_-]{1,128}$`)
)

// maxListing is the most bytes that are read of the list of a model's files.
const maxListing = 16 << 20

// Snapshot returns the folder with those files of a model that want takes,
// fetching what the cache lacks. Where the hub cannot be reached it is the folder
// that the cache has, as it is.
//
// Errors name the model, the file and the cause: no such model or revision; one
// that needs a token; no network and nothing in the cache; a file whose size or
// hash is not what the hub says; those of the file system.
func (h *Hub) Snapshot(ctx context.Context, m Model, want func(file string) bool) (string, error) {
	repo := filepath.Join(h.Cache, "models--"+m.Owner+"--"+m.Name)
	if h.Offline {
		dir, err := cached(repo, m)
		if err != nil {
			return "", fmt.Errorf("hub: %s: HF_HUB_OFFLINE is set, and %w", m, err)
		}
		return dir, nil
	}
	commit, files, err := h.list(ctx, m)
	var unreachable *url.Error
	if errors.As(err, &unreachable) && ctx.Err() == nil {
		dir, none := cached(repo, m)
		if none != nil {
			return "", fmt.Errorf("hub: %s: %s cannot be reached (%w), and %w; without a network, give a folder with its files", m, h.Endpoint, unreachable.Err, none)
		}
		return dir, nil
	}
	if err != nil {
		return "", fmt.Errorf("hub: %s: %w", m, err)
	}
	dir := filepath.Join(repo, "snapshots", commit)
	for _, file := range files {
		if !want(file) {
			continue
		}
		if err := h.file(ctx, repo, dir, m, commit, file); err != nil {
			return "", fmt.Errorf("hub: %s: %s: %w", m, file, err)
		}
	}
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("hub: %s: none of its %d files is wanted", m, len(files))
	}
	if m.Revision != commit {
		ref := filepath.Join(repo, "refs", filepath.FromSlash(m.Revision))
		if err := os.MkdirAll(filepath.Dir(ref), 0o777); err != nil {
			return "", err
		}
		err := atomicfile.WriteFileAtomic(ref, func(w io.Writer) error {
			_, err := io.WriteString(w, commit)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return dir, nil
}

// cached returns the snapshot that the cache has of a revision.
func cached(repo string, m Model) (string, error) {
	commit := m.Revision
	if !commitForm.MatchString(commit) {
		data, err := os.ReadFile(filepath.Join(repo, "refs", filepath.FromSlash(m.Revision)))
		if commit = strings.TrimSpace(string(data)); err != nil || !commitForm.MatchString(commit) {
			return "", fmt.Errorf("it is not in the cache %s", filepath.Dir(repo))
		}
	}
	dir := filepath.Join(repo, "snapshots", commit)
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("it is not in the cache %s", filepath.Dir(repo))
	}
	return dir, nil
}

// list returns the commit that a revision is, and its files in order.
func (h *Hub) list(ctx context.Context, m Model) (commit string, files []string, err error) {
	r, err := h.get(ctx, http.MethodGet, h.Endpoint+"/api/models/"+m.path()+"/revision/"+url.PathEscape(m.Revision), nil)
	if err != nil {
		return "", nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return "", nil, h.refused(r)
	}
	var list struct {
		Commit   string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
		} `json:"siblings"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxListing)).Decode(&list); err != nil {
		return "", nil, fmt.Errorf("the list of its files: %w", err)
	}
	if !commitForm.MatchString(list.Commit) {
		return "", nil, fmt.Errorf("the list of its files has the commit %q", list.Commit)
	}
	for _, s := range list.Siblings {
		if !filepath.IsLocal(s.Name) || strings.ContainsAny(s.Name, `\:`) {
			return "", nil, fmt.Errorf("the list of its files has %q", s.Name)
		}
		files = append(files, s.Name)
	}
	slices.Sort(files)
	return list.Commit, files, nil
}

// get sends a request; redirects are followed, and Go's client leaves the token
// out where one leads to another host.
func (h *Hub) get(ctx context.Context, method, address string, header map[string]string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "fuerte")
	req.Header.Set("Accept-Encoding", "identity") // sizes and ranges are those of the file
	if h.Token != "" {
		req.Header.Set("Authorization", "Bearer "+h.Token)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	return h.client.Do(req)
}

// refused explains an answer that is no success.
func (h *Hub) refused(r *http.Response) error {
	why := ""
	if m := r.Header.Get("X-Error-Message"); m != "" {
		why = ": " + m[:min(len(m), 300)]
	}
	switch r.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		if h.Token == "" {
			return fmt.Errorf("the hub says %s: there is no such model, or it is not public and HF_TOKEN is not set%s", r.Status, why)
		}
		return fmt.Errorf("the hub says %s: there is no such model, or the token has no right to it%s", r.Status, why)
	case http.StatusNotFound:
		return fmt.Errorf("the hub says %s: there is no such model, revision or file%s", r.Status, why)
	}
	return fmt.Errorf("the hub says %s%s", r.Status, why)
}

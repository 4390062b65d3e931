package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// file puts one file of a commit into its snapshot.
func (h *Hub) file(ctx context.Context, repo, dir string, m Model, commit, name string) error {
	link := filepath.Join(dir, filepath.FromSlash(name))
	if _, err := os.Stat(link); err == nil {
		return nil // a commit does not change
	}
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	address := h.Endpoint + "/" + m.path() + "/resolve/" + commit + "/" + strings.Join(parts, "/")
	etag, size, err := h.describe(ctx, address, commit)
	if err != nil {
		return err
	}
	blobs := filepath.Join(repo, "blobs")
	locks := filepath.Join(h.Cache, ".locks", filepath.Base(repo))
	for _, d := range []string{blobs, locks, filepath.Dir(link)} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			return err
		}
	}
	// The same lock as huggingface_hub's: two programs fetch a file once.
	unlock, err := lock(filepath.Join(locks, etag+".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(link); err == nil {
		return nil // another program was faster
	}
	blob := filepath.Join(blobs, etag)
	if info, err := os.Stat(blob); err != nil || info.Size() != size {
		if err := h.download(ctx, address, name, blob, etag, size); err != nil {
			return err
		}
	}
	target, err := filepath.Rel(filepath.Dir(link), blob)
	if err != nil {
		return err
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) { // to a blob that is gone
		return err
	}
	if os.Symlink(target, link) != nil {
		return os.Link(blob, link) // a system without symbolic links
	}
	return nil
}

// describe asks for hash and size of a file. They stand in the answer of the hub
// itself, in front of any redirect to where the contents are.
func (h *Hub) describe(ctx context.Context, address, commit string) (etag string, size int64, err error) {
	first := *h
	first.client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if req.URL.Host != via[0].URL.Host || len(via) > 5 {
			return http.ErrUseLastResponse
		}
		return nil // a renamed model
	}
	r, err := first.get(ctx, http.MethodHead, address, nil)
	if err != nil {
		return "", 0, err
	}
	defer r.Body.Close()
	if r.StatusCode >= 400 {
		return "", 0, h.refused(r)
	}
	if got := r.Header.Get("X-Repo-Commit"); got != commit {
		return "", 0, fmt.Errorf("the hub answers for the commit %q, not %s", got, commit)
	}
	length := r.Header.Get("X-Linked-Size")
	if length == "" {
		length = r.Header.Get("Content-Length")
	}
	if size, err = strconv.ParseInt(length, 10, 64); err != nil || size < 0 {
		return "", 0, fmt.Errorf("the hub gives the size %q", length)
	}
	if etag = r.Header.Get("X-Linked-Etag"); etag == "" {
		etag = r.Header.Get("ETag")
	}
	etag = strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)
	if !etagForm.MatchString(etag) || hasher(etag, size) == nil {
		return "", 0, fmt.Errorf("the hub gives the etag %q, which is no hash", etag)
	}
	return etag, size, nil
}

// hasher returns the hash that an etag is of a file: SHA-256 of one in large-file
// storage, else git's SHA-1, of the size and then the contents; nil for neither.
func hasher(etag string, size int64) hash.Hash {
	if _, err := hex.DecodeString(etag); err != nil {
		return nil
	}
	switch len(etag) {
	case 2 * sha256.Size:
		return sha256.New()
	case 2 * sha1.Size:
		s := sha1.New()
		fmt.Fprintf(s, "blob %d\x00", size)
		return s
	}
	return nil
}

// download brings a blob into the cache, going on with what is there of it.
func (h *Hub) download(ctx context.Context, address, name, blob, etag string, size int64) error {
	part := blob + ".incomplete"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := hasher(etag, size)
	have, err := io.Copy(sum, io.LimitReader(f, size+1))
	if err != nil {
		return err
	}
	for failures := 0; have < size; {
		n, err := h.fetch(ctx, address, name, f, sum, have, size)
		have += n
		if err == nil {
			continue
		}
		if n > 0 {
			failures = 0
		}
		var final *finalError
		if failures++; errors.As(err, &final) || ctx.Err() != nil || failures >= attempts {
			return fmt.Errorf("%w (%d of %d bytes are kept, and the next attempt goes on from there)", err, have, size)
		}
		select {
		case <-time.After(h.pause << (failures - 1)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); have > size || got != etag {
		// Nothing of it can be trusted: the next attempt begins anew.
		return errors.Join(fmt.Errorf("its hash is %s, the hub says %s: it is damaged, and removed", got, etag), f.Truncate(0))
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(part, blob)
}

// finalError is one that another attempt would not mend.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// fetch appends the bytes from have on to f and to the hash, and returns how many
// came.
func (h *Hub) fetch(ctx context.Context, address, name string, f *os.File, sum hash.Hash, have, size int64) (int64, error) {
	header := map[string]string{}
	if have > 0 {
		header["Range"] = fmt.Sprintf("bytes=%d-", have)
	}
	r, err := h.get(ctx, http.MethodGet, address, header)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	skip := int64(0)
	switch {
	case r.StatusCode == http.StatusPartialContent:
		if got := r.Header.Get("Content-Range"); !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", have)) {
			return 0, &finalError{fmt.Errorf("asked for bytes from %d on, the answer has %q", have, got)}
		}
	case r.StatusCode == http.StatusOK:
		skip = have // a server without ranges
	case r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests:
		return 0, h.refused(r)
	default:
		return 0, &finalError{h.refused(r)}
	}
	if _, err := io.CopyN(io.Discard, r.Body, skip); err != nil {
		return 0, err
	}
	if _, err := f.Seek(have, io.SeekStart); err != nil {
		return 0, &finalError{err}
	}
	body := &counted{r: io.LimitReader(r.Body, size-have), tell: func(n int64) {
		if h.Progress != nil {
			h.Progress(name, have+n, size)
		}
	}}
	n, err := io.Copy(&both{f, sum}, body)
	if err == nil && n < size-have {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// both writes to a file and, what it took, to a hash: the two never differ, also
// where the disk is full.
type both struct {
	f   *os.File
	sum hash.Hash
}

func (b *both) Write(p []byte) (int, error) {
	n, err := b.f.Write(p)
	b.sum.Write(p[:n])
	if err != nil {
		err = &finalError{err}
	}
	return n, err
}

// counted tells how much was read, every few megabytes and at the end.
type counted struct {
	r          io.Reader
	tell       func(n int64)
	done, told int64
}

func (c *counted) Read(p []byte) (int, error) {
	const every = 4 << 20
	n, err := c.r.Read(p)
	c.done += int64(n)
	if c.done-c.told >= every || err != nil {
		c.told = c.done
		c.tell(c.done)
	}
	return n, err
}

// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// DefaultChunk is how much of a layer one request carries, in bytes: what a cut connection
// costs at most, and more than any registry asks for at least (5 MiB, where parts are S3's).
const DefaultChunk = 16 << 20

// upload brings a layer to a repository in chunks (OCI distribution spec, "Pushing a blob in
// chunks"): after a connection was cut it asks the registry what it holds, and goes on
// there. A session that the registry forgot begins anew. Where a registry takes no chunks it
// does nothing, and the layer is sent as a whole with the rest.
type upload struct {
	layer *layer
	repo  name.Repository
	under http.RoundTripper
	chunk int64 // bytes
	say   func(format string, a ...any)

	client   *http.Client
	session  *url.URL // where the next chunk goes; nil: no session
	held     int64    // bytes that the registry has
	farthest int64    // that it ever had
	resumed  bool     // the session is of an earlier attempt
	misses   int      // chunks that it did not take where it said
	begun    bool     // a session was, so that an answer is about chunks
	whole    bool     // it takes no chunks
}

func newUpload(o Options, l *layer, repo name.Repository) *upload {
	u := &upload{layer: l, repo: repo, under: o.transport(), chunk: o.Chunk, say: func(format string, a ...any) { say(o.Progress, format, a...) }}
	if u.chunk <= 0 {
		u.chunk = DefaultChunk
	}
	// Artifact Registry documents that it takes layers as a whole only.
	u.whole = v1alpha1.CloudOf(repo.RegistryStr()) == v1alpha1.CloudGoogle
	return u
}

// farther says whether the registry holds a chunk more than when it was asked last, or all:
// one that counts byte by byte keeps no node busy for ever.
func (u *upload) farther() bool {
	if u.held < min(u.farthest+u.chunk, u.layer.size) || u.held == u.farthest {
		return false
	}
	u.farthest = u.held
	return true
}

// run is one attempt.
func (u *upload) run(ctx context.Context, keys authn.Keychain) error {
	if u.whole {
		return nil
	}
	err := u.attempt(ctx, keys)
	var answer *transport.Error
	if u.begun && errors.As(err, &answer) && final(answer) {
		u.say("the registry takes no chunks (%d): the layer is sent as a whole", answer.StatusCode)
		u.whole = true
		return nil
	}
	return err
}

// final says that a registry will answer so again, and not because of who asks.
func final(answer *transport.Error) bool {
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden, passing(answer):
		return false
	case code == http.StatusNotImplemented:
		return true
	default:
		return code >= 300 && code < 500 // a chunk is streamed once, and follows no redirect
	}
}

func (u *upload) attempt(ctx context.Context, keys authn.Keychain) error {
	if err := u.connect(ctx, keys); err != nil {
		return err
	}
	there, err := u.there(ctx)
	if err != nil || there {
		return err
	}
	if err := u.resume(ctx); err != nil {
		return err
	}
	if u.session == nil {
		if err := u.begin(ctx); err != nil {
			return err
		}
	}
	if err := u.send(ctx); err != nil {
		return err
	}
	return u.commit(ctx)
}

// connect signs in.
func (u *upload) connect(ctx context.Context, keys authn.Keychain) error {
	auth, err := authn.Resolve(ctx, keys, u.repo)
	if err != nil {
		return err
	}
	under := transport.NewUserAgent(u.under, "espalier")
	signed, err := transport.NewWithContext(ctx, u.repo.Registry, auth, under, []string{u.repo.Scope(transport.PushScope)})
	if err != nil {
		return err
	}
	u.client = &http.Client{Transport: signed}
	return nil
}

// reply is an answer without its body.
type reply struct {
	status int
	header http.Header
	from   *url.URL
}

// do sends a request whose answer has no body of interest.
func (u *upload) do(r *http.Request, want ...int) (*reply, error) {
	answer, err := u.client.Do(r)
	if err != nil {
		var address *url.Error // its query may hold the session
		if errors.As(err, &address) {
			err = address.Err
		}
		return nil, err
	}
	defer answer.Body.Close()
	if err := transport.CheckError(answer, want...); err != nil {
		return nil, err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxConfigBytes)) // so that the connection can be used again
	return &reply{answer.StatusCode, answer.Header, answer.Request.URL}, nil
}

func (u *upload) address(path string) string {
	return fmt.Sprintf("%s://%s/v2/%s/blobs/%s", u.repo.Scheme(), u.repo.RegistryStr(), u.repo.RepositoryStr(), path)
}

// there says whether the repository has the layer.
func (u *upload) there(ctx context.Context) (bool, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, u.address(u.layer.digest.String()), nil)
	if err != nil {
		return false, err
	}
	answer, err := u.do(r, http.StatusOK, http.StatusNotFound)
	return err == nil && answer.status == http.StatusOK, err
}

// begin starts a session.
func (u *upload) begin(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.address("uploads/"), nil)
	if err != nil {
		return err
	}
	answer, err := u.do(r, http.StatusAccepted)
	if err != nil {
		return err
	}
	u.held, u.begun, u.resumed = 0, true, false
	if least, err := strconv.ParseInt(answer.header.Get("OCI-Chunk-Min-Length"), 10, 64); err == nil {
		u.chunk = max(u.chunk, least)
	}
	return u.follow(answer)
}

// follow takes from an answer where the next request goes.
func (u *upload) follow(answer *reply) error {
	next, err := answer.from.Parse(answer.header.Get("Location"))
	if err != nil || answer.header.Get("Location") == "" || next.Host != answer.from.Host || next.Scheme != answer.from.Scheme {
		u.session = nil
		return &transport.Error{StatusCode: http.StatusNotImplemented} // no place for chunks that a token goes to
	}
	u.session = next
	return nil
}

// resume asks what of an earlier attempt the registry holds.
func (u *upload) resume(ctx context.Context) error {
	if u.session == nil {
		return nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.session.String(), nil)
	if err != nil {
		return err
	}
	answer, err := u.do(r, http.StatusNoContent, http.StatusAccepted)
	var refusal *transport.Error
	if errors.As(err, &refusal) && refusal.StatusCode < 500 && !passing(refusal) {
		u.say("the registry has forgotten the upload (%d): it begins anew", refusal.StatusCode)
		u.session = nil
		return nil
	}
	if err != nil {
		return err
	}
	held, known := heldIn(answer.header)
	if !known || held > u.layer.size {
		u.session = nil
		return nil
	}
	u.held, u.resumed = held, true
	u.say("going on at %d of %d bytes", u.held, u.layer.size)
	return u.follow(answer)
}

// heldIn reads "0-99": 100 bytes. A session with none is 0-0 to most registries, and so is
// one with a single byte; what follows is refused there, and the session begins anew.
func heldIn(h http.Header) (int64, bool) {
	first, last, dash := strings.Cut(strings.TrimPrefix(h.Get("Range"), "bytes="), "-")
	end, err := strconv.ParseInt(last, 10, 64)
	if !dash || first != "0" || err != nil || end < 0 {
		return 0, false
	}
	if end == 0 {
		return 0, true
	}
	return end + 1, true
}

// send brings the rest of the layer, chunk by chunk.
func (u *upload) send(ctx context.Context) error {
	content, err := u.layer.Compressed()
	if err != nil {
		return err
	}
	defer content.Close()
	if _, err := io.CopyN(io.Discard, content, u.held); err != nil {
		return fmt.Errorf("reading the adapter: %w", err)
	}
	for u.held < u.layer.size {
		n := min(u.chunk, u.layer.size-u.held)
		r, err := http.NewRequestWithContext(ctx, http.MethodPatch, u.session.String(), io.NopCloser(io.LimitReader(content, n)))
		if err != nil {
			return err
		}
		r.ContentLength = n
		r.Header.Set("Content-Type", "application/octet-stream")
		r.Header.Set("Content-Range", fmt.Sprintf("%d-%d", u.held, u.held+n-1))
		answer, err := u.do(r, http.StatusAccepted)
		if err != nil {
			return u.misplaced(err)
		}
		u.held, u.misses = u.held+n, 0
		if held, known := heldIn(answer.header); known && held != u.held {
			return fmt.Errorf("the registry holds %d bytes of %d that were sent", held, u.held)
		}
		if err := u.follow(answer); err != nil {
			return err
		}
	}
	return nil
}

// maxMisplaced is how often in a row a session may take no chunk where it said that it ends.
const maxMisplaced = 3

// misplaced forgets a session that is gone. One that takes no chunk at the place where it
// said that it ends is asked again: what a connection carried that was cut may still have
// been on its way to the disk.
func (u *upload) misplaced(err error) error {
	var answer *transport.Error
	if !errors.As(err, &answer) || u.held == 0 && !u.resumed {
		return err // to the first chunk of a session it is about chunks
	}
	switch answer.StatusCode {
	case http.StatusNotFound:
		u.session = nil
	case http.StatusRequestedRangeNotSatisfiable:
		if u.misses++; u.misses == maxMisplaced {
			u.session, u.misses = nil, 0
		}
	default:
		return err
	}
	return fmt.Errorf("the registry does not go on with the upload (%d)", answer.StatusCode)
}

// commit has the registry compare the digest, and keep the layer.
func (u *upload) commit(ctx context.Context) error {
	at := *u.session
	query := at.Query()
	query.Set("digest", u.layer.digest.String())
	at.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, at.String(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	_, err = u.do(r, http.StatusCreated)
	return u.misplaced(err)
}

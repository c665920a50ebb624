// SPDX-License-Identifier: Apache-2.0

// Package registry asks an OCI registry what a tag carries, so that a run whose
// adapter is published is not paid for twice. One look reads one manifest: it is
// bounded in time and size, follows the rules that its transport has for
// addresses, and pushes nothing.
//
// No credential and nothing of what a registry answers beyond its status gets
// into an error: the reference comes from a repository.
package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Bounds of one look.
const (
	defaultTimeout = 20 * time.Second
	maxAnswer      = 4 << 20 // bytes, what registries allow a manifest
)

// ErrDenied says that the registry does not tell what the tag carries. Many answer so about
// a repository that is not there yet, and to a credential that may only push.
var ErrDenied = errors.New("the registry does not let this credential read")

// Client looks at registries.
type Client struct {
	// Transport says which addresses may be reached; nil: all.
	Transport http.RoundTripper
	// Timeout of one look; 0: 20 seconds.
	Timeout time.Duration
}

// Tag is what a tag carries.
type Tag struct {
	// Reference by digest: registry/repository@sha256:….
	Reference string
	// Annotations of the manifest, or of the index.
	Annotations map[string]string
}

// Look reads the manifest of a tag; nil without an error: there is none.
func (c Client) Look(ctx context.Context, image string, credentials authn.Keychain) (*Tag, error) {
	ref, err := name.NewTag(image)
	if err != nil {
		return nil, fmt.Errorf("reading the image reference: %w", err)
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	under := c.Transport
	if under == nil {
		under = http.DefaultTransport
	}
	found, err := remote.Get(ref, remote.WithContext(ctx), remote.WithAuthFromKeychain(credentials), remote.WithTransport(bounded{under}),
		remote.WithUserAgent("espalier"), remote.WithRetryBackoff(remote.Backoff{Duration: time.Millisecond, Steps: 1}))
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("asking %s for %s: it does not answer in time", ref.RegistryStr(), ref)
	}
	if err != nil {
		return nil, judge(ref, err)
	}
	var manifest struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(found.Manifest, &manifest); err != nil {
		return nil, fmt.Errorf("reading what %s answers for %s: it is no manifest", ref.RegistryStr(), ref)
	}
	return &Tag{Reference: ref.Context().Digest(found.Digest.String()).String(), Annotations: manifest.Annotations}, nil
}

// judge tells what is not there from what is not said, and from what may be said
// another time.
func judge(ref name.Tag, err error) error {
	var answer *transport.Error
	if errors.As(err, &answer) {
		switch code := answer.StatusCode; code {
		case http.StatusNotFound:
			return nil
		case http.StatusUnauthorized, http.StatusForbidden:
			return ErrDenied
		default:
			return fmt.Errorf("asking %s for %s: it answers %d", ref.RegistryStr(), ref, code)
		}
	}
	var address *url.Error // holds a URL, whose query may be a token
	if errors.As(err, &address) {
		err = address.Err
	}
	return fmt.Errorf("asking %s for %s: %w", ref.RegistryStr(), ref, err)
}

// bounded limits what is read of each answer.
type bounded struct{ under http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.under.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	return answer, nil
}

// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// rest speaks JSON with a forge that has no client library fit for use; see
// docs/design/0037.
type rest struct {
	t    *transport
	base string // address of the API, without a slash at its end
	sign func(*http.Request)
}

// call is one request. The answer goes into out; nil: nobody reads it.
type call struct {
	method, path string // below base, or the whole address of a next page
	query        url.Values
	body, out    any
}

// do sends a request and returns the header of the answer.
func (r rest) do(ctx context.Context, c call) (http.Header, error) {
	address, err := r.address(c)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if c.body != nil {
		content, err := json.Marshal(c.body)
		if err != nil {
			return nil, fmt.Errorf("encoding a request: %w", err)
		}
		body = bytes.NewReader(content)
	}
	req, err := http.NewRequestWithContext(ctx, c.method, address, body)
	if err != nil {
		return nil, fmt.Errorf("preparing a request: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "espalier")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	r.sign(req)
	resp, err := r.t.client().Do(req)
	if err != nil {
		return nil, r.t.explain(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if c.out == nil || resp.StatusCode == http.StatusNoContent {
		return resp.Header, nil
	}
	return resp.Header, r.t.explain(json.NewDecoder(resp.Body).Decode(c.out))
}

// address is where a request goes. A next page is an address that the forge names:
// one elsewhere would be given the token.
func (r rest) address(c call) (string, error) {
	if !strings.HasPrefix(c.path, "/") {
		base, errBase := url.Parse(r.base)
		next, err := url.Parse(c.path)
		if err != nil || errBase != nil || next.Scheme != base.Scheme || next.Host != base.Host {
			return "", &Error{Reason: ReasonForgeUnreachable, text: "The forge at " + r.t.at.server + " names an address elsewhere as the next page, which is not followed"}
		}
		return c.path, nil
	}
	if len(c.query) == 0 {
		return r.base + c.path, nil
	}
	return r.base + c.path + "?" + c.query.Encode(), nil
}

// get reads what is at a path.
func (r rest) get(ctx context.Context, path string, query url.Values, out any) error {
	_, err := r.do(ctx, call{method: http.MethodGet, path: path, query: query, out: out})
	return err
}

// send sends a body and reads the answer.
func (r rest) send(ctx context.Context, method, path string, body, out any) error {
	_, err := r.do(ctx, call{method: method, path: path, body: body, out: out})
	return err
}

// basic signs in with a name and a password, which may be a token.
func basic(username, password string) func(*http.Request) {
	return func(req *http.Request) { req.SetBasicAuth(username, password) }
}

// withBearer signs in with a token.
func withBearer(token string) func(*http.Request) {
	return func(req *http.Request) { req.Header.Set("Authorization", "Bearer "+token) }
}

// openTo are the open pull requests to a branch, mergedTo those that were merged into it
// and proposedFrom those from it, whatever else the forge has listed beside them.
func openTo(branch string, list []PullRequest) []PullRequest {
	return slices.DeleteFunc(list, func(pr PullRequest) bool { return pr.Base != branch || pr.Head == "" || !pr.Open })
}

func mergedTo(branch string, list []PullRequest) []PullRequest {
	return slices.DeleteFunc(list, func(pr PullRequest) bool { return pr.Base != branch || pr.Merged == "" })
}

func proposedFrom(branch string, list []PullRequest) []PullRequest {
	return slices.DeleteFunc(list, func(pr PullRequest) bool { return pr.Branch != branch || pr.Fork })
}

// value is what the Secret holds under a key.
func (t *transport) value(key string) string { return strings.TrimSpace(string(t.auth[key])) }

// mostSeen bounds what a forge remembers of commits, for as long as a controller runs.
const mostSeen = 4096

// remember keeps what was seen last; all else is forgotten where it becomes too much,
// and is seen again with the next look.
func remember[V any](seen map[string]V, key string, value V) {
	if _, known := seen[key]; !known && len(seen) >= mostSeen {
		clear(seen)
	}
	seen[key] = value
}

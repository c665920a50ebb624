// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// maxAnswer bounds one answer of a forge, in bytes; a page of 50 comments of the
// largest size that Gitea takes is a third of it.
const maxAnswer = 10 << 20

// transport sends requests to one forge. It turns every answer that is no success
// into an Error, so that all client libraries fail in the same words.
type transport struct {
	at      place
	auth    map[string][]byte
	next    http.RoundTripper
	timeout time.Duration
	now     func() time.Time
	etags   etags
	minted  minted
}

func newTransport(s Settings, at place) (*transport, error) {
	next := http.DefaultTransport.(*http.Transport).Clone() // with the proxy of the environment
	next.MaxResponseHeaderBytes = 64 << 10
	next.IdleConnTimeout = 5 * time.Second // forges close idle connections, and a POST is not repeated
	if ca := s.Auth["ca.crt"]; len(ca) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(ca) {
			return nil, &Error{Reason: v1alpha1.ReasonAuthFailed, text: "ca.crt of the Secret holds no certificate in PEM"}
		}
		next.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return &transport{at: at, auth: s.Auth, next: next, timeout: timeout, now: time.Now}, nil
}

// client is an http.Client that follows no redirect: one could lead the token
// elsewhere.
func (t *transport) client() *http.Client {
	return &http.Client{
		Transport: t, Timeout: t.timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// token is the access token: a Secret for Git holds it as the password.
func (t *transport) token() string {
	for _, key := range []string{"token", "password", "bearerToken"} {
		if value := strings.TrimSpace(string(t.auth[key])); value != "" {
			return value
		}
	}
	return ""
}

// RoundTrip sends one request.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	req, kept := t.etags.ask(req)
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, t.unanswered(req.Context(), err)
	}
	if kept != nil && resp.StatusCode == http.StatusNotModified {
		return kept.same(resp), nil
	}
	resp.Body = &bounded{ReadCloser: resp.Body, left: maxAnswer, at: t.at}
	if err := t.etags.keep(req, resp); err != nil {
		return nil, t.unanswered(req.Context(), err)
	}
	// With 203 Azure DevOps answers a token that is wrong: a page to sign in at.
	if resp.StatusCode < 300 && resp.StatusCode != http.StatusNonAuthoritativeInfo {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, t.refused(resp)
}

// unanswered explains why there is no answer.
func (t *transport) unanswered(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	var (
		authority x509.UnknownAuthorityError
		dns       *net.DNSError
	)
	text := "Asking " + t.at.server + " ended with: " + t.short(innermost(err).Error())
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		text = fmt.Sprintf("No answer from %s within %s: check review.url, and that the forge can be reached from the cluster", t.at.server, t.timeout)
	case errors.As(err, &authority):
		text = "The certificate of " + t.at.server + " is signed by an authority that is not trusted: put the authority's certificate into the Secret as ca.crt"
	case errors.As(err, &dns):
		text = "The host name of " + t.at.server + " does not resolve: check review.url"
	}
	return &Error{Reason: ReasonForgeUnreachable, text: t.redact(text)}
}

func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// refused explains an answer that is no success.
func (t *transport) refused(resp *http.Response) error {
	said := t.short(said(resp.Body))
	e := &Error{Status: resp.StatusCode, After: t.after(resp.Header)}
	if t.limited(resp, e.After) {
		e.Reason, e.text = ReasonRateLimited, "The forge at "+t.at.server+" wants fewer requests, and is asked again later"
	} else {
		e.Reason, e.text = t.meaning(resp.StatusCode)
	}
	if said != "" && resp.StatusCode < 500 {
		e.text += " (it says: " + said + ")"
	}
	e.text = t.redact(e.text)
	return e
}

// limited says whether a forge has had enough. GitHub says it as a 403 too.
func (t *transport) limited(resp *http.Response, after time.Duration) bool {
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
		return after > 0 || resp.Header.Get("X-RateLimit-Remaining") == "0"
	}
	return false
}

// meaning is the reason and the sentence of an HTTP status.
func (t *transport) meaning(status int) (reason, text string) {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusNonAuthoritativeInfo:
		return v1alpha1.ReasonAuthFailed, "The forge refuses the token of the Secret for " + t.at.String() + ": check that it is right and not expired"
	case status == http.StatusForbidden:
		return v1alpha1.ReasonAuthFailed, "The forge forbids this to the token of the Secret for " + t.at.String() + ": give it the rights that docs/review.md lists"
	case status == http.StatusNotFound:
		return ReasonForgeRefused, "The forge does not know " + t.at.String() + ", or it is empty, or the token may not see it: check review.url and the Secret"
	case status >= 500:
		return ReasonForgeUnreachable, fmt.Sprintf("The forge at %s answers with HTTP status %d: it is down or overloaded, and is asked again", t.at.server, status)
	case status < 400:
		return ReasonForgeRefused, "The forge redirects " + t.at.String() + " elsewhere, which is not followed: was the repository moved, or is the token not taken? Correct review.url, or the Secret"
	}
	return ReasonForgeRefused, fmt.Sprintf("The forge at %s answers with HTTP status %d", t.at.server, status)
}

// said is the message in the body of an error, in the form that forges share.
func said(body io.Reader) string {
	content, err := io.ReadAll(io.LimitReader(body, 64<<10))
	if err != nil {
		return ""
	}
	var answer struct {
		Message any   `json:"message"`
		Error   any   `json:"error"`
		Errors  []any `json:"errors"`
	}
	if json.Unmarshal(content, &answer) != nil {
		return ""
	}
	for _, value := range append([]any{answer.Message, answer.Error}, answer.Errors...) {
		if inner, ok := value.(map[string]any); ok { // as Bitbucket says it
			value = inner["message"]
		}
		if text, ok := value.(string); ok && text != "" {
			return text
		}
	}
	return ""
}

// after reads how long the forge wants to be left alone, at most an hour.
func (t *transport) after(header http.Header) time.Duration {
	now := t.now()
	return min(max(until(header, now).Sub(now), 0), time.Hour)
}

// until is when the forge wants to be asked again; now where it does not say.
func until(header http.Header, now time.Time) time.Time {
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return now.Add(time.Duration(seconds) * time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return at
	}
	reset, err := strconv.ParseInt(header.Get("X-RateLimit-Reset"), 10, 64)
	if err == nil && header.Get("X-RateLimit-Remaining") == "0" {
		return time.Unix(reset, 0)
	}
	return now
}

// short bounds text that a server wrote: one line, 200 characters. Credentials are struck
// out before: of one that is cut, the rest would show.
func (t *transport) short(text string) string {
	return cut(strings.Join(strings.Fields(t.redact(text)), " "), 200)
}

// minted are the last credentials that were made with those of the Secret.
type minted struct {
	mu   sync.Mutex
	list []string
}

// mostMinted is some more than are in use at a time: a token of an installation, the one
// before, and what an App signs in with.
const mostMinted = 8

func (m *minted) add(secret string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, secret)
	m.list = slices.Clone(m.list[max(len(m.list)-mostMinted, 0):])
}

func (m *minted) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.list)
}

const struck = "***"

// redact strikes out the credentials wherever they appear.
func (t *transport) redact(text string) string {
	secrets := slices.DeleteFunc(t.minted.all(), func(s string) bool { return s == "" })
	for _, key := range []string{"token", "password", "bearerToken", "githubAppPrivateKey", "tls.key"} {
		_, after, _ := strings.Cut(t.value(key), ":") // as Bitbucket's may be NAME:PASSWORD
		for _, value := range []string{string(t.auth[key]), t.value(key), after} {
			if value != "" {
				secrets = append(secrets, value, url.QueryEscape(value), url.PathEscape(value),
					encoded(value), encoded(":"+value), encoded(string(t.auth["username"])+":"+value))
			}
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, secret := range slices.Compact(secrets) {
		text = strings.ReplaceAll(text, secret, struck)
	}
	return text
}

// encoded is a value as it stands in a header of basic authentication.
func encoded(value string) string { return base64.StdEncoding.EncodeToString([]byte(value)) }

// bounded is a body that ends with an Error when it is too large.
type bounded struct {
	io.ReadCloser
	left int64
	at   place
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &Error{Reason: ReasonForgeUnreachable, text: fmt.Sprintf("The forge at %s answers with more than %d MiB, which is not read", b.at.server, maxAnswer>>20)}
	}
	return n, err
}

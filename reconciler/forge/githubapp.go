// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"crypto/rsa"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-github/v87/github"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Keys of a Secret in Flux's form that sign in as a GitHub App.
const (
	keyAppID           = "githubAppID"
	keyAppInstallation = "githubAppInstallationID"
	keyAppPrivateKey   = "githubAppPrivateKey"
)

// app signs in as an installation of a GitHub App, by tokens of an hour.
type app struct {
	id           string
	installation int64
	key          *rsa.PrivateKey
	t            *transport
	client       *github.Client // signed in as the App itself

	mu      sync.Mutex
	current string
	expires time.Time
}

// newApp reads the Secret; nil where it is for a token.
func newApp(at place, t *transport) (*app, error) {
	value := func(key string) string { return strings.TrimSpace(string(t.auth[key])) }
	if value(keyAppID) == "" && value(keyAppPrivateKey) == "" {
		return nil, nil
	}
	refuse := func(text string) (*app, error) {
		return nil, &Error{Reason: v1alpha1.ReasonAuthFailed, text: "The Secret for " + at.String() + " cannot be used: " + text}
	}
	installation, err := strconv.ParseInt(value(keyAppInstallation), 10, 64)
	if value(keyAppID) == "" || err != nil {
		return refuse("a GitHub App needs " + keyAppID + ", " + keyAppInstallation + ", which is a number, and " + keyAppPrivateKey)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM(t.auth[keyAppPrivateKey])
	if err != nil {
		return refuse(keyAppPrivateKey + " is no RSA key in PEM")
	}
	a := &app{id: value(keyAppID), installation: installation, key: key, t: t}
	httpClient := t.client()
	httpClient.Transport = asApp{a}
	if a.client, err = githubClient(at, httpClient); err != nil {
		return nil, err
	}
	return a, nil
}

// asApp signs requests in as the App itself, which may do little else than ask
// for tokens.
type asApp struct{ *app }

// RoundTrip sends one request.
func (a asApp) RoundTrip(req *http.Request) (*http.Response, error) {
	now := a.t.now()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
		Issuer:   a.id,
		IssuedAt: jwt.NewNumericDate(now.Add(-time.Minute)), // clocks differ
		// GitHub takes ten minutes at most.
		ExpiresAt: jwt.NewNumericDate(now.Add(5 * time.Minute)),
	}).SignedString(a.key)
	if err != nil {
		return nil, fmt.Errorf("signing a token: %w", err)
	}
	a.t.minted.add(signed)
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+signed)
	return a.t.RoundTrip(req)
}

// token is one of the installation that holds for some minutes yet.
func (a *app) token(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.t.now().Before(a.expires.Add(-5 * time.Minute)) {
		return a.current, nil
	}
	made, _, err := a.client.Apps.CreateInstallationToken(ctx, a.installation, nil)
	if err != nil {
		return "", a.t.explain(err)
	}
	a.current, a.expires = made.GetToken(), made.GetExpiresAt().Time
	a.t.minted.add(a.current)
	return a.current, nil
}

// slug is the name of the App, of which the name of its account is made.
func (a *app) slug(ctx context.Context) (string, error) {
	self, _, err := a.client.Apps.Get(ctx, "")
	if err != nil {
		return "", a.t.explain(err)
	}
	return self.GetSlug(), nil
}

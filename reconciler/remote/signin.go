// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/espalier-dev/espalier/reconciler/identity"
)

// minter makes a token, which is good until it ends.
type minter func(context.Context) (token string, ends time.Time, refused *identity.Refusal)

// lease is the token of now: it is made when it is asked for, and anew before it ends.
type lease struct {
	mint minter
	now  func() time.Time
	turn chan struct{} // who mints

	mu    sync.Mutex
	token string
	renew time.Time
	ends  time.Time
}

// again is how long after a token that could not be renewed it is tried again, as long as
// the old one is good.
const again = 30 * time.Second

func newLease(mint minter) *lease {
	return &lease{mint: mint, now: time.Now, turn: make(chan struct{}, 1)}
}

// get is a token that is good for some time.
func (l *lease) get(ctx context.Context) (string, error) {
	if token := l.current(); token != "" {
		return token, nil
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return "", given(ctx, identity.Retryf("no token is made in time"))
	}
	if token := l.current(); token != "" { // whoever had the turn before has made it
		return token, nil
	}
	token, ends, refused := l.mint(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if refused == nil {
		// A third of its life is left to whoever makes it, and to clocks that differ.
		l.token, l.ends, l.renew = token, ends, ends.Add(-ends.Sub(now)/3)
		return token, nil
	}
	if l.token != "" && now.Before(l.ends) {
		l.renew = now.Add(again)
		return l.token, nil
	}
	l.token = ""
	return "", given(ctx, refused)
}

// given is why there is no token, where somebody still waits for it. That it took too long
// is not the other cluster's doing.
func given(ctx context.Context, refused *identity.Refusal) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return &signInError{refused}
}

// current is the token, where it need not be renewed yet.
func (l *lease) current() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.token == "" || !l.now().Before(l.renew) {
		return ""
	}
	return l.token
}

// drop forgets a token that was not taken.
func (l *lease) drop(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.token == token {
		l.token = ""
	}
}

// signInError is why there is no token. It is told by its own sentence.
type signInError struct{ of *identity.Refusal }

func (e *signInError) Error() string { return e.of.Text }

// signing gives each request the token of now.
type signing struct {
	next  http.RoundTripper
	lease *lease
}

// RoundTrip implements http.RoundTripper.
func (s signing) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := s.lease.get(r.Context())
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	signed := r.Clone(r.Context())
	signed.Header.Set("Authorization", "Bearer "+token)
	answer, err := s.next.RoundTrip(signed)
	if err == nil && answer.StatusCode == http.StatusUnauthorized {
		s.lease.drop(token)
	}
	return answer, err
}

// WrappedRoundTripper lets client-go see through to what is wrapped.
func (s signing) WrappedRoundTripper() http.RoundTripper { return s.next }

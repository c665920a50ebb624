// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/identity"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// minter makes a token, which is good until it ends.
type minter func(context.Context) (token string, ends time.Time, refused *identity.Refusal)

// lease is the token of now: it is made when it is asked for, and anew before it ends.
type lease struct {
	mint minter

	mu     sync.Mutex
	token  string
	renew  time.Time // from then on the next one is made
	lasts  time.Time // so long it is used
	making *attempt  // nil: nobody makes one
}

// attempt is a token that is being made. What became of it is read when done is closed.
type attempt struct {
	done    chan struct{}
	token   string
	refused *identity.Refusal
}

// A token of Entra ID may be good for a day. That an account was deleted, or has another
// identity now, is found out when the next one is made.
const (
	renewMost = 20 * time.Minute // after it was made it is renewed
	pastMost  = time.Hour        // after that, where it cannot be, it is used no more
	again     = 30 * time.Second // until it is tried again
	mintLimit = 30 * time.Second // of making one, which others than who asks wait for too
)

func newLease(mint minter) *lease { return &lease{mint: mint} }

// get is a token that is good for some time. As long as there is one nobody waits for the
// next: whoever makes tokens is slow for reasons of his own, and the other cluster is not.
func (l *lease) get(ctx context.Context) (string, error) {
	token, next := l.current(ctx)
	if token != "" {
		return token, nil
	}
	select {
	case <-next.done:
	case <-ctx.Done():
		return "", given(ctx, identity.Retryf("no token is made in time"))
	}
	if next.refused != nil {
		return "", given(ctx, next.refused)
	}
	return next.token, nil
}

// current is the token, "" where there is none, and the making of the next one where that
// is due. It goes on without whoever has begun it.
func (l *lease) current(ctx context.Context) (string, *attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if !now.Before(l.lasts) {
		l.token = ""
	}
	if l.making == nil && (l.token == "" || !now.Before(l.renew)) {
		l.making = &attempt{done: make(chan struct{})}
		go l.try(context.WithoutCancel(ctx), l.making)
	}
	return l.token, l.making
}

func (l *lease) try(ctx context.Context, a *attempt) {
	limited, cancel := context.WithTimeout(ctx, mintLimit)
	defer cancel()
	token, ends, refused := l.mint(limited)
	l.mu.Lock()
	defer l.mu.Unlock()
	defer close(a.done)
	a.token, a.refused = token, refused
	if l.making != a { // it was begun before somebody wanted another
		return
	}
	l.making = nil
	now := time.Now()
	switch {
	case refused == nil:
		// A third of its life is left to whoever makes it, and to clocks that differ.
		l.token, l.renew = token, now.Add(min(ends.Sub(now)*2/3, renewMost))
		l.lasts = now.Add(min(ends.Sub(now), renewMost+pastMost))
	case refused.Retry:
		l.renew = now.Add(again)
	default: // who is refused for good signs in no more
		l.token = ""
	}
}

// given is why there is no token, where somebody still waits for it. That it took too long
// is not the other cluster's doing.
func given(ctx context.Context, refused *identity.Refusal) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return &signInError{refused}
}

// drop forgets a token that was not taken.
func (l *lease) drop(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.token == token {
		l.token = ""
	}
}

// heard forgets the token where what the cluster was asked for is denied: the identity that
// it was made for may have been corrected here. How soon a cluster that denies is asked
// again bounds how many are made.
func (l *lease) heard(err error) {
	if l == nil || !apierrors.IsForbidden(err) && fault.Reason(err, "") != v1alpha1.ReasonAccessDenied {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.token, l.making = "", nil
}

// hasten has the next token made with the next request. The one of now is used until then.
func (l *lease) hasten() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renew, l.making = time.Time{}, nil
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

// leaseOf is that of whoever signs the requests of a transport; nil: nobody does.
func leaseOf(next http.RoundTripper) *lease {
	for {
		switch is := next.(type) {
		case signing:
			return is.lease
		case utilnet.RoundTripperWrapper:
			next = is.WrappedRoundTripper()
		default:
			return nil
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package data

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// retryError is an attempt that another may cure, not before after.
type retryError struct {
	err   error
	after time.Duration
	// denied: the server refuses, which it may do for a moment alone.
	denied bool
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// A server that refuses is asked again, over minutes: a signature may begin to hold a moment
// later, a role take its time to be known everywhere, a mirror to have what was published,
// and some servers refuse who asks too often.
const (
	deniedAttempts = 4
	deniedPause    = 30 // backoffs after the first refusal, half a minute; it doubles with each
)

// unwilling is what an answer without content means, for files and for registries of models
// alike.
func unwilling(resp *http.Response) error {
	said := errors.New("the server answers " + resp.Status)
	if passing(resp.StatusCode) {
		return &retryError{err: said, after: RetryAfter(resp.Header)}
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return &retryError{err: said, denied: true}
	}
	return refused("%v", said)
}

// patience counts attempts, and says how long to wait for the next one.
type patience struct {
	backoff         time.Duration
	attempts        int // in a row that may come no further
	wait            time.Duration
	futile, denials int
	within          time.Duration // since begun
	begun           time.Time     // the first of them
}

func newPatience(o Options) *patience {
	return &patience{backoff: o.Backoff, attempts: o.Attempts, wait: o.Backoff, within: o.Within, begun: time.Now()}
}

// further begins the count anew.
func (p *patience) further() { p.wait, p.futile, p.begun = p.backoff, 0, time.Now() }

// pause is the wait before the next attempt, or how all of them end.
func (p *patience) pause(again *retryError) (time.Duration, error) {
	after := again.after
	if again.denied {
		if p.denials++; p.denials >= deniedAttempts {
			return 0, refused("%v, %d times in a row", again.err, p.denials)
		}
		after = p.backoff * deniedPause << (p.denials - 1)
	} else {
		p.denials = 0
	}
	pause := min(max(p.wait, after), maxBackoff)
	if p.futile++; p.futile >= p.attempts || p.futile > 1 && time.Since(p.begun)+pause > p.within {
		return 0, fmt.Errorf("giving up after %d attempts that came no further: %w", p.futile, again.err)
	}
	p.wait = min(2*p.wait, maxBackoff)
	return pause, nil
}

// Sleep waits, and no longer than somebody wants the result.
func Sleep(ctx context.Context, pause time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
		return nil
	}
}

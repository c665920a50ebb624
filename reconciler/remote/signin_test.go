// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/espalier-dev/espalier/reconciler/identity"
)

// minting makes a token an hour long each time, numbered, or refuses.
type minting struct {
	made   int
	refuse *identity.Refusal
	takes  time.Duration
}

func (m *minting) mint(context.Context) (string, time.Time, *identity.Refusal) {
	later(m.takes)
	if m.refuse != nil {
		return "", time.Time{}, m.refuse
	}
	m.made++
	return fmt.Sprint("token-", m.made), time.Now().Add(time.Hour), nil
}

// later lets time go on in a bubble, whose clock it is.
func later(d time.Duration) { <-time.After(d) }

// TestLease: a token is renewed before it ends, one that cannot be is used to its end, and
// one that is not taken is not used again.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &minting{}
		l := newLease(m.mint)
		want := func(token, why string) {
			t.Helper()
			if got, err := l.get(t.Context()); got != token || err != nil {
				t.Errorf("%s\nit is %q, %v, want %q", why, got, err, token)
			}
		}
		want("token-1", "The first is made when it is asked for.")
		later(39 * time.Minute)
		want("token-1", "It is used for two thirds of its life.")
		later(2 * time.Minute)
		want("token-2", "It is renewed long before it ends.")
		m.refuse = identity.Retryf("the API server does not answer")
		later(45 * time.Minute)
		want("token-2", "A token that cannot be renewed is good until it ends.")
		later(14 * time.Minute)
		want("token-2", "To the end.")
		later(2 * time.Minute)
		var no *signInError
		if got, err := l.get(t.Context()); got != "" || !errors.As(err, &no) {
			t.Errorf("one that has ended is no more: %q, %v", got, err)
		}
		m.refuse = nil
		want("token-3", "When it can be made again it is.")
		l.drop("token-2")
		want("token-3", "An old one that is not taken says nothing of the new.")
		l.drop("token-3")
		want("token-4", "One that is not taken is made anew.")
	})
}

// TestLeaseOnce: of many who ask at once one makes the token.
func TestLeaseOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &minting{takes: time.Second}
		l := newLease(m.mint)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if got, err := l.get(t.Context()); got != "token-1" || err != nil {
					t.Errorf("it is %q, %v", got, err)
				}
			})
		}
		all.Wait()
		m.takes = time.Hour
		l.drop("token-1")
		go func() { _, _ = l.get(context.Background()) }()
		synctest.Wait()
		limited, cancel := context.WithTimeout(t.Context(), callLimit)
		defer cancel()
		began := time.Now()
		var no *signInError
		if _, err := l.get(limited); !errors.As(err, &no) || time.Since(began) > callLimit {
			t.Errorf("who waits for another's token gives up in time: %v after %s", err, time.Since(began))
		}
		over, end := context.WithCancel(t.Context())
		end()
		if _, err := l.get(over); !errors.Is(err, context.Canceled) {
			t.Errorf("whose pass is over is told nothing of the cluster: %v", err)
		}
		later(2 * time.Hour)
	})
}

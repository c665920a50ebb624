// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"cmp"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/identity"
)

// minting makes a token each time, numbered, or refuses.
type minting struct {
	made   int
	life   time.Duration // 0: an hour
	refuse *identity.Refusal
	takes  time.Duration
}

func (m *minting) mint(ctx context.Context) (string, time.Time, *identity.Refusal) {
	select {
	case <-time.After(m.takes):
	case <-ctx.Done():
		return "", time.Time{}, identity.Retryf("the API server does not answer")
	}
	if m.refuse != nil {
		return "", time.Time{}, m.refuse
	}
	m.made++
	return fmt.Sprint("token-", m.made), time.Now().Add(cmp.Or(m.life, time.Hour)), nil
}

// later lets time go on in a bubble, whose clock it is, until nobody has more to do.
func later(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// asking is a lease in a bubble, and what is wanted of it. No asking takes time.
type asking struct {
	*testing.T
	*minting
	*lease
}

func newAsking(t *testing.T) asking {
	m := &minting{}
	return asking{t, m, newLease(m.mint)}
}

// want asks, and waits for what that has begun. "" is a refusal.
func (a asking) want(token, why string) {
	a.Helper()
	var no *signInError
	began := time.Now()
	got, err := a.get(a.Context())
	if got != token || errors.As(err, &no) != (token == "") || !time.Now().Equal(began) {
		a.Errorf("%s\nit is %q, %v after %s, want %q", why, got, err, time.Since(began), token)
	}
	synctest.Wait()
}

// TestLease: a token is renewed before it ends, one that cannot be is used on, and one
// that is not taken is not used again.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsking(t)
		a.want("token-1", "The first is made when it is asked for.")
		later(19 * time.Minute)
		a.want("token-1", "It is used for twenty minutes.")
		later(2 * time.Minute)
		a.want("token-1", "Nobody waits for the next one, as long as it is good.")
		a.want("token-2", "It is renewed long before it ends.")
		a.refuse = identity.Retryf("the API server does not answer")
		later(45 * time.Minute)
		a.want("token-2", "A token that cannot be renewed is good until it ends.")
		later(14 * time.Minute)
		a.want("token-2", "To the end.")
		later(2 * time.Minute)
		a.want("", "One that has ended is no more.")
		a.refuse = nil
		a.want("token-3", "When it can be made again it is.")
		a.drop("token-2")
		a.want("token-3", "An old one that is not taken says nothing of the new.")
		a.drop("token-3")
		a.want("token-4", "One that is not taken is made anew.")
		a.life = 15 * time.Minute
		a.drop("token-4")
		a.want("token-5", "One of a shorter life.")
		later(11 * time.Minute)
		a.want("token-5", "It is asked for,")
		a.want("token-6", "and renewed when a third of it is left.")
	})
}

// TestLongLease: of a token of a day the account is asked for no less often, and whoever
// has it no more for good has it no longer.
func TestLongLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsking(t)
		a.life = 24 * time.Hour
		a.want("token-1", "The first is made when it is asked for.")
		later(21 * time.Minute)
		a.want("token-1", "After twenty minutes it is renewed,")
		a.want("token-2", "whenever it ends.")
		a.refuse = identity.Retryf("the API server does not answer")
		for range 78 {
			later(time.Minute)
			a.want("token-2", "Whoever issues it may be away for an hour.")
		}
		later(3 * time.Minute)
		a.want("", "And no longer: nobody knows what has become of the account.")
		a.refuse = nil
		a.want("token-3", "When it can be made again it is.")
		a.refuse = identity.Refusef("ServiceAccount models/west does not exist")
		later(21 * time.Minute)
		a.want("token-3", "This one is asked with before it is known that the account is gone,")
		a.want("", "and with the refusal it is no more.")
	})
}

// TestSlowLease: as long as there is a good token nobody waits for whoever makes them.
func TestSlowLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsking(t)
		a.want("token-1", "The first is made when it is asked for.")
		a.takes = 45 * time.Second
		later(21 * time.Minute)
		over, end := context.WithCancel(t.Context())
		if got, err := a.get(over); got != "token-1" || err != nil {
			t.Errorf("one whose watch has no limit has a good token: %q, %v", got, err)
		}
		later(5 * time.Second)
		a.want("token-1", "So has who comes while the next is being made.")
		end()
		a.takes = 0
		later(2 * time.Minute)
		a.want("token-1", "Once more it is tried,")
		a.want("token-2", "whoever had it tried before.")
		later(21 * time.Minute)
		a.takes = 10 * time.Second
		over, end = context.WithCancel(t.Context())
		if got, err := a.get(over); got != "token-2" || err != nil {
			t.Errorf("it is %q, %v", got, err)
		}
		end()
		later(11 * time.Second)
		a.want("token-3", "Nor does the end of who had it made end the making.")
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
		began := time.Now()
		all.Go(func() {
			var no *signInError
			if _, err := l.get(t.Context()); !errors.As(err, &no) || time.Since(began) > time.Minute {
				t.Errorf("whoever makes it gives up in time: %v after %s", err, time.Since(began))
			}
		})
		synctest.Wait()
		limited, cancel := context.WithTimeout(t.Context(), callLimit)
		defer cancel()
		var no *signInError
		if _, err := l.get(limited); !errors.As(err, &no) || time.Since(began) > callLimit {
			t.Errorf("who waits for another's token gives up in time: %v after %s", err, time.Since(began))
		}
		over, end := context.WithCancel(t.Context())
		end()
		if _, err := l.get(over); !errors.Is(err, context.Canceled) {
			t.Errorf("whose pass is over is told nothing of the cluster: %v", err)
		}
		all.Wait()
	})
}

// denying is a cluster that lets nobody in at first, as it is with an account that has the
// identity of somebody else.
type denying struct {
	left atomic.Int32
	on   string // what the path ends in
}

func (d *denying) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, d.on) || d.left.Add(-1) < 0 {
		halfCluster(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":false}}`)
		return
	}
	w.WriteHeader(http.StatusForbidden)
	fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`)
}

// TestDenied: whoever may do nothing there signs in anew, since his identity may have been
// corrected here.
func TestDenied(t *testing.T) {
	for name, on := range map[string]string{"Entering": "/kube-system", "Watching": "/selfsubjectaccessreviews", "Listing": "/workspaces"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &denying{on: on}
			d.left.Store(1)
			server := httptest.NewTLSServer(d)
			t.Cleanup(server.Close)
			t.Cleanup(server.CloseClientConnections)
			f := federate(t, Options{}, map[string]string{
				"address": server.URL, "ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
			}, accountNamed("west"))
			if c, err := f.Of(t.Context(), f.sync); err == nil {
				t.Fatalf("nobody may enter it, and it is %v", c)
			}
			f.hears(t, "it is there")
			if c, err := f.Of(t.Context(), f.sync); err != nil || c.ID() != "spoke" || len(f.made()) != 2 {
				t.Errorf("it is %v, %v, and %d tokens were made", c, err, len(f.made()))
			}
		})
	}
}

// hears waits for the next news.
func (f *federation) hears(t *testing.T, of string) {
	t.Helper()
	limited, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	select {
	case <-f.News():
	case <-limited.Done():
		t.Fatalf("nobody is told that %s", of)
	}
}

// written writes the ConfigMap anew.
func (f *federation) written(t *testing.T, change func(*corev1.ConfigMap)) {
	t.Helper()
	live := &corev1.ConfigMap{}
	if err := f.Get(t.Context(), client.ObjectKey{Namespace: "models", Name: "spoke"}, live); err != nil {
		t.Fatal(err)
	}
	change(live)
	if err := f.Update(t.Context(), live); err != nil {
		t.Fatal(err)
	}
}

// annotated changes nothing that the ConfigMap says.
func annotated(live *corev1.ConfigMap) { live.Annotations = map[string]string{"a": "b"} }

// TestWrittenAnew: a ConfigMap that is written anew and says the same closes nothing, and
// has whoever signs in do so anew.
func TestWrittenAnew(t *testing.T) {
	f := federate(t, Options{}, nil, accountNamed("west"))
	was, err := f.Of(t.Context(), f.sync)
	if err != nil {
		t.Fatal(err)
	}
	f.written(t, annotated)
	if is, err := f.Of(t.Context(), f.sync); is != was || err != nil {
		t.Errorf("it is %v, %v", is, err)
	}
	if token, next := was.signs.current(t.Context()); token == "" {
		t.Error("who has a good token waits for none")
	} else if next != nil {
		<-next.done
	}
	if n := len(f.made()); n != 2 {
		t.Errorf("%d tokens were made", n)
	}
}

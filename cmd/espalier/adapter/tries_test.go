// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestPatience: a registry that restarts is waited for, some minutes at most, because a GPU
// waits too; one that has decided is not.
func TestPatience(t *testing.T) {
	const s = time.Second
	busy := func(after string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", after)
			http.Error(w, `{"errors":[{"code":"DENIED","message":"slow down"}]}`, http.StatusTooManyRequests)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{}`, code) }
	}
	inTurn := func(codes ...int) http.HandlerFunc { // one for each try: of its requests the first answers otherwise
		var n atomic.Int32
		return func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{}`, codes[min(int(n.Add(1)), len(codes))-1])
		}
	}
	for name, c := range map[string]struct {
		reason string
		answer http.HandlerFunc // nil: nobody listens
		within time.Duration
		want   []time.Duration
		says   string
		again  bool // another pod may do better
	}{
		"Refused": {
			reason: "A registry that is started anew takes half a minute, or one.",
			want:   []time.Duration{2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s}, says: "giving up after 8 attempts",
		},
		"Unavailable": {
			reason: "So does the proxy before it.", answer: status(http.StatusBadGateway),
			want: []time.Duration{2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s}, says: "giving up after 8 attempts",
		},
		"Busy": {
			reason: "It knows when it wants to be asked again, whatever code is in the body.", answer: busy("20"),
			want: []time.Duration{20 * s, 20 * s, 20 * s, 20 * s, 32 * s, 60 * s, 60 * s}, says: "giving up after 8 attempts",
		},
		"BusyForLong": {
			reason: "No longer than there is patience for.", answer: busy("86400"), within: 110 * s,
			want: []time.Duration{120 * s}, says: "giving up after 2 attempts",
		},
		"Slow": {
			reason: "Tries that take long themselves are fewer, and two.", answer: status(http.StatusGatewayTimeout), within: time.Nanosecond,
			want: []time.Duration{2 * s}, says: "giving up after 2 attempts",
		},
		"Denied": {
			reason: "A credential is shown three times, within seconds.", answer: status(http.StatusForbidden),
			want: []time.Duration{2 * s, 4 * s}, says: "the registry refuses the credential (403)",
		},
		"DeniedBetween": {
			reason: "Three refusals in a row count, and nothing else that went wrong before.", answer: inTurn(502, 502, 403, 502, 403, 403, 502, 403),
			want: []time.Duration{2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s}, says: "giving up after 8 attempts", again: true,
		},
		"DeniedAtLast": {
			reason: "It decides once it has said so three times.", answer: inTurn(502, 502, 403, 403, 403),
			want: []time.Duration{2 * s, 4 * s, 8 * s, 16 * s}, says: "the registry refuses the credential (403)",
		},
		"DeniedSlowly": {
			reason: "Two that took long are no three.", answer: status(http.StatusForbidden), within: time.Nanosecond,
			want: []time.Duration{2 * s}, says: "giving up after 2 attempts", again: true,
		},
		"NotThere": {
			reason: "No wait makes a repository.", answer: status(http.StatusNotFound), says: "404",
		},
	} {
		t.Run(name, func(t *testing.T) {
			host := "127.0.0.1:1"
			if c.answer != nil {
				host = serve(t, func(http.Handler) http.Handler { return c.answer })
			}
			var waited []time.Duration
			tries := Tries{Within: c.within, sleep: func(_ context.Context, pause time.Duration) error {
				waited = append(waited, pause)
				return nil
			}}
			_, err := Pull(t.Context(), PullOptions{Image: host + "/models/dolly:1", To: t.TempDir(), Tries: tries})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s\nerror: %v, want %q", c.reason, err, c.says)
			}
			var no *RefusedError
			if refused := errors.As(err, &no); refused && c.again {
				t.Errorf("%s\nit is refused for good: %v", c.reason, err)
			}
			if !slices.Equal(waited, c.want) {
				t.Errorf("%s\nwaited %v, want %v", c.reason, waited, c.want)
			}
		})
	}
}

// TestRestarted: a registry that is away for a while, longer than one try's pauses were,
// gets the adapter.
func TestRestarted(t *testing.T) {
	var away time.Duration
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if away < time.Minute {
				http.Error(w, "no upstream", http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	o := options(trained(t, nil), host)
	o.Backoff = DefaultBackoff
	o.sleep = func(_ context.Context, pause time.Duration) error {
		away += pause
		return nil
	}
	if _, err := Push(t.Context(), o); err != nil {
		t.Errorf("after %s: %v", away, err)
	}
}

// TestNobodyWaits: who wants no result any more is not waited for.
func TestNobodyWaits(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := options(trained(t, nil), "127.0.0.1:1")
	o.Backoff = time.Hour
	o.Progress = writer(func(p []byte) (int, error) {
		if strings.Contains(string(p), "trying again") {
			cancel()
		}
		return len(p), nil
	})
	if _, err := Push(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// writer is a function that is written to.
type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

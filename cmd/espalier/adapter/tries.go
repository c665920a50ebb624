// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/espalier-dev/espalier/cmd/espalier/data"
)

// Defaults of Options. The pauses between so many tries are three minutes together: a registry
// that restarts is there again, and a GPU is not held for one that stays away.
const (
	DefaultAttempts = 8
	DefaultBackoff  = 2 * time.Second
	DefaultWithin   = data.DefaultWithin
)

// maxBackoff bounds the doubling of the wait; a registry may ask for more (Retry-After).
const maxBackoff = time.Minute

// deniedAttempts is how often a credential is shown that is not taken: one that was made,
// or given a right, a moment ago is not known everywhere yet.
const deniedAttempts = 3

// Tries at a registry, and as whom. All have defaults.
type Tries struct {
	// Keychain holds the registry's credentials. Nil: none.
	Keychain authn.Keychain
	// Who signs in, for people. Empty: the Secret.
	Who string
	// Transport reaches the registry; nil: data.RegistryTransport.
	Transport http.RoundTripper
	// Attempts is how often the whole is tried without coming farther; what is there
	// already is not sent again.
	Attempts int
	// Backoff is the wait after the first failure; it doubles with each, up to a minute.
	Backoff time.Duration
	// Within is how long tries that come no farther begin; two are made whatever they take.
	Within time.Duration
	// Progress receives a line now and then; nil: none.
	Progress io.Writer

	verb    string      // push or pull: what the Secret is for
	farther func() bool // than before: a try that came farther counts none; nil: none does
	busy    *busy       // what the registry said of when to come back
	sleep   func(context.Context, time.Duration) error
}

// begin names what is done, and listens to what the registry says of when to come back.
func (t *Tries) begin(verb string) {
	t.verb = verb
	t.busy = &busy{under: t.transport()}
	t.Transport = t.busy
}

// busy notes how long a registry asks to be left alone: the errors of its client have no
// header. The client's own tries do not ask either, and are switched off.
type busy struct {
	under http.RoundTripper
	pause atomic.Int64 // nanoseconds
}

// RoundTrip implements http.RoundTripper.
func (b *busy) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.under.RoundTrip(r)
	if err == nil && (answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusServiceUnavailable) {
		b.pause.Store(int64(data.RetryAfter(answer.Header)))
	}
	return answer, err
}

// asked is the pause that was asked for since it was read last.
func (b *busy) asked() time.Duration {
	if b == nil {
		return 0
	}
	return time.Duration(b.pause.Swap(0))
}

// keys are the credentials, none where there is no keychain.
func (t Tries) keys() authn.Keychain {
	if t.Keychain == nil {
		return authn.NewMultiKeychain()
	}
	return t.Keychain
}

// permitted is the one transport of this process, which keeps its connections.
var permitted = sync.OnceValue(data.RegistryTransport)

func (t Tries) transport() http.RoundTripper {
	if t.Transport == nil {
		return permitted()
	}
	return t.Transport
}

// remote are the options of the client.
func (t Tries) remote() []remote.Option {
	return []remote.Option{
		remote.WithAuthFromKeychain(t.keys()), remote.WithUserAgent("espalier"), remote.WithTransport(t.transport()),
		remote.WithRetryBackoff(remote.Backoff{Duration: t.Backoff, Steps: 1}),
	}
}

// retry calls do until it succeeds or fails in a way that time cannot cure.
func retry(ctx context.Context, o Tries, do func(context.Context) error) error {
	o.defaults()
	begun := time.Now()
	denials := 0 // in a row
	for n, wait := 1, o.Backoff; ; n++ {
		err := judge(do(ctx), o)
		if o.farther != nil && o.farther() {
			n, denials, wait, begun = 1, 0, o.Backoff, time.Now()
		}
		err = decided(err, &denials)
		if err == nil || conclusive(err) || ctx.Err() != nil {
			return err
		}
		pause := max(wait, o.busy.asked())
		if n >= o.Attempts || n > 1 && time.Since(begun)+pause > o.Within {
			return fmt.Errorf("giving up after %d attempts: %w", n, err)
		}
		say(o.Progress, "%v; trying again in %s", err, pause)
		if err := o.sleep(ctx, pause); err != nil {
			return err
		}
		wait = min(2*wait, maxBackoff)
	}
}

func (t *Tries) defaults() {
	if t.Attempts <= 0 {
		t.Attempts = DefaultAttempts
	}
	if t.Backoff <= 0 {
		t.Backoff = DefaultBackoff
	}
	if t.Within <= 0 {
		t.Within = DefaultWithin
	}
	if t.sleep == nil {
		t.sleep = data.Sleep
	}
}

// deniedError is a credential that is not taken, which a registry may not know at once.
type deniedError struct{ message string }

func (e *deniedError) Error() string { return e.message }

// decided makes a refusal of as many denials in a row as are enough.
func decided(err error, denials *int) error {
	var no *deniedError
	if !errors.As(err, &no) {
		*denials = 0
		return err
	}
	if *denials++; *denials >= deniedAttempts {
		return refused("%s", no.message)
	}
	return err
}

// conclusive says whether another answer would not differ from this one.
func conclusive(err error) bool {
	var no *RefusedError
	return errors.As(err, &no)
}

// passing says whether a registry may answer otherwise soon: one that is busy may, whatever
// code is in its body.
func passing(answer *transport.Error) bool {
	return answer.StatusCode == http.StatusTooManyRequests || answer.Temporary()
}

// judge makes a refusal of what the registry will answer again.
func judge(err error, t Tries) error {
	var address *data.RefusedError
	switch {
	case errors.As(err, &address):
		return refused("%s", address.Message)
	case err != nil && (strings.Contains(err.Error(), "SSRF protection") || strings.Contains(err.Error(), "private or link-local address")):
		// go-containerregistry looks at some addresses first, and its error has no type.
		return refused("%v: nothing that a repository names is read from there", err)
	}
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return err
	}
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return &deniedError{fmt.Sprintf("the registry refuses the credential (%d): %s", code, t.remedy())}
	case code >= 400 && code < 500 && !passing(answer):
		return refused("%v", answer)
	}
	return err
}

// remedy is what to do about a credential that is not taken.
func (t Tries) remedy() string {
	if t.Who != "" {
		return fmt.Sprintf("%s needs the right to %s there", t.Who, t.verb)
	}
	return fmt.Sprintf("the %s Secret needs the right to %s there, or what it holds has expired: write a credential that is valid into it", t.verb, t.verb)
}

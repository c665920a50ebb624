// SPDX-License-Identifier: Apache-2.0

// Package adapter publishes a trained LoRA adapter as an OCI image that a
// Kubernetes image volume can mount.
//
// It decides what is an adapter (adapter_config.json and a whole
// adapter_model.safetensors, as PEFT writes them) and makes the same bytes into
// the same digest, on any machine and in any run. It publishes nothing else of
// the trainer's folder, and nothing at all when one of the two is damaged. It
// never reads or changes weights. It also copies what an image holds into a folder,
// where no image volume is to be had.
package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/espalier-dev/espalier/cmd/espalier/data"
)

// Defaults of Options.
const (
	DefaultAttempts = 5
	DefaultBackoff  = 2 * time.Second
)

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
	// Backoff is the wait after the first failure; it doubles with each.
	Backoff time.Duration
	// Progress receives a line now and then; nil: none.
	Progress io.Writer

	verb    string      // push or pull: what the Secret is for
	farther func() bool // than before: a try that came farther counts none; nil: none does
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

// Options say what to push where.
type Options struct {
	// From is the trainer's output folder.
	From string
	// To is the image reference with a tag, as Workspaces name it.
	To string
	// Annotations are put on the index and on both of its manifests, beside
	// those of the adapter itself; see Annotations.
	Annotations map[string]string
	// Key signs the image; nil: it is not signed.
	Key *Key
	// Chunk is how much of the layer one request carries, in bytes; 0: DefaultChunk.
	Chunk int64
	Tries
}

// RefusedError is a push that no retry can bring about: the adapter, the
// reference or the credential is wrong.
type RefusedError struct {
	Message string
	// Again says that another pod may do better: its trainer goes on from the last
	// checkpoint, and writes the adapter once more.
	Again bool
	// denied: the credential is not taken, which a registry may not know at once.
	denied bool
}

func (e *RefusedError) Error() string { return e.Message }

func refused(format string, a ...any) error {
	return &RefusedError{Message: fmt.Sprintf(format, a...)}
}

// unfinished refuses what a trainer left that was cut short.
func unfinished(format string, a ...any) error {
	return &RefusedError{Message: fmt.Sprintf(format, a...), Again: true}
}

// Push publishes the adapter and returns its reference by digest,
// registry/repository@sha256:….
func Push(ctx context.Context, o Options) (string, error) {
	ref, err := name.NewTag(o.To)
	if err != nil {
		return "", refused("the output image %q is not a reference with a tag: %v", o.To, err)
	}
	files, err := open(o.From)
	if err != nil {
		o.unmark(err)
		return "", err
	}
	packed, err := newLayer(files)
	if err != nil {
		return "", err
	}
	o.verb = "push"
	index, err := o.image(ctx, ref, files, packed)
	if err != nil {
		return "", fmt.Errorf("pushing to %s: %w", ref, err)
	}
	digest, err := index.Digest()
	if err != nil {
		return "", fmt.Errorf("computing the digest of the image: %w", err)
	}
	say(o.Progress, "pushing %s, %d bytes of weights, as %s to %s", files.base(), files.weights.size, digest, ref)
	up := newUpload(o, packed, ref.Context())
	o.farther = up.farther
	err = retry(ctx, o.Tries, func(ctx context.Context) error {
		if err := up.run(ctx, o.keys()); err != nil {
			return err
		}
		return write(ctx, o, ref, ref.Context().Digest(digest.String()), index)
	})
	if err != nil {
		return "", fmt.Errorf("pushing to %s: %w", ref, err)
	}
	return ref.Context().Digest(digest.String()).String(), nil
}

// write is one attempt. What is to be signed gets its tag last: whoever sees the
// tag, a later run among them, sees a signed adapter.
func write(ctx context.Context, o Options, ref name.Tag, digest name.Digest, index v1.ImageIndex) error {
	with := o.remote()
	if o.Key == nil {
		return remote.WriteIndex(ref, index, append(with, remote.WithContext(ctx))...)
	}
	if err := remote.WriteIndex(digest, index, append(with, remote.WithContext(ctx))...); err != nil {
		return err
	}
	signatures, err := o.Key.sign(ctx, digest, with...)
	if err != nil {
		return fmt.Errorf("signing it: %w", err)
	}
	say(o.Progress, "signed: %s", signatures)
	return remote.Tag(ref, index, append(with, remote.WithContext(ctx))...)
}

// trainedMark is by what a pod of KAITO's trainer knows that nothing is left to train
// (presets/runtimes/kaito).
const trainedMark = "trained"

// unmark takes the mark away from an adapter that is refused: the next pod trains it anew,
// where it would train nothing and be refused again.
func (o Options) unmark(err error) {
	var no *RefusedError
	if !errors.As(err, &no) {
		return
	}
	switch err := os.Remove(filepath.Join(o.From, trainedMark)); {
	case err == nil:
		say(o.Progress, "another try trains it anew")
	case !errors.Is(err, os.ErrNotExist):
		say(o.Progress, "another try finds it as trained: %v", err)
	}
}

func say(w io.Writer, format string, a ...any) {
	if w != nil {
		fmt.Fprintf(w, format+"\n", a...)
	}
}

// retry calls do until it succeeds or fails in a way that time cannot cure.
func retry(ctx context.Context, o Tries, do func(context.Context) error) error {
	attempts, backoff := o.Attempts, o.Backoff
	if attempts <= 0 {
		attempts = DefaultAttempts
	}
	if backoff <= 0 {
		backoff = DefaultBackoff
	}
	for n, wait := 1, backoff; ; n++ {
		err := judge(do(ctx), o)
		if err == nil || conclusive(err, n) || ctx.Err() != nil {
			return err
		}
		if o.farther != nil && o.farther() {
			n, wait = 1, backoff
		}
		if n == attempts {
			return fmt.Errorf("giving up after %d attempts: %w", n, err)
		}
		say(o.Progress, "%v; trying again in %s", err, wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait *= 2
	}
}

// conclusive says whether the nth answer in a row is one that another would not differ from.
func conclusive(err error, n int) bool {
	var no *RefusedError
	return errors.As(err, &no) && (!no.denied || n >= deniedAttempts)
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
		return &RefusedError{denied: true, Message: fmt.Sprintf("the registry refuses the credential (%d): %s", code, t.remedy())}
	case code >= 400 && code < 500 && !answer.Temporary():
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

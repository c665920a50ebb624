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
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

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
	o.begin("push")
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

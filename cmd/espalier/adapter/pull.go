// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// DefaultMaxPulled bounds the files of an image, in bytes.
const DefaultMaxPulled = 64 << 30

// PullOptions say what to copy where. Tries and MaxBytes have defaults.
type PullOptions struct {
	// Image is the reference, by tag or digest.
	Image string
	// To is the folder that gets the files; it must be there.
	To string
	// MaxBytes bounds all files together.
	MaxBytes int64
	// Tries at the registry.
	Tries
}

// Pull copies the files of an image into a folder, as an image volume shows them:
// for clusters whose nodes mount none. What is no file and no folder is left out,
// links too: none may lead out of the folder. It returns the reference by digest.
func Pull(ctx context.Context, o PullOptions) (string, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxPulled
	}
	ref, err := name.ParseReference(o.Image)
	if err != nil {
		return "", refused("%q is no reference of an image: %v", o.Image, err)
	}
	root, err := os.OpenRoot(o.To)
	if err != nil {
		return "", fmt.Errorf("opening the folder to copy to: %w", err)
	}
	defer root.Close()
	var digest v1.Hash
	o.begin("pull")
	err = retry(ctx, o.Tries, func(ctx context.Context) error {
		image, err := remote.Image(ref, append(o.remote(), remote.WithContext(ctx),
			remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))...)
		if err != nil {
			return err
		}
		if digest, err = image.Digest(); err != nil {
			return err
		}
		say(o.Progress, "copying %s, %s", ref, digest)
		return noRoom(extract(image, root, o.MaxBytes), o.To)
	})
	if err != nil {
		return "", fmt.Errorf("copying what %s holds: %w", ref, err)
	}
	return ref.Context().Digest(digest.String()).String(), nil
}

// noRoom makes a refusal of a disk that is full: the next try would fill it alike.
func noRoom(err error, dir string) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return refused("%v: the volume of %s has no room for the files of the image; give it more, by a node with a larger disk", err, dir)
}

// extract writes the files of all layers, one over the other. Written again, after
// a connection was cut, they are the same.
func extract(image v1.Image, root *os.Root, room int64) error {
	files := mutate.Extract(image)
	defer files.Close()
	for archive := tar.NewReader(files); ; {
		entry, err := archive.Next()
		if errors.Is(err, io.EOF) {
			// What went wrong comes after the end of the archive, which is always written.
			_, err = io.Copy(io.Discard, files)
			return err
		}
		if err != nil {
			return err
		}
		at := path.Clean("/" + entry.Name)[1:]
		if at == "" || !filepath.IsLocal(at) {
			continue
		}
		switch entry.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(at, 0o755)
		case tar.TypeReg:
			if room -= entry.Size; room < 0 {
				return refused("the files of the image are too many or too large: --max-size is the limit")
			}
			err = writeFile(root, at, archive)
		}
		if err != nil {
			return err
		}
	}
}

func writeFile(root *os.Root, at string, content io.Reader) error {
	if err := root.MkdirAll(path.Dir(at), 0o755); err != nil {
		return err
	}
	file, err := root.OpenFile(at, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

// SPDX-License-Identifier: Apache-2.0

package node

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/espalier-dev/espalier/deploy/image"
	"github.com/espalier-dev/espalier/test/cluster"
)

// busybox is a shell for the stand-in of the trainer, whose container is a script.
const busybox = "/bin/busybox"

// errNoShell says what is missing.
var errNoShell = errors.New(busybox + " is not there, or not static: on Debian, `apt-get install busybox-static`")

// pushHelper pushes the image that `make image` makes, for this machine alone, and
// returns its reference by digest.
func pushHelper(ctx context.Context, host string) (string, error) {
	built, err := build(ctx, "./cmd/espalier")
	if err != nil {
		return "", err
	}
	return built.Push(ctx, host+"/espalier:dev", authn.DefaultKeychain)
}

func build(ctx context.Context, pkg string) (*image.Image, error) {
	root, err := cluster.Root()
	if err != nil {
		return nil, err
	}
	return image.Build(ctx, image.Options{Dir: root, Package: pkg, Platforms: []string{"linux/" + runtime.GOARCH}, Progress: os.Stderr})
}

// kaitoImage is what KAITO's image has beside a shell, as far as a tuning Job knows it.
var kaitoImage = []tar.Header{
	{Typeflag: tar.TypeDir, Name: "workspace/tfs/", Mode: 0o755},
	{Typeflag: tar.TypeReg, Name: "workspace/tfs/fine_tuning.py", Mode: 0o644},
	{Typeflag: tar.TypeReg, Name: "workspace/tfs/metrics_server.py", Mode: 0o644},
	{Typeflag: tar.TypeSymlink, Name: "usr/local/bin/accelerate", Linkname: "kaito", Mode: 0o777},
	{Typeflag: tar.TypeSymlink, Name: "usr/local/bin/python3", Linkname: "kaito", Mode: 0o777},
}

// pushStandIn pushes the image of a stand-in for a runtime: its program under the
// runtime's own name, no entrypoint, no user, a shell, and empty files and links.
func pushStandIn(ctx context.Context, host, program string, more ...tar.Header) (string, error) {
	built, err := build(ctx, "./test/node/"+program)
	if err != nil {
		return "", err
	}
	layer, err := shell(more)
	if err != nil {
		return "", err
	}
	img, err := mutate.AppendLayers(built.Parts[0].Image, layer)
	if err != nil {
		return "", err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return "", err
	}
	config = config.DeepCopy()
	config.Config = v1.Config{Env: []string{"PATH=/usr/local/bin:/bin"}}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return "", err
	}
	tag, err := name.NewTag(host + "/" + program + ":stand-in")
	if err != nil {
		return "", err
	}
	if err := remote.Write(tag, img, remote.WithContext(ctx)); err != nil {
		return "", fmt.Errorf("pushing %s: %w", tag, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	return tag.Context().Digest(digest.String()).String(), nil
}

// shell is a layer with what a script of a Job calls, and more.
func shell(more []tar.Header) (v1.Layer, error) {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, errNoShell
	}
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	headers := []tar.Header{
		{Typeflag: tar.TypeDir, Name: "bin/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755, Size: int64(len(program))},
	}
	for _, called := range []string{"sh", "rm", "mkdir", "sleep", "cat", "ls", "mktemp", "mkfifo", "tee", "grep", "tail", "head", "wc", "od", "df", "sync"} {
		headers = append(headers, tar.Header{Typeflag: tar.TypeSymlink, Name: path.Join("bin", called), Linkname: "busybox", Mode: 0o777})
	}
	for _, h := range append(headers, more...) {
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
		if h.Size > 0 {
			if _, err := w.Write(program); err != nil {
				return nil, err
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil })
}

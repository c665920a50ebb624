// SPDX-License-Identifier: Apache-2.0

// Command build makes the image of espalier for linux/amd64 and linux/arm64 into
// dist/, without a container engine: image/ is an OCI layout, image.tar the same in
// one file, and sbom-*.cdx.json what each binary is made of. With --push it pushes
// the image, with the credentials of Docker's configuration file, and prints the
// reference by digest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/espalier-dev/espalier/deploy/image"
)

// options of the command.
type options struct {
	out, platforms, push string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.out, "out", "dist", "Folder to write into")
	flag.StringVar(&o.platforms, "platforms", "linux/amd64,linux/arm64", "Platforms to build for")
	flag.StringVar(&o.push, "push", "", "Image reference with a tag to push to; empty: nowhere")
	flag.Parse()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func (o options) run(ctx context.Context) error {
	root, err := filepath.Abs(".")
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, "cmd", "espalier")); err != nil {
		return errors.New("run it in the root of the repository: there is no cmd/espalier here")
	}
	built, err := image.Build(ctx, image.Options{
		Dir: root, Package: "./cmd/espalier", Platforms: strings.Split(o.platforms, ","),
		Annotations: image.Annotations(ctx, root), Progress: os.Stderr,
	})
	if err != nil {
		return err
	}
	if err := o.write(built); err != nil {
		return err
	}
	digest, err := built.Digest()
	if err != nil {
		return err
	}
	if o.push == "" {
		fmt.Println(digest)
		return nil
	}
	pushed, err := built.Push(ctx, o.push, authn.DefaultKeychain)
	if err != nil {
		return err
	}
	fmt.Println(pushed)
	return nil
}

// write writes what was built below the folder.
func (o options) write(built *image.Image) error {
	folder := filepath.Join(o.out, "image")
	if err := built.WriteLayout(folder, "espalier:dev"); err != nil {
		return err
	}
	if err := image.Pack(folder, folder+".tar"); err != nil {
		return err
	}
	for _, part := range built.Parts {
		list := filepath.Join(o.out, fmt.Sprintf("sbom-%s-%s.cdx.json", part.Platform.OS, part.Platform.Architecture))
		if err := os.WriteFile(list, part.SBOM, 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "Wrote %s, %s.tar and a list of materials a platform.\n", folder, folder)
	return nil
}

// SPDX-License-Identifier: Apache-2.0

// Command build packs the manifests of deploy/ as an OCI artifact for Flux into
// dist/manifests, an OCI layout, and dist/manifests.tar, the same in one file. With
// --push it pushes the artifact, with the credentials of Docker's configuration file,
// and prints the reference by digest.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/espalier-dev/espalier/deploy/artifact"
	"github.com/espalier-dev/espalier/deploy/image"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := flag.String("out", "dist", "Folder to write into")
	push := flag.String("push", "", "Reference with a tag to push to; empty: nowhere")
	flag.Parse()
	if err := run(ctx, *out, *push); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func run(ctx context.Context, out, push string) error {
	annotations := image.Annotations(ctx, ".")
	annotations["org.opencontainers.image.title"] = "espalier-manifests"
	packed, err := artifact.Pack(os.DirFS("."), annotations)
	if err != nil {
		return fmt.Errorf("%w (run it in the root of the repository)", err)
	}
	folder := filepath.Join(out, "manifests")
	if err := artifact.WriteLayout(packed, folder, "espalier-manifests:dev"); err != nil {
		return err
	}
	if err := image.Pack(folder, folder+".tar"); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "Wrote %s and %s.tar.\n", folder, folder)
	if push == "" {
		digest, err := packed.Digest()
		if err != nil {
			return err
		}
		fmt.Println(digest)
		return nil
	}
	pushed, err := artifact.Push(ctx, packed, push, authn.DefaultKeychain)
	if err != nil {
		return err
	}
	fmt.Println(pushed)
	return nil
}

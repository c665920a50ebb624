// SPDX-License-Identifier: Apache-2.0

// Command build builds the programs of the local control plane (etcd, kwok and
// Kubernetes) from their Go modules into a folder, bin/ of the checkout unless
// another is named; with --forge, Gitea instead, with --karpenter, Karpenter, with
// --flux, the controllers of Flux, with --flux-previous, those of the release before,
// with --node, what a real node runs. What is up to
// date is left alone.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/espalier-dev/espalier/test/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func run(ctx context.Context, args []string) error {
	build := cluster.Build
	instead := map[string]func(context.Context, string, io.Writer) error{
		"--forge": cluster.BuildForge, "--karpenter": cluster.BuildKarpenter, "--flux": cluster.BuildFlux,
		"--flux-previous": cluster.BuildPreviousFlux,
		"--node":          cluster.BuildNode,
	}
	if len(args) > 0 && instead[args[0]] != nil {
		build, args = instead[args[0]], args[1:]
	}
	if len(args) > 1 {
		return fmt.Errorf("usage: build [--forge|--karpenter|--flux|--flux-previous|--node] [FOLDER]")
	}
	bin, err := cluster.DefaultBin()
	if err != nil {
		return err
	}
	if len(args) == 1 {
		bin = args[0]
	}
	return build(ctx, bin, os.Stdout)
}

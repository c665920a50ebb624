// SPDX-License-Identifier: Apache-2.0

// Package kustomize runs the Kustomize library the one way this project allows:
// over a file system in memory, without plugins, one build at a time, and with
// a deadline.
//
// It refuses nothing: the library clones Git repositories and fetches URLs that
// a kustomization names, whatever its settings, so callers must have read every
// kustomization they hand over (see render/build).
package kustomize

import (
	"context"
	_ "embed"
	"fmt"
	"sync"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

// MergeKeys is the OpenAPI schema that every build has beside that of
// Kubernetes: the merge keys of our kinds.
//
//go:embed merge-keys.yaml
var MergeKeys []byte

// learn adds MergeKeys to the library's schema: once, because no build resets
// it (a kustomization of ours has no field openapi).
var learn = sync.OnceValue(func() error { return openapi.AddSchema(MergeKeys) })

// turn is held by the build that runs. The library keeps its schema in a
// process-wide variable that builds read and write (kustomize#3659). A channel
// instead of a mutex, so that waiting ends with the context.
var turn = make(chan struct{}, 1)

type result struct {
	objects resmap.ResMap
	err     error
}

// Run builds the kustomization in the folder root of files. When ctx ends
// first, Run returns its error; the library cannot be interrupted, so the
// abandoned build runs on until it ends and keeps the turn until then.
func Run(ctx context.Context, files filesys.FileSystem, root string) (resmap.ResMap, error) {
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for another build: %w", ctx.Err())
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-turn }()
		done <- run(files, root)
	}()
	select {
	case r := <-done:
		return r.objects, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("building: %w", ctx.Err())
	}
}

// run builds and turns a panic of the library into an error: several are known
// on odd input, and one repository must not end the process of all others.
func run(files filesys.FileSystem, root string) (r result) {
	defer func() {
		if p := recover(); p != nil {
			r = result{err: fmt.Errorf("kustomize panicked: %v", p)}
		}
	}()
	if err := learn(); err != nil {
		return result{err: fmt.Errorf("reading the merge keys: %w", err)}
	}
	objects, err := krusty.MakeKustomizer(&krusty.Options{
		Reorder: krusty.ReorderOptionNone,
		// Whole-tree restriction is the file system's: it holds nothing else.
		LoadRestrictions: types.LoadRestrictionsNone,
		PluginConfig:     types.DisabledPluginConfig(),
	}).Run(files, root)
	return result{objects: objects, err: err}
}

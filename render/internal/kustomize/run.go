// SPDX-License-Identifier: Apache-2.0

// Package kustomize runs the Kustomize library the one way this project allows:
// over a file system in memory, without plugins, as many builds at a time as
// there are processors, and with a deadline.
//
// It refuses nothing: the library clones Git repositories and fetches URLs that
// a kustomization names, whatever its settings, and lets one that names a schema
// change it for every other, so callers must have read every kustomization they
// hand over (see render/build).
package kustomize

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	config "github.com/espalier-dev/espalier/repo-layout/kustomize"
)

// ErrTime is the cause of Run's error when a build has taken longer than it may.
var ErrTime = errors.New("the build takes too long")

// turns are held by builds that run. A channel instead of a semaphore with a
// lock, so that waiting ends with the context.
var turns = make(chan struct{}, runtime.GOMAXPROCS(0))

// The library keeps its schema in process-wide variables that it fills when they
// are first needed and reads without a lock (kustomize#3659). Filled before the
// first build, with the merge keys of our kinds, they are only read from then on.
var schema = sync.OnceValue(func() error {
	if err := openapi.AddSchema(config.Schema()); err != nil {
		return fmt.Errorf("reading the merge keys: %w", err)
	}
	openapi.SchemaForResourceType(yaml.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"})
	return nil
})

type result struct {
	objects resmap.ResMap
	err     error
}

// Run builds the kustomization in the folder root of files, for at most limit
// from when its turn has come; 0: as long as ctx. The library cannot be
// interrupted: a build that is given up runs on until it ends and keeps its turn
// until then.
func Run(ctx context.Context, limit time.Duration, files filesys.FileSystem, root string) (resmap.ResMap, error) {
	if err := schema(); err != nil {
		return nil, err
	}
	turns := turns // the one to give back to
	select {
	case turns <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for other builds: %w", ctx.Err())
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, ErrTime)
		defer cancel()
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-turns }()
		done <- run(files, root)
	}()
	select {
	case r := <-done:
		return r.objects, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("building: %w", context.Cause(ctx))
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
	objects, err := krusty.MakeKustomizer(&krusty.Options{
		Reorder: krusty.ReorderOptionNone,
		// Whole-tree restriction is the file system's: it holds nothing else.
		LoadRestrictions: types.LoadRestrictionsNone,
		PluginConfig:     types.DisabledPluginConfig(),
	}).Run(files, root)
	return result{objects: objects, err: err}
}

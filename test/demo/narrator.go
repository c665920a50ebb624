// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
	"github.com/espalier-dev/espalier/test/harness"
)

// narrate tells on the screen what the API server says of everything in the
// team's namespace until ctx ends. It only watches.
func narrate(ctx context.Context, s *screen, team *harness.Team) error {
	seen, err := cache.New(team.Cluster.Config, cache.Options{
		Scheme:            team.Client.Scheme(),
		ByObject:          map[client.Object]cache.ByObject{&corev1.Node{}: {}},
		DefaultNamespaces: map[string]cache.Config{team.Namespace: {}},
	})
	if err != nil {
		return fmt.Errorf("watching the cluster: %w", err)
	}
	watches := []func() error{
		func() error { return watch(ctx, seen, s, "sync", &v1alpha1.RepoSync{}, tellSync) },
		func() error { return watch(ctx, seen, s, "workspace", &v1alpha1.Workspace{}, tellWorkspace) },
		func() error { return watch(ctx, seen, s, "pool", &v1alpha1.GPUNodePool{}, tellPool) },
		func() error { return watch(ctx, seen, s, "node", &corev1.Node{}, tellNode) },
		func() error { return watch(ctx, seen, s, "job", &batchv1.Job{}, tellJob) },
		func() error { return watch(ctx, seen, s, "serving", &appsv1.Deployment{}, tellDeployment) },
	}
	for _, start := range watches {
		if err := start(); err != nil {
			return err
		}
	}
	go func() {
		if err := seen.Start(ctx); err != nil && ctx.Err() == nil {
			s.event("demo", "", "watching the cluster ended: "+err.Error())
		}
	}()
	if !seen.WaitForCacheSync(ctx) {
		return ctx.Err()
	}
	return nil
}

// watch prints what tell has to say of each change of an object; one of the two
// it is given is the zero value when the object has come or gone.
func watch[T client.Object](ctx context.Context, seen cache.Cache, s *screen, kind string, zero T, tell func(was, is T) []string) error {
	informer, err := seen.GetInformer(ctx, zero)
	if err != nil {
		return fmt.Errorf("watching %T: %w", zero, err)
	}
	var none T
	say := func(name string, was, is T) {
		for _, text := range tell(was, is) {
			s.event(kind, name, text)
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { say(o.(T).GetName(), none, o.(T)) },
		UpdateFunc: func(was, is any) {
			say(is.(T).GetName(), was.(T), is.(T))
		},
		DeleteFunc: func(o any) {
			if last, ok := o.(T); ok { // else the watch has missed its end, and there is nothing to tell
				say(last.GetName(), last, none)
			}
		},
	})
	return err
}

// lookAtBranch is how often the status branch is read.
const lookAtBranch = 300 * time.Millisecond

// branch tells each new commit of the status branch, once.
type branch struct {
	screen *screen
	team   *harness.Team

	mu    sync.Mutex
	known int // commits told
}

// follow looks until ctx ends.
func (b *branch) follow(ctx context.Context) {
	ticker := time.NewTicker(lookAtBranch)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			b.look()
		}
	}
}

// look tells the commits that are new.
func (b *branch) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	log, err := b.team.Git.Log(b.team.Repo, b.team.StatusBranch())
	if err != nil {
		return // the branch is not there yet
	}
	fresh := slices.Clone(log[:len(log)-b.known])
	slices.Reverse(fresh)
	for _, c := range fresh {
		tellCommit(b.screen, c)
	}
	b.known = len(log)
}

func tellCommit(s *screen, c gitserver.Commit) {
	s.event("commit", c.Hash[:7]+" on the status branch", strings.Join(changes(c.Message), "; "))
}

// changes are the lines of a report's message between its subject and the
// trailers: what became of each Workspace.
func changes(message string) []string {
	var lines []string
	for _, line := range strings.Split(message, "\n")[1:] {
		switch {
		case line == "[skip ci]":
			return lines
		case line != "":
			lines = append(lines, line)
		}
	}
	return lines
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Kinds that are followed.
var (
	workspaces      = schema.GroupVersionKind{Group: "espalier.dev", Version: "v1alpha1", Kind: "Workspace"}
	deployments     = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	configMaps      = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	gitRepositories = schema.GroupVersionKind{Group: "source.toolkit.fluxcd.io", Version: "v1", Kind: "GitRepository"}
	kustomizations  = schema.GroupVersionKind{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Kind: "Kustomization"}
)

// seen is an object as an event of its watch told.
type seen struct {
	uid        types.UID
	generation int64
	revision   string // that a Kustomization has applied
	since      time.Time
}

// follower knows the objects of a kind in a namespace, and since when each is as it
// is.
type follower struct {
	mu    sync.Mutex
	have  map[string]seen
	stir  chan struct{} // something has changed
	told  func(name string, s seen)
	whole bool // the objects are watched whole, not their metadata
}

// follow watches until ctx ends. told, where it is not nil, is called for each
// object that is new or has another generation.
func follow(ctx context.Context, c client.WithWatch, kind schema.GroupVersionKind, namespace string, told func(string, seen)) (*follower, error) {
	f := &follower{have: map[string]seen{}, stir: make(chan struct{}, 1), told: told, whole: kind == kustomizations}
	events, err := c.Watch(ctx, f.list(kind), client.InNamespace(namespace))
	if err != nil {
		return nil, fmt.Errorf("watching every %s of %s: %w", kind.Kind, namespace, err)
	}
	go func() {
		defer events.Stop()
		for {
			select {
			case e, open := <-events.ResultChan():
				if !open {
					return // what waits for it gives up in its time, and says so
				}
				f.take(e)
			case <-ctx.Done():
				return
			}
		}
	}()
	return f, nil
}

func (f *follower) list(kind schema.GroupVersionKind) client.ObjectList {
	kind.Kind += "List"
	if f.whole {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind)
		return list
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind)
	return list
}

func (f *follower) take(e watch.Event) {
	o, ok := e.Object.(client.Object)
	if !ok {
		return
	}
	now := seen{uid: o.GetUID(), generation: o.GetGeneration(), since: time.Now()}
	if u, ok := o.(*unstructured.Unstructured); ok {
		now.revision, _, _ = unstructured.NestedString(u.Object, "status", "lastAppliedRevision")
	}
	f.mu.Lock()
	was, had := f.have[o.GetName()]
	same := had && was.uid == now.uid && was.generation == now.generation && was.revision == now.revision
	switch {
	case e.Type == watch.Deleted:
		delete(f.have, o.GetName())
	case !same:
		f.have[o.GetName()] = now
	}
	f.mu.Unlock()
	if f.told != nil && e.Type != watch.Deleted && !same {
		f.told(o.GetName(), now)
	}
	select {
	case f.stir <- struct{}{}:
	default:
	}
}

// generations are those of now.
func (f *follower) generations() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	generations := make(map[string]int64, len(f.have))
	for n, s := range f.have {
		generations[n] = s.generation
	}
	return generations
}

// until waits until each of the first k services has what holds says, and returns
// how long after from each had it.
func (f *follower) until(ctx context.Context, k int, from time.Time, holds func(string, seen) bool) ([]time.Duration, error) {
	for {
		times := f.since(k, from, holds)
		if len(times) == k {
			return times, nil
		}
		select {
		case <-f.stir:
		case <-time.After(time.Second): // two may wait for one stir
		case <-ctx.Done():
			return times, fmt.Errorf("%d of %d were seen: %w", len(times), k, ctx.Err())
		}
	}
}

func (f *follower) since(k int, from time.Time, holds func(string, seen) bool) []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var times []time.Duration
	for i := range k {
		if s, ok := f.have[name(i)]; ok && holds(name(i), s) {
			times = append(times, s.since.Sub(from))
		}
	}
	return times
}

// newer says that an object has another generation than before, or is new.
func newer(before map[string]int64) func(string, seen) bool {
	return func(name string, s seen) bool { return s.generation > before[name] }
}

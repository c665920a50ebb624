// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// drifts is how many things a person changes at once.
const drifts = 100

// drift changes by hand what Git says: a third loses its Deployment, a third its
// ConfigMap, and of the rest a field is removed. What a person has set to another
// value is no drift: it is a conflict, which is shown and not undone.
func (e *espalier) drift(ctx context.Context) error {
	k := min(drifts, e.o.n)
	what := fmt.Sprintf("%d drifts at once", k)
	return e.measure(ctx, what, func(ctx context.Context, from time.Time, r *row) error {
		all := []*follower{e.deployments, e.configMaps, e.workspaces}
		before := []map[string]seen{all[0].all(), all[1].all(), all[2].all()}
		for i := range k {
			if err := e.spoil(ctx, i); err != nil {
				return err
			}
		}
		for i := range k {
			at, err := all[i%3].healed(ctx, name(i), before[i%3][name(i)], from)
			if err != nil {
				return err
			}
			r.applied = append(r.applied, at)
		}
		return nil
	})
}

// spoil does one of three things to what belongs to a Workspace.
func (e *espalier) spoil(ctx context.Context, i int) error {
	o := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: place, Name: name(i)}}
	o.SetGroupVersionKind([]schema.GroupVersionKind{deployments, configMaps, workspaces}[i%3])
	var err error
	if i%3 == 2 {
		err = e.client.Patch(ctx, o, client.RawPatch("application/json-patch+json", []byte(`[{"op":"remove","path":"/spec/inference/contextLength"}]`)))
	} else {
		err = e.client.Delete(ctx, o)
	}
	if err != nil {
		return fmt.Errorf("spoiling %s: %w", name(i), err)
	}
	return nil
}

// healed waits until an object is another than before, or has been changed twice
// since: by a person, and back.
func (f *follower) healed(ctx context.Context, name string, before seen, from time.Time) (time.Duration, error) {
	for {
		f.mu.Lock()
		s, ok := f.have[name]
		f.mu.Unlock()
		if ok && (s.uid != before.uid || s.generation >= before.generation+2) {
			return s.since.Sub(from), nil
		}
		select {
		case <-f.stir:
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("%s was not healed: %w", name, ctx.Err())
		}
	}
}

// all are the objects as they are.
func (f *follower) all() map[string]seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.have)
}

// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// apply applies the inputs, then node pools, then Workspaces.
func (r *Reconciler) apply(ctx context.Context, p *pass) error {
	err := r.applyAll(ctx, p)
	p.sync.Status.Inventory = inventory.Union(p.kept.built.inventory(), p.sync.Status.Inventory)
	return err
}

// appliers is how many objects of a RepoSync are applied at once: the API server
// answers while others are on their way.
const appliers = 8

// applyAll applies objects beside each other, those that others name before these. An
// object that the API server refuses, or that fails for now, holds up no other; an
// account without a right holds up all.
func (r *Reconciler) applyAll(ctx context.Context, p *pass) error {
	var failed []error
	for _, group := range inOrder(p.uncertain()) {
		for _, err := range r.applyBeside(ctx, p, group) {
			if fault.IsTerminal(err) || isAway(err) {
				return err
			}
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// outcome is what applying one object has come to, where there is something to tell.
type outcome struct {
	at                  int // the place of the object
	conflicts, refusals []string
	err                 error
}

// applyBeside applies objects of which none needs another. What it has come to is
// told in their order, whichever was done first.
func (r *Reconciler) applyBeside(ctx context.Context, p *pass, group []*wanted) []error {
	var next atomic.Int64
	var stopped atomic.Bool
	told := make([][]outcome, min(appliers, len(group)))
	var beside sync.WaitGroup
	for n := range told {
		beside.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(group) && !stopped.Load(); i = int(next.Add(1)) - 1 {
				one := pass{sync: p.sync, kept: p.kept, at: p.at, looked: p.looked}
				err := r.applyGuarded(ctx, &one, group[i])
				if err != nil || len(one.conflicts)+len(one.refusals) > 0 {
					told[n] = append(told[n], outcome{i, one.conflicts, one.refusals, err})
				}
				if fault.IsTerminal(err) || isAway(err) {
					stopped.Store(true)
				}
			}
		})
	}
	beside.Wait()
	all := slices.Concat(told...)
	slices.SortFunc(all, func(a, b outcome) int { return cmp.Compare(a.at, b.at) })
	var failed []error
	for _, o := range all {
		p.conflicts = append(p.conflicts, o.conflicts...)
		p.refusals = append(p.refusals, o.refusals...)
		if o.err != nil {
			failed = append(failed, o.err)
		}
	}
	return failed
}

// inOrder has the inputs before what names them, and node pools before Workspaces.
func inOrder(all []*wanted) [][]*wanted {
	groups := make([][]*wanted, 3)
	for _, w := range all {
		switch {
		case !w.ours():
			groups[0] = append(groups[0], w)
		case w.kind().Kind != v1alpha1.WorkspaceKind:
			groups[1] = append(groups[1], w)
		default:
			groups[2] = append(groups[2], w)
		}
	}
	return groups
}

// mark is what was noted when an object was applied.
func (k *kept) mark(id string) (apply.Mark, bool) {
	k.marking.Lock()
	defer k.marking.Unlock()
	m, ok := k.applied[id]
	return m, ok
}

func (k *kept) note(id string, m apply.Mark) {
	k.marking.Lock()
	defer k.marking.Unlock()
	k.applied[id] = m
}

func (k *kept) forget(id string) {
	k.marking.Lock()
	defer k.marking.Unlock()
	delete(k.applied, id)
}

// applyGuarded is applyOne in a goroutine of its own, where nobody else catches a panic.
func (r *Reconciler) applyGuarded(ctx context.Context, p *pass, w *wanted) (err error) {
	defer func() {
		if v := recover(); v != nil {
			if err = fmt.Errorf("applying %s panicked, which is a mistake of ours to report: %v", w.entry.ID, v); p.hides(w) {
				err = fmt.Errorf("applying %s panicked, which is a mistake of ours to report; with what is not shown, since it may quote what was decrypted", w.entry.ID)
			}
			log.FromContext(ctx).Error(err, "Applying an object", "stack", string(debug.Stack()))
		}
	}()
	return p.guard(w, r.applyOne(ctx, p, w))
}

func (r *Reconciler) applyOne(ctx context.Context, p *pass, w *wanted) error {
	if p.believed(w) {
		return nil
	}
	w.there = false // unless it is found so
	live, err := r.live(ctx, p, w)
	if err != nil {
		return err
	}
	if live != nil {
		if done, err := r.leave(ctx, p, w, live); done || err != nil {
			return err
		}
	}
	desired := w.object()
	setAnnotations(desired, map[string]string{repolayout.AnnotationRevision: p.kept.built.revision})
	if live != nil && digestOf(live) == digestOf(desired) {
		// Unchanged since an earlier commit: the revision is the one that last changed it.
		keepAnnotation(desired, live, repolayout.AnnotationRevision)
		keepAnnotation(desired, live, repolayout.AnnotationSource)
	}
	p.kept.writes.Add(1)
	p.kept.wrote.Store(r.Clock().Unix())
	applied, err := apply.Object(ctx, account.Writer(ctx, p.at.client), desired, live)
	if err != nil {
		return p.unapplied(ctx, w, err)
	}
	p.kept.note(w.entry.ID, apply.MarkOf(w.digest, applied))
	return nil
}

// unapplied notes what holds up this object alone, and returns what holds up more.
func (p *pass) unapplied(ctx context.Context, w *wanted, err error) error {
	if conflict, ok := apply.AsConflict(err); ok {
		p.conflicts = append(p.conflicts, conflict.Error())
		return nil
	}
	if denied := account.Explain(ctx, err); fault.IsTerminal(denied) {
		return denied
	}
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsForbidden(err) {
		p.refusals = append(p.refusals, fmt.Sprintf("%s:%d: %s", w.file, w.line, p.guarded(w, err)))
		return nil
	}
	return err
}

// leave says whether an object is to be left as it is: another RepoSync holds
// it, which is a conflict, or it is as wanted.
func (r *Reconciler) leave(ctx context.Context, p *pass, w *wanted, live client.Object) (bool, error) {
	other, err := r.otherSync(ctx, p.at, p.sync, live)
	if err != nil {
		return false, err
	}
	if other != "" {
		p.conflicts = append(p.conflicts, fmt.Sprintf("%s (%s): RepoSync %s applies it as well: drop it from one of the two, or give it another name",
			w, finding.Location(w.file, w.line), other))
	}
	if other != "" || p.upToDate(w, live, r.Clock()) {
		m, _ := p.kept.mark(w.entry.ID)
		w.there = other == "" && m.Still(live)
		return true, nil
	}
	return r.adopt(ctx, p, w, live)
}

// uncached says that no cache has an object: a claim, or an input in another cluster.
func (p *pass) uncached(w *wanted) bool {
	return w.kind().Kind == "PersistentVolumeClaim" || p.at.remote() && !w.ours()
}

// believed says that an object that no cache has was applied as it is wanted, and need
// not be read before the source is looked at.
func (p *pass) believed(w *wanted) bool {
	m, done := p.kept.mark(w.entry.ID)
	return done && m.Of(w.digest) && !p.looked && p.uncached(w)
}

// live returns what the cluster holds, nil when it holds nothing. What is cached comes from
// the cache, of an input its metadata. What the cache does not have and was never applied is
// looked for past it: it may be another's.
func (r *Reconciler) live(ctx context.Context, p *pass, w *wanted) (client.Object, error) {
	_, done := p.kept.mark(w.entry.ID)
	live := kindOf(w)
	var err error
	if p.uncached(w) {
		err = p.at.reader.Get(ctx, w.key(), live)
	} else {
		err = p.at.client.Get(ctx, w.key(), live, client.UnsafeDisableDeepCopy) // nobody changes it
		if apierrors.IsNotFound(err) && !done && (p.at.remote() || !w.ours()) {
			err = p.at.reader.Get(ctx, w.key(), live)
		}
	}
	if apierrors.IsNotFound(err) {
		p.kept.forget(w.entry.ID)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", w, err)
	}
	return live, nil
}

// kindOf is an empty object to read what is wanted into: whole where the kind is
// ours, else its metadata.
func kindOf(w *wanted) client.Object {
	switch w.kind().Kind {
	case v1alpha1.WorkspaceKind:
		return &v1alpha1.Workspace{}
	case v1alpha1.GPUNodePoolKind:
		return &v1alpha1.GPUNodePool{}
	}
	metadata := &metav1.PartialObjectMetadata{}
	metadata.SetGroupVersionKind(w.kind())
	return metadata
}

// upToDate says that we applied exactly this, and that nobody has changed the
// object since: an unchanged object costs no call. One from before is what a cache has that
// has not heard of it yet, for as long as a cache is believed to be behind.
func (p *pass) upToDate(w *wanted, live client.Object, now time.Time) bool {
	m, ok := p.kept.mark(w.entry.ID)
	if !ok || !m.Of(w.digest) {
		return false
	}
	return m.Still(live) || m.Before(live) && !p.uncached(w) && now.Sub(time.Unix(p.kept.wrote.Load(), 0)) < apply.BelievedBehind
}

// adopt takes an object that an earlier life of the controller applied for what this
// one would apply, where it is: a start writes nothing that is there.
func (r *Reconciler) adopt(ctx context.Context, p *pass, w *wanted, live client.Object) (bool, error) {
	if _, known := p.kept.mark(w.entry.ID); known || digestOf(live) != w.digest {
		return false, nil
	}
	var whole *unstructured.Unstructured
	switch o := live.(type) {
	case *v1alpha1.Workspace, *v1alpha1.GPUNodePool:
		whole = toUnstructured(o, w.kind().Kind)
	default:
		whole = &unstructured.Unstructured{}
		whole.SetGroupVersionKind(w.kind())
		if err := p.at.reader.Get(ctx, client.ObjectKeyFromObject(live), whole); err != nil {
			return false, client.IgnoreNotFound(err) // it has gone since: it is applied
		}
	}
	if !apply.Holds(whole, w.object()) {
		return false, nil
	}
	p.kept.note(w.entry.ID, apply.MarkOf(w.digest, whole))
	return true, nil
}

// digestOf is the digest of an object as Git says it, which is noted on it.
func digestOf(o client.Object) string { return o.GetAnnotations()[repolayout.AnnotationDigest] }

func keepAnnotation(desired *unstructured.Unstructured, live client.Object, key string) {
	if value := live.GetAnnotations()[key]; value != "" {
		setAnnotations(desired, map[string]string{key: value})
	}
}

// entriesOfAll are the entries of objects, whose units are not known.
func entriesOfAll(all []client.Object) []v1alpha1.InventoryEntry {
	entries := make([]v1alpha1.InventoryEntry, len(all))
	for i, o := range all {
		entries[i] = inventory.EntryOf(o)
	}
	return entries
}

func entriesOf(all []*wanted) []v1alpha1.InventoryEntry {
	entries := make([]v1alpha1.InventoryEntry, len(all))
	for i, w := range all {
		entries[i] = w.entry
	}
	return entries
}

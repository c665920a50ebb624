// SPDX-License-Identifier: Apache-2.0

// Package lease lets one process at a time work on what has a name, by a Lease of
// coordination.k8s.io for each name.
//
// It is for what is worked on now and then: a Lease is asked for when there is
// something to do, renewed for as long as that lasts, and costs no call when nothing is
// done. Who does not get it is told when to ask again, and never waits.
//
// It makes nothing safe by itself: a process that stood still for longer than its Lease
// lasts goes on where it was. What is done must bear that, as a push without force does.
package lease

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// again is the longest after which one who does not get a Lease asks again: the holder
// may give it back before it runs out.
const again = 5 * time.Second

// Holder takes Leases for this process. A nil one takes none: all is done at once.
type Holder struct {
	Client client.Client
	// Reader reads past the cache: a watch would bring the Leases of all nodes.
	Reader client.Reader
	// Namespace of the Leases, and Identity of this process, which no other has.
	Namespace, Identity string
	// Duration is how long a Lease lasts that is not renewed.
	Duration time.Duration
	Clock    func() time.Time

	mu     sync.Mutex
	known  map[string]*known
	ending bool
	swept  time.Time
}

// known is what this process knows of a Lease.
type known struct {
	lease   *coordinationv1.Lease // as it was written last; nil: it is not ours
	renewed time.Time             // when that was
	version string                // of another's, as it was seen last
	since   time.Time             // when that was seen first
	busy    bool                  // something is being done under it
	made    bool                  // it was not there before
}

// TakenError says that another process holds a Lease.
type TakenError struct {
	Name  string
	After time.Duration // when to ask again
}

func (e *TakenError) Error() string { return fmt.Sprintf("another process holds Lease %s", e.Name) }

// Hold does something while this process holds a Lease, and leaves it held: others have
// it when it has run out, or after Release. about names what it is for, for people. Where
// another process holds it nothing is done, and the error is a *TakenError; where it is
// lost on the way, the context of what is done ends. There must be one Hold of a name at
// a time.
func (h *Holder) Hold(ctx context.Context, name, about string, do func(context.Context) error) error {
	if h == nil {
		return do(ctx)
	}
	k := h.enter(name)
	defer h.leave(ctx, name)
	if err := h.have(ctx, k, name, about); err != nil {
		return err
	}
	err := h.during(ctx, k, do)
	if k.made {
		k.made = false
		h.sweep(ctx)
	}
	return err
}

func (h *Holder) enter(name string) *known {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known == nil {
		h.known = map[string]*known{}
	}
	if h.known[name] == nil {
		h.known[name] = &known{}
	}
	h.known[name].busy = true
	return h.known[name]
}

// leave gives the Lease back where the process is ending.
func (h *Holder) leave(ctx context.Context, name string) {
	h.mu.Lock()
	h.known[name].busy = false
	ending := h.ending
	h.mu.Unlock()
	if ending {
		h.Release(ctx, name)
	}
}

// during does something, and renews the Lease meanwhile.
func (h *Holder) during(ctx context.Context, k *known, do func(context.Context) error) error {
	working, end := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { h.keep(working, k, end) })
	over := func() { end(nil); renewing.Wait() }
	defer over() // also of what panics, which others recover
	err := do(working)
	over()
	var taken *TakenError
	if err != nil && errors.As(context.Cause(working), &taken) {
		return taken
	}
	return err
}

// keep renews a Lease until the work is over, or ends the work.
func (h *Holder) keep(working context.Context, k *known, end context.CancelCauseFunc) {
	name, about := k.lease.Name, k.lease.Annotations[About]
	ticker := time.NewTicker(h.Duration / 3)
	defer ticker.Stop()
	for {
		select {
		case <-working.Done():
			return
		case <-ticker.C:
		}
		asking, cancel := context.WithTimeout(working, h.left(k))
		err := h.have(asking, k, name, about)
		cancel()
		var taken *TakenError
		if errors.As(err, &taken) || err != nil && h.left(k) <= 0 {
			end(&TakenError{Name: name, After: again})
			return
		}
	}
}

// left is how long a Lease of ours lasts.
func (h *Holder) left(k *known) time.Duration { return k.renewed.Add(h.Duration).Sub(h.Clock()) }

// have makes a Lease ours for a while, with no call where it was renewed just now.
func (h *Holder) have(ctx context.Context, k *known, name, about string) error {
	if k.lease != nil && h.left(k) > 2*h.Duration/3 {
		return nil
	}
	for range 2 {
		err := h.ask(ctx, k, name, about)
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && !apierrors.IsAlreadyExists(err) {
			return err
		}
		k.lease = nil // somebody has written or deleted it: see how it is
	}
	return &TakenError{Name: name, After: again}
}

// ask takes or renews a Lease, unless it is another's.
func (h *Holder) ask(ctx context.Context, k *known, name, about string) error {
	now, lease := h.Clock(), k.lease.DeepCopy()
	var err error
	if lease == nil {
		if lease, err = h.free(ctx, k, name, now); err != nil {
			return err
		}
	}
	h.take(lease, about, now)
	if lease.ResourceVersion == "" {
		err, k.made = h.Client.Create(ctx, lease), true
	} else {
		err = h.Client.Update(ctx, lease)
	}
	if err != nil {
		return fmt.Errorf("writing Lease %s/%s: %w", h.Namespace, name, err)
	}
	k.lease, k.renewed = lease, now
	return nil
}

// free reads a Lease that may be had, or is not there yet.
func (h *Holder) free(ctx context.Context, k *known, name string, now time.Time) (*coordinationv1.Lease, error) {
	lease := &coordinationv1.Lease{}
	err := h.Reader.Get(ctx, types.NamespacedName{Namespace: h.Namespace, Name: name}, lease)
	if apierrors.IsNotFound(err) {
		lease.Namespace, lease.Name = h.Namespace, name
	} else if err != nil {
		return nil, fmt.Errorf("reading Lease %s/%s: %w", h.Namespace, name, err)
	}
	if k.version != lease.ResourceVersion {
		k.version, k.since = lease.ResourceVersion, now
	}
	if after := wait(lease.Spec, h.Identity, k.since, now); after > 0 {
		return nil, &TakenError{Name: name, After: min(after, again)}
	}
	return lease, nil
}

// wait is for how long a Lease is to be left to its holder, as it was first seen at since;
// 0: it may be had. Whose clock is wrong waits no longer than the Lease lasts, and for one
// that is renewed meanwhile.
func wait(spec coordinationv1.LeaseSpec, me string, since, now time.Time) time.Duration {
	holder := ptr.Deref(spec.HolderIdentity, "")
	if holder == "" || holder == me || spec.RenewTime == nil || spec.LeaseDurationSeconds == nil {
		return 0
	}
	lasts := time.Duration(*spec.LeaseDurationSeconds) * time.Second
	return max(0, min(spec.RenewTime.Add(lasts).Sub(now), since.Add(lasts).Sub(now)))
}

// take writes us into a Lease.
func (h *Holder) take(lease *coordinationv1.Lease, about string, now time.Time) {
	at, spec := metav1.NewMicroTime(now), &lease.Spec
	if ptr.Deref(spec.HolderIdentity, "") != h.Identity {
		spec.AcquireTime = &at
		if lease.ResourceVersion != "" {
			spec.LeaseTransitions = ptr.To(ptr.Deref(spec.LeaseTransitions, 0) + 1)
		}
	}
	spec.HolderIdentity, spec.RenewTime = ptr.To(h.Identity), &at
	spec.LeaseDurationSeconds = ptr.To(int32(math.Ceil(h.Duration.Seconds())))
	metav1.SetMetaDataLabel(&lease.ObjectMeta, labelManager, manager)
	metav1.SetMetaDataLabel(&lease.ObjectMeta, Label, kind)
	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, About, about)
}

// Release gives a Lease back that this process holds and does nothing under, so that
// another has it at once.
func (h *Holder) Release(ctx context.Context, name string) {
	if h == nil {
		return
	}
	h.mu.Lock()
	k := h.known[name]
	if k == nil || k.busy || k.lease == nil || h.left(k) <= 0 { // run out: whoever wants it, has it
		h.mu.Unlock()
		return
	}
	delete(h.known, name) // so that who asks for it meanwhile looks
	h.mu.Unlock()
	// Also when the process ends, whose context is over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), again)
	defer cancel()
	k.lease.Spec.HolderIdentity = nil
	err := h.Client.Update(ctx, k.lease)
	if err == nil {
		h.remember(name, k.lease)
	}
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) { // then it is ours no more
		ctrl.LoggerFrom(ctx).Info("A Lease was not given back: others have it when it has run out", "lease", name, "reason", err.Error())
	}
}

// remember remembers how a Lease was given back: where nobody has had it since, it is taken
// without a look.
func (h *Holder) remember(name string, lease *coordinationv1.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known[name] == nil {
		h.known[name] = &known{lease: lease}
	}
}

// Start waits for the process to end, and then gives back what is held and not in use.
// The rest is given back when what is done is over. It implements manager.Runnable.
func (h *Holder) Start(ctx context.Context) error {
	<-ctx.Done()
	h.mu.Lock()
	h.ending = true
	var names []string
	for name := range h.known {
		names = append(names, name)
	}
	h.mu.Unlock()
	last := h.Clock().Add(again)
	for _, name := range names {
		if h.Clock().Before(last) {
			h.Release(ctx, name)
		}
	}
	return nil
}

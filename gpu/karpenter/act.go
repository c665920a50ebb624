// SPDX-License-Identifier: Apache-2.0

package karpenter

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// fieldInvolvedUID selects the Events of one object; those of objects without a
// namespace are in the namespace default.
const fieldInvolvedUID = "involvedObject.uid"

// events reads what was said of the NodeClaims that were deleted before they
// became nodes, by UID. There are some only for a moment, after a failure.
func (p *Provider) events(ctx context.Context, mine things) (map[string]string, error) {
	said := map[string]string{}
	for _, c := range mine.claims {
		if c.live() || c.registered.isTrue() {
			continue
		}
		var found corev1.EventList
		err := p.cfg.Live.List(ctx, &found, client.InNamespace(metav1.NamespaceDefault), client.MatchingFields{fieldInvolvedUID: string(c.uid)})
		if err != nil {
			return nil, fmt.Errorf("listing the Events of NodeClaim %s: %w", c.name, err)
		}
		said[string(c.uid)] = cause(found.Items)
	}
	return said, nil
}

// cause is the last warning among the Events of a NodeClaim that says why it was
// not launched; empty: none does.
func cause(events []corev1.Event) string {
	var text string
	var at time.Time
	for _, e := range events {
		when := happened(e)
		if e.Type == corev1.EventTypeWarning && slices.Contains(telling, e.Reason) && !when.Before(at) {
			text, at = e.Reason+": "+e.Message, when
		}
	}
	return text
}

// telling are the reasons of Events with which Karpenter gives a NodeClaim up.
var telling = []string{"InsufficientCapacityError", "NodeClassNotReady", "FailedLaunch", "LaunchFailed", "NodeClaimLaunchFailed", "NoCompatibleInstanceTypes"}

// work is one mutation in the making: what there is, live, and what is wanted.
type work struct {
	Provider *Provider
	t        pool.Target
	mine     things // of the attempt
	all      things
	class    v1alpha1.NodeClassReference
	own      bool // the node class is ours to make
	plain    bool // NodeClaims of gpu-provisioner, without a NodePool
}

// Ensure makes the next object of the target that is missing, or deletes one
// NodeClaim too many.
func (p *Provider) Ensure(ctx context.Context, t pool.Target) (pool.Step, error) {
	w := work{Provider: p, t: t}
	if t.Replace != "" {
		return w.replace(ctx)
	}
	if t.ByPods {
		return w.lanesOf(ctx)
	}
	var err error
	if w.class, w.own, err = p.class(t); err != nil {
		return pool.StepNone, err
	}
	w.plain = w.class.Group == groupKAITO
	if why := refusal(t, w.plain, p.cfg.Region); why != "" {
		return pool.StepNone, &pool.Failure{Class: pool.ClassCandidate, Text: why}
	}
	if w.all, err = p.gather(ctx, p.cfg.Live, t); err != nil {
		return pool.StepNone, err
	}
	w.mine = w.all.of(t.Attempt)
	first := w.mine.empty()
	step, err := w.ensure(ctx)
	if err == nil && step == pool.StepPartial && first {
		step = pool.StepCreated
	}
	return step, err
}

func (w work) ensure(ctx context.Context) (pool.Step, error) {
	p, t := w.Provider, w.t
	if w.own && len(w.mine.classes) == 0 {
		return w.makeClass(ctx)
	}
	if !w.plain && len(w.mine.pools) == 0 {
		version, err := p.version(NodePool)
		switch {
		case err != nil:
			return pool.StepNone, err
		case version == "":
			return pool.StepNone, &pool.Failure{Class: pool.ClassPrerequisite, Text: "this cluster has NodeClaims and no kind NodePool (karpenter.sh): for gpu-provisioner, name its node class, kaito.sh/KaitoNodeClass/default"}
		}
		return pool.StepPartial, p.create(ctx, nodePool(t, w.class, version, p.cfg.Region), t)
	}
	return w.claims(ctx)
}

// claims brings the number of NodeClaims to what is wanted.
func (w work) claims(ctx context.Context) (pool.Step, error) {
	wanted := claimNames(w.t, w.plain)
	taken, live := map[string]bool{}, []claim{}
	for _, c := range w.mine.claims {
		switch {
		case c.dead() && c.held:
			return pool.StepPartial, w.Provider.letGo(ctx, c)
		case c.live():
			live = append(live, c)
		}
		taken[c.name] = true
	}
	if len(live) > len(wanted) {
		c, found := surplus(live, w.t)
		if !found {
			return pool.StepNone, nil // work has come onto the nodes meanwhile
		}
		return pool.StepScaled, w.Provider.remove(ctx, NodeClaim, c.name, c.identity)
	}
	if len(w.mine.claims) >= len(wanted) {
		return pool.StepNone, nil // those that are leaving keep their place until they are gone
	}
	for _, name := range wanted {
		if !taken[name] {
			return pool.StepPartial, w.order(ctx, name)
		}
	}
	return pool.StepNone, nil
}

// replace deletes the NodeClaim of a node that does not answer. Karpenter waits for no
// pod whose end is overdue, and deletes the machine.
func (w work) replace(ctx context.Context) (pool.Step, error) {
	all, err := w.Provider.gather(ctx, w.Provider.cfg.Live, w.t)
	if err != nil {
		return pool.StepNone, err
	}
	for _, c := range all.of(w.t.Attempt).claims {
		if c.live() && c.node == w.t.Replace {
			return pool.StepScaled, w.Provider.remove(ctx, NodeClaim, c.name, c.identity)
		}
	}
	return pool.StepNone, nil
}

// surplus is a NodeClaim that may go: one without a node, else one whose node
// nothing runs on.
func surplus(live []claim, t pool.Target) (claim, bool) {
	for _, c := range slices.Backward(live) {
		if !slices.Contains(t.Registered, c.node) {
			return c, true
		}
	}
	for _, c := range slices.Backward(live) {
		if slices.Contains(t.Remove, c.node) {
			return c, true
		}
	}
	return claim{}, false
}

// order creates one NodeClaim.
func (w work) order(ctx context.Context, name string) error {
	p, t := w.Provider, w.t
	version, err := p.version(NodeClaim)
	if err != nil {
		return err
	}
	o := nodeClaim(t, w.class, name, version)
	if w.plain {
		standalone(o, t)
		return p.create(ctx, o, t)
	}
	gpus := 1
	if s, ok := p.cfg.Sizes(t.Candidate.InstanceType); ok && s.GPUs > 0 {
		gpus = s.GPUs
	}
	member(o, t, w.mine.pools[0], gpus, p.cfg.Region)
	return p.create(ctx, o, t)
}

// letGo takes our finalizer off a NodeClaim.
func (p *Provider) letGo(ctx context.Context, c claim) error {
	o, err := p.get(ctx, p.cfg.Live, NodeClaim, c.name)
	if err != nil || o == nil || o.GetUID() != c.uid {
		return err
	}
	keep := slices.DeleteFunc(o.GetFinalizers(), func(f string) bool { return f == repolayout.Finalizer })
	patch, err := json.Marshal(object{"metadata": object{"finalizers": keep, "resourceVersion": o.GetResourceVersion()}})
	if err != nil {
		return fmt.Errorf("writing a patch: %w", err)
	}
	err = p.cfg.Client.Patch(ctx, o, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(repolayout.FieldManager))
	if apierrors.IsConflict(err) {
		return &pool.Failure{Class: pool.ClassPrecondition, Text: fmt.Sprintf("NodeClaim %s has changed since it was read", c.name)}
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("letting NodeClaim %s go: %w", c.name, err)
	}
	return nil
}

// Delete deletes the next object of the target: its NodeClaims, which Karpenter
// drains, then its NodePool and node class. With Orphan it only lets them go.
func (p *Provider) Delete(ctx context.Context, t pool.Target) (pool.Step, error) {
	all, err := p.gather(ctx, p.cfg.Live, t)
	if err != nil {
		return pool.StepNone, err
	}
	if t.Orphan {
		return p.orphan(ctx, all)
	}
	mine := all.of(t.Attempt)
	for _, c := range mine.claims {
		switch {
		case c.live():
			return pool.StepPartial, p.remove(ctx, NodeClaim, c.name, c.identity)
		case c.dead() && c.held:
			return pool.StepPartial, p.letGo(ctx, c)
		}
	}
	if len(mine.claims) > 0 {
		return pool.StepDeleted, nil // Karpenter drains and terminates
	}
	for _, n := range mine.pools {
		return pool.StepDeleted, p.remove(ctx, NodePool, n.name, n.identity)
	}
	for i := range mine.classes {
		return pool.StepDeleted, p.remove(ctx, AKSNodeClass, mine.classes[i].GetName(), identify(&mine.classes[i]))
	}
	return pool.StepGone, nil
}

// orphan lets one NodeClaim go to whoever wants it.
func (p *Provider) orphan(ctx context.Context, all things) (pool.Step, error) {
	for _, c := range all.claims {
		if c.held {
			return pool.StepPartial, p.letGo(ctx, c)
		}
	}
	return pool.StepGone, nil
}
